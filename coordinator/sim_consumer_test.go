package coordinator

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Members of consumer groups: of the consumer protocol, and of the classic one
// with real metadata, which change from the one to the other as they are
// restarted. What must hold: as long as the coordinator takes one for a member,
// it believes to have no partition but those that the coordinator knows it to
// have; and of these each has one owner.

func init() {
	simKinds = append(simKinds, addMovers)
	simChecks = append(simChecks, checkConsumer)
	simDurable = append(simDurable, consumerDurable)
}

// mover is a consumer that may be restarted with the other protocol.
type mover struct {
	w        *world
	client   Client
	group    string
	instance *string
	rack     *string
	topics   []string
	regex    string
	starts   int
	classic  bool
	eager    bool
	fixed    bool // it behaves from now on

	id      string
	epoch   int32 // or generation
	owned   map[[16]byte]map[int32]bool
	told    map[[16]byte]map[int32]bool // what it is to have; nil: nothing new
	unsure  bool                        // an answer was lost: the next request says everything
	phase   clientState                 // of a classic one
	joined  []kmsg.JoinGroupResponseMember
	version int16
}

func addMovers(w *world) {
	w.groups = append(w.groups, "mixed", "modern")
	for i := range 12 {
		c := &mover{
			w:      w,
			client: Client{ID: fmt.Sprintf("m%d", i), Host: "/127.0.0.2"},
			group:  w.groups[3+i%2],
		}
		if i%4 == 0 {
			id := fmt.Sprintf("i%d", i/8)
			c.instance = &id
		}
		if i%3 == 0 {
			rack := []string{"a", "b"}[i/3%2]
			c.rack = &rack
		}
		c.restart()
		w.actors = append(w.actors, c)
	}
}

// restart is a crash, or a stop, and a start: maybe with the other protocol.
func (c *mover) restart() {
	c.starts++
	c.id, c.epoch, c.told, c.unsure, c.phase = "", 0, nil, false, clientOut
	c.owned = map[[16]byte]map[int32]bool{}
	c.classic = c.group == "mixed" && c.w.rand.IntN(2) == 0
	c.eager = c.w.rand.IntN(2) == 0
	c.version = int16(c.w.rand.IntN(10))
	if c.instance != nil {
		c.version = max(c.version, 5)
	}
	if !c.classic {
		c.id = fmt.Sprintf("%s-%d", c.client.ID, c.starts)
	}
	c.resubscribe()
}

func (c *mover) resubscribe() {
	c.topics, c.regex = []string{c.w.anyTopic(), "views"}, ""
	if !c.classic && c.w.rand.IntN(4) == 0 {
		c.regex = []string{"(clicks|sales)", "s.*", "nothing"}[c.w.rand.IntN(3)]
	}
}

func (c *mover) act() {
	if !c.fixed {
		switch n := c.w.rand.IntN(200); {
		case n < 2:
			c.restart()
			return
		case n < 4:
			c.mischief()
			return
		case n < 10:
			c.w.commit(c.client, c.group, c.id, c.instance, c.epoch, int16(8+c.w.rand.IntN(3)))
			return
		case n < 12:
			c.leave()
			return
		case n < 14:
			c.describe()
			return
		case n < 16 && !c.classic && c.epoch > 0:
			c.resubscribe()
			c.unsure = true
		}
	}
	if c.classic {
		c.actClassic()
		return
	}
	if c.told != nil && c.w.rand.IntN(3) > 0 {
		c.obey()
	}
	c.beat()
}

// mischief is what no member should send: nothing of it may harm others.
func (c *mover) mischief() {
	body := c.heartbeat()
	body.MemberEpoch += int32(c.w.rand.IntN(7)) - 3
	body.Topics = nil
	if c.w.rand.IntN(3) == 0 {
		bad := "("
		body.SubscribedTopicRegex = &bad
	}
	switch body.MemberEpoch {
	case c.epoch, joinEpoch, staticLeaveEpoch: // these it may do
		return
	}
	body.MemberID = cmp.Or(body.MemberID, "nobody")
	c.w.ask(c.client, body, c.group, func(kmsg.Response) {})
}

