package assign

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

// topic has n partitions; racks, if any, are those of the partitions in turn,
// one replica each.
func topic(n int, racks ...string) Topic {
	t := Topic{Racks: make([][]string, n)}
	for p := range t.Racks {
		if len(racks) > 0 {
			t.Racks[p] = []string{racks[p%len(racks)]}
		}
	}
	return t
}

// again makes the assignment what the members own.
func again(s *Spec, out [][]Owned) {
	for m := range s.Members {
		s.Members[m].Owned = out[m]
	}
}

// owners finds who has each partition, and fails where two have it, or one who
// does not subscribe, or where none has it though there are subscribers.
func owners(t interface{ Fatalf(string, ...any) }, s *Spec, out [][]Owned) map[[2]int]int {
	by := map[[2]int]int{}
	for m, owned := range out {
		last := -1
		for _, o := range owned {
			if o.Topic <= last || len(o.Partitions) == 0 || !slices.IsSorted(o.Partitions) {
				t.Fatalf("member %d: topics or partitions are not in order: %v", m, owned)
			}
			last = o.Topic
			if !slices.Contains(s.Members[m].Topics, o.Topic) {
				t.Fatalf("member %d has topic %d without a subscription", m, o.Topic)
			}
			for _, p := range o.Partitions {
				if other, ok := by[[2]int{o.Topic, int(p)}]; ok {
					t.Fatalf("topic %d partition %d: both members %d and %d", o.Topic, p, other, m)
				}
				if int(p) >= len(s.Topics[o.Topic].Racks) {
					t.Fatalf("topic %d has no partition %d", o.Topic, p)
				}
				by[[2]int{o.Topic, int(p)}] = m
			}
		}
	}
	for i, topic := range s.Topics {
		subscribed := slices.ContainsFunc(s.Members, func(m Member) bool { return slices.Contains(m.Topics, i) })
		for p := range topic.Racks {
			if _, ok := by[[2]int{i, p}]; ok != subscribed {
				t.Fatalf("topic %d partition %d: assigned is %v", i, p, ok)
			}
		}
	}
	return by
}

func counts(out [][]Owned) []int {
	n := make([]int, len(out))
	for m, owned := range out {
		for _, o := range owned {
			n[m] += len(o.Partitions)
		}
	}
	return n
}

// moved counts the partitions that a member owned, may keep, and lost.
func moved(s *Spec, by map[[2]int]int) int {
	n := 0
	seen := map[[2]int]bool{}
	for m, member := range s.Members {
		for _, o := range member.Owned {
			for _, p := range o.Partitions {
				key := [2]int{o.Topic, int(p)}
				if o.Topic >= len(s.Topics) || int(p) >= len(s.Topics[o.Topic].Racks) || seen[key] ||
					!slices.Contains(member.Topics, o.Topic) {
					continue
				}
				seen[key] = true
				if by[key] != m {
					n++
				}
			}
		}
	}
	return n
}

// draw makes a spec; with alike all members subscribe to the same.
func draw(t *rapid.T, alike bool) *Spec {
	s := &Spec{}
	racks := []string{"", "a", "b", "c"}[:rapid.IntRange(1, 4).Draw(t, "racks")]
	for i := range rapid.IntRange(0, 5).Draw(t, "topics") {
		topic := Topic{}
		for range rapid.IntRange(0, 7).Draw(t, "partitions"+strconv.Itoa(i)) {
			topic.Racks = append(topic.Racks, rapid.SliceOfNDistinct(rapid.SampledFrom(racks), 0, 2, rapid.ID).Draw(t, "replicas"))
		}
		s.Topics = append(s.Topics, topic)
	}
	var all []int
	for i := range s.Topics {
		all = append(all, i)
	}
	same := subset(t, all)
	for range rapid.IntRange(0, 6).Draw(t, "members") {
		m := Member{Rack: rapid.SampledFrom(racks).Draw(t, "rack"), Topics: same}
		if !alike {
			m.Topics = subset(t, all)
		}
		s.Members = append(s.Members, m)
	}
	// What is owned: of all topics and more partitions than there are.
	for i := range len(s.Topics) {
		for p := range len(s.Topics[i].Racks) + 1 {
			who := rapid.IntRange(-1, len(s.Members)-1).Draw(t, "owner")
			if who < 0 {
				continue
			}
			owned := &s.Members[who].Owned
			if n := len(*owned); n == 0 || (*owned)[n-1].Topic != i {
				*owned = append(*owned, Owned{Topic: i})
			}
			o := &(*owned)[len(*owned)-1]
			o.Partitions = append(o.Partitions, int32(p))
		}
	}
	return s
}

func subset(t *rapid.T, all []int) []int {
	var out []int
	for _, i := range all {
		if rapid.Bool().Draw(t, "subscribed") {
			out = append(out, i)
		}
	}
	return out
}

