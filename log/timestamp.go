package log

import (
	"context"
	"errors"
	"io"

	"github.com/fanfold/fanfold/protocol/record"
)

// TimestampOffset is a record found by its time.
type TimestampOffset struct {
	Offset      int64
	Timestamp   int64 // milliseconds
	LeaderEpoch int32
}

// OffsetForTimestamp finds the first record from minOffset on and below
// maxOffset whose timestamp is ts (milliseconds) or later. It decodes the
// records of the batch that holds it.
func (l *Log) OffsetForTimestamp(ctx context.Context, ts, minOffset, maxOffset int64) (found TimestampOffset, ok bool, err error) {
	err = l.eachSnapshot(ctx, minOffset, maxOffset, func(f *finder, limit int64) (bool, error) {
		_, maxTime := f.l.largestTime(f.seg)
		if maxTime < ts {
			return false, nil
		}
		from, _ := f.search(func(e indexEntry) bool { return e.maxTime < ts })
		if from.offset < minOffset {
			if from, err = f.placeOf(minOffset); err != nil {
				return false, err
			}
		}
		found, ok, err = f.firstRecord(ctx, from, minOffset, limit, ts)
		return ok, err
	})
	return found, ok, err
}

// MaxTimestamp finds the first record that has the largest timestamp from
// minOffset on and below maxOffset (KIP-734). Where no record has one it finds
// none.
func (l *Log) MaxTimestamp(ctx context.Context, minOffset, maxOffset int64) (found TimestampOffset, ok bool, err error) {
	for {
		found, ok, gone, err := l.maxTimestamp(ctx, minOffset, maxOffset)
		if err != nil || !gone {
			return found, ok, err
		}
	}
}

// maxTimestamp is MaxTimestamp; gone says that the batch it found is not there
// any more.
func (l *Log) maxTimestamp(ctx context.Context, minOffset, maxOffset int64) (found TimestampOffset, ok, gone bool, err error) {
	best, bestTime := int64(-1), int64(-1)
	err = l.eachSnapshot(ctx, minOffset, maxOffset, func(f *finder, limit int64) (bool, error) {
		at, maxTime := f.l.largestTime(f.seg)
		if maxTime <= bestTime {
			return false, nil
		}
		if limit < f.endOffset || minOffset > f.seg.base {
			if at, maxTime, err = f.largestBetween(ctx, minOffset, limit); err != nil {
				return false, err
			}
		}
		if maxTime > bestTime {
			best, bestTime = at, maxTime
		}
		return false, nil
	})
	if err != nil || bestTime < 0 {
		return found, false, false, err
	}
	gone = true
	err = l.eachSnapshot(ctx, best, maxOffset, func(f *finder, limit int64) (bool, error) {
		from, err := f.placeOf(best)
		if err != nil || !f.more(&from, limit) {
			return true, err
		}
		at := from
		h, err := f.next(newBatchReader(f.seg.file, from.pos, f.size, f.window()), &at)
		if err == nil && h.BaseOffset == best {
			gone = false
			found, ok, err = f.largestRecord(from.pos, &h, minOffset)
		}
		return true, err
	})
	return found, ok, gone, err
}

// placeOf is where the batch that holds offset begins.
func (f *finder) placeOf(offset int64) (place, error) {
	from, _ := f.search(func(e indexEntry) bool { return f.seg.base+int64(e.offset) <= offset })
	return f.scan(from, offset, f.size)
}

// largestTime is the largest timestamp of a segment and the base offset of the
// first batch that has it.
func (l *Log) largestTime(seg *segment) (offset, ts int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return seg.maxTimeOffset, seg.maxTime
}

// eachSnapshot calls visit for each segment that holds offsets from minOffset
// on and below maxOffset, in order, until it says that it is done; limit is
// where to end in it.
func (l *Log) eachSnapshot(ctx context.Context, minOffset, maxOffset int64, visit func(f *finder, limit int64) (done bool, err error)) error {
	next := minOffset
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		l.mu.Lock()
		if l.mu.closed {
			l.mu.Unlock()
			return ErrClosed
		}
		next = max(next, l.mu.segs[0].base)
		limit := min(maxOffset, l.mu.end.offset)
		if next >= limit {
			l.mu.Unlock()
			return nil
		}
		f := finder{l: l, snapshot: l.snap(l.segmentFor(next))}
		l.mu.Unlock()
		done, err := visit(&f, min(limit, f.endOffset))
		f.done()
		next = f.endOffset
		err = errors.Join(err, f.seg.release())
		if err != nil && l.outdated(err, f.cuts) {
			next = f.seg.base
			continue
		}
		if done || err != nil {
			return err
		}
	}
}

