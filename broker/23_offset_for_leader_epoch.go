package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fanfold/fanfold/protocol"
)

// OffsetForLeaderEpoch (23), versions 2–4.
//
//	2    the current leader epoch, throttle time
//	3    the replica that asks
//	4    flexible

func (c *conn) offsetForLeaderEpoch(_ context.Context, req *kmsg.OffsetForLeaderEpochRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
	image := c.srv.node.Image()
	resp.Topics = make([]kmsg.OffsetForLeaderEpochResponseTopic, len(req.Topics))
	for i := range req.Topics {
		asked, out := &req.Topics[i], &resp.Topics[i]
		out.Topic = asked.Topic
		out.Partitions = make([]kmsg.OffsetForLeaderEpochResponseTopicPartition, len(asked.Partitions))
		for j := range asked.Partitions {
			a, p := &asked.Partitions[j], &out.Partitions[j]
			p.Partition, p.LeaderEpoch, p.EndOffset = a.Partition, -1, -1
			r, err := c.srv.replicaByName(image, asked.Topic, a.Partition)
			if err == nil {
				p.LeaderEpoch, p.EndOffset, err = r.EpochEndOffset(a.CurrentLeaderEpoch, a.LeaderEpoch)
			}
			p.ErrorCode, _ = protocol.ErrorOf(err)
		}
	}
	return resp
}
