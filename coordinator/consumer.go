package coordinator

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fanfold/fanfold/coordinator/stored"
)

// consumerGroup is a group of the consumer protocol (KIP-848): the coordinator
// decides who reads what.
//
//	Empty ──a member joins──▶ Assigning ──target──▶ Reconciling ──all have it──▶ Stable
//	                              ▲                                                 │
//	                              └───── members, subscriptions, topics change ─────┘
//
// Each such change makes the group's epoch greater. A target assignment is
// calculated for an epoch, and each member is brought to it step by step, on its
// heartbeats: it is told what to give up; once it says that it has, its epoch
// becomes the target's, and it gets what others have given up.
//
// What is in records is kept on every replica. The rest is made of it as the
// machine is activated.
type consumerGroup struct {
	epoch           int32 // of the group
	hash            int64 // of the topics subscribed to, as of that epoch
	assignmentEpoch int32 // the epoch of the target assignment
	assignedMillis  int64 // when the target was calculated; 0: never, or not known
	members         map[string]*consumerMember
	regexes         map[string]*groupRegex

	static     map[string]*consumerMember // by instance id
	subscribed map[string]int             // members and regular expressions that name a topic
	assignors  map[string]int             // members that ask for an assignor
	protocols  map[string]int             // classic members that support a protocol
	classic    int                        // members that use the classic protocol
	bytes      int                        // of all that members say of themselves
	owners     map[[16]byte][]*consumerMember
	names      map[string]*topicNames // the members' subscriptions, each once
}

// consumerMember is a member of a consumer group.
type consumerMember struct {
	id               string
	instanceID       string // "" where it is not static
	rack             string // "" where it did not say
	client           Client
	rebalanceTimeout int32 // in milliseconds; -1 where it did not say
	names            *topicNames
	regex            string // "" for none
	assignor         string // "" where it leaves it to the broker
	classic          *classicUse

	epoch    int32 // -2 for a static member that left for a while
	previous int32
	state    memberState
	assigned partitionSet // it has them, or is told to have them
	revoking partitionSet // it is told to give them up
	target   partitionSet

	known bool // there is a record of what it says of itself
}

// topicNames are names of topics in order: members that subscribe to the same
// share them.
type topicNames struct {
	list    []string
	members int
}

// classicUse is what there is to know of a member that uses the classic
// protocol in a consumer group.
type classicUse struct {
	session   int32 // in milliseconds
	protocols []stored.ClassicProtocol
}

// memberState is how far a member is on its way to the target, as in records.
type memberState int8

const (
	memberStable     memberState = 1
	memberUnrevoked  memberState = 2 // it is to give up partitions first
	memberUnreleased memberState = 3 // others are to give up some that it shall have
)

// Epochs that members send.
const (
	joinEpoch        = 0
	leaveEpoch       = -1
	staticLeaveEpoch = -2
)

func newConsumerGroup() *consumerGroup {
	c := &consumerGroup{members: map[string]*consumerMember{}}
	c.reset()
	return c
}

// reset drops what is made of the rest.
func (c *consumerGroup) reset() {
	c.static = map[string]*consumerMember{}
	c.subscribed = map[string]int{}
	c.assignors = map[string]int{}
	c.protocols = map[string]int{}
	c.owners = map[[16]byte][]*consumerMember{}
	c.classic, c.bytes = 0, 0
	for _, r := range c.regexes {
		r.members = 0
	}
	c.names = nil
	for _, member := range c.members {
		member.names = c.shared(member.names.list)
		member.names.members = 0
	}
}

// memberIDs are those of all members, in order.
func (c *consumerGroup) memberIDs() []string { return slices.Sorted(maps.Keys(c.members)) }

// shared gives names that equal ones share. They must be sorted, each once.
func (c *consumerGroup) shared(names []string) *topicNames {
	if c.names == nil {
		c.names = map[string]*topicNames{}
	}
	key := strings.Join(names, "\x00")
	n := c.names[key]
	if n == nil {
		n = &topicNames{list: names}
		c.names[key] = n
	}
	return n
}

// unshare forgets names that no member has.
func (c *consumerGroup) unshare(n *topicNames) {
	if n.members == 0 {
		delete(c.names, strings.Join(n.list, "\x00"))
	}
}

// enter adds what a member says of itself to what the group knows. The caller
// has put it into members.
func (m *Machine) enter(g *group, member *consumerMember) {
	c := g.consumer
	if member.instanceID != "" {
		c.static[member.instanceID] = member
	}
	if member.assignor != "" {
		c.assignors[member.assignor]++
	}
	if member.names.members++; member.names.members == 1 {
		for _, name := range member.names.list {
			m.subscribe(g, name)
		}
	}
	if member.regex != "" {
		m.enterRegex(g, member.regex)
	}
	if member.classic != nil {
		c.classic++
		for name := range member.classic.names {
			c.protocols[name]++
		}
	}
	c.bytes += member.bytes()
}

