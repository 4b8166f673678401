package replication

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/fanfold/fanfold/internal/vfs"
)

// MetadataMachine is the state machine of the cluster's metadata.
type MetadataMachine interface {
	// Apply applies a committed command; its result goes to who proposed it.
	Apply(index uint64, command []byte) any
	// Snapshot returns the whole state.
	Snapshot() []byte
	// Restore replaces the whole state.
	Restore(state []byte) error
}

// ErrMetadataUnavailable: the metadata group has no leader, or its disk failed.
var ErrMetadataUnavailable = errors.New("cluster metadata cannot be changed now")

const (
	metadataSnapshotInterval  = 2 * time.Minute
	metadataSnapshotThreshold = 8192
	metadataTrailingLogs      = 1024
	boltLockTimeout           = 2 * time.Second
)

// MetadataConfig describes the metadata group of a node.
type MetadataConfig struct {
	Dir      string // holds raft.db and the snapshot manifest; created if missing
	ServerID string // Raft's
	Machine  MetadataMachine
	Logger   *slog.Logger // nil: slog.Default()
}

// MetadataGroup is the Raft group of the cluster's metadata, on raft-boltdb.
type MetadataGroup struct {
	cfg    MetadataConfig
	failed chan error // from raft's goroutine, at most one an instance
	stop   context.CancelFunc
	done   chan struct{}

	// applied is the newest index that the machine has applied. It belongs to
	// raft's FSM goroutine, of which there is one at a time.
	applied uint64

	mu struct {
		sync.Mutex
		raft    *raft.Raft
		bolt    *raftboltdb.BoltStore
		stopped chan struct{} // closed when raft, not nil, has been shut down
	}
}

// OpenMetadata starts the group and waits until its state is read and it leads,
// or ctx ends.
func OpenMetadata(ctx context.Context, cfg MetadataConfig) (*MetadataGroup, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if err := os.MkdirAll(cfg.Dir, 0o750); err != nil {
		return nil, fmt.Errorf("make metadata directory: %w", err)
	}
	if err := vfs.OS.SyncDir(filepath.Dir(cfg.Dir)); err != nil {
		return nil, fmt.Errorf("make metadata directory: %w", err)
	}
	g := &MetadataGroup{cfg: cfg, failed: make(chan error, 1), done: make(chan struct{})}
	if err := g.start(); err != nil {
		return nil, err
	}
	if err := g.awaitLeader(ctx); err != nil {
		g.stopInstance()
		return nil, err
	}
	runCtx, stop := context.WithCancel(context.Background())
	g.stop = stop
	go g.run(runCtx)
	return g, nil
}

// start opens the store and starts a Raft instance over it.
func (g *MetadataGroup) start() error {
	path := filepath.Join(g.cfg.Dir, "raft.db")
	bolt, err := openBolt(path)
	if err != nil {
		return fmt.Errorf("open metadata %s: %w", path, err)
	}
	st := &metadataStore{BoltStore: bolt, g: g}
	snaps := &snapshotStore{fs: vfs.OS, dir: g.cfg.Dir, saved: func(uint64) {}}
	trans := newLoneTransport(raft.ServerID(g.cfg.ServerID))
	r, err := g.startRaft(st, snaps, trans)
	if err != nil {
		bolt.Close()
		return fmt.Errorf("start metadata group: %w", err)
	}
	g.mu.Lock()
	g.mu.raft, g.mu.bolt, g.mu.stopped = r, bolt, make(chan struct{})
	g.mu.Unlock()
	trans.stand()
	return nil
}

// openBolt opens the store. bbolt panics over a damaged page.
func openBolt(path string) (bolt *raftboltdb.BoltStore, err error) {
	defer func() {
		if p := recover(); p != nil {
			bolt, err = nil, fmt.Errorf("file is damaged: %v", p)
		}
	}()
	return raftboltdb.New(raftboltdb.Options{
		Path:                    path,
		BoltOptions:             &bbolt.Options{Timeout: boltLockTimeout},
		MsgpackUseNewTimeFormat: true,
	})
}

