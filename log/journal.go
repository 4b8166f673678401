package log

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"sync/atomic"

	"github.com/fanfold/fanfold/internal/vfs"
)

// The journal begins with a header of journalHeaderBytes, big endian:
//
//	0          8       10    12     16           24            32            40             48             56       60     64
//	┌──────────┬───────┬─────┬──────┬────────────┬─────────────┬─────────────┬──────────────┬──────────────┬────────┬──────┐
//	│ FANFJRNL │ form. │  0  │  0   │ generation │ first index │ term before │ first offset │ bytes at the │   0    │ CRC- │
//	│          │ vers. │     │      │            │             │ first index │              │ rename       │        │ 32C  │
//	└──────────┴───────┴─────┴──────┴────────────┴─────────────┴─────────────┴──────────────┴──────────────┴────────┴──────┘
//
// and goes on with records:
//
//	0        4        8      9      10    12       20     28       36
//	┌────────┬────────┬──────┬──────┬─────┬────────┬──────┬────────┬─────────┐
//	│ length │ CRC-   │ type │ kind │  0  │ index  │ term │ offset │ payload │
//	│        │ 32C    │      │      │     │        │      │        │         │
//	└────────┴────────┴──────┴──────┴─────┴────────┴──────┴────────┴─────────┘
//
// Length counts what follows the CRC, which covers the length and all of that.
const (
	journalMagic       = "FANFJRNL"
	journalVersion     = 1
	journalHeaderBytes = 64
	recordHeadBytes    = 8
	recordFixedBytes   = 36

	// maxPayloadBytes bounds the data of one journal entry.
	maxPayloadBytes = 16 << 20
)

// recordType says what a journal record is about.
type recordType uint8

const (
	// recordEntry is an entry that is no batch: its kind, index, term and
	// payload; offset is where it stands.
	recordEntry recordType = 1 + iota
	// recordRoll begins a segment: base offset, first index, term before it.
	recordRoll
	// recordFirst moves the log's start to the start of a segment.
	recordFirst
	// recordTruncateBegin says that entries from index on are being removed,
	// so that the log ends at offset; term is that of the entry before index.
	recordTruncateBegin
	// recordTruncateDone says that they are.
	recordTruncateDone
	// recordTerm says that the batch of that index at that offset is the first
	// of its term, where no entry of the journal says so.
	recordTerm
	// recordSettle moves the log's first entry to the start of a segment; the
	// segments before it stay, without indexes.
	recordSettle
	// recordReplace says that the settled segment that starts here is, up to an
	// end offset, the one of another generation. Payload: replacement.
	recordReplace
	// recordCleaned says up to which offset the log is compacted.
	recordCleaned

	lastRecordType = recordCleaned
)

var recordNames = [...]string{
	recordEntry: "entry", recordRoll: "roll", recordFirst: "first", recordTruncateBegin: "truncate-begin",
	recordTruncateDone: "truncate-done", recordTerm: "term", recordSettle: "settle", recordReplace: "replace",
	recordCleaned: "cleaned",
}

func (t recordType) String() string {
	if t < recordEntry || t > lastRecordType {
		return fmt.Sprintf("type %d", uint8(t))
	}
	return recordNames[t]
}

// payloadBytes is the length of the payload of a record that is no entry.
func (t recordType) payloadBytes() int {
	if t == recordReplace {
		return replacementBytes
	}
	return 0
}

// replacement is the payload of a replace record.
type replacement struct {
	end int64 // offset at which the next segment starts
	compacted
}

const replacementBytes = 36

func (r replacement) encode() []byte {
	be := binary.BigEndian
	b := be.AppendUint64(make([]byte, 0, replacementBytes), r.gen)
	b = be.AppendUint64(b, uint64(r.end))
	b = be.AppendUint64(b, uint64(r.modified))
	b = be.AppendUint64(b, uint64(r.bytes))
	return be.AppendUint32(b, r.sum)
}

func parseReplacement(b []byte) replacement {
	be := binary.BigEndian
	return replacement{end: int64(be.Uint64(b[8:])), compacted: compacted{
		gen: be.Uint64(b), modified: int64(be.Uint64(b[16:])), bytes: int64(be.Uint64(b[24:])), sum: be.Uint32(b[32:]),
	}}
}

// journalRecord is one record of the journal.
type journalRecord struct {
	typ    recordType
	kind   Kind
	index  uint64
	term   uint64
	offset int64
	data   []byte
}

func (r *journalRecord) bytes() int64 { return recordFixedBytes + int64(len(r.data)) }

func (r *journalRecord) append(b []byte) []byte {
	start := len(b)
	be := binary.BigEndian
	b = be.AppendUint32(b, uint32(recordFixedBytes-recordHeadBytes+len(r.data)))
	b = append(b, 0, 0, 0, 0, byte(r.typ), byte(r.kind), 0, 0)
	b = be.AppendUint64(b, r.index)
	b = be.AppendUint64(b, r.term)
	b = be.AppendUint64(b, uint64(r.offset))
	b = append(b, r.data...)
	be.PutUint32(b[start+4:], recordCRC(b[start:]))
	return b
}

// recordCRC is the CRC of the record that fills b.
func recordCRC(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[:4], castagnoli), castagnoli, b[recordHeadBytes:])
}

