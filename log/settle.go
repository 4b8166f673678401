package log

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// Settle gives up the entries of the sealed segments that end at or below
// offset: First moves behind them, durably. Their records stay and are read by
// offset; Compact may rewrite them. The caller has made sure that nobody needs
// these entries any more.
func (l *Log) Settle(offset int64) error {
	l.writeMu.Lock()
	defer l.writeMu.Unlock()
	if err := l.writable(); err != nil {
		return err
	}
	n := l.mu.state.settled
	for n+1 < len(l.mu.segs) && l.mu.segs[n+1].base <= offset {
		n++
	}
	if n == l.mu.state.settled {
		return nil
	}
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	if err := l.syncLocked(); err != nil {
		return err
	}
	first := l.mu.segs[n].segmentStart
	rec := journalRecord{typ: recordSettle, index: first.firstIndex, term: first.termBefore, offset: first.base}
	if err := l.record(&rec); err != nil {
		return err
	}
	l.mu.Lock()
	l.mu.state.settleSegments(n)
	l.mu.cursors.clear()
	l.mu.Unlock()
	return l.compactJournal()
}

// SettledOffset is the offset below which records have no entries any more, and
// may be compacted.
func (l *Log) SettledOffset() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.state.firstEntries().base
}

// CleanedOffset is the offset up to which the log is compacted: below it no two
// records have the same key, but for what could not be decoded. Where it never
// was compacted it is StartOffset.
func (l *Log) CleanedOffset() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(l.mu.state.cleaned, l.mu.segs[0].base)
}

// RollAged seals the active segment where it is older than
// Limits.SegmentMillis, counted from when it was created or opened: a log that
// nobody appends to would otherwise never be compacted, or retained, to its
// end.
func (l *Log) RollAged() error {
	l.mu.Lock()
	limit, created, size := l.mu.limits.SegmentMillis, l.active().created, l.active().size
	l.mu.Unlock()
	if limit <= 0 || size == 0 || l.cfg.Now().Sub(created).Milliseconds() <= limit {
		return nil
	}
	return l.Roll()
}

// errReplaced says that segments are not there any more that a compaction has
// read: retention was faster.
var errReplaced = errors.New("segments were dropped meanwhile")

// replace puts the segment next, whose files are durable, in the place of old,
// which are settled and follow each other.
func (l *Log) replace(old []*segment, next *segment) error {
	l.writeMu.Lock()
	defer l.writeMu.Unlock()
	if err := l.writable(); err != nil {
		return err
	}
	i := slices.Index(l.mu.segs, old[0])
	if i < 0 || i+len(old) > l.mu.state.settled || !slices.Equal(l.mu.segs[i:i+len(old)], old) {
		return errReplaced
	}
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	if err := l.syncLocked(); err != nil {
		return err
	}
	rep := replacement{end: l.mu.segs[i+len(old)].base, compacted: next.compacted}
	rec := next.replaceRecord(rep)
	if err := l.record(&rec); err != nil {
		return err
	}
	l.mu.Lock()
	l.mu.state.replaceSegments(i, len(old), rep)
	l.mu.segs = slices.Concat(l.mu.segs[:i], []*segment{next}, l.mu.segs[i+len(old):])
	clear(l.mu.recent.fetches[:])
	l.mu.cursors.clear()
	l.mu.cuts++
	delay := l.mu.limits.FileDeleteDelay
	l.mu.Unlock()
	next.acquire() // the log's own; the caller keeps and releases its one
	if err := l.retire(old, delay); err != nil {
		return l.fail("replace segments", err)
	}
	return l.compactJournal()
}

// setCleaned notes, durably, up to where the log is compacted.
func (l *Log) setCleaned(offset int64) error {
	l.writeMu.Lock()
	defer l.writeMu.Unlock()
	if err := l.writable(); err != nil {
		return err
	}
	if offset <= max(l.mu.state.cleaned, l.mu.segs[0].base) {
		return nil
	}
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	if err := l.syncLocked(); err != nil {
		return err
	}
	rec := l.mu.state.cleanedRecord(offset)
	if err := l.record(&rec); err != nil {
		return err
	}
	l.mu.Lock()
	l.mu.state.setCleaned(offset)
	l.mu.Unlock()
	return l.compactJournal()
}

// ErrCompacting is returned by Compact while another compaction of the log
// runs.
var ErrCompacting = errors.New("log: a compaction is running")

// compactionSlot lets one compaction run at a time.
type compactionSlot struct {
	mu struct {
		sync.Mutex
		stopped bool
		cancel  context.CancelFunc // nil: none runs
		done    chan struct{}
	}
}

// enter begins a compaction; the caller ends it with leave.
func (s *compactionSlot) enter(ctx context.Context) (_ context.Context, leave func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.mu.stopped:
		return nil, nil, ErrClosed
	case s.mu.cancel != nil:
		return nil, nil, ErrCompacting
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	s.mu.cancel, s.mu.done = cancel, done
	return ctx, func() {
		cancel()
		s.mu.Lock()
		s.mu.cancel = nil
		s.mu.Unlock()
		close(done)
	}, nil
}

// stop ends the compaction that runs, waits for it, and lets none begin again.
func (s *compactionSlot) stop() {
	s.mu.Lock()
	s.mu.stopped = true
	cancel, done := s.mu.cancel, s.mu.done
	s.mu.Unlock()
	if cancel != nil {
		cancel()
		<-done
	}
}

// StopCompaction ends a compaction that runs, and returns once it touches no
// file any more; no other begins. Close and Abort do it too: this is for an
// owner that opens the log again over the same files before.
func (l *Log) StopCompaction() { l.compaction.stop() }

// newestOf is when the newest of segments was last changed. The caller holds mu.
func newestOf(segs []*segment) time.Time {
	newest := segs[0].modified
	for _, s := range segs[1:] {
		if s.modified.After(newest) {
			newest = s.modified
		}
	}
	return newest
}
