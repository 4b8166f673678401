package log

import (
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/fanfold/fanfold/protocol/record"
)

// openSealed opens all segments but the last. Their data was synced before the
// next one began; the last entry of their index says where they end.
func (r *recovery) openSealed() error {
	for i, start := range r.state.segs[:len(r.state.segs)-1] {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		seg, _, err := r.openSegment(start)
		if err != nil {
			return err
		}
		next := r.state.segs[i+1]
		if start.gen > 0 && seg.size != start.bytes {
			return &CorruptionError{File: seg.path, Pos: min(seg.size, start.bytes), Offset: -1, Cause: fmt.Errorf(
				"the file has %d bytes, compaction wrote %d", seg.size, start.bytes)}
		}
		footer, ok, err := readFooter(seg, next)
		if err != nil {
			return err
		}
		if !ok {
			if footer, err = r.rebuildSealed(seg, next); err != nil {
				return err
			}
		}
		seg.endOffset = next.base
		seg.maxTime, seg.maxTimeOffset = footer.maxTime, start.base+int64(footer.maxTimeOffset)
		if err := readFirstTime(seg); err != nil {
			return err
		}
	}
	return nil
}

// readFooter reads the last entry of a sealed segment's index; ok says that it
// fits the file's size and the next segment's start.
func readFooter(seg *segment, next segmentStart) (e indexEntry, ok bool, err error) {
	size, err := seg.idx.file.Size()
	if err != nil || size == 0 || size%indexEntryBytes != 0 {
		return e, false, err
	}
	n := int(size / indexEntryBytes)
	var buf [indexEntryBytes]byte
	e, err = seg.idx.read(n-1, buf[:])
	if violationOf(err) != nil {
		return e, false, nil
	}
	if err != nil {
		return e, false, fmt.Errorf("read index: %w", err)
	}
	seg.idx.flushed = n
	return e, e.epoch == footerEpoch && int64(e.pos) == seg.size && seg.base+int64(e.offset) == next.base &&
		seg.firstIndex+uint64(e.index) == next.firstIndex, nil
}

// rebuildSealed reads the headers of a sealed segment and writes its index
// anew.
func (r *recovery) rebuildSealed(seg *segment, next segmentStart) (indexEntry, error) {
	w, err := r.newIndexer(seg)
	if err != nil {
		return indexEntry{}, err
	}
	at := seg.start()
	m := mergeFrom(r.state, at)
	br := newBatchReader(seg.file, 0, seg.size, make([]byte, headerWindow))
	for {
		err := m.passEntries(next.firstIndex - 1)
		var h record.Header
		if err == nil {
			h, err = br.header()
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = m.check(&h)
		}
		if err == nil && h.NextOffset() > next.base {
			err = violation("batch at offset %d to %d reaches into the next segment", h.BaseOffset, h.LastOffset())
		}
		if err != nil {
			return indexEntry{}, corruptIf(err, seg.path, br.pos, m.offset)
		}
		at.index, at.offset = m.index, h.BaseOffset
		if err := w.batch(&at, &h); err != nil {
			return indexEntry{}, err
		}
		m.pass(&h)
		br.skip(&h)
	}
	if m.holes && m.sum != m.wantSum {
		return indexEntry{}, &CorruptionError{File: seg.path, Pos: -1, Offset: seg.base, Cause: errWrongBatches}
	}
	if !m.endsAt(next) {
		return indexEntry{}, &CorruptionError{File: seg.path, Pos: br.pos, Offset: m.offset, Cause: fmt.Errorf(
			"segment ends at offset %d, entry %d; the next begins at offset %d, entry %d", m.offset, m.index, next.base, next.firstIndex)}
	}
	at.offset = next.base
	footer, _ := seg.entryAt(&at, next.firstIndex, footerEpoch)
	seg.idx.add(footer)
	if err := w.flush(false); err != nil {
		return indexEntry{}, err
	}
	r.l.cfg.Logger.Info("index is built anew", "file", indexPath(seg.path))
	return footer, seg.idx.file.Sync()
}

// indexer builds an index while a segment is read.
type indexer struct {
	seg      *segment
	interval int64
	flushAt  int
}

// newIndexer empties the index of seg.
func (r *recovery) newIndexer(seg *segment) (*indexer, error) {
	seg.idx.flushed, seg.idx.pending, seg.idx.since = 0, nil, 0
	if err := truncateFile(seg.idx.file, 0); err != nil {
		return nil, err
	}
	return r.indexer(seg), nil
}

func (r *recovery) indexer(seg *segment) *indexer {
	return &indexer{seg: seg, interval: int64(r.l.mu.limits.IndexIntervalBytes), flushAt: r.l.cfg.indexFlush}
}

// batch takes the batch h that begins at at, and moves at behind it.
func (w *indexer) batch(at *point, h *record.Header) error {
	w.seg.index(at, at.index+1, h, w.interval)
	at.advance(h)
	if len(w.seg.idx.pending) < w.flushAt {
		return nil
	}
	return w.flush(true)
}

