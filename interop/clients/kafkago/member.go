package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/fanfold/fanfold/interop/driver"
	"github.com/fanfold/fanfold/interop/group"
	"github.com/segmentio/kafka-go"
)

// commitEvery is how often what was handled is committed.
const commitEvery = 100 * time.Millisecond

// Join uses ConsumerGroup, what Reader with a GroupID is made of: it shows the
// generations and the assignments.
func (client) Join(ctx context.Context, o driver.Options, m *driver.Member) error {
	if o.Protocol != "eager" {
		return fmt.Errorf("no protocol %q", o.Protocol)
	}
	g, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: o.Group, Brokers: []string{o.Brokers}, Topics: []string{o.Topic},
		SessionTimeout: o.Session, HeartbeatInterval: o.Heartbeat,
		GroupBalancers: []kafka.GroupBalancer{kafka.RangeGroupBalancer{}},
		StartOffset:    kafka.FirstOffset, JoinGroupBackoff: 500 * time.Millisecond,
	})
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		generation, err := g.Next(ctx)
		if err != nil {
			m.Note(err) // it tries again by itself
			continue
		}
		generation.Start((&taken{o, m, generation}).run)
	}
	return g.Close()
}

// taken is a generation that the member takes part in.
type taken struct {
	o          driver.Options
	m          *driver.Member
	generation *kafka.Generation
}

// run handles the partitions' records until the generation ends.
func (t *taken) run(ctx context.Context) {
	if ctx.Err() != nil {
		return // it has ended before it began
	}
	parts := t.generation.Assignments[t.o.Topic]
	ids := make([]int32, len(parts))
	for i, p := range parts {
		ids[i] = int32(p.ID)
	}
	t.m.Assigned(t.generation.ID, ids)
	messages := make(chan kafka.Message)
	var readers sync.WaitGroup
	for _, p := range parts {
		readers.Go(func() { t.read(ctx, p, messages) })
	}
	t.handle(ctx, messages)
	readers.Wait()
	t.m.Revoked(ids)
}

// handle ends, with everything that was handled committed, when ctx does.
func (t *taken) handle(ctx context.Context, messages <-chan kafka.Message) {
	tick := time.NewTicker(commitEvery)
	defer tick.Stop()
	for {
		select {
		case msg := <-messages:
			t.m.Handle(int32(msg.Partition), msg.Offset, msg.Value)
		case <-tick.C:
			t.commit()
		case <-ctx.Done():
			t.commit()
			return
		}
	}
}

func (t *taken) read(ctx context.Context, p kafka.PartitionAssignment, messages chan<- kafka.Message) {
	r := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{t.o.Brokers}, Topic: t.o.Topic, Partition: p.ID, MaxWait: 200 * time.Millisecond,
	})
	defer r.Close()
	if err := r.SetOffset(p.Offset); err != nil {
		t.m.Note(err)
		return
	}
	for {
		msg, err := r.ReadMessage(ctx)
		if err != nil {
			if ctx.Err() == nil {
				t.m.Note(fmt.Errorf("partition %d: %w", p.ID, err))
			}
			return
		}
		select {
		case messages <- msg:
		case <-ctx.Done():
			return
		}
	}
}

func (t *taken) commit() {
	next := t.m.Uncommitted()
	if len(next) == 0 {
		return
	}
	offsets := map[int]int64{}
	for p, offset := range next {
		offsets[int(p)] = offset
	}
	if err := t.generation.CommitOffsets(map[string]map[int]int64{t.o.Topic: offsets}); err != nil {
		t.m.Note(fmt.Errorf("commit: %w", err))
		return
	}
	t.m.Committed(next)
}

func (client) Describe(ctx context.Context, o driver.Options) (group.Event, error) {
	var e group.Event
	cl := &kafka.Client{Addr: kafka.TCP(o.Brokers), Timeout: 30 * time.Second}
	list, err := cl.ListGroups(ctx, &kafka.ListGroupsRequest{})
	if err = errors.Join(err, errorOf(list, func(r *kafka.ListGroupsResponse) error { return r.Error })); err != nil {
		return e, err
	}
	for _, g := range list.Groups {
		e.Listed = e.Listed || g.GroupID == o.Group
	}
	described, err := cl.DescribeGroups(ctx, &kafka.DescribeGroupsRequest{GroupIDs: []string{o.Group}})
	if err != nil {
		return e, err
	}
	g := described.Groups[0]
	if g.Error != nil {
		return e, g.Error
	}
	e.State, e.Members = g.GroupState, len(g.Members)
	for _, member := range g.Members {
		for _, topic := range member.MemberAssignments.Topics {
			e.Assignments += len(topic.Partitions)
		}
	}
	e.Offsets, err = committed(ctx, cl, o)
	return e, err
}

// committed asks for the offsets of every partition.
func committed(ctx context.Context, cl *kafka.Client, o driver.Options) (map[int32]int64, error) {
	parts, err := partitions(o)
	if err != nil {
		return nil, err
	}
	ids := make([]int, len(parts))
	for i, p := range parts {
		ids[i] = p.ID
	}
	r, err := cl.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: o.Group, Topics: map[string][]int{o.Topic: ids}})
	if err = errors.Join(err, errorOf(r, func(r *kafka.OffsetFetchResponse) error { return r.Error })); err != nil {
		return nil, err
	}
	offsets := map[int32]int64{}
	for _, p := range r.Topics[o.Topic] {
		err = errors.Join(err, p.Error)
		offsets[int32(p.Partition)] = p.CommittedOffset
	}
	return offsets, err
}

// errorOf is the error that a response carries, if there is a response.
func errorOf[R any](r *R, of func(*R) error) error {
	if r == nil {
		return nil
	}
	return of(r)
}
