package main

import (
	"errors"
	"fmt"

	"github.com/IBM/sarama"
	"github.com/fanfold/fanfold/interop/driver"
)

// groupChecks are those of a group without members.
func groupChecks(adm sarama.ClusterAdmin, cfg *sarama.Config, broker, topic string, c *driver.Checks) {
	group := topic + "-group"
	fetch := func(want int64) error {
		r, err := adm.ListConsumerGroupOffsets(group, map[string][]int32{topic: {1}})
		if err != nil {
			return err
		}
		if b := r.GetBlock(topic, 1); b == nil || b.Err != sarama.ErrNoError || b.Offset != want {
			return fmt.Errorf("want %d, got %+v", want, b)
		}
		return nil
	}
	c.Run("commit without being a member", func() error { return markOffset(cfg, broker, group, topic) })
	c.Run("list offsets of a group", func() error { return fetch(4) })
	c.Run("list groups", func() error {
		list, err := adm.ListConsumerGroups()
		if _, ok := list[group]; err == nil && !ok {
			err = fmt.Errorf("%v", list)
		}
		return err
	})
	c.Run("describe group", func() error {
		list, err := adm.DescribeConsumerGroups([]string{group})
		if err == nil && (len(list) != 1 || list[0].Err != sarama.ErrNoError || list[0].State != "Empty") {
			err = fmt.Errorf("%+v", list[0])
		}
		return err
	})
	c.Run("delete offset of a group", func() error { return adm.DeleteConsumerGroupOffset(group, topic, 1) })
	c.Run("list offsets after deletion", func() error { return fetch(-1) })
	c.Run("delete group", func() error { return adm.DeleteConsumerGroup(group) })
	c.Run("delete a group that is not there", func() error {
		if err := adm.DeleteConsumerGroup(group); !errors.Is(err, sarama.ErrGroupIDNotFound) {
			return fmt.Errorf("want group id not found, got %w", err)
		}
		return nil
	})
}

// markOffset commits 4 to partition 1, as a consumer without a group does, and
// 2 to partition 0.
func markOffset(cfg *sarama.Config, broker, group, topic string) error {
	cl, err := sarama.NewClient([]string{broker}, cfg)
	if err != nil {
		return err
	}
	defer cl.Close()
	om, err := sarama.NewOffsetManagerFromClient(group, cl)
	if err != nil {
		return err
	}
	for partition, offset := range map[int32]int64{0: 2, 1: 4} {
		pom, err := om.ManagePartition(topic, partition)
		if err != nil {
			return errors.Join(err, om.Close())
		}
		pom.MarkOffset(offset, "said")
		defer pom.AsyncClose()
	}
	om.Commit()
	return om.Close()
}
