package coordinator

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// The simulation: members that do what clients do, and now and then something
// else, at random, against one machine. After each step what doc.go promises
// must hold. FANFOLD_COORDINATOR_STEPS is how many steps each seed has (50,000
// where it is not set); FANFOLD_COORDINATOR_SEED runs one seed alone.

// simKinds make the actors of a simulation; each adds some to w.actors.
var simKinds = []func(w *world){addClassicClients}

// simChecks look at a world after each step, at the group that the step was
// about ("" for all of them).
var simChecks = []func(w *world, g *group){checkClassic}

// simDurable are what is in the records of a group that is in rest; "" where
// it is not. Of equal logs they must be equal.
var simDurable = []func(g *group) string{classicDurable, offsetsDurable}

// actor is one who sends requests.
type actor interface{ act() }

// world is a machine with those around it.
type world struct {
	t       *testing.T
	rand    *rand.Rand
	cfg     Config
	topics  fakeTopics
	m       *Machine
	now     time.Time
	log     []Record
	actors  []actor
	groups  []string // their ids
	pending map[*simRequest]struct{}
	trail   []string // the last steps, for messages
	lost    bool     // what the machine asks for does not happen

	offsets  map[offsetKey]int64 // what is committed
	leaders  map[generation]string
	owners   map[generation]map[string]string // by partition
	epochs   map[*consumerGroup]int32         // that they were seen at
	ids      int
	answered map[string]int // by kind of answer
}

// generation is one of a classic group.
type generation struct {
	group  *classicGroup
	number int32
}

// offsetKey is a partition of a group.
type offsetKey struct {
	group, topic string
	partition    int32
}

// simRequest is a request's token.
type simRequest struct {
	what  string
	group string
	body  kmsg.Request
	at    time.Time
	done  func(kmsg.Response)
}

// fakeTopics are topics by name.
type fakeTopics map[string]Topic

func (f fakeTopics) Topic(name string) (Topic, bool) {
	t, ok := f[name]
	return t, ok
}

func (f fakeTopics) TopicByID(id [16]byte) (Topic, bool) {
	for _, t := range f {
		if t.ID == id {
			return t, true
		}
	}
	return Topic{}, false
}

func (f fakeTopics) Names(yield func(string) bool) {
	for name := range f {
		if !yield(name) {
			return
		}
	}
}

// fakeTopic is a topic whose id is made of its name and the number.
func fakeTopic(name string, partitions, number int) Topic {
	t := Topic{Name: name, Racks: make([][]string, partitions)}
	copy(t.ID[:], name)
	t.ID[15] = byte(number) + 1
	return t
}

// testConfig is Kafka's defaults, with small limits.
func testConfig() Config {
	ids := 0
	return Config{
		MinSessionTimeout:         6 * time.Second,
		MaxSessionTimeout:         30 * time.Minute,
		MaxRebalanceTimeout:       time.Hour,
		InitialRebalanceDelay:     3 * time.Second,
		MaxSize:                   1000,
		OffsetMetadataMaxBytes:    4096,
		OffsetsRetention:          7 * 24 * time.Hour,
		OffsetsCheckInterval:      10 * time.Minute,
		ConsumerSessionTimeout:    45 * time.Second,
		ConsumerHeartbeatInterval: 5 * time.Second,
		ConsumerMaxSize:           1000,
		ConsumerAssignors:         []string{"uniform", "range"},
		ConsumerMigration:         MigrationBidirectional,
		RegexRefresh:              10 * time.Minute,
		MaxGroups:                 1000,
		MaxMetadataBytes:          1 << 20,
		MaxGroupBytes:             8 << 20,
		MaxOffsetsOfGroup:         10000,
		Group:                     func(string) GroupConfig { return GroupConfig{} },
		NewID:                     func() string { ids++; return fmt.Sprintf("%04d", ids) },
	}
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{
		t:        t,
		rand:     rand.New(rand.NewPCG(seed, 848)),
		cfg:      testConfig(),
		now:      time.UnixMilli(1_700_000_000_000),
		topics:   fakeTopics{},
		groups:   []string{"orders", "billing", "audit"},
		pending:  map[*simRequest]struct{}{},
		offsets:  map[offsetKey]int64{},
		leaders:  map[generation]string{},
		owners:   map[generation]map[string]string{},
		epochs:   map[*consumerGroup]int32{},
		answered: map[string]int{},
	}
	w.cfg.OffsetsRetention = 400 * 24 * time.Hour // longer than a run
	w.cfg.MaxSize = 3 + w.rand.IntN(6)
	w.cfg.ConsumerAssignmentInterval = time.Duration(w.rand.IntN(2)) * time.Second
	if w.rand.IntN(3) == 0 {
		w.cfg.InitialRebalanceDelay = 0
	}
	for i, name := range []string{"clicks", "sales", "views"} {
		w.topics[name] = fakeTopic(name, 1+w.rand.IntN(6), i)
	}
	w.m = New(w.cfg, w.topics)
	w.apply(w.m.Activate(w.now))
	for _, add := range simKinds {
		add(w)
	}
	return w
}

