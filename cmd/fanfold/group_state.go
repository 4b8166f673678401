package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// groupState is what brokers tell of a group, of either protocol. What they
// did not tell is null.
type groupState struct {
	Name            string           `json:"name"`
	Type            string           `json:"type"` // classic or consumer
	State           string           `json:"state"`
	ProtocolType    string           `json:"protocol_type"`
	Assignor        string           `json:"assignor"`
	Epoch           *int32           `json:"epoch,omitempty"`            // of a consumer group
	AssignmentEpoch *int32           `json:"assignment_epoch,omitempty"` // of a consumer group
	Coordinator     groupCoordinator `json:"coordinator"`
	Members         []groupMember    `json:"members"`
	Partitions      []groupPartition `json:"partitions"`
	Lag             int64            `json:"lag"` // of all partitions with a committed offset
	LagMillis       *int64           `json:"time_lag_ms"`
}

type groupCoordinator struct {
	ID      int32  `json:"id"`
	Address string `json:"address"`
}

// groupMember is one of a group.
type groupMember struct {
	ID         string             `json:"id"`
	InstanceID *string            `json:"instance_id"`
	RackID     *string            `json:"rack_id,omitempty"`
	ClientID   string             `json:"client_id"`
	Host       string             `json:"host"`
	Protocol   string             `json:"protocol"`        // classic or consumer
	Epoch      *int32             `json:"epoch,omitempty"` // of a consumer group
	Assigned   []memberPartitions `json:"assigned"`
	Pending    []memberPartitions `json:"pending,omitempty"` // what it shall have and has not yet
	Regex      *string            `json:"subscribed_regex,omitempty"`
}

type memberPartitions struct {
	Topic      string  `json:"topic"`
	Partitions []int32 `json:"partitions"`
}

// groupPartition is where a group is in a partition.
type groupPartition struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Committed *int64 `json:"committed_offset"`
	Start     *int64 `json:"start_offset"`
	End       *int64 `json:"end_offset"`
	Lag       *int64 `json:"lag"`
	LagMillis *int64 `json:"time_lag_ms"` // age of the oldest unread record; 0 where all is read
	Member    string `json:"member,omitempty"`
	Note      string `json:"note,omitempty"`

	commit kadm.Offset
}

// describeGroups finds groups and their members, by name. A group that cannot
// be described is an error.
func describeGroups(ctx context.Context, c *client, names []string) (map[string]*groupState, map[string]error) {
	groups, failed := describeConsumerGroups(ctx, c, names)
	var rest []string
	for _, name := range names {
		if groups[name] == nil {
			rest = append(rest, name)
		}
	}
	if len(rest) == 0 {
		return groups, failed
	}
	classic, classicErr := c.admin.DescribeGroups(ctx, rest...)
	for _, name := range rest {
		g, ok := classic[name]
		switch {
		case !ok:
			failed[name] = c.explain(ctx, fmt.Sprintf("describe group %q", name), cmp.Or(classicErr, errors.New("the broker's answer does not mention it")))
		case g.Err == nil && g.State != "Dead":
			groups[name] = classicGroupState(&g)
			delete(failed, name)
		case g.Err == nil, errors.Is(g.Err, kerr.GroupIDNotFound):
			failed[name] = cmp.Or(failed[name], groupError(name, errNoSuchGroup, ""))
		default:
			failed[name] = groupError(name, g.Err, g.ErrMessage)
		}
	}
	return groups, failed
}

