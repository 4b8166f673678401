package replication

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// run owns the group until it is closed: it follows leadership, takes
// snapshots, and brings the replica back after a failure.
func (g *Group) run(ctx context.Context) {
	defer close(g.done)
	defer g.shutdown()
	backoff := retryMin
	for ctx.Err() == nil {
		if g.Err() == nil {
			backoff = retryMin
			g.serve(ctx)
			continue
		}
		if !wait(ctx, backoff) {
			return
		}
		backoff = min(2*backoff, retryMax)
		if err := g.restart(ctx); err != nil {
			g.offline(err)
		}
	}
}

// wait returns false when ctx ended before d passed.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// serve follows one Raft instance until it fails or the group is closed.
func (g *Group) serve(ctx context.Context) {
	g.mu.Lock()
	r := g.mu.raft
	g.mu.Unlock()
	leader := r.LeaderCh()
	for {
		select {
		case <-ctx.Done():
			return
		case leads := <-leader:
			g.leadership(r, leads)
		case e := <-g.events:
			if e == eventFailed && g.Err() != nil {
				g.stopInstance()
				g.offline(g.Err())
				return
			}
			g.housekeep(r)
		}
	}
}

// leadership follows a change of role: a new leader opens its term with a
// leader-start command, and serves once that is applied.
func (g *Group) leadership(r *raft.Raft, leads bool) {
	g.mu.Lock()
	if leads && g.mu.failure == nil {
		g.mu.term = r.CurrentTerm()
	} else {
		g.mu.term = 0
	}
	term := g.mu.term
	g.mu.Unlock()
	if term == 0 {
		g.cfg.Machine.SteppedDown()
		g.dropProposals(ErrNotLeader)
		g.dropAwaited(ErrNotLeader)
		return
	}
	// An error means that the term is over already: the next event says so.
	kind, payload := g.cfg.Machine.LeaderStart()
	_ = g.Propose(kind, payload, term, nil)
}

// housekeep takes a snapshot and lets files go that it covers.
func (g *Group) housekeep(r *raft.Raft) {
	if err := g.snapshot(r); err != nil {
		g.cfg.Logger.Warn("snapshot failed", "group", g.cfg.ID, "error", err)
		return
	}
	start := g.dropWanted.Load()
	g.mu.Lock()
	l, s := g.mu.log, g.mu.store
	g.mu.Unlock()
	upTo := int64(0)
	for _, seg := range l.Segments() {
		if seg.BaseOffset > start || seg.FirstIndex > g.snapshotIndex.Load()+1 {
			break
		}
		upTo = seg.BaseOffset
	}
	if upTo == 0 {
		return
	}
	if _, err := l.DropBefore(upTo); err != nil {
		g.fail(s, fmt.Errorf("drop segments below offset %d: %w", upTo, err))
	}
}

// snapshot writes a manifest where something was applied since the last one.
func (g *Group) snapshot(r *raft.Raft) error {
	if g.appliedIndex.Load() <= g.snapshotIndex.Load() {
		return nil
	}
	err := r.Snapshot().Error()
	if errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return nil
	}
	return err
}

// offline tells everybody that the replica is not there for now.
func (g *Group) offline(err error) {
	g.mu.Lock()
	g.mu.failure = err
	g.mu.Unlock()
	g.cfg.Logger.Error("replica is offline; it will be tried again", "group", g.cfg.ID, "dir", g.cfg.Dir, "error", err)
	g.cfg.Machine.Failed(err)
	g.dropProposals(err)
	g.dropAwaited(err)
}

// restart opens the log again and starts a new instance over it.
func (g *Group) restart(ctx context.Context) error {
	for len(g.events) > 0 {
		<-g.events
	}
	if err := g.node.reviveVotes(); err != nil {
		return err
	}
	if err := g.start(ctx); err != nil {
		return err
	}
	g.cfg.Logger.Info("replica is back", "group", g.cfg.ID)
	return nil
}

// stopInstance ends the Raft instance and joins its goroutines. The log stays
// open for readers.
func (g *Group) stopInstance() {
	g.mu.Lock()
	r := g.mu.raft
	g.mu.raft, g.mu.term = nil, 0
	g.mu.Unlock()
	if r != nil {
		_ = r.Shutdown().Error() // always nil
	}
}

// shutdown is the clean stop: the newest state goes into a snapshot, so that
// the next start has nothing to replay.
func (g *Group) shutdown() {
	g.mu.Lock()
	r, l, failure := g.mu.raft, g.mu.log, g.mu.failure
	g.mu.term = 0
	if g.mu.flushTime != nil {
		g.mu.flushTime.Stop()
	}
	g.mu.Unlock()
	if r != nil && failure == nil {
		if err := g.settle(r); err != nil {
			g.cfg.Logger.Warn("snapshot at stop failed", "group", g.cfg.ID, "error", err)
		}
	}
	g.stopInstance()
	g.cfg.Machine.SteppedDown()
	g.dropProposals(ErrStopped)
	g.dropAwaited(ErrStopped)
	if l == nil {
		return
	}
	if failure != nil {
		l.Abort()
	} else if err := l.Close(); err != nil {
		g.cfg.Logger.Warn("close failed", "group", g.cfg.ID, "error", err)
	}
}

// settle lets raft catch up with what was applied the short way, and takes a
// snapshot.
func (g *Group) settle(r *raft.Raft) error {
	if g.appliedIndex.Load() <= g.snapshotIndex.Load() {
		return nil
	}
	deadline := time.Now().Add(2 * time.Second)
	for r.State() == raft.Leader && r.AppliedIndex() < g.appliedIndex.Load() && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	return g.snapshot(r)
}

// Close stops the replica cleanly and waits until it is.
func (g *Group) Close() error {
	g.node.remove(g)
	g.stop()
	<-g.done
	return nil
}
