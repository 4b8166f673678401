package groupdiff

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// The sequences of the consumer protocol (KIP-848) that are written by hand.
var consumerSequences = []handWritten{
	{"members come and go", consumerGroup, comeAndGo},
	{"partitions move when they are given up", consumerGroup, moveWhenGivenUp},
	{"a member says everything again", consumerGroup, saysEverything},
	{"epochs", consumerGroup, epochs},
	{"of no group", consumerGroup, ofNoGroup},
	{"leaving of strangers", consumerGroup, strangersLeave},
	{"requests that are not valid", consumerGroup, notValid},
	{"other topics", consumerGroup, otherTopics},
	{"a regular expression", consumerGroup, regularExpression},
	{"the range assignor", consumerGroup, rangeAssignor},
	{"a static member", consumerGroup, staticConsumer},
	{"a static member is away", consumerGroup, staticAway},
	{"commits and fetches", consumerGroup, consumerOffsets},
	{"lists and deletions", eitherGroup, consumerAdmin},
	{"version 0", consumerGroup, versionZero},
	{"a consumer member in a classic group", eitherGroup, upgrade},
	{"a classic member in a consumer group", eitherGroup, classicInConsumer},
	{"a classic member after consumers left", eitherGroup, classicAfterConsumer},
	{"a consumer member after classic ones left", eitherGroup, consumerAfterClassic},
}

// calm makes members go on until nothing changes: each says what it has, and is
// told what to have.
func (q *sequence) calm(names ...string) {
	q.t.Helper()
	for range 3 {
		for _, name := range names {
			q.live(name, 1, living{what: "with what it has", owns: true})
			q.disjoint()
		}
	}
}

func comeAndGo(q *sequence) {
	q.live("c1", 1, living{what: "of a new member", join: true})
	q.live("c1", 1, living{what: "with nothing to say"})
	q.live("c2", 1, living{what: "of a new member", join: true})
	q.calm("c1", "c2")
	q.live("c3", 1, living{what: "of a new member", join: true})
	q.live("c4", 1, living{what: "of a new member", join: true})
	q.calm("c1", "c2", "c3", "c4")
	q.live("c2", 1, living{what: "of one that leaves", leave: true})
	q.live("c2", 1, living{what: "of one that left", epoch: 3})
	q.live("c4", 1, living{what: "of one that leaves", leave: true})
	q.calm("c1", "c3")
	q.live("c1", 1, living{what: "of one that leaves", leave: true})
	q.calm("c3")
	q.live("c3", 1, living{what: "of one that leaves", leave: true})
}

func moveWhenGivenUp(q *sequence) {
	q.live("c1", 1, living{what: "of a new member", join: true})
	q.live("c1", 1, living{what: "with what it has", owns: true})
	q.live("c2", 1, living{what: "of a new member", join: true})
	q.live("c2", 1, living{what: "with what it has", owns: true})
	before := map[*side][]kmsg.ConsumerGroupHeartbeatRequestTopic{}
	for _, s := range q.pair.sides {
		before[s] = s.clients["c1"].owned
	}
	q.live("c1", 1, living{what: "with nothing to say"})
	q.live("c2", 1, living{what: "while another has its partitions", owns: true})
	q.do("c1", "that has not given up yet", 1, func(c *client) kmsg.Request {
		req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		req.Group, req.MemberID, req.MemberEpoch, req.Topics = q.group, c.id, c.epoch, before[c.side]
		return req
	})
	q.live("c2", 1, living{what: "while another has its partitions", owns: true})
	q.live("c1", 1, living{what: "that has given up", owns: true})
	q.live("c2", 1, living{what: "after another gave up", owns: true})
	q.calm("c1", "c2")
}

func saysEverything(q *sequence) {
	q.live("c1", 1, living{what: "of a new member", join: true})
	q.live("c1", 1, living{what: "that says everything", full: true})
	q.live("c1", 1, living{what: "that joins again", join: true})
	q.live("c1", 1, living{what: "that says everything", full: true})
}

func epochs(q *sequence) {
	q.live("c1", 1, living{what: "of a new member", join: true})
	q.live("c2", 1, living{what: "of a new member", join: true})
	q.calm("c1", "c2")
	q.live("c1", 1, living{what: "of a later epoch", epoch: 1, owns: true})
	q.live("c1", 1, living{what: "of the epoch before, with what it has", epoch: -1, owns: true})
	q.live("c1", 1, living{what: "of the epoch before, with nothing to say", epoch: -1})
	q.live("c1", 1, living{what: "of an old epoch", epoch: -1, change: func(r *heartbeatChange) {
		r.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{{TopicID: [16]byte{1}, Partitions: []int32{0}}}
	}})
	q.live("c1", 1, living{what: "of a stranger", memberID: &stranger})
	q.calm("c1", "c2")
}

