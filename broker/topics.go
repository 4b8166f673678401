package broker

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/fanfold/fanfold/cluster"
	"github.com/fanfold/fanfold/cluster/configs"
	"github.com/fanfold/fanfold/protocol"
)

// What a client may do where nothing forbids it, as bit fields over Kafka's
// AclOperation (KIP-430).
const (
	topicOperations   int32 = 1<<3 | 1<<4 | 1<<5 | 1<<6 | 1<<7 | 1<<8 | 1<<10 | 1<<11
	clusterOperations int32 = 1<<5 | 1<<7 | 1<<8 | 1<<9 | 1<<10 | 1<<11 | 1<<12
	noOperations      int32 = -1 << 31 // not asked for
)

// longestWait bounds how long a request can make the broker try, whatever
// time-out it names.
const longestWait = 2 * time.Minute

// readyWait is how long a new topic is waited for before its creator is
// answered all the same.
const readyWait = 10 * time.Second

// internalTopics are names that belong to the broker.
var internalTopics = map[string]bool{
	"__consumer_offsets": true, "__transaction_state": true,
	"__share_group_state": true, "__cluster_metadata": true,
}

// withTimeout is a context for a request's own time-out in milliseconds.
func withTimeout(ctx context.Context, millis int32) (context.Context, context.CancelFunc) {
	d := min(time.Duration(max(millis, 0))*time.Millisecond, longestWait)
	return context.WithTimeout(ctx, d)
}

// cachedSettings are the node's settings as one image gives them.
type cachedSettings struct {
	image    *cluster.Image
	settings configs.Settings
}

// settings are the node's typed configs as of now.
func (s *Server) settings() *configs.Settings {
	image := s.node.Image()
	if c := s.effective.Load(); c != nil && c.image == image {
		return &c.settings
	}
	effective, err := configs.EffectiveBroker(s.node.Configs())
	if err != nil {
		s.log.Warn("broker configs", "cause", err)
	}
	c := &cachedSettings{image, effective}
	s.effective.Store(c)
	return &c.settings
}

// defaults are what new topics get that their creator leaves open.
func (s *Server) defaults() cluster.Defaults {
	set := s.settings()
	return cluster.Defaults{
		Partitions:        set.NumPartitions,
		ReplicationFactor: set.DefaultReplicationFactor,
		Limits:            cluster.Limits{Topics: set.MaxTopics, Partitions: set.MaxPartitions},
	}
}

// topicByName is the topic, or UNKNOWN_TOPIC_OR_PARTITION.
func topicByName(image *cluster.Image, name string) (*cluster.Topic, error) {
	if t := image.Topic(name); t != nil {
		return t, nil
	}
	return nil, protocol.Errorf(kerr.UnknownTopicOrPartition, "there is no topic %q", clip(name))
}

// topicByID is the topic, or UNKNOWN_TOPIC_ID.
func topicByID(image *cluster.Image, id cluster.TopicID) (*cluster.Topic, error) {
	if t := image.TopicByID(id); t != nil {
		return t, nil
	}
	return nil, protocol.Errorf(kerr.UnknownTopicID, "there is no topic with the id %s", id)
}

// clip bounds what a message repeats of a client's text.
func clip(s string) string {
	if len(s) > cluster.MaxTopicName {
		return s[:cluster.MaxTopicName] + "…"
	}
	return s
}

// replicaOf is this node's replica of a partition of the topic.
func (s *Server) replicaOf(t *cluster.Topic, partition int32) (Replica, error) {
	if partition < 0 || int(partition) >= len(t.Partitions) {
		return nil, protocol.Errorf(kerr.UnknownTopicOrPartition,
			"topic %q has %d partitions, none has the number %d", t.Name, len(t.Partitions), partition)
	}
	return s.node.Replica(t.ID, partition)
}

// replicaByName is replicaOf for a topic's name.
func (s *Server) replicaByName(image *cluster.Image, name string, partition int32) (Replica, error) {
	t, err := topicByName(image, name)
	if err != nil {
		return nil, err
	}
	return s.replicaOf(t, partition)
}

