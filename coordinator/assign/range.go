package assign

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// Range balances each topic by itself. Topics with as many partitions and the
// same subscribers are one class: the partitions of one number go together. A
// class that is assigned anew is cut into ranges, in the order of the members;
// what stays with its member is not moved to keep ranges in one piece.
func Range(spec *Spec) [][]Owned {
	t := newTable(spec)
	load := make([]int, len(t.Members))
	for _, c := range t.classes() {
		t.rangeClass(c, load)
	}
	return t.result()
}

// class are topics that are co-partitioned.
type class struct {
	topics      []int
	subscribers []int32
	partitions  int
}

// classes puts the topics that have subscribers into classes.
func (t *table) classes() []*class {
	subscribers := make([][]int32, len(t.Topics))
	for m, member := range t.Members {
		for _, topic := range member.Topics {
			subscribers[topic] = append(subscribers[topic], int32(m))
		}
	}
	var out []*class
	byKey := map[string]*class{}
	var key []byte
	for topic, members := range subscribers {
		if len(members) == 0 {
			continue
		}
		partitions := len(t.Topics[topic].Racks)
		key = binary.AppendUvarint(key[:0], uint64(partitions))
		for _, m := range members {
			key = binary.AppendUvarint(key, uint64(m))
		}
		c := byKey[string(key)]
		if c == nil {
			c = &class{subscribers: members, partitions: partitions}
			byKey[string(key)] = c
			out = append(out, c)
		}
		c.topics = append(c.topics, topic)
	}
	// Those with the least choice first: the others even out the odd ones.
	slices.SortStableFunc(out, func(a, b *class) int {
		return cmp.Compare(len(a.subscribers), len(b.subscribers))
	})
	return out
}

// rangeClass assigns a class, and adds to the members' loads.
func (t *table) rangeClass(c *class, load []int) {
	place := make(map[int32]int32, len(c.subscribers)) // of a member among the subscribers
	s := spread{
		members: len(c.subscribers),
		owner:   make([]int32, c.partitions),
		topic:   func(int) int { return 0 },
		rack:    make([]int32, len(c.subscribers)),
		load:    make([]int, len(c.subscribers)),
		runs:    true,
	}
	for i, m := range c.subscribers {
		place[m] = int32(i)
		s.rack[i] = t.rack[m]
		s.load[i] = load[m]
	}
	for p := range s.owner {
		s.owner[p] = t.holder(c, p, place)
	}
	if t.racked {
		racks := t.commonRacks(c)
		s.racks = func(unit int) []int32 { return racks[unit] }
		s.near = func(unit int, i int32) bool {
			return s.rack[i] != 0 && slices.Contains(racks[unit], s.rack[i])
		}
	}
	s.run()
	for p, i := range s.owner {
		m := c.subscribers[i]
		load[m] += len(c.topics)
		for _, topic := range c.topics {
			t.owner[t.first[topic]+p] = m
		}
	}
}

// holder is who has partition p of most topics of a class, the first of equals.
func (t *table) holder(c *class, p int, place map[int32]int32) int32 {
	if len(c.topics) == 1 {
		if m := t.owner[t.first[c.topics[0]]+p]; m != nobody {
			return place[m]
		}
		return nobody
	}
	best, most := int32(nobody), 0
	votes := map[int32]int{}
	for _, topic := range c.topics {
		m := t.owner[t.first[topic]+p]
		if m == nobody {
			continue
		}
		i := place[m]
		votes[i]++
		if n := votes[i]; n > most || n == most && i < best {
			best, most = i, n
		}
	}
	return best
}

// commonRacks are, by partition, the racks with a replica of it in each topic
// of the class.
func (t *table) commonRacks(c *class) [][]int32 {
	out := make([][]int32, c.partitions)
	for p := range out {
		for _, rack := range t.racks[t.first[c.topics[0]]+p] {
			if !slices.ContainsFunc(c.topics, func(topic int) bool {
				return !slices.Contains(t.racks[t.first[topic]+p], rack)
			}) {
				out[p] = append(out[p], rack)
			}
		}
	}
	return out
}
