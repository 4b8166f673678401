package log

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
)

// Range is a row of whole batches in one segment's file. The zero Range is
// empty and valid. It holds the file open until Release, whatever becomes of
// the segment, so it is released exactly once, and not used afterwards.
type Range struct {
	seg *segment
	pos int64
	n   int
}

// Len is the size in bytes.
func (r Range) Len() int { return r.n }

// ReadAt reads from off bytes behind the range's start, as io.ReaderAt does.
func (r Range) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= int64(r.n) {
		if off >= 0 {
			return 0, io.EOF
		}
		return 0, fmt.Errorf("read range: offset %d is negative", off)
	}
	short := int64(len(p)) > int64(r.n)-off
	if short {
		p = p[:int64(r.n)-off]
	}
	n, err := r.seg.file.ReadAt(p, r.pos+off)
	if err == nil && short {
		err = io.EOF
	}
	return n, err
}

// OSFile is the file that holds the range from byte Pos on, for sendfile; nil
// where there is none. Its own position must not be used.
func (r Range) OSFile() *os.File {
	if r.seg == nil {
		return nil
	}
	return r.seg.file.OSFile()
}

// Pos is where the range begins in its file, in bytes.
func (r Range) Pos() int64 { return r.pos }

// Release gives up the hold on the file.
func (r Range) Release() {
	if r.seg != nil {
		// The file was read only: an error of closing it means nothing.
		_ = r.seg.release()
	}
}

// place is where a batch begins.
type place struct {
	base   int64 // of its segment
	offset int64
	pos    int64
	index  uint64 // 0: not known
}

// recentPlaces are where batches begin that readers are likely to ask for: the
// newest ones, and where the last fetches ended. Its zero values are true of
// any log: offset 0 is at the start of segment 0.
type recentPlaces struct {
	tail      [32]place // in the active segment
	tailNext  int
	fetches   [8]place
	fetchNext int
	tailBase  int64
}

func (r *recentPlaces) add(offset, pos int64, index uint64) {
	r.tail[r.tailNext%len(r.tail)] = place{base: r.tailBase, offset: offset, pos: pos, index: index}
	r.tailNext++
}

func (r *recentPlaces) addFetch(p place) {
	r.fetches[r.fetchNext%len(r.fetches)] = p
	r.fetchNext++
}

// find looks for the batch that begins at offset in the segment base.
func (r *recentPlaces) find(base, offset int64) (pos int64, ok bool) {
	for i := range r.tail {
		if p := &r.tail[i]; p.offset == offset && p.base == base {
			return p.pos, true
		}
	}
	for i := range r.fetches {
		if p := &r.fetches[i]; p.offset == offset && p.base == base {
			return p.pos, true
		}
	}
	return 0, false
}

// findIndex looks for the batch of that index in the segment base.
func (r *recentPlaces) findIndex(base int64, index uint64) (place, bool) {
	for i := range r.tail {
		if p := r.tail[i]; p.index == index && p.base == base {
			return p, true
		}
	}
	return place{}, false
}

// restart forgets all; the active segment is now that of base.
func (r *recentPlaces) restart(base int64) { *r = recentPlaces{tailBase: base} }

// snapshot is what a reader takes from under mu.
type snapshot struct {
	seg       *segment // with a reference
	size      int64
	endOffset int64
	cuts      uint64
}

// segmentFor is the number of the segment that holds offset. The caller holds mu.
func (l *Log) segmentFor(offset int64) int {
	segs := l.mu.segs
	return max(0, sort.Search(len(segs), func(i int) bool { return segs[i].base > offset })-1)
}

// snap takes segment i. The caller holds mu.
func (l *Log) snap(i int) snapshot {
	s := l.mu.segs[i]
	s.acquire()
	return snapshot{seg: s, size: s.size, endOffset: s.endOffset, cuts: l.mu.cuts}
}

