package coordinator

import (
	"maps"
	"slices"
	"time"
)

// expireStep is how many offsets one step takes away, roughly, so that no batch
// becomes too large; what is left follows after expirePause.
const (
	expireStep  = 5000
	expirePause = time.Millisecond
)

// expireOffsets takes away the offsets that nobody has used for the retention's
// time, and empty groups without offsets (KIP-211). One round looks at all
// groups, in as many steps as it needs.
func (m *Machine) expireOffsets(now time.Time) {
	if len(m.expiring) == 0 {
		m.expiring = m.ids()
	}
	before := len(m.out.Records)
	for len(m.expiring) > 0 && len(m.out.Records)-before < expireStep {
		if g := m.groups[m.expiring[0]]; g != nil {
			m.expireGroup(now, g)
		}
		m.expiring = m.expiring[1:]
	}
	pause := expirePause
	if len(m.expiring) == 0 {
		m.expiring = nil
		pause = m.cfg.OffsetsCheckInterval
	}
	m.timers.set(timerKey{kind: offsetsTimer}, now.Add(pause), m.expireOffsets)
}

func (m *Machine) expireGroup(now time.Time, g *group) {
	if since, may := g.expiresSince(); may {
		for _, topic := range g.offsets.names() {
			if m.subscribes(g, topic) {
				continue
			}
			old := g.offsets.partitionsOf(topic, func(c *committed) bool {
				if c.expires != -1 {
					return now.UnixMilli() >= c.expires
				}
				return now.UnixMilli()-max(since, c.at) >= m.cfg.OffsetsRetention.Milliseconds()
			})
			for _, partition := range old {
				m.dropOffset(g, topic, partition)
			}
			m.expired += uint64(len(old))
		}
	}
	if g.offsets.count == 0 && g.isEmpty() && (g.classic == nil || len(g.classic.pending) == 0) {
		m.deleteGroup(g)
	}
}

// expiresSince says whether a group's offsets may expire, and since when it does
// not use any, in ms: a group that is empty, since then. While there are
// members, only the offsets of topics that they do not subscribe to expire.
func (g *group) expiresSince() (since int64, may bool) {
	c := g.classic
	switch {
	case c == nil || c.protocolType == "":
		return 0, true
	case c.state == classicEmpty:
		return max(dateMillis(c.stateSince), 0), true
	default:
		return 0, c.state == classicStable && c.subscribed != nil
	}
}

// deletedTopic is a topic of which offsets may be left.
type deletedTopic struct {
	name string
	id   [16]byte
}

// noteDeleted finds the topics that are not there any more and have offsets.
func (m *Machine) noteDeleted(now time.Time, before Topics) {
	for _, name := range slices.Sorted(maps.Keys(m.names)) {
		was, ok := before.Topic(name)
		if !ok {
			continue
		}
		if is, ok := m.topics.Topic(name); !ok || is.ID != was.ID {
			m.deleted = append(m.deleted, deletedTopic{name, was.ID})
		}
	}
	if len(m.deleted) > 0 {
		m.dropDeleted(now)
	}
}

// dropDeleted takes away offsets of deleted topics.
func (m *Machine) dropDeleted(now time.Time) {
	m.timers.stop(timerKey{kind: deletionTimer})
	ids := m.ids()
	before := len(m.out.Records)
	for len(m.deleted) > 0 {
		topic := m.deleted[0]
		for _, id := range ids {
			g := m.groups[id]
			if g == nil || g.offsets.topics[topic.name] == nil {
				continue
			}
			if len(m.out.Records)-before >= expireStep {
				m.timers.set(timerKey{kind: deletionTimer}, now.Add(expirePause), m.dropDeleted)
				return
			}
			for _, partition := range g.offsets.partitionsOf(topic.name, func(c *committed) bool { return c.is(topic.id) }) {
				m.dropOffset(g, topic.name, partition)
			}
			m.forget(g)
		}
		m.deleted = m.deleted[1:]
	}
	m.deleted = nil
}