// sticks assigns once more, and fails where that changes anything.
func sticks(t *rapid.T, assign Func, s *Spec, out [][]Owned) {
	again(s, out)
	if next := assign(s); !reflect.DeepEqual(next, out) {
		t.Fatalf("assigned once more:\n%v\nthen\n%v", out, next)
	}
}

func TestUniformOfMembersAlike(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := draw(t, true)
		if len(s.Members) == 0 {
			return
		}
		before := make([]int, len(s.Members))
		total := 0
		for i, topic := range s.Topics {
			if slices.Contains(s.Members[0].Topics, i) {
				total += len(topic.Racks)
			}
		}
		for m, member := range s.Members {
			for _, o := range member.Owned {
				for _, p := range o.Partitions {
					if slices.Contains(member.Topics, o.Topic) && int(p) < len(s.Topics[o.Topic].Racks) {
						before[m]++
					}
				}
			}
		}
		out := Uniform(s)
		by := owners(t, s, out)
		n := counts(out)
		if slices.Max(n)-slices.Min(n) > 1 {
			t.Fatalf("counts %v", n)
		}
		if got, want := moved(s, by), fewestMoves(before, total); got != want {
			t.Fatalf("%d partitions moved, %d must; owned before: %v, now: %v", got, want, before, n)
		}
		sticks(t, Uniform, s, out)
	})
}

// fewestMoves is how many must be given up so that all have total/n or one more.
func fewestMoves(before []int, total int) int {
	least, odd := total/len(before), total%len(before)
	n := 0
	for _, b := range before {
		switch {
		case b > least && odd > 0:
			odd--
			n += b - least - 1
		case b > least:
			n += b - least
		}
	}
	return n
}

func TestUniformOfMembersThatDiffer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := draw(t, false)
		out := Uniform(s)
		owners(t, s, out)
		n := counts(out)
		// reach[a][b]: a partition can be moved from a to b, maybe by a chain.
		reach := make([][]bool, len(s.Members))
		for a := range reach {
			reach[a] = make([]bool, len(s.Members))
			for b, member := range s.Members {
				reach[a][b] = slices.ContainsFunc(out[a], func(o Owned) bool { return slices.Contains(member.Topics, o.Topic) })
			}
		}
		for via := range reach {
			for a := range reach {
				for b := range reach {
					reach[a][b] = reach[a][b] || reach[a][via] && reach[via][b]
				}
			}
		}
		for a := range reach {
			for b := range reach {
				if reach[a][b] && n[a] > n[b]+1 {
					t.Fatalf("a partition of member %d could go to member %d: counts %v", a, b, n)
				}
			}
		}
		sticks(t, Uniform, s, out)
	})
}

func TestRange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := draw(t, rapid.Bool().Draw(t, "alike"))
		out := Range(s)
		by := owners(t, s, out)
		classes := map[string]int{}
		for i, topic := range s.Topics {
			var who []int
			n := make([]int, len(s.Members))
			for m, member := range s.Members {
				if slices.Contains(member.Topics, i) {
					who = append(who, m)
				}
			}
			if len(who) == 0 {
				continue
			}
			for p := range topic.Racks {
				n[by[[2]int{i, p}]]++
			}
			for _, a := range who {
				for _, b := range who {
					if n[a] > n[b]+1 {
						t.Fatalf("topic %d: counts %v", i, n)
					}
				}
			}
			key := fmt.Sprint(len(topic.Racks), who)
			if other, ok := classes[key]; ok {
				for p := range topic.Racks {
					if by[[2]int{i, p}] != by[[2]int{other, p}] {
						t.Fatalf("topics %d and %d are not co-partitioned at %d", i, other, p)
					}
				}
			}
			classes[key] = i
		}
		sticks(t, Range, s, out)
	})
}

func TestRangeMovesOnlyWhatMustMove(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		partitions := rapid.IntRange(0, 12).Draw(t, "partitions")
		s := &Spec{Topics: []Topic{topic(partitions), topic(partitions)}}
		for range rapid.IntRange(1, 6).Draw(t, "members") {
			s.Members = append(s.Members, Member{Topics: []int{0, 1}})
		}
		again(s, Range(s))
		// Some leave, some come.
		s.Members = s.Members[rapid.IntRange(0, len(s.Members)-1).Draw(t, "leave"):]
		for range rapid.IntRange(0, 3).Draw(t, "come") {
			s.Members = append(s.Members, Member{Topics: []int{0, 1}})
		}
		before := make([]int, len(s.Members))
		for m, member := range s.Members {
			for _, o := range member.Owned[:min(1, len(member.Owned))] {
				before[m] = len(o.Partitions)
			}
		}
		out := Range(s)
		if got, want := moved(s, owners(t, s, out)), 2*fewestMoves(before, partitions); got != want {
			t.Fatalf("%d partitions moved, %d must", got, want)
		}
	})
}