func (g *MetadataGroup) startRaft(st *metadataStore, snaps *snapshotStore, trans *loneTransport) (*raft.Raft, error) {
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(g.cfg.ServerID)
	c.HeartbeatTimeout = loneElectionTimeout
	c.ElectionTimeout = loneElectionTimeout
	c.LeaderLeaseTimeout = loneLeaseTimeout
	c.SnapshotInterval = metadataSnapshotInterval
	c.SnapshotThreshold = metadataSnapshotThreshold
	c.TrailingLogs = metadataTrailingLogs
	c.NoLegacyTelemetry = true
	c.Logger = newRaftLogger(g.cfg.Logger)
	// An instance after a failure finds the machine ahead of any snapshot.
	c.NoSnapshotRestoreOnStart = g.applied > 0
	exists, err := raft.HasExistingState(st, st, snaps)
	if err != nil {
		return nil, err
	}
	if !exists {
		conf := raft.Configuration{Servers: []raft.Server{{Suffrage: raft.Voter, ID: c.LocalID, Address: trans.LocalAddr()}}}
		if err := raft.BootstrapCluster(c, st, st, snaps, trans, conf); err != nil {
			return nil, err
		}
	}
	st.live = true
	r, err := newRaft(c, &metadataFSM{g: g, m: g.cfg.Machine}, st, st, snaps, trans)
	if errors.Is(err, errRaftEnded) {
		err = <-g.failed
	}
	return r, err
}

// awaitLeader waits until this node leads and has applied all of the log.
func (g *MetadataGroup) awaitLeader(ctx context.Context) error {
	g.mu.Lock()
	r := g.mu.raft
	g.mu.Unlock()
	select {
	case <-r.LeaderCh():
	case err := <-g.failed:
		return fmt.Errorf("start metadata group: %w", err)
	case <-ctx.Done():
		return fmt.Errorf("start metadata group: %w", ctx.Err())
	}
	if err := r.Barrier(0).Error(); err != nil {
		return fmt.Errorf("start metadata group: %w", err)
	}
	return nil
}

// Propose commits a command and returns its result, once the machine has
// applied it here. Where ctx ends first the command may still be applied, also
// behind later ones.
func (g *MetadataGroup) Propose(ctx context.Context, command []byte) (any, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	g.mu.Lock()
	r, stopped := g.mu.raft, g.mu.stopped
	g.mu.Unlock()
	if r == nil {
		return nil, ErrMetadataUnavailable
	}
	timeout := time.Duration(0)
	if deadline, ok := ctx.Deadline(); ok {
		timeout = max(time.Until(deadline), time.Millisecond)
	}
	type answer struct {
		response any
		err      error
	}
	answered := make(chan answer, 1)
	go func() {
		f := r.Apply(command, timeout) // may wait for raft to take it
		err := f.Error()
		answered <- answer{f.Response(), err}
	}()
	select {
	case a := <-answered:
		if a.err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMetadataUnavailable, a.err)
		}
		return a.response, nil
	case <-stopped:
		// raft answers some of what it had only if it lives on.
		return nil, ErrMetadataUnavailable
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// run brings the group back after its disk failed.
func (g *MetadataGroup) run(ctx context.Context) {
	defer close(g.done)
	defer g.stopInstance()
	for {
		select {
		case <-ctx.Done():
			return
		case err := <-g.failed:
			g.cfg.Logger.Error("metadata group is offline; it will be tried again", "dir", g.cfg.Dir, "error", err)
		}
		g.stopInstance()
		for backoff := retryMin; ; backoff = min(2*backoff, retryMax) {
			if !wait(ctx, backoff) {
				return
			}
			err := g.start()
			if err == nil {
				break
			}
			g.cfg.Logger.Error("metadata group is offline; it will be tried again", "dir", g.cfg.Dir, "error", err)
		}
	}
}

