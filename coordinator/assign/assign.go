package assign

import (
	"slices"
	"sort"
)

// Spec is what an assignor needs to know of a group.
type Spec struct {
	Topics []Topic
	// Members are in the order that decides between what is equal otherwise.
	Members []Member
}

// Topic is a topic that some member subscribes to.
type Topic struct {
	// Racks are those with a replica, by partition; the length is the count of
	// partitions. nil where a partition's nodes have no racks.
	Racks [][]string
}

// Member is a member of the group.
type Member struct {
	Rack   string // "" where it did not say
	Topics []int  // indexes into Spec.Topics, ascending, each once
	// Owned is what the member has now: with what it no longer subscribes to
	// and what no longer exists, if so. Topics ascend.
	Owned []Owned
}

// Owned are partitions of one topic.
type Owned struct {
	Topic      int     // index into Spec.Topics
	Partitions []int32 // ascending
}

// Func is an assignor. It returns what each member is to have, in the order of
// Spec.Members, with the topics ascending and no empty lists of partitions.
type Func func(*Spec) [][]Owned

// ByName returns an assignor by the name that clients use in ServerAssignor.
func ByName(name string) (Func, bool) {
	switch name {
	case "uniform":
		return Uniform, true
	case "range":
		return Range, true
	}
	return nil, false
}

// Names are those that [ByName] knows, the default first.
func Names() []string { return []string{"uniform", "range"} }

// table is a spec with its partitions numbered through, and its racks by number.
type table struct {
	*Spec
	first  []int     // number of each topic's first partition, and the count of all
	owner  []int32   // by partition: the member that has it, -1: nobody
	rack   []int32   // by member; 0: none
	racks  [][]int32 // by partition; nil: none known
	racked bool      // rack and racks say something
}

// nobody owns a partition.
const nobody = -1

func newTable(s *Spec) *table {
	t := &table{Spec: s, first: make([]int, len(s.Topics)+1)}
	for i, topic := range s.Topics {
		t.first[i+1] = t.first[i] + len(topic.Racks)
	}
	t.owner = make([]int32, t.first[len(s.Topics)])
	for i := range t.owner {
		t.owner[i] = nobody
	}
	for m, member := range s.Members {
		for _, o := range member.Owned {
			if o.Topic >= len(s.Topics) || !subscribes(member, o.Topic) {
				continue
			}
			for _, p := range o.Partitions {
				if at := t.first[o.Topic] + int(p); p >= 0 && at < t.first[o.Topic+1] && t.owner[at] == nobody {
					t.owner[at] = int32(m)
				}
			}
		}
	}
	t.numberRacks()
	return t
}

func subscribes(m Member, topic int) bool {
	_, ok := slices.BinarySearch(m.Topics, topic)
	return ok
}

// numberRacks numbers the racks that members are in: others do not matter.
func (t *table) numberRacks() {
	numbers := map[string]int32{}
	t.rack = make([]int32, len(t.Members))
	for m, member := range t.Members {
		if member.Rack == "" {
			continue
		}
		if numbers[member.Rack] == 0 {
			numbers[member.Rack] = int32(len(numbers) + 1)
		}
		t.rack[m] = numbers[member.Rack]
	}
	if len(numbers) == 0 {
		return
	}
	t.racks = make([][]int32, len(t.owner))
	for i, topic := range t.Topics {
		for p, names := range topic.Racks {
			at := t.first[i] + p
			for _, name := range names {
				if n := numbers[name]; n != 0 && !slices.Contains(t.racks[at], n) {
					t.racks[at] = append(t.racks[at], n)
					t.racked = true
				}
			}
		}
	}
}

// near says that a member is in a rack with a replica of the partition.
func (t *table) near(at int, m int32) bool {
	return t.racked && t.rack[m] != 0 && slices.Contains(t.racks[at], t.rack[m])
}

// topicOf is the topic of a numbered partition.
func (t *table) topicOf(at int) int {
	return sort.SearchInts(t.first, at+1) - 1
}

// result lists what each member is to have.
func (t *table) result() [][]Owned {
	counts := make([]int, len(t.Members))
	for _, m := range t.owner {
		if m != nobody {
			counts[m]++
		}
	}
	// One array for all: members' lists are cut from it.
	all := make([]int32, 0, len(t.owner))
	lists := make([][]int32, len(t.Members))
	for m, n := range counts {
		lists[m] = all[len(all) : len(all) : len(all)+n]
		all = all[:len(all)+n]
	}
	out := make([][]Owned, len(t.Members))
	for topic := range t.Topics {
		for at := t.first[topic]; at < t.first[topic+1]; at++ {
			m := t.owner[at]
			if m == nobody {
				continue
			}
			lists[m] = append(lists[m], int32(at-t.first[topic]))
			if n := len(out[m]); n == 0 || out[m][n-1].Topic != topic {
				out[m] = append(out[m], Owned{Topic: topic})
			}
			last := &out[m][len(out[m])-1]
			n := len(last.Partitions) + 1
			last.Partitions = lists[m][len(lists[m])-n : len(lists[m]) : len(lists[m])]
		}
	}
	return out
}
