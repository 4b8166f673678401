package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/fanfold/fanfold/interop/driver"
	"github.com/segmentio/kafka-go"
)

// groupChecks are those of a group without members.
func groupChecks(ctx context.Context, cl *kafka.Client, topic string, c *driver.Checks) {
	group := topic + "-group"
	fetch := func(want ...int64) error {
		r, err := cl.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: {0, 1}}})
		if err != nil {
			return err
		}
		parts := r.Topics[topic]
		if r.Error != nil || len(parts) != 2 {
			return fmt.Errorf("error %w, %d partitions", r.Error, len(parts))
		}
		for _, p := range parts {
			if p.Error != nil || p.CommittedOffset != want[p.Partition] {
				return fmt.Errorf("partition %d: %d, error %w", p.Partition, p.CommittedOffset, p.Error)
			}
		}
		return nil
	}
	c.Settle("find group coordinator", func() error {
		r, err := cl.FindCoordinator(ctx, &kafka.FindCoordinatorRequest{Key: group, KeyType: kafka.CoordinatorKeyTypeConsumer})
		if err != nil {
			return err
		}
		return r.Error
	})
	c.Settle("commit without being a member", func() error {
		r, err := cl.OffsetCommit(ctx, &kafka.OffsetCommitRequest{GroupID: group, GenerationID: -1, Topics: map[string][]kafka.OffsetCommit{
			topic: {{Partition: 0, Offset: 3}, {Partition: 1, Offset: 4, Metadata: "said"}},
		}})
		if err != nil {
			return err
		}
		for _, p := range r.Topics[topic] {
			err = errors.Join(err, p.Error)
		}
		return err
	})
	c.Run("fetch offsets", func() error { return fetch(3, 4) })
	c.Run("delete offsets", func() error {
		r, err := cl.OffsetDelete(ctx, &kafka.OffsetDeleteRequest{GroupID: group, Topics: map[string][]int{topic: {1}}})
		if err != nil {
			return err
		}
		return errors.Join(r.Error, r.Topics[topic][0].Error)
	})
	c.Run("fetch offsets after deletion", func() error { return fetch(3, -1) })
	c.Run("delete group", func() error {
		r, err := cl.DeleteGroups(ctx, &kafka.DeleteGroupsRequest{GroupIDs: []string{group}})
		if err != nil {
			return err
		}
		return r.Errors[group]
	})
	c.Run("fetch offsets of what there is not", func() error { return fetch(-1, -1) })
}
