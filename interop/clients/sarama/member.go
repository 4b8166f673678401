package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/fanfold/fanfold/interop/driver"
	"github.com/fanfold/fanfold/interop/group"
)

func (client) Join(ctx context.Context, o driver.Options, m *driver.Member) error {
	if o.Protocol != "eager" {
		return fmt.Errorf("no protocol %q", o.Protocol)
	}
	c, err := config(o)
	if err != nil {
		return err
	}
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Offsets.AutoCommit.Interval = 100 * time.Millisecond
	c.Consumer.Group.Session.Timeout = o.Session
	c.Consumer.Group.Heartbeat.Interval = o.Heartbeat
	c.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategyRange()}
	c.Consumer.Return.Errors = true
	g, err := sarama.NewConsumerGroup([]string{o.Brokers}, o.Group, c)
	if err != nil {
		return err
	}
	var noting sync.WaitGroup
	noting.Go(func() {
		for err := range g.Errors() {
			m.Note(err)
		}
	})
	for ctx.Err() == nil {
		// It returns when the group is rebalanced: its users call it again.
		if err := g.Consume(ctx, []string{o.Topic}, handler{o.Topic, m}); err != nil && ctx.Err() == nil {
			m.Note(err)
		}
	}
	err = g.Close()
	noting.Wait()
	return err
}

// handler prints no commits: the library commits by itself what is marked, and
// does not say when.
type handler struct {
	topic string
	m     *driver.Member
}

func (h handler) Setup(s sarama.ConsumerGroupSession) error {
	h.m.Assigned(s.GenerationID(), s.Claims()[h.topic])
	return nil
}

func (h handler) Cleanup(s sarama.ConsumerGroupSession) error {
	h.m.Revoked(s.Claims()[h.topic])
	return nil
}

func (h handler) ConsumeClaim(s sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case msg, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			h.m.Handle(msg.Partition, msg.Offset, msg.Value)
			s.MarkMessage(msg, "")
		case <-s.Context().Done():
			return nil
		}
	}
}

func (client) Describe(_ context.Context, o driver.Options) (group.Event, error) {
	var e group.Event
	c, err := config(o)
	if err != nil {
		return e, err
	}
	adm, err := sarama.NewClusterAdmin([]string{o.Brokers}, c)
	if err != nil {
		return e, err
	}
	defer adm.Close()
	list, err := adm.ListConsumerGroups()
	if err != nil {
		return e, err
	}
	_, e.Listed = list[o.Group]
	described, err := adm.DescribeConsumerGroups([]string{o.Group})
	if err != nil {
		return e, err
	}
	g := described[0]
	if g.Err != sarama.ErrNoError {
		return e, g.Err
	}
	e.State, e.Members, e.Assignor = g.State, len(g.Members), g.Protocol
	for _, member := range g.Members {
		a, err := member.GetMemberAssignment()
		if err != nil {
			return e, err
		}
		if a != nil {
			e.Assignments += len(a.Topics[o.Topic])
		}
	}
	e.Offsets, err = committed(adm, o)
	return e, err
}

// committed asks for all of the group's offsets.
func committed(adm sarama.ClusterAdmin, o driver.Options) (map[int32]int64, error) {
	r, err := adm.ListConsumerGroupOffsets(o.Group, nil)
	if err != nil {
		return nil, err
	}
	offsets, errs := map[int32]int64{}, []error{}
	for p, block := range r.Blocks[o.Topic] {
		if block.Err != sarama.ErrNoError {
			errs = append(errs, fmt.Errorf("partition %d: %w", p, block.Err))
		}
		offsets[p] = block.Offset
	}
	return offsets, errors.Join(errs...)
}