func (c *mover) describe() {
	body := kmsg.NewPtrConsumerGroupDescribeRequest()
	body.Version = 1
	body.Groups = []string{c.group}
	c.w.ask(c.client, body, c.group, func(kmsg.Response) {})
}

// obey gives up what it is not told to have, and takes what it is.
func (c *mover) obey() {
	c.owned, c.told = c.told, nil
}

func (c *mover) ownedTopics() []kmsg.ConsumerGroupHeartbeatRequestTopic {
	out := []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	for _, id := range slices.SortedFunc(maps.Keys(c.owned), compareIDs) {
		t := kmsg.NewConsumerGroupHeartbeatRequestTopic()
		t.TopicID, t.Partitions = id, slices.Sorted(maps.Keys(c.owned[id]))
		out = append(out, t)
	}
	return out
}

func (c *mover) heartbeat() *kmsg.ConsumerGroupHeartbeatRequest {
	body := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	body.Version = 1
	body.Group, body.MemberID, body.InstanceID, body.MemberEpoch = c.group, c.id, c.instance, c.epoch
	if c.epoch == 0 {
		c.owned, c.told = map[[16]byte]map[int32]bool{}, nil
	}
	if c.epoch == 0 || c.unsure {
		if c.unsure {
			c.told = nil // it does not go on with what it may have misunderstood
		}
		body.RebalanceTimeoutMillis = 1000 * int32(5+c.w.rand.IntN(60))
		body.SubscribedTopicNames = c.topics
		body.SubscribedTopicRegex = &c.regex
		body.RackID = c.rack
		body.Topics = c.ownedTopics()
	} else if c.told == nil {
		body.Topics = c.ownedTopics()
	}
	return body
}

func (c *mover) beat() {
	c.unsure = c.unsure || c.w.rand.IntN(100) == 0
	body := c.heartbeat()
	c.unsure = true // until there is an answer
	starts := c.starts
	send := c.w.send
	if c.fixed {
		send = c.w.ask
	}
	send(c.client, body, c.group, func(r kmsg.Response) {
		if c.starts != starts {
			return
		}
		c.unsure = false
		resp := r.(*kmsg.ConsumerGroupHeartbeatResponse)
		switch resp.ErrorCode {
		case 0:
			if resp.MemberEpoch < c.epoch {
				c.w.fail("%s: the epoch goes back from %d to %d", c.client.ID, c.epoch, resp.MemberEpoch)
			}
			c.epoch = resp.MemberEpoch
			if resp.Assignment != nil {
				c.told = map[[16]byte]map[int32]bool{}
				for _, t := range resp.Assignment.Topics {
					c.told[t.TopicID] = setOf(t.Partitions)
				}
			}
		case kerr.UnknownServerError.Code, kerr.InvalidRequest.Code, kerr.UnsupportedVersion.Code:
			c.w.fail("%s: %v %s", c.client.ID, kerr.ErrorForCode(resp.ErrorCode), *resp.ErrorMessage)
		default:
			c.epoch, c.owned, c.told = 0, map[[16]byte]map[int32]bool{}, nil
		}
	})
}

func setOf(partitions []int32) map[int32]bool {
	set := map[int32]bool{}
	for _, p := range partitions {
		set[p] = true
	}
	return set
}

func (c *mover) leave() {
	if c.id == "" || c.epoch <= 0 {
		return
	}
	c.owned, c.told = map[[16]byte]map[int32]bool{}, nil
	if c.classic {
		body := kmsg.NewPtrLeaveGroupRequest()
		body.Version, body.Group = 5, c.group
		body.Members = []kmsg.LeaveGroupRequestMember{{MemberID: c.id, InstanceID: c.instance}}
		c.w.ask(c.client, body, c.group, func(kmsg.Response) {})
	} else {
		c.epoch = leaveEpoch
		if c.instance != nil && c.w.rand.IntN(2) == 0 {
			c.epoch = staticLeaveEpoch
		}
		c.unsure = false
		c.w.ask(c.client, c.heartbeat(), c.group, func(kmsg.Response) {})
	}
	c.restart()
}

