package coordinator

import "github.com/twmb/franz-go/pkg/kerr"

// consumerCheckCommit says whether a member may commit offsets: 0, or the error
// code.
//
// A member's epoch may lag behind, as the answer that told it of the new one is
// still on its way. What it commits with an older epoch is taken if it had all of
// the partitions since then, so that nobody else can have had them in between
// (KIP-1251).
func (m *Machine) consumerCheckCommit(g *group, memberID string, instanceID *string, epoch int32, isTxn bool, version int16, topics []commitTopic) int16 {
	c := g.consumer
	if epoch < 0 && len(c.members) == 0 {
		return 0 // a simple consumer, or an administrator
	}
	if isTxn && epoch == -1 && memberID == "" && instanceID == nil {
		return 0 // a producer that does not tell of its consumer
	}
	member := c.members[memberID]
	switch {
	case member == nil:
		return kerr.UnknownMemberID.Code
	case member.classic == nil && !isTxn && version < commitNoGroup:
		return kerr.UnsupportedVersion.Code
	case epoch == member.epoch:
		return 0
	case epoch > member.epoch || epoch <= 0 || !member.hadSince(epoch, topics):
		return member.stale()
	}
	return 0
}

// stale is the error for a wrong epoch of the member, or generation.
func (member *consumerMember) stale() int16 {
	if member.classic != nil {
		return kerr.IllegalGeneration.Code
	}
	return kerr.StaleMemberEpoch.Code
}

// hadSince says that a member has had all of these partitions at that epoch, and
// has them still.
func (member *consumerMember) hadSince(epoch int32, topics []commitTopic) bool {
	for i := range topics {
		t := &topics[i]
		if !t.known {
			continue // the commit says so by itself
		}
		assigned, revoking := member.assigned.of(t.topic.ID), member.revoking.of(t.topic.ID)
		for j := range t.partitions {
			since, ok := assigned.epoch(t.partitions[j].Partition)
			if !ok {
				since, ok = revoking.epoch(t.partitions[j].Partition)
			}
			if !ok || since > epoch {
				return false
			}
		}
	}
	return true
}

// consumerCheckFetch says whether a member may fetch offsets with that epoch: 0,
// or the error code.
func (m *Machine) consumerCheckFetch(g *group, memberID string, epoch int32) int16 {
	member := g.consumer.members[memberID]
	switch {
	case member == nil:
		return kerr.UnknownMemberID.Code
	case epoch != member.epoch:
		return member.stale()
	}
	return 0
}
