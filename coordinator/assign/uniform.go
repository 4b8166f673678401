package assign

import (
	"slices"
)

// Uniform balances the numbers of partitions over all topics.
func Uniform(spec *Spec) [][]Owned {
	t := newTable(spec)
	if alike(spec.Members) {
		t.uniformAlike()
	} else {
		newMixed(t).run()
	}
	return t.result()
}

// alike says that all members subscribe to the same topics.
func alike(members []Member) bool {
	for _, m := range members[min(1, len(members)):] {
		if !slices.Equal(m.Topics, members[0].Topics) {
			return false
		}
	}
	return true
}

// uniformAlike is the plain case: each partition may go to any member.
func (t *table) uniformAlike() {
	if len(t.Members) == 0 {
		return
	}
	s := spread{members: len(t.Members), topic: t.topicOf, rack: t.rack, load: make([]int, len(t.Members))}
	units := t.owner
	if topics := t.Members[0].Topics; len(topics) < len(t.Topics) {
		// Nobody subscribes to some: number the others through.
		var numbers []int
		for _, topic := range topics {
			for at := t.first[topic]; at < t.first[topic+1]; at++ {
				numbers = append(numbers, at)
			}
		}
		units = make([]int32, len(numbers))
		for unit, at := range numbers {
			units[unit] = t.owner[at]
		}
		defer func() {
			for unit, at := range numbers {
				t.owner[at] = units[unit]
			}
		}()
		s.topic = func(unit int) int { return t.topicOf(numbers[unit]) }
		if t.racked {
			s.near = func(unit int, m int32) bool { return t.near(numbers[unit], m) }
			s.racks = func(unit int) []int32 { return t.racks[numbers[unit]] }
		}
	} else if t.racked {
		s.near = t.near
		s.racks = func(unit int) []int32 { return t.racks[unit] }
	}
	s.owner = units
	s.run()
}
