package coordinator

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/fanfold/fanfold/coordinator/stored"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// partitionSet are partitions of topics, with the topics' ids ascending. It is
// not changed once it is made: sets share what they have in common.
type partitionSet []topicPartitions

// topicPartitions are partitions of one topic.
type topicPartitions struct {
	id         [16]byte
	partitions []int32 // ascending
	// epochs are those of the member as it got each of the partitions (KIP-1251).
	// nil in a target.
	epochs []int32
}

func compareIDs(a, b [16]byte) int { return bytes.Compare(a[:], b[:]) }

// of gives the partitions of a topic.
func (s partitionSet) of(id [16]byte) topicPartitions {
	i, ok := slices.BinarySearchFunc(s, id, func(t topicPartitions, id [16]byte) int { return compareIDs(t.id, id) })
	if !ok {
		return topicPartitions{id: id}
	}
	return s[i]
}

func (t topicPartitions) has(partition int32) bool {
	_, ok := slices.BinarySearch(t.partitions, partition)
	return ok
}

// epoch is that of the member as it got the partition.
func (t topicPartitions) epoch(partition int32) (int32, bool) {
	i, ok := slices.BinarySearch(t.partitions, partition)
	if !ok {
		return 0, false
	}
	return t.epochs[i], true
}

// add appends a partition; partitions must come in order.
func (t *topicPartitions) add(partition, epoch int32) {
	t.partitions = append(t.partitions, partition)
	t.epochs = append(t.epochs, epoch)
}

// with appends a topic's partitions, if there are any; topics must come in order.
func (s partitionSet) with(t topicPartitions) partitionSet {
	if len(t.partitions) == 0 {
		return s
	}
	return append(s, t)
}

// each yields the partitions.
func (s partitionSet) each(yield func(id [16]byte, partition int32) bool) {
	for _, t := range s {
		for _, p := range t.partitions {
			if !yield(t.id, p) {
				return
			}
		}
	}
}

// samePartitions compares sets, but for epochs.
func (s partitionSet) samePartitions(other partitionSet) bool {
	return slices.EqualFunc(s, other, func(a, b topicPartitions) bool {
		return a.id == b.id && slices.Equal(a.partitions, b.partitions)
	})
}

// same compares sets with their epochs.
func (s partitionSet) same(other partitionSet) bool {
	return slices.EqualFunc(s, other, func(a, b topicPartitions) bool {
		return a.id == b.id && slices.Equal(a.partitions, b.partitions) && slices.Equal(a.epochs, b.epochs)
	})
}

// since gives a set all of whose partitions came at one epoch.
func (s partitionSet) since(epoch int32) partitionSet {
	out := slices.Clone(s)
	for i := range out {
		out[i].epochs = slices.Repeat([]int32{epoch}, len(out[i].partitions))
	}
	return out
}

// toStored gives what a record holds.
func (s partitionSet) toStored() []stored.TopicPartitions {
	out := make([]stored.TopicPartitions, len(s))
	for i, t := range s {
		out[i] = stored.TopicPartitions{TopicID: t.id, Partitions: t.partitions, AssignmentEpochs: t.epochs}
	}
	return out
}

// maxPartitions bounds the partitions of a topic in records: what is made of
// them takes memory for each.
const maxPartitions = 1 << 20

// fromStored reads what a record holds. Partitions whose epochs it does not
// tell, as before Kafka 4.3, count as got at the member's epoch.
func fromStored(topics []stored.TopicPartitions, memberEpoch int32) partitionSet {
	byID := map[[16]byte]*topicPartitions{}
	for _, t := range topics {
		in := byID[t.TopicID]
		if in == nil {
			in = &topicPartitions{id: t.TopicID}
			byID[t.TopicID] = in
		}
		for i, p := range t.Partitions {
			epoch := memberEpoch
			if t.AssignmentEpochs != nil {
				epoch = t.AssignmentEpochs[i]
			}
			if p >= 0 && p < maxPartitions {
				in.add(p, epoch)
			}
		}
	}
	var out partitionSet
	for _, t := range byID {
		t.sort()
		out = out.with(*t)
	}
	slices.SortFunc(out, func(a, b topicPartitions) int { return compareIDs(a.id, b.id) })
	return out
}

// sort puts partitions in order, with their epochs, and drops what is there
// twice: others than this package may write them in any order.
func (t *topicPartitions) sort() {
	ascend := func(i int) bool { return t.partitions[i-1] < t.partitions[i] }
	sorted := true
	for i := 1; i < len(t.partitions) && sorted; i++ {
		sorted = ascend(i)
	}
	if sorted {
		return
	}
	order := make([]int, len(t.partitions))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(t.partitions[a], t.partitions[b]) })
	out := topicPartitions{id: t.id}
	for _, i := range order {
		if n := len(out.partitions); n == 0 || out.partitions[n-1] != t.partitions[i] {
			out.add(t.partitions[i], t.epochs[i])
		}
	}
	*t = out
}

// toAssignment gives what a heartbeat's response holds.
func (s partitionSet) toAssignment() *kmsg.ConsumerGroupHeartbeatResponseAssignment {
	out := &kmsg.ConsumerGroupHeartbeatResponseAssignment{
		Topics: make([]kmsg.ConsumerGroupHeartbeatResponseAssignmentTopic, len(s)),
	}
	for i, t := range s {
		out.Topics[i] = kmsg.ConsumerGroupHeartbeatResponseAssignmentTopic{TopicID: t.id, Partitions: t.partitions}
	}
	return out
}

// ownedPartitions are those that a member says it has; nil where it does not say.
type ownedPartitions []kmsg.ConsumerGroupHeartbeatRequestTopic

// anyOf says that the member may have one of the set: so too where it does not
// say what it has.
func (o ownedPartitions) anyOf(set partitionSet) bool {
	if o == nil {
		return true
	}
	for _, t := range o {
		if in := set.of(t.TopicID); slices.ContainsFunc(t.Partitions, in.has) {
			return true
		}
	}
	return false
}

// within says that the member says what it has, and that all is in the set.
func (o ownedPartitions) within(set partitionSet) bool {
	if o == nil {
		return false
	}
	for _, t := range o {
		in := set.of(t.TopicID)
		for _, p := range t.Partitions {
			if !in.has(p) {
				return false
			}
		}
	}
	return true
}
