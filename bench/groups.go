package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// GroupLoad is a classic consumer group that rebalances.
type GroupLoad struct {
	Brokers    []string
	Group      string
	Topic      string // must exist
	Partitions int32  // of the topic, all of which are assigned
	Members    int    // each with a connection of its own
	Rounds     int    // how many rebalances are timed
	Watch      Watch  // of the rebalances; Live and Done are not used
}

// GroupResult is what a group's rebalances took.
type GroupResult struct {
	Join       time.Duration // until all members had their first common assignment
	Rebalances []time.Duration
}

// Rebalance has all members of a group join, and then join again at the same
// time, as they do when something about the group has changed. A rebalance
// lasts from the first JoinGroup until the last member has its assignment. It
// fails unless each partition was assigned to exactly one member.
func Rebalance(ctx context.Context, l GroupLoad) (GroupResult, error) {
	g := &benchGroup{GroupLoad: l}
	defer g.close()
	address, err := findCoordinator(ctx, l.Brokers[0], l.Group)
	if err != nil {
		return GroupResult{}, err
	}
	for i := range l.Members {
		w, err := dialWire(ctx, address)
		if err != nil {
			return GroupResult{}, fmt.Errorf("connect member %d: %w", i, err)
		}
		g.members = append(g.members, &benchMember{group: g, wire: w})
	}
	var result GroupResult
	if result.Join, err = g.rebalance(ctx, 0); err != nil {
		return result, err
	}
	l.Watch.begin()
	for round := range l.Rounds {
		took, err := g.rebalance(ctx, round+1)
		if err != nil {
			return result, err
		}
		result.Rebalances = append(result.Rebalances, took)
	}
	l.Watch.end()
	return result, nil
}

type benchGroup struct {
	GroupLoad
	members []*benchMember
	whole   atomic.Int32 // the generation that has all members
}

type benchMember struct {
	group      *benchGroup
	wire       *wire
	id         string
	generation int32
	assigned   []int32
}

func (g *benchGroup) close() {
	for _, m := range g.members {
		m.wire.Close()
	}
}

// rebalance has all members join in this round and returns how long that took.
func (g *benchGroup) rebalance(ctx context.Context, round int) (time.Duration, error) {
	before := g.whole.Load()
	errs := make([]error, len(g.members))
	var running sync.WaitGroup
	began := time.Now()
	for i, m := range g.members {
		running.Go(func() { errs[i] = m.rejoin(ctx, round, before) })
	}
	running.Wait()
	took := time.Since(began)
	if err := errors.Join(errs...); err != nil {
		return took, fmt.Errorf("round %d: %w", round, err)
	}
	return took, g.check()
}

// check demands that each partition has one owner.
func (g *benchGroup) check() error {
	owned := make([]int, g.Partitions)
	for _, m := range g.members {
		for _, p := range m.assigned {
			owned[p]++
		}
	}
	if i := slices.IndexFunc(owned, func(n int) bool { return n != 1 }); i >= 0 {
		return fmt.Errorf("partition %d has %d owners", i, owned[i])
	}
	return nil
}

// rejoin joins until the member has its assignment in a generation above before
// that has all members.
func (m *benchMember) rejoin(ctx context.Context, round int, before int32) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		again, err := m.joinAndSync(ctx, round)
		if err != nil {
			return err
		}
		for !again {
			if whole := m.group.whole.Load(); whole > before && whole == m.generation {
				return nil
			}
			if err := pause(ctx, time.Now().Add(5*time.Millisecond), nil); err != nil {
				return err
			}
			if again, err = m.heartbeat(); err != nil {
				return err
			}
		}
	}
}

