package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/fanfold/fanfold/interop/driver"
	"github.com/fanfold/fanfold/interop/group"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// protocolOpts choose how the group is joined.
func protocolOpts(o driver.Options) ([]kgo.Opt, error) {
	classic := []kgo.Opt{kgo.SessionTimeout(o.Session), kgo.HeartbeatInterval(o.Heartbeat)}
	switch o.Protocol {
	case "eager":
		return append(classic, kgo.Balancers(kgo.RangeBalancer())), nil
	case "cooperative":
		return append(classic, kgo.Balancers(kgo.CooperativeStickyBalancer())), nil
	case "consumer":
		return []kgo.Opt{kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer())}, nil
	}
	return nil, fmt.Errorf("no protocol %q", o.Protocol)
}

func (client) Join(ctx context.Context, o driver.Options, m *driver.Member) error {
	opts, err := protocolOpts(o)
	if err != nil {
		return err
	}
	j := &joined{topic: o.Topic, m: m}
	cl, err := dial(o, append(opts,
		kgo.ConsumerGroup(o.Group), kgo.ConsumeTopics(o.Topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.WithLogger(kgo.BasicLogger(os.Stderr, kgo.LogLevelWarn, nil)), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(), kgo.OnPartitionsAssigned(j.assigned),
		kgo.OnPartitionsRevoked(j.revoked), kgo.OnPartitionsLost(j.lost))...)
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		j.poll(ctx, cl)
	}
	cl.CloseAllowingRebalance()
	return nil
}

// joined is a member of a group.
type joined struct {
	topic string
	m     *driver.Member
}

func (j *joined) assigned(_ context.Context, cl *kgo.Client, added map[string][]int32) {
	_, generation := cl.GroupMetadata()
	j.m.Assigned(generation, added[j.topic])
}

func (j *joined) revoked(ctx context.Context, cl *kgo.Client, gone map[string][]int32) {
	if len(gone[j.topic]) > 0 {
		j.commit(ctx, cl)
		j.m.Revoked(gone[j.topic])
	}
}

func (j *joined) lost(_ context.Context, _ *kgo.Client, gone map[string][]int32) {
	j.m.Lost(gone[j.topic])
}

// poll handles what came and commits it; meanwhile no partition is given up.
func (j *joined) poll(ctx context.Context, cl *kgo.Client) {
	defer cl.AllowRebalance()
	fetches := cl.PollFetches(ctx)
	for _, e := range fetches.Errors() {
		if !errors.Is(e.Err, context.Canceled) {
			j.m.Note(fmt.Errorf("partition %d: %w", e.Partition, e.Err))
		}
	}
	for r := range fetches.RecordsAll() {
		j.m.Handle(r.Partition, r.Offset, r.Value)
	}
	j.commit(context.WithoutCancel(ctx), cl)
}

// commit commits what was handled. What the broker does not take just now is
// committed with what comes next, or before the partition is given up.
func (j *joined) commit(ctx context.Context, cl *kgo.Client) {
	next := j.m.Uncommitted()
	var records []*kgo.Record
	for _, p := range driver.Partitions(next) {
		records = append(records, &kgo.Record{Topic: j.topic, Partition: p, Offset: next[p] - 1, LeaderEpoch: -1})
	}
	if len(records) == 0 {
		return
	}
	if err := cl.CommitRecords(ctx, records...); err != nil {
		j.m.Note(fmt.Errorf("commit: %w", err))
		return
	}
	j.m.Committed(next)
}

func (client) Describe(ctx context.Context, o driver.Options) (group.Event, error) {
	cl, err := dial(o)
	if err != nil {
		return group.Event{}, err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	var e group.Event
	if o.Protocol == "consumer" {
		err = describeConsumer(ctx, adm, o, &e)
	} else {
		err = describeClassic(ctx, adm, o, &e)
	}
	if err != nil {
		return e, err
	}
	list, err := adm.ListGroups(ctx)
	if err != nil {
		return e, err
	}
	_, e.Listed = list[o.Group]
	offsets, err := adm.FetchOffsets(ctx, o.Group)
	if err = errors.Join(err, offsets.Error()); err != nil {
		return e, err
	}
	e.Offsets = map[int32]int64{}
	for p, r := range offsets[o.Topic] {
		e.Offsets[p] = r.At
	}
	return e, nil
}

func describeClassic(ctx context.Context, adm *kadm.Client, o driver.Options, e *group.Event) error {
	groups, err := adm.DescribeGroups(ctx, o.Group)
	if err != nil {
		return err
	}
	g := groups[o.Group]
	e.State, e.Members, e.Assignor = g.State, len(g.Members), g.Protocol
	for _, partitions := range g.AssignedPartitions() {
		e.Assignments += len(partitions)
	}
	return g.Err
}

func describeConsumer(ctx context.Context, adm *kadm.Client, o driver.Options, e *group.Event) error {
	groups, err := adm.DescribeConsumerGroups(ctx, o.Group)
	if err != nil {
		return err
	}
	g, ok := groups[o.Group]
	if !ok {
		return kerr.GroupIDNotFound
	}
	e.State, e.Members, e.Assignor = g.State, len(g.Members), g.AssignorName
	for _, partitions := range g.AssignedPartitions() {
		e.Assignments += len(partitions)
	}
	return g.Err
}
