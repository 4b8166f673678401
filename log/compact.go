package log

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/fanfold/fanfold/protocol/record"
)

// CompactOptions say how a compaction works.
type CompactOptions struct {
	// UpTo bounds what is compacted: segments that end at or below it, and are
	// settled.
	UpTo int64

	// DeleteRetention is how long tombstones stay once they were compacted, in
	// milliseconds (delete.retention.ms).
	DeleteRetention int64

	// MapBytes bounds the memory in which keys are told apart; zero means 16 MiB.
	MapBytes int64

	// MapLoad is the share of that memory that is used; zero means 0.9.
	MapLoad float64

	// BufferBytes is read, and written, at once; zero means 256 KiB. A batch
	// that is larger is read as a whole.
	BufferBytes int

	// MaxDecompressedBytes is the most that a batch may decompress to, of which
	// a part is held at once; zero means 64 MiB. A larger one stays as it is.
	MaxDecompressedBytes int

	// KeepProducer says of a batch of an idempotent producer whether it is the
	// producer's last: its header stays, without records, where they all go. Nil
	// means no.
	KeepProducer func(h *record.Header) bool

	// Pace, if not nil, is called before so many bytes are read or written; it
	// may wait, and an error of it ends the compaction.
	Pace func(ctx context.Context, bytes int) error
}

func (o CompactOptions) withDefaults() CompactOptions {
	if o.MapBytes <= 0 {
		o.MapBytes = 16 << 20
	}
	if o.MapLoad <= 0 || o.MapLoad > 1 {
		o.MapLoad = 0.9
	}
	o.BufferBytes = max(o.BufferBytes, record.HeaderBytes)
	if o.BufferBytes == record.HeaderBytes {
		o.BufferBytes = bodyWindow
	}
	if o.KeepProducer == nil {
		o.KeepProducer = func(*record.Header) bool { return false }
	}
	if o.Pace == nil {
		o.Pace = func(ctx context.Context, _ int) error { return ctx.Err() }
	}
	return o
}

// CompactStats is what a pass did, as far as it came.
type CompactStats struct {
	From, To     int64 // the records from From on and below To were compared with all before them
	ReadBytes    int64
	WrittenBytes int64
	Records      int64 // that the segments held
	Removed      int64 // of them
	Segments     int   // that were replaced
	Into         int   // how many took their place
	MapFill      float64
	Opaque       int64 // batches that could not be decoded, and stay
}

// Compact makes one pass: it removes records from settled segments for whose key
// there is a newer one in them, and tombstones whose time is over. It goes on
// where the pass before it came to; where there is more than its memory holds
// keys for, stats.To tells how far this one came. Offsets stay. Readers and
// writers are not held up but for the moment of each replacement.
//
// Damage is a *CorruptionError, and leaves everything as it is; so does an error
// of a file that is being written.
func (l *Log) Compact(ctx context.Context, opts CompactOptions) (stats CompactStats, err error) {
	ctx, leave, err := l.compaction.enter(ctx)
	if err != nil {
		return stats, err
	}
	defer leave()
	c, err := l.newCompactor(ctx, opts.withDefaults())
	if err != nil || len(c.segs) == 0 {
		return stats, err
	}
	defer c.release()
	err = c.run()
	if err != nil {
		err = fmt.Errorf("compact log: %w", err)
	}
	return c.stats, err
}

// compactor is one pass.
type compactor struct {
	l     *Log
	ctx   context.Context
	opts  CompactOptions
	stats CompactStats
	now   int64 // milliseconds

	state journalState
	segs  []*segment   // each with a reference
	next  segmentStart // behind the last of segs
	keys  *offsetMap
	last  int64 // newest offset that was compared

	records record.Compactor
	window  []byte
	batch   []byte // one that is larger than the window
	made    []byte // one that was written anew
}

