package broker

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/fanfold/fanfold/cluster"
	"github.com/fanfold/fanfold/cluster/configs"
	"github.com/fanfold/fanfold/internal/vfs"
	"github.com/fanfold/fanfold/log"
	"github.com/fanfold/fanfold/partition"
	"github.com/fanfold/fanfold/protocol"
	"github.com/fanfold/fanfold/protocol/record"
)

const testClusterID = "Zm9sZGVkLXBhcGVyLWZvcg"

// testNode is a node without Raft: its metadata is applied at once, and its
// replicas are testReplicas.
type testNode struct {
	t      testing.TB
	fs     vfs.FS
	dir    string
	static map[string]string
	ids    atomic.Int64

	mu struct {
		sync.Mutex
		machine  *cluster.Machine
		index    uint64
		replicas map[cluster.TopicID][]*testReplica
		notReady chan struct{} // closed when topics are ready; nil: they are
		refuse   error         // of Propose
		logs     []*log.Log
		changed  chan struct{} // closed and replaced at each change
	}
}

var _ Node = (*testNode)(nil)

func newTestNode(t testing.TB) *testNode {
	return newTestNodeOn(t, vfs.NewMem(vfs.MemOptions{}), "/data")
}

// newFileNode keeps its partitions in files of the operating system.
func newFileNode(t testing.TB) *testNode { return newTestNodeOn(t, vfs.OS, t.TempDir()) }

func newTestNodeOn(t testing.TB, fs vfs.FS, dir string) *testNode {
	t.Helper()
	n := &testNode{t: t, fs: fs, dir: dir, static: map[string]string{}}
	n.mu.machine = cluster.NewMachine()
	n.mu.changed = make(chan struct{})
	n.mu.replicas = make(map[cluster.TopicID][]*testReplica)
	must(t, fs.MkdirAll(dir))
	t.Cleanup(func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		for _, l := range n.mu.logs {
			_ = l.Close() // what is in it does not matter any more
		}
	})
	n.mustPropose(&cluster.BootstrapCluster{ClusterID: testClusterID, FeatureLevel: 1, TimeMs: 1})
	n.mustPropose(&cluster.RegisterNode{Node: cluster.Node{
		ID: 1, Directory: [16]byte{1}, Rack: "r1", MinFeatureLevel: 1, MaxFeatureLevel: 1, Version: "test",
		Listeners: []cluster.Listener{{Name: DefaultListener, Host: "kafka.example", Port: 9092}},
	}})
	return n
}

func (n *testNode) mustPropose(cmd cluster.Command) {
	n.t.Helper()
	if _, err := n.Propose(context.Background(), cmd); err != nil {
		n.t.Fatal(err)
	}
}

// topic creates a topic.
func (n *testNode) topic(name string, partitions int32, overrides map[string]string) *cluster.Topic {
	n.t.Helper()
	cmd, err := cluster.NewCreateTopic(n.Image(), newTopicID(), 1,
		cluster.TopicSpec{Name: name, Partitions: partitions, ReplicationFactor: 1, Configs: overrides}, cluster.Defaults{})
	must(n.t, err)
	n.mustPropose(cmd)
	return n.Image().Topic(name)
}

// replica is a partition's replica.
func (n *testNode) replica(topic string, number int32) *testReplica {
	n.t.Helper()
	r, err := n.Replica(n.Image().Topic(topic).ID, number)
	must(n.t, err)
	return r.(*testReplica)
}

func (n *testNode) Image() *cluster.Image {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mu.machine.Image()
}

func (n *testNode) NodeID() int32     { return 1 }
func (n *testNode) ClusterID() string { return testClusterID }
func (n *testNode) Ready() error      { return nil }

func (n *testNode) Configs() configs.BrokerConfig { return n.Image().BrokerConfig(1, n.static) }

func (n *testNode) LogDirs() []LogDir {
	return []LogDir{{Path: n.dir, TotalBytes: 1000, UsableBytes: 500}}
}

func (n *testNode) Replica(topic [16]byte, number int32) (Replica, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	replicas := n.mu.replicas[topic]
	if number < 0 || int(number) >= len(replicas) {
		return nil, protocol.Errorf(kerr.UnknownTopicID, "no replica")
	}
	return replicas[number], nil
}

func (n *testNode) Propose(_ context.Context, cmd cluster.Command) (cluster.Result, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.mu.refuse != nil {
		return cluster.Result{}, n.mu.refuse
	}
	n.mu.index++
	result := n.mu.machine.Apply(n.mu.index, cluster.Encode(cmd))
	if result.Err != nil {
		return result, result.Err
	}
	for t := range n.mu.machine.Image().Topics() {
		for len(n.mu.replicas[t.ID]) < len(t.Partitions) {
			n.mu.replicas[t.ID] = append(n.mu.replicas[t.ID], n.newReplica(t, len(n.mu.replicas[t.ID])))
		}
	}
	for id := range n.mu.replicas {
		if n.mu.machine.Image().TopicByID(id) == nil {
			delete(n.mu.replicas, id)
		}
	}
	close(n.mu.changed)
	n.mu.changed = make(chan struct{})
	return result, nil
}