// describeConsumerGroups finds those that are groups of KIP-848, where brokers
// have such. That a group is none, or not there, is no failure.
func describeConsumerGroups(ctx context.Context, c *client, names []string) (groups map[string]*groupState, failed map[string]error) {
	groups, failed = make(map[string]*groupState), make(map[string]error)
	req := kmsg.NewPtrConsumerGroupDescribeRequest()
	req.Groups = names
	topics := topicNames{client: c}
	for _, shard := range c.RequestSharded(ctx, req) {
		resp, ok := shard.Resp.(*kmsg.ConsumerGroupDescribeResponse)
		if !ok || shard.Err != nil {
			continue // describing it as a classic group tells what is wrong
		}
		for i := range resp.Groups {
			g := &resp.Groups[i]
			err := kerr.ErrorForCode(g.ErrorCode)
			switch {
			case err == nil:
				groups[g.Group], err = consumerGroupState(ctx, g, shard.Meta, &topics)
				if err != nil {
					failed[g.Group] = err
				}
			case !errors.Is(err, kerr.GroupIDNotFound) && !errors.Is(err, kerr.UnsupportedVersion):
				failed[g.Group] = groupError(g.Group, err, orEmpty(g.ErrorMessage))
			}
		}
	}
	return groups, failed
}

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func consumerGroupState(ctx context.Context, g *kmsg.ConsumerGroupDescribeResponseGroup, coordinator kadm.BrokerDetail, topics *topicNames) (*groupState, error) {
	s := &groupState{
		Name: g.Group, Type: "consumer", State: g.State, ProtocolType: "consumer", Assignor: g.AssignorName,
		Epoch: &g.Epoch, AssignmentEpoch: &g.AssignmentEpoch, Coordinator: coordinatorOf(coordinator), Members: []groupMember{},
	}
	for i := range g.Members {
		m := &g.Members[i]
		has, err := topics.partitions(ctx, m.Assignment)
		if err != nil {
			return nil, err
		}
		shall, err := topics.partitions(ctx, m.TargetAssignment)
		if err != nil {
			return nil, err
		}
		member := groupMember{
			ID: m.MemberID, InstanceID: m.InstanceID, RackID: m.RackID, ClientID: m.ClientID, Host: m.ClientHost,
			Protocol: "consumer", Epoch: &m.MemberEpoch, Assigned: listPartitions(has), Regex: m.SubscribedTopicRegex,
		}
		if m.MemberType == 0 {
			member.Protocol = "classic"
		}
		if pending := missing(shall, has); len(pending) > 0 {
			member.Pending = listPartitions(pending)
		}
		s.Members = append(s.Members, member)
	}
	slices.SortFunc(s.Members, func(x, y groupMember) int { return cmp.Compare(x.ID, y.ID) })
	return s, nil
}

// topicNames finds the names of topics of which a broker gives only ids.
type topicNames struct {
	client *client
	byID   map[kadm.TopicID]string // nil: not asked for yet
}

func (n *topicNames) partitions(ctx context.Context, a kmsg.Assignment) (kadm.TopicsSet, error) {
	var set kadm.TopicsSet
	for _, t := range a.TopicPartitions {
		name := t.Topic
		if name == "" {
			if err := n.load(ctx); err != nil {
				return nil, err
			}
			name = cmp.Or(n.byID[t.TopicID], topicID(t.TopicID))
		}
		set.Add(name, t.Partitions...)
	}
	return set, nil
}

func (n *topicNames) load(ctx context.Context) error {
	if n.byID != nil {
		return nil
	}
	topics, err := n.client.admin.ListTopicsWithInternal(ctx)
	if err != nil {
		return n.client.explain(ctx, "look for topics", err)
	}
	n.byID = make(map[kadm.TopicID]string)
	for name, t := range topics {
		n.byID[t.ID] = name
	}
	return nil
}

func classicGroupState(g *kadm.DescribedGroup) *groupState {
	s := &groupState{
		Name: g.Group, Type: "classic", State: g.State, ProtocolType: g.ProtocolType, Assignor: g.Protocol,
		Coordinator: coordinatorOf(g.Coordinator), Members: []groupMember{},
	}
	for i := range g.Members {
		m := &g.Members[i]
		var assigned kadm.TopicsSet
		if a, ok := m.Assigned.AsConsumer(); ok {
			for _, t := range a.Topics {
				assigned.Add(t.Topic, t.Partitions...)
			}
		}
		s.Members = append(s.Members, groupMember{
			ID: m.MemberID, InstanceID: m.InstanceID, ClientID: m.ClientID, Host: m.ClientHost,
			Protocol: "classic", Assigned: listPartitions(assigned),
		})
	}
	return s
}

func coordinatorOf(b kadm.BrokerDetail) groupCoordinator {
	return groupCoordinator{b.NodeID, net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))}
}

// missing is what of want is not in have.
func missing(want, have kadm.TopicsSet) kadm.TopicsSet {
	var left kadm.TopicsSet
	want.Each(func(topic string, p int32) {
		if !have.Lookup(topic, p) {
			left.Add(topic, p)
		}
	})
	return left
}

func listPartitions(set kadm.TopicsSet) []memberPartitions {
	list := []memberPartitions{}
	for _, topic := range slices.Sorted(maps.Keys(set)) {
		list = append(list, memberPartitions{topic, slices.Sorted(maps.Keys(set[topic]))})
	}
	return list
}

