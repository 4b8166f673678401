package log

import (
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"sync"

	"github.com/fanfold/fanfold/internal/invariants"
	"github.com/fanfold/fanfold/protocol/record"
)

// maxScratch bounds what is kept between appends, in entries.
const maxScratch = 1024

// scratch is memory that appends of all logs take turns with.
type scratch struct {
	iov     [][]byte
	headers []record.Header
	journal []byte
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// borrowScratch gives the log scratch memory until returnScratch. The caller
// holds writeMu.
func (l *Log) borrowScratch() {
	l.scratch = scratches.Get().(*scratch)
}

func (l *Log) returnScratch() {
	scratches.Put(l.scratch)
	l.scratch = nil
}

// AppendLeader appends entries, the first of index Last+1, and gives each batch
// its base offset and, as leader epoch, its term: it writes both into Data. It
// takes batches as checked by their CRC. Nothing is synced but what the order
// on disk asks for. What is wrong with the entries is found before anything is
// written; a write that fails fails the log (*FailedError).
func (l *Log) AppendLeader(entries []Entry) error { return l.append(entries, true) }

// AppendFollower appends entries as the leader has them: it refuses, before
// anything is written, a batch whose base offset or leader epoch is not the
// one expected here, or whose CRC is wrong.
func (l *Log) AppendFollower(entries []Entry) error { return l.append(entries, false) }

func (l *Log) append(entries []Entry, leader bool) error {
	l.writeMu.Lock()
	defer l.writeMu.Unlock()
	if err := l.writable(); err != nil {
		return err
	}
	l.borrowScratch()
	defer l.returnScratch()
	headers, err := l.checkEntries(entries, leader)
	if err != nil {
		return fmt.Errorf("append: %w", err)
	}
	for len(entries) > 0 {
		var n int
		if entries[0].Kind == KindBatch {
			n, err = l.appendBatches(entries, headers)
		} else {
			n, err = l.appendOthers(entries)
		}
		if err != nil {
			return err
		}
		entries, headers = entries[n:], headers[n:]
	}
	return nil
}

// checkEntries checks that entries continue the log and returns the headers of
// the batches, as they are to be written, parallel to entries; they are valid
// until the next call. On the leader it also writes into the batches.
func (l *Log) checkEntries(entries []Entry, leader bool) ([]record.Header, error) {
	headers := l.scratch.headers[:0]
	end := l.mu.end // only writers change it
	for i := range entries {
		e := &entries[i]
		if e.Index != end.index+1 || e.Term < end.term || e.Term > math.MaxInt64 {
			return nil, fmt.Errorf("entry %d of term %d cannot follow entry %d of term %d", e.Index, e.Term, end.index, end.term)
		}
		h, err := checkEntry(e, end.offset, leader)
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", e.Index, err)
		}
		headers = append(headers, h)
		end.index, end.term = e.Index, e.Term
		if e.Kind == KindBatch {
			end.offset = h.NextOffset()
		}
	}
	if leader {
		for i := range entries {
			if e := &entries[i]; e.Kind == KindBatch {
				record.SetBaseOffset(e.Data, headers[i].BaseOffset)
				record.SetLeaderEpoch(e.Data, headers[i].LeaderEpoch)
			}
		}
	}
	if cap(headers) <= maxScratch {
		l.scratch.headers = headers
	}
	return headers, nil
}

func checkEntry(e *Entry, offset int64, leader bool) (h record.Header, err error) {
	if e.Kind != KindBatch {
		if e.Kind > maxKind || len(e.Data) > maxPayloadBytes {
			return h, fmt.Errorf("kind %d with %d bytes", e.Kind, len(e.Data))
		}
		return h, nil
	}
	if e.Term > math.MaxInt32 {
		return h, fmt.Errorf("term %d does not fit a leader epoch", e.Term)
	}
	if !leader {
		if h, err = record.Verify(e.Data); err != nil {
			return h, err
		}
		if h.BaseOffset != offset || uint64(h.LeaderEpoch) != e.Term {
			return h, fmt.Errorf("batch at offset %d of epoch %d, expected offset %d of epoch %d",
				h.BaseOffset, h.LeaderEpoch, offset, e.Term)
		}
		return h, nil
	}
	if h, err = record.ParseHeader(e.Data); err != nil {
		return h, err
	}
	if h.Bytes() != len(e.Data) {
		return h, fmt.Errorf("batch of %d bytes in %d bytes of data", h.Bytes(), len(e.Data))
	}
	h.BaseOffset, h.LeaderEpoch = offset, int32(e.Term)
	if offset > math.MaxInt64-int64(h.LastOffsetDelta)-1 {
		return h, fmt.Errorf("offset %d overflows", offset)
	}
	return h, nil
}