// outdated says that what looked like damage to a reader may come from entries
// that were removed since it took its snapshot.
func (l *Log) outdated(err error, cuts uint64) bool {
	var damage *CorruptionError
	if !errors.As(err, &damage) {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.cuts != cuts
}

// Read finds the whole batches from the one that holds offset on, or where
// compaction left none from the first one behind it, of one segment, none of which reaches maxOffset, which is the start of a batch or
// the log's end, and whose bytes are at most maxBytes; with minOne the first
// one comes even if it is larger. It reads none of their records. Where there
// is nothing the Range is empty. It returns ErrOffsetOutOfRange for an offset
// below StartOffset or above EndOffset.
func (l *Log) Read(offset, maxOffset int64, maxBytes int, minOne bool) (Range, error) {
	for {
		r, cuts, err := l.read(offset, maxOffset, maxBytes, minOne)
		if err != nil && l.outdated(err, cuts) {
			continue
		}
		return r, err
	}
}

func (l *Log) read(offset, maxOffset int64, maxBytes int, minOne bool) (Range, uint64, error) {
	for {
		r, next, cuts, err := l.readSegment(offset, maxOffset, maxBytes, minOne)
		if err != nil || next <= offset {
			return r, cuts, err
		}
		offset = next // there is nothing from offset on to the next segment
	}
}

// readSegment is Read in the segment that holds offset. Where compaction left
// nothing in it from there on, next is where the next segment starts.
func (l *Log) readSegment(offset, maxOffset int64, maxBytes int, minOne bool) (r Range, next int64, cuts uint64, err error) {
	l.mu.Lock()
	if l.mu.closed {
		l.mu.Unlock()
		return Range{}, 0, 0, ErrClosed
	}
	if offset < l.mu.segs[0].base || offset > l.mu.end.offset {
		l.mu.Unlock()
		return Range{}, 0, 0, ErrOffsetOutOfRange
	}
	limit := min(maxOffset, l.mu.end.offset)
	if offset >= limit {
		l.mu.Unlock()
		return Range{}, 0, 0, nil
	}
	s := l.snap(l.segmentFor(offset))
	f := finder{l: l, snapshot: s}
	start := place{base: s.seg.base, offset: offset}
	var startKnown, endKnown bool
	start.pos, startKnown = l.mu.recent.find(s.seg.base, offset)
	end := place{base: s.seg.base, offset: s.endOffset, pos: s.size}
	if limit < s.endOffset {
		end.offset = limit
		end.pos, endKnown = l.mu.recent.find(s.seg.base, limit)
	} else {
		endKnown = true
	}
	l.mu.Unlock()

	r, err = f.find(start, startKnown, end, endKnown, maxBytes, minOne)
	f.done()
	if err == nil && r.n == 0 && s.seg.holes() && r.pos == s.size {
		next = s.endOffset
	}
	if err != nil || r.n == 0 {
		_ = s.seg.release()
		return Range{}, next, s.cuts, err
	}
	return r, 0, s.cuts, nil
}

// finder finds places in one segment.
type finder struct {
	l *Log
	snapshot
	buf *[headerWindow]byte
}

func (f *finder) window() []byte {
	if f.buf == nil {
		f.buf = headerBuffers.Get().(*[headerWindow]byte)
	}
	return f.buf[:]
}

func (f *finder) done() {
	if f.buf != nil {
		headerBuffers.Put(f.buf)
		f.buf = nil
	}
}

// find does the work of Read once it is known what is known.
func (f *finder) find(start place, startKnown bool, end place, endKnown bool, maxBytes int, minOne bool) (Range, error) {
	if !startKnown {
		from, _ := f.search(func(e indexEntry) bool { return f.seg.base+int64(e.offset) <= start.offset })
		var err error
		if start, err = f.scan(from, start.offset, f.size); err != nil {
			return Range{}, err
		}
	}
	capPos := start.pos + int64(max(maxBytes, 0))
	if !endKnown {
		limit := end.offset
		from, _ := f.search(func(e indexEntry) bool { return f.seg.base+int64(e.offset) <= limit })
		if from.pos < start.pos {
			from = start
		}
		end = from
		if from.pos <= capPos {
			var err error
			if end, err = f.scan(from, limit, f.size); err != nil {
				return Range{}, err
			}
		}
	}
	if end.pos > capPos {
		var err error
		if end, err = f.floor(start, end, capPos, minOne); err != nil {
			return Range{}, err
		}
	}
	f.remember(end)
	return Range{seg: f.seg, pos: start.pos, n: int(end.pos - start.pos)}, nil
}

// floor is the last batch boundary it finds at or below capPos, or the end of
// the first batch if that is above and minOne.
func (f *finder) floor(start, end place, capPos int64, minOne bool) (place, error) {
	from, ok := f.search(func(e indexEntry) bool { return int64(e.pos) <= capPos })
	if ok && from.pos > start.pos {
		return from, nil
	}
	r := newBatchReader(f.seg.file, start.pos, end.pos, f.window())
	at := start
	for {
		h, err := r.header()
		if errors.Is(err, io.EOF) {
			return at, nil
		}
		if err != nil {
			return at, corruptIf(err, f.seg.path, at.pos, at.offset)
		}
		if at.pos+int64(h.Bytes()) > capPos && (at != start || !minOne) {
			return at, nil
		}
		r.skip(&h)
		at.pos, at.offset = r.pos, h.NextOffset()
		if at.pos > capPos {
			return at, nil
		}
	}
}

// search is the last place in the index for which ok holds, or the segment's
// start.
func (f *finder) search(ok probe) (place, bool) {
	e, found := f.l.searchIndex(f.seg, ok, f.window())
	if !found || int64(e.pos) > f.size {
		return place{base: f.seg.base, offset: f.seg.base}, false
	}
	return place{base: f.seg.base, offset: f.seg.base + int64(e.offset), pos: int64(e.pos)}, true
}

// follows says whether a batch at base may come next after one that ends at
// offset.
func (f *finder) follows(offset, base int64) error {
	if base != offset && (base < offset || !f.seg.holes()) {
		return violation("base offset %d, expected %d", base, offset)
	}
	return nil
}

// scan goes from a batch boundary on to the batch that holds offset, or the
// first behind it, or to end.
func (f *finder) scan(from place, offset, end int64) (place, error) {
	if from.offset >= offset {
		return from, nil
	}
	r := newBatchReader(f.seg.file, from.pos, end, f.window())
	at := from
	for {
		h, err := r.header()
		if errors.Is(err, io.EOF) {
			return at, nil
		}
		if err == nil {
			err = f.follows(at.offset, h.BaseOffset)
		}
		if err != nil {
			return at, corruptIf(err, f.seg.path, at.pos, at.offset)
		}
		if h.NextOffset() > offset {
			return at, nil
		}
		r.skip(&h)
		at.pos, at.offset = r.pos, h.NextOffset()
		if at.offset == offset {
			return at, nil
		}
	}
}

// remember keeps where a fetch ended, for the next one.
func (f *finder) remember(end place) {
	f.l.mu.Lock()
	defer f.l.mu.Unlock()
	if f.l.mu.cuts != f.cuts {
		return
	}
	if _, ok := f.l.mu.recent.find(end.base, end.offset); !ok {
		f.l.mu.recent.addFetch(end)
	}
}

// searchIndex finds the last index entry for which ok holds. buf holds an
// entry at least.
func (l *Log) searchIndex(seg *segment, ok probe, buf []byte) (indexEntry, bool) {
	l.mu.Lock()
	e, found := seg.idx.searchPending(ok)
	n := seg.idx.flushed
	l.mu.Unlock()
	if found {
		return e, true
	}
	return seg.idx.searchFile(n, ok, buf)
}
