package broker

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/fanfold/fanfold/cluster"
	"github.com/fanfold/fanfold/cluster/configs"
	"github.com/fanfold/fanfold/internal/vfs"
	"github.com/fanfold/fanfold/log"
	"github.com/fanfold/fanfold/protocol"
	"github.com/fanfold/fanfold/replication"
)

// NodeOptions is what a LocalNode is opened with.
type NodeOptions struct {
	DataDir   string
	NodeID    int32
	Rack      string
	Version   string             // of the program, for the metadata
	Listeners []cluster.Listener // as clients are told of them
	Static    map[string]string  // configs that the process was started with
	FS        vfs.FS             // of partitions and votes; nil: vfs.OS
	Now       func() time.Time   // nil: time.Now
	Logger    *slog.Logger       // nil: slog.Default()

	// Registerer is where the node's metrics are registered; nil: they are
	// counted and not shown.
	Registerer prometheus.Registerer
}

// LocalNode is this process as a member of the cluster: its data directory, the
// metadata, and the partition replicas that the metadata places here.
type LocalNode struct {
	opts     NodeOptions
	lock     io.Closer
	dir      dataDir
	machine  *cluster.Machine
	metadata *replication.MetadataGroup
	raft     *replication.Node
	syncer   *log.SyncScheduler
	ids      producerIDs
	stats    *nodeStats
	cleaner  *cleaner

	replicas atomic.Pointer[replicaTable]
	dirs     sync.Mutex           // held while a topic's directory is made
	changed  chan struct{}        // capacity 1: the metadata changed
	applied  configs.BrokerConfig // as of the last reconcile, which owns it
	stop     context.CancelFunc
	done     sync.WaitGroup

	ready struct {
		sync.Mutex
		wake chan struct{} // closed and replaced when replicas changed
	}
}

var _ Node = (*LocalNode)(nil)

