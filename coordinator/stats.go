package coordinator

import "time"

// Stats are a machine's figures.
type Stats struct {
	// Groups counts groups by kind ("classic", "consumer") and state
	// ("Empty", "Stable", …).
	Groups map[StatsKey]int
	// Members counts members by the group's kind.
	Members map[string]int
	// Offsets counts partitions with a committed offset, of all groups.
	Offsets int
	// Rebalances counts rebalances of classic groups that have completed since
	// the machine was made; ExpiredOffsets, offsets that have expired.
	Rebalances     uint64
	ExpiredOffsets uint64
	// TargetAssignments counts those calculated for consumer groups since the
	// machine was made: their rebalances.
	TargetAssignments uint64
}

// StatsKey is a kind and state of groups.
type StatsKey struct{ Kind, State string }

// Stats looks at all groups.
func (m *Machine) Stats() Stats {
	s := Stats{
		Groups:            map[StatsKey]int{},
		Members:           map[string]int{},
		Rebalances:        m.rebalances,
		ExpiredOffsets:    m.expired,
		TargetAssignments: m.consumers.rebalances,
	}
	for _, g := range m.groups {
		s.Groups[StatsKey{g.kind(), m.stateName(g)}]++
		s.Members[g.kind()] += g.size()
		s.Offsets += g.offsets.count
	}
	return s
}

// size is the count of members.
func (g *group) size() int {
	switch {
	case g.consumer != nil:
		return len(g.consumer.members)
	case g.classic != nil:
		return len(g.classic.members)
	default:
		return 0
	}
}

// GroupInfo is a group, for metrics.
type GroupInfo struct {
	ID, Kind, State string
	Members         int
}

// Groups yields all groups, in no order.
func (m *Machine) Groups(yield func(GroupInfo) bool) {
	for id, g := range m.groups {
		if !yield(GroupInfo{id, g.kind(), m.stateName(g), g.size()}) {
			return
		}
	}
}

// OffsetInfo is a committed offset, for metrics.
type OffsetInfo struct {
	Group     string
	Topic     string
	Partition int32
	Offset    int64
	Committed time.Time
}

// Offsets yields all committed offsets of topics that exist, in no order.
func (m *Machine) Offsets(yield func(OffsetInfo) bool) {
	for id, g := range m.groups {
		for name, t := range g.offsets.topics {
			topic, ok := m.topics.Topic(name)
			if !ok {
				continue
			}
			for i := range t.partitions {
				c := &t.partitions[i]
				if c.is(topic.ID) && !yield(OffsetInfo{id, name, c.partition, c.offset, time.UnixMilli(c.at)}) {
					return
				}
			}
		}
	}
}