func (n *testNode) Changed() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mu.changed
}

// touch says that something has changed.
func (n *testNode) touch() {
	n.mu.Lock()
	defer n.mu.Unlock()
	close(n.mu.changed)
	n.mu.changed = make(chan struct{})
}

func (n *testNode) WaitReady(ctx context.Context, _ [16]byte) error {
	n.mu.Lock()
	wait := n.mu.notReady
	n.mu.Unlock()
	if wait == nil {
		return nil
	}
	select {
	case <-wait:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (n *testNode) AllocateProducerID(context.Context) (int64, error) { return n.ids.Add(1), nil }

// each calls f for all replicas.
func (n *testNode) each(f func(*testReplica)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, replicas := range n.mu.replicas {
		for _, r := range replicas {
			f(r)
		}
	}
}

func (n *testNode) watchers() (count int) {
	n.each(func(r *testReplica) {
		r.mu.Lock()
		defer r.mu.Unlock()
		count += len(r.mu.waiters)
	})
	return count
}

// releaseAll lets all batches go on that are held back.
func (n *testNode) releaseAll() { n.each((*testReplica).release) }

// testReplica is a replica over a log, whose batches are committed at once
// unless they are held back.
type testReplica struct {
	log *log.Log

	mu struct {
		sync.Mutex
		index   uint64
		hold    bool
		held    []heldBatch
		hw      int64
		start   int64
		waiters []partition.Waiter
		offline error
		fail    error // of Produce
		follows bool
		epoch   int32 // of the leader, beyond 1
	}
}

type heldBatch struct {
	raw  []byte
	acks int16
	tag  int
	sink partition.ProduceSink
}

func (n *testNode) newReplica(t *cluster.Topic, number int) *testReplica {
	l, err := log.Open(context.Background(), n.dir+"/"+t.ID.String()+"-"+string(rune('a'+number)),
		log.Config{FS: n.fs, Syncer: noSync{}, Limits: log.Limits{SegmentBytes: 1 << 20}})
	if err != nil {
		panic(err)
	}
	n.mu.logs = append(n.mu.logs, l)
	return &testReplica{log: l}
}

// noSync syncs nothing: these tests lose no power.
type noSync struct{}

func (noSync) Sync(vfs.File) error { return nil }

func (r *testReplica) Produce(batch []byte, acks int16, tag int, sink partition.ProduceSink) {
	r.mu.Lock()
	fail := r.mu.fail
	if fail == nil && r.mu.hold {
		r.mu.held = append(r.mu.held, heldBatch{batch, acks, tag, sink})
		r.mu.Unlock()
		return
	}
	r.mu.Unlock()
	if fail != nil {
		sink.Produced(tag, partition.ProduceResult{BaseOffset: -1, LogAppendTime: -1, LogStartOffset: -1, Err: fail})
		sink.Released(tag)
		return
	}
	r.append(heldBatch{batch, acks, tag, sink})
}

func (r *testReplica) append(b heldBatch) {
	h, err := record.Validate(b.raw)
	result := partition.ProduceResult{BaseOffset: -1, LogAppendTime: -1, LogStartOffset: -1, Err: err}
	var wake []partition.Waiter
	if err == nil {
		r.mu.Lock()
		r.mu.index++
		result.BaseOffset = r.log.EndOffset()
		result.LogStartOffset = r.mu.start
		result.Err = r.log.AppendLeader([]log.Entry{{Index: r.mu.index, Term: 1, Data: b.raw}})
		r.mu.hw = r.log.EndOffset()
		wake = append(wake, r.mu.waiters...)
		r.mu.Unlock()
	}
	b.sink.Produced(b.tag, result)
	b.sink.Released(b.tag)
	for _, w := range wake {
		w.Advanced(h.Bytes())
	}
}

// setHold holds batches back, or lets them go.
func (r *testReplica) setHold(hold bool) {
	r.mu.Lock()
	r.mu.hold = hold
	r.mu.Unlock()
	if !hold {
		r.release()
	}
}

// release appends what is held back.
func (r *testReplica) release() {
	r.mu.Lock()
	held := r.mu.held
	r.mu.held = nil
	r.mu.Unlock()
	for _, b := range held {
		r.append(b)
	}
}

func (r *testReplica) heldBatches() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.mu.held)
}

// Serving: it leads unless a test says otherwise.
func (r *testReplica) Serving() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.mu.follows
}

