package broker

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fanfold/fanfold/cluster"
	"github.com/fanfold/fanfold/protocol"
)

// DescribeLogDirs (35), versions 1–5.
//
//	2    flexible
//	3    an error for the whole answer
//	4    total and usable bytes of the volume
//	5    whether a directory takes no new replicas

func (c *conn) describeLogDirs(_ context.Context, req *kmsg.DescribeLogDirsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.DescribeLogDirsResponse)
	topics := c.srv.logDirTopics(req.Topics)
	for _, d := range c.srv.node.LogDirs() {
		out := kmsg.NewDescribeLogDirsResponseDir()
		out.Dir, out.TotalBytes, out.UsableBytes = d.Path, d.TotalBytes, d.UsableBytes
		if d.Err != nil {
			out.ErrorCode, _ = protocol.ErrorOf(protocol.Errorf(kerr.KafkaStorageError, "%v", d.Err))
		}
		out.Topics = topics
		resp.Dirs = append(resp.Dirs, out)
	}
	return resp
}

// logDirTopics are the replicas of this node that are asked for; nil: all.
func (s *Server) logDirTopics(asked []kmsg.DescribeLogDirsRequestTopic) []kmsg.DescribeLogDirsResponseDirTopic {
	image := s.node.Image()
	list := []kmsg.DescribeLogDirsResponseDirTopic{}
	add := func(t *cluster.Topic, wanted func(int32) bool) {
		out := kmsg.DescribeLogDirsResponseDirTopic{Topic: t.Name}
		for number := range t.Partitions {
			p := int32(number)
			r, err := s.node.Replica(t.ID, p)
			if err != nil || !wanted(p) {
				continue
			}
			out.Partitions = append(out.Partitions, kmsg.DescribeLogDirsResponseDirTopicPartition{Partition: p, Size: r.SizeBytes()})
		}
		if len(out.Partitions) > 0 {
			list = append(list, out)
		}
	}
	if asked == nil {
		for t := range image.Topics() {
			add(t, func(int32) bool { return true })
		}
		return list
	}
	asked = firstOf(asked, func(t *kmsg.DescribeLogDirsRequestTopic) string { return t.Topic })
	for i := range asked {
		if t := image.Topic(asked[i].Topic); t != nil {
			add(t, func(p int32) bool { return slices.Contains(asked[i].Partitions, p) })
		}
	}
	return list
}
