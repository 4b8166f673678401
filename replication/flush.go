package replication

import (
	"errors"
	"fmt"
	"time"

	"github.com/fanfold/fanfold/log"
)

// syncDue tells whether these entries must be durable before they count, and
// otherwise sees to it that they become so in time.
func (g *Group) syncDue(s *store, entries []log.Entry) bool {
	p := *g.flush.Load()
	if p.Messages <= 1 {
		return true
	}
	records := int64(0)
	for _, e := range entries {
		if e.Kind != KindBatch {
			return true
		}
		records += int64(infoOf(e, 0).Header.Records)
	}
	if g.unsynced.Add(records) >= p.Messages {
		g.unsynced.Store(0)
		return true
	}
	if p.Interval > 0 {
		g.armFlush(s, p.Interval)
	}
	return false
}

// armFlush syncs after d, unless a timer runs already.
func (g *Group) armFlush(s *store, d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mu.flushTime != nil {
		return
	}
	g.flushes.Add(1)
	g.mu.flushTime = time.AfterFunc(d, func() {
		defer g.flushes.Done()
		g.mu.Lock()
		g.mu.flushTime = nil
		g.mu.Unlock()
		g.unsynced.Store(0)
		if err := s.log.Sync(); err != nil && !errors.Is(err, log.ErrClosed) {
			g.fail(s, fmt.Errorf("sync: %w", err))
		}
	})
}

// stopFlush ends what armFlush began. No entry is written meanwhile.
func (g *Group) stopFlush() {
	g.mu.Lock()
	t := g.mu.flushTime
	g.mu.flushTime = nil
	g.mu.Unlock()
	if t != nil && t.Stop() {
		g.flushes.Done()
	}
	g.flushes.Wait()
	g.unsynced.Store(0)
}

// syncLog makes all that was written durable.
func (g *Group) syncLog() error {
	g.mu.Lock()
	l := g.mu.log
	g.mu.Unlock()
	return l.Sync()
}