func ofNoGroup(q *sequence) {
	q.note("no group", true)
	q.live("c1", 1, living{what: "to no group", epoch: 5})
	q.live("c1", 1, living{what: "of one that leaves no group", leave: true})
}

func strangersLeave(q *sequence) {
	q.live("c1", 1, living{what: "of a new member", join: true})
	q.live("c2", 1, living{what: "of a stranger that leaves", leave: true})
	q.live("c1", 1, living{what: "with what it has", owns: true})
}

// notValid are requests that say what cannot be.
func notValid(q *sequence) {
	q.live("c1", 1, living{what: "of a new member", join: true})
	empty := ""
	names := func(list ...string) func(r *heartbeatChange) {
		return func(r *heartbeatChange) { r.SubscribedTopicNames = list }
	}
	for i, l := range []living{
		{what: "without a member id", join: true, memberID: &empty},
		{what: "without a group id", join: true, group: &empty},
		{what: "with an empty rack", join: true, rack: &empty},
		{what: "with an empty instance id", join: true, change: func(r *heartbeatChange) { r.InstanceID = &empty }},
		{what: "without a rebalance time-out", join: true, rebalance: -1},
		{what: "that joins and says nothing of partitions", join: true, change: func(r *heartbeatChange) { r.Topics = nil }},
		{what: "that joins with partitions", join: true, change: func(r *heartbeatChange) {
			r.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{{TopicID: [16]byte{1}, Partitions: []int32{0}}}
		}},
		{what: "that joins without a subscription", join: true, change: names()},
		{what: "with an unknown assignor", join: true, assignor: "sticky"},
		{what: "of an epoch that is none", change: func(r *heartbeatChange) { r.MemberEpoch = -3 }},
		{what: "of a dynamic member that leaves for a while", away: true},
		{what: "with a broken regular expression", join: true, regex: kmsg.StringPtr("t(")},
	} {
		if l.group == nil {
			// One of its own: what one of them takes and the other refuses is no
			// member of this group.
			l.group = kmsg.StringPtr(fmt.Sprintf("%s-%d", q.group, i))
		}
		q.live(fmt.Sprintf("x%d", i), 1, l)
	}
	q.live("c1", 1, living{what: "with what it has", owns: true})
}

func otherTopics(q *sequence) {
	q.live("c1", 1, living{what: "of a new member", join: true})
	q.live("c1", 1, living{what: "with other topics", full: true, topics: []string{"t1", "t2"}})
	q.calm("c1")
	q.live("c1", 1, living{what: "with other topics", full: true, topics: []string{"t2"}})
	q.calm("c1")
	q.live("c1", 1, living{what: "with a topic that is not there", full: true, topics: []string{"unknown"}})
	q.calm("c1")
}

func regularExpression(q *sequence) {
	q.live("c1", 1, living{what: "of a new member", join: true, regex: kmsg.StringPtr("t[12]")})
	q.calm("c1")
	q.live("c1", 1, living{what: "with another expression", full: true, regex: kmsg.StringPtr("t2|x")})
	q.calm("c1")
	q.live("c1", 1, living{what: "with a part of a name", full: true, regex: kmsg.StringPtr("t")})
	q.calm("c1")
}

func rangeAssignor(q *sequence) {
	for _, s := range q.pair.sides {
		s.exact = true
	}
	both := []string{"t1", "t2"}
	q.live("c1", 1, living{what: "of a new member", join: true, assignor: "range", topics: both})
	q.live("c2", 1, living{what: "of a new member", join: true, assignor: "range", topics: both})
	q.calm("c1", "c2")
}

func staticConsumer(q *sequence) {
	q.live("c1", 1, living{what: "of a new member", join: true})
	q.live("s1", 1, living{what: "of a new static member", join: true, instance: "i1"})
	q.calm("c1")
	q.live("s1", 1, living{what: "with what it has", owns: true, instance: "i1"})
	q.calm("c1")
	q.live("s2", 1, living{what: "of a second member with the instance id", join: true, instance: "i1"})
	q.live("s1", 1, living{what: "that goes on", owns: true, instance: "i1"})
	q.live("s1", 1, living{what: "with an unknown instance id", owns: true, instance: "unknown"})
	if q.over != "" {
		return
	}
	q.live("s1", 1, living{what: "of one that leaves", leave: true, instance: "i1"})
	q.calm("c1")
}

