package coordinator

import (
	"cmp"
	"encoding/binary"
	"hash/fnv"
	"maps"
	"slices"
	"time"

	"github.com/fanfold/fanfold/coordinator/stored"
)

// consumers is what a machine knows of all its consumer groups together.
type consumers struct {
	// topics are those that some group subscribes to, by name. So a change of
	// topics costs the more the more of them changed, not the more groups there are.
	topics map[string]*subscribedTopic
	// generation counts the changes of topics.
	generation int64
	// regexGroups have members with regular expressions.
	regexGroups map[*group]struct{}
	// compiled are regular expressions of late, by their text.
	compiled map[string]*topicRegex
	// rebalances counts target assignments.
	rebalances uint64
}

// subscribedTopic is a topic that groups subscribe to; it need not exist.
type subscribedTopic struct {
	hash   uint64 // of its id, partitions and racks; 0: there is no such topic
	groups map[*group]struct{}
}

// reset forgets everything but the counts.
func (c *consumers) reset() {
	c.topics = map[string]*subscribedTopic{}
	c.regexGroups = map[*group]struct{}{}
	c.compiled = map[string]*topicRegex{}
}

// subscribe notes that one more member or regular expression of the group names
// a topic.
func (m *Machine) subscribe(g *group, name string) {
	c := g.consumer
	if c.subscribed[name]++; c.subscribed[name] > 1 {
		return
	}
	if m.consumers.topics == nil {
		m.consumers.reset()
	}
	t := m.consumers.topics[name]
	if t == nil {
		t = &subscribedTopic{hash: m.topicHash(name), groups: map[*group]struct{}{}}
		m.consumers.topics[name] = t
	}
	t.groups[g] = struct{}{}
}

// unsubscribe is the opposite of subscribe.
func (m *Machine) unsubscribe(g *group, name string) {
	c := g.consumer
	if count(c.subscribed, name, -1); c.subscribed[name] > 0 {
		return
	}
	t := m.consumers.topics[name]
	if delete(t.groups, g); len(t.groups) == 0 {
		delete(m.consumers.topics, name)
	}
}

// consumerSubscribed says that a member of the group subscribes to a topic.
func (m *Machine) consumerSubscribed(g *group, topic string) bool {
	return g.consumer.subscribed[topic] > 0
}

// topicHash changes when anything of a topic does that assignments depend on.
func (m *Machine) topicHash(name string) uint64 {
	t, ok := m.topics.Topic(name)
	if !ok {
		return 0
	}
	h := fnv.New64a()
	var buf []byte
	buf = append(buf, t.ID[:]...)
	buf = append(buf, name...)
	buf = append(buf, 0)
	buf = binary.BigEndian.AppendUint32(buf, uint32(t.Partitions()))
	h.Write(buf)
	for p, racks := range t.Racks {
		if len(racks) == 0 {
			continue
		}
		buf = binary.BigEndian.AppendUint32(buf[:0], uint32(p))
		for _, rack := range slices.Sorted(slices.Values(racks)) {
			buf = append(buf, rack...)
			buf = append(buf, 0)
		}
		h.Write(buf)
	}
	return max(h.Sum64(), 1)
}

// topicsHash is that of all topics that a group subscribes to and that exist; 0
// for none.
func (m *Machine) topicsHash(g *group) int64 {
	sum := uint64(0)
	for name := range g.consumer.subscribed {
		sum += m.consumers.topics[name].hash // their order does not matter
	}
	return int64(sum)
}

// consumerTopicsChanged looks which groups are concerned by the newest topics.
func (m *Machine) consumerTopicsChanged(now time.Time) {
	m.consumers.generation++
	concerned := map[*group]struct{}{}
	for name, t := range m.consumers.topics {
		if hash := m.topicHash(name); hash != t.hash {
			t.hash = hash
			maps.Copy(concerned, t.groups)
		}
	}
	for _, g := range inOrder(concerned) {
		m.refreshHash(now, g, "its topics changed")
	}
	for _, g := range inOrder(m.consumers.regexGroups) {
		m.resolveSoon(now, g)
	}
}

func inOrder(groups map[*group]struct{}) []*group {
	return slices.SortedFunc(maps.Keys(groups), func(a, b *group) int { return cmp.Compare(a.id, b.id) })
}

// refreshHash begins a new epoch if the topics that a group subscribes to have
// changed.
func (m *Machine) refreshHash(now time.Time, g *group, why string) {
	c := g.consumer
	if len(c.members) > 0 && m.topicsHash(g) != c.hash {
		m.newEpoch(now, g, why)
	}
}

// newEpoch begins a new epoch of the group: its target has to be calculated anew.
func (m *Machine) newEpoch(now time.Time, g *group, why string) {
	c := g.consumer
	c.epoch++
	c.hash = m.topicsHash(g)
	m.record(
		stored.ConsumerGroupMetadataKey{Group: g.id}.Append(nil),
		stored.ConsumerGroupMetadataValue{Epoch: c.epoch, MetadataHash: c.hash}.Append(nil),
	)
	m.note(g, "epoch %d: %s", c.epoch, why)
	m.assignSoon(now, g)
}