// OpenNode opens the data directory, making it where it is empty, and starts
// everything in it. It returns when the metadata is there and all replicas were
// asked to start.
func OpenNode(ctx context.Context, opts NodeOptions) (*LocalNode, error) {
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.FS == nil {
		opts.FS = vfs.OS
	}
	n := &LocalNode{opts: opts, machine: cluster.NewMachine(), changed: make(chan struct{}, 1)}
	n.ready.wake = make(chan struct{})
	n.replicas.Store(&replicaTable{})
	n.ids.node = n
	n.stats = newNodeStats(opts.Registerer, n)
	n.cleaner = newCleaner(n, opts.Registerer)
	if err := n.open(ctx); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

func (n *LocalNode) open(ctx context.Context) (err error) {
	if n.lock, n.dir, err = openDataDir(n.opts.DataDir, n.opts.NodeID); err != nil {
		return err
	}
	n.syncer = log.NewSyncScheduler(log.SyncConfig{FS: n.opts.FS, Dir: n.opts.DataDir, Observe: n.stats.synced})
	n.raft, err = replication.OpenNode(replication.NodeConfig{
		FS: n.opts.FS, Dir: n.opts.DataDir, Syncer: n.syncer, Now: n.opts.Now, Logger: n.opts.Logger,
	})
	if err != nil {
		return err
	}
	n.metadata, err = replication.OpenMetadata(ctx, replication.MetadataConfig{
		Dir:      filepath.Join(n.opts.DataDir, "metadata"),
		ServerID: strconv.Itoa(int(n.opts.NodeID)),
		Machine:  metadataMachine{n},
		Logger:   n.opts.Logger,
	})
	if err != nil {
		return err
	}
	if err := n.register(ctx); err != nil {
		return err
	}
	n.reconcile(ctx)
	runCtx, stop := context.WithCancel(context.Background())
	n.stop = stop
	n.done.Go(func() { n.runReconcile(runCtx) })
	n.done.Go(func() { n.runHousekeeping(runCtx) })
	n.done.Go(func() { n.runScrub(runCtx) })
	n.done.Go(func() { n.cleaner.run(runCtx) })
	return nil
}

// register names the cluster, where it is new, and this node's addresses.
func (n *LocalNode) register(ctx context.Context) error {
	image := n.machine.Image()
	if image.ClusterID() == "" {
		cmd := &cluster.BootstrapCluster{ClusterID: newClusterID(), FeatureLevel: featureLevel, TimeMs: n.opts.Now().UnixMilli()}
		if _, err := n.Propose(ctx, cmd); err != nil {
			return fmt.Errorf("name the cluster: %w", err)
		}
	}
	node := cluster.Node{
		ID: n.opts.NodeID, Directory: n.dir.ID, Rack: n.opts.Rack, Listeners: n.opts.Listeners,
		MinFeatureLevel: featureLevel, MaxFeatureLevel: featureLevel,
		Version: n.opts.Version, RegisteredMs: n.opts.Now().UnixMilli(),
	}
	if _, err := n.Propose(ctx, &cluster.RegisterNode{Node: node}); err != nil {
		return fmt.Errorf("register this node: %w", err)
	}
	return nil
}

// featureLevel is what this program can run, and what a new cluster runs at.
const featureLevel = 1

// newClusterID is 16 random bytes, as Kafka writes them.
func newClusterID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// metadataMachine is the node's cluster.Machine as the metadata group sees it.
type metadataMachine struct{ n *LocalNode }

// Apply is called again with old commands where the group was started anew
// after its disk had failed: they are in the image.
func (m metadataMachine) Apply(index uint64, command []byte) any {
	if index <= m.n.machine.Image().Index() {
		return cluster.Result{}
	}
	result := m.n.machine.Apply(index, command)
	if errors.Is(result.Err, cluster.ErrUnknownCommand) || errors.Is(result.Err, cluster.ErrCorruptCommand) {
		m.n.opts.Logger.Error("metadata command not understood: changes stop here; run a newer fanfold", "index", index, "error", result.Err)
	}
	m.n.notify()
	return result
}

func (m metadataMachine) Snapshot() []byte { return m.n.machine.Snapshot() }

// Restore never goes back, for the same reason.
func (m metadataMachine) Restore(state []byte) error {
	restored := cluster.NewMachine()
	if err := restored.Restore(state); err != nil {
		return err
	}
	if restored.Image().Index() < m.n.machine.Image().Index() {
		return nil
	}
	defer m.n.notify()
	return m.n.machine.Restore(state)
}

func (n *LocalNode) notify() {
	select {
	case n.changed <- struct{}{}:
	default:
	}
}

// Image is the newest metadata.
func (n *LocalNode) Image() *cluster.Image { return n.machine.Image() }

// NodeID is this node's id.
func (n *LocalNode) NodeID() int32 { return n.opts.NodeID }

// ClusterID is the cluster's id.
func (n *LocalNode) ClusterID() string { return n.machine.Image().ClusterID() }

// Configs are the node's configs in their layers.
func (n *LocalNode) Configs() configs.BrokerConfig {
	return n.machine.Image().BrokerConfig(n.opts.NodeID, n.opts.Static)
}

// Propose changes the metadata.
func (n *LocalNode) Propose(ctx context.Context, cmd cluster.Command) (cluster.Result, error) {
	answer, err := n.metadata.Propose(ctx, cluster.Encode(cmd))
	result, ok := answer.(cluster.Result)
	if err == nil && !ok {
		err = replication.ErrMetadataUnavailable
	}
	if errors.Is(err, replication.ErrMetadataUnavailable) {
		// Of one voter it is the disk's fault. Clients try this code again.
		return cluster.Result{}, protocol.Errorf(kerr.KafkaStorageError, "%v", err)
	}
	if err != nil {
		return cluster.Result{}, err
	}
	return result, result.Err
}

// Ready is why this node does not serve all of its replicas yet, or nil.
// Replicas that are offline because of an error do not count: /metrics tells of
// them.
func (n *LocalNode) Ready() error {
	waiting := 0
	for meta := range n.machine.Image().Topics() {
		if !n.topicSettled(meta) {
			waiting++
		}
	}
	if waiting > 0 {
		return fmt.Errorf("%d topics are not ready", waiting)
	}
	return nil
}

// LogDirs is the one data directory.
func (n *LocalNode) LogDirs() []LogDir {
	total, usable, err := diskSpace(n.opts.DataDir)
	return []LogDir{{Path: n.opts.DataDir, TotalBytes: total, UsableBytes: usable, Err: err}}
}

// Close stops everything cleanly.
func (n *LocalNode) Close() error {
	if n.stop != nil {
		n.stop()
	}
	n.done.Wait()
	var errs []error
	if n.raft != nil {
		errs = append(errs, n.raft.Close())
	}
	if n.metadata != nil {
		errs = append(errs, n.metadata.Close())
	}
	if n.syncer != nil {
		n.syncer.Close()
	}
	if n.lock != nil {
		errs = append(errs, n.lock.Close())
	}
	return errors.Join(errs...)
}

// dirError says what is wrong with a data directory in words that help.
func dirError(dir string, err error) error {
	switch {
	case errors.Is(err, vfs.ErrLocked):
		return fmt.Errorf("data directory %s is used by another process: stop that one, or choose another with --data-dir", dir)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("data directory %s: no permission: give this user access to it, or choose another with --data-dir", dir)
	}
	return fmt.Errorf("data directory %s: %w", dir, err)
}
