package groupdiff

import (
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Requests as members send them. Time-outs are so long that none passes.
const (
	sessionMillis   = 300_000
	rebalanceMillis = 600_000
)

// joining is what a JoinGroup says, where it is not the usual.
type joining struct {
	what      string
	instance  string   // "": none
	protocols []string // nil: range
	topics    []string // nil: t1
	typ       string   // "": consumer
	session   int32    // 0: sessionMillis
	group     *string  // nil: the sequence's
	memberID  *string  // nil: the one that the client has
}

func (q *sequence) join(name string, version int16, j joining) {
	q.t.Helper()
	q.do(name, j.what, version, func(c *client) kmsg.Request {
		req := kmsg.NewPtrJoinGroupRequest()
		req.Group, req.MemberID = or(j.group, q.group), or(j.memberID, c.id)
		req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = sessionMillis, rebalanceMillis
		if j.session != 0 {
			req.SessionTimeoutMillis = j.session
		}
		req.InstanceID = instance(j.instance)
		if req.ProtocolType = j.typ; j.typ == "" {
			req.ProtocolType = "consumer"
		}
		names := j.protocols
		if names == nil {
			names = []string{"range"}
		}
		for _, protocol := range names {
			p := kmsg.NewJoinGroupRequestProtocol()
			p.Name, p.Metadata = protocol, subscription(j.topics)
			req.Protocols = append(req.Protocols, p)
		}
		return req
	})
}

// enter joins as a new member: since version 4 it takes two requests.
func (q *sequence) enter(name string, version int16, j joining) {
	q.t.Helper()
	q.join(name, version, j)
	if version >= 4 && j.instance == "" {
		q.join(name, version, j)
	}
}

func subscription(names []string) []byte {
	if names == nil {
		names = []string{"t1"}
	}
	m := kmsg.NewConsumerMemberMetadata()
	m.Version, m.Topics = 0, names
	return m.AppendTo(nil)
}

func or(s *string, usual string) string {
	if s != nil {
		return *s
	}
	return usual
}

func instance(id string) *string {
	if id == "" {
		return nil
	}
	return &id
}

// syncing is what a SyncGroup says, where it is not the usual.
type syncing struct {
	what       string
	instance   string
	stranger   bool // the leader names one that is no member
	nothing    bool // the leader assigns nothing to anybody
	generation int32
	memberID   *string
	group      *string
	typ, name  string // of the protocol, since version 5; "" is not said
}

// sync sends SyncGroup: with the assignments of all, if the member leads.
func (q *sequence) sync(name string, version int16, y syncing) {
	q.t.Helper()
	q.do(name, y.what, version, func(c *client) kmsg.Request {
		req := kmsg.NewPtrSyncGroupRequest()
		req.Group, req.MemberID, req.Generation = or(y.group, q.group), or(y.memberID, c.id), c.generation+y.generation
		req.InstanceID = instance(y.instance)
		if y.typ != "" {
			req.ProtocolType, req.Protocol = &y.typ, &y.name
		}
		if c.leads && !y.nothing {
			others := c.others
			if y.stranger {
				others = append([]string{"a-stranger"}, others...)
			}
			for _, id := range others {
				a := kmsg.NewSyncGroupRequestGroupAssignment()
				a.MemberID, a.MemberAssignment = id, []byte("for "+c.side.memberName(id))
				req.GroupAssignment = append(req.GroupAssignment, a)
			}
		}
		return req
	})
}

// beating is what a Heartbeat says, where it is not the usual.
type beating struct {
	what       string
	instance   string
	generation int32 // beside the one that the member knows
	memberID   *string
	group      *string
}

func (q *sequence) heartbeat(name string, version int16, b beating) {
	q.t.Helper()
	q.do(name, b.what, version, func(c *client) kmsg.Request {
		req := kmsg.NewPtrHeartbeatRequest()
		req.Group, req.MemberID, req.Generation = or(b.group, q.group), or(b.memberID, c.id), c.generation+b.generation
		req.InstanceID = instance(b.instance)
		return req
	})
}

// leaving is what a LeaveGroup says, where it is not the usual.
type leaving struct {
	what     string
	instance string // since version 3
	memberID *string
	group    *string
}

func (q *sequence) leave(name string, version int16, l leaving) {
	q.t.Helper()
	q.do(name, l.what, version, func(c *client) kmsg.Request {
		req := kmsg.NewPtrLeaveGroupRequest()
		req.Group, req.MemberID = or(l.group, q.group), or(l.memberID, c.id)
		if version >= 3 {
			m := kmsg.NewLeaveGroupRequestMember()
			m.MemberID, m.InstanceID = req.MemberID, instance(l.instance)
			req.MemberID = ""
			req.Members = append(req.Members, m)
		}
		return req
	})
}

// forget makes clients forget what they were told, as a restart does.
func (q *sequence) forget(name string) {
	for _, s := range q.pair.sides {
		if c := s.clients[name]; c != nil {
			c.id, c.leads, c.generation, c.others = "", false, -1, nil
			c.epoch, c.owned = 0, nil
		}
	}
}

// committing is what an OffsetCommit says, where it is not the usual.
type committing struct {
	what       string
	simple     bool // as one that is no member
	instance   string
	generation int32 // beside the one that the member knows
	epochs     bool  // the member is one of KIP-848
	memberID   *string
	group      *string
	topic      string
	topicID    [16]byte // since version 10, where it is not the topic's
	partitions []int32
	offset     int64
	metadata   *string
}

func (q *sequence) commit(name string, version int16, o committing) {
	q.t.Helper()
	q.do(name, o.what, version, func(c *client) kmsg.Request {
		req := kmsg.NewPtrOffsetCommitRequest()
		req.Group, req.MemberID, req.Generation = or(o.group, q.group), or(o.memberID, c.id), c.generation+o.generation
		if o.epochs {
			req.Generation = c.epoch + o.generation
		}
		if o.simple {
			req.MemberID, req.Generation = "", -1
		}
		req.InstanceID = instance(o.instance)
		t := kmsg.NewOffsetCommitRequestTopic()
		if t.Topic = o.topic; o.topic == "" {
			t.Topic = "t1"
		}
		if t.TopicID = o.topicID; o.topicID == [16]byte{} {
			t.TopicID = c.side.topicIDs[t.Topic]
		}
		partitions := o.partitions
		if partitions == nil {
			partitions = []int32{0}
		}
		for _, number := range partitions {
			p := kmsg.NewOffsetCommitRequestTopicPartition()
			p.Partition, p.Offset, p.LeaderEpoch, p.Metadata = number, o.offset, 3, o.metadata
			t.Partitions = append(t.Partitions, p)
		}
		req.Topics = append(req.Topics, t)
		return req
	})
}

// fetching is what an OffsetFetch says, where it is not the usual.
type fetching struct {
	what       string
	all        bool
	topic      string
	topicID    [16]byte
	partitions []int32
	group      *string
	memberID   *string // KIP-848, since version 9
	epoch      int32
}

func (q *sequence) fetch(name string, version int16, f fetching) {
	q.t.Helper()
	q.do(name, f.what, version, func(c *client) kmsg.Request {
		topic, partitions := f.topic, f.partitions
		if topic == "" {
			topic = "t1"
		}
		if partitions == nil {
			partitions = []int32{0, 1}
		}
		req := fetchAll(version, or(f.group, q.group))
		g := &req.Groups[0]
		if f.memberID != nil {
			g.MemberID, g.MemberEpoch = f.memberID, f.epoch
		}
		if f.all {
			return req
		}
		id := f.topicID
		if id == [16]byte{} {
			id = c.side.topicIDs[topic]
		}
		req.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: topic, Partitions: partitions}}
		g.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: topic, TopicID: id, Partitions: partitions}}
		return req
	})
}

