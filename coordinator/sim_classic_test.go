package coordinator

import (
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// classicClient is a member of the classic protocol, of some client's version.
type classicClient struct {
	w          *world
	client     Client
	group      string
	version    int16 // of JoinGroup; the others follow
	instanceID *string
	topics     []string
	protocols  []string

	memberID   string
	generation int32
	state      clientState
	members    []string // where it leads
	waits      int      // counts the requests that it has waited for
}

type clientState uint8

const (
	clientOut clientState = iota
	clientJoining
	clientJoined
	clientSyncing
	clientStable
)

func addClassicClients(w *world) {
	for i := range 14 {
		c := &classicClient{
			w:         w,
			client:    Client{ID: fmt.Sprintf("c%d", i), Host: "/127.0.0.1"},
			group:     w.groups[i%len(w.groups)],
			version:   int16(w.rand.IntN(10)),
			protocols: []string{"range", "sticky"},
			topics:    []string{w.anyTopic()},
		}
		if i%4 == 0 {
			c.version = int16(5 + w.rand.IntN(5))
			id := fmt.Sprintf("s%d", i/8) // some have the same
			c.instanceID = &id
		}
		w.actors = append(w.actors, c)
	}
	w.actors = append(w.actors, &admin{w})
}

// admin looks at groups, and deletes some.
type admin struct{ w *world }

func (a *admin) act() {
	w := a.w
	group := w.groups[w.rand.IntN(len(w.groups))]
	switch n := w.rand.IntN(20); {
	case n == 0:
		w.deleteSome(group)
	case n < 8:
		w.fetch(group)
	case n < 12:
		w.commit(Client{ID: "admin"}, group, "", nil, -1, int16(2+w.rand.IntN(9)))
	case n < 16:
		body := kmsg.NewPtrDescribeGroupsRequest()
		body.Version = 6
		body.Groups = []string{group}
		w.ask(Client{ID: "admin"}, body, group, func(kmsg.Response) {})
	default:
		w.ask(Client{ID: "admin"}, kmsg.NewPtrListGroupsRequest(), group, func(kmsg.Response) {})
	}
}

func (c *classicClient) act() {
	switch n := c.w.rand.IntN(100); {
	case n < 2:
		c.memberID, c.state = "", clientOut // restarts
		return
	case n < 4:
		c.mischief()
		return
	case n < 6:
		c.w.commit(c.client, c.group, c.memberID, c.instanceID, c.generation, int16(2+c.w.rand.IntN(9)))
		return
	}
	switch c.state {
	case clientOut:
		c.join()
	case clientJoined:
		if c.w.rand.IntN(5) > 0 {
			c.sync()
		}
	case clientJoining, clientSyncing:
		switch c.w.rand.IntN(30) {
		case 0: // it does not wait for so long
			c.state = clientOut
		default:
			c.heartbeat()
		}
	case clientStable:
		switch n := c.w.rand.IntN(40); {
		case n == 0:
			c.leave()
		case n == 1:
			c.topics = []string{c.w.anyTopic()}
			c.join()
		case n == 2:
			c.join()
		case n < 15:
			c.w.commit(c.client, c.group, c.memberID, c.instanceID, c.generation, int16(7+c.w.rand.IntN(4)))
		default:
			c.heartbeat()
		}
	}
}

// mischief is what no client should do.
func (c *classicClient) mischief() {
	other := *c
	other.generation += int32(c.w.rand.IntN(5)) - 2
	switch c.w.rand.IntN(4) {
	case 0:
		if another, ok := c.w.actors[c.w.rand.IntN(len(c.w.actors))].(*classicClient); ok {
			other.memberID = another.memberID
		}
	case 1:
		other.protocols = []string{"unheard"}
	case 2:
		other.members = []string{other.memberID, "stranger"}
	}
	switch c.w.rand.IntN(4) {
	case 0:
		other.join()
	case 1:
		other.sync()
	case 2:
		other.heartbeat()
	case 3:
		other.leave()
	}
}

// wait gives what handles the answer to a request that the client waits for: if
// it still does.
func (c *classicClient) wait(state clientState, done func(kmsg.Response)) func(kmsg.Response) {
	c.state = state
	c.waits++
	waits := c.waits
	return func(resp kmsg.Response) {
		if c.waits == waits && c.state == state {
			done(resp)
		}
	}
}

func (c *classicClient) join() {
	body := kmsg.NewPtrJoinGroupRequest()
	body.Version = c.version
	body.Group, body.MemberID, body.InstanceID = c.group, c.memberID, c.instanceID
	body.SessionTimeoutMillis = int32(6000 + c.w.rand.IntN(40_000))
	body.RebalanceTimeoutMillis = int32(c.w.rand.IntN(60_000))
	body.ProtocolType = "consumer"
	metadata := kmsg.NewConsumerMemberMetadata()
	metadata.Topics = c.topics
	for _, name := range c.protocols {
		p := kmsg.NewJoinGroupRequestProtocol()
		p.Name, p.Metadata = name, metadata.AppendTo(nil)
		body.Protocols = append(body.Protocols, p)
	}
	c.w.send(c.client, body, c.group, c.wait(clientJoining, c.joined))
}

func (c *classicClient) joined(r kmsg.Response) {
	resp := r.(*kmsg.JoinGroupResponse)
	c.state = clientOut
	switch resp.ErrorCode {
	case 0:
		c.state = clientJoined
		c.memberID, c.generation = resp.MemberID, resp.Generation
		c.members = nil
		for _, member := range resp.Members {
			c.members = append(c.members, member.MemberID)
		}
		if resp.SkipAssignment {
			c.members = nil
		}
	case kerr.MemberIDRequired.Code:
		c.memberID = resp.MemberID
	case kerr.RebalanceInProgress.Code, kerr.NotCoordinator.Code:
	default:
		c.memberID = ""
	}
}

// sync sends SyncGroup; a leader shares 12 partitions out.
func (c *classicClient) sync() {
	body := kmsg.NewPtrSyncGroupRequest()
	body.Version = min(c.version, 5)
	body.Group, body.MemberID, body.Generation = c.group, c.memberID, c.generation
	if body.Version >= 3 {
		body.InstanceID = c.instanceID
	}
	const partitions = 12
	shares := make([][]string, len(c.members))
	for p := range partitions {
		if len(shares) > 0 {
			shares[p%len(shares)] = append(shares[p%len(shares)], fmt.Sprint(p))
		}
	}
	for i, member := range c.members {
		a := kmsg.NewSyncGroupRequestGroupAssignment()
		a.MemberID, a.MemberAssignment = member, []byte(strings.Join(shares[i], ","))
		body.GroupAssignment = append(body.GroupAssignment, a)
	}
	c.w.send(c.client, body, c.group, c.wait(clientSyncing, func(r kmsg.Response) {
		if c.state = clientOut; r.(*kmsg.SyncGroupResponse).ErrorCode == 0 {
			c.state = clientStable
		}
	}))
}

func (c *classicClient) heartbeat() {
	body := kmsg.NewPtrHeartbeatRequest()
	body.Version = min(c.version, 4)
	body.Group, body.MemberID, body.Generation = c.group, c.memberID, c.generation
	if body.Version >= 3 {
		body.InstanceID = c.instanceID
	}
	before := c.state
	c.w.ask(c.client, body, c.group, func(r kmsg.Response) {
		switch code := r.(*kmsg.HeartbeatResponse).ErrorCode; {
		case before != clientStable || code == 0:
		case code == kerr.RebalanceInProgress.Code || code == kerr.IllegalGeneration.Code:
			c.state = clientOut
		default:
			c.memberID, c.state = "", clientOut
		}
	})
}

func (c *classicClient) leave() {
	body := kmsg.NewPtrLeaveGroupRequest()
	body.Version = min(c.version, 5)
	body.Group, body.MemberID = c.group, c.memberID
	if body.Version >= 3 {
		body.Members = []kmsg.LeaveGroupRequestMember{{MemberID: c.memberID, InstanceID: c.instanceID}}
	}
	c.memberID, c.state = "", clientOut
	c.w.ask(c.client, body, c.group, func(kmsg.Response) {})
}

// witnessJoin checks that a generation is the newest, and has one leader.
func (w *world) witnessJoin(r *simRequest, c *classicGroup, resp *kmsg.JoinGroupResponse) {
	switch {
	case resp.ErrorCode == kerr.UnknownServerError.Code:
		w.fail("%s: %v", r.what, kerr.ErrorForCode(resp.ErrorCode))
	case resp.ErrorCode != 0:
		return
	case resp.Generation != c.generation:
		w.fail("%s: generation %d is answered, it is %d", r.what, resp.Generation, c.generation)
	case len(resp.Members) == 0 || resp.SkipAssignment:
		return
	}
	key := generation{c, resp.Generation}
	if leader := w.leaders[key]; leader != "" && leader != resp.MemberID {
		w.fail("%s: generation %d has leaders %s and %s", r.what, resp.Generation, leader, resp.MemberID)
	}
	w.leaders[key] = resp.MemberID
}

// witnessSync checks that a partition has one owner in a generation: the same
// member, or the same static member by another id.
func (w *world) witnessSync(r *simRequest, c *classicGroup, resp *kmsg.SyncGroupResponse) {
	if resp.ErrorCode != 0 || len(resp.MemberAssignment) == 0 {
		return
	}
	body := r.body.(*kmsg.SyncGroupRequest)
	owner := body.MemberID
	if member := c.members[body.MemberID]; member != nil && member.instanceID != nil {
		owner = "static " + *member.instanceID
	}
	key := generation{c, body.Generation}
	if w.owners[key] == nil {
		w.owners[key] = map[string]string{}
	}
	for p := range assignedIn(resp.MemberAssignment) {
		if other := w.owners[key][p]; other != "" && other != owner {
			w.fail("%s: partition %s has owners %s and %s in generation %d", r.what, p, other, owner, body.Generation)
		}
		w.owners[key][p] = owner
	}
}

// assignedIn yields the partitions of an assignment: as classicClient writes
// them, or as real consumers do.
func assignedIn(assignment []byte) iter.Seq[string] {
	topics, _, err := parseAssignment(assignment)
	if err != nil {
		return strings.SplitSeq(string(assignment), ",")
	}
	return func(yield func(string) bool) {
		for _, t := range topics {
			for _, p := range t.partitions {
				if !yield(fmt.Sprint(t.topic, " ", p)) {
					return
				}
			}
		}
	}
}

// checkClassic checks what a classic group counts, and that nobody waits without
// a timer.
func checkClassic(w *world, g *group) {
	c := g.classic
	if c == nil {
		return
	}
	joining, fixed, syncing, metadata, assigned := 0, 0, 0, 0, 0
	votes := map[string]int{}
	for id, member := range c.members {
		if member.id != id || member.instanceID != nil && c.static[*member.instanceID] != id {
			w.fail("group %s: member %s is known as %s", g.id, member.id, id)
		}
		if member.join != nil {
			joining++
			if member.instanceID != nil {
				fixed++
			}
		}
		if !member.synced {
			syncing++
		}
		metadata += member.bytes()
		assigned += len(member.assignment)
		for _, p := range member.protocols {
			votes[p.Name]++
		}
		w.checkMember(g, member)
	}
	switch {
	case joining != c.joining, fixed != c.joiningFixed, syncing != c.syncing, metadata != c.metadata, assigned != c.assigned, len(votes) != len(c.votes):
		w.fail("group %s counts wrong: %d %d joining, %d %d syncing, %d %d bytes, %d %d assigned", g.id,
			joining, c.joining, syncing, c.syncing, metadata, c.metadata, assigned, c.assigned)
	case (c.state == classicEmpty || len(c.members) == 0) && (len(c.members) > 0 || c.leader != ""):
		w.fail("group %s is %v with %d members and leader %q", g.id, c.state, len(c.members), c.leader)
	case c.state != classicPreparing && len(c.members) == 0 && c.state != classicEmpty:
		w.fail("group %s is %v without members", g.id, c.state)
	case len(c.members) > 0 && c.members[c.leader] == nil:
		w.fail("group %s is led by %q, who is no member", g.id, c.leader)
	case len(c.members) > w.cfg.MaxSize && c.state != classicPreparing:
		w.fail("group %s has %d members", g.id, len(c.members))
	}
	waits := c.state == classicPreparing || c.syncing > 0
	if waits != w.m.timers.isSet(timerKey{kind: rebalanceTimer, group: g.id}) {
		w.fail("group %s is %v, %d are to sync, and its timer is set: %v", g.id, c.state, c.syncing, !waits)
	}
	for id := range c.pending {
		if !w.m.timers.isSet(timerKey{joinTimer, g.id, id}) {
			w.fail("group %s waits for %s for ever", g.id, id)
		}
	}
}

// checkMember checks that a member is either kept waiting or watched.
func (w *world) checkMember(g *group, member *classicMember) {
	c := g.classic
	kept := member.join != nil && c.state == classicPreparing && !member.isNew ||
		member.sync != nil && c.state == classicCompleting
	switch {
	case member.join != nil && c.state != classicPreparing, member.sync != nil && c.state != classicCompleting:
		w.fail("group %s is %v, and keeps member %s waiting", g.id, c.state, member.id)
	case !kept && !w.m.timers.isSet(timerKey{sessionTimer, g.id, member.id}):
		w.fail("group %s is %v, and member %s is not watched", g.id, c.state, member.id)
	}
}

// classicDurable is what a record has of a group at rest.
func classicDurable(g *group) string {
	c := g.classic
	switch {
	case c == nil:
		return "none"
	case c.state == classicPreparing || c.state == classicCompleting || !c.saved:
		return ""
	}
	lines := []string{fmt.Sprintf("%v generation %d type %q since %d leader %q", c.state, c.generation, c.protocolType, dateMillis(c.stateSince), c.leader)}
	if c.protocol != nil {
		lines = append(lines, *c.protocol)
	}
	for _, id := range c.ids() {
		member := c.members[id]
		instance := "none"
		if member.instanceID != nil {
			instance = *member.instanceID
		}
		lines = append(lines, fmt.Sprintf("%s instance %s of %v, %v and %v: %q %q", id, instance, member.client,
			member.sessionTimeout, member.rebalanceTimeout, member.metadataOf(c.protocol), member.assignment))
	}
	slices.Sort(lines[1:])
	return strings.Join(lines, "\n")
}
