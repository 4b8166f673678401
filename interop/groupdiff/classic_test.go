package groupdiff

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// The sequences of the classic protocol that are written by hand.
var classicSequences = []handWritten{
	{"two members", classicGroup, twoMembers},
	{"three members of old versions", classicGroup, oldVersions},
	{"version 0", classicGroup, versionZeroJoins},
	{"every version", classicGroup, everyVersion},
	{"what is refused", classicGroup, refused},
	{"what is refused in a group", classicGroup, refusedInGroup},
	{"other protocols", classicGroup, otherProtocols},
	{"another protocol type in an empty group", classicGroup, otherType},
	{"an id that is not used", classicGroup, unusedID},
	{"an id that is not used leaves", classicGroup, unusedIDLeaves},
	{"the leader leaves", classicGroup, leaderLeaves},
	{"a static member comes back", classicGroup, staticReturns},
	{"a static leader comes back, version 9", classicGroup, func(q *sequence) { staticLeaderReturns(q, 9) }},
	{"a static leader comes back, version 8", classicGroup, func(q *sequence) { staticLeaderReturns(q, 8) }},
	{"a static member comes back with other topics", classicGroup, staticReturnsChanged},
	{"static members leave", classicGroup, staticLeave},
	{"commits of members", classicGroup, memberCommits},
	{"commits of nobody", classicGroup, simpleCommits},
	{"fetches", classicGroup, fetches},
	{"commits that are refused", classicGroup, refusedCommits},
	{"deletion of offsets", classicGroup, offsetDeletion},
	{"deletion of groups", classicGroup, groupDeletion},
	{"lists", classicGroup, lists},
	{"coordinators", classicGroup, coordinators},
}

// stable makes a group of these members, the first of which leads.
func (q *sequence) stable(version int16, names ...string) {
	q.t.Helper()
	for i, name := range names {
		q.enter(name, version, joining{what: "of a new member"})
		for _, before := range names[:i] {
			q.join(before, version, joining{what: "again"})
		}
	}
	for i := range names {
		q.sync(names[len(names)-1-i], min(version, 5), syncing{})
	}
}

func twoMembers(q *sequence) {
	q.enter("m1", 9, joining{what: "of a new member"})
	q.heartbeat("m1", 4, beating{what: "before the assignment"})
	q.commit("m1", 9, committing{what: "before the assignment"})
	q.sync("m1", 5, syncing{typ: "consumer", name: "range"})
	q.heartbeat("m1", 4, beating{})
	q.enter("m2", 5, joining{what: "of a new member"})
	q.heartbeat("m1", 3, beating{what: "while members join"})
	q.commit("m1", 8, committing{what: "while members join", offset: 5})
	q.sync("m1", 3, syncing{what: "while members join"})
	q.join("m1", 9, joining{what: "again"})
	q.sync("m2", 3, syncing{what: "of a follower"})
	q.commit("m1", 8, committing{what: "while members sync", offset: 6})
	q.sync("m1", 4, syncing{what: "with a stranger", stranger: true})
	q.commit("m2", 8, committing{offset: 7, partitions: []int32{1, 2}})
	q.join("m2", 6, joining{what: "again, with nothing new"})
	q.sync("m2", 3, syncing{what: "again"})
	q.join("m2", 6, joining{what: "again, with other topics", topics: []string{"t1", "t2"}})
	q.join("m1", 7, joining{what: "again"})
	q.sync("m1", 5, syncing{})
	q.sync("m2", 5, syncing{what: "behind the leader's"})
	q.leave("m2", 5, leaving{})
	q.heartbeat("m1", 4, beating{what: "after another left"})
	q.join("m1", 9, joining{what: "again"})
	q.sync("m1", 5, syncing{what: "with nothing", nothing: true})
	q.leave("m1", 5, leaving{})
	q.heartbeat("m1", 4, beating{what: "of one that left"})
	q.list("of an empty group", 5, nil, nil)
}

