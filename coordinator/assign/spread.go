package assign

import (
	"cmp"
	"slices"
)

// spread hands out units, each to one of the members, so that their counts
// differ by one at most, and as few as possible change hands. A unit is a
// partition, or the partitions of one number in topics that go together.
type spread struct {
	members int
	owner   []int32               // by unit: who has it, or nobody; then who is to have it
	topic   func(unit int) int    // units of one topic are to go to different members
	near    func(int, int32) bool // the member is in a rack with a replica; nil: no racks
	racks   func(unit int) []int32
	rack    []int32 // by member
	load    []int   // by member: what it has besides; who has less gets the odd ones
	runs    bool    // a member's new units are to follow one another

	count []int  // by member: units that it keeps or has been given
	room  []int  // by member: units that it still is to get
	extra []bool // by member: it may have one more than the least
	odd   int    // how many members may still be given one more
}

// run does it.
func (s *spread) run() {
	if s.members == 0 {
		return
	}
	s.count = make([]int, s.members)
	s.room = make([]int, s.members)
	s.extra = make([]bool, s.members)
	for _, m := range s.owner {
		if m != nobody {
			s.count[m]++
		}
	}
	least := len(s.owner) / s.members
	s.odd = len(s.owner) % s.members
	s.grant(func(m int) bool { return s.count[m] > least })
	s.release(least)
	free := s.free()
	for m := range s.room {
		s.room[m] = least - min(s.count[m], least)
	}
	if s.near != nil {
		free = s.placeNear(free)
	}
	s.grant(func(m int) bool { return !s.extra[m] })
	s.place(free)
}

// grant lets members that are eligible have one more than the least, as long
// as there are units for it: those first that have little besides.
func (s *spread) grant(eligible func(m int) bool) {
	if s.odd == 0 {
		return
	}
	var order []int
	for m := range s.members {
		if eligible(m) {
			order = append(order, m)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(s.load[a], s.load[b]) })
	for _, m := range order[:min(len(order), s.odd)] {
		s.extra[m] = true
		s.room[m]++
		s.odd--
	}
}

// release takes from members what they have too much: what is far from them
// first, then of the topic that they have most of.
func (s *spread) release(least int) {
	over := make([][]int, s.members)
	for unit, m := range s.owner {
		if m != nobody && s.count[m] > s.quota(int(m), least) {
			over[m] = append(over[m], unit)
		}
	}
	type held struct {
		unit, place int
		far         bool
	}
	var all []held
	for m, units := range over {
		if units == nil {
			continue
		}
		all = all[:0]
		seen := map[int]int{}
		for _, unit := range units {
			topic := s.topic(unit)
			all = append(all, held{unit, seen[topic], s.near != nil && !s.near(unit, int32(m))})
			seen[topic]++
		}
		slices.SortStableFunc(all, func(a, b held) int {
			if a.far != b.far {
				if b.far {
					return -1
				}
				return 1
			}
			return cmp.Compare(a.place, b.place)
		})
		for _, h := range all[s.quota(m, least):] {
			s.owner[h.unit] = nobody
		}
		s.count[m] = s.quota(m, least)
	}
}

func (s *spread) quota(m, least int) int {
	if s.extra[m] {
		return least + 1
	}
	return least
}

// free lists the units that nobody has.
func (s *spread) free() []int {
	var free []int
	for unit, m := range s.owner {
		if m == nobody {
			free = append(free, unit)
		}
	}
	return free
}

// placeNear gives units to members in their racks, as far as there is room, and
// returns those that are left. Room for the odd ones comes last.
func (s *spread) placeNear(free []int) []int {
	room := s.queues(func(m int) int { return s.room[m] })
	left := free[:0]
	for _, unit := range free {
		if m := room.take(s.racks(unit)); m != nobody {
			s.give(unit, m)
		} else {
			left = append(left, unit)
		}
	}
	if s.odd == 0 {
		return left
	}
	room = s.queues(func(m int) int {
		if s.extra[m] {
			return 0
		}
		return 1
	})
	free, left = left, left[:0]
	for _, unit := range free {
		m := int32(nobody)
		if s.odd > 0 {
			m = room.take(s.racks(unit))
		}
		if m == nobody {
			left = append(left, unit)
			continue
		}
		s.room[m]++
		s.extra[m] = true
		s.odd--
		s.give(unit, m)
	}
	return left
}

// rackQueues are the members with room, by rack and in turn.
type rackQueues map[int32]*rackQueue

type rackQueue struct {
	members []int32
	room    map[int32]int
	total   int
}

// queues are the members that have room as room says.
func (s *spread) queues(room func(m int) int) rackQueues {
	out := rackQueues{}
	for m, rack := range s.rack {
		n := room(m)
		if rack == 0 || n <= 0 {
			continue
		}
		q := out[rack]
		if q == nil {
			q = &rackQueue{room: map[int32]int{}}
			out[rack] = q
		}
		q.members = append(q.members, int32(m))
		q.room[int32(m)] = n
		q.total += n
	}
	return out
}

// take takes the next member of the rack with the most room.
func (r rackQueues) take(racks []int32) int32 {
	var best *rackQueue
	for _, rack := range racks {
		if q := r[rack]; q != nil && q.total > 0 && (best == nil || q.total > best.total) {
			best = q
		}
	}
	if best == nil {
		return nobody
	}
	m := best.members[0]
	best.members = best.members[1:]
	best.total--
	if best.room[m]--; best.room[m] > 0 {
		best.members = append(best.members, m)
	}
	return m
}

// give gives a unit to a member.
func (s *spread) give(unit int, m int32) {
	s.owner[unit] = m
	s.count[m]++
	s.room[m]--
}

// place gives out the rest: in turn, or each member a run of units.
func (s *spread) place(free []int) {
	open := make([]int32, 0, s.members)
	for m := range s.members {
		if s.room[m] > 0 {
			open = append(open, int32(m))
		}
	}
	if s.runs {
		for _, m := range open {
			for s.room[m] > 0 {
				s.give(free[0], m)
				free = free[1:]
			}
		}
		return
	}
	for len(free) > 0 {
		still := open[:0]
		for _, m := range open {
			if len(free) == 0 {
				return
			}
			s.give(free[0], m)
			free = free[1:]
			if s.room[m] > 0 {
				still = append(still, m)
			}
		}
		open = still
	}
}
