package groupdiff

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// randomSteps is how many steps a random sequence has.
const randomSteps = 40

// walker is what a random sequence of the classic protocol knows of its group:
// enough to send mostly what makes sense.
type walker struct {
	*sequence
	random  *rand.Rand
	names   []string
	statics map[string]string // instance ids of clients that use one
	static  int
}

// randomClassic takes random steps with a few clients.
func randomClassic(q *sequence, random *rand.Rand) {
	w := &walker{sequence: q, random: random, statics: map[string]string{}}
	for i := range 2 + random.IntN(3) {
		w.names = append(w.names, fmt.Sprintf("m%d", i+1))
	}
	for range randomSteps {
		if q.over != "" {
			return
		}
		w.step()
	}
}

func (w *walker) client(name string) *client { return w.pair.sides[1].clients[name] }

func (w *walker) isMember(name string) bool {
	c := w.client(name)
	return c != nil && c.id != "" && c.generation >= 0
}

// leader is the client that leads, "" for none.
func (w *walker) leader() string {
	for _, name := range w.names {
		if c := w.client(name); c != nil && c.leads {
			return name
		}
	}
	return ""
}

// exists says whether Fanfold has the group.
func (w *walker) exists() bool {
	return w.state(w.pair.sides[1]) != "Dead"
}

func (w *walker) version(low, high int16) int16 {
	return low + int16(w.random.IntN(int(high-low)+1))
}

func (w *walker) chance(n int) bool { return w.random.IntN(n) == 0 }

// step lets one client that does not wait for an answer do something.
func (w *walker) step() {
	w.note("no group", !w.exists())
	free := slices.DeleteFunc(slices.Clone(w.names), w.waits)
	if len(free) == 0 {
		w.over = "all wait"
		return
	}
	name := free[w.random.IntN(len(free))]
	switch {
	case w.chance(12):
		w.ofNobody(name)
	case w.chance(10):
		w.wrong(name)
	case !w.isMember(name):
		w.enterGroup(name)
	default:
		w.member(name)
	}
}

func (w *walker) enterGroup(name string) {
	version := w.version(1, 9)
	if version >= 5 && w.statics[name] == "" && w.chance(4) {
		w.static++
		w.statics[name] = fmt.Sprintf("i%d", w.static)
	}
	if id := w.statics[name]; id != "" {
		w.join(name, max(version, 5), joining{what: "of a static member", instance: id})
		return
	}
	w.join(name, version, joining{what: "of a new member"})
	if c := w.client(name); w.over == "" && c.id != "" && c.generation < 0 {
		if w.chance(15) {
			w.note("an id that was not used has left", true)
			w.leave(name, w.version(0, 5), leaving{what: "of an id that is not used"})
			w.note("an id that was not used has left", false)
			w.forget(name)
			return
		}
		w.join(name, version, joining{what: "of a new member with its id"})
	}
}

// member does what members do, mostly what the group waits for.
func (w *walker) member(name string) {
	id := w.statics[name]
	inst := func(version int16) string {
		if version >= 3 {
			return id
		}
		return ""
	}
	switch n := w.random.IntN(20); {
	case n < 6:
		j := joining{what: "again", instance: id}
		if w.chance(5) {
			j.what, j.topics = "again, with other topics", []string{"t1", "t2"}
		}
		version := w.version(1, 9)
		if id != "" {
			version = max(version, 5)
		}
		w.join(name, version, j)
	case n < 12:
		version := w.version(0, 5)
		w.sync(name, version, syncing{instance: inst(version), stranger: w.chance(5)})
	case n < 15:
		version := w.version(0, 4)
		w.heartbeat(name, version, beating{instance: inst(version)})
	case n < 17:
		version := w.version(2, 10)
		o := committing{offset: w.random.Int64N(1000), partitions: []int32{w.random.Int32N(topicPartitions)}}
		if version >= 7 {
			o.instance = id
		}
		w.commit(name, version, o)
	case n < 18:
		w.fetch(name, w.version(2, 9), fetching{all: true})
	case n < 19:
		w.away(name)
	default:
		if id != "" {
			// It is back after a restart.
			if w.leader() == name {
				w.note("the leader has gone", true)
			}
			w.forget(name)
			w.join(name, w.version(5, 9), joining{what: "of a static member that is back", instance: id})
		}
	}
}