func TestRandomInterleavings(t *testing.T) {
	steps, seeds := 50_000, []uint64{1, 2, 3}
	if s := os.Getenv("FANFOLD_COORDINATOR_STEPS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("FANFOLD_COORDINATOR_STEPS: %v", err)
		}
		steps, seeds = n, []uint64{rand.Uint64(), rand.Uint64()}
	} else {
		steps /= len(seeds)
		seeds[2] = rand.Uint64()
	}
	if s := os.Getenv("FANFOLD_COORDINATOR_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("FANFOLD_COORDINATOR_SEED: %v", err)
		}
		seeds = []uint64{n}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Logf("seed %d, %d steps", seed, steps)
			w := newWorld(t, seed)
			for range steps {
				w.random()
			}
			w.settle()
			for _, name := range slices.Sorted(maps.Keys(w.answered)) {
				t.Logf("%8d %s", w.answered[name], name)
			}
		})
	}
}

// random does one thing. Most of the time members are heard of well within their
// sessions; now and then they are not.
func (w *world) random() {
	switch n := w.rand.IntN(10_000); {
	case n < 7000:
		w.actors[w.rand.IntN(len(w.actors))].act()
	case n < 9600:
		w.advance(time.Duration(w.rand.IntN(300)) * time.Millisecond)
	case n < 9900:
		w.advance(time.Duration(w.rand.IntN(3000)) * time.Millisecond)
	case n < 9925:
		w.advance(time.Duration(w.rand.IntN(60)) * time.Second)
	case n < 9927:
		w.advance(time.Duration(w.rand.IntN(15)) * time.Minute)
	case n < 9950:
		w.changeTopics()
	case n < 9960:
		w.failover()
	default:
		w.checkReplay()
	}
}

// fail ends the test with what was done last.
func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	for _, line := range w.trail {
		w.t.Log(line)
	}
	w.t.Fatalf(format, args...)
}

