package broker

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf16"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/fanfold/fanfold/cluster"
	"github.com/fanfold/fanfold/cluster/configs"
	"github.com/fanfold/fanfold/coordinator"
	"github.com/fanfold/fanfold/protocol"
)

// offsetsTopic is the topic in which groups live.
const offsetsTopic = "__consumer_offsets"

// groups are the group coordinators of this node: one for each partition of
// __consumer_offsets that it has a replica of.
type groups struct {
	srv     *Server
	metrics *groupMetrics
	table   atomic.Pointer[groupTable]
	making  sync.Mutex // held while the topic is created
	wg      sync.WaitGroup

	begun struct {
		sync.Mutex
		wake chan struct{} // closed and replaced when a shard begins to step
	}
}

// groupTable is immutable.
type groupTable struct {
	topic      cluster.TopicID
	partitions int // of __consumer_offsets; 0: there is none yet
	shards     []*runningShard
}

// runningShard is a shard with its goroutine.
type runningShard struct {
	*groupShard
	stop context.CancelFunc
}

func newGroups(s *Server) *groups {
	g := &groups{srv: s}
	g.metrics = newGroupMetrics(s.cfg.Registerer, g)
	g.table.Store(&groupTable{})
	g.begun.wake = make(chan struct{})
	return g
}

// run keeps a shard for each replica of __consumer_offsets on this node, and
// tells them of new topics, until the server closes.
func (g *groups) run() {
	ctx, cancel := context.WithCancel(g.srv.ctx)
	defer g.wg.Wait()
	defer cancel()
	var view *topicView
	for {
		changed := g.srv.node.Changed()
		if image := g.srv.node.Image(); view == nil || view.image != image {
			view = newTopicView(image, view)
			for _, s := range g.table.Load().running() {
				s.setTopics(view)
			}
		}
		g.reconcile(ctx, view)
		for _, s := range g.table.Load().running() {
			s.look() // its replica may have begun or ceased to lead
		}
		select {
		case <-changed:
		case <-g.srv.stopped:
			return
		}
	}
}

// reconcile starts shards for replicas that came, and stops those of replicas
// that went.
func (g *groups) reconcile(ctx context.Context, view *topicView) {
	old := g.table.Load()
	next := &groupTable{}
	if t := view.image.Topic(offsetsTopic); t != nil {
		next.topic, next.partitions = t.ID, len(t.Partitions)
		next.shards = make([]*runningShard, next.partitions)
	}
	changed := next.topic != old.topic || next.partitions != old.partitions
	for i := range next.shards {
		replica, err := g.srv.node.Replica(next.topic, int32(i))
		var have *runningShard
		if next.topic == old.topic && i < len(old.shards) {
			have = old.shards[i]
		}
		switch {
		case err != nil:
		case have != nil && have.replica == replica:
			next.shards[i] = have
		default:
			next.shards[i] = g.start(ctx, int32(i), replica, view)
		}
		changed = changed || next.shards[i] != have
	}
	if !changed {
		return
	}
	g.table.Store(next)
	for i, s := range old.shards {
		if s != nil && (i >= len(next.shards) || next.shards[i] != s) {
			s.stop()
		}
	}
}

func (g *groups) start(ctx context.Context, number int32, replica Replica, view *topicView) *runningShard {
	ctx, stop := context.WithCancel(ctx)
	s := newGroupShard(g, number, replica, view)
	g.wg.Go(func() { s.run(ctx) })
	return &runningShard{s, stop}
}

// running are the shards of this node.
func (t *groupTable) running() []*runningShard {
	out := make([]*runningShard, 0, len(t.shards))
	for _, s := range t.shards {
		if s != nil {
			out = append(out, s)
		}
	}
	return out
}

func (g *groups) all() []*runningShard { return g.table.Load().running() }

// submit hands a request to the coordinator of its group.
func (g *groups) submit(group string, req *coordinator.Request) {
	t := g.table.Load()
	if t.partitions == 0 {
		req.Token.(groupAnswer).refused(kerr.NotCoordinator) // it is made by FindCoordinator
		return
	}
	s := t.shards[groupPartition(group, t.partitions)]
	if s == nil {
		req.Token.(groupAnswer).refused(kerr.NotCoordinator)
		return
	}
	s.submit(req)
}

// groupPartition is the partition of __consumer_offsets that a group lives in:
// Java's hash of its id.
func groupPartition(group string, partitions int) int {
	var h int32
	for _, r := range group {
		if r > 0xffff {
			hi, lo := utf16.EncodeRune(r)
			h = h*31 + hi
			r = lo
		}
		h = h*31 + r
	}
	return int(h&0x7fffffff) % partitions
}