// newCompactor takes the segments; there are none where nothing is dirty.
func (l *Log) newCompactor(ctx context.Context, opts CompactOptions) (*compactor, error) {
	c := &compactor{l: l, ctx: ctx, opts: opts, now: l.cfg.Now().UnixMilli()}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return nil, err
	}
	c.state = *l.mu.state
	n := 0
	for n < c.state.settled && l.mu.segs[n].endOffset <= opts.UpTo {
		n++
	}
	from := max(c.state.cleaned, c.state.segs[0].base)
	if n == 0 || l.mu.segs[n-1].endOffset <= from {
		return c, nil
	}
	c.stats.From, c.stats.To = from, from
	c.last = from - 1
	c.next = c.state.segs[n]
	c.segs = l.mu.segs[:n:n]
	for _, s := range c.segs {
		s.acquire()
	}
	return c, nil
}

func (c *compactor) release() {
	for _, s := range c.segs {
		_ = s.release() // it was read only
	}
}

func (c *compactor) run() error {
	c.window = make([]byte, c.opts.BufferBytes)
	c.records.Limits.MaxDecompressedBytes = c.opts.MaxDecompressedBytes
	c.keys = newOffsetMap(c.opts.MapBytes, c.opts.MapLoad)
	if err := c.gather(); err != nil {
		return err
	}
	c.stats.MapFill = c.keys.fill()
	for i := 0; i < len(c.segs) && c.segs[i].base <= c.last; {
		n := c.groupFrom(i)
		if err := c.rewrite(i, n); err != nil {
			return err
		}
		i += n
	}
	if err := c.l.setCleaned(c.last + 1); err != nil {
		return err
	}
	c.stats.To = c.last + 1
	return nil
}

// startAfter is where segment i ends.
func (c *compactor) startAfter(i int) segmentStart {
	if i+1 < len(c.segs) {
		return c.segs[i+1].segmentStart
	}
	return c.next
}

// errStop ends a walk before its end.
var errStop = errors.New("stop")

// gather fills the map with the keys from where the last pass came to, as far as
// there is room.
func (c *compactor) gather() error {
	for i, seg := range c.segs {
		if seg.endOffset <= c.stats.From {
			continue
		}
		err := c.walk(seg, c.gatherBatch)
		if errors.Is(err, errStop) {
			return nil
		}
		if err != nil {
			return err
		}
		c.last = c.startAfter(i).base - 1
	}
	return nil
}

// gatherBatch takes a batch's keys; errStop says that there was no room for all
// of them.
func (c *compactor) gatherBatch(h *record.Header, b []byte) error {
	if h.LastOffset() < c.stats.From {
		return nil
	}
	if opaque(h) {
		c.last = h.LastOffset()
		return nil
	}
	before, full := c.last, false
	err := record.Scan(b, c.records.Limits, func(r *record.Record) bool {
		offset := h.RecordOffset(r)
		if offset < c.stats.From {
			return true
		}
		if r.Key != nil && !c.keys.put(hashKey(r.Key), offset) {
			full = true
			return false
		}
		c.last = offset
		return true
	})
	switch {
	case err != nil && before >= c.stats.From:
		// Its keys may be in the map already: the pass ends before it. What the
		// map says beyond the end does not count.
		c.last = before
		return errStop
	case err != nil:
		// It is the first: it stays, and the pass begins behind it.
		c.keys.reset()
		c.last = h.LastOffset()
		return nil
	case full:
		return errStop
	}
	c.last = h.LastOffset()
	return nil
}

// opaque says of a batch that its records are not compared: there are none, or
// it is part of a transaction whose outcome is not in the batch.
func opaque(h *record.Header) bool {
	return h.Records == 0 || h.IsControl() || h.IsTransactional()
}

// walk reads the batches of a segment, checks them, and calls visit for each;
// the bytes are valid during the call.
func (c *compactor) walk(seg *segment, visit func(h *record.Header, b []byte) error) error {
	r := newBatchReader(seg.file, 0, seg.size, c.window)
	m := mergeFrom(&c.state, seg.start())
	for {
		h, err := r.header()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = m.check(&h)
		}
		var b []byte
		if err == nil {
			b, err = c.read(r, &h)
		}
		if err != nil {
			return corruptIf(err, seg.path, r.pos, m.offset)
		}
		if err := visit(&h, b); err != nil {
			return err
		}
		m.pass(&h)
		r.skip(&h)
	}
	if m.holes && m.sum != m.wantSum {
		return &CorruptionError{File: seg.path, Pos: -1, Offset: seg.base, Cause: errWrongBatches}
	}
	if m.offset > seg.endOffset || m.offset < seg.endOffset && !m.holes {
		return &CorruptionError{File: seg.path, Pos: r.pos, Offset: m.offset, Cause: fmt.Errorf(
			"segment ends at offset %d, the next begins at offset %d", m.offset, seg.endOffset)}
	}
	return nil
}

