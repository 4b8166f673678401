package main

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestKilledBrokerKeepsGroups kills a broker process with SIGKILL again and
// again while groups of each kind read, commit and rebalance, and sees that no
// acknowledged commit is lost, that no group is stuck, that members go on as
// those that they were, and that each group handles every record.
//
// FANFOLD_KILLS is the number of kills (3, and 50 in .ci/run), FANFOLD_SEED the
// seed of when they come and of who joins and leaves.
func TestKilledBrokerKeepsGroups(t *testing.T) {
	kills, seed := 3, rand.Uint64()
	if text := os.Getenv("FANFOLD_KILLS"); text != "" {
		kills = parseNumber[int](t, "FANFOLD_KILLS", text)
	}
	if text := os.Getenv("FANFOLD_SEED"); text != "" {
		seed = parseNumber[uint64](t, "FANFOLD_SEED", text)
	}
	t.Logf("FANFOLD_KILLS=%d FANFOLD_SEED=%d", kills, seed)

	s := newServer(t, "--log-level", "info",
		"--set", "group.initial.rebalance.delay.ms=100",
		"--set", "group.consumer.heartbeat.interval.ms=200",
		"--set", fmt.Sprintf("group.consumer.session.timeout.ms=%d", groupSession.Milliseconds()),
		"--set", "offsets.topic.num.partitions=5")
	s.start()
	l := newGroupLoad(t, s, seed)
	l.begin()
	l.awaitProgress("at first")
	ids := l.memberIDs()
	random := rand.New(rand.NewPCG(seed, 1))
	moments := map[string]int{}
	for range kills {
		moment := killMoments[random.IntN(len(killMoments))]
		moments[moment.name]++
		moment.await(s, random)
		s.Kill()
		s.launch()
		if random.IntN(2) == 0 {
			s.awaitReady()
			l.awaitProgress("after a kill " + moment.name)
		}
	}
	s.awaitReady()
	l.awaitProgress("after the last kill")
	if now := l.memberIDs(); !maps.Equal(now, ids) {
		t.Errorf("members had to join anew: they were %v and are %v", ids, now)
	}
	l.end()
	t.Logf("kills: %v; %s", moments, l)
	for _, line := range s.complaints() {
		t.Errorf("the broker says: %s", line)
	}
}

// groupSession is the session time-out of all members.
const groupSession = 10 * time.Second

// Where groups read.
const (
	groupTopic      = "work"
	groupPartitions = 6
)

// groupLoad is what writes, reads and watches meanwhile.
type groupLoad struct {
	t       *testing.T
	server  *server
	seed    uint64
	groups  []*readGroup
	ctx     context.Context // ends when clients shall end
	stop    context.CancelFunc
	running sync.WaitGroup // all but stable members
	members sync.WaitGroup
	leave   context.Context // ends when stable members shall end
	release context.CancelFunc

	complaints atomic.Int64
	looked     atomic.Int64 // times that committed offsets were looked at
	churned    atomic.Int64 // members that came and left
}

// readGroup is a group and what it has done.
type readGroup struct {
	name   string
	stable []*kgo.Client // members that stay
	opts   func(member int) []kgo.Opt

	mu      sync.Mutex
	acked   map[int32]int64 // greatest commits that were acknowledged
	handled map[int32][]bool
	commits int
	last    time.Time // of an acknowledged commit
	refused map[string]int
}

func newGroupLoad(t *testing.T, s *server, seed uint64) *groupLoad {
	t.Helper()
	l := &groupLoad{t: t, server: s, seed: seed}
	l.ctx, l.stop = context.WithCancel(context.Background())
	l.leave, l.release = context.WithCancel(context.Background())
	classic := func(balancer kgo.GroupBalancer) func(int) []kgo.Opt {
		return func(int) []kgo.Opt { return []kgo.Opt{kgo.Balancers(balancer)} }
	}
	cooperative := classic(kgo.CooperativeStickyBalancer())
	l.groups = []*readGroup{
		{name: "eager", opts: classic(kgo.RangeBalancer())},
		{name: "cooperative", opts: cooperative},
		{name: "static", opts: func(member int) []kgo.Opt {
			if member < 0 {
				return cooperative(member)
			}
			return append(cooperative(member), kgo.InstanceID(fmt.Sprintf("instance-%d", member)))
		}},
		{name: "consumer", opts: func(int) []kgo.Opt {
			return []kgo.Opt{kgo.Balancers(kgo.StickyBalancer()), kgo.ServerSideBalancer()}
		}},
	}
	for _, g := range l.groups {
		g.acked, g.handled, g.refused = map[int32]int64{}, map[int32][]bool{}, map[string]int{}
	}
	t.Cleanup(func() {
		l.stop()
		l.release()
		s.Kill()
		l.running.Wait()
		l.members.Wait()
	})
	return l
}

