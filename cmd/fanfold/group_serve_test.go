package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestServeGroups works with groups of a broker of our own, over a restart that
// was not announced.
func TestServeGroups(t *testing.T) {
	const partitions, each = 3, 10
	s := newServer(t, "--set", "group.initial.rebalance.delay.ms=0", "--set", "group.consumer.heartbeat.interval.ms=100")
	s.start()
	t.Setenv("FANFOLD_BROKERS", s.address)
	s.createTopic("t", partitions)
	var all []string
	for p := range partitions {
		var lines []string
		for i := range each {
			lines = append(lines, fmt.Sprintf("%d-%d\n", p, i))
		}
		succeed(t, strings.Join(lines, ""), "produce", "t", "-p", fmt.Sprint(p))
		all = append(all, lines...)
	}
	slices.Sort(all)
	protocols := []string{"classic", "consumer"}
	for _, protocol := range protocols {
		read := func(args ...string) []string {
			return slices.Collect(strings.Lines(succeed(t, "", append([]string{"consume", "t", "--group", protocol, "--group-protocol", protocol}, args...)...)))
		}
		got := read("-n", "12")
		if len(got) != 12 {
			t.Fatalf("%s: -n 12 gives %d", protocol, len(got))
		}
		s.Kill()
		s.start()
		committed := int64(0)
		g := describeOne(t, protocol)
		for i := range g.Partitions {
			committed += *g.Partitions[i].Committed
		}
		if committed != 12 || len(g.Members) != 0 {
			t.Errorf("%s: %d are committed after 12 records and kill -9: %+v", protocol, committed, g)
		}
		got = append(got, read("-e")...)
		slices.Sort(got)
		if !slices.Equal(got, all) {
			t.Errorf("%s: in two parts %q", protocol, got)
		}
		want(t, succeed(t, "", "group", "list", "--state", "empty", "--type", protocol), protocol+"  ")
		succeed(t, "", "group", "reset-offsets", protocol, "--topic", "t:1", "--shift-by", "-4", "--execute")
		if got := read("-e"); !slices.Equal(got, []string{"1-6\n", "1-7\n", "1-8\n", "1-9\n"}) {
			t.Errorf("%s: after the reset %q", protocol, got)
		}
	}
	succeed(t, "", "group", "delete-offsets", "classic", "--topic", "t:0,2")
	if g := describeOne(t, "classic"); len(g.Partitions) != 1 || g.Partitions[0].Partition != 1 {
		t.Errorf("%+v", g.Partitions)
	}
	succeed(t, "", append([]string{"group", "delete", "--yes"}, protocols...)...)
	if out := succeed(t, "", "group", "list", "-o", "json"); out != "[]\n" {
		t.Errorf("left %s", out)
	}
	s.stop()
	if lines := s.complaints(); len(lines) > 0 {
		t.Errorf("the broker complains: %q", lines)
	}
}

// TestServeGroupWithMembers shows a group of our own broker while it is read.
func TestServeGroupWithMembers(t *testing.T) {
	s := newServer(t, "--set", "group.initial.rebalance.delay.ms=0", "--set", "group.consumer.heartbeat.interval.ms=100")
	s.start()
	t.Setenv("FANFOLD_BROKERS", s.address)
	s.createTopic("t", 4)
	succeed(t, "one\n", "produce", "t", "-p", "0")
	for _, protocol := range []string{"classic", "consumer"} {
		args := []string{"consume", "t", "--group", protocol, "--group-protocol", protocol}
		stopFirst, stopSecond := startMember(t, args...), startMember(t, args...)
		awaitGroup(t, protocol, func(g groupState) bool {
			return g.State == "Stable" && len(g.Members) == 2 && len(g.owners()) == 4 && len(g.Members[0].Assigned) == 1 && len(g.Members[1].Assigned) == 1 &&
				g.Partitions[0].Committed != nil
		})
		fail(t, exitFailed, "has active members", "", "group", "delete", protocol)
		fail(t, exitFailed, "subscribe to the topic", "", "group", "delete-offsets", protocol, "--topic", "t")
		fail(t, exitFailed, "stop them first", "", "group", "reset-offsets", protocol, "--topic", "t", "--to-latest", "--execute")
		stopFirst()
		awaitGroup(t, protocol, func(g groupState) bool { return g.State == "Stable" && len(g.Members) == 1 && len(g.owners()) == 4 })
		stopSecond()
		awaitGroup(t, protocol, func(g groupState) bool { return g.State == "Empty" })
	}
}