func TestAssignedAnew(t *testing.T) {
	s := &Spec{
		Topics:  []Topic{topic(4), topic(4), topic(3)},
		Members: []Member{{Topics: []int{0, 1, 2}}, {Topics: []int{0, 1, 2}}},
	}
	for _, c := range []struct {
		assign Func
		want   string
	}{
		{Uniform, "[[{0 [0 2]} {1 [0 2]} {2 [0 2]}] [{0 [1 3]} {1 [1 3]} {2 [1]}]]"},
		{Range, "[[{0 [0 1]} {1 [0 1]} {2 [0 1]}] [{0 [2 3]} {1 [2 3]} {2 [2]}]]"},
	} {
		if got := fmt.Sprint(c.assign(s)); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}

func TestRacksArePreferred(t *testing.T) {
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			assign, _ := ByName(name)
			s := &Spec{Topics: []Topic{topic(9, "a", "b", "c"), topic(9, "a", "b", "c")}}
			for _, rack := range []string{"c", "a", "b"} {
				s.Members = append(s.Members, Member{Rack: rack, Topics: []int{0, 1}})
			}
			far := func(out [][]Owned) (n int) {
				for m, owned := range out {
					for _, o := range owned {
						for _, p := range o.Partitions {
							if !slices.Contains(s.Topics[o.Topic].Racks[p], s.Members[m].Rack) {
								n++
							}
						}
					}
				}
				return n
			}
			out := assign(s)
			owners(t, s, out)
			if n := far(out); n != 0 {
				t.Errorf("assigned anew, %d partitions are in another rack: %v", n, out)
			}
			// One had all; what moves to the others moves to its rack.
			for m := range s.Members {
				s.Members[m].Owned = nil
			}
			for i := range s.Topics {
				s.Members[0].Owned = append(s.Members[0].Owned, Owned{Topic: i, Partitions: []int32{0, 1, 2, 3, 4, 5, 6, 7, 8}})
			}
			out = assign(s)
			owners(t, s, out)
			if n := far(out); n != 0 {
				t.Errorf("moved, %d partitions are in another rack: %v", n, out)
			}
		})
	}
}

// One member had everything, and many that subscribe to different topics come:
// the work must stay within bounds, and the result even.
func TestUniformOfManyThatComeAtOnce(t *testing.T) {
	const members, topics, partitions = 300, 200, 50
	for _, clusters := range []int{1, 2, 10} {
		s := &Spec{}
		var all []int
		for i := range topics {
			s.Topics = append(s.Topics, topic(partitions))
			all = append(all, i)
		}
		for m := range members {
			var some []int
			for i := range topics {
				if i%clusters == m%clusters && i%topics != m%topics {
					some = append(some, i)
				}
			}
			s.Members = append(s.Members, Member{Topics: some})
		}
		s.Members[0].Topics = all
		for i := range topics {
			o := Owned{Topic: i}
			for p := range int32(partitions) {
				o.Partitions = append(o.Partitions, p)
			}
			s.Members[0].Owned = append(s.Members[0].Owned, o)
		}
		out := Uniform(s)
		owners(t, s, out)
		if n := counts(out); slices.Max(n)-slices.Min(n) > 1 {
			t.Errorf("%d clusters: between %d and %d partitions", clusters, slices.Min(n), slices.Max(n))
		}
	}
}

func TestByName(t *testing.T) {
	if _, ok := ByName("sticky"); ok {
		t.Error("there is no assignor named sticky")
	}
}

func BenchmarkAssign(b *testing.B) {
	for _, c := range []struct{ members, topics, partitions int }{{500, 1, 1000}, {5000, 1, 5000}, {1000, 1000, 50}} {
		for _, kind := range []string{"uniform", "mixed", "range"} {
			b.Run(fmt.Sprintf("assignor=%s/members=%d/topics=%d/partitions=%d", kind, c.members, c.topics, c.partitions), func(b *testing.B) {
				s := &Spec{}
				var all []int
				for i := range c.topics {
					s.Topics = append(s.Topics, topic(c.partitions))
					all = append(all, i)
				}
				if kind == "mixed" {
					s.Topics = append(s.Topics, topic(1))
				}
				for range c.members {
					s.Members = append(s.Members, Member{Topics: all})
				}
				assign, _ := ByName(kind)
				if kind == "mixed" {
					assign = Uniform
					s.Members[0].Topics = append(slices.Clone(all), c.topics)
				}
				again(s, assign(s))
				s.Members = append(s.Members, Member{Topics: all})
				b.ReportAllocs()
				for b.Loop() {
					assign(s)
				}
			})
		}
	}
}
