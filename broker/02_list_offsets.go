package broker

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fanfold/fanfold/partition"
	"github.com/fanfold/fanfold/protocol"
)

// ListOffsets (2), versions 1–11.
//
//	2    isolation level, throttle time
//	3    the client waits out a throttle
//	4    leader epochs
//	5    OFFSET_NOT_AVAILABLE (KIP-207); LEADER_NOT_AVAILABLE below
//	6    flexible
//	7    the record of the largest timestamp (KIP-734)
//	8    the earliest local offset (KIP-405)
//	9    the latest tiered offset (KIP-1005)
//	10   a time-out for look-ups in remote storage (KIP-1075)
//	11   the earliest offset that waits for upload (KIP-1023)

// What timestamps below zero ask for.
const (
	latestTimestamp        = -1
	earliestTimestamp      = -2
	maxTimestamp           = -3
	earliestLocalTimestamp = -4
	latestTieredTimestamp  = -5
	earliestPendingUpload  = -6
)

func (c *conn) listOffsets(ctx context.Context, req *kmsg.ListOffsetsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
	if req.TimeoutMillis > 0 {
		var cancel context.CancelFunc
		ctx, cancel = withTimeout(ctx, req.TimeoutMillis)
		defer cancel()
	}
	image := c.srv.node.Image()
	resp.Topics = make([]kmsg.ListOffsetsResponseTopic, len(req.Topics))
	for i := range req.Topics {
		asked, out := &req.Topics[i], &resp.Topics[i]
		out.Topic = asked.Topic
		times := make(map[int32]int, len(asked.Partitions))
		for j := range asked.Partitions {
			times[asked.Partitions[j].Partition]++
		}
		asked.Partitions = firstOf(asked.Partitions, func(p *kmsg.ListOffsetsRequestTopicPartition) int32 { return p.Partition })
		out.Partitions = make([]kmsg.ListOffsetsResponseTopicPartition, len(asked.Partitions))
		for j := range asked.Partitions {
			a, p := &asked.Partitions[j], &out.Partitions[j]
			p.Partition = a.Partition
			r, err := c.srv.replicaByName(image, asked.Topic, a.Partition)
			found := partition.TimestampOffset{Offset: -1, Timestamp: -1, LeaderEpoch: -1}
			if times[a.Partition] > 1 {
				err = protocol.Errorf(kerr.InvalidRequest, "partition %d is named twice in the request", a.Partition)
			}
			if err == nil {
				found, err = listedOffset(ctx, r, a, req)
			}
			if req.Version < 5 && errors.Is(err, kerr.OffsetNotAvailable) {
				err = protocol.Errorf(kerr.LeaderNotAvailable, "%v", err)
			}
			p.ErrorCode, _ = protocol.ErrorOf(err)
			p.Offset, p.Timestamp, p.LeaderEpoch = found.Offset, found.Timestamp, found.LeaderEpoch
		}
	}
	return resp
}

// listedOffset is the offset that a timestamp, or what stands for one, asks
// for; −1 where there is none.
func listedOffset(ctx context.Context, r Replica, a *kmsg.ListOffsetsRequestTopicPartition, req *kmsg.ListOffsetsRequest) (partition.TimestampOffset, error) {
	found := partition.TimestampOffset{Offset: -1, Timestamp: -1, LeaderEpoch: -1}
	since := map[int64]int16{maxTimestamp: 7, earliestLocalTimestamp: 8, latestTieredTimestamp: 9, earliestPendingUpload: 11}
	if a.Timestamp < earliestPendingUpload || req.Version < since[a.Timestamp] {
		return found, protocol.Errorf(kerr.UnsupportedVersion, "timestamp %d has no meaning in version %d", a.Timestamp, req.Version)
	}
	var err error
	switch a.Timestamp {
	case latestTimestamp:
		found.Offset, found.LeaderEpoch, err = r.LatestOffset(a.CurrentLeaderEpoch, req.IsolationLevel)
	case earliestTimestamp, earliestLocalTimestamp:
		found.Offset, found.LeaderEpoch, err = r.EarliestOffset(a.CurrentLeaderEpoch)
	case maxTimestamp:
		found, err = r.MaxTimestamp(ctx, a.CurrentLeaderEpoch)
	case latestTieredTimestamp, earliestPendingUpload:
		// Nothing is in remote storage, and nothing waits to be.
		_, _, err = r.LatestOffset(a.CurrentLeaderEpoch, req.IsolationLevel)
	default:
		found, err = r.OffsetForTimestamp(ctx, a.CurrentLeaderEpoch, a.Timestamp)
	}
	return found, err
}
