package interop

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// crashScenarios are groups whose broker is killed.
var crashScenarios = []scenario{
	same("java", "cooperative", "cooperative-sticky"),
	same("java", "consumer", "uniform"),
	same("librdkafka", "eager", "range"),
	same("librdkafka", "consumer", "uniform"),
	same("franz-go", "cooperative", "cooperative-sticky"),
	same("franz-go", "consumer", "uniform"),
	same("sarama", "eager", "range"),
	same("kafka-go", "eager", "range"),
}

// TestGroupsKill9: the broker is killed with -9 while a group works, and again
// while it rebalances. Its members go on without being restarted; every record
// is handled, and nothing that was committed is handled again.
func TestGroupsKill9(t *testing.T) {
	slots := make(chan struct{}, groupsAtOnce)
	var all sync.WaitGroup
	defer all.Wait()
	for i, s := range crashScenarios {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			t.Run(s.name, func(t *testing.T) {
				b := brokerOf(t, suite.kind.With(withoutDelay))
				newGroup(t, b, fmt.Sprintf("crash-%d", i), s).survive()
			})
		})
	}
}

// survive has three members work while the broker is killed, and adds a fourth
// just before it is killed again.
func (g *groupRun) survive() {
	for i := range 3 {
		g.start(i)
	}
	g.until("three members share the partitions and work", func() bool {
		return g.judge.SharedBy("m1", "m2", "m3") && g.judge.Working()
	})
	g.judge.BrokerKilled = true
	g.restartBroker()
	began := time.Now()
	g.goesOn("m1", "m2", "m3")
	first := since(began, time.Now())
	g.start(3)
	// Its first heartbeat or join has made the others rebalance.
	g.until("a member rebalances", func() bool { return !g.judge.SharedBy("m1", "m2", "m3") })
	g.restartBroker()
	began = time.Now()
	g.goesOn("m1", "m2", "m3", "m4")
	second := since(began, time.Now())
	ends := g.feed.stop()
	g.until("everything is handled", func() bool { return slices.Equal(g.judge.Ends(), ends) })
	g.leave(0, 1, 2, 3)
	g.isOver(ends)
	g.t.Logf("%d records handled, %d of them again; all went on %v and %v after the kills", total(ends), g.judge.Repeated(), first, second)
}

// goesOn waits until these members share the partitions, and have handled and,
// where the client says so, committed records of each that were not handled
// before.
func (g *groupRun) goesOn(members ...string) {
	g.t.Helper()
	before := g.judge.Ends()
	beyond := func(now []int64) bool {
		for p := range now {
			if now[p] <= before[p] {
				return false
			}
		}
		return true
	}
	saysCommits := g.scenario.members[0].client != "sarama"
	g.until("the group goes on after the kill", func() bool {
		return g.judge.SharedBy(members...) && g.judge.Working() && beyond(g.judge.Ends()) && (!saysCommits || beyond(g.judge.Commits()))
	})
}

func (g *groupRun) restartBroker() {
	g.t.Helper()
	if err := g.b.Kill(); err != nil {
		g.fatalf("%v", err)
	}
	if err := g.b.Restart(g.t.Context()); err != nil {
		g.fatalf("%v", err)
	}
}
