//go:build linux

package main

import (
	"fmt"
	"time"

	"github.com/fanfold/fanfold/bench"
)

const (
	groupRounds     = 10   // rebalances in a run, of which the median counts
	groupPartitions = 1000 // of the topic that a group of many shares
	commitGroups    = 1000
	commitClients   = 1000
)

// groupJoin is from nothing to the first record of a new member of a new group.
func groupJoin(t *turn) (measured, error) {
	l := t.load(bench.Load{RecordBytes: 100, Rate: 1000})
	l.Warmup, l.Duration = 0, 100*time.Millisecond
	if _, err := bench.Produce(t.ctx, l); err != nil {
		return measured{}, err
	}
	s, w := watch(t.server.pid())
	w.Begin()
	var took []float64
	for i := range groupRounds {
		d, err := bench.FirstRecord(t.ctx, []string{t.server.address}, t.topic, fmt.Sprintf("%s-join-%d", t.topic, i))
		if err != nil {
			return measured{}, err
		}
		took = append(took, milliseconds(d))
	}
	w.End()
	m := measured{Values: sample{firstRecord: median(took)}}
	s.into(m.Values, 0)
	return m, s.err
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// groupRebalance is how long a classic group of so many takes to rebalance.
func groupRebalance(members int) func(t *turn) (measured, error) {
	return func(t *turn) (measured, error) {
		s, w := watch(t.server.pid())
		r, err := bench.Rebalance(t.ctx, bench.GroupLoad{
			Brokers: []string{t.server.address}, Group: t.topic + "-group", Topic: t.topic,
			Partitions: groupPartitions, Members: members, Rounds: groupRounds, Watch: w,
		})
		if err != nil {
			return measured{}, err
		}
		var took []float64
		for _, d := range r.Rebalances {
			took = append(took, milliseconds(d))
		}
		m := measured{Values: sample{rebalance: median(took), joinAll: milliseconds(r.Join)}}
		s.into(m.Values, 0)
		return m, s.err
	}
}

// groupCommits is how many offset commits a second there are over so many
// connections with so many commits in flight on each.
func groupCommits(clients, inFlight int) func(t *turn) (measured, error) {
	return func(t *turn) (measured, error) {
		return t.commits(bench.Load{RecordBytes: 16, Clients: clients, InFlight: inFlight})
	}
}

func (t *turn) commits(l bench.Load) (measured, error) {
	l = t.load(l)
	var s *span
	s, l.Watch = watch(t.server.pid())
	r, err := bench.Commits(t.ctx, l, commitGroups)
	if err != nil {
		return measured{}, err
	}
	m := measured{Values: sample{}}
	s.into(m.Values, 0)
	if l.InFlight <= 1 {
		m.acks(r.Ack)
	}
	m.Values[commitsPerSecond] = r.RecordsPerSecond
	m.Values[cpuPerCommit] = m.Values[cpuCores] * 1e6 / max(r.RecordsPerSecond, 1)
	return m, s.err
}

const (
	manyGroups  = 10_000
	manyMembers = 5_000
	memberConns = 200
)

// groupsMany is what many groups, and one of many members, take while nothing
// happens.
func groupsMany(t *turn) (measured, error) {
	groups, members, settle := manyGroups, manyMembers, 15*time.Second
	if t.settings.warmRun == 0 {
		groups, members, settle = 100, 50, time.Second // only to see that it works
	}
	l := t.load(bench.Load{RecordBytes: 16, Clients: commitClients})
	l.Warmup = 0
	if _, err := bench.Commits(t.ctx, l, groups); err != nil {
		return measured{}, err
	}
	s, w := watch(t.server.pid())
	err := bench.HoldGroup(t.ctx, bench.MembersLoad{
		Brokers: []string{t.server.address}, Group: t.topic + "-members", Topic: t.topic,
		Members: members, Connections: min(memberConns, members), Settle: settle,
		Duration: max(t.settings.duration, 5*time.Second), Watch: w,
	})
	if err != nil {
		return measured{}, err
	}
	m := measured{Values: sample{}}
	s.into(m.Values, 0)
	return m, s.err
}