// actClassic is a classic consumer's next request.
func (c *mover) actClassic() {
	switch c.phase {
	case clientOut:
		c.join()
	case clientJoined:
		c.sync()
	case clientJoining, clientSyncing:
		if c.w.rand.IntN(30) == 0 {
			c.lose() // it does not wait for so long
		}
	case clientStable:
		c.classicHeartbeat()
	}
}

// lose forgets what it has, and joins anew.
func (c *mover) lose() {
	c.owned, c.phase = map[[16]byte]map[int32]bool{}, clientOut
}

func (c *mover) wait(phase clientState, done func(kmsg.Response)) func(kmsg.Response) {
	c.phase = phase
	starts := c.starts
	return func(r kmsg.Response) {
		if c.starts == starts && c.phase == phase {
			done(r)
		}
	}
}

func (c *mover) join() {
	body := kmsg.NewPtrJoinGroupRequest()
	body.Version = c.version
	body.Group, body.MemberID, body.InstanceID = c.group, c.id, c.instance
	body.SessionTimeoutMillis = int32(6000 + c.w.rand.IntN(40_000))
	body.RebalanceTimeoutMillis = int32(10_000 + c.w.rand.IntN(60_000))
	body.ProtocolType = "consumer"
	metadata := kmsg.NewConsumerMemberMetadata()
	metadata.Version, metadata.Topics, metadata.Generation, metadata.Rack = 3, c.topics, c.epoch, c.rack
	if c.eager {
		c.owned = map[[16]byte]map[int32]bool{}
	}
	for _, t := range c.ownedTopics() {
		if topic, ok := c.w.topics.TopicByID(t.TopicID); ok {
			metadata.OwnedPartitions = append(metadata.OwnedPartitions, kmsg.ConsumerMemberMetadataOwnedPartition{Topic: topic.Name, Partitions: t.Partitions})
		}
	}
	p := kmsg.NewJoinGroupRequestProtocol()
	p.Name, p.Metadata = "cooperative", metadata.AppendTo(nil)
	body.Protocols = append(body.Protocols, p)
	send := c.w.send
	if c.fixed {
		send = func(from Client, body kmsg.Request, group string, done func(kmsg.Response)) {
			c.w.step(from, body, group, done)
		}
	}
	send(c.client, body, c.group, c.wait(clientJoining, func(r kmsg.Response) {
		resp := r.(*kmsg.JoinGroupResponse)
		c.phase = clientOut
		switch resp.ErrorCode {
		case 0:
			c.phase = clientJoined
			c.id, c.epoch, c.joined = resp.MemberID, resp.Generation, resp.Members
			if resp.SkipAssignment {
				c.joined = nil
			}
		case kerr.MemberIDRequired.Code:
			c.id = resp.MemberID
		case kerr.RebalanceInProgress.Code, kerr.NotCoordinator.Code:
		case kerr.UnknownServerError.Code, kerr.InvalidRequest.Code:
			c.w.fail("%s: %v", c.client.ID, kerr.ErrorForCode(resp.ErrorCode))
		default:
			c.id = ""
			c.lose()
		}
	}))
}