func staticAway(q *sequence) {
	q.live("s1", 1, living{what: "of a new static member", join: true, instance: "i1"})
	q.live("s1", 1, living{what: "with what it has", owns: true, instance: "i1"})
	q.live("s1", 1, living{what: "of a static member that leaves for a while", away: true, instance: "i1"})
	q.live("s2", 1, living{what: "of a static member that is back", join: true, instance: "i1"})
	q.live("s1", 1, living{what: "of the one before it", instance: "i1", epoch: 3})
	q.live("s2", 1, living{what: "with what it has", owns: true, instance: "i1"})
}

func consumerOffsets(q *sequence) {
	q.live("c1", 1, living{what: "of a new member", join: true})
	q.live("c1", 1, living{what: "with what it has", owns: true})
	id := "id-of-c1"
	q.commit("c1", 9, committing{epochs: true, offset: 4})
	q.commit("c1", 10, committing{epochs: true, offset: 5, partitions: []int32{1}})
	q.commit("c1", 9, committing{what: "of a later epoch", epochs: true, generation: 1})
	q.commit("c1", 9, committing{what: "of epoch 0", epochs: true, generation: -1})
	q.commit("c1", 9, committing{what: "of a stranger", epochs: true, memberID: &stranger})
	q.commit("c1", 9, committing{what: "of nobody to a group with members", simple: true})
	q.commit("c1", 8, committing{what: "of a consumer member", epochs: true})
	q.fetch("c1", 9, fetching{what: "of nobody"})
	q.fetch("c1", 9, fetching{what: "of a member", memberID: &id, epoch: 1})
	q.fetch("c1", 9, fetching{what: "of a member with a later epoch", memberID: &id, epoch: 2})
	q.fetch("c1", 9, fetching{what: "of a member with epoch 0", memberID: &id, epoch: 0})
	q.fetch("c1", 9, fetching{what: "of a stranger", memberID: &stranger, epoch: 1})
	q.fetch("c1", 9, fetching{what: "of an empty member id", memberID: &nobody, epoch: -1})
	q.fetch("c1", 8, fetching{what: "of nobody"})
	q.deleteOffsets("c1", "of a topic that members read, KIP-848", "t1", 0)
	q.live("c1", 1, living{what: "of one that leaves", leave: true})
	q.commit("c1", 9, committing{what: "of nobody to an empty group", simple: true, offset: 8})
	q.commit("c1", 8, committing{what: "of nobody to an empty group", simple: true, offset: 9})
	q.deleteOffsets("c1", "of an empty consumer group", "t1", 0)
}

func consumerAdmin(q *sequence) {
	q.live("c1", 1, living{what: "of a new member", join: true})
	q.list("of a consumer group", 5, nil, nil)
	q.list("of a consumer group", 4, nil, nil)
	q.list("of that type", 5, nil, []string{"consumer"})
	q.list("of another type", 5, nil, []string{"classic"})
	for version := int16(0); version <= 1; version++ {
		q.ask(fmt.Sprintf("the consumer group, ConsumerGroupDescribe v%d", version), func(*side) kmsg.Request {
			req := kmsg.NewPtrConsumerGroupDescribeRequest()
			req.Version, req.Groups = version, []string{q.group, "no such group"}
			return req
		})
	}
	q.deleteGroup("c1", "of a consumer group with a member", 2)
	q.live("c1", 1, living{what: "of one that leaves", leave: true})
	q.deleteGroup("c1", "of an empty consumer group", 2)
}

func versionZero(q *sequence) {
	q.live("c1", 0, living{what: "of a new member", join: true})
	q.live("c1", 0, living{what: "with what it has", owns: true})
	q.live("c1", 0, living{what: "of one that leaves", leave: true})
}

func upgrade(q *sequence) {
	q.stable(5, "m1")
	q.live("c1", 1, living{what: "of a member that joins a classic group", join: true})
}

func classicInConsumer(q *sequence) {
	q.live("c1", 1, living{what: "of a new member", join: true})
	q.join("m1", 5, joining{what: "of a member that joins a consumer group"})
}

func classicAfterConsumer(q *sequence) {
	q.live("c1", 1, living{what: "of a new member", join: true})
	q.live("c1", 1, living{what: "of one that leaves", leave: true})
	q.note("a classic member has come", true)
	q.join("m1", 5, joining{what: "of a member that joins an empty consumer group"})
}

func consumerAfterClassic(q *sequence) {
	q.stable(5, "m1")
	q.leave("m1", 5, leaving{})
	q.live("c1", 1, living{what: "of a member that joins an empty classic group", join: true})
}
