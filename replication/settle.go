package replication

import (
	"context"
	"fmt"
)

// settleRequest asks the group's owner to settle segments.
type settleRequest struct {
	offset int64
	done   chan error // of one place
}

// Settle gives up the entries of sealed segments that end at or below offset, so
// that compaction may rewrite them, once a snapshot covers them: a follower that
// needs one of them gets segments instead. It may come less far than offset; the
// log's SettledOffset tells. Segments without entries are read as before.
func (g *Group) Settle(ctx context.Context, offset int64) error {
	req := &settleRequest{offset: offset, done: make(chan error, 1)}
	g.mu.Lock()
	if err := g.mu.failure; err != nil {
		g.mu.Unlock()
		return fmt.Errorf("settle: replica is offline: %w", err)
	}
	g.mu.settles = append(g.mu.settles, req)
	g.mu.Unlock()
	g.wantSnapshot()
	select {
	case err := <-req.done:
		if err != nil {
			return fmt.Errorf("settle: %w", err)
		}
		return nil
	case <-g.done:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
}

// CheckLog takes the replica offline where its log has failed: compaction writes
// to it beside the group.
func (g *Group) CheckLog() {
	g.mu.Lock()
	l, s := g.mu.log, g.mu.store
	g.mu.Unlock()
	if l == nil {
		return
	}
	if err := l.Failed(); err != nil {
		g.fail(s, fmt.Errorf("compaction: %w", err))
	}
}

// takeSettles returns what was asked for, and the highest offset.
func (g *Group) takeSettles() (offset int64, asked []*settleRequest) {
	g.mu.Lock()
	defer g.mu.Unlock()
	asked, g.mu.settles = g.mu.settles, nil
	for _, req := range asked {
		offset = max(offset, req.offset)
	}
	return offset, asked
}

// dropSettles answers what will not be done.
func (g *Group) dropSettles(err error) {
	_, asked := g.takeSettles()
	for _, req := range asked {
		req.done <- err
	}
}
