package replication

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/fanfold/fanfold/log"
)

// Raft's own timers for a group of one voter: nobody is waited for, and they
// cost CPU in each group (raft.md, "Time").
const (
	loneElectionTimeout = 30 * time.Second
	loneLeaseTimeout    = 24 * time.Second
)

// Waits between attempts to bring a failed replica back.
const (
	retryMin = time.Second
	retryMax = 30 * time.Second
)

// never is further away than any process lives.
const never = 100 * 365 * 24 * time.Hour

// ErrReplicaLost says that a replica's directory is gone although it has taken
// part in votes: it must not start empty (design.md, "A replica has an
// identity").
var ErrReplicaLost = errors.New("replica's files are missing")

// GroupConfig describes one partition replica. All fields are required unless
// said otherwise.
type GroupConfig struct {
	ID       GroupID
	Dir      string       // of the log; created if missing
	Prepare  func() error // makes the directory around Dir, durably; nil: it is there
	ServerID string       // Raft's: node id and incarnation
	Machine  Machine      // told of everything
	Limits   log.Limits
	Flush    FlushPolicy
	Logger   *slog.Logger // nil: slog.Default()
}

// FlushPolicy is when what was written is synced (Kafka's flush.messages and
// flush.ms). The zero value syncs before each acknowledgement.
type FlushPolicy struct {
	Messages int64         // records that may wait unsynced; 0 and 1: none
	Interval time.Duration // longest time that they wait; 0: no limit
}

// Group is one replica's membership in its partition's Raft group.
type Group struct {
	node *Node
	cfg  GroupConfig

	lone          atomic.Bool // one voter: durable here is committed
	appliedIndex  atomic.Uint64
	snapshotIndex atomic.Uint64
	flush         atomic.Pointer[FlushPolicy]
	unsynced      atomic.Int64 // records
	dirty         atomic.Bool  // in the node's list for the next mark
	dropWanted    atomic.Int64 // log start up to which files may go

	// applyMu is held over each run of Apply calls. It is taken first of all.
	applyMu sync.Mutex

	events chan event
	stop   context.CancelFunc
	done   chan struct{}

	// mu is taken after the machine's own mutex, never before.
	mu struct {
		sync.Mutex
		raft      *raft.Raft
		log       *log.Log
		store     *store
		term      uint64 // led by this replica; 0: not the leader
		queue     queue
		awaited   map[uint64]any
		failure   error
		flushTime *time.Timer
	}
}

// event wakes a group's owner goroutine.
type event uint8

const (
	eventFailed event = iota
	eventSnapshot
)

// OpenGroup starts a replica and returns once its log is recovered and its
// Raft instance runs; the machine's Apply of KindLeaderStart says when it
// leads. A replica that cannot start is not an error where trying again may
// help: it is then offline, and its owner goroutine goes on trying.
func (n *Node) OpenGroup(ctx context.Context, cfg GroupConfig) (*Group, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	g := &Group{node: n, cfg: cfg, events: make(chan event, 16), done: make(chan struct{})}
	g.SetFlush(cfg.Flush)
	err := g.start(ctx)
	if errors.Is(err, ErrReplicaLost) {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		g.offline(err)
	}
	runCtx, stop := context.WithCancel(context.Background())
	g.stop = stop
	n.add(g)
	go g.run(runCtx)
	return g, nil
}

// SetLimits changes the log's limits.
func (g *Group) SetLimits(limits log.Limits) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cfg.Limits = limits
	if g.mu.log != nil {
		g.mu.log.SetLimits(limits)
	}
}

// SetFlush changes when writes are synced.
func (g *Group) SetFlush(p FlushPolicy) { g.flush.Store(&p) }

// DropBefore lets the files go that hold only records below offset, once a
// snapshot covers them.
func (g *Group) DropBefore(offset int64) {
	if g.dropWanted.Swap(offset) != offset {
		g.post(eventSnapshot)
	}
}

