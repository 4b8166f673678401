package coordinator

import (
	"bytes"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// classicGroup is a group of the classic protocol: its members agree among
// themselves, through their leader, on who reads what. The coordinator keeps
// who is a member, and what the leader says.
//
//	Empty ──join──▶ PreparingRebalance ──all joined, or time──▶ CompletingRebalance
//	  ▲                 │        ▲                                      │
//	  └──all are gone───┘        └──join, leave, failure──── Stable ◀───┘ leader's sync
type classicGroup struct {
	state        classicState
	stateSince   time.Time // zero: not known, as in records of old
	protocolType string    // "" where only offsets were committed ever
	protocol     *string   // nil until members agreed on one
	leader       string    // "" in an empty group
	generation   int32
	members      map[string]*classicMember
	static       map[string]string   // member id by instance id
	pending      map[string]struct{} // member ids that were given out and not used yet
	votes        map[string]int      // how many members support a protocol
	joining      int                 // members whose JoinGroup waits
	joiningFixed int                 // of these, static ones
	syncing      int                 // members that have not sent SyncGroup in this generation
	metadata     int                 // bytes of what all members say of themselves
	assigned     int                 // bytes of all members' assignments

	// subscribed are the topics of all members, where the protocol type is
	// "consumer" and their metadata can be parsed; else nil.
	subscribed map[string]struct{}

	// initial says that an empty group waits for its first members; grown,
	// that one came since it was last looked at.
	initial, grown bool

	saved bool // there is a record of it
}

// classicState is a classic group's state.
type classicState uint8

const (
	classicEmpty classicState = iota
	classicPreparing
	classicCompleting
	classicStable
)

// String is the name that clients know.
func (s classicState) String() string {
	switch s {
	case classicEmpty:
		return "Empty"
	case classicPreparing:
		return "PreparingRebalance"
	case classicCompleting:
		return "CompletingRebalance"
	default:
		return "Stable"
	}
}

// classicMember is a member of a classic group.
type classicMember struct {
	id               string
	instanceID       *string // of a static member
	client           Client
	sessionTimeout   time.Duration
	rebalanceTimeout time.Duration
	protocols        []kmsg.JoinGroupRequestProtocol // in the order of preference
	assignment       []byte                          // opaque

	join   *waiting // JoinGroup that waits, or nil
	sync   *waiting // SyncGroup that waits, or nil
	isNew  bool     // its first JoinGroup was not answered yet: it cannot send heartbeats
	synced bool     // has sent SyncGroup in this generation, or need not
}

// waiting is a request that is answered by a later step.
type waiting struct {
	token   any
	version int16
}

// consumerProtocolType is the protocol type of consumers: the only one whose
// metadata the coordinator looks into, for the subscribed topics.
const consumerProtocolType = "consumer"

func newClassicGroup() *classicGroup {
	return &classicGroup{members: map[string]*classicMember{}}
}

// setState changes the state.
func (g *classicGroup) setState(now time.Time, s classicState) {
	g.state, g.stateSince = s, now
}

// add makes a member one of the group. It must not be one, and its instance id
// must not be another's.
func (g *classicGroup) add(member *classicMember) {
	if len(g.members) == 0 {
		g.leader = member.id
	}
	g.members[member.id] = member
	if member.instanceID != nil {
		if g.static == nil {
			g.static = map[string]string{}
		}
		g.static[*member.instanceID] = member.id
	}
	g.count(member, 1)
	g.assigned += len(member.assignment)
	if w := member.join; w != nil {
		member.join = nil
		g.setJoin(member, w)
	}
	member.synced = true
}

// remove takes a member out. Its requests must have been answered. Where it was
// the leader, ensureLeader is to choose another.
func (g *classicGroup) remove(member *classicMember) {
	g.setSynced(member, true)
	delete(g.members, member.id)
	if id := member.instanceID; id != nil && g.static[*id] == member.id {
		delete(g.static, *id)
	}
	g.count(member, -1)
	g.assigned -= len(member.assignment)
	if g.leader == member.id {
		g.leader = ""
	}
}

// ensureLeader makes a member the leader where there is none.
func (g *classicGroup) ensureLeader() {
	if g.leader == "" {
		g.leader = g.first(func(*classicMember) bool { return true })
	}
}

// first is the id of the first member by id of which something holds, "" where
// there is none: a choice that is the same in every run.
func (g *classicGroup) first(holds func(*classicMember) bool) string {
	first := ""
	for id, member := range g.members {
		if (first == "" || id < first) && holds(member) {
			first = id
		}
	}
	return first
}

// count adds what a member says of itself, or takes it away.
func (g *classicGroup) count(member *classicMember, by int) {
	if g.votes == nil {
		g.votes = map[string]int{}
	}
	g.metadata += by * member.bytes()
	for _, p := range member.protocols {
		if g.votes[p.Name] += by; g.votes[p.Name] == 0 {
			delete(g.votes, p.Name)
		}
	}
}

// setAssignment changes what a member is assigned.
func (g *classicGroup) setAssignment(member *classicMember, assignment []byte) {
	g.assigned += len(assignment) - len(member.assignment)
	member.assignment = assignment
}

// setJoin notes the JoinGroup that a member waits for, or that it was answered.
func (g *classicGroup) setJoin(member *classicMember, w *waiting) {
	by := 0
	switch {
	case member.join == nil && w != nil:
		by = 1
	case member.join != nil && w == nil:
		by = -1
	}
	member.join = w
	g.joining += by
	if member.instanceID != nil {
		g.joiningFixed += by
	}
}

// setSynced notes whether a member's SyncGroup is to be expected.
func (g *classicGroup) setSynced(member *classicMember, synced bool) {
	switch {
	case member.synced && !synced:
		g.syncing++
	case !member.synced && synced:
		g.syncing--
	}
	member.synced = synced
}

// supports says whether a member with these protocols can be in the group:
// there must be one that all members support.
func (g *classicGroup) supports(protocolType string, protocols []kmsg.JoinGroupRequestProtocol) bool {
	if g.state == classicEmpty || len(g.members) == 0 {
		return protocolType != "" && len(protocols) > 0
	}
	return protocolType == g.protocolType && slices.ContainsFunc(protocols, func(p kmsg.JoinGroupRequestProtocol) bool {
		return g.votes[p.Name] == len(g.members)
	})
}

// elect chooses the protocol: of those that all members support, the one that
// most of them prefer. Where votes are equal, the first by name is taken.
func (g *classicGroup) elect() string {
	preferred := map[string]int{}
	for _, member := range g.members {
		for _, p := range member.protocols {
			if g.votes[p.Name] == len(g.members) {
				preferred[p.Name]++
				break
			}
		}
	}
	best, most := "", 0
	for name, n := range preferred {
		if n > most || n == most && name < best {
			best, most = name, n
		}
	}
	return best
}

// rebalanceTimeout is the longest that any member takes to join again.
func (g *classicGroup) rebalanceTimeout() time.Duration {
	longest := time.Duration(0)
	for _, member := range g.members {
		longest = max(longest, member.rebalanceTimeout)
	}
	return longest
}

// allJoined says that nobody is to be waited for.
func (g *classicGroup) allJoined() bool {
	return g.joining == len(g.members) && len(g.pending) == 0
}

// ids are the members' ids in order.
func (g *classicGroup) ids() []string { return slices.Sorted(maps.Keys(g.members)) }

// validate checks that a member is one, and not replaced by another of the same
// instance id.
func (g *classicGroup) validate(memberID string, instanceID *string) int16 {
	if instanceID != nil {
		switch id, ok := g.static[*instanceID]; {
		case !ok:
			return kerr.UnknownMemberID.Code
		case id != memberID:
			return kerr.FencedInstanceID.Code
		}
	}
	if g.members[memberID] == nil {
		return kerr.UnknownMemberID.Code
	}
	return 0
}

// metadataOf is what a member says with the given protocol.
func (member *classicMember) metadataOf(protocol *string) []byte {
	if protocol != nil {
		if i := indexProtocol(member.protocols, *protocol); i >= 0 {
			return member.protocols[i].Metadata
		}
	}
	return nil
}

// sameProtocols says whether a member's protocols are these, in this order.
func (member *classicMember) sameProtocols(protocols []kmsg.JoinGroupRequestProtocol) bool {
	return slices.EqualFunc(member.protocols, protocols, func(a, b kmsg.JoinGroupRequestProtocol) bool {
		return a.Name == b.Name && bytes.Equal(a.Metadata, b.Metadata)
	})
}

func indexProtocol(protocols []kmsg.JoinGroupRequestProtocol, name string) int {
	return slices.IndexFunc(protocols, func(p kmsg.JoinGroupRequestProtocol) bool { return p.Name == name })
}

// memberBaseBytes is what a member takes beside its metadata, roughly.
const memberBaseBytes = 256

// bytes is what the member says of itself takes, for limits.
func (member *classicMember) bytes() int {
	n := memberBaseBytes + len(member.id) + len(member.client.ID) + len(member.client.Host)
	for _, p := range member.protocols {
		n += protocolBaseBytes + len(p.Name) + len(p.Metadata)
	}
	return n
}

const protocolBaseBytes = 64

// keptProtocols are copies of protocols: those of a request are parts of all that
// it holds, which may be far more.
func keptProtocols(protocols []kmsg.JoinGroupRequestProtocol) []kmsg.JoinGroupRequestProtocol {
	kept := make([]kmsg.JoinGroupRequestProtocol, len(protocols))
	for i, p := range protocols {
		kept[i] = kmsg.JoinGroupRequestProtocol{Name: p.Name, Metadata: bytes.Clone(p.Metadata)}
	}
	return kept
}

// uniqueProtocols leaves out protocols that are named again.
func uniqueProtocols(protocols []kmsg.JoinGroupRequestProtocol) []kmsg.JoinGroupRequestProtocol {
	if len(protocols) < 2 {
		return protocols
	}
	seen := make(map[string]struct{}, len(protocols))
	return slices.DeleteFunc(protocols, func(p kmsg.JoinGroupRequestProtocol) bool {
		_, again := seen[p.Name]
		seen[p.Name] = struct{}{}
		return again
	})
}