// joinAndSync tells whether another rebalance began meanwhile.
func (m *benchMember) joinAndSync(ctx context.Context, round int) (again bool, err error) {
	joined, err := m.join(ctx, round)
	if err != nil {
		return false, err
	}
	m.id, m.generation = joined.MemberID, joined.Generation
	req := kmsg.NewPtrSyncGroupRequest()
	req.Version, req.Group, req.MemberID, req.Generation = 3, m.group.Group, m.id, m.generation
	if joined.LeaderID == m.id {
		if len(joined.Members) == len(m.group.members) {
			m.group.whole.Store(m.generation)
		}
		req.GroupAssignment = m.group.assign(joined.Members)
	}
	answer, err := m.wire.ask(req)
	if err != nil {
		return false, err
	}
	resp := answer.(*kmsg.SyncGroupResponse)
	switch err := kerr.ErrorForCode(resp.ErrorCode); {
	case errors.Is(err, kerr.RebalanceInProgress):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("sync: %w", err)
	}
	var assignment kmsg.ConsumerMemberAssignment
	if err := assignment.ReadFrom(resp.MemberAssignment); err != nil {
		return false, fmt.Errorf("read assignment: %w", err)
	}
	m.assigned = nil
	for _, t := range assignment.Topics {
		m.assigned = append(m.assigned, t.Partitions...)
	}
	return false, nil
}

// benchSession is the members' session and rebalance time-out.
const benchSession = 60_000 // milliseconds

func (m *benchMember) join(ctx context.Context, round int) (*kmsg.JoinGroupResponse, error) {
	metadata := kmsg.ConsumerMemberMetadata{Version: 1, Topics: []string{m.group.Topic}, UserData: fmt.Append(nil, round)}
	protocol := kmsg.NewJoinGroupRequestProtocol()
	protocol.Name, protocol.Metadata = "range", metadata.AppendTo(nil)
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.Group, req.ProtocolType = 5, m.group.Group, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = benchSession, benchSession
	req.Protocols = []kmsg.JoinGroupRequestProtocol{protocol}
	for {
		req.MemberID = m.id
		answer, err := m.wire.ask(req)
		if err != nil {
			return nil, err
		}
		resp := answer.(*kmsg.JoinGroupResponse)
		switch err := kerr.ErrorForCode(resp.ErrorCode); {
		case errors.Is(err, kerr.MemberIDRequired):
			m.id = resp.MemberID
		case coordinatorStarts(err):
			if err := pause(ctx, time.Now().Add(20*time.Millisecond), nil); err != nil {
				return nil, err
			}
		case err != nil:
			return nil, fmt.Errorf("join: %w", err)
		default:
			return resp, nil
		}
	}
}

// coordinatorStarts tells whether a coordinator is only about to serve.
func coordinatorStarts(err error) bool {
	return errors.Is(err, kerr.NotCoordinator) || errors.Is(err, kerr.CoordinatorNotAvailable) || errors.Is(err, kerr.CoordinatorLoadInProgress)
}

// assign gives each member as many partitions as any other.
func (g *benchGroup) assign(members []kmsg.JoinGroupResponseMember) []kmsg.SyncGroupRequestGroupAssignment {
	out := make([]kmsg.SyncGroupRequestGroupAssignment, len(members))
	for i, m := range members {
		topic := kmsg.NewConsumerMemberAssignmentTopic()
		topic.Topic = g.Topic
		for p := int32(i); p < g.Partitions; p += int32(len(members)) {
			topic.Partitions = append(topic.Partitions, p)
		}
		assignment := kmsg.ConsumerMemberAssignment{Version: 1, Topics: []kmsg.ConsumerMemberAssignmentTopic{topic}}
		out[i] = kmsg.SyncGroupRequestGroupAssignment{MemberID: m.MemberID, MemberAssignment: assignment.AppendTo(nil)}
	}
	return out
}

// heartbeat tells whether the group rebalances.
func (m *benchMember) heartbeat() (rebalancing bool, err error) {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.Generation = 3, m.group.Group, m.id, m.generation
	answer, err := m.wire.ask(req)
	if err != nil {
		return false, err
	}
	switch err := kerr.ErrorForCode(answer.(*kmsg.HeartbeatResponse).ErrorCode); {
	case errors.Is(err, kerr.RebalanceInProgress):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("heartbeat: %w", err)
	}
	return false, nil
}