func (c *mover) sync() {
	body := kmsg.NewPtrSyncGroupRequest()
	body.Version, body.Group, body.MemberID, body.InstanceID, body.Generation = 5, c.group, c.id, c.instance, c.epoch
	if len(c.joined) > 0 {
		body.GroupAssignment = c.lead()
	}
	send := c.w.send
	if c.fixed {
		send = func(from Client, body kmsg.Request, group string, done func(kmsg.Response)) {
			c.w.step(from, body, group, done)
		}
	}
	send(c.client, body, c.group, c.wait(clientSyncing, func(r kmsg.Response) {
		resp := r.(*kmsg.SyncGroupResponse)
		switch resp.ErrorCode {
		case 0:
			c.phase = clientStable
			topics, _, err := parseAssignment(resp.MemberAssignment)
			if err != nil && len(resp.MemberAssignment) > 0 {
				c.w.fail("%s: assignment %q", c.client.ID, resp.MemberAssignment)
			}
			c.owned = map[[16]byte]map[int32]bool{}
			for _, t := range topics {
				if topic, ok := c.w.topics.Topic(t.topic); ok {
					c.owned[topic.ID] = setOf(t.partitions)
				}
			}
		case kerr.RebalanceInProgress.Code, kerr.NotCoordinator.Code:
			c.phase = clientOut
		default:
			c.id = ""
			c.lose()
		}
	}))
}

// lead assigns as a cooperative leader does: what members say that they have
// stays with them, what nobody has goes to one after the other.
func (c *mover) lead() []kmsg.SyncGroupRequestGroupAssignment {
	shares := make([]map[string][]int32, len(c.joined))
	taken := map[string]map[int32]bool{}
	var subscribed []map[string]bool
	give := func(i int, topic string, p int32) {
		if taken[topic] == nil {
			taken[topic] = map[int32]bool{}
		}
		if !taken[topic][p] {
			taken[topic][p] = true
			shares[i][topic] = append(shares[i][topic], p)
		}
	}
	for i, member := range c.joined {
		shares[i] = map[string][]int32{}
		said, err := parseSubscription(member.ProtocolMetadata)
		if err != nil {
			c.w.fail("%s leads members with metadata %q", c.client.ID, member.ProtocolMetadata)
		}
		topics := map[string]bool{}
		for _, t := range said.topics {
			topics[t] = true
		}
		subscribed = append(subscribed, topics)
		for _, o := range said.owned {
			for _, p := range o.partitions {
				if topics[o.topic] {
					give(i, o.topic, p)
				}
			}
		}
	}
	turn := 0
	for _, name := range slices.Sorted(maps.Keys(c.w.topics)) {
		for p := range c.w.topics[name].Partitions() {
			for range c.joined {
				if turn++; subscribed[turn%len(c.joined)][name] {
					give(turn%len(c.joined), name, p)
					break
				}
			}
		}
	}
	var out []kmsg.SyncGroupRequestGroupAssignment
	for i, member := range c.joined {
		var topics []namedPartitions
		for _, name := range slices.Sorted(maps.Keys(shares[i])) {
			topics = append(topics, namedPartitions{name, shares[i][name]})
		}
		a := kmsg.NewSyncGroupRequestGroupAssignment()
		a.MemberID, a.MemberAssignment = member.MemberID, appendAssignment(nil, 3, topics)
		out = append(out, a)
	}
	return out
}

func (c *mover) classicHeartbeat() {
	body := kmsg.NewPtrHeartbeatRequest()
	body.Version, body.Group, body.MemberID, body.InstanceID, body.Generation = 4, c.group, c.id, c.instance, c.epoch
	c.w.ask(c.client, body, c.group, func(r kmsg.Response) {
		switch code := r.(*kmsg.HeartbeatResponse).ErrorCode; code {
		case 0:
		case kerr.RebalanceInProgress.Code:
			c.phase = clientOut
		case kerr.IllegalGeneration.Code:
			c.lose()
		default:
			c.id = ""
			c.lose()
		}
	})
}