// deleteOffsets sends OffsetDelete.
func (q *sequence) deleteOffsets(name, what, topic string, partitions ...int32) {
	q.t.Helper()
	q.do(name, what, 0, func(*client) kmsg.Request {
		req := kmsg.NewPtrOffsetDeleteRequest()
		req.Group = q.group
		t := kmsg.NewOffsetDeleteRequestTopic()
		t.Topic = topic
		for _, number := range partitions {
			p := kmsg.NewOffsetDeleteRequestTopicPartition()
			p.Partition = number
			t.Partitions = append(t.Partitions, p)
		}
		req.Topics = append(req.Topics, t)
		return req
	})
}

func (q *sequence) deleteGroup(name, what string, version int16) {
	q.t.Helper()
	q.do(name, what, version, func(*client) kmsg.Request {
		req := kmsg.NewPtrDeleteGroupsRequest()
		req.Groups = []string{q.group}
		return req
	})
}

// living is what a ConsumerGroupHeartbeat says, where it is not the usual: that
// of a member that has nothing to say.
type living struct {
	what      string
	join      bool
	leave     bool
	away      bool // of a static member, for a while
	full      bool // says everything again
	owns      bool // says what it was told to have
	epoch     int32
	memberID  *string
	group     *string
	instance  string
	rack      *string
	topics    []string // nil: t1, where it joins or says everything
	regex     *string
	assignor  string
	rebalance int32                    // 0: rebalanceMillis, where it joins or says everything
	change    func(r *heartbeatChange) // the last word
}

// heartbeatChange is a request that may be spoiled.
type heartbeatChange = kmsg.ConsumerGroupHeartbeatRequest

func (q *sequence) live(name string, version int16, l living) {
	q.t.Helper()
	q.do(name, l.what, version, func(c *client) kmsg.Request {
		req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		if c.id == "" && version > 0 {
			c.id = "id-of-" + name // the client's own choice, the same for both brokers
			c.side.members[c.id] = name
		}
		req.Group, req.MemberID = or(l.group, q.group), or(l.memberID, c.id)
		req.InstanceID, req.RackID = instance(l.instance), l.rack
		req.MemberEpoch = c.epoch + l.epoch
		if l.join || l.full {
			req.RebalanceTimeoutMillis = rebalanceMillis
			if req.SubscribedTopicNames = l.topics; l.topics == nil {
				req.SubscribedTopicNames = []string{"t1"}
			}
			req.SubscribedTopicRegex = l.regex
			if l.regex != nil && l.topics == nil {
				req.SubscribedTopicNames = nil
			}
			req.ServerAssignor = instance(l.assignor)
		}
		if l.owns || l.full {
			req.Topics = c.owned
			if req.Topics == nil {
				req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
			}
		}
		switch {
		case l.join:
			req.MemberEpoch, req.Topics = 0, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		case l.leave:
			req.MemberEpoch = -1
		case l.away:
			req.MemberEpoch = -2
		}
		if l.rebalance != 0 {
			req.RebalanceTimeoutMillis = l.rebalance
		}
		if l.change != nil {
			l.change(req)
		}
		return req
	})
}
