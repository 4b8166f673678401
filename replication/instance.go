package replication

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"

	"github.com/hashicorp/raft"

	"github.com/fanfold/fanfold/log"
)

// start opens the log and starts a Raft instance over it.
func (g *Group) start(ctx context.Context) error {
	if err := g.checkIdentity(); err != nil {
		return err
	}
	if g.cfg.Prepare != nil {
		if err := g.cfg.Prepare(); err != nil {
			return fmt.Errorf("prepare directory: %w", err)
		}
	}
	l, err := g.openLog(ctx)
	if err != nil {
		return err
	}
	if err := g.startRaft(l); err != nil {
		l.Abort()
		return err
	}
	return nil
}

// checkIdentity refuses to start a replica empty that has voted before.
func (g *Group) checkIdentity() error {
	_, voted := g.node.Votes().get(g.cfg.ID)
	_, err := g.node.cfg.FS.Stat(g.cfg.Dir)
	switch {
	case err == nil || !errors.Is(err, fs.ErrNotExist):
		return err
	case voted:
		return fmt.Errorf("%s: %w: it took part in votes and must not start empty; restore the directory, or delete the topic", g.cfg.Dir, ErrReplicaLost)
	}
	return nil
}

// openLog recovers the log. What a failed predecessor had written but never
// known to be durable is cut: after a failed sync the page cache may show what
// the disk does not have.
func (g *Group) openLog(ctx context.Context) (*log.Log, error) {
	g.mu.Lock()
	old, limits := g.mu.log, g.cfg.Limits
	g.mu.Unlock()
	if old != nil {
		old.StopCompaction() // or two logs would write the same files
	}
	l, err := log.Open(ctx, g.cfg.Dir, log.Config{
		FS: g.node.cfg.FS, Syncer: g.node.syncer, Limits: limits, Now: g.node.cfg.Now, Logger: g.cfg.Logger,
	})
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	if old == nil {
		return l, nil
	}
	durable, _ := old.Durable()
	if last, _ := l.Last(); last > durable && last > g.snapshotIndex.Load() {
		if err := l.Truncate(max(durable, g.snapshotIndex.Load()) + 1); err != nil {
			l.Abort()
			return nil, fmt.Errorf("cut what was not durable: %w", err)
		}
	}
	return l, nil
}

// startRaft starts an instance over l and makes it stand for election.
func (g *Group) startRaft(l *log.Log) error {
	snaps := &snapshotStore{fs: g.node.cfg.FS, dir: g.cfg.Dir, saved: g.snapshotIndex.Store}
	m, found, err := snaps.load()
	if err != nil {
		return err
	}
	if err := g.checkLog(l, m, found); err != nil {
		return err
	}
	st := newStore(g, l)
	stable := &stableStore{votes: g.node.Votes(), id: g.cfg.ID, fail: st.end}
	if last, _ := l.Last(); last == 0 {
		if err := g.bootstrap(l); err != nil {
			return err
		}
	}
	g.snapshotIndex.Store(m.index)
	g.fsmSeen.Store(0)
	g.cfg.Machine.Attach(l)
	if err := g.restore(m.state); err != nil { // nil where there is no manifest
		return err
	}
	g.mu.Lock()
	old := g.mu.log
	g.mu.log, g.mu.store = l, st
	g.mu.failure, g.mu.term = nil, 0
	g.mu.awaited = map[uint64]any{}
	g.mu.queue.taken = g.mu.queue.nextSeq
	g.mu.Unlock()
	if old != nil {
		old.Abort()
	}
	trans := newLoneTransport(raft.ServerID(g.cfg.ServerID))
	r, err := newRaft(g.raftConfig(), fsm{g}, st, stable, snaps, trans)
	if err != nil {
		if failure := g.Err(); failure != nil {
			err = failure
		}
		return fmt.Errorf("start raft: %w", err)
	}
	g.observeLatest(r.GetConfiguration())
	g.mu.Lock()
	g.mu.raft = r
	g.mu.Unlock()
	trans.stand()
	return nil
}

var errRaftEnded = errors.New("raft ended while it started")