func oldVersions(q *sequence) {
	q.join("m1", 1, joining{what: "of a new member"})
	q.join("m2", 1, joining{what: "of a new member"})
	q.join("m1", 1, joining{what: "again"})
	q.sync("m1", 0, syncing{})
	q.sync("m2", 1, syncing{})
	q.join("m3", 3, joining{what: "of a new member"})
	q.heartbeat("m2", 0, beating{what: "while members join"})
	q.join("m2", 2, joining{what: "again"})
	q.join("m1", 1, joining{what: "again"})
	q.join("m2", 2, joining{what: "again, while others sync, with nothing new"})
	q.sync("m3", 2, syncing{})
	q.sync("m2", 0, syncing{})
	q.sync("m1", 1, syncing{})
	q.leave("m3", 0, leaving{})
	q.leave("m2", 1, leaving{})
	q.join("m1", 1, joining{what: "again"})
	q.leave("m1", 2, leaving{what: "before the assignment"})
}

func versionZeroJoins(q *sequence) {
	q.note("version 0", true)
	q.join("m1", 0, joining{what: "of a new member"})
}

// everyVersion is a leader that joins again, and each time begins a generation.
func everyVersion(q *sequence) {
	q.enter("m1", 9, joining{what: "of a new member"})
	for version := int16(1); version <= 9; version++ {
		q.sync("m1", min(version, 5), syncing{})
		q.heartbeat("m1", min(version, 4), beating{})
		q.join("m1", version, joining{what: "again"})
	}
	q.sync("m1", 0, syncing{})
	q.heartbeat("m1", 0, beating{})
	for version := int16(0); version <= 5; version++ {
		q.leave("m1", version, leaving{what: "of a stranger", memberID: &stranger})
	}
	q.leave("m1", 3, leaving{})
}

var stranger, nobody = "a-stranger", ""

func refused(q *sequence) {
	q.heartbeat("m1", 4, beating{what: "to no group", memberID: &stranger})
	q.sync("m1", 5, syncing{what: "to no group", memberID: &stranger})
	q.leave("m1", 1, leaving{what: "to no group", memberID: &stranger})
	q.leave("m1", 5, leaving{what: "to no group", memberID: &stranger})
	q.join("m1", 5, joining{what: "of a stranger to no group", memberID: &stranger})
	q.heartbeat("m1", 4, beating{what: "to the group without a name", group: &nobody})
	q.sync("m1", 5, syncing{what: "to the group without a name", group: &nobody})
	q.leave("m1", 5, leaving{what: "to the group without a name", group: &nobody})
	q.join("m1", 5, joining{what: "to the group without a name", group: &nobody})
	q.join("m1", 5, joining{what: "with a session time-out too short", session: 5999})
	q.join("m1", 5, joining{what: "with a session time-out too long", session: 1_800_001})
	q.join("m1", 5, joining{what: "without protocols", protocols: []string{}})
}

func refusedInGroup(q *sequence) {
	q.stable(5, "m1", "m2")
	q.heartbeat("m1", 3, beating{what: "of a stranger", memberID: &stranger})
	q.heartbeat("m1", 3, beating{what: "of a later generation", generation: 1})
	q.heartbeat("m1", 3, beating{what: "of an earlier generation", generation: -1})
	q.heartbeat("m1", 3, beating{what: "of an unknown instance", instance: "unknown"})
	q.sync("m1", 5, syncing{what: "of a stranger", memberID: &stranger})
	q.sync("m1", 5, syncing{what: "of a later generation", generation: 1})
	q.sync("m1", 5, syncing{what: "of an earlier generation", generation: -1})
	q.sync("m1", 5, syncing{what: "of another protocol", typ: "consumer", name: "sticky"})
	q.sync("m1", 5, syncing{what: "of another type", typ: "connect", name: "range"})
	q.leave("m1", 0, leaving{what: "of a stranger", memberID: &stranger})
	q.leave("m1", 4, leaving{what: "of a stranger", memberID: &stranger})
	q.leave("m1", 4, leaving{what: "of an unknown instance", instance: "unknown"})
	q.join("m3", 5, joining{what: "of a stranger", memberID: &stranger})
	q.join("m3", 5, joining{what: "of another type", typ: "connect"})
	q.join("m3", 5, joining{what: "without a common protocol", protocols: []string{"sticky"}})
	q.heartbeat("m1", 3, beating{what: "after all that"})
	q.heartbeat("m2", 3, beating{what: "after all that"})
}