// read reads the batch at r and checks its CRC.
func (c *compactor) read(r *batchReader, h *record.Header) ([]byte, error) {
	n := h.Bytes()
	if err := c.opts.Pace(c.ctx, n); err != nil {
		return nil, err
	}
	if err := c.ctx.Err(); err != nil {
		return nil, err
	}
	c.stats.ReadBytes += int64(n)
	var b []byte
	var err error
	if n <= len(r.win) {
		b, err = r.load(r.pos, n)
	} else {
		if cap(c.batch) < n {
			c.batch = make([]byte, n)
		}
		b = c.batch[:n]
		_, err = readFull(r.file, b, r.pos)
	}
	if err != nil {
		return nil, err
	}
	if err := record.CheckCRC(b); err != nil {
		return nil, &errViolation{err}
	}
	return b, nil
}

// groupFrom is how many segments from i on become one: as many as together are
// not larger than a segment may be.
func (c *compactor) groupFrom(i int) int {
	c.l.mu.Lock()
	limit := min(c.l.mu.limits.SegmentBytes, maxRelative)
	c.l.mu.Unlock()
	first, bytes, n := c.segs[i], c.segs[i].size, 1
	for ; i+n < len(c.segs) && c.segs[i+n].base <= c.last; n++ {
		next, behind := c.segs[i+n], c.startAfter(i+n)
		bytes += next.size
		if bytes > limit || behind.base-first.base > maxRelative || behind.firstIndex-first.firstIndex > maxRelative {
			break
		}
	}
	return n
}

// keepsHeader says whether a batch stays though no record of it does: as the
// last one of its producer, or as the last one of all, so that whoever reads the
// log comes to its end.
func (c *compactor) keepsHeader(h *record.Header) bool {
	return h.NextOffset() == c.next.base || h.HasProducer() && c.opts.KeepProducer(h)
}

// horizon is when tombstones that are compacted now may go.
func (c *compactor) horizon() int64 {
	return c.now + min(max(c.opts.DeleteRetention, 0), math.MaxInt64-c.now)
}

// verdict is what becomes of a batch: as it is, another one, or nothing.
func (c *compactor) verdict(h *record.Header, b []byte) (out []byte, keep bool, err error) {
	switch {
	case h.IsControl() || h.IsTransactional() || h.BaseOffset > c.last:
		return b, true, nil
	case h.Records == 0:
		return b, c.keepsHeader(h), nil
	}
	var done record.Compacted
	due := h.HasDeleteHorizon() && c.now >= h.BaseTimestamp
	c.made, done, err = c.records.Compact(c.made[:0], b, c.horizon(), func(r *record.Record) bool {
		offset := h.RecordOffset(r)
		switch {
		case offset > c.last:
			return true
		case r.Key == nil:
			return false
		case r.Value == nil && due:
			return false
		}
		newest := c.keys.get(hashKey(r.Key))
		return newest <= offset || newest > c.last
	})
	var undecoded *record.Error
	if errors.As(err, &undecoded) {
		c.stats.Opaque++
		return b, true, nil
	}
	if err != nil {
		return nil, false, err
	}
	c.stats.Records += int64(done.Records)
	c.stats.Removed += int64(done.Records - done.Kept)
	switch {
	case !done.Changed:
		return b, true, nil
	case done.Kept > 0:
		return c.made, true, nil
	case c.keepsHeader(h):
		c.made = record.AppendEmpty(c.made[:0], *h)
		return c.made, true, nil
	}
	return nil, false, nil
}