// String counts what was done.
func (l *groupLoad) String() string {
	text := fmt.Sprintf("%d members came and left, offsets were looked at %d times", l.churned.Load(), l.looked.Load())
	for _, g := range l.groups {
		g.mu.Lock()
		text += fmt.Sprintf("; %s: %d commits, refused %v", g.name, g.commits, g.refused)
		g.mu.Unlock()
	}
	return text
}

func (l *groupLoad) complain(format string, args ...any) {
	if l.complaints.Add(1) <= 20 {
		l.t.Errorf(format, args...)
	}
}

// begin starts everything: two members of each group stay, and one comes and
// leaves.
func (l *groupLoad) begin() {
	l.t.Helper()
	l.server.createTopic(groupTopic, groupPartitions)
	l.running.Go(l.produce)
	for i, g := range l.groups {
		for member := range 2 {
			c, err := l.newMember(g, member)
			if err != nil {
				l.t.Fatal(err)
			}
			g.stable = append(g.stable, c)
			l.members.Go(func() {
				defer c.CloseAllowingRebalance()
				l.read(l.leave, g, c)
			})
		}
		random := rand.New(rand.NewPCG(l.seed, uint64(100+i)))
		l.running.Go(func() { l.churn(g, random) })
		l.running.Go(func() { l.watch(g) })
	}
}

// newMember makes a member of a group, -1 being one that does not stay.
func (l *groupLoad) newMember(g *readGroup, member int) (*kgo.Client, error) {
	return l.server.newClient(append([]kgo.Opt{
		kgo.ConsumerGroup(g.name),
		kgo.ConsumeTopics(groupTopic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		kgo.SessionTimeout(groupSession),
		kgo.RebalanceTimeout(groupSession),
		kgo.HeartbeatInterval(200 * time.Millisecond),
	}, g.opts(member)...)...)
}

// produce writes to all partitions until the load ends.
func (l *groupLoad) produce() {
	c, err := l.server.newClient(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DefaultProduceTopic(groupTopic))
	if err != nil {
		l.complain("%v", err)
		return
	}
	defer c.Close()
	for n := 0; pause(l.ctx, 5*time.Millisecond); n++ {
		for p := range int32(groupPartitions) {
			c.Produce(context.Background(), &kgo.Record{Partition: p, Value: fmt.Append(nil, n)}, func(_ *kgo.Record, err error) {
				if err != nil && l.ctx.Err() == nil {
					l.complain("produce: %v", err)
				}
			})
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := c.Flush(ctx); err != nil {
		l.complain("flush: %v", err)
	}
}

// read handles records and commits them until ctx ends. While it has records, no
// rebalance takes their partitions away.
func (l *groupLoad) read(ctx context.Context, g *readGroup, c *kgo.Client) {
	for ctx.Err() == nil {
		fetches := c.PollRecords(ctx, 200)
		ends := map[string]map[int32]kgo.EpochOffset{groupTopic: {}}
		g.mu.Lock()
		fetches.EachRecord(func(r *kgo.Record) {
			done := g.handled[r.Partition]
			for int64(len(done)) <= r.Offset {
				done = append(done, false)
			}
			done[r.Offset] = true
			g.handled[r.Partition] = done
			ends[groupTopic][r.Partition] = kgo.EpochOffset{Epoch: r.LeaderEpoch, Offset: r.Offset + 1}
		})
		g.mu.Unlock()
		if len(ends[groupTopic]) > 0 {
			c.CommitOffsetsSync(ctx, ends, g.committed)
		}
		c.AllowRebalance()
	}
}

// committed takes the answer to a commit.
func (g *readGroup) committed(_ *kgo.Client, req *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil {
		g.refused["no answer"]++
		return
	}
	asked := map[int32]int64{}
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			asked[p.Partition] = p.Offset
		}
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode != 0 {
				g.refused[kerr.TypedErrorForCode(p.ErrorCode).Message]++
				continue
			}
			g.acked[p.Partition] = max(g.acked[p.Partition], asked[p.Partition])
			g.commits++
			g.last = time.Now()
		}
	}
}