// coordinatorOf is the node that coordinates the group; __consumer_offsets is
// created where it is missing.
func (g *groups) coordinatorOf(ctx context.Context, group string) (*cluster.Node, error) {
	t, err := g.ensureTopic(ctx)
	if err != nil {
		return nil, err
	}
	number := groupPartition(group, len(t.Partitions))
	id, _ := g.srv.leader(t, int32(number))
	if id == g.srv.node.NodeID() {
		g.awaitActive(ctx, number)
	}
	if n := g.srv.node.Image().Node(id); n != nil {
		return n, nil
	}
	return nil, protocol.Errorf(kerr.CoordinatorNotAvailable, "the leader of the group's partition of %s is not known", offsetsTopic)
}

// activeWait is how long FindCoordinator waits for this node's coordinator to
// begin: a client that is sent there would be told to come again.
const activeWait = 3 * time.Second

func (g *groups) awaitActive(ctx context.Context, number int) {
	ctx, cancel := context.WithTimeout(ctx, activeWait)
	defer cancel()
	for {
		g.begun.Lock()
		wake := g.begun.wake
		g.begun.Unlock()
		if t := g.table.Load(); number < len(t.shards) && t.shards[number] != nil && t.shards[number].stepping() {
			return
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return
		case <-g.srv.stopped:
			return
		}
	}
}

// began wakes those who wait for a shard.
func (g *groups) began() {
	g.begun.Lock()
	defer g.begun.Unlock()
	close(g.begun.wake)
	g.begun.wake = make(chan struct{})
}

// ensureTopic is __consumer_offsets, created as offsets.topic.* say.
func (g *groups) ensureTopic(ctx context.Context) (*cluster.Topic, error) {
	if t := g.srv.node.Image().Topic(offsetsTopic); t != nil {
		return t, nil
	}
	g.making.Lock()
	defer g.making.Unlock()
	if t := g.srv.node.Image().Topic(offsetsTopic); t != nil {
		return t, nil
	}
	set := g.srv.settings()
	t, err := g.srv.createInternal(ctx, cluster.TopicSpec{
		Name: offsetsTopic, Internal: true,
		Partitions:        set.OffsetsTopicPartitions,
		ReplicationFactor: min(set.OffsetsTopicReplicationFactor, int16(len(g.srv.node.Image().Nodes()))),
		Configs: map[string]string{
			"cleanup.policy": "compact", "compression.type": "producer",
			"segment.bytes":     strconv.Itoa(int(set.OffsetsTopicSegmentBytes)),
			"max.message.bytes": strconv.Itoa(maxGroupRecordBytes),
		},
	})
	if errors.Is(err, kerr.TopicAlreadyExists) {
		t, err = g.srv.node.Image().Topic(offsetsTopic), nil
	}
	if t == nil {
		return nil, protocol.Errorf(kerr.CoordinatorNotAvailable, "%s cannot be created: %v", offsetsTopic, err)
	}
	return t, nil
}

// Bounds on what groups may take, beside those that are settings.
const (
	// maxGroupRecordBytes bounds a batch of __consumer_offsets: the record of a
	// classic group has all of its members in it.
	maxGroupRecordBytes = 16 << 20
	maxGroupBytes       = 8 << 20 // all metadata and assignments of a group
	maxMemberBytes      = 1 << 20 // those of one member
	maxGroupOffsets     = 200_000 // partitions with a committed offset
	maxGroupRebalance   = 30 * time.Minute
)

// config is a coordinator's configuration as of now.
func (g *groups) config(s *groupShard) coordinator.Config {
	set := g.srv.settings()
	return coordinator.Config{
		MinSessionTimeout:     millis(int64(set.GroupMinSessionTimeoutMillis)),
		MaxSessionTimeout:     millis(int64(set.GroupMaxSessionTimeoutMillis)),
		MaxRebalanceTimeout:   maxGroupRebalance,
		InitialRebalanceDelay: millis(int64(set.GroupInitialRebalanceDelayMillis)),
		MaxSize:               int(set.GroupMaxSize),

		OffsetMetadataMaxBytes: int(set.OffsetMetadataMaxBytes),
		OffsetsRetention:       time.Duration(set.OffsetsRetentionMinutes) * time.Minute,
		OffsetsCheckInterval:   millis(set.OffsetsRetentionCheckIntervalMillis),

		ConsumerSessionTimeout:    millis(int64(set.GroupConsumerSessionTimeoutMillis)),
		ConsumerHeartbeatInterval: millis(int64(set.GroupConsumerHeartbeatIntervalMillis)),
		ConsumerMaxSize:           int(set.GroupConsumerMaxSize),
		ConsumerAssignors:         set.GroupConsumerAssignors,
		ConsumerMigration:         migrations[set.GroupConsumerMigrationPolicy],
		RegexRefresh:              millis(int64(set.GroupConsumerRegexRefreshMillis)),

		ConsumerAssignmentInterval: millis(int64(set.GroupConsumerAssignmentMillis)),

		MaxGroups:         int(set.GroupMaxGroups),
		MaxMetadataBytes:  maxMemberBytes,
		MaxGroupBytes:     maxGroupBytes,
		MaxOffsetsOfGroup: maxGroupOffsets,
		Room:              func(held, more int) bool { return g.room(s, int64(held), int64(more), set.GroupMaxMetadataBytes) },

		Group: g.groupConfig,
		NewID: newMemberID,
	}
}