// newRaft calls raft.NewRaft on a goroutine of its own: a store that fails ends
// the goroutine that asks it. raft, and bbolt below it, also panic over what
// they cannot read there.
func newRaft(conf *raft.Config, f raft.FSM, logs raft.LogStore, stable raft.StableStore, snaps raft.SnapshotStore, trans raft.Transport) (r *raft.Raft, err error) {
	err = errRaftEnded
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("raft panicked while it started: %v", p)
			}
		}()
		r, err = raft.NewRaft(conf, f, logs, stable, snaps, trans)
	}()
	<-done
	return r, err
}

// checkLog refuses a log that is not the one that the manifest and the votes
// know of: started over it, raft would vote and count as if nothing were gone.
func (g *Group) checkLog(l *log.Log, m manifest, found bool) error {
	last, _ := l.Last()
	vt, _ := g.node.Votes().get(g.cfg.ID)
	switch {
	case last < m.index:
		return fmt.Errorf("%s: %w: its log ends at entry %d, its snapshot is of entry %d", g.cfg.Dir, ErrReplicaLost, last, m.index)
	case last == 0 && (found || vt.candidate != ""):
		return fmt.Errorf("%s: %w: its log is empty, and it took part in votes", g.cfg.Dir, ErrReplicaLost)
	case l.First() > m.index+1:
		return fmt.Errorf("%s: %w: its log begins at entry %d, its snapshot is of entry %d", g.cfg.Dir, ErrReplicaLost, l.First(), m.index)
	}
	return nil
}

// bootstrap makes an empty log begin with the configuration of one voter. The
// term comes first, so that its directory is known to have voted.
func (g *Group) bootstrap(l *log.Log) error {
	id := raft.ServerID(g.cfg.ServerID)
	conf := raft.Configuration{Servers: []raft.Server{{Suffrage: raft.Voter, ID: id, Address: raft.ServerAddress(id)}}}
	vt, _ := g.node.Votes().get(g.cfg.ID)
	vt.term = max(vt.term, 1)
	if err := g.node.Votes().set(g.cfg.ID, vt); err != nil {
		return err
	}
	entry := log.Entry{Index: 1, Term: 1, Kind: KindConfiguration, Data: raft.EncodeConfiguration(conf)}
	if err := l.AppendLeader([]log.Entry{entry}); err != nil {
		return fmt.Errorf("bootstrap: %w", err)
	}
	if err := l.Sync(); err != nil {
		return fmt.Errorf("bootstrap: %w", err)
	}
	return nil
}

func (g *Group) raftConfig() *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(g.cfg.ServerID)
	c.HeartbeatTimeout = loneElectionTimeout
	c.ElectionTimeout = loneElectionTimeout
	c.LeaderLeaseTimeout = loneLeaseTimeout
	c.MaxAppendEntries = raftChannel
	c.BatchApplyCh = true
	c.SnapshotInterval = never
	c.SnapshotThreshold = math.MaxUint64
	c.TrailingLogs = 0
	c.NoSnapshotRestoreOnStart = true // startRaft does it, and knows why it failed
	c.NoLegacyTelemetry = true
	c.Logger = g.node.raftLogger
	return c
}

// restore sets the machine's state, and the index that it has applied.
func (g *Group) restore(state []byte) error {
	applied, err := g.cfg.Machine.Restore(state)
	if err != nil {
		return fmt.Errorf("restore state: %w", err)
	}
	g.appliedIndex.Store(applied)
	return nil
}

// probeBytes is the room that a disk must have for a failed replica to try
// again. An attempt costs a term.
const probeBytes = 64 << 10

// probe finds out whether the disk takes writes again.
func (g *Group) probe() error {
	fsys, path := g.node.cfg.FS, filepath.Join(g.cfg.Dir, "probe.tmp")
	if err := fsys.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("probe disk: %w", err)
	}
	f, err := fsys.Create(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the directory is not there yet
	}
	if err != nil {
		return fmt.Errorf("probe disk: %w", err)
	}
	_, err = f.WriteAt(make([]byte, probeBytes), 0)
	err = errors.Join(err, f.Sync(), f.Close(), fsys.Remove(path))
	if err != nil {
		return fmt.Errorf("probe disk: %w", err)
	}
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
	g.stopFlush()
}
