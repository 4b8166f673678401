package log

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"sort"

	"github.com/fanfold/fanfold/internal/vfs"
)

// An index file is a row of entries of indexEntryBytes, big endian:
//
//	0          4          8          12         16         24         28       32
//	┌──────────┬──────────┬──────────┬──────────┬──────────┬──────────┬────────┐
//	│ offset − │ position │ index −  │ leader   │ largest  │ its base │ CRC-   │
//	│ base     │          │ first    │ epoch    │ time     │ − base   │ 32C    │
//	└──────────┴──────────┴──────────┴──────────┴──────────┴──────────┴────────┘
//
// An entry names the batch that begins at position, and the largest timestamp
// of all batches before it in the segment, with the base offset of the first
// batch that has it. The CRC is combined by XOR with the segment's base offset
// (its two halves) and the entry's number times 0x9e3779b1, so that an entry
// counts at its own place only. A sealed segment's last entry, with epoch footerEpoch, names the segment's end.
const indexEntryBytes = 32

// footerEpoch marks the entry that seals an index.
const footerEpoch = -1

// indexFlushBytes is how much is gathered before it goes into the file.
const indexFlushBytes = 4 << 10

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// indexEntry is one entry of a segment's sparse index, its numbers relative to
// the segment's base offset and first index.
type indexEntry struct {
	offset        uint32
	pos           uint32
	index         uint32
	epoch         int32
	maxTime       int64 // milliseconds, −1: none
	maxTimeOffset uint32
}

func (e *indexEntry) append(b []byte, base int64, number int) []byte {
	start := len(b)
	be := binary.BigEndian
	b = be.AppendUint32(b, e.offset)
	b = be.AppendUint32(b, e.pos)
	b = be.AppendUint32(b, e.index)
	b = be.AppendUint32(b, uint32(e.epoch))
	b = be.AppendUint64(b, uint64(e.maxTime))
	b = be.AppendUint32(b, e.maxTimeOffset)
	return be.AppendUint32(b, indexCRC(b[start:], base, number))
}

// indexCRC is the CRC of an entry's fields, altered by its place.
func indexCRC(fields []byte, base int64, number int) uint32 {
	place := uint32(base) ^ uint32(base>>32) ^ uint32(number)*0x9e3779b1
	return crc32.Checksum(fields, castagnoli) ^ place
}

// parseIndexEntry reads the entry of that number from the start of b, which
// holds one at least.
func parseIndexEntry(b []byte, base int64, number int) (indexEntry, error) {
	be := binary.BigEndian
	b = b[:indexEntryBytes]
	if crc := be.Uint32(b[28:]); crc != indexCRC(b[:28], base, number) {
		return indexEntry{}, violation("index entry %d: wrong CRC", number)
	}
	return indexEntry{
		offset: be.Uint32(b), pos: be.Uint32(b[4:]), index: be.Uint32(b[8:]), epoch: int32(be.Uint32(b[12:])),
		maxTime: int64(be.Uint64(b[16:])), maxTimeOffset: be.Uint32(b[24:]),
	}, nil
}

// index is a segment's sparse index: a file of flushed entries and, of the
// active segment, the newest ones in memory. It is a cache: an entry that does
// not prove good is passed over, at the price of a longer scan.
type index struct {
	file vfs.File
	base int64

	// Guarded by Log.mu; changed by the writer only.
	flushed int    // entries in the file
	pending []byte // encoded entries behind them
	since   int64  // bytes of batches since the last entry
}

// count is the number of entries.
func (x *index) count() int { return x.flushed + len(x.pending)/indexEntryBytes }

// add appends e to what is pending. The caller holds Log.mu.
func (x *index) add(e indexEntry) {
	if x.pending == nil {
		x.pending = make([]byte, 0, 8*indexEntryBytes)
	}
	x.pending = e.append(x.pending, x.base, x.count())
	x.since = 0
}

// write puts the pending entries into the file; flushDone takes note of it.
// Only the writer calls it, without Log.mu.
func (x *index) write() error {
	_, err := x.file.WriteAt(x.pending, int64(x.flushed)*indexEntryBytes)
	return err
}

// flushDone ends write. The caller holds Log.mu.
func (x *index) flushDone(keep bool) {
	x.flushed = x.count()
	x.pending = x.pending[:0]
	if !keep || cap(x.pending) > 2*indexFlushBytes {
		x.pending = nil
	}
}

// probe says of an entry whether it is at or before what is looked for.
type probe func(e indexEntry) bool

// searchPending finds the last pending entry for which ok holds; ok must hold
// for the first ones and fail for the rest. The caller holds Log.mu.
func (x *index) searchPending(ok probe) (indexEntry, bool) {
	n := len(x.pending) / indexEntryBytes
	at := func(i int) indexEntry {
		e, err := parseIndexEntry(x.pending[i*indexEntryBytes:], x.base, x.flushed+i)
		if err != nil {
			panic("log: index entry in memory is damaged")
		}
		return e
	}
	i := sort.Search(n, func(i int) bool { e := at(i); return !ok(e) })
	if i == 0 {
		return indexEntry{}, false
	}
	return at(i - 1), true
}

// searchFile finds the last of the first n entries of the file for which ok
// holds, passing over entries that do not prove good: what it finds is right,
// if maybe not the last. buf holds indexEntryBytes at least.
func (x *index) searchFile(n int, ok probe, buf []byte) (indexEntry, bool) {
	var best indexEntry
	found := false
	lo, hi := 0, n // ok holds below lo, fails from hi on
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		at := mid
		e, err := x.read(at, buf)
		for err != nil && at > lo {
			at--
			e, err = x.read(at, buf)
		}
		switch {
		case err != nil: // nothing good in [lo, mid]
			lo = mid + 1
		case ok(e):
			best, found = e, true
			lo = mid + 1
		default:
			hi = at
		}
	}
	return best, found
}

// read reads one entry of the file.
func (x *index) read(number int, buf []byte) (indexEntry, error) {
	b := buf[:indexEntryBytes]
	if _, err := x.file.ReadAt(b, int64(number)*indexEntryBytes); err != nil {
		return indexEntry{}, err
	}
	return parseIndexEntry(b, x.base, number)
}

// goodPrefix reads the file from its start and returns how many entries follow
// each other in order with positions below limit, and the last of them.
func (x *index) goodPrefix(limit int64) (n int, last indexEntry, err error) {
	buf := make([]byte, indexFlushBytes)
	for {
		got, err := x.file.ReadAt(buf, int64(n)*indexEntryBytes)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, last, fmt.Errorf("read index: %w", err)
		}
		for b := buf[:got]; len(b) >= indexEntryBytes; b = b[indexEntryBytes:] {
			e, err := parseIndexEntry(b, x.base, n)
			if err != nil || !e.follows(&last, n > 0) || int64(e.pos) >= limit {
				return n, last, nil
			}
			n, last = n+1, e
		}
		if got < len(buf) {
			return n, last, nil
		}
	}
}

// follows says whether e may stand behind last.
func (e *indexEntry) follows(last *indexEntry, any bool) bool {
	if e.epoch == footerEpoch || e.pos == 0 {
		return false
	}
	return !any || e.pos > last.pos && e.offset > last.offset && e.index > last.index && e.maxTime >= last.maxTime
}

// relative returns v − base where an index entry can hold it.
func relative[T int64 | uint64](v, base T) (uint32, bool) {
	d := v - base
	return uint32(d), v >= base && d <= math.MaxUint32
}