// churn lets members come and leave, so that the group rebalances all the time.
func (l *groupLoad) churn(g *readGroup, random *rand.Rand) {
	for pause(l.ctx, time.Duration(random.IntN(800))*time.Millisecond) {
		c, err := l.newMember(g, -1)
		if err != nil {
			l.complain("%v", err)
			return
		}
		ctx, cancel := context.WithTimeout(l.ctx, time.Duration(random.IntN(1500))*time.Millisecond)
		l.read(ctx, g, c)
		cancel()
		c.CloseAllowingRebalance()
		l.churned.Add(1)
	}
}

// watch looks at the committed offsets all the time: none is below what was
// acknowledged before it looked.
func (l *groupLoad) watch(g *readGroup) {
	c, err := l.server.newClient()
	if err != nil {
		l.complain("%v", err)
		return
	}
	defer c.Close()
	admin := kadm.NewClient(c)
	for pause(l.ctx, 20*time.Millisecond) {
		l.lookAt(g, admin, time.Second)
	}
}

// lookAt compares the committed offsets with what was acknowledged, and returns
// them; nil where the broker does not answer.
func (l *groupLoad) lookAt(g *readGroup, admin *kadm.Client, within time.Duration) map[int32]int64 {
	g.mu.Lock()
	acked := maps.Clone(g.acked)
	g.mu.Unlock()
	ctx, cancel := context.WithTimeout(l.leave, within)
	defer cancel()
	fetched, err := admin.FetchOffsets(ctx, g.name)
	if err != nil || fetched.Error() != nil {
		return nil // the broker is down
	}
	l.looked.Add(1)
	offsets := map[int32]int64{}
	fetched.Each(func(o kadm.OffsetResponse) { offsets[o.Partition] = o.At })
	for p, floor := range acked {
		if at, ok := offsets[p]; !ok || at < floor {
			l.complain("group %s, partition %d: offset %d is committed (%v), %d was acknowledged before", g.name, p, at, ok, floor)
		}
	}
	return offsets
}

// awaitProgress waits until each group has committed something from now on: a
// member that was there before the kill need not do more for it than go on, and
// one that is gone is not waited for longer than its session.
func (l *groupLoad) awaitProgress(when string) {
	l.t.Helper()
	const slack = 5 * time.Second // of a machine that does much else
	began := time.Now()
	for _, g := range l.groups {
		for {
			g.mu.Lock()
			last := g.last
			g.mu.Unlock()
			if last.After(began) {
				break
			}
			if time.Since(began) > groupSession+slack {
				l.t.Fatalf("%s: group %s has committed nothing for %v; its last commit was at %v; %s", when, g.name, time.Since(began), last, l.describe(g))
			}
			waitFor(l.server, 5*time.Millisecond)
		}
	}
}

// describe is what the broker says of a group.
func (l *groupLoad) describe(g *readGroup) string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	admin := l.server.admin()
	described, err := admin.DescribeGroups(ctx, g.name)
	offsets, err2 := admin.FetchOffsets(ctx, g.name)
	return fmt.Sprintf("it is %+v (%v), its offsets are %v (%v)", described[g.name], err, offsets.Offsets(), err2)
}

// memberIDs are those of the members that stay.
func (l *groupLoad) memberIDs() map[string]string {
	l.t.Helper()
	ids := map[string]string{}
	for _, g := range l.groups {
		for i, c := range g.stable {
			name := fmt.Sprintf("%s %d", g.name, i)
			for deadline := time.Now().Add(groupSession); ids[name] == "" && time.Now().Before(deadline); {
				ids[name], _ = c.GroupMetadata()
				waitFor(l.server, time.Millisecond)
			}
		}
	}
	return ids
}

// end stops writing and churning, and waits until the groups have committed all
// that was written.
func (l *groupLoad) end() {
	l.t.Helper()
	l.stop()
	l.running.Wait()
	admin := l.server.admin()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ends, err := endOffsets(ctx, admin, groupTopic)
	if err != nil {
		l.t.Fatal(err)
	}
	for _, g := range l.groups {
		for {
			offsets := l.lookAt(g, admin, 5*time.Second)
			if maps.Equal(offsets, ends) {
				break
			}
			if !pause(ctx, 20*time.Millisecond) {
				l.t.Fatalf("group %s is stuck: it has committed %v of %v", g.name, offsets, ends)
			}
		}
		g.mu.Lock()
		for p, end := range ends {
			if at := slices.Index(g.handled[p][:min(int64(len(g.handled[p])), end)], false); at >= 0 || int64(len(g.handled[p])) < end {
				l.t.Errorf("group %s has not handled all of partition %d: %d records, the first at %d, of %d", g.name, p, len(g.handled[p]), at, end)
			}
		}
		g.mu.Unlock()
	}
	l.release()
	l.members.Wait()
}