// setEpoch makes the replica lead in that epoch, or follow.
func (r *testReplica) setEpoch(epoch int32, leads bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.epoch, r.mu.follows = epoch, !leads
}

func (r *testReplica) setFail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.fail = err
}

// produce appends a batch from the side.
func (r *testReplica) produce(t testing.TB, values ...string) {
	t.Helper()
	r.append(heldBatch{raw: testBatch(t, values...), sink: noSink{}})
}

type noSink struct{}

func (noSink) Produced(int, partition.ProduceResult) {}
func (noSink) Released(int)                          {}

func (r *testReplica) Read(req partition.FetchRequest) partition.FetchResult {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := partition.FetchResult{
		HighWatermark: r.mu.hw, LastStableOffset: r.mu.hw, LogStartOffset: r.mu.start,
		LeaderEpoch: 1, DivergingEpoch: -1, DivergingOffset: -1,
	}
	switch {
	case req.CurrentLeaderEpoch > 1:
		out.Err = protocol.Errorf(kerr.UnknownLeaderEpoch, "epoch %d", req.CurrentLeaderEpoch)
	case req.Offset < r.mu.start || req.Offset > r.mu.hw:
		out.Err = protocol.Errorf(kerr.OffsetOutOfRange, "offset %d", req.Offset)
	case req.Offset < r.mu.hw && (req.MaxBytes > 0 || req.AtLeastOne):
		var err error
		if out.Records, err = r.log.Read(req.Offset, r.mu.hw, req.MaxBytes, req.AtLeastOne); err != nil {
			out.Err = protocol.Errorf(kerr.KafkaStorageError, "%v", err)
		}
	}
	return out
}

func (r *testReplica) Watch(w partition.Waiter, since int64) {
	r.mu.Lock()
	r.mu.waiters = append(r.mu.waiters, w)
	behind := r.mu.hw > since
	r.mu.Unlock()
	if behind {
		w.Advanced(1 << 30)
	}
}

func (r *testReplica) Unwatch(w partition.Waiter) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.mu.waiters {
		if r.mu.waiters[i] == w {
			r.mu.waiters = append(r.mu.waiters[:i], r.mu.waiters[i+1:]...)
			return
		}
	}
	panic("a waiter that does not watch is taken off")
}

func (r *testReplica) LatestOffset(int32, int8) (int64, int32, error) {
	return r.HighWatermark(), 1, nil
}
func (r *testReplica) EarliestOffset(int32) (int64, int32, error) {
	return r.LogStartOffset(), 1, nil
}

func (r *testReplica) OffsetForTimestamp(ctx context.Context, _ int32, ts int64) (partition.TimestampOffset, error) {
	at, found, err := r.log.OffsetForTimestamp(ctx, ts, r.LogStartOffset(), r.HighWatermark())
	if !found {
		return partition.TimestampOffset{Offset: -1, Timestamp: -1, LeaderEpoch: -1}, err
	}
	return partition.TimestampOffset(at), err
}

func (r *testReplica) MaxTimestamp(ctx context.Context, _ int32) (partition.TimestampOffset, error) {
	at, found, err := r.log.MaxTimestamp(ctx, r.LogStartOffset(), r.HighWatermark())
	if !found {
		return partition.TimestampOffset{Offset: -1, Timestamp: -1, LeaderEpoch: -1}, err
	}
	return partition.TimestampOffset(at), err
}

func (r *testReplica) EpochEndOffset(_, epoch int32) (int32, int64, error) {
	if epoch != 1 {
		return -1, -1, nil
	}
	return 1, r.EndOffset(), nil
}

func (r *testReplica) DeleteRecords(offset int64, done func(int64, error)) {
	r.mu.Lock()
	if offset == -1 {
		offset = r.mu.hw
	}
	var err error
	if offset > r.mu.hw {
		err = protocol.Errorf(kerr.OffsetOutOfRange, "offset %d", offset)
	} else {
		r.mu.start = max(r.mu.start, offset)
	}
	start := r.mu.start
	r.mu.Unlock()
	if err != nil {
		start = -1
	}
	done(start, err)
}

func (r *testReplica) Producers() []partition.ProducerState {
	return []partition.ProducerState{{ProducerID: 7, ProducerEpoch: 2, LastSequence: 3, LastTimestamp: 4}}
}

func (r *testReplica) LeaderEpoch() int32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return max(r.mu.epoch, 1)
}

func (r *testReplica) HighWatermark() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.hw
}

func (r *testReplica) LogStartOffset() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.start
}

func (r *testReplica) EndOffset() int64 { return r.log.EndOffset() }
func (r *testReplica) SizeBytes() int64 { return r.log.Size() }

func (r *testReplica) Offline() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.offline
}

var errTest = errors.New("a failure made by the test")
