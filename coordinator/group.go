package coordinator

import "time"

// group is what is known under one group id. At most one of classic and
// consumer is set; a group with neither has offsets only, as simple consumers
// make it. A group that has nothing is forgotten.
type group struct {
	id       string
	offsets  offsets
	classic  *classicGroup
	consumer *consumerGroup
}

// Kinds of group, as ListGroups names them.
const (
	kindClassic  = "classic"
	kindConsumer = "consumer"
)

// maxIDBytes bounds the ids of groups and of static members. Kafka knows no
// limit but that of its strings.
const maxIDBytes = 4096

// validGroupID says whether a group with members may have this id.
func validGroupID(id string) bool { return id != "" && len(id) <= maxIDBytes }

// open gives the group of that id, and makes it if need be: nil where there
// would be too many.
func (m *Machine) open(id string) *group {
	g := m.groups[id]
	if g == nil && len(m.groups) < m.cfg.MaxGroups {
		g = &group{id: id}
		m.groups[id] = g
	}
	return g
}

// replayGroup gives the group of that id, and makes it if need be: what is in
// the log is not limited.
func (m *Machine) replayGroup(id string) *group {
	g := m.groups[id]
	if g == nil {
		g = &group{id: id}
		m.groups[id] = g
	}
	return g
}

// forget drops a group that has nothing left.
func (m *Machine) forget(g *group) {
	if c := g.classic; c != nil && !c.saved && c.state == classicEmpty && len(c.pending) == 0 {
		g.classic = nil
	}
	if g.classic == nil && g.consumer == nil && g.offsets.count == 0 {
		delete(m.groups, g.id)
	}
}

// kind is the group's kind.
func (g *group) kind() string {
	if g.consumer != nil {
		return kindConsumer
	}
	return kindClassic
}

// stateName is the group's state, as clients know it.
func (m *Machine) stateName(g *group) string {
	switch {
	case g.consumer != nil:
		return m.consumerStateName(g)
	case g.classic != nil:
		return g.classic.state.String()
	default:
		return classicEmpty.String()
	}
}

// isEmpty says that a group has no members, and waits for none to join again.
func (g *group) isEmpty() bool {
	switch {
	case g.consumer != nil:
		return len(g.consumer.members) == 0
	case g.classic != nil:
		return g.classic.state == classicEmpty
	default:
		return true
	}
}

// protocolType is the group's: "" where only offsets were committed ever.
func (g *group) protocolType() string {
	switch {
	case g.consumer != nil:
		return consumerProtocolType
	case g.classic != nil:
		return g.classic.protocolType
	default:
		return ""
	}
}

// millis are milliseconds as a duration.
func millis(n int32) time.Duration { return time.Duration(n) * time.Millisecond }

// asMillis is a duration in milliseconds.
func asMillis(d time.Duration) int32 { return int32(d / time.Millisecond) }

// dateMillis is a time in milliseconds since 1970, -1 where it is not known.
func dateMillis(at time.Time) int64 {
	if at.IsZero() {
		return -1
	}
	return at.UnixMilli()
}

// fromMillis is the opposite of dateMillis.
func fromMillis(n int64) time.Time {
	if n == -1 {
		return time.Time{}
	}
	return time.UnixMilli(n)
}