// leader is who leads a partition, and in what epoch (−1: unknown). The
// preferred leader stands in where no better is known: a client that asks it
// learns more than one that is told of no leader.
func (s *Server) leader(t *cluster.Topic, partition int32) (node, epoch int32) {
	if r, err := s.node.Replica(t.ID, partition); err == nil {
		return s.node.NodeID(), r.LeaderEpoch()
	}
	return t.Partitions[partition].Replicas[0].Node, -1
}

// replicas are the nodes of a partition's replicas, and those of them that are
// known not to serve.
func (s *Server) replicas(t *cluster.Topic, partition int32) (all, inSync, offline []int32) {
	for _, r := range t.Partitions[partition].Replicas {
		all = append(all, r.Node)
		if r.Node == s.node.NodeID() && s.isOffline(t, partition) {
			offline = append(offline, r.Node)
			continue
		}
		inSync = append(inSync, r.Node)
	}
	return all, inSync, offline
}

func (s *Server) isOffline(t *cluster.Topic, partition int32) bool {
	r, err := s.node.Replica(t.ID, partition)
	if err != nil {
		return errors.Is(err, kerr.KafkaStorageError)
	}
	return r.Offline() != nil
}

// address is where clients of that listener find a node.
func address(n *cluster.Node, listener string) (host string, port int32, ok bool) {
	l, ok := n.Listener(listener)
	if !ok {
		l, ok = n.Listener(DefaultListener)
	}
	return l.Host, l.Port, ok
}

// createTopic creates a topic and waits until it serves, or ctx ends: the topic
// then exists all the same.
func (s *Server) createTopic(ctx context.Context, spec cluster.TopicSpec) (*cluster.Topic, error) {
	cmd, err := s.newCreateTopic(spec)
	if err != nil {
		return nil, err
	}
	return s.create(ctx, cmd)
}

// createInternal is createTopic for the broker's own topics.
func (s *Server) createInternal(ctx context.Context, spec cluster.TopicSpec) (*cluster.Topic, error) {
	cmd, err := cluster.NewCreateTopic(s.node.Image(), newTopicID(), time.Now().UnixMilli(), spec, s.defaults())
	if err == nil {
		err = s.roomForFiles(len(cmd.Assignment))
	}
	if err != nil {
		return nil, err
	}
	return s.create(ctx, cmd)
}

func (s *Server) create(ctx context.Context, cmd *cluster.CreateTopic) (*cluster.Topic, error) {
	result, err := s.node.Propose(ctx, cmd)
	if err != nil {
		return nil, err
	}
	return result.Topic, s.node.WaitReady(ctx, result.Topic.ID)
}

func (s *Server) newCreateTopic(spec cluster.TopicSpec) (*cluster.CreateTopic, error) {
	if internalTopics[spec.Name] {
		return nil, protocol.Errorf(kerr.InvalidTopicException, "topic name %q is reserved for the broker's own use", spec.Name)
	}
	cmd, err := cluster.NewCreateTopic(s.node.Image(), newTopicID(), time.Now().UnixMilli(), spec, s.defaults())
	if err != nil {
		return nil, err
	}
	return cmd, s.roomForFiles(len(cmd.Assignment))
}

// newTopicID is a random id, none of those that Kafka gives a meaning.
func newTopicID() cluster.TopicID {
	var id cluster.TopicID
	for id[0] == 0 { // the reserved ids are 0 and 1
		_, _ = rand.Read(id[:]) // never fails
	}
	id[6] = id[6]&0x0f | 0x40 // a version 4 UUID, as Kafka's are
	id[8] = id[8]&0x3f | 0x80
	return id
}

// firstOf drops what a request names again: an answer of everything it names is
// else far larger than the request. It uses the list's memory.
func firstOf[T any, K comparable](list []T, key func(*T) K) []T {
	if len(list) < 2 {
		return list
	}
	seen := make(map[K]struct{}, len(list))
	return slices.DeleteFunc(list, func(e T) bool {
		k := key(&e)
		_, again := seen[k]
		seen[k] = struct{}{}
		return again
	})
}

// textPtr is a message as nullable texts are encoded: none is null.
func textPtr(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
