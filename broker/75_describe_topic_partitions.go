package broker

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fanfold/fanfold/cluster"
	"github.com/fanfold/fanfold/protocol"
)

// DescribeTopicPartitions (75), version 0 (KIP-966): metadata in pages. Topics
// come by name; a cursor names the topic and partition that the next page
// begins with.

// maxDescribedPartitions bounds a page, whatever is asked for, as Kafka's
// max.request.partition.size.limit does.
const maxDescribedPartitions = 2000

func (c *conn) describeTopicPartitions(_ context.Context, req *kmsg.DescribeTopicPartitionsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.DescribeTopicPartitionsResponse)
	room := min(max(req.ResponsePartitionLimit, 1), maxDescribedPartitions)
	from := kmsg.DescribeTopicPartitionsRequestCursor{}
	if req.Cursor != nil {
		from = *req.Cursor
	}
	image := c.srv.node.Image()
	for _, name := range describedTopics(image, req, from.Topic) {
		first := int32(0)
		if name == from.Topic {
			first = max(from.Partition, 0)
		}
		if room == 0 {
			resp.NextCursor = &kmsg.DescribeTopicPartitionsResponseNextCursor{Topic: name, Partition: first}
			return resp
		}
		out, next := c.srv.describedTopic(image, name, first, room)
		room -= int32(len(out.Partitions))
		resp.Topics = append(resp.Topics, out)
		if next >= 0 {
			resp.NextCursor = &kmsg.DescribeTopicPartitionsResponseNextCursor{Topic: name, Partition: next}
			return resp
		}
	}
	return resp
}

// describedTopics are the names that are asked for, none: all, from one on.
func describedTopics(image *cluster.Image, req *kmsg.DescribeTopicPartitionsRequest, from string) []string {
	var names []string
	if len(req.Topics) == 0 {
		for t := range image.TopicsFrom(from) {
			names = append(names, t.Name)
		}
		return names
	}
	for i := range req.Topics {
		if name := req.Topics[i].Topic; name >= from {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// describedTopic describes at most room partitions from first on. next is the
// one that the next page begins with, −1 where the topic is complete.
func (s *Server) describedTopic(image *cluster.Image, name string, first, room int32) (out kmsg.DescribeTopicPartitionsResponseTopic, next int32) {
	out = kmsg.NewDescribeTopicPartitionsResponseTopic()
	out.Topic, out.AuthorizedOperations = &name, topicOperations
	t, err := topicByName(image, name)
	if err != nil {
		if invalid := cluster.ValidateTopicName(name); invalid != nil {
			err = protocol.Errorf(kerr.InvalidTopicException, "%v", invalid)
		}
		out.ErrorCode, _ = protocol.ErrorOf(err)
		return out, -1
	}
	out.TopicID, out.IsInternal = t.ID, t.Internal
	count := int32(len(t.Partitions))
	end := min(count, first+room)
	for number := first; number < end; number++ {
		p := kmsg.NewDescribeTopicPartitionsResponseTopicPartition()
		p.Partition = number
		p.LeaderID, p.LeaderEpoch = s.leader(t, number)
		p.Replicas, p.ISR, p.OfflineReplicas = s.replicas(t, number)
		p.EligibleLeaderReplicas, p.LastKnownELR = []int32{}, []int32{} // Java's admin client takes no null
		out.Partitions = append(out.Partitions, p)
	}
	if end < count {
		return out, end
	}
	return out, -1
}