// firstRecord finds the first record from a place on, not below minOffset and
// in batches that end at or below limit, whose time is ts or later.
func (f *finder) firstRecord(ctx context.Context, from place, minOffset, limit, ts int64) (found TimestampOffset, ok bool, err error) {
	r := newBatchReader(f.seg.file, from.pos, f.size, f.window())
	for at := from; f.more(&at, limit); {
		if err := ctx.Err(); err != nil {
			return found, false, err
		}
		h, err := f.next(r, &at)
		if err != nil || at.offset > limit {
			return found, false, err
		}
		if batchTime(&h) < ts {
			continue
		}
		err = f.records(r.pos-int64(h.Bytes()), &h, func(offset, t int64) bool {
			if ok = offset >= minOffset && t >= ts; ok {
				found = TimestampOffset{Offset: offset, Timestamp: t, LeaderEpoch: h.LeaderEpoch}
			}
			return !ok
		})
		if ok || err != nil {
			return found, ok, err
		}
	}
	return found, false, nil
}

// more says whether there may be a batch at at that ends at or below limit.
func (f *finder) more(at *place, limit int64) bool {
	return at.offset < limit && (at.pos < f.size || !f.seg.holes())
}

// next reads the header of the batch at at, and moves at and r behind it.
func (f *finder) next(r *batchReader, at *place) (record.Header, error) {
	h, err := r.header()
	if errors.Is(err, io.EOF) {
		err = violation("segment ends here")
	}
	if err == nil {
		err = f.follows(at.offset, h.BaseOffset)
	}
	if err != nil {
		return h, corruptIf(err, f.seg.path, at.pos, at.offset)
	}
	r.skip(&h)
	at.pos, at.offset = r.pos, h.NextOffset()
	return h, nil
}

// records decodes the batch h at pos, record by record, as long as visit wants
// more.
func (f *finder) records(pos int64, h *record.Header, visit func(offset, ts int64) bool) error {
	b := make([]byte, h.Bytes())
	if _, err := readFull(f.seg.file, b, pos); err != nil {
		return err
	}
	err := record.CheckCRC(b)
	if err == nil {
		for rec, recErr := range record.Records(b, record.Limits{}) {
			if err = recErr; err != nil || !visit(h.RecordOffset(rec), h.RecordTimestamp(rec)) {
				break
			}
		}
	}
	if err != nil {
		return &CorruptionError{File: f.seg.path, Pos: pos, Offset: h.BaseOffset, Cause: err}
	}
	return nil
}

// largestBetween is largestTime of the records from minOffset on, in batches
// below limit.
func (f *finder) largestBetween(ctx context.Context, minOffset, limit int64) (offset, ts int64, err error) {
	p := f.seg.start()
	if minOffset <= f.seg.base {
		rel, _ := relative(limit, f.seg.base)
		if e, ok := f.l.searchIndex(f.seg, func(e indexEntry) bool { return e.offset <= rel }, f.window()); ok {
			p.pos, p.offset = int64(e.pos), f.seg.base+int64(e.offset)
			p.maxTime, p.maxTimeOffset = e.maxTime, f.seg.base+int64(e.maxTimeOffset)
		}
	} else {
		from, err := f.placeOf(minOffset)
		if err != nil {
			return 0, 0, err
		}
		p.pos, p.offset = from.pos, from.offset
	}
	r := newBatchReader(f.seg.file, p.pos, f.size, f.window())
	for at := (place{pos: p.pos, offset: p.offset}); f.more(&at, limit); {
		if err := ctx.Err(); err != nil {
			return 0, 0, err
		}
		pos := at.pos
		h, err := f.next(r, &at)
		if err != nil {
			return 0, 0, err
		}
		if at.offset > limit {
			break
		}
		largest := batchTime(&h)
		if h.BaseOffset < minOffset {
			found, _, err := f.largestRecord(pos, &h, minOffset)
			if err != nil {
				return 0, 0, err
			}
			largest = found.Timestamp
		}
		p.note(largest, h.BaseOffset)
	}
	return p.maxTimeOffset, p.maxTime, nil
}

// largestRecord finds the first record with the largest time of the batch h at
// pos, of those from minOffset on.
func (f *finder) largestRecord(pos int64, h *record.Header, minOffset int64) (found TimestampOffset, ok bool, err error) {
	found.Timestamp = -1
	err = f.records(pos, h, func(offset, ts int64) bool {
		if offset >= minOffset && ts > found.Timestamp {
			found, ok = TimestampOffset{Offset: offset, Timestamp: ts, LeaderEpoch: h.LeaderEpoch}, true
		}
		return true
	})
	return found, ok, err
}