// otherProtocols sees which protocol is chosen: of those that all have, the one
// that most prefer.
func otherProtocols(q *sequence) {
	q.enter("m1", 5, joining{what: "of a new member", protocols: []string{"sticky", "range"}})
	q.enter("m2", 5, joining{what: "of a new member", protocols: []string{"range", "sticky", "more"}})
	q.join("m1", 5, joining{what: "again", protocols: []string{"range", "sticky"}})
	q.sync("m1", 5, syncing{typ: "consumer", name: "range"})
	q.sync("m2", 5, syncing{typ: "consumer", name: "range"})
	q.enter("m3", 5, joining{what: "of a new member", protocols: []string{"more", "sticky"}})
	q.join("m1", 5, joining{what: "again", protocols: []string{"range", "sticky"}})
	q.join("m2", 5, joining{what: "again", protocols: []string{"range", "sticky", "more"}})
}

func otherType(q *sequence) {
	q.stable(5, "m1")
	q.leave("m1", 5, leaving{})
	q.forget("m1")
	q.join("m1", 5, joining{what: "of another type to an empty group", typ: "connect"})
}

func unusedID(q *sequence) {
	q.stable(5, "m1")
	q.join("m2", 5, joining{what: "of a new member"})
	q.note("an id is not used", true)
	q.heartbeat("m1", 4, beating{})
	q.join("m1", 5, joining{what: "again"})
}

func unusedIDLeaves(q *sequence) {
	q.stable(5, "m1")
	q.join("m2", 5, joining{what: "of a new member"})
	q.note("an id that was not used has left", true)
	q.leave("m2", 4, leaving{what: "of an id that is not used"})
}

func leaderLeaves(q *sequence) {
	q.stable(5, "m1", "m2", "m3")
	q.leave("m1", 4, leaving{})
	q.join("m2", 5, joining{what: "again"})
	q.note("the leader has gone", true)
	q.join("m3", 5, joining{what: "again"})
}

func staticReturns(q *sequence) {
	q.stable(5, "m1")
	q.join("s1", 5, joining{what: "of a new static member", instance: "i1"})
	q.join("m1", 5, joining{what: "again"})
	q.sync("m1", 5, syncing{})
	q.sync("s1", 5, syncing{instance: "i1"})
	q.heartbeat("s1", 4, beating{instance: "i1"})
	q.join("s2", 6, joining{what: "of a static member that is back", instance: "i1"})
	q.heartbeat("s1", 4, beating{what: "of the one before it", instance: "i1"})
	q.heartbeat("s1", 4, beating{what: "of the one before it, without the instance id"})
	q.sync("s1", 4, syncing{what: "of the one before it", instance: "i1"})
	q.commit("s1", 8, committing{what: "of the one before it", instance: "i1"})
	q.join("s1", 8, joining{what: "of the one before it", instance: "i1"})
	q.sync("s2", 5, syncing{instance: "i1"})
	q.heartbeat("s2", 4, beating{instance: "i1"})
	q.heartbeat("m1", 4, beating{})
	q.commit("s2", 8, committing{instance: "i1", offset: 9})
}

func staticLeaderReturns(q *sequence, version int16) {
	q.join("s1", version, joining{what: "of a new static member", instance: "i1"})
	q.sync("s1", 5, syncing{instance: "i1"})
	q.join("s2", version, joining{what: "of a static leader that is back", instance: "i1"})
	q.sync("s2", 5, syncing{instance: "i1"})
	q.heartbeat("s2", 4, beating{instance: "i1"})
}

func staticReturnsChanged(q *sequence) {
	q.stable(5, "m1")
	q.join("s1", 5, joining{what: "of a new static member", instance: "i1"})
	q.join("m1", 5, joining{what: "again"})
	q.sync("m1", 5, syncing{})
	q.sync("s1", 5, syncing{instance: "i1"})
	q.join("s2", 7, joining{what: "of a static member that is back with other topics", instance: "i1", topics: []string{"t2"}})
	q.heartbeat("m1", 4, beating{})
	q.join("m1", 5, joining{what: "again"})
	q.sync("s2", 5, syncing{instance: "i1"})
	q.sync("m1", 5, syncing{})
}

