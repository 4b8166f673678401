package interop

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// What all groups are made of.
const (
	groupPartitions = 6
	groupBacklog    = 3000 // records that are there before the first member
	groupSession    = 6 * time.Second
	groupHeartbeat  = 500 * time.Millisecond
	groupsAtOnce    = 4 // four times four processes, which mostly wait
)

// memberKind is a client and how it joins.
type memberKind struct{ client, protocol string }

// scenario is a group whose first three members start at once; the second is
// killed, and the fourth added.
type scenario struct {
	name    string
	members [4]memberKind
	// assignor is what the group is described with.
	assignor string
}

// consumer tells whether the group is one of the new protocol at its end.
func (s scenario) consumer() bool { return s.members[0].protocol == "consumer" }

// same is a group whose members are alike.
func same(client, protocol, assignor string) scenario {
	m := memberKind{client, protocol}
	return scenario{name: client + " " + protocol, members: [4]memberKind{m, m, m, m}, assignor: assignor}
}

// groupScenarios: every client with every protocol that it has, and one group
// of five clients. The slow to start are not all in a row.
var groupScenarios = []scenario{
	same("java", "eager", "range"),
	same("kafkajs", "eager", "RoundRobinAssigner"),
	same("kafka-go", "eager", "range"),
	same("librdkafka", "eager", "range"),
	same("java", "cooperative", "cooperative-sticky"),
	same("librdkafka", "cooperative", "cooperative-sticky"),
	same("franz-go", "eager", "range"),
	same("librdkafka", "consumer", "uniform"),
	same("java", "consumer", "uniform"),
	same("franz-go", "consumer", "uniform"),
	same("sarama", "eager", "range"),
	same("franz-go", "cooperative", "cooperative-sticky"),
	{
		name: "clients together", assignor: "range",
		members: [4]memberKind{{"sarama", "eager"}, {"java", "eager"}, {"librdkafka", "eager"}, {"franz-go", "eager"}},
	},
	{
		name: "consumers together", assignor: "uniform",
		members: [4]memberKind{{"java", "consumer"}, {"librdkafka", "consumer"}, {"franz-go", "consumer"}, {"librdkafka", "consumer"}},
	},
}

// TestGroups: groups of each client, while records are written. Three members
// share the partitions, one is killed with -9 and the others take over, one is
// added; at the end every record was handled, everything handled is committed,
// and the members have left.
func TestGroups(t *testing.T) {
	b := brokerOf(t, suite.kind.With(withoutDelay))
	slots := make(chan struct{}, groupsAtOnce)
	var all sync.WaitGroup
	defer all.Wait()
	beside := func(name string, test func(t *testing.T)) {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			t.Run(name, test)
		})
	}
	beside("Kafka's tools", testTools)
	beside(migration.name, func(t *testing.T) { newGroup(t, b, "group-that-migrates", migration).migrate() })
	for i, s := range groupScenarios {
		beside(s.name, func(t *testing.T) { newGroup(t, b, fmt.Sprintf("group-%d", i), s).run() })
	}
}

// run plays the scenario.
func (g *groupRun) run() {
	began := time.Now()
	for i := range 3 {
		g.start(i)
	}
	g.until("three members share the partitions and work", func() bool {
		return g.judge.SharedBy("m1", "m2", "m3") && g.judge.Working()
	})
	shared := time.Now()
	g.describedAsStable(3)
	g.kill(1)
	killed := time.Now()
	g.until("the survivors have taken over", func() bool {
		return g.judge.SharedBy("m1", "m3") && g.judge.Working()
	})
	taken := time.Now()
	g.start(3)
	g.until("the fourth has its part and works", func() bool {
		return g.judge.SharedBy("m1", "m3", "m4") && g.judge.Working()
	})
	added := time.Now()
	ends := g.feed.stop()
	g.until("everything is handled", func() bool { return slices.Equal(g.judge.Ends(), ends) })
	g.leave(0, 2, 3)
	g.isOver(ends)
	g.t.Logf("%d records handled, %d of them again; shared after %v, taken over %v after the kill, shared with the fourth after %v, over after %v",
		total(ends), g.judge.Repeated(), since(began, shared), since(killed, taken), since(taken, added), since(added, time.Now()))
}

// migration is a group that moves from the classic protocol to the new one and
// back, while records are handled.
var migration = scenario{
	name: "migration", assignor: "cooperative-sticky",
	members: [4]memberKind{{"java", "cooperative"}, {"franz-go", "cooperative"}, {"librdkafka", "consumer"}, {"franz-go", "consumer"}},
}

// migrate has two classic members; a third of the new protocol makes the group
// one of that; a classic one is killed, another of the new protocol added; when
// these two have left, the group is a classic one again.
func (g *groupRun) migrate() {
	adm := admin(g.t, g.b)
	g.start(0)
	g.start(1)
	g.until("two classic members share the partitions and work", func() bool { return g.judge.SharedBy("m1", "m2") && g.judge.Working() })
	g.describedAsStable(2)
	g.isOfType(adm, "classic")
	g.start(2)
	g.until("one of the new protocol has its part and works", func() bool {
		return g.judge.SharedBy("m1", "m2", "m3") && g.judge.Working()
	})
	g.isOfType(adm, "consumer")
	g.kill(1)
	g.until("the survivors have taken over", func() bool { return g.judge.SharedBy("m1", "m3") && g.judge.Working() })
	g.start(3)
	g.until("the fourth has its part and works", func() bool {
		return g.judge.SharedBy("m1", "m3", "m4") && g.judge.Working()
	})
	g.leave(3)
	g.until("the two share its part and work", func() bool { return g.judge.SharedBy("m1", "m3") && g.judge.Working() })
	g.leave(2)
	g.until("the classic member is left with everything", func() bool { return g.judge.SharedBy("m1") && g.judge.Working() })
	g.isOfType(adm, "classic")
	ends := g.feed.stop()
	g.until("everything is handled", func() bool { return slices.Equal(g.judge.Ends(), ends) })
	g.leave(0)
	g.isOver(ends)
}