func (w *indexer) flush(keep bool) error {
	if len(w.seg.idx.pending) == 0 {
		return nil
	}
	if err := w.seg.idx.write(); err != nil {
		return fmt.Errorf("write index: %w", err)
	}
	w.seg.idx.flushDone(keep)
	return nil
}

// readFirstTime reads the timestamp of a segment's first batch.
func readFirstTime(seg *segment) error {
	if seg.size == 0 {
		return nil
	}
	var buf [record.HeaderBytes]byte
	h, err := newBatchReader(seg.file, 0, seg.size, buf[:]).header()
	if err != nil {
		return corruptIf(err, seg.path, 0, seg.base)
	}
	seg.firstTime = batchTime(&h)
	return nil
}

// openActive opens the last segment: what the mark covers is known to be good,
// what is behind it is read and checked, and cut where it is not.
func (r *recovery) openActive() error {
	start := r.state.segs[len(r.state.segs)-1]
	seg, fresh, err := r.openSegment(start)
	if err != nil {
		return err
	}
	w := activeWalk{r: r, seg: seg, floor: r.state.floor, at: seg.start()}
	if err := w.useMark(); err != nil {
		return err
	}
	if err := w.loadIndex(fresh); err != nil {
		return err
	}
	if err := w.headersToMark(); err != nil {
		return err
	}
	if err := w.batchesToEnd(); err != nil {
		return err
	}
	seg.size, seg.endOffset = w.at.pos, w.at.offset
	seg.maxTime, seg.maxTimeOffset = w.at.maxTime, w.at.maxTimeOffset
	r.end = w.at
	r.end.index, r.end.term = w.m.index, w.m.term
	return readFirstTime(seg)
}

// activeWalk is the way through the last segment.
type activeWalk struct {
	r     *recovery
	seg   *segment
	mark  *point // nil where there is none in this segment
	floor int64  // all data below this offset was synced
	at    point  // its index and term are filled in by loadIndex and m
	m     merge
	index *indexer
}

func (w *activeWalk) damage(pos int64, format string, args ...any) error {
	return &CorruptionError{File: w.seg.path, Pos: pos, Offset: w.at.offset, Cause: fmt.Errorf(format, args...)}
}

// useMark finds out whether the mark is about this segment.
func (w *activeWalk) useMark() error {
	r := w.r
	if !r.marked || r.mark.at.base < w.seg.base {
		r.unclean = true
		return nil
	}
	if r.mark.at.base > w.seg.base {
		return r.damaged(journalName, "the journal's last segment is %d, the mark knows of %d", w.seg.base, r.mark.at.base)
	}
	w.mark = &r.mark.at
	w.floor = max(w.floor, w.mark.offset)
	if !r.mark.clean || w.mark.pos != w.seg.size {
		r.unclean = true
	}
	if w.seg.size < w.mark.pos {
		return w.damage(w.seg.size, "the file ends here, %d bytes were synced", w.mark.pos)
	}
	return nil
}

// loadIndex takes the part of the index that lies below the mark, if it proves
// good, and begins the walk at its last entry.
func (w *activeWalk) loadIndex(fresh bool) error {
	idx := &w.seg.idx
	w.index = w.r.indexer(w.seg)
	n, last := 0, indexEntry{}
	if !fresh && w.mark != nil {
		var err error
		if n, last, err = w.provenIndex(); err != nil {
			return err
		}
	}
	idx.flushed, idx.pending, idx.since = n, nil, 0
	have, err := idx.file.Size()
	if err != nil {
		return err
	}
	if size := int64(n) * indexEntryBytes; have != size {
		// Synced before anything is appended: an entry that came back after a
		// power loss would be taken for one of what is written from now on.
		w.r.unclean = true
		if err := truncateFile(idx.file, size); err != nil {
			return err
		}
	}
	if n > 0 {
		w.at.pos, w.at.offset = int64(last.pos), w.seg.base+int64(last.offset)
		w.at.index = w.seg.firstIndex + uint64(last.index) - 1
		w.at.term = w.r.state.termAt(w.at.index)
		w.at.maxTime, w.at.maxTimeOffset = last.maxTime, w.seg.base+int64(last.maxTimeOffset)
		idx.since = 0
	}
	w.m = mergeFrom(w.r.state, w.at)
	return nil
}

// provenIndex is how many entries of the index are good below the mark: after a
// clean stop the last one is proof enough, otherwise each is looked at. The
// last one must name a batch that is there.
func (w *activeWalk) provenIndex() (int, indexEntry, error) {
	idx := &w.seg.idx
	size, err := idx.file.Size()
	if err != nil {
		return 0, indexEntry{}, err
	}
	if n := int(size / indexEntryBytes); !w.r.unclean && n > 0 && size%indexEntryBytes == 0 {
		var buf [indexEntryBytes]byte
		if e, err := idx.read(n-1, buf[:]); err == nil && e.follows(nil, false) && w.names(&e) {
			return n, e, nil
		}
	}
	n, last, err := idx.goodPrefix(w.mark.pos)
	if err != nil || n == 0 || w.names(&last) {
		return n, last, err
	}
	return 0, indexEntry{}, nil
}