// away leaves. Where a leader goes and others stay, kfake lets all of them lead:
// that is seen elsewhere, and here now and then.
func (w *walker) away(name string) {
	if w.leader() == name && !w.chance(4) {
		return
	}
	if w.leader() == name {
		w.note("the leader has gone", true)
	}
	version := w.version(0, 5)
	w.leave(name, version, leaving{})
	w.forget(name)
	delete(w.statics, name)
}

// wrong sends what a member should not.
func (w *walker) wrong(name string) {
	switch w.random.IntN(5) {
	case 0:
		w.heartbeat(name, w.version(0, 4), beating{what: "of a wrong generation", generation: 1 + w.random.Int32N(3)})
	case 1:
		w.sync(name, w.version(0, 5), syncing{what: "of a wrong generation", generation: 1 + w.random.Int32N(3)})
	case 2:
		w.commit(name, w.version(2, 8), committing{what: "of a wrong generation", generation: 1 + w.random.Int32N(3)})
	case 3:
		w.heartbeat(name, w.version(0, 4), beating{what: "of a stranger", memberID: &stranger})
	default:
		w.leave(name, w.version(0, 5), leaving{what: "of a stranger", memberID: &stranger})
	}
}

// ofNobody sends what needs no member.
func (w *walker) ofNobody(name string) {
	switch w.random.IntN(5) {
	case 0:
		w.commit(name, w.version(2, 10), committing{what: "of nobody", simple: true, offset: w.random.Int64N(1000)})
	case 1:
		w.fetch(name, w.version(1, 10), fetching{what: "of nobody", partitions: []int32{w.random.Int32N(topicPartitions)}})
	case 2:
		w.deleteGroup(name, "", w.version(0, 3))
	case 3:
		w.deleteOffsets(name, "of any", []string{"t1", "t2"}[w.random.IntN(2)], w.random.Int32N(topicPartitions))
	default:
		w.list("of any", w.version(0, 5), nil, nil)
	}
}

// randomConsumer takes random steps with members of KIP-848 that subscribe to
// the same topics.
func randomConsumer(q *sequence, random *rand.Rand) {
	names := []string{"c1", "c2", "c3", "c4"}[:1+random.IntN(4)]
	subscription := [][]string{{"t1"}, {"t2"}}[random.IntN(2)]
	for range randomSteps {
		if q.over != "" {
			return
		}
		consumerStep(q, random, names[random.IntN(len(names))], subscription)
		q.disjoint()
	}
}

func consumerStep(q *sequence, random *rand.Rand, name string, subscription []string) {
	c := q.pair.sides[1].clients[name]
	if c == nil || c.epoch <= 0 {
		q.live(name, 1, living{what: "of a new member", join: true, topics: subscription})
		return
	}
	switch n := random.IntN(20); {
	case n < 10:
		q.live(name, 1, living{what: "with what it has", owns: true})
	case n < 13:
		q.live(name, 1, living{what: "with nothing to say"})
	case n < 14:
		q.live(name, 1, living{what: "that says everything", full: true, topics: subscription})
	case n < 15:
		q.live(name, 1, living{what: "that joins again", join: true, topics: subscription})
	case n < 16:
		q.live(name, 1, living{what: "of a later epoch", epoch: 1 + random.Int32N(3), owns: true})
	case n < 17:
		q.live(name, 1, living{what: "of a stranger", memberID: &stranger})
	case n < 18:
		q.commit(name, 9+int16(random.IntN(2)), committing{epochs: true, offset: random.Int64N(100), topic: subscription[0]})
	case n < 19:
		id := c.id
		q.fetch(name, 9, fetching{what: "of a member", memberID: &id, epoch: c.epoch, topic: subscription[0]})
	default:
		q.live(name, 1, living{what: "of one that leaves", leave: true})
		q.forget(name)
	}
}