func staticLeave(q *sequence) {
	q.join("s1", 5, joining{what: "of a new static member", instance: "i1"})
	q.sync("s1", 5, syncing{instance: "i1"})
	q.leave("s1", 4, leaving{what: "of an instance with another's member id", instance: "i1", memberID: &stranger})
	if q.over != "" {
		return
	}
	q.leave("s1", 4, leaving{what: "by instance id", instance: "i1", memberID: &nobody})
	q.heartbeat("s1", 4, beating{what: "of one that left", instance: "i1"})
}

func memberCommits(q *sequence) {
	q.stable(5, "m1", "m2")
	for version := int16(2); version <= 10; version++ {
		q.commit("m1", version, committing{offset: int64(version), partitions: []int32{int32(version)}, metadata: kmsg.StringPtr("as it was")})
	}
	q.commit("m1", 8, committing{what: "of a later generation", generation: 1})
	q.commit("m1", 8, committing{what: "of an earlier generation", generation: -1})
	q.commit("m1", 8, committing{what: "of a stranger", memberID: &stranger})
	q.commit("m1", 8, committing{what: "of an unknown instance", instance: "unknown"})
	q.commit("m1", 8, committing{what: "of nobody to a group with members", simple: true})
	q.commit("m1", 8, committing{what: "of less than before", offset: 1, partitions: []int32{5}})
	q.fetch("m1", 8, fetching{all: true})
}

func simpleCommits(q *sequence) {
	for version := int16(2); version <= 10; version++ {
		q.commit("m1", version, committing{simple: true, offset: 100 + int64(version), partitions: []int32{int32(version)}})
	}
	q.commit("m1", 9, committing{simple: true, topic: "t2", offset: 1, metadata: kmsg.StringPtr(strings.Repeat("m", 4096))})
	q.list("of offsets alone", 5, nil, nil)
	q.enter("m1", 5, joining{what: "of a new member"})
	q.sync("m1", 5, syncing{})
	q.commit("m1", 8, committing{offset: 7})
	q.leave("m1", 4, leaving{})
	q.commit("m1", 8, committing{what: "of nobody to a group that had members", simple: true, offset: 8})
	q.commit("m1", 8, committing{what: "of one that left"})
}

func fetches(q *sequence) {
	q.fetch("m1", 1, fetching{what: "of no group"})
	q.fetch("m1", 5, fetching{what: "of no group"})
	q.fetch("m1", 8, fetching{what: "of no group"})
	q.fetch("m1", 8, fetching{what: "of no group, all", all: true})
	q.commit("m1", 8, committing{simple: true, offset: 42, partitions: []int32{0, 3}, metadata: kmsg.StringPtr("note")})
	for version := int16(1); version <= 10; version++ {
		q.fetch("m1", version, fetching{what: "of what is there", partitions: []int32{0, 3}})
		q.fetch("m1", version, fetching{what: "of what is not there", partitions: []int32{1}})
		if version >= 2 {
			q.fetch("m1", version, fetching{what: "of all", all: true})
		}
	}
	q.fetch("m1", 8, fetching{what: "of an unknown topic", topic: "unknown"})
	q.fetch("m1", 10, fetching{what: "of an unknown topic id", topicID: [16]byte{1}})
	q.fetch("m1", 8, fetching{what: "of a partition that does not exist", partitions: []int32{99, -1}})
	q.fetch("m1", 9, fetching{what: "with a member id, of no member", memberID: &stranger, epoch: 3})
}