// names says whether e names a batch below the mark.
func (w *activeWalk) names(e *indexEntry) bool {
	if int64(e.pos) >= w.mark.pos {
		return false
	}
	var buf [record.HeaderBytes]byte
	h, err := newBatchReader(w.seg.file, int64(e.pos), w.mark.pos, buf[:]).header()
	return err == nil && h.BaseOffset == w.seg.base+int64(e.offset) && h.LeaderEpoch == e.epoch
}

// headersToMark goes from the last index entry to the mark by the headers. What
// it meets was durable: anything wrong is damage.
func (w *activeWalk) headersToMark() error {
	if w.mark == nil {
		return nil
	}
	br := newBatchReader(w.seg.file, w.at.pos, w.mark.pos, make([]byte, headerWindow))
	for br.pos < w.mark.pos {
		err := w.m.passEntries(math.MaxUint64)
		var h record.Header
		if err == nil {
			h, err = br.header()
		}
		if err == nil {
			err = w.m.check(&h)
		}
		if err == nil {
			err = w.take(&h)
		}
		if err != nil {
			return corruptIf(err, w.seg.path, br.pos, w.at.offset)
		}
		br.skip(&h)
	}
	if err := w.m.passEntries(w.mark.index); err != nil {
		return corruptIf(err, w.r.path(journalName), -1, w.at.offset)
	}
	if w.at.offset != w.mark.offset || w.m.index != w.mark.index || w.m.term != w.mark.term ||
		w.at.maxTime != w.mark.maxTime || w.at.maxTimeOffset != w.mark.maxTimeOffset {
		return w.damage(w.mark.pos, "offset %d, entry %d of term %d, largest time %d at %d; the mark says offset %d, entry %d of term %d, %d at %d",
			w.at.offset, w.m.index, w.m.term, w.at.maxTime, w.at.maxTimeOffset,
			w.mark.offset, w.mark.index, w.mark.term, w.mark.maxTime, w.mark.maxTimeOffset)
	}
	return nil
}

// take passes a batch that was checked.
func (w *activeWalk) take(h *record.Header) error {
	w.at.index = w.m.index
	if err := w.index.batch(&w.at, h); err != nil {
		return err
	}
	w.m.pass(h)
	return nil
}

// batchesToEnd reads and checks every batch behind the mark, and cuts the file
// at the first that is not good.
func (w *activeWalk) batchesToEnd() error {
	if w.at.pos == w.seg.size {
		return w.endWalk()
	}
	buf := bodyBuffers.Get().(*[bodyWindow]byte)
	defer bodyBuffers.Put(buf)
	br := newBatchReader(w.seg.file, w.at.pos, w.seg.size, buf[:])
	for {
		if err := w.r.ctx.Err(); err != nil {
			return err
		}
		h, err := w.next(br)
		if errors.Is(err, io.EOF) {
			return w.endWalk()
		}
		if cause := violationOf(err); cause != nil {
			return w.cut(br.pos, cause)
		}
		if err != nil {
			return err
		}
		if err := w.take(&h); err != nil {
			return err
		}
		br.skip(&h)
	}
}

func (w *activeWalk) next(br *batchReader) (record.Header, error) {
	if err := w.m.passEntries(math.MaxUint64); err != nil {
		return record.Header{}, err
	}
	h, err := br.header()
	if err == nil {
		err = w.m.check(&h)
	}
	if err == nil {
		err = br.checkCRC(&h)
	}
	return h, err
}

// cut cuts the segment at pos, where cause was found, if all that was durable
// is before it.
func (w *activeWalk) cut(pos int64, cause error) error {
	if w.at.offset < w.floor || len(w.m.entries) > 0 {
		return &CorruptionError{File: w.seg.path, Pos: pos, Offset: w.at.offset, Cause: cause}
	}
	w.r.unclean = true
	w.r.l.cfg.Logger.Info("torn tail is cut", "file", w.seg.path, "position", pos, "offset", w.at.offset,
		"bytes", w.seg.size-pos, "cause", cause)
	if err := w.seg.file.Truncate(pos); err != nil {
		return err
	}
	return w.endWalk()
}

// endWalk makes sure that all is there that must be.
func (w *activeWalk) endWalk() error {
	if err := w.m.passEntries(math.MaxUint64); err != nil {
		return corruptIf(err, w.seg.path, w.at.pos, w.at.offset)
	}
	if w.at.offset < w.floor {
		return w.damage(w.at.pos, "the log ends here, it was synced up to offset %d", w.floor)
	}
	if len(w.m.entries) > 0 {
		e := &w.m.entries[0]
		return &CorruptionError{File: w.r.path(journalName), Pos: e.pos - recordFixedBytes, Offset: e.offset, Cause: fmt.Errorf(
			"entry %d at offset %d, but the log ends with entry %d at offset %d", e.index, e.offset, w.m.index, w.at.offset)}
	}
	return nil
}