// parseRecord reads the record that fills b; its data is part of b.
func parseRecord(b []byte) (journalRecord, error) {
	if len(b) < recordFixedBytes {
		return journalRecord{}, violation("journal record of %d bytes is too short", len(b))
	}
	be := binary.BigEndian
	if crc := be.Uint32(b[4:]); crc != recordCRC(b) {
		return journalRecord{}, violation("journal record: wrong CRC")
	}
	r := journalRecord{
		typ: recordType(b[8]), kind: Kind(b[9]), index: be.Uint64(b[12:]), term: be.Uint64(b[20:]),
		offset: int64(be.Uint64(b[28:])), data: b[recordFixedBytes:],
	}
	switch {
	case r.typ < recordEntry || r.typ > lastRecordType:
		return r, violation("journal record of unknown %v", r.typ)
	case (r.typ == recordEntry) != (r.kind != KindBatch) || r.kind > maxKind:
		return r, violation("journal record %v of kind %d", r.typ, r.kind)
	case r.typ != recordEntry && len(r.data) != r.typ.payloadBytes():
		return r, violation("journal record %v with a payload of %d bytes", r.typ, len(r.data))
	case r.index == 0 || r.index > math.MaxInt64 || r.offset < 0 || r.term > math.MaxInt64:
		return r, violation("journal record %v: index %d, term %d, offset %d", r.typ, r.index, r.term, r.offset)
	}
	return r, nil
}

// journalHeader is how a journal begins.
type journalHeader struct {
	generation uint64
	first      segmentStart
	bytes      int64 // of the file when it was renamed into place, all synced
}

func (h *journalHeader) append(b []byte) []byte {
	start := len(b)
	be := binary.BigEndian
	b = append(b, journalMagic...)
	b = be.AppendUint16(b, journalVersion)
	b = append(b, make([]byte, 6)...)
	b = be.AppendUint64(b, h.generation)
	b = be.AppendUint64(b, h.first.firstIndex)
	b = be.AppendUint64(b, h.first.termBefore)
	b = be.AppendUint64(b, uint64(h.first.base))
	b = be.AppendUint64(b, uint64(h.bytes))
	b = append(b, 0, 0, 0, 0)
	return be.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
}

func parseJournalHeader(b []byte) (journalHeader, error) {
	be := binary.BigEndian
	switch {
	case len(b) < journalHeaderBytes:
		return journalHeader{}, violation("journal of %d bytes has no header", len(b))
	case string(b[:8]) != journalMagic:
		return journalHeader{}, violation("journal does not begin with %s", journalMagic)
	case be.Uint32(b[60:]) != crc32.Checksum(b[:60], castagnoli):
		return journalHeader{}, violation("journal header: wrong CRC")
	case be.Uint16(b[8:]) != journalVersion:
		return journalHeader{}, fmt.Errorf("journal has format version %d, this program reads version %d", be.Uint16(b[8:]), journalVersion)
	}
	h := journalHeader{
		generation: be.Uint64(b[16:]),
		first: segmentStart{
			firstIndex: be.Uint64(b[24:]), termBefore: be.Uint64(b[32:]), base: int64(be.Uint64(b[40:])),
		},
		bytes: int64(be.Uint64(b[48:])),
	}
	if h.first.firstIndex == 0 || h.first.firstIndex > math.MaxInt64 || h.first.base < 0 || h.first.termBefore > math.MaxInt64 || h.bytes < journalHeaderBytes {
		return h, violation("journal header: first index %d, first offset %d, %d bytes", h.first.firstIndex, h.first.base, h.bytes)
	}
	return h, nil
}

// journalFile is an open journal; readers of payloads hold references.
type journalFile struct {
	file vfs.File
	refs atomic.Int32
}

func newJournalFile(f vfs.File) *journalFile {
	j := &journalFile{file: f}
	j.refs.Store(1)
	return j
}

func (j *journalFile) release() error {
	if j.refs.Add(-1) > 0 {
		return nil
	}
	return j.file.Close()
}

// journalReader reads a journal record by record.
type journalReader struct {
	file vfs.File
	pos  int64 // of the next record
	size int64 // of the file
	buf  []byte
}

// open reads the header.
func (r *journalReader) open() (journalHeader, error) {
	var err error
	if r.size, err = r.file.Size(); err != nil {
		return journalHeader{}, fmt.Errorf("read journal: %w", err)
	}
	b, err := r.read(0, min(r.size, journalHeaderBytes))
	if err != nil {
		return journalHeader{}, err
	}
	r.pos = journalHeaderBytes
	return parseJournalHeader(b)
}

func (r *journalReader) read(pos, n int64) ([]byte, error) {
	if int64(cap(r.buf)) < n {
		r.buf = make([]byte, n, max(n, 512))
	}
	b := r.buf[:n]
	if _, err := r.file.ReadAt(b, pos); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	return b, nil
}

// next reads the record at pos, or returns io.EOF at the end. What is no record
// is a violation. Data is valid until the next call.
func (r *journalReader) next() (journalRecord, error) {
	left := r.size - r.pos
	if left == 0 {
		return journalRecord{}, io.EOF
	}
	if left < recordFixedBytes {
		return journalRecord{}, violation("%d bytes are too few for a journal record", left)
	}
	b, err := r.read(r.pos, recordHeadBytes)
	if err != nil {
		return journalRecord{}, err
	}
	n := recordHeadBytes + int64(binary.BigEndian.Uint32(b))
	if n > left || n > recordFixedBytes+maxPayloadBytes || n < recordFixedBytes {
		return journalRecord{}, violation("journal record of %d bytes, %d are left", n, left)
	}
	if b, err = r.read(r.pos, n); err != nil {
		return journalRecord{}, err
	}
	rec, err := parseRecord(b)
	if err != nil {
		return rec, err
	}
	r.pos += n
	return rec, nil
}