func refusedCommits(q *sequence) {
	q.commit("m1", 8, committing{what: "of a member to no group", memberID: &stranger, generation: 4})
	q.commit("m1", 9, committing{what: "of a member to no group", memberID: &stranger, generation: 4})
	q.note("all commits were refused", true)
	q.commit("m1", 8, committing{what: "of an unknown topic", simple: true, topic: "unknown"})
	q.commit("m1", 10, committing{what: "of an unknown topic id", simple: true, topicID: [16]byte{1}})
	q.commit("m1", 8, committing{what: "of partitions that do not exist", simple: true, partitions: []int32{99, -1}})
	q.note("all commits were refused", false)
	q.commit("m1", 8, committing{what: "of some partitions that do not exist", simple: true, partitions: []int32{99, 1}})
	q.commit("m1", 8, committing{what: "with too much metadata", simple: true, metadata: kmsg.StringPtr(strings.Repeat("m", 4097))})
	q.commit("m1", 8, committing{what: "of a member to offsets alone", memberID: &stranger, generation: 4})
}

func offsetDeletion(q *sequence) {
	q.deleteOffsets("m1", "of no group", "t1", 0)
	q.commit("m1", 8, committing{simple: true, partitions: []int32{0, 1, 2}})
	q.commit("m1", 8, committing{simple: true, topic: "t2", partitions: []int32{0, 1, 2}})
	q.deleteOffsets("m1", "", "t1", 0)
	q.deleteOffsets("m1", "of an unknown topic", "unknown", 0)
	q.deleteOffsets("m1", "of what is not there", "t1", 9)
	q.enter("m1", 5, joining{what: "of a new member"})
	q.sync("m1", 5, syncing{})
	q.deleteOffsets("m1", "of a topic that members read", "t1", 1)
	q.deleteOffsets("m1", "of a topic that no member reads", "t2", 1)
	q.leave("m1", 5, leaving{})
	q.deleteOffsets("m1", "of an empty group", "t1", 1)
}

func groupDeletion(q *sequence) {
	q.deleteGroup("m1", "of no group", 2)
	q.stable(5, "m1")
	q.commit("m1", 8, committing{offset: 5})
	q.deleteGroup("m1", "with a member", 1)
	q.leave("m1", 5, leaving{})
	q.deleteGroup("m1", "", 0)
	q.deleteGroup("m1", "of one that is deleted", 3)
	q.fetch("m1", 8, fetching{what: "of no group"})
	q.forget("m1")
	q.commit("m1", 8, committing{simple: true, offset: 3})
	q.deleteGroup("m1", "of offsets alone", 2)
	q.enter("m1", 5, joining{what: "of a new member to a group that was deleted"})
	q.sync("m1", 5, syncing{})
}

func lists(q *sequence) {
	q.stable(5, "m1")
	for version := int16(0); version <= 5; version++ {
		q.list("of a group", version, nil, nil)
	}
	q.list("of that state", 4, []string{"Stable", "Empty"}, nil)
	q.list("of other states", 4, []string{"Empty", "Dead"}, nil)
	q.list("of that state in small letters", 4, []string{"stable"}, nil)
	q.list("of that type", 5, nil, []string{"classic"})
	q.list("of that type in capitals", 5, nil, []string{"CLASSIC"})
	q.list("of another type", 5, nil, []string{"consumer"})
	q.list("of no type", 5, []string{"Stable"}, []string{"nonsense"})
	for version := int16(0); version <= 6; version++ {
		q.ask(fmt.Sprintf("DescribeGroups v%d", version), func(*side) kmsg.Request {
			req := kmsg.NewPtrDescribeGroupsRequest()
			req.Version, req.Groups = version, []string{q.group, "no such group"}
			return req
		})
	}
}

func coordinators(q *sequence) {
	for version := int16(0); version <= 6; version++ {
		for kind := int8(0); kind <= 3; kind++ {
			if version == 0 && kind > 0 {
				continue // it cannot be said
			}
			what := []string{"of a group", "of transactions", "of a share group", "of nonsense"}[kind]
			q.ask(fmt.Sprintf("FindCoordinator v%d %s", version, what), func(*side) kmsg.Request {
				req := kmsg.NewPtrFindCoordinatorRequest()
				req.Version, req.CoordinatorType, req.CoordinatorKey = version, kind, "group:AAAAAAAAAAAAAAAAAAAAAQ:0"
				req.CoordinatorKeys = []string{req.CoordinatorKey, "another"}
				return req
			})
		}
	}
}
