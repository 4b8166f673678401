package broker

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fanfold/fanfold/cluster"
	"github.com/fanfold/fanfold/protocol"
)

// DeleteTopics (20), versions 1–6.
//
//	1    throttle time
//	2    the client waits out a throttle
//	3    TOPIC_DELETION_DISABLED
//	4    flexible
//	5    error messages
//	6    topics may be named by id

func (c *conn) deleteTopics(ctx context.Context, req *kmsg.DeleteTopicsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.DeleteTopicsResponse)
	ctx, cancel := withTimeout(ctx, req.TimeoutMillis)
	defer cancel()
	asked := req.Topics
	for i := range req.TopicNames {
		asked = append(asked, kmsg.DeleteTopicsRequestTopic{Topic: &req.TopicNames[i]})
	}
	image := c.srv.node.Image()
	times := make(map[namedTopic]int, len(asked))
	for i := range asked {
		times[nameOf(image, &asked[i])]++
	}
	for i := range asked {
		name := nameOf(image, &asked[i])
		if times[name] == 0 {
			continue // answered, where it came first
		}
		out := kmsg.NewDeleteTopicsResponseTopic()
		out.Topic, out.TopicID = asked[i].Topic, asked[i].TopicID
		err := error(nil)
		if times[name] > 1 {
			err = protocol.Errorf(kerr.InvalidRequest, "a topic is named twice in the request")
		} else {
			err = c.srv.deleteRequested(ctx, &asked[i], &out)
		}
		times[name] = 0
		fillError(&out.ErrorCode, &out.ErrorMessage, err)
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

// namedTopic is a topic as requests name it: by id where there is such a topic.
type namedTopic struct {
	name string
	id   cluster.TopicID
}

func nameOf(image *cluster.Image, asked *kmsg.DeleteTopicsRequestTopic) namedTopic {
	id := cluster.TopicID(asked.TopicID)
	if asked.Topic == nil {
		return namedTopic{id: id}
	}
	if t := image.Topic(*asked.Topic); t != nil && id.IsZero() {
		return namedTopic{id: t.ID}
	}
	return namedTopic{name: *asked.Topic, id: id}
}

func (s *Server) deleteRequested(ctx context.Context, asked *kmsg.DeleteTopicsRequestTopic, out *kmsg.DeleteTopicsResponseTopic) error {
	t, err := s.deletable(asked)
	if err != nil {
		return err
	}
	out.Topic, out.TopicID = &t.Name, t.ID
	_, err = s.node.Propose(ctx, &cluster.DeleteTopic{ID: t.ID, TimeMs: time.Now().UnixMilli()})
	return err
}

// deletable is the topic that is asked for by name or id, if it may go.
func (s *Server) deletable(asked *kmsg.DeleteTopicsRequestTopic) (*cluster.Topic, error) {
	image := s.node.Image()
	id := cluster.TopicID(asked.TopicID)
	var t *cluster.Topic
	var err error
	switch {
	case asked.Topic != nil && !id.IsZero():
		return nil, protocol.Errorf(kerr.InvalidRequest, "a topic is named by name or by id, not by both")
	case asked.Topic != nil:
		t, err = topicByName(image, *asked.Topic)
	case !id.IsZero():
		t, err = topicByID(image, id)
	default:
		return nil, protocol.Errorf(kerr.InvalidRequest, "a topic has neither name nor id")
	}
	switch {
	case err != nil:
		return nil, err
	case !s.settings().DeleteTopics:
		return nil, protocol.Errorf(kerr.TopicDeletionDisabled, "delete.topic.enable is false on this broker")
	case t.Internal:
		return nil, protocol.Errorf(kerr.InvalidTopicException, "topic %q belongs to the broker", t.Name)
	}
	return t, nil
}