// room says whether a shard that holds so much may keep more: all of them
// together have a bound. Where they have reached it, each looks again at what it
// holds, since members may have gone.
func (g *groups) room(s *groupShard, held, more, most int64) bool {
	s.memberBytes.Store(held)
	all := g.all()
	total := more
	for _, other := range all {
		total += other.memberBytes.Load()
	}
	if total > most {
		for _, other := range all {
			other.recount.Store(true)
			other.look()
		}
		return false
	}
	s.memberBytes.Add(more)
	return true
}

var migrations = map[string]coordinator.Migration{
	"disabled": coordinator.MigrationDisabled, "upgrade": coordinator.MigrationUpgrade,
	"downgrade": coordinator.MigrationDowngrade, "bidirectional": coordinator.MigrationBidirectional,
}

// newMemberID is what makes a member's id unique: 16 random bytes.
func newMemberID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// topicView is the metadata as coordinators see it.
type topicView struct {
	image  *cluster.Image
	byName map[string]coordinator.Topic
	meta   map[string]*cluster.Topic // what byName was made of
}

// newTopicView makes the view of an image; what did not change since the last
// one is taken from there.
func newTopicView(image *cluster.Image, last *topicView) *topicView {
	v := &topicView{
		image:  image,
		byName: make(map[string]coordinator.Topic, image.NumTopics()),
		meta:   make(map[string]*cluster.Topic, image.NumTopics()),
	}
	for t := range image.Topics() {
		v.meta[t.Name] = t
		if last != nil && last.meta[t.Name] == t {
			v.byName[t.Name] = last.byName[t.Name]
			continue
		}
		v.byName[t.Name] = coordinator.Topic{ID: t.ID, Name: t.Name, Internal: t.Internal, Racks: racksOf(image, t)}
	}
	return v
}

// racksOf are the racks of each partition's replicas.
func racksOf(image *cluster.Image, t *cluster.Topic) [][]string {
	racks := make([][]string, len(t.Partitions))
	for i, p := range t.Partitions {
		for _, r := range p.Replicas {
			if n := image.Node(r.Node); n != nil && n.Rack != "" {
				racks[i] = append(racks[i], n.Rack)
			}
		}
	}
	return racks
}

func (v *topicView) Topic(name string) (coordinator.Topic, bool) {
	t, ok := v.byName[name]
	return t, ok
}

func (v *topicView) TopicByID(id [16]byte) (coordinator.Topic, bool) {
	t := v.image.TopicByID(id)
	if t == nil {
		return coordinator.Topic{}, false
	}
	return v.Topic(t.Name)
}

func (v *topicView) Names(yield func(string) bool) {
	for t := range v.image.Topics() {
		if !yield(t.Name) {
			return
		}
	}
}

// groupConfig are the configs that were set for a group.
func (g *groups) groupConfig(id string) coordinator.GroupConfig {
	overrides := g.srv.node.Image().GroupConfigs(id)
	if overrides == nil {
		return coordinator.GroupConfig{}
	}
	c, err := configs.EffectiveGroup(g.srv.node.Configs(), overrides)
	if err != nil {
		g.srv.log.Warn("a group has configs that are not taken", "group", clip(id), "error", err)
	}
	assignment := millis(int64(c.ConsumerAssignmentMillis))
	return coordinator.GroupConfig{
		ConsumerSessionTimeout:     millis(int64(c.ConsumerSessionTimeoutMillis)),
		ConsumerHeartbeatInterval:  millis(int64(c.ConsumerHeartbeatIntervalMillis)),
		ConsumerAssignmentInterval: &assignment,
	}
}
