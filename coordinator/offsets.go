package coordinator

import (
	"cmp"
	"maps"
	"slices"

	"github.com/fanfold/fanfold/coordinator/stored"
)

// offsets are those that a group has committed.
type offsets struct {
	topics map[string]*topicOffsets
	count  int
}

// topicOffsets are a topic's, by partition, in order.
type topicOffsets struct{ partitions []committed }

// committed is the offset of one partition.
type committed struct {
	partition   int32
	leaderEpoch int32 // -1: not known
	offset      int64
	metadata    string
	at          int64    // ms
	expires     int64    // ms; -1: by the broker's retention
	topic       [16]byte // the topic's id; zero: not known
}

// none is what is answered where nothing is committed.
var none = committed{leaderEpoch: -1, offset: -1, expires: -1}

// is says whether the offset is of the topic of that id, as far as ids are
// known: a topic that was created again is another one.
func (c *committed) is(topic [16]byte) bool {
	return topic == c.topic || topic == [16]byte{} || c.topic == [16]byte{}
}

func (t *topicOffsets) index(partition int32) (int, bool) {
	// Most topics have all partitions from 0.
	if i := int(partition); i >= 0 && i < len(t.partitions) && t.partitions[i].partition == partition {
		return i, true
	}
	return slices.BinarySearchFunc(t.partitions, partition, func(c committed, partition int32) int {
		return cmp.Compare(c.partition, partition)
	})
}

// get finds the offset of a partition.
func (o *offsets) get(topic string, partition int32) (committed, bool) {
	if t := o.topics[topic]; t != nil {
		if i, ok := t.index(partition); ok {
			return t.partitions[i], true
		}
	}
	return none, false
}

// names are the topics that groups have offsets of: each is kept once, whatever
// the number of groups.
type names map[string]*topicName

type topicName struct {
	name   string
	groups int
}

func (n *names) take(name string) string {
	if *n == nil {
		*n = names{}
	}
	t := (*n)[name]
	if t == nil {
		t = &topicName{name: name}
		(*n)[name] = t
	}
	t.groups++
	return t.name
}

func (n names) give(name string) {
	t := n[name]
	if t.groups--; t.groups == 0 {
		delete(n, name)
	}
}

// setOffset keeps what a group has committed.
func (m *Machine) setOffset(g *group, topic string, c committed) {
	t := g.offsets.topics[topic]
	if t == nil {
		if g.offsets.topics == nil {
			g.offsets.topics = map[string]*topicOffsets{}
		}
		t = &topicOffsets{}
		g.offsets.topics[m.names.take(topic)] = t
	}
	i, ok := t.index(c.partition)
	if ok {
		t.partitions[i] = c
		return
	}
	t.partitions = slices.Insert(t.partitions, i, c)
	g.offsets.count++
}

// removeOffset forgets an offset, if there is one.
func (m *Machine) removeOffset(g *group, topic string, partition int32) bool {
	t := g.offsets.topics[topic]
	if t == nil {
		return false
	}
	i, ok := t.index(partition)
	if !ok {
		return false
	}
	t.partitions = slices.Delete(t.partitions, i, i+1)
	g.offsets.count--
	if len(t.partitions) == 0 {
		delete(g.offsets.topics, topic)
		m.names.give(topic)
	}
	return true
}

// dropOffset removes an offset and records it.
func (m *Machine) dropOffset(g *group, topic string, partition int32) bool {
	if !m.removeOffset(g, topic, partition) {
		return false
	}
	m.record(stored.OffsetCommitKey{Group: g.id, Topic: topic, Partition: partition}.Append(nil), nil)
	return true
}

// names are the group's topics with offsets, in order.
func (o *offsets) names() []string { return slices.Sorted(maps.Keys(o.topics)) }

// partitionsOf are the partitions of a topic with offsets of which something
// holds.
func (o *offsets) partitionsOf(topic string, holds func(*committed) bool) []int32 {
	t := o.topics[topic]
	if t == nil {
		return nil
	}
	var list []int32
	for i := range t.partitions {
		if holds(&t.partitions[i]) {
			list = append(list, t.partitions[i].partition)
		}
	}
	return list
}

// recordOffset records what a group has committed. Key and value are one
// allocation: this is the coordinator's most frequent record by far.
func (m *Machine) recordOffset(g *group, topic string, c committed) {
	key := stored.OffsetCommitKey{Group: g.id, Topic: topic, Partition: c.partition}
	value := stored.OffsetCommitValue{
		Offset:       c.offset,
		LeaderEpoch:  c.leaderEpoch,
		Metadata:     c.metadata,
		CommitMillis: c.at,
		ExpireMillis: c.expires,
		TopicID:      c.topic,
	}
	const fixedBytes = 64
	buf := make([]byte, 0, fixedBytes+len(g.id)+len(topic)+len(c.metadata))
	k := key.Append(buf)
	v := value.Append(k[len(k):])
	m.record(k[:len(k):len(k)], v)
}
