package assign

import (
	"container/heap"
	"slices"
)

// mixed is uniform's general case: members subscribe to different topics.
//
// What nobody has goes to the subscriber with the least. Then partitions are
// moved along the shortest chains of members, each to the next, from one that
// has much to one that has at least two less, until there is no such chain: the
// counts cannot be more even then. (It is the unweighted semi-matching of
// Harvey, Ladner, Lovász and Tamir, where cost-reducing paths do the same.)
//
// The work is bounded: where too much of it would be needed, as when the members
// of a large group are almost all others than before, all is assigned anew, which
// comes out nearly even at once.
type mixed struct {
	*table
	subscribers [][]int32 // by topic
	load        []int     // by member
	held        [][]Owned // by member; lists may become empty
	least       leastFirst
	work        int // what may still be done

	// Of the search for a chain: what was seen in this search.
	search      int
	seenMember  []int
	seenTopic   []int
	before      []int32 // the member before, in the chain
	through     []int32 // the topic of which it gives a partition
	closed      []bool  // no chain begins at this member or goes through it
	level, next []int32
}

func newMixed(t *table) *mixed {
	x := &mixed{
		table:       t,
		subscribers: make([][]int32, len(t.Topics)),
		load:        make([]int, len(t.Members)),
		held:        make([][]Owned, len(t.Members)),
		seenMember:  make([]int, len(t.Members)),
		seenTopic:   make([]int, len(t.Topics)),
		before:      make([]int32, len(t.Members)),
		through:     make([]int32, len(t.Members)),
		closed:      make([]bool, len(t.Members)),
	}
	for m, member := range t.Members {
		for _, topic := range member.Topics {
			x.subscribers[topic] = append(x.subscribers[topic], int32(m))
		}
	}
	for _, m := range t.owner {
		if m != nobody {
			x.load[m]++
		}
	}
	return x
}

func (x *mixed) run() {
	if !x.attempt() {
		for topic, members := range x.subscribers {
			for at := x.first[topic]; at < x.first[topic+1] && len(members) > 0; at++ {
				x.owner[at] = nobody
			}
		}
		clear(x.load)
		clear(x.closed)
		x.attempt()
	}
	for m, owned := range x.held {
		for _, o := range owned {
			for _, p := range o.Partitions {
				x.owner[x.first[o.Topic]+int(p)] = int32(m)
			}
		}
	}
}

// attempt does all, or as much of it as may be: then it returns false.
func (x *mixed) attempt() bool {
	x.work = 10_000_000
	for _, members := range x.subscribers {
		x.work += 10 * len(members)
	}
	x.placeFree()
	x.least = x.least[:0]
	for m, owned := range x.result() {
		x.held[m] = x.held[m][:0]
		for _, o := range owned {
			x.held[m] = append(x.held[m], Owned{o.Topic, slices.Clone(o.Partitions)})
		}
		x.least = append(x.least, loaded{x.load[m], int32(m)})
	}
	heap.Init(&x.least)
	return x.balance()
}

// placeFree gives what nobody has to the subscriber with the least, topics with
// few subscribers first: they have the least choice.
func (x *mixed) placeFree() {
	order := make([]int, len(x.Topics))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return len(x.subscribers[a]) - len(x.subscribers[b]) })
	for _, topic := range order {
		if len(x.subscribers[topic]) > 0 {
			x.placeTopic(topic)
		}
	}
}

func (x *mixed) placeTopic(topic int) {
	var all *leastFirst
	var within map[int32]*leastFirst
	for at := x.first[topic]; at < x.first[topic+1]; at++ {
		if x.owner[at] != nobody {
			continue
		}
		if all == nil {
			all, within = x.queues(topic)
		}
		least := all.least(x.load)
		if x.racked {
			for _, rack := range x.racks[at] {
				if q := within[rack]; q != nil {
					if m := q.least(x.load); x.load[m] == x.load[least] {
						least = m
						break
					}
				}
			}
		}
		x.owner[at] = least
		x.load[least]++
		all.push(least, x.load[least])
		if q := within[x.rack[least]]; q != nil {
			q.push(least, x.load[least])
		}
	}
}

// queues are a topic's subscribers, those with the least first: all, and by rack.
func (x *mixed) queues(topic int) (all *leastFirst, within map[int32]*leastFirst) {
	all = &leastFirst{}
	if x.racked {
		within = map[int32]*leastFirst{}
	}
	for _, m := range x.subscribers[topic] {
		*all = append(*all, loaded{x.load[m], m})
		if rack := x.rack[m]; x.racked && rack != 0 {
			if within[rack] == nil {
				within[rack] = &leastFirst{}
			}
			*within[rack] = append(*within[rack], loaded{x.load[m], m})
		}
	}
	heap.Init(all)
	for _, q := range within {
		heap.Init(q)
	}
	return all, within
}

// balance moves partitions along chains while that makes the counts more even.
// It looks from the member with the most. If nothing that can be reached from
// it has two less, then the same is true of all that was reached: they are
// settled, and no later chain needs to go through them. It returns false where
// that would take too long.
func (x *mixed) balance() bool {
	var queue mostFirst
	for m := range x.Members {
		queue.leastFirst = append(queue.leastFirst, loaded{x.load[m], int32(m)})
	}
	heap.Init(&queue)
	for queue.Len() > 0 {
		top := queue.leastFirst[0]
		if x.closed[top.member] || x.load[top.member] != top.load {
			heap.Pop(&queue)
			continue
		}
		end := x.direct(top.member)
		if end == nobody {
			end = x.chain(top.member)
		}
		if x.work < 0 {
			return false
		}
		if end == nobody {
			for m, search := range x.seenMember {
				if search == x.search {
					x.closed[m] = true
				}
			}
			continue
		}
		x.shift(top.member, end)
		heap.Push(&queue, loaded{x.load[top.member], top.member})
		heap.Push(&queue, loaded{x.load[end], end})
		x.least.push(top.member, x.load[top.member])
		x.least.push(end, x.load[end])
	}
	return true
}