// FirstRecord is how long a new member of a new group takes from nothing until
// it has a record of the topic, which must hold some.
func FirstRecord(ctx context.Context, brokers []string, topic, group string) (time.Duration, error) {
	began := time.Now()
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit())
	if err != nil {
		return 0, err
	}
	defer cl.Close()
	for {
		fetched := cl.PollFetches(ctx)
		if err := fetched.Err(); err != nil {
			return 0, fmt.Errorf("read as a member of %s: %w", group, err)
		}
		if fetched.NumRecords() > 0 {
			return time.Since(began), nil
		}
	}
}

// Commits has l.Clients connections commit offsets of partition 0 of the topic
// for that many groups in turn, each with one commit in flight, or with
// l.InFlight of them. It fails unless each group's last acknowledged offset is
// the one that is read back.
func Commits(ctx context.Context, l Load, groups int) (Result, error) {
	if err := l.check(); err != nil {
		return Result{}, err
	}
	l.Clients = min(l.Clients, groups)
	names := make([]string, groups)
	addresses := make([]string, groups)
	for i := range names {
		names[i] = fmt.Sprintf("%s-group-%d", l.Topic, i)
		var err error
		if addresses[i], err = findCoordinator(ctx, l.Brokers[0], names[i]); err != nil {
			return Result{}, err
		}
	}
	committers := make([]*committer, l.Clients)
	result, err := ExchangeWith(ctx, l, func(ctx context.Context, number int) (Exchanger, error) {
		w, err := dialWire(ctx, addresses[number%groups])
		if err != nil {
			return nil, err
		}
		c := &committer{wire: w, topic: l.Topic, last: map[string]int64{}}
		for i := number; i < groups; i += l.Clients {
			if addresses[i] == addresses[number%groups] {
				c.groups = append(c.groups, names[i])
			}
		}
		committers[number] = c
		if l.InFlight > 1 {
			return newPipelinedCommitter(c, l.InFlight)
		}
		return c, nil
	})
	if err != nil {
		return result, err
	}
	result.Acked = nil
	return result, verifyCommits(ctx, l, committers)
}

// committer commits for some groups in turn, as simple consumers do.
type committer struct {
	*wire
	topic  string
	groups []string
	sent   int64
	last   map[string]int64 // what was acknowledged
}

// next is the commit after the last one.
func (c *committer) next() (req kmsg.Request, group string) {
	group = c.groups[c.sent%int64(len(c.groups))]
	c.sent++
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Offset = c.sent
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic, t.Partitions = c.topic, []kmsg.OffsetCommitRequestTopicPartition{p}
	commit := kmsg.NewPtrOffsetCommitRequest()
	commit.Version, commit.Group, commit.Topics = 7, group, []kmsg.OffsetCommitRequestTopic{t}
	return commit, group
}

func (c *committer) Exchange([]byte) error {
	req, group := c.next()
	for {
		answer, err := c.ask(req)
		if err != nil {
			return err
		}
		resp := answer.(*kmsg.OffsetCommitResponse)
		if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
			return errors.New("a commit was answered for other partitions")
		}
		err = kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
		if coordinatorStarts(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("commit for %s: %w", group, err)
		}
		c.last[group] = c.sent
		return nil
	}
}

func verifyCommits(ctx context.Context, l Load, committers []*committer) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(l.Brokers...))
	if err != nil {
		return err
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	for _, c := range committers {
		for group, offset := range c.last {
			got, err := admin.FetchOffsets(ctx, group)
			if err != nil {
				return fmt.Errorf("read the offset of %s back: %w", group, err)
			}
			if at, ok := got.Lookup(l.Topic, 0); !ok || at.At != offset {
				return fmt.Errorf("group %s has offset %d, but %d was acknowledged", group, at.At, offset)
			}
		}
	}
	return nil
}
