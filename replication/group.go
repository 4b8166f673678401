package replication

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	unsynced      atomic.Int64  // records
	dirty         atomic.Bool   // in the node's list for the next mark
	dropWanted    atomic.Int64  // log start up to which files may go
	snapshotDue   atomic.Bool   // and letting files go
	fsmSeen       atomic.Uint64 // newest index that raft's FSM goroutine had

	// applyMu is held over each run of Apply calls. It is taken first of all.
	applyMu sync.Mutex

	wake     chan struct{}  // for the owner: look at failure and snapshotDue
	progress chan struct{}  // fsmSeen has grown
	flushes  sync.WaitGroup // timers that are armed or run
	stop     context.CancelFunc
	done     chan struct{}

	// mu is taken after the machine's own mutex, never before.
	mu struct {
		sync.Mutex
		raft      *raft.Raft
		log       *log.Log
		store     *store
		term      uint64 // led by this replica; 0: not the leader
		queue     queue
		awaited   map[uint64]any
		settles   []*settleRequest
		failure   error
		flushTime *time.Timer // nil: no flush is due
	}
}

// OpenGroup starts a replica and returns once its log is recovered and its
// Raft instance runs; the machine's Apply of KindLeaderStart says when it
// leads. A replica that cannot start is not an error where trying again may
// help: it is then offline, and its owner goroutine goes on trying.
func (n *Node) OpenGroup(ctx context.Context, cfg GroupConfig) (*Group, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	g := &Group{
		node: n, cfg: cfg,
		wake: make(chan struct{}, 1), progress: make(chan struct{}, 1), done: make(chan struct{}),
	}
	g.SetFlush(cfg.Flush)
	err := g.start(ctx)
	if errors.Is(err, ErrReplicaLost) {
		return nil, err
	}
	if err != nil && ctx.Err() != nil {
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
	for {
		wanted := g.dropWanted.Load()
		if offset <= wanted || g.dropWanted.CompareAndSwap(wanted, offset) {
			break
		}
	}
	g.wantSnapshot()
}

func (g *Group) wantSnapshot() {
	g.snapshotDue.Store(true)
	signal(g.wake)
}

// signal leaves word in a channel of one place. What it is about is in a
// variable that was set before, so that none is lost.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
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

// wrote ends a write: the next proposals go to raft, the mark is due, and a
// snapshot where a segment was rolled.
func (g *Group) wrote(s *store) {
	g.mu.Lock()
	if g.mu.store == s && g.mu.raft != nil && g.mu.term != 0 {
		g.handOver()
	}
	if len(g.mu.queue.inRaft) == 0 {
		s.log.RetractSync()
	} else {
		s.log.AnnounceSync()
	}
	g.mu.Unlock()
	if !g.dirty.Swap(true) {
		g.node.markDue(g)
	}
	if rolls := s.log.Rolls(); rolls != s.rolls {
		s.rolls = rolls
		g.wantSnapshot()
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
		close(s.broken)
	}
	g.mu.Unlock()
	if first {
		signal(g.wake)
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