// appendBatches writes the batches at the start of entries that go into one
// segment under one term, and returns how many they are.
func (l *Log) appendBatches(entries []Entry, headers []record.Header) (int, error) {
	if l.mustRoll(&headers[0], l.mu.end.pos, entries[0].Index) {
		if err := l.roll(); err != nil {
			return 0, err
		}
	}
	term := entries[0].Term
	if !l.mu.state.announced(entries[0].Index, term, l.mu.end.term) {
		rec := journalRecord{typ: recordTerm, index: entries[0].Index, term: term, offset: l.mu.end.offset}
		if err := l.noteTerm(&rec); err != nil {
			return 0, err
		}
	}
	if l.journalDirty() {
		if err := l.syncAll(); err != nil {
			return 0, err
		}
	}
	iov, n := l.scratch.iov[:0], 0
	pos := l.mu.end.pos
	for n < len(entries) && entries[n].Kind == KindBatch && entries[n].Term == term {
		if n > 0 && l.mustRoll(&headers[n], pos, entries[n].Index) {
			break
		}
		iov = append(iov, entries[n].Data)
		pos += int64(len(entries[n].Data))
		n++
	}
	seg := l.active()
	wrote, err := seg.file.WritevAt(iov, l.mu.end.pos)
	clear(iov)
	if cap(iov) <= maxScratch {
		l.scratch.iov = iov
	}
	if want := pos - l.mu.end.pos; err == nil && int64(wrote) != want {
		err = fmt.Errorf("%w: %d of %d bytes", io.ErrShortWrite, wrote, want)
	}
	if err != nil {
		return 0, l.fail("write batches", err)
	}
	return n, l.publish(seg, headers[:n], term)
}

// publish makes batches that were written at the end visible, and indexes them.
func (l *Log) publish(seg *segment, headers []record.Header, term uint64) error {
	now := l.cfg.Now()
	l.mu.Lock()
	end := l.mu.end
	interval := int64(l.mu.limits.IndexIntervalBytes)
	for i := range headers {
		h := &headers[i]
		l.mu.recent.add(end.offset, end.pos, end.index+1)
		seg.index(&end, end.index+1, h, interval)
		if end.pos == 0 {
			seg.firstTime = batchTime(h)
		}
		end.advance(h)
	}
	end.term = term
	seg.modified = now
	l.setEnd(end)
	full := len(seg.idx.pending) >= l.cfg.indexFlush
	l.mu.Unlock()
	if full {
		return l.flushIndex(&seg.idx, true)
	}
	return nil
}

// index adds an entry for the batch h at p if one is due.
func (s *segment) index(p *point, nextIndex uint64, h *record.Header, interval int64) {
	if p.pos > 0 && s.idx.since >= interval {
		if e, ok := s.entryAt(p, nextIndex, h.LeaderEpoch); ok {
			s.idx.add(e)
		}
	}
	s.idx.since += int64(h.Bytes())
}

// advance moves p behind the batch h that begins there.
func (p *point) advance(h *record.Header) {
	invariants.Check(h.BaseOffset == p.offset, "batch at offset %d after offset %d", h.BaseOffset, p.offset)
	p.note(batchTime(h), h.BaseOffset)
	p.pos += int64(h.Bytes())
	p.offset = h.NextOffset()
	p.index++
	p.term = uint64(h.LeaderEpoch)
}

// setEnd publishes the end of the log. The caller holds mu.
func (l *Log) setEnd(end point) {
	l.mu.end = end
	seg := l.active()
	seg.size, seg.endOffset = end.pos, end.offset
	seg.maxTime, seg.maxTimeOffset = end.maxTime, end.maxTimeOffset
}