// post wakes the owner; where many events wait already one more says nothing.
func (g *Group) post(e event) {
	select {
	case g.events <- e:
	default:
	}
}

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
	st := &store{g: g, log: l}
	stable := &stableStore{votes: g.node.Votes(), id: g.cfg.ID, fail: st.end}
	if last, _ := l.Last(); last == 0 && !found {
		if err := g.bootstrap(l); err != nil {
			return err
		}
	}
	g.snapshotIndex.Store(m.index)
	g.appliedIndex.Store(0)
	g.cfg.Machine.Attach(l)
	if !found {
		if err := g.restore(nil); err != nil {
			return err
		}
	}
	trans := newLoneTransport(raft.ServerID(g.cfg.ServerID))
	g.mu.Lock()
	old := g.mu.log
	g.mu.log, g.mu.store = l, st
	g.mu.failure, g.mu.term = nil, 0
	g.mu.awaited = map[uint64]any{}
	g.mu.Unlock()
	if old != nil {
		old.Abort()
	}
	r, err := raft.NewRaft(g.raftConfig(), fsm{g}, st, stable, snaps, trans)
	if err != nil {
		return fmt.Errorf("start raft: %w", err)
	}
	g.observeLatest(r.GetConfiguration())
	g.mu.Lock()
	g.mu.raft = r
	g.mu.Unlock()
	trans.stand()
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
	c.MaxAppendEntries = maxInRaft
	c.BatchApplyCh = true
	c.SnapshotInterval = never
	c.SnapshotThreshold = math.MaxUint64
	c.TrailingLogs = 0
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

// observeLatest sets whether the group has one voter from what raft found.
func (g *Group) observeLatest(f raft.ConfigurationFuture) {
	if f.Error() == nil {
		g.lone.Store(voters(f.Configuration()) == 1)
	}
}

// observeConfiguration takes note of a configuration that was just stored: a
// second voter ends the short way at once, while a lone one has it only from
// the commit on.
func (g *Group) observeConfiguration(data []byte) {
	if voters(raft.DecodeConfiguration(data)) != 1 {
		g.lone.Store(false)
	}
}

// configurationCommitted looks at the committed configuration again.
func (g *Group) configurationCommitted(index uint64) {
	g.mu.Lock()
	l := g.mu.log
	g.mu.Unlock()
	if info, err := l.Entry(index); err == nil && info.Kind == KindConfiguration {
		g.lone.Store(voters(raft.DecodeConfiguration(info.Data)) == 1)
	}
}

func voters(c raft.Configuration) int {
	n := 0
	for _, s := range c.Servers {
		if s.Suffrage == raft.Voter {
			n++
		}
	}
	return n
}

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
	g.mu.flushTime = time.AfterFunc(d, func() {
		g.mu.Lock()
		g.mu.flushTime = nil
		g.mu.Unlock()
		g.unsynced.Store(0)
		if err := s.log.Sync(); err != nil && !errors.Is(err, log.ErrClosed) {
			g.fail(s, fmt.Errorf("sync: %w", err))
		}
	})
}

// syncLog makes all that was written durable.
func (g *Group) syncLog() error {
	g.mu.Lock()
	l := g.mu.log
	g.mu.Unlock()
	return l.Sync()
}

// wrote ends a write: the next proposals go to raft, the mark is due, and a
// snapshot where a segment was rolled.
func (g *Group) wrote(s *store) {
	g.mu.Lock()
	if g.mu.store == s && g.mu.raft != nil && g.mu.term != 0 {
		g.handOver()
	}
	g.mu.Unlock()
	if !g.dirty.Swap(true) {
		g.node.markDue(g)
	}
	if rolls := s.log.Rolls(); rolls != s.rolls {
		s.rolls = rolls
		g.post(eventSnapshot)
	}
}

// writeMark writes the log's durable mark; the node's ticker calls it.
func (g *Group) writeMark() {
	g.dirty.Store(false)
	g.mu.Lock()
	l, s, failed := g.mu.log, g.mu.store, g.mu.failure != nil
	g.mu.Unlock()
	if failed || l == nil {
		return
	}
	if err := l.WriteMark(); err != nil && !errors.Is(err, log.ErrClosed) {
		g.fail(s, fmt.Errorf("write durable mark: %w", err))
	}
}

// fail marks the replica failed, once for each instance; the owner does the
// rest.
func (g *Group) fail(s *store, err error) {
	g.mu.Lock()
	first := g.mu.store == s && g.mu.failure == nil
	if first {
		g.mu.failure = err
		g.mu.term = 0
	}
	g.mu.Unlock()
	if first {
		g.post(eventFailed)
	}
}

// failed tells whether the instance of s has failed.
func (g *Group) failed(s *store) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mu.store != s || g.mu.failure != nil
}

// Err is why the replica is offline, or nil.
func (g *Group) Err() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mu.failure
}