func (g *MetadataGroup) stopInstance() {
	g.mu.Lock()
	r, bolt, stopped := g.mu.raft, g.mu.bolt, g.mu.stopped
	g.mu.raft, g.mu.bolt = nil, nil
	g.mu.Unlock()
	if r == nil {
		return
	}
	_ = r.Shutdown().Error() // always nil
	close(stopped)
	select {
	case <-g.failed: // of the instance that ended
	default:
	}
	if err := bolt.Close(); err != nil {
		g.cfg.Logger.Warn("close metadata failed", "error", err)
	}
}

// Close stops the group and waits until it is.
func (g *MetadataGroup) Close() error {
	g.stop()
	<-g.done
	return nil
}

// metadataStore is raft-boltdb, with errors that raft would not survive turned
// into the end of the instance (raft.md, "Committing and truncating").
type metadataStore struct {
	*raftboltdb.BoltStore
	g    *MetadataGroup
	live bool // raft's goroutines call: before, errors are returned
}

func (s *metadataStore) end(err error) error {
	if err == nil || !s.live {
		return err
	}
	select {
	case s.g.failed <- err:
	default:
	}
	runtime.Goexit()
	return nil
}

// GetLog ends raft's goroutine where it would panic. raft.ErrLogNotFound it
// understands.
func (s *metadataStore) GetLog(index uint64, l *raft.Log) error {
	err := s.BoltStore.GetLog(index, l)
	if errors.Is(err, raft.ErrLogNotFound) || errors.Is(err, berrors.ErrDatabaseNotOpen) {
		return err // raft's metrics may ask once more behind the end
	}
	return s.end(err)
}

func (s *metadataStore) StoreLog(l *raft.Log) error    { return s.end(s.BoltStore.StoreLog(l)) }
func (s *metadataStore) StoreLogs(l []*raft.Log) error { return s.end(s.BoltStore.StoreLogs(l)) }
func (s *metadataStore) SetUint64(k []byte, v uint64) error {
	return s.end(s.BoltStore.SetUint64(k, v))
}
func (s *metadataStore) Set(k, v []byte) error { return s.end(s.BoltStore.Set(k, v)) }

// metadataFSM is one Raft instance's view of the machine. The machine outlives
// it: what it has applied is not applied again when raft reads the log anew.
type metadataFSM struct {
	g    *MetadataGroup
	m    MetadataMachine
	seen uint64 // newest index that this instance has brought
}

var _ raft.BatchingFSM = (*metadataFSM)(nil)

// Apply is never called by raft beside ApplyBatch.
func (f *metadataFSM) Apply(l *raft.Log) any { return f.ApplyBatch([]*raft.Log{l})[0] }

func (f *metadataFSM) ApplyBatch(logs []*raft.Log) []any {
	results := make([]any, len(logs))
	for i, l := range logs {
		f.seen = l.Index
		if l.Index <= f.g.applied {
			continue
		}
		f.g.applied = l.Index
		if l.Type == raft.LogCommand {
			results[i] = f.m.Apply(l.Index, l.Data)
		}
	}
	return results
}

// Snapshot refuses while the machine is ahead of this instance: raft would give
// the state too low an index.
func (f *metadataFSM) Snapshot() (raft.FSMSnapshot, error) {
	if f.seen < f.g.applied {
		return nil, fmt.Errorf("raft has brought entry %d, the state is of %d", f.seen, f.g.applied)
	}
	return fsmSnapshot(f.m.Snapshot()), nil
}

func (f *metadataFSM) Restore(r io.ReadCloser) error {
	defer r.Close()
	state, err := io.ReadAll(r)
	if err != nil {
		return fmt.Errorf("restore metadata: %w", err)
	}
	return f.m.Restore(state)
}