// isOfType checks how the group is listed.
func (g *groupRun) isOfType(adm *kadm.Client, kind string) {
	g.t.Helper()
	list, err := adm.ListGroupsByType(g.t.Context(), []string{kind})
	if err != nil {
		g.fatalf("list %s groups: %v", kind, err)
	}
	if list[g.name].Group == "" {
		g.fatalf("the group is not among the %s groups: %v", kind, list.Groups())
	}
}

func since(from, to time.Time) time.Duration { return to.Sub(from).Round(100 * time.Millisecond) }

func total(ends []int64) (sum int64) {
	for _, end := range ends {
		sum += end
	}
	return sum
}

// describedAsStable asks for the group by the first member's own admin API. It
// asks again where the group has just begun to rebalance, or where a client
// that commits now and then has not done so yet.
func (g *groupRun) describedAsStable(members int) {
	g.t.Helper()
	deadline := time.Now().Add(groupSession)
	for {
		asked := len(g.judge.Descriptions())
		g.ask(0, "describe")
		g.until("the group is described", func() bool { return len(g.judge.Descriptions()) > asked })
		d := g.judge.Descriptions()[asked]
		if d.Error == "" && d.Listed && d.State == "Stable" && d.Members == members && d.Assignments == groupPartitions &&
			len(d.Offsets) == groupPartitions && (d.Assignor == "" || d.Assignor == g.assignor) {
			return
		}
		if time.Now().After(deadline) {
			g.fatalf("%s described the group of %d members and %d partitions as %+v", g.members[0].process.name, members, groupPartitions, d)
		}
	}
}

// isOver checks what is left: the group has no members, everything is
// committed, and the group can be deleted.
func (g *groupRun) isOver(ends []int64) {
	g.t.Helper()
	adm := admin(g.t, g.b)
	g.isEmpty(adm)
	offsets, err := adm.FetchOffsets(g.t.Context(), g.name)
	if err = errors.Join(err, offsets.Error()); err != nil {
		g.fatalf("fetch offsets: %v", err)
	}
	for p, end := range ends {
		if r, ok := offsets.Lookup(g.topic, int32(p)); !ok || r.At != end {
			g.fatalf("partition %d ends at %d, and %d is committed (%t)", p, end, r.At, ok)
		}
	}
	if r, err := adm.DeleteGroup(g.t.Context(), g.name); err != nil || r.Err != nil {
		g.t.Errorf("delete the group: %v, %v", err, r.Err)
	}
	if list, err := adm.ListGroups(g.t.Context()); err != nil || list[g.name].Group != "" {
		g.t.Errorf("after its deletion the group is listed as %+v: %v", list[g.name], err)
	}
}

// isEmpty waits until the members, who have said that they left, are gone: far
// less than it takes to find out that a member is dead.
func (g *groupRun) isEmpty(adm *kadm.Client) {
	g.t.Helper()
	deadline := time.After(groupSession / 2)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		state, members, err := g.state(adm)
		if err == nil && members == 0 && state == "Empty" {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			g.fatalf("all have left, and the group is %s with %d members: %v", state, members, err)
		}
	}
}

// state asks in the way of the group's own protocol.
func (g *groupRun) state(adm *kadm.Client) (state string, members int, err error) {
	g.t.Helper()
	if !g.consumer() {
		groups, err := adm.DescribeGroups(g.t.Context(), g.name)
		group := groups[g.name]
		return group.State, len(group.Members), errors.Join(err, group.Err)
	}
	groups, err := adm.DescribeConsumerGroups(g.t.Context(), g.name)
	group := groups[g.name]
	if err == nil && group.AssignorName != g.assignor {
		g.t.Errorf("the assignor is %q, want %q", group.AssignorName, g.assignor)
	}
	return group.State, len(group.Members), errors.Join(err, group.Err)
}

// configure makes a group of the new protocol as quick to miss a member as
// classic members ask for.
func (g *groupRun) configure() {
	g.t.Helper()
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeGroupConfig, g.name
	for name, value := range map[string]time.Duration{
		"consumer.session.timeout.ms": groupSession, "consumer.heartbeat.interval.ms": groupHeartbeat,
	} {
		config := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		config.Name, config.Value = name, kmsg.StringPtr(fmt.Sprint(value.Milliseconds()))
		resource.Configs = append(resource.Configs, config)
	}
	req.Resources = append(req.Resources, resource)
	resp, err := req.RequestWith(g.t.Context(), client(g.t, g.b))
	if err != nil || resp.Resources[0].ErrorCode != 0 {
		g.fatalf("configure the group: %v, %+v", err, resp)
	}
}
