package log

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
)

// Scrub reads every durable byte of the log once and checks it: CRC, order and
// epochs of the batches, records of the journal. It stops at the first damage
// with a *CorruptionError. pace, if not nil, is called before so many bytes are
// read; it may wait, and an error of it ends the scrub.
func (l *Log) Scrub(ctx context.Context, pace func(ctx context.Context, bytes int) error) error {
	if pace == nil {
		pace = func(ctx context.Context, _ int) error { return ctx.Err() }
	}
	if err := l.scrubJournal(ctx, pace); err != nil {
		return err
	}
	return l.eachSnapshot(ctx, 0, math.MaxInt64, func(f *finder, _ int64) (bool, error) {
		return false, l.scrubSegment(ctx, pace, f)
	})
}

func (l *Log) scrubJournal(ctx context.Context, pace func(context.Context, int) error) error {
	l.mu.Lock()
	if l.mu.closed {
		l.mu.Unlock()
		return ErrClosed
	}
	j, size := l.mu.journal, l.mu.journalSynced
	j.refs.Add(1)
	l.mu.Unlock()
	r := journalReader{file: j.file}
	err := pace(ctx, journalHeaderBytes)
	if err == nil {
		if _, err = r.open(); err == nil && r.size < size {
			err = violation("the file ends at byte %d, %d were synced", r.size, size)
		}
	}
	r.size = size
	for err == nil {
		pos := r.pos
		if _, err = r.next(); err == nil {
			err = pace(ctx, int(r.pos-pos))
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return errors.Join(corruptIf(err, j.file.Name(), r.pos, -1), j.release())
}

func (l *Log) scrubSegment(ctx context.Context, pace func(context.Context, int) error, f *finder) error {
	l.mu.Lock()
	if l.mu.cuts != f.cuts || !slices.Contains(l.mu.segs, f.seg) {
		l.mu.Unlock()
		return nil // cut or dropped meanwhile
	}
	state := *l.mu.state
	size := f.size
	if d := l.mu.durable; d.base == f.seg.base {
		size = min(size, d.pos)
	}
	l.mu.Unlock()
	buf := bodyBuffers.Get().(*[bodyWindow]byte)
	defer bodyBuffers.Put(buf)
	r := newBatchReader(f.seg.file, 0, size, buf[:])
	m := mergeFrom(&state, f.seg.start())
	for r.pos < size {
		err := m.passEntries(math.MaxUint64)
		if err == nil {
			err = scrubBatch(ctx, pace, r, &m)
		}
		if err != nil {
			return corruptIf(err, f.seg.path, r.pos, m.offset)
		}
	}
	if m.holes && m.sum != m.wantSum {
		return &CorruptionError{File: f.seg.path, Pos: -1, Offset: f.seg.base, Cause: errWrongBatches}
	}
	return nil
}

// errWrongBatches is said of a compacted segment of sound batches.
var errWrongBatches = errors.New("batches are missing or at other offsets: the journal's checksum of them is another")

// scrubBatch checks the batch at r and steps over it.
func scrubBatch(ctx context.Context, pace func(context.Context, int) error, r *batchReader, m *merge) error {
	h, err := r.header()
	if err != nil {
		return err
	}
	if err := m.check(&h); err != nil {
		return err
	}
	if err := pace(ctx, h.Bytes()); err != nil {
		return fmt.Errorf("scrub: %w", err)
	}
	if err := r.checkCRC(&h); err != nil {
		return err
	}
	m.pass(&h)
	r.skip(&h)
	return nil
}
