package log

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sort"
	"sync"

	"github.com/fanfold/fanfold/internal/vfs"
	"github.com/fanfold/fanfold/protocol/record"
)

const (
	// headerWindow is read at once where only headers are wanted.
	headerWindow = 4 << 10
	// bodyWindow is read at once where every byte is.
	bodyWindow = 256 << 10

	// crcCovered is where what a batch's CRC covers begins.
	crcCovered = 21
)

var (
	headerBuffers = sync.Pool{New: func() any { return new([headerWindow]byte) }}
	bodyBuffers   = sync.Pool{New: func() any { return new([bodyWindow]byte) }}
)

// batchReader steps through the batches of a segment file through one window
// of bounded size, whatever the size of a batch.
type batchReader struct {
	file vfs.File
	pos  int64 // of the next batch
	end  int64 // where the batches end
	win  []byte
	lo   int64 // file position of win's first byte
	have int   // bytes in win
}

// newBatchReader reads batches from pos to end. win holds a header at least.
func newBatchReader(f vfs.File, pos, end int64, win []byte) *batchReader {
	return &batchReader{file: f, pos: pos, end: end, win: win}
}

// load makes the window hold n bytes from pos on, which are below end.
func (r *batchReader) load(pos int64, n int) ([]byte, error) {
	if pos >= r.lo && pos+int64(n) <= r.lo+int64(r.have) {
		return r.win[pos-r.lo:][:n], nil
	}
	want := int(min(int64(len(r.win)), r.end-pos))
	got, err := r.file.ReadAt(r.win[:want], pos)
	r.lo, r.have = pos, got
	if got < n {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("read batch: %w", err)
	}
	return r.win[:n], nil
}

// header reads the header of the batch at pos, which must end by end. io.EOF
// says that there is none; what is no batch is a violation.
func (r *batchReader) header() (record.Header, error) {
	left := r.end - r.pos
	if left == 0 {
		return record.Header{}, io.EOF
	}
	if left < record.HeaderBytes {
		return record.Header{}, violation("%d bytes are too few for a batch", left)
	}
	b, err := r.load(r.pos, record.HeaderBytes)
	if err != nil {
		return record.Header{}, err
	}
	h, err := record.ParseHeader(b)
	if err != nil {
		return h, &errViolation{err}
	}
	if int64(h.Bytes()) > left {
		return h, violation("batch of %d bytes, %d are left", h.Bytes(), left)
	}
	return h, nil
}

// checkCRC reads the batch at pos, whose header is h.
func (r *batchReader) checkCRC(h *record.Header) error {
	crc := uint32(0)
	end := r.pos + int64(h.Bytes())
	for pos := r.pos + crcCovered; pos < end; {
		n := int(min(end-pos, int64(len(r.win))))
		if inside := r.lo + int64(r.have) - pos; pos >= r.lo && inside > 0 {
			n = int(min(int64(n), inside))
		}
		b, err := r.load(pos, n)
		if err != nil {
			return err
		}
		crc = crc32.Update(crc, castagnoli, b)
		pos += int64(n)
	}
	if crc != h.CRC {
		return violation("CRC of the batch is %08x, its header says %08x", crc, h.CRC)
	}
	return nil
}

// skip steps over the batch at pos, whose header is h.
func (r *batchReader) skip(h *record.Header) { r.pos += int64(h.Bytes()) }

// batchTime is the largest timestamp that a batch's header tells of. Clients in
// use leave MaxTimestamp at −1: the first record's is better than nothing. No
// record of a batch that compaction emptied has one.
func batchTime(h *record.Header) int64 {
	if h.Records == 0 {
		return -1
	}
	if h.TimestampType() == record.LogAppendTime || h.HasDeleteHorizon() {
		return h.MaxTimestamp
	}
	return max(h.MaxTimestamp, h.BaseTimestamp)
}

// merge is a walk through batches and journal entries in the order of their
// indexes. It checks that offsets are contiguous, that the epoch of each batch
// is the term that the journal gives it, and that entries stand where the
// journal says. In settled segments there are no entries, and the index merely
// counts batches.
type merge struct {
	offset  int64  // of the next batch
	index   uint64 // of the last entry passed
	term    uint64
	entries []entryMeta // not passed yet
	terms   []termMeta  // not begun yet

	settled *journalState // of a settled segment, nil otherwise
	holes   bool          // offsets may be missing
	sum     uint32        // headSum of the batches passed, where there are holes
	wantSum uint32        // of the whole segment
}