// checkConsumer checks what a consumer group counts, who has what, and that
// nobody waits without a timer.
func checkConsumer(w *world, g *group) {
	c := g.consumer
	if c == nil {
		return
	}
	if g.classic != nil {
		w.fail("group %s is of both kinds", g.id)
	}
	checkOwners(w, g)
	checkCounts(w, g)
	if last := w.epochs[c]; c.epoch < last {
		w.fail("group %s goes back from epoch %d to %d", g.id, last, c.epoch)
	}
	w.epochs[c] = c.epoch
	isSet := func(kind timerKind, id string) bool { return w.m.timers.isSet(timerKey{kind, g.id, id}) }
	for id, member := range c.members {
		switch {
		case member.id != id || member.instanceID != "" && c.static[member.instanceID] != member:
			w.fail("group %s: member %s is known as %s", g.id, member.id, id)
		case !isSet(sessionTimer, id):
			w.fail("group %s: member %s is not watched", g.id, id)
		case member.state == memberUnrevoked && member.classic == nil && !isSet(rebalanceTimer, id):
			w.fail("group %s: member %s may keep what it should give up for ever", g.id, id)
		case member.epoch > c.assignmentEpoch, c.assignmentEpoch > c.epoch:
			w.fail("group %s: member %s is at epoch %d, the target at %d, the group at %d", g.id, id, member.epoch, c.assignmentEpoch, c.epoch)
		}
	}
	if pending := len(c.members) > 0 && c.epoch > c.assignmentEpoch; pending != isSet(assignTimer, "") {
		w.fail("group %s: epoch %d, target %d, its timer is set: %v", g.id, c.epoch, c.assignmentEpoch, !pending)
	}
}

func checkOwners(w *world, g *group) {
	c := g.consumer
	type partition struct {
		id [16]byte
		n  int32
	}
	owner := map[partition]*consumerMember{}
	target := map[partition]string{}
	for id, member := range c.members {
		for _, set := range []partitionSet{member.assigned, member.revoking} {
			for topic, p := range set.each {
				key := partition{topic, p}
				if other := owner[key]; other != nil {
					w.fail("group %s: partition %d of %x is %s's and %s's", g.id, p, topic, other.id, id)
				}
				owner[key] = member
				if c.owner(topic, p) != member {
					w.fail("group %s: partition %d of %x is %s's, and not known to be", g.id, p, topic, id)
				}
				if since, ok := set.of(topic).epoch(p); !ok || since > member.epoch && member.epoch > 0 {
					w.fail("group %s: %s at epoch %d has partition %d since %d", g.id, id, member.epoch, p, since)
				}
			}
		}
		for topic, p := range member.target.each {
			if other := target[partition{topic, p}]; other != "" {
				w.fail("group %s: partition %d of %x is to be %s's and %s's", g.id, p, topic, other, id)
			}
			target[partition{topic, p}] = id
		}
	}
	for topic, list := range c.owners {
		for p, member := range list {
			if member != nil && owner[partition{topic, int32(p)}] != member {
				w.fail("group %s: partition %d of %x is known to be %s's, and is not", g.id, p, topic, member.id)
			}
		}
	}
	for _, a := range w.actors {
		m, ok := a.(*mover)
		if !ok || m.group != g.id || c.members[m.id] == nil || (c.members[m.id].classic != nil) != m.classic {
			continue
		}
		for topic, partitions := range m.owned {
			t, _ := w.topics.TopicByID(topic)
			for p := range partitions {
				if p < t.Partitions() && owner[partition{topic, p}] != c.members[m.id] {
					w.fail("group %s: %s believes to have partition %d of %x", g.id, m.id, p, topic)
				}
			}
		}
	}
}