// exit takes back what enter added: before a member changes, or is removed.
func (m *Machine) exit(g *group, member *consumerMember) {
	c := g.consumer
	if c.static[member.instanceID] == member {
		delete(c.static, member.instanceID)
	}
	if member.assignor != "" {
		count(c.assignors, member.assignor, -1)
	}
	if member.names.members--; member.names.members == 0 {
		for _, name := range member.names.list {
			m.unsubscribe(g, name)
		}
	}
	if member.regex != "" {
		c.regexes[member.regex].members--
	}
	if member.classic != nil {
		c.classic--
		for name := range member.classic.names {
			count(c.protocols, name, -1)
		}
	}
	c.bytes -= member.bytes()
}

// count changes a count, which is not kept at 0.
func count(counts map[string]int, name string, by int) {
	if counts[name] += by; counts[name] == 0 {
		delete(counts, name)
	}
}

// bytes is what a member says of itself, as for limits.
func (member *consumerMember) bytes() int {
	n := len(member.id) + len(member.instanceID) + len(member.rack) + len(member.client.ID) +
		len(member.client.Host) + len(member.regex) + len(member.assignor)
	for _, name := range member.names.list {
		n += len(name)
	}
	if member.classic != nil {
		for _, p := range member.classic.protocols {
			n += len(p.Name) + len(p.Metadata)
		}
	}
	return n
}

// names yields the names of the protocols, each once.
func (u *classicUse) names(yield func(string) bool) {
	for i, p := range u.protocols {
		again := slices.ContainsFunc(u.protocols[:i], func(o stored.ClassicProtocol) bool { return o.Name == p.Name })
		if !again && !yield(p.Name) {
			return
		}
	}
}

// reconciled says that a member has what the target of an epoch gives it.
func (member *consumerMember) reconciled(epoch int32) bool {
	return member.state == memberStable && member.epoch == epoch
}

// owner is who has a partition or is still to give it up.
func (c *consumerGroup) owner(id [16]byte, partition int32) *consumerMember {
	if list := c.owners[id]; int(partition) < len(list) {
		return list[partition]
	}
	return nil
}

// setOwned changes what a member has, and what it is to give up.
func (c *consumerGroup) setOwned(member *consumerMember, assigned, revoking partitionSet) {
	c.disown(member)
	member.assigned, member.revoking = assigned, revoking
	c.own(member)
}

func (c *consumerGroup) own(member *consumerMember) {
	for _, set := range []partitionSet{member.assigned, member.revoking} {
		for _, t := range set {
			list := c.owners[t.id]
			if need := int(t.partitions[len(t.partitions)-1]) + 1; need > len(list) {
				list = append(list, make([]*consumerMember, need-len(list))...)
				c.owners[t.id] = list
			}
			for _, p := range t.partitions {
				list[p] = member
			}
		}
	}
}

func (c *consumerGroup) disown(member *consumerMember) {
	for _, set := range []partitionSet{member.assigned, member.revoking} {
		for _, t := range set {
			list := c.owners[t.id]
			for _, p := range t.partitions {
				if int(p) < len(list) && list[p] == member {
					list[p] = nil
				}
			}
			if !slices.ContainsFunc(list, func(m *consumerMember) bool { return m != nil }) {
				delete(c.owners, t.id)
			}
		}
	}
}

// assignor is the one that most members ask for; where as many ask for others,
// the first of those that the broker prefers.
func (c *consumerGroup) assignor(preferred []string) string {
	best := preferred[0]
	for _, name := range preferred {
		if c.assignors[name] > c.assignors[best] {
			best = name
		}
	}
	return best
}

// consumerStateName is the group's state, as clients know it.
func (m *Machine) consumerStateName(g *group) string {
	c := g.consumer
	switch {
	case len(c.members) == 0:
		return "Empty"
	case c.epoch > c.assignmentEpoch:
		return "Assigning"
	}
	for _, member := range c.members {
		if !member.reconciled(c.assignmentEpoch) {
			return "Reconciling"
		}
	}
	return "Stable"
}

// session is how long a member may be silent.
func (m *Machine) session(g *group, member *consumerMember) time.Duration {
	if member.classic != nil {
		return millis(member.classic.session)
	}
	if own := m.cfg.Group(g.id).ConsumerSessionTimeout; own > 0 {
		return own
	}
	return m.cfg.ConsumerSessionTimeout
}

// heartbeatInterval is what members are told.
func (m *Machine) heartbeatInterval(g *group) time.Duration {
	if own := m.cfg.Group(g.id).ConsumerHeartbeatInterval; own > 0 {
		return own
	}
	return m.cfg.ConsumerHeartbeatInterval
}

// keepAlive starts a member's session anew.
func (m *Machine) keepAlive(now time.Time, g *group, member *consumerMember) {
	key := timerKey{sessionTimer, g.id, member.id}
	at := now.Add(m.session(g, member))
	if m.timers.move(key, at) {
		return
	}
	m.timers.set(key, at, func(now time.Time) {
		m.fence(now, g, member, "its session timed out")
	})
}

// stopTimers stops all timers of a member.
func (m *Machine) stopTimers(g *group, id string) {
	for _, kind := range []timerKind{sessionTimer, rebalanceTimer, rejoinTimer, syncTimer} {
		m.timers.stop(timerKey{kind, g.id, id})
	}
}
