package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// OffsetCommit (8), versions 2–10.
//
//	2    retention time of the commit, up to version 4; it is not looked at
//	3    throttle time
//	4    the client waits out a throttle
//	5    no retention time any more (KIP-211)
//	6    leader epochs
//	7    static members (KIP-345)
//	8    flexible
//	9    members of KIP-848: STALE_MEMBER_EPOCH, GROUP_ID_NOT_FOUND
//	10   topic ids for names (KIP-848)

func offsetCommitGroup(req *kmsg.OffsetCommitRequest) string { return req.Group }

func offsetCommitFailed(req *kmsg.OffsetCommitRequest, err *kerr.Error) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.OffsetCommitResponse)
	for i := range req.Topics {
		asked := &req.Topics[i]
		t := kmsg.OffsetCommitResponseTopic{Topic: asked.Topic, TopicID: asked.TopicID}
		for _, p := range asked.Partitions {
			t.Partitions = append(t.Partitions, kmsg.OffsetCommitResponseTopicPartition{Partition: p.Partition, ErrorCode: err.Code})
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}