func checkCounts(w *world, g *group) {
	c := g.consumer
	bytes, classic := 0, 0
	subscribed, regexes := map[string]int{}, map[string]int{}
	names := map[*topicNames]int{}
	for _, member := range c.members {
		bytes += member.bytes()
		if member.classic != nil {
			classic++
		}
		if names[member.names]++; names[member.names] == 1 {
			for _, name := range member.names.list {
				subscribed[name]++
			}
		}
		if member.regex != "" {
			regexes[member.regex]++
		}
	}
	for text, r := range c.regexes {
		if r.members != regexes[text] || r.members == 0 || !r.resolved {
			w.fail("group %s: %d members subscribe to %q, %d are known", g.id, regexes[text], text, r.members)
		}
		for _, name := range r.topics {
			subscribed[name]++
		}
	}
	_, inAll := w.m.consumers.regexGroups[g]
	switch {
	case bytes != c.bytes, classic != c.classic, len(names) != len(c.names), len(regexes) != len(c.regexes), inAll != (len(regexes) > 0):
		w.fail("group %s counts wrong: %d %d bytes, %d %d classic, %d %d subscriptions, %d %d regexes %v", g.id,
			bytes, c.bytes, classic, c.classic, len(names), len(c.names), len(regexes), len(c.regexes), inAll)
	case !maps.Equal(subscribed, c.subscribed):
		w.fail("group %s subscribes to %v, known is %v", g.id, subscribed, c.subscribed)
	}
	for name := range c.subscribed {
		t := w.m.consumers.topics[name]
		if t == nil || t.hash != w.m.topicHash(name) {
			w.fail("group %s: topic %s is not followed", g.id, name)
		}
		if _, ok := t.groups[g]; !ok {
			w.fail("group %s: topic %s is not followed for it", g.id, name)
		}
	}
}

// consumerDurable is what records have of a consumer group.
func consumerDurable(g *group) string {
	c := g.consumer
	if c == nil {
		return "none"
	}
	lines := []string{fmt.Sprintf("epoch %d of %x, target %d at %d", c.epoch, c.hash, c.assignmentEpoch, c.assignedMillis)}
	for _, text := range sortedKeys(c.regexes) {
		lines = append(lines, fmt.Sprintf("regex %q: %v", text, c.regexes[text].topics))
	}
	for _, id := range c.memberIDs() {
		m := c.members[id]
		classic := classicUse{}
		if m.classic != nil {
			classic = *m.classic
		}
		lines = append(lines, fmt.Sprintf("%s %q %q %v %d %v %q %q %v: %d %d %d\n  has %v gives up %v shall have %v", id, m.instanceID, m.rack,
			m.client, m.rebalanceTimeout, m.names.list, m.regex, m.assignor, classic, m.epoch, m.previous, m.state,
			m.assigned, m.revoking, m.target))
	}
	return strings.Join(lines, "\n")
}

// TestConsumersSettle lets members of both protocols do anything for a while, and
// then what they should: soon each group is stable, and each partition that
// somebody subscribes to is read by one of them.
func TestConsumersSettle(t *testing.T) {
	for seed := range uint64(20) {
		w := newWorld(t, seed+1)
		for range 1000 {
			w.random()
		}
		w.remember("all behave from now on")
		var all []*mover
		instances := map[string]bool{}
		for _, a := range w.actors {
			c, ok := a.(*mover)
			if !ok || c.instance != nil && instances[c.group+*c.instance] {
				continue
			}
			if c.instance != nil {
				instances[c.group+*c.instance] = true
			}
			c.fixed = true
			all = append(all, c)
		}
		for range 120 {
			for _, c := range all {
				c.act()
				c.act()
			}
			w.advance(3 * time.Second)
		}
		for _, id := range []string{"mixed", "modern"} {
			checkSettled(w, id, all)
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed+1)
		}
	}
}

func checkSettled(w *world, id string, all []*mover) {
	g := w.m.groups[id]
	if g == nil {
		w.fail("group %s does not exist", id)
	}
	if state := w.m.stateName(g); state != "Stable" {
		w.fail("group %s is %s", id, state)
	}
	readers := map[string]int{}
	want := map[string]int{}
	for _, c := range all {
		if c.group != id || c.epoch <= 0 {
			continue
		}
		names := slices.Clone(c.topics)
		if c.regex != "" {
			names = append(names, w.m.matches(c.regex)...)
		}
		for _, name := range names {
			for p := range w.topics[name].Partitions() {
				want[fmt.Sprint(name, p)] = 1
			}
		}
		for topic, partitions := range c.owned {
			t, _ := w.topics.TopicByID(topic)
			for p := range partitions {
				readers[fmt.Sprint(cmp.Or(t.Name, "deleted"), p)]++
			}
		}
	}
	if !maps.Equal(readers, want) {
		w.fail("group %s reads %v of %v", id, readers, want)
	}
}
