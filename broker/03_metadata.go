package broker

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fanfold/fanfold/cluster"
	"github.com/fanfold/fanfold/protocol"
)

// Metadata (3), versions 0–13.
//
//	0    no topics asks for all
//	1    null asks for all, an empty list for none; rack, controller, internal
//	2    the cluster's id
//	3    throttle time
//	4    whether topics may be created (before: always)
//	5    offline replicas
//	6    the client waits out a throttle
//	7    leader epochs
//	8    authorized operations
//	9    flexible
//	10   topic ids in answers
//	11   no more of the cluster's authorized operations
//	12   topics are found by id
//	13   an error for the whole answer

func (c *conn) metadata(ctx context.Context, req *kmsg.MetadataRequest) kmsg.Response {
	s := c.srv
	resp := req.ResponseKind().(*kmsg.MetadataResponse)
	if all := req.Topics == nil || req.Version == 0 && len(req.Topics) == 0; all {
		image := s.node.Image()
		resp.Topics = make([]kmsg.MetadataResponseTopic, 0, image.NumTopics())
		for t := range image.Topics() {
			resp.Topics = append(resp.Topics, s.topicMetadata(t))
		}
	} else {
		req.Topics = firstOf(req.Topics, metadataKey)
		mayCreate := req.AllowAutoTopicCreation || req.Version < 4
		for i := range req.Topics {
			resp.Topics = append(resp.Topics, s.requestedMetadata(ctx, req.Version, &req.Topics[i], mayCreate))
		}
	}
	for i := range resp.Topics {
		if req.IncludeTopicAuthorizedOperations && resp.Topics[i].ErrorCode == 0 {
			resp.Topics[i].AuthorizedOperations = topicOperations
		}
	}
	if req.IncludeClusterAuthorizedOperations {
		resp.AuthorizedOperations = clusterOperations
	}
	for _, n := range s.node.Image().Nodes() {
		host, port, ok := address(n, c.listener)
		if !ok {
			continue
		}
		resp.Brokers = append(resp.Brokers, kmsg.MetadataResponseBroker{
			NodeID: n.ID, Host: host, Port: port, Rack: textPtr(n.Rack),
		})
	}
	id := s.node.ClusterID()
	resp.ClusterID = &id
	resp.ControllerID = s.node.NodeID()
	return resp
}

// askedTopic is how a request names a topic.
type askedTopic struct {
	named bool
	name  string
	id    cluster.TopicID
}

func metadataKey(asked *kmsg.MetadataRequestTopic) askedTopic {
	if asked.Topic == nil {
		return askedTopic{id: asked.TopicID}
	}
	return askedTopic{named: true, name: *asked.Topic, id: asked.TopicID}
}

// requestedMetadata is one topic's metadata, by name or id, created if it may
// be.
func (s *Server) requestedMetadata(ctx context.Context, version int16, asked *kmsg.MetadataRequestTopic, mayCreate bool) kmsg.MetadataResponseTopic {
	t, err := s.findOrCreate(ctx, version, asked, mayCreate)
	if err == nil {
		return s.topicMetadata(t)
	}
	failed := kmsg.NewMetadataResponseTopic()
	failed.ErrorCode, _ = protocol.ErrorOf(err)
	failed.Topic, failed.TopicID = asked.Topic, asked.TopicID
	if failed.Topic == nil && version < 12 {
		failed.Topic = new(string) // null is for answers that clients of 12 asked for by id
	}
	return failed
}

func (s *Server) findOrCreate(ctx context.Context, version int16, asked *kmsg.MetadataRequestTopic, mayCreate bool) (*cluster.Topic, error) {
	image := s.node.Image()
	if id := cluster.TopicID(asked.TopicID); !id.IsZero() {
		if version < 12 {
			return nil, protocol.Errorf(kerr.InvalidRequest, "a topic is named by id from version 12 on")
		}
		return topicByID(image, id) // whatever name stands beside it
	}
	if asked.Topic == nil {
		return nil, protocol.Errorf(kerr.InvalidRequest, "a topic has neither name nor id")
	}
	name := *asked.Topic
	if t := image.Topic(name); t != nil {
		return t, nil
	}
	if err := cluster.ValidateTopicName(name); err != nil {
		return nil, err
	}
	if !mayCreate || internalTopics[name] || !s.settings().AutoCreateTopics {
		return nil, protocol.Errorf(kerr.UnknownTopicOrPartition, "there is no topic %q", name)
	}
	return s.autoCreate(ctx, name)
}

// autoCreate creates a topic that somebody wants to use. Clients such as
// kafka-go take LEADER_NOT_AVAILABLE for fatal, so it answers when the topic
// serves.
func (s *Server) autoCreate(ctx context.Context, name string) (*cluster.Topic, error) {
	ctx, cancel := context.WithTimeout(ctx, readyWait)
	defer cancel()
	t, err := s.createTopic(ctx, cluster.TopicSpec{Name: name, Partitions: -1, ReplicationFactor: -1})
	if errors.Is(err, kerr.TopicAlreadyExists) { // by another request, meanwhile
		if t = s.node.Image().Topic(name); t != nil {
			err = s.node.WaitReady(ctx, t.ID)
		}
	}
	switch {
	case err == nil:
		return t, nil
	case errors.Is(err, context.DeadlineExceeded), t != nil:
		s.log.Warn("new topic is not ready", "topic", name, "cause", err)
		return nil, protocol.Errorf(kerr.LeaderNotAvailable, "topic %q is being created", name)
	default:
		s.log.Info("topic not created", "topic", name, "cause", err)
		return nil, err
	}
}

// topicMetadata is what an answer says of a topic that exists.
func (s *Server) topicMetadata(t *cluster.Topic) kmsg.MetadataResponseTopic {
	m := kmsg.NewMetadataResponseTopic()
	m.Topic, m.TopicID, m.IsInternal = &t.Name, t.ID, t.Internal
	m.Partitions = make([]kmsg.MetadataResponseTopicPartition, len(t.Partitions))
	for i := range m.Partitions {
		p := &m.Partitions[i]
		p.Partition = int32(i)
		p.Leader, p.LeaderEpoch = s.leader(t, p.Partition)
		p.Replicas, p.ISR, p.OfflineReplicas = s.replicas(t, p.Partition)
	}
	return m
}