// flushIndex writes what is pending of an index. Only the writer calls it.
func (l *Log) flushIndex(idx *index, keep bool) error {
	if len(idx.pending) == 0 {
		return nil
	}
	if err := idx.write(); err != nil {
		return l.fail("write index", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	idx.flushDone(keep)
	return nil
}

// appendOthers writes the entries at the start that go into the journal, and
// returns how many they are.
func (l *Log) appendOthers(entries []Entry) (int, error) {
	if !l.journalDirty() {
		if err := l.syncAll(); err != nil { // all data before them
			return 0, err
		}
	}
	buf, n := l.scratch.journal[:0], 0
	offset := l.mu.end.offset
	for n < len(entries) && entries[n].Kind != KindBatch && (n == 0 || len(buf) < bodyWindow) {
		e := &entries[n]
		rec := journalRecord{typ: recordEntry, kind: e.Kind, index: e.Index, term: e.Term, offset: offset, data: e.Data}
		buf = rec.append(buf)
		n++
	}
	if cap(buf) <= bodyWindow {
		l.scratch.journal = buf
	}
	pos := l.mu.journalSize
	if err := l.writeJournal(buf); err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range entries[:n] {
		e := &entries[i]
		rec := journalRecord{typ: recordEntry, kind: e.Kind, index: e.Index, term: e.Term, offset: offset, data: e.Data}
		l.mu.state.addEntry(&rec, pos)
		pos += rec.bytes()
	}
	l.mu.end.index, l.mu.end.term = entries[n-1].Index, entries[n-1].Term
	l.mu.journalDirty = true
	return n, nil
}

func (l *Log) journalDirty() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.journalDirty
}

// writeJournal appends encoded records, not synced.
func (l *Log) writeJournal(b []byte) error {
	n, err := l.mu.journal.file.WriteAt(b, l.mu.journalSize)
	if err == nil && n != len(b) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return l.fail("write journal", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.journalSize += int64(len(b))
	return nil
}

// record appends one record that is no entry and syncs it. The caller holds
// writeMu and syncMu, and applies it to the state afterwards.
func (l *Log) record(rec *journalRecord) error {
	if err := l.writeJournal(rec.append(make([]byte, 0, recordFixedBytes))); err != nil {
		return err
	}
	if err := l.syncFile(l.mu.journal.file, 0); err != nil {
		return l.fail("sync journal", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.journalSynced = l.mu.journalSize
	return nil
}

// noteTerm writes that a term begins with a batch.
func (l *Log) noteTerm(rec *journalRecord) error {
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	if err := l.syncLocked(); err != nil {
		return err
	}
	if err := l.record(rec); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.state.addTerm(rec, true)
	return nil
}

// mustRoll says whether the batch h, entry index, goes into a new segment
// instead of the active one, which then holds pos bytes.
func (l *Log) mustRoll(h *record.Header, pos int64, index uint64) bool {
	if pos == 0 {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	seg, limits := l.active(), &l.mu.limits
	switch {
	case pos+int64(h.Bytes()) > limits.SegmentBytes, pos+int64(h.Bytes()) > maxRelative:
		return true
	case h.LastOffset()-seg.base > maxRelative, index-seg.firstIndex > maxRelative:
		return true
	case limits.SegmentMillis <= 0 || seg.size == 0:
		return false
	}
	age := l.cfg.Now().Sub(seg.created).Milliseconds()
	if ts := batchTime(h); seg.firstTime >= 0 && ts >= 0 {
		age = ts - seg.firstTime
	}
	return age > limits.SegmentMillis-int64(seg.jitter*float64(limits.SegmentJitterMillis))
}

// Roll seals the active segment and begins a new one, unless it is empty.
func (l *Log) Roll() error {
	l.writeMu.Lock()
	defer l.writeMu.Unlock()
	if err := l.writable(); err != nil {
		return err
	}
	if l.mu.end.pos == 0 {
		return nil
	}
	return l.roll()
}

// roll begins a segment at the end of the log. The caller holds writeMu.
func (l *Log) roll() error {
	l.syncMu.Lock()
	err := l.rollLocked()
	l.syncMu.Unlock()
	if err != nil {
		return err
	}
	return l.WriteMark()
}

func (l *Log) rollLocked() error {
	if err := l.syncLocked(); err != nil {
		return err
	}
	end, old := l.mu.end, l.active()
	if err := l.seal(old, &end); err != nil {
		return err
	}
	start := segmentStart{base: end.offset, firstIndex: end.index + 1, termBefore: end.term}
	seg, err := l.newSegment(start)
	if err != nil {
		return l.fail("roll", err)
	}
	rec := journalRecord{typ: recordRoll, index: start.firstIndex, term: start.termBefore, offset: start.base}
	if err := l.record(&rec); err != nil {
		return errors.Join(err, seg.release())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.state.addRoll(&rec)
	l.mu.segs = append(l.mu.segs[:len(l.mu.segs):len(l.mu.segs)], seg)
	l.mu.end = seg.start()
	l.mu.durable = l.mu.end
	l.mu.recent.restart(l.active().base)
	l.mu.rolls++
	return nil
}

// seal writes the last entry of a segment's index and syncs it.
func (l *Log) seal(seg *segment, end *point) error {
	if e, ok := seg.entryAt(end, end.index+1, footerEpoch); ok {
		l.mu.Lock()
		seg.idx.add(e)
		l.mu.Unlock()
	}
	if err := l.flushIndex(&seg.idx, false); err != nil {
		return err
	}
	if err := l.syncFile(seg.idx.file, 0); err != nil {
		return l.fail("sync index", err)
	}
	return nil
}

// newSegment creates the files of a segment, durably.
func (l *Log) newSegment(start segmentStart) (*segment, error) {
	seg, err := createSegment(l.fs, l.dir, start, l.cfg.Now())
	if err != nil {
		return nil, err
	}
	seg.jitter = rand.Float64()
	if err := l.fs.SyncDir(l.dir); err != nil {
		return nil, errors.Join(fmt.Errorf("sync directory: %w", err), seg.release())
	}
	return seg, nil
}