// direct is a short cut: it looks whether one of the few members with the least
// of all can be given a partition of the given one.
func (x *mixed) direct(from int32) int32 {
	const few = 8
	var looked []loaded
	var found int32 = nobody
	for len(x.least) > 0 && len(looked) < few && found == nobody {
		e := heap.Pop(&x.least).(loaded)
		if x.closed[e.member] || e.load != x.load[e.member] {
			continue
		}
		looked = append(looked, e)
		if e.load > x.load[from]-2 {
			break
		}
		for _, o := range x.held[from] {
			x.work--
			if len(o.Partitions) > 0 && subscribes(x.Members[e.member], o.Topic) {
				x.before[e.member], x.through[e.member] = from, int32(o.Topic)
				found = e.member
				break
			}
		}
	}
	for _, e := range looked {
		heap.Push(&x.least, e)
	}
	return found
}

// chain looks for the nearest member that has at least two less than the given
// one, and of those equally near for the one with the least.
func (x *mixed) chain(from int32) int32 {
	x.search++
	x.seenMember[from] = x.search
	x.level = append(x.level[:0], from)
	for len(x.level) > 0 {
		var best int32 = nobody
		x.next = x.next[:0]
		for _, giver := range x.level {
			for _, o := range x.held[giver] {
				if len(o.Partitions) == 0 || x.seenTopic[o.Topic] == x.search {
					continue
				}
				x.seenTopic[o.Topic] = x.search
				x.work -= len(x.subscribers[o.Topic])
				for _, m := range x.subscribers[o.Topic] {
					if x.closed[m] || x.seenMember[m] == x.search {
						continue
					}
					x.seenMember[m] = x.search
					x.before[m], x.through[m] = giver, int32(o.Topic)
					x.next = append(x.next, m)
					if x.load[m] <= x.load[from]-2 && (best == nobody || x.load[m] < x.load[best]) {
						best = m
					}
				}
			}
		}
		if best != nobody {
			return best
		}
		x.level, x.next = x.next, x.level
	}
	return nobody
}

// shift moves one partition along each link of the chain that ends at to.
func (x *mixed) shift(from, to int32) {
	x.load[from]--
	x.load[to]++
	for m := to; m != from; m = x.before[m] {
		giver, topic := x.before[m], int(x.through[m])
		x.put(m, topic, x.take(giver, topic, m))
	}
}

// take takes from a member a partition of the topic for another: best one that
// is near the other, and not near itself.
func (x *mixed) take(giver int32, topic int, taker int32) int32 {
	i := slices.IndexFunc(x.held[giver], func(o Owned) bool { return o.Topic == topic })
	parts := x.held[giver][i].Partitions
	best, score := len(parts)-1, -1
	if x.racked {
		for j := len(parts) - 1; j >= 0 && score < 3; j-- {
			at, s := x.first[topic]+int(parts[j]), 0
			if x.near(at, taker) {
				s += 2
			}
			if !x.near(at, giver) {
				s++
			}
			if s > score {
				best, score = j, s
			}
		}
	}
	p := parts[best]
	x.held[giver][i].Partitions = slices.Delete(parts, best, best+1)
	return p
}

// put gives a member a partition.
func (x *mixed) put(m int32, topic int, p int32) {
	i := slices.IndexFunc(x.held[m], func(o Owned) bool { return o.Topic == topic })
	if i < 0 {
		i = len(x.held[m])
		x.held[m] = append(x.held[m], Owned{Topic: topic})
	}
	x.held[m][i].Partitions = append(x.held[m][i].Partitions, p)
}

// loaded is a member with its count of partitions as of then.
type loaded struct {
	load   int
	member int32
}

// leastFirst is a heap of members, that with the least first. Entries that are
// out of date are dropped when they come up.
type leastFirst []loaded

func (q leastFirst) Len() int      { return len(q) }
func (q leastFirst) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q leastFirst) Less(i, j int) bool {
	return q[i].load < q[j].load || q[i].load == q[j].load && q[i].member < q[j].member
}
func (q *leastFirst) Push(e any) { *q = append(*q, e.(loaded)) }
func (q *leastFirst) Pop() any {
	old := *q
	e := old[len(old)-1]
	*q = old[:len(old)-1]
	return e
}

func (q *leastFirst) push(m int32, load int) { heap.Push(q, loaded{load, m}) }

// least is the member with the least. Loads only grow meanwhile, and each
// change was pushed by push.
func (q *leastFirst) least(load []int) int32 {
	for (*q)[0].load != load[(*q)[0].member] {
		heap.Pop(q)
	}
	return (*q)[0].member
}

// mostFirst is a heap of members, that with the most first.
type mostFirst struct{ leastFirst }

func (q mostFirst) Less(i, j int) bool {
	a, b := q.leastFirst[i], q.leastFirst[j]
	return a.load > b.load || a.load == b.load && a.member < b.member
}
