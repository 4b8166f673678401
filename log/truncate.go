package log

import (
	"errors"
	"fmt"
	"io"

	"github.com/fanfold/fanfold/internal/vfs"
)

// Truncate removes the entries of index from and above, durably. It is an
// error to go below First; beyond Last there is nothing to do.
func (l *Log) Truncate(from uint64) error {
	l.writeMu.Lock()
	defer l.writeMu.Unlock()
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	if err := l.writable(); err != nil {
		return err
	}
	if from > l.mu.end.index {
		return nil
	}
	if first := l.First(); from < first {
		return fmt.Errorf("truncate from entry %d: the log begins at entry %d", from, first)
	}
	if err := l.syncLocked(); err != nil {
		return err
	}
	cut, err := l.placeBefore(from)
	if err != nil {
		return fmt.Errorf("truncate from entry %d: %w", from, err)
	}
	if err := l.lowerMark(cut); err != nil {
		return err
	}
	begin := journalRecord{typ: recordTruncateBegin, index: from, term: cut.term, offset: cut.offset}
	if err := l.record(&begin); err != nil {
		return err
	}
	gone := l.unpublish(&begin, cut)
	if err := l.removeSegments(gone); err != nil {
		return l.fail("truncate", err)
	}
	if err := l.cutActive(cut); err != nil {
		return l.fail("truncate", err)
	}
	if err := l.fs.SyncDir(l.dir); err != nil {
		return l.fail("truncate", err)
	}
	done := begin
	done.typ = recordTruncateDone
	if err := l.record(&done); err != nil {
		return err
	}
	l.mu.Lock()
	l.mu.state.begun = nil
	l.mu.Unlock()
	return l.compactJournal()
}

// placeBefore is the place before the entry from, which is in the log, with the
// segment that is to be the last one. The caller holds writeMu.
func (l *Log) placeBefore(from uint64) (point, error) {
	info, err := l.Entry(from)
	if err != nil {
		return point{}, err
	}
	keep, first := len(l.mu.segs), l.mu.state.settled
	for keep > first+1 && l.mu.segs[keep-1].firstIndex >= from {
		keep--
	}
	p, err := l.stateAt(l.mu.segs[keep-1], info.OffsetAt)
	if err != nil {
		return p, err
	}
	p.index = from - 1
	p.term = l.mu.segs[first].termBefore
	if from > l.mu.segs[first].firstIndex {
		p.term = l.mu.state.termAt(from - 1)
	}
	return p, nil
}

// stateAt is the place in seg before the batch at offset, or its end. Index and
// term are not filled in.
func (l *Log) stateAt(seg *segment, offset int64) (point, error) {
	buf := headerBuffers.Get().(*[headerWindow]byte)
	defer headerBuffers.Put(buf)
	l.mu.Lock()
	size := seg.size
	l.mu.Unlock()
	p := seg.start()
	rel, _ := relative(offset, seg.base)
	if e, ok := l.searchIndex(seg, func(e indexEntry) bool { return e.offset <= rel }, buf[:]); ok {
		p.pos, p.offset = int64(e.pos), seg.base+int64(e.offset)
		p.maxTime, p.maxTimeOffset = e.maxTime, seg.base+int64(e.maxTimeOffset)
	}
	r := newBatchReader(seg.file, p.pos, size, buf[:])
	for p.offset < offset {
		h, err := r.header()
		if err == nil && h.BaseOffset != p.offset {
			err = violation("base offset %d, expected %d", h.BaseOffset, p.offset)
		}
		if errors.Is(err, io.EOF) {
			err = violation("segment ends at offset %d", p.offset)
		}
		if err != nil {
			return p, corruptIf(err, seg.path, p.pos, p.offset)
		}
		p.advance(&h)
		r.skip(&h)
	}
	if p.offset != offset {
		return p, fmt.Errorf("offset %d is inside the batch before %d", offset, p.offset)
	}
	return p, nil
}

// lowerMark takes back the claim to what lies behind cut, durably.
func (l *Log) lowerMark(cut point) error {
	l.markMu.Lock()
	defer l.markMu.Unlock()
	l.mu.Lock()
	l.mu.durable = cut
	l.mu.Unlock()
	if err := l.mark.writeBoth(l.durableMark()); err != nil {
		return l.fail("lower mark", err)
	}
	return nil
}

// unpublish lets readers see the log end at cut, and returns the segments that
// are no longer in it.
func (l *Log) unpublish(begin *journalRecord, cut point) []*segment {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.state.cut(begin.index, begin.offset)
	l.mu.state.begun = begin
	keep := len(l.mu.state.segs)
	gone := l.mu.segs[keep:]
	l.mu.segs = l.mu.segs[:keep:keep]
	l.setEnd(cut)
	if cut.pos == 0 {
		l.active().firstTime = -1
	}
	l.mu.recent.restart(l.active().base)
	l.mu.cursors.clear()
	l.mu.cuts++
	return gone
}

// removeSegments removes the files of segments, newest first.
func (l *Log) removeSegments(segs []*segment) error {
	for i := len(segs) - 1; i >= 0; i-- {
		for _, path := range []string{segs[i].path, indexPath(segs[i].path)} {
			if err := l.fs.Remove(path); err != nil && !isNotExist(err) {
				return err
			}
		}
		if err := segs[i].release(); err != nil {
			return err
		}
	}
	return nil
}

// cutActive cuts the active segment and its index at cut, durably.
func (l *Log) cutActive(cut point) error {
	seg := l.active()
	if err := truncateFile(seg.file, cut.pos); err != nil {
		return err
	}
	if err := l.syncFile(seg.file, 0); err != nil {
		return err
	}
	n, last, err := l.indexBelow(seg, cut.pos)
	if err != nil {
		return err
	}
	l.mu.Lock()
	idx := &seg.idx
	if n >= idx.flushed {
		idx.pending = idx.pending[:(n-idx.flushed)*indexEntryBytes]
	} else {
		idx.flushed, idx.pending = n, nil
	}
	idx.since = cut.pos - int64(last.pos)
	size := int64(idx.flushed) * indexEntryBytes
	l.mu.Unlock()
	if err := truncateFile(idx.file, size); err != nil {
		return err
	}
	return l.syncFile(idx.file, 0)
}

// indexBelow counts the index entries of seg with positions below pos, and
// returns the last of them.
func (l *Log) indexBelow(seg *segment, pos int64) (int, indexEntry, error) {
	var last indexEntry
	n := 0
	buf := headerBuffers.Get().(*[headerWindow]byte)
	defer headerBuffers.Put(buf)
	for n < seg.idx.count() {
		e, err := l.indexEntry(seg, n, buf[:])
		if violationOf(err) != nil {
			break // what follows a doubtful entry is dropped
		}
		if err != nil {
			return 0, last, fmt.Errorf("read index: %w", err)
		}
		if int64(e.pos) >= pos {
			break
		}
		last = e
		n++
	}
	return n, last, nil
}

// indexEntry reads one entry from file or memory. Only the writer calls it.
func (l *Log) indexEntry(seg *segment, number int, buf []byte) (indexEntry, error) {
	if i := number - seg.idx.flushed; i >= 0 {
		return parseIndexEntry(seg.idx.pending[i*indexEntryBytes:], seg.base, number)
	}
	return seg.idx.read(number, buf)
}

// truncateFile cuts f to size bytes if it is longer.
func truncateFile(f vfs.File, size int64) error {
	have, err := f.Size()
	if err != nil {
		return err
	}
	if have <= size {
		return nil
	}
	return f.Truncate(size)
}