// mergeFrom begins at p, which is in a segment that s knows.
func mergeFrom(s *journalState, p point) merge {
	m := merge{offset: p.offset, index: p.index, term: p.term}
	if s.isSettled(p.base) {
		seg := s.segs[max(0, s.segmentAt(p.base))]
		m.settled, m.holes, m.wantSum = s, seg.holes(), seg.sum
		return m
	}
	m.entries = s.entries[s.entryFrom(p.index+1):]
	m.terms = s.terms[sort.Search(len(s.terms), func(i int) bool { return s.terms[i].Index > p.index }):]
	return m
}

// passEntries passes the journal entries that come next, up to index limit.
func (m *merge) passEntries(limit uint64) error {
	for len(m.entries) > 0 && m.entries[0].index == m.index+1 && m.entries[0].index <= limit {
		e := &m.entries[0]
		if e.offset != m.offset {
			return violation("journal entry %d stands at offset %d, batches before it end at %d", e.index, e.offset, m.offset)
		}
		m.index, m.term = e.index, e.term
		m.entries = m.entries[1:]
		m.beginTerms()
	}
	return nil
}

func (m *merge) beginTerms() {
	for len(m.terms) > 0 && m.terms[0].Index <= m.index {
		m.terms = m.terms[1:]
	}
}

// check says whether h may come next.
func (m *merge) check(h *record.Header) error {
	if m.settled != nil {
		return m.checkSettled(h)
	}
	term := m.term
	if len(m.terms) > 0 && m.terms[0].Index == m.index+1 {
		term = m.terms[0].Term
	}
	switch {
	case h.BaseOffset != m.offset:
		return violation("base offset %d, expected %d", h.BaseOffset, m.offset)
	case uint64(h.LeaderEpoch) != term || h.LeaderEpoch < 0:
		return violation("leader epoch %d, the journal says %d", h.LeaderEpoch, term)
	case len(m.entries) > 0 && m.entries[0].offset <= h.BaseOffset:
		return violation("batch would be entry %d; journal entry %d at offset %d should be before it",
			m.index+1, m.entries[0].index, m.entries[0].offset)
	}
	return nil
}

func (m *merge) checkSettled(h *record.Header) error {
	switch {
	case h.BaseOffset < m.offset || !m.holes && h.BaseOffset > m.offset:
		return violation("base offset %d, expected %d", h.BaseOffset, m.offset)
	case uint64(h.LeaderEpoch) != m.settled.epochAt(h.BaseOffset) || h.LeaderEpoch < 0:
		return violation("leader epoch %d, the journal says %d", h.LeaderEpoch, m.settled.epochAt(h.BaseOffset))
	}
	return nil
}

// endsAt says whether the walk, which began at the segment's start, may end
// where the next one starts.
func (m *merge) endsAt(next segmentStart) bool {
	switch {
	case m.holes:
		return m.offset <= next.base && m.sum == m.wantSum
	case m.settled != nil:
		return m.offset == next.base
	}
	return m.offset == next.base && m.index == next.firstIndex-1
}

// headSum goes on with a CRC of batches' headers up to their own CRC, which is
// part of it. It stands for what else tells that no batch is missing and that
// each is at its offset, where there may be holes.
func headSum(sum uint32, h *record.Header) uint32 {
	var b [crcCovered]byte
	be := binary.BigEndian
	be.PutUint64(b[:], uint64(h.BaseOffset))
	be.PutUint32(b[8:], uint32(h.BatchLength))
	be.PutUint32(b[12:], uint32(h.LeaderEpoch))
	b[16] = byte(h.Magic)
	be.PutUint32(b[17:], h.CRC)
	return crc32.Update(sum, castagnoli, b[:])
}

// pass passes a batch that check found right.
func (m *merge) pass(h *record.Header) {
	if m.holes {
		m.sum = headSum(m.sum, h)
	}
	m.offset = h.NextOffset()
	m.index++
	m.term = uint64(h.LeaderEpoch)
	m.beginTerms()
}

// readFull reads len(p) bytes at off; fewer are an error.
func readFull(f vfs.File, p []byte, off int64) (int, error) {
	n, err := f.ReadAt(p, off)
	if n == len(p) {
		return n, nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
