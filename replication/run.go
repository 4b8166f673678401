package replication

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/fanfold/fanfold/log"
)

// settleTimeout is how long raft is given to catch up with what was applied the
// short way, before a snapshot.
const settleTimeout = 2 * time.Second

// run owns the group until it is closed: it follows leadership, takes
// snapshots, and brings the replica back after a failure. An instance that
// does not live long has not shown that the failure is over.
func (g *Group) run(ctx context.Context) {
	defer close(g.done)
	defer g.shutdown()
	backoff := retryMin
	for ctx.Err() == nil {
		if g.Err() == nil {
			began := time.Now()
			g.serve(ctx)
			if time.Since(began) >= retryMax {
				backoff = retryMin
			}
			continue
		}
		if !wait(ctx, backoff) {
			return
		}
		backoff = min(2*backoff, retryMax)
		if err := g.restart(ctx); err != nil && ctx.Err() == nil {
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
	r, s := g.mu.raft, g.mu.store
	g.mu.Unlock()
	leader := r.LeaderCh()
	for {
		if err := g.Err(); err != nil {
			g.stopInstance()
			g.offline(err)
			return
		}
		if g.snapshotDue.Swap(false) {
			g.housekeep(ctx, r, s)
			continue
		}
		select {
		case <-ctx.Done():
			return
		case leads := <-leader:
			g.leadership(r, s, leads)
		case <-g.wake:
		}
	}
}

// leadership follows a change of role: a new leader opens its term with a
// leader-start command, and serves once that is applied.
func (g *Group) leadership(r *raft.Raft, s *store, leads bool) {
	g.mu.Lock()
	led := g.mu.term != 0
	g.mu.term = 0
	g.mu.Unlock()
	if led || !leads {
		// Of two changes in a row only the last one may be told.
		g.cfg.Machine.SteppedDown()
		g.dropProposals(ErrNotLeader)
		g.dropAwaited(ErrNotLeader)
	}
	if !leads {
		return
	}
	term := r.CurrentTerm()
	g.mu.Lock()
	if g.mu.failure == nil {
		g.mu.term = term
	}
	g.mu.Unlock()
	// An error means that the term is over already: the next event says so.
	kind, payload := g.cfg.Machine.LeaderStart()
	if g.Propose(kind, payload, term, leaderStart{}) == nil && g.stuck() {
		g.fail(s, errors.New("raft may not have room for a proposal"))
	}
}

// leaderStart is the request of a leader-start command.
type leaderStart struct{}

// housekeep takes a snapshot, and lets files and entries go that it covers.
func (g *Group) housekeep(ctx context.Context, r *raft.Raft, s *store) {
	settle, asked := g.takeSettles()
	err := g.cover(ctx, r, s, g.dropWanted.Load(), settle)
	for _, req := range asked {
		req.done <- err
	}
}

// cover takes a snapshot, drops the files that hold only records below start,
// and settles the segments that end at or below settle.
func (g *Group) cover(ctx context.Context, r *raft.Raft, s *store, start, settle int64) error {
	if err := sealActive(s.log, start); err != nil {
		err = fmt.Errorf("roll at the log start %d: %w", start, err)
		g.fail(s, err)
		return err
	}
	if err := g.snapshot(ctx, r, s); err != nil {
		if ctx.Err() == nil && g.Err() == nil {
			g.cfg.Logger.Warn("snapshot failed", "group", g.cfg.ID, "error", err)
		}
		return fmt.Errorf("snapshot: %w", err)
	}
	if upTo := g.covered(s.log, start); upTo > s.log.StartOffset() {
		if _, err := s.log.DropBefore(upTo); err != nil {
			err = fmt.Errorf("drop segments below offset %d: %w", upTo, err)
			g.fail(s, err)
			return err
		}
	}
	if upTo := g.covered(s.log, settle); upTo > s.log.SettledOffset() {
		if err := s.log.Settle(upTo); err != nil {
			err = fmt.Errorf("settle segments below offset %d: %w", upTo, err)
			g.fail(s, err)
			return err
		}
	}
	return nil
}

// covered is the start of the newest segment, not above offset, before which the
// snapshot covers all.
func (g *Group) covered(l *log.Log, offset int64) int64 {
	upTo := int64(0)
	for _, seg := range l.Segments() {
		if seg.BaseOffset > offset || seg.FirstIndex > g.snapshotIndex.Load()+1 {
			break
		}
		upTo = seg.BaseOffset
	}
	return upTo
}

// sealActive begins a new segment where the log start is behind all that the
// newest one holds: only sealed segments are dropped.
func sealActive(l *log.Log, start int64) error {
	segs := l.Segments()
	if newest := segs[len(segs)-1]; newest.Bytes == 0 || newest.EndOffset > start {
		return nil
	}
	return l.Roll()
}

// snapshot writes a manifest where something was applied since the last one.
func (g *Group) snapshot(ctx context.Context, r *raft.Raft, s *store) error {
	if g.appliedIndex.Load() <= g.snapshotIndex.Load() {
		return nil
	}
	g.settle(ctx, r, s)
	done := make(chan error, 1)
	go func() { done <- r.Snapshot().Error() }()
	select {
	case err := <-done:
		if errors.Is(err, raft.ErrNothingNewToSnapshot) {
			return nil
		}
		return err
	case <-s.broken:
		// Raft's main goroutine is gone, and the snapshot would wait for it
		// until the instance is shut down.
		g.stopInstance()
		<-done
		return g.Err()
	}
}

// settle lets raft catch up with what was applied the short way: a snapshot is
// of what raft's FSM goroutine has seen.
func (g *Group) settle(ctx context.Context, r *raft.Raft, s *store) {
	if r.State() != raft.Leader {
		return
	}
	target := s.due.Load()
	t := time.NewTimer(settleTimeout)
	defer t.Stop()
	for g.fsmSeen.Load() < target {
		select {
		case <-g.progress:
		case <-s.broken:
			return
		case <-ctx.Done():
			return
		case <-t.C:
			return
		}
	}
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
	g.dropSettles(err)
}

// restart opens the log again and starts a new instance over it.
func (g *Group) restart(ctx context.Context) error {
	if err := g.node.reviveVotes(); err != nil {
		return err
	}
	if err := g.probe(); err != nil {
		return err
	}
	if err := g.start(ctx); err != nil {
		return err
	}
	g.cfg.Logger.Info("replica is back", "group", g.cfg.ID)
	return nil
}

// shutdown is the clean stop: the newest state goes into a snapshot, so that
// the next start has nothing to replay.
func (g *Group) shutdown() {
	g.mu.Lock()
	r, l, s, failure := g.mu.raft, g.mu.log, g.mu.store, g.mu.failure
	g.mu.term = 0
	g.mu.Unlock()
	if r != nil && failure == nil {
		if err := g.snapshot(context.Background(), r, s); err != nil {
			g.cfg.Logger.Warn("snapshot at stop failed", "group", g.cfg.ID, "error", err)
		}
	}
	g.stopInstance()
	g.cfg.Machine.SteppedDown()
	g.dropProposals(ErrStopped)
	g.dropAwaited(ErrStopped)
	g.dropSettles(ErrStopped)
	if l == nil {
		return
	}
	if g.Err() != nil {
		l.Abort()
	} else if err := l.Close(); err != nil {
		g.cfg.Logger.Warn("close failed", "group", g.cfg.ID, "error", err)
	}
}

// Close stops the replica cleanly and waits until it is.
func (g *Group) Close() error {
	g.node.remove(g)
	g.stop()
	<-g.done
	return nil
}
