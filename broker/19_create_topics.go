package broker

import (
	"context"
	"errors"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fanfold/fanfold/cluster"
	"github.com/fanfold/fanfold/cluster/configs"
	"github.com/fanfold/fanfold/protocol"
)

// CreateTopics (19), versions 2–7.
//
//	2    throttle time
//	3    the client waits out a throttle
//	4    −1 partitions and replication factor stand for the broker's defaults
//	     (KIP-464); accepted below, too
//	5    flexible; the answer tells partitions, replication factor and configs
//	6    quota errors
//	7    topic ids

func (c *conn) createTopics(ctx context.Context, req *kmsg.CreateTopicsRequest) kmsg.Response {
	ctx, cancel := withTimeout(ctx, req.TimeoutMillis)
	defer cancel()
	resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)
	if len(req.Topics) > maxCreatedTopics {
		return refuseTopics(req, protocol.Errorf(kerr.PolicyViolation, "%d topics in one request are more than %d", len(req.Topics), maxCreatedTopics))
	}
	times := make(map[string]int, len(req.Topics))
	for i := range req.Topics {
		times[req.Topics[i].Topic]++
	}
	for i := range req.Topics {
		asked := &req.Topics[i]
		if times[asked.Topic] == 0 {
			continue // answered, where it came first
		}
		out := kmsg.NewCreateTopicsResponseTopic()
		out.Topic = asked.Topic
		err := error(nil)
		if times[asked.Topic] > 1 {
			err = protocol.Errorf(kerr.InvalidRequest, "topic %q is named twice in the request", clip(asked.Topic))
		} else {
			err = c.srv.createRequested(ctx, req, asked, &out)
		}
		times[asked.Topic] = 0
		fillError(&out.ErrorCode, &out.ErrorMessage, err)
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

// maxCreatedTopics bounds the topics of one request, since an answer tells all
// configs of each. Apache Kafka takes as many partitions.
const maxCreatedTopics = 10_000

// refuseTopics answers the same for all topics.
func refuseTopics(req *kmsg.CreateTopicsRequest, err error) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)
	resp.Topics = make([]kmsg.CreateTopicsResponseTopic, len(req.Topics))
	for i := range resp.Topics {
		out := &resp.Topics[i]
		out.Default()
		out.Topic = req.Topics[i].Topic
		fillError(&out.ErrorCode, &out.ErrorMessage, err)
	}
	return resp
}

// fillError sets what an answer says of an error.
func fillError(code *int16, message **string, err error) {
	var text string
	*code, text = protocol.ErrorOf(err)
	*message = textPtr(text)
}

func (s *Server) createRequested(ctx context.Context, req *kmsg.CreateTopicsRequest, asked *kmsg.CreateTopicsRequestTopic, out *kmsg.CreateTopicsResponseTopic) error {
	spec, err := topicSpec(asked)
	if err != nil {
		return err
	}
	var made *cluster.CreateTopic
	if req.ValidateOnly {
		made, err = s.newCreateTopic(spec)
	} else {
		var t *cluster.Topic
		t, err = s.createTopic(ctx, spec)
		if t != nil {
			made = &cluster.CreateTopic{ID: t.ID, Configs: t.Configs}
			for _, p := range t.Partitions {
				made.Assignment = append(made.Assignment, make([]int32, len(p.Replicas)))
			}
		}
		if errors.Is(err, context.DeadlineExceeded) {
			return protocol.Errorf(kerr.RequestTimedOut, "topic %q is being created", spec.Name)
		}
	}
	if err != nil {
		return err
	}
	if !req.ValidateOnly {
		out.TopicID = made.ID
	}
	out.NumPartitions = int32(len(made.Assignment))
	out.ReplicationFactor = int16(len(made.Assignment[0]))
	out.Configs = s.createdConfigs(made.Configs)
	return nil
}

// topicSpec is what is asked for, in the metadata's terms.
func topicSpec(asked *kmsg.CreateTopicsRequestTopic) (cluster.TopicSpec, error) {
	spec := cluster.TopicSpec{
		Name: asked.Topic, Partitions: asked.NumPartitions, ReplicationFactor: asked.ReplicationFactor,
	}
	for _, a := range asked.ReplicaAssignment {
		spec.Assignment = append(spec.Assignment, cluster.PartitionReplicas{Partition: a.Partition, Nodes: a.Replicas})
	}
	for _, kv := range asked.Configs {
		if kv.Value == nil {
			return spec, protocol.Errorf(kerr.InvalidConfig, "config %q has no value", clip(kv.Name))
		}
		if _, twice := spec.Configs[kv.Name]; twice {
			return spec, protocol.Errorf(kerr.InvalidConfig, "config %q is named twice", clip(kv.Name))
		}
		if spec.Configs == nil {
			spec.Configs = make(map[string]string, len(asked.Configs))
		}
		spec.Configs[kv.Name] = *kv.Value
	}
	return spec, nil
}

// createdConfigs are all configs of a new topic with their sources (KIP-525).
func (s *Server) createdConfigs(overrides map[string]string) []kmsg.CreateTopicsResponseTopicConfig {
	entries := configs.DescribeTopic(s.node.Configs(), overrides)
	out := make([]kmsg.CreateTopicsResponseTopicConfig, 0, len(entries))
	for i := range entries {
		out = append(out, createdConfig(&entries[i]))
	}
	return out
}

func createdConfig(e *configs.Entry) kmsg.CreateTopicsResponseTopicConfig {
	return kmsg.CreateTopicsResponseTopicConfig{
		Name: e.Name, Value: e.Value, ReadOnly: e.ReadOnly, Source: int8(e.Source), IsSensitive: e.Sensitive,
	}
}

// brokerName is a broker's id as a config resource's name.
func brokerName(id int32) string { return strconv.Itoa(int(id)) }