func (w *world) remember(format string, args ...any) {
	const kept = 60
	if len(w.trail) >= kept {
		w.trail = append(w.trail[:0], w.trail[1:]...)
	}
	w.trail = append(w.trail, w.now.UTC().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

// send steps a request; done gets the answer, now or later, or never: answers
// get lost.
func (w *world) send(from Client, body kmsg.Request, group string, done func(kmsg.Response)) {
	w.t.Helper()
	if w.rand.IntN(50) == 0 {
		done = nil
	}
	w.step(from, body, group, done)
}

// ask is send for what is answered at once, and never gets lost.
func (w *world) ask(from Client, body kmsg.Request, group string, done func(kmsg.Response)) {
	w.t.Helper()
	if r := w.step(from, body, group, done); r.group != "" && !w.lost {
		w.fail("%s is not answered at once", r.what)
	}
}

func (w *world) step(from Client, body kmsg.Request, group string, done func(kmsg.Response)) *simRequest {
	w.t.Helper()
	w.ids++
	what := fmt.Sprintf("#%d %s %T %s", w.ids, from.ID, body, group)
	r := &simRequest{what: what, group: group, body: body, at: w.now, done: done}
	w.remember("%s %+v", r.what, body)
	w.pending[r] = struct{}{}
	w.apply(w.m.Step(w.now, &Request{Body: body, Client: from, Token: r}))
	if g := w.m.groups[group]; g != nil && !w.lost {
		w.check(g)
	}
	return r
}

// apply does what the machine asks for.
func (w *world) apply(out Effects) {
	if w.lost {
		return
	}
	for _, r := range out.Records {
		w.log = append(w.log, Record{bytes.Clone(r.Key), bytes.Clone(r.Value)})
	}
	for _, n := range out.Notes {
		w.remember("  note: %s %s", n.Group, n.Text)
	}
	for _, a := range slices.Clone(out.Answers) {
		r := a.Token.(*simRequest)
		if _, ok := w.pending[r]; !ok {
			w.fail("%s is answered twice", r.what)
		}
		delete(w.pending, r)
		w.answered[answerName(a.Response)]++
		w.remember("  %s is answered %+v", r.what, a.Response)
		w.witness(r, a.Response)
		r.group = ""
		if r.done != nil {
			r.done(a.Response)
		}
	}
}

// answerName is a kind of answer, with its error.
func answerName(resp kmsg.Response) string {
	code := int16(0)
	switch resp := resp.(type) {
	case *kmsg.JoinGroupResponse:
		code = resp.ErrorCode
	case *kmsg.SyncGroupResponse:
		code = resp.ErrorCode
	case *kmsg.HeartbeatResponse:
		code = resp.ErrorCode
	case *kmsg.OffsetCommitResponse:
		code = resp.Topics[0].Partitions[0].ErrorCode
	case *kmsg.ConsumerGroupHeartbeatResponse:
		code = resp.ErrorCode
	case *kmsg.DeleteGroupsResponse:
		code = resp.Groups[0].ErrorCode
	}
	return strings.TrimSuffix(kmsg.NameForKey(resp.Key()), "Response") + " " + result(code, "ok")
}

// witness sees all answers, those too that get lost.
func (w *world) witness(r *simRequest, resp kmsg.Response) {
	if len(w.leaders) > 10_000 {
		clear(w.leaders)
		clear(w.owners)
	}
	g := w.m.groups[r.group]
	if g == nil || g.classic == nil {
		return
	}
	switch resp := resp.(type) {
	case *kmsg.JoinGroupResponse:
		w.witnessJoin(r, g.classic, resp)
	case *kmsg.SyncGroupResponse:
		w.witnessSync(r, g.classic, resp)
	}
}

// advance lets time pass, with what is due in it.
func (w *world) advance(d time.Duration) {
	until := w.now.Add(d)
	for range 100_000 {
		at, ok := w.m.Deadline()
		if !ok || at.After(until) {
			w.now = until
			w.apply(w.m.Step(w.now, Tick{}))
			w.check(nil)
			return
		}
		if at.After(w.now) {
			w.now = at
		}
		w.apply(w.m.Step(w.now, Tick{}))
	}
	w.fail("there is always something due")
}

func (w *world) changeTopics() {
	name := w.anyTopic()
	topics := maps.Clone(w.topics)
	t, exists := topics[name]
	switch {
	case !exists:
		w.ids++
		topics[name] = fakeTopic(name, 1+w.rand.IntN(6), w.ids%250)
	case w.rand.IntN(3) == 0:
		delete(topics, name)
		maps.DeleteFunc(w.offsets, func(key offsetKey, _ int64) bool { return key.topic == name })
	default:
		t.Racks = append(slices.Clone(t.Racks), nil)
		topics[name] = t
	}
	w.remember("topics: %v", topics)
	w.topics = topics
	w.apply(w.m.Step(w.now, TopicsChanged{topics}))
	w.check(nil)
}

// anyTopic may be one that does not exist.
func (w *world) anyTopic() string {
	names := []string{"clicks", "sales", "views", "ghosts"}
	return names[w.rand.IntN(len(names))]
}

// failover makes another machine of the log the leader, or the same again.
func (w *world) failover() {
	switch w.rand.IntN(3) {
	case 0:
		w.remember("failover")
		w.apply(w.m.Deactivate())
		w.m = w.replayed()
	case 1:
		w.remember("the leader changes and comes back")
		w.apply(w.m.Deactivate())
	default:
		w.remember("what follows is not committed")
		w.lost = true
		for range w.rand.IntN(10) {
			w.actors[w.rand.IntN(len(w.actors))].act()
		}
		w.lost = false
		w.remember("failover")
		clear(w.pending) // their connections are closed
		w.m = w.replayed()
	}
	if len(w.pending) > 0 {
		w.fail("%d requests wait at a machine that is not active", len(w.pending))
	}
	w.apply(w.m.Activate(w.now))
	w.check(nil)
}

// replayed is a machine that has replayed the log.
func (w *world) replayed() *Machine {
	m := New(w.cfg, w.topics)
	for _, r := range w.log {
		if err := m.Replay(r.Key, r.Value, w.now); err != nil {
			w.fail("replay: %v", err)
		}
	}
	return m
}

// checkReplay compares the machine to one that has replayed the log, and to one
// that has replayed the log as compaction leaves it.
func (w *world) checkReplay() {
	w.t.Helper()
	w.same(w.replayed())
	last := map[string]int{}
	for i, r := range w.log {
		last[string(r.Key)] = i
	}
	var compacted []Record
	for i, r := range w.log {
		if last[string(r.Key)] == i && r.Value != nil {
			compacted = append(compacted, r)
		}
	}
	w.log = compacted
	w.same(w.replayed())
}

func (w *world) same(other *Machine) {
	w.t.Helper()
	ids := slices.Compact(slices.Sorted(func(yield func(string) bool) {
		for _, m := range []*Machine{w.m, other} {
			for id := range m.groups {
				if !yield(id) {
					return
				}
			}
		}
	}))
	for _, id := range ids {
		for _, durable := range simDurable {
			a := durable(cmp.Or(w.m.groups[id], &group{}))
			b := durable(cmp.Or(other.groups[id], &group{}))
			if a != "" && a != b {
				w.fail("group %s\nis       %s\nreplayed %s", id, a, b)
			}
		}
	}
}

// check looks at a group, or all.
func (w *world) check(g *group) {
	w.t.Helper()
	if g == nil {
		for _, id := range w.m.ids() {
			w.check(w.m.groups[id])
		}
		return
	}
	for _, check := range simChecks {
		check(w, g)
	}
}

// settle lets all members fall silent: nothing may wait or be left but offsets.
func (w *world) settle() {
	w.advance(2*w.cfg.MaxRebalanceTimeout + 2*w.cfg.MaxSessionTimeout)
	for r := range w.pending {
		w.fail("%s waits since %v", r.what, w.now.Sub(r.at))
	}
	for _, g := range w.m.groups {
		if !g.isEmpty() {
			w.fail("group %s is %s, with nobody there", g.id, w.m.stateName(g))
		}
	}
	w.checkReplay()
	w.advance(w.cfg.OffsetsRetention + 2*w.cfg.OffsetsCheckInterval)
	if len(w.m.groups) > 0 || len(w.m.names) > 0 {
		w.fail("%d groups and %d topics are left", len(w.m.groups), len(w.m.names))
	}
	if n := len(w.m.timers.byKey); n > 2 || n != len(w.m.timers.queue) {
		w.fail("%d timers are left: %v", n, slices.Collect(maps.Keys(w.m.timers.byKey)))
	}
	w.checkReplay()
	if len(w.log) > 0 {
		w.fail("%d records are left", len(w.log))
	}
}

// commit commits an offset and keeps what must be read back.
func (w *world) commit(from Client, group, memberID string, instanceID *string, epoch int32, version int16) {
	topic := w.anyTopic()
	partition := int32(w.rand.IntN(3))
	key := offsetKey{group, topic, partition}
	body := kmsg.NewPtrOffsetCommitRequest()
	body.Version = version
	body.Group, body.MemberID, body.InstanceID, body.Generation = group, memberID, instanceID, epoch
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic = topic
	if version >= 10 {
		t.Topic, t.TopicID = "", w.topics[topic].ID
	}
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Partition, p.Offset = partition, w.rand.Int64N(1_000_000)
	t.Partitions = append(t.Partitions, p)
	body.Topics = append(body.Topics, t)
	w.ask(from, body, group, func(resp kmsg.Response) {
		switch code := resp.(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode; {
		case code == 0 && partition >= w.topics[topic].Partitions():
			w.fail("a commit for %v is taken, which does not exist", key)
		case code == 0:
			w.offsets[key] = p.Offset
		}
	})
}

// fetch reads a group's offsets and compares them to what was committed.
func (w *world) fetch(group string) {
	body := kmsg.NewPtrOffsetFetchRequest()
	body.Version = int16(2 + w.rand.IntN(9))
	if body.Version < fetchGroups {
		body.Group = group
	} else {
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group = group
		body.Groups = append(body.Groups, g)
	}
	w.ask(Client{ID: "admin"}, body, group, func(resp kmsg.Response) {
		got := map[offsetKey]int64{}
		r := resp.(*kmsg.OffsetFetchResponse)
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				got[offsetKey{group, t.Topic, p.Partition}] = p.Offset
			}
		}
		for _, g := range r.Groups {
			for _, t := range g.Topics {
				for _, p := range t.Partitions {
					got[offsetKey{group, t.Topic, p.Partition}] = p.Offset
				}
			}
		}
		want := maps.Clone(w.offsets)
		maps.DeleteFunc(want, func(key offsetKey, _ int64) bool { return key.group != group })
		if !maps.Equal(got, want) {
			w.fail("offsets of %s (version %d)\nare      %v\ninstead of %v", group, body.Version, got, want)
		}
	})
}

// deleteSome deletes a group or an offset.
func (w *world) deleteSome(group string) {
	if w.rand.IntN(2) == 0 {
		body := kmsg.NewPtrDeleteGroupsRequest()
		body.Groups = []string{group}
		w.ask(Client{ID: "admin"}, body, group, func(resp kmsg.Response) {
			if resp.(*kmsg.DeleteGroupsResponse).Groups[0].ErrorCode == 0 {
				maps.DeleteFunc(w.offsets, func(key offsetKey, _ int64) bool { return key.group == group })
			}
		})
		return
	}
	topic, partition := w.anyTopic(), int32(w.rand.IntN(3))
	body := kmsg.NewPtrOffsetDeleteRequest()
	body.Group = group
	body.Topics = []kmsg.OffsetDeleteRequestTopic{{Topic: topic, Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: partition}}}}
	w.ask(Client{ID: "admin"}, body, group, func(resp kmsg.Response) {
		r := resp.(*kmsg.OffsetDeleteResponse)
		if r.ErrorCode == 0 && r.Topics[0].Partitions[0].ErrorCode == 0 {
			delete(w.offsets, offsetKey{group, topic, partition})
		}
	})
}

// offsetsDurable are a group's offsets.
func offsetsDurable(g *group) string {
	var b bytes.Buffer
	for _, topic := range g.offsets.names() {
		for _, c := range g.offsets.topics[topic].partitions {
			fmt.Fprintf(&b, "%s %+v\n", topic, c)
		}
	}
	return cmp.Or(b.String(), "none")
}