// committedOffsets are the offsets that a group has committed.
func committedOffsets(ctx context.Context, c *client, group string) (map[partitionOf]kadm.Offset, error) {
	answer := c.admin.FetchManyOffsets(ctx, group)[group]
	if answer.Err != nil {
		var answered *kerr.Error
		if errors.As(answer.Err, &answered) {
			return nil, groupError(group, answer.Err, "")
		}
		return nil, c.explain(ctx, fmt.Sprintf("fetch the offsets of group %q", group), answer.Err)
	}
	committed := make(map[partitionOf]kadm.Offset)
	for topic, partitions := range answer.Fetched {
		for p, o := range partitions {
			if o.Err != nil {
				return nil, fmt.Errorf("fetch the offsets of group %q: topic %q, partition %d: %s", group, topic, p, protocolText(o.Err, ""))
			}
			if o.At >= 0 {
				committed[partitionOf{topic, p}] = o.Offset
			}
		}
	}
	return committed, nil
}

// fillPartitions adds to a group its partitions: those with a committed offset
// and those that members have or shall have, with their offsets and lag.
func (s *groupState) fillPartitions(ctx context.Context, c *client) error {
	committed, err := committedOffsets(ctx, c, s.Name)
	if err != nil {
		return err
	}
	owners := s.owners()
	all := make(map[partitionOf]bool)
	topics := make(map[string]bool)
	for p := range committed {
		all[p], topics[p.topic] = true, true
	}
	for i := range s.Members {
		for _, t := range slices.Concat(s.Members[i].Assigned, s.Members[i].Pending) {
			for _, p := range t.Partitions {
				all[partitionOf{t.Topic, p}], topics[t.Topic] = true, true
			}
		}
	}
	starts, ends, err := listLogs(ctx, c, slices.Collect(maps.Keys(topics)))
	if err != nil {
		return err
	}
	s.Partitions = make([]groupPartition, 0, len(all))
	for p := range all {
		row := groupPartition{Topic: p.topic, Partition: p.partition, Member: owners[p], commit: kadm.Offset{At: -1}}
		row.Start, row.End = offsetOf(starts, p.topic, p.partition), offsetOf(ends, p.topic, p.partition)
		if o, ok := committed[p]; ok {
			row.commit, row.Committed = o, &o.At
		}
		row.measure(ends)
		if row.Lag != nil {
			s.Lag += *row.Lag
		}
		s.Partitions = append(s.Partitions, row)
	}
	slices.SortFunc(s.Partitions, func(x, y groupPartition) int {
		return cmp.Or(cmp.Compare(x.Topic, y.Topic), cmp.Compare(x.Partition, y.Partition))
	})
	return nil
}

// owners are the ids of the members that have each partition.
func (s *groupState) owners() map[partitionOf]string {
	owners := make(map[partitionOf]string)
	for i := range s.Members {
		for _, t := range s.Members[i].Assigned {
			for _, p := range t.Partitions {
				owners[partitionOf{t.Topic, p}] = s.Members[i].ID
			}
		}
	}
	return owners
}

// listLogs lists where the logs of topics begin and end. A partition that
// cannot be listed has an error of its own.
func listLogs(ctx context.Context, c *client, topics []string) (starts, ends kadm.ListedOffsets, err error) {
	if len(topics) == 0 {
		return nil, nil, nil
	}
	var shards *kadm.ShardErrors
	if starts, err = c.admin.ListStartOffsets(ctx, topics...); err != nil && !(errors.As(err, &shards) && ctx.Err() == nil) {
		return nil, nil, c.explain(ctx, "list offsets", err)
	}
	if ends, err = c.admin.ListEndOffsets(ctx, topics...); err != nil && !(errors.As(err, &shards) && ctx.Err() == nil) {
		return nil, nil, c.explain(ctx, "list offsets", err)
	}
	return starts, ends, nil
}

// measure computes the lag, and notes what is odd.
func (p *groupPartition) measure(ends kadm.ListedOffsets) {
	zero := int64(0)
	switch {
	case p.End == nil:
		p.Note = "its end is not known"
		if end, ok := ends.Lookup(p.Topic, p.Partition); ok && end.Err != nil {
			p.Note = protocolText(end.Err, "")
		} else if _, ok := ends[p.Topic][-1]; ok {
			p.Note = "the topic does not exist"
		}
		return
	case p.Committed == nil:
		p.Note = "nothing committed"
		if p.Start != nil && *p.Start == *p.End {
			p.Lag, p.LagMillis = &zero, &zero
		}
		return
	case *p.Committed > *p.End:
		p.Note = "committed beyond the log's end"
		p.Lag, p.LagMillis = &zero, &zero
		return
	case p.Start != nil && *p.Committed < *p.Start:
		p.Note = plural(*p.Start-*p.Committed, "record") + " deleted unread"
	}
	lag := *p.End - *p.Committed
	p.Lag = &lag
	if lag == 0 {
		p.LagMillis = &zero
	}
}
