package broker

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fanfold/fanfold/cluster"
	"github.com/fanfold/fanfold/protocol"
)

// CreatePartitions (37), versions 0–3 (KIP-195).
//
//	1    the client waits out a throttle
//	2    flexible
//	3    a throttle's own error

func (c *conn) createPartitions(ctx context.Context, req *kmsg.CreatePartitionsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.CreatePartitionsResponse)
	ctx, cancel := withTimeout(ctx, req.TimeoutMillis)
	defer cancel()
	times := make(map[string]int, len(req.Topics))
	for i := range req.Topics {
		times[req.Topics[i].Topic]++
	}
	for i := range req.Topics {
		asked := &req.Topics[i]
		if times[asked.Topic] == 0 {
			continue // answered, where it came first
		}
		out := kmsg.NewCreatePartitionsResponseTopic()
		out.Topic = asked.Topic
		err := error(nil)
		if times[asked.Topic] > 1 {
			err = protocol.Errorf(kerr.InvalidRequest, "topic %q is named twice in the request", clip(asked.Topic))
		} else {
			err = c.srv.growTopic(ctx, asked, req.ValidateOnly)
		}
		times[asked.Topic] = 0
		fillError(&out.ErrorCode, &out.ErrorMessage, err)
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

func (s *Server) growTopic(ctx context.Context, asked *kmsg.CreatePartitionsRequestTopic, validateOnly bool) error {
	image := s.node.Image()
	t, err := topicByName(image, asked.Topic)
	if err != nil {
		return err
	}
	if t.Internal {
		return protocol.Errorf(kerr.InvalidTopicException, "topic %q belongs to the broker: which partition holds what depends on their number", t.Name)
	}
	var assignment [][]int32
	for _, a := range asked.Assignment {
		assignment = append(assignment, a.Replicas)
	}
	cmd, err := cluster.NewCreatePartitions(image, t, asked.Count, assignment, s.defaults().Limits)
	if err == nil {
		err = s.roomForFiles(len(cmd.Assignment))
	}
	if err != nil || validateOnly {
		return err
	}
	if _, err := s.node.Propose(ctx, cmd); err != nil {
		return err
	}
	if err := s.node.WaitReady(ctx, t.ID); errors.Is(err, context.DeadlineExceeded) {
		return protocol.Errorf(kerr.RequestTimedOut, "partitions of %q are being created", t.Name)
	} else if err != nil {
		return err
	}
	return nil
}
