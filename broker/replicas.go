package broker

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/fanfold/fanfold/cluster"
	"github.com/fanfold/fanfold/cluster/configs"
	"github.com/fanfold/fanfold/log"
	"github.com/fanfold/fanfold/partition"
	"github.com/fanfold/fanfold/protocol"
	"github.com/fanfold/fanfold/protocol/record"
	"github.com/fanfold/fanfold/replication"
)

// Bounds on what one partition keeps and decodes.
const (
	maxProducersPerPartition = 50_000
	maxDecompressedBytes     = 64 << 20
)

// replicaTable is the immutable list of topics with replicas on this node; the
// reconciler publishes the next one.
type replicaTable struct {
	topics map[cluster.TopicID]*localTopic
}

// localTopic holds this node's replicas of a topic, by partition number; nil
// where the node has none.
type localTopic struct {
	topic    *cluster.Topic // as it was when the configs were applied
	replicas []*localReplica
}

// localReplica is a partition replica of this node.
type localReplica struct {
	topic  cluster.TopicID
	number int32
	dir    string
	part   *partition.Partition
	group  *replication.Group // nil: it could not be opened
	failed atomic.Pointer[error]
}

// Replica is this node's replica of a partition.
func (n *LocalNode) Replica(topic [16]byte, number int32) (Replica, error) {
	t := n.replicas.Load().topics[topic]
	if t != nil && number >= 0 && int(number) < len(t.replicas) && t.replicas[number] != nil {
		r := t.replicas[number]
		if err := r.failed.Load(); err != nil {
			return nil, protocol.Errorf(kerr.KafkaStorageError, "%v", *err)
		}
		return r.part, nil
	}
	meta := n.machine.Image().TopicByID(topic)
	switch {
	case meta == nil:
		return nil, protocol.Errorf(kerr.UnknownTopicID, "there is no topic of that id")
	case number < 0 || int(number) >= len(meta.Partitions):
		return nil, protocol.Errorf(kerr.UnknownTopicOrPartition, "topic %s has %d partitions, %d is not one of them", meta.Name, len(meta.Partitions), number)
	}
	return nil, protocol.Errorf(kerr.NotLeaderForPartition, "this node does not lead %s-%d", meta.Name, number)
}

// Replicas is how many replicas of partitions this node has.
func (n *LocalNode) Replicas() int {
	count := 0
	for _, t := range n.replicas.Load().topics {
		for _, r := range t.replicas {
			if r != nil {
				count++
			}
		}
	}
	return count
}

// replicaDir is where a replica's files are.
func (n *LocalNode) replicaDir(topic cluster.TopicID, number int32) string {
	return filepath.Join(n.topicDir(topic), fmt.Sprint(number))
}

func (n *LocalNode) topicDir(topic cluster.TopicID) string {
	return filepath.Join(n.opts.DataDir, "topics", fmt.Sprintf("%x", topic[:]))
}

// openReplica starts a replica. One that cannot be opened is in the table with
// its error, so that the others work on.
func (n *LocalNode) openReplica(ctx context.Context, t *cluster.Topic, number int32, meta cluster.Replica, s topicSettings) *localReplica {
	r := &localReplica{topic: t.ID, number: number, dir: n.replicaDir(t.ID, number)}
	identity := fmt.Sprintf("%d-%d", meta.Node, meta.Incarnation)
	r.part = partition.New(identity, s.partition, n.opts.Now, n.replicaChanged)
	group, err := n.raft.OpenGroup(ctx, replication.GroupConfig{
		ID:       replication.GroupID{Topic: t.ID, Partition: number},
		Dir:      r.dir,
		Prepare:  func() error { return n.makeTopicDir(t) },
		ServerID: identity,
		Machine:  r.part,
		Limits:   s.log,
		Flush:    s.flush,
		Logger:   n.opts.Logger.With("topic", t.Name, "partition", number),
	})
	if err != nil {
		n.opts.Logger.Error("replica cannot be opened", "topic", t.Name, "partition", number, "error", err)
		r.failed.Store(&err)
		return r
	}
	r.group = group
	r.part.Bind(group)
	return r
}

// topicSettings is a topic's configuration as each layer takes it.
type topicSettings struct {
	partition partition.Config
	log       log.Limits
	flush     replication.FlushPolicy
}

// settings computes a topic's configuration. What is not taken any more falls
// back to the default and is logged.
func (n *LocalNode) settings(t *cluster.Topic) topicSettings {
	layers := n.Configs()
	c, err := configs.EffectiveTopic(layers, t.Configs)
	if err != nil {
		n.opts.Logger.Warn("topic has configs that are not taken", "topic", t.Name, "error", err)
	}
	node, err := configs.EffectiveBroker(layers)
	if err != nil {
		n.opts.Logger.Warn("node has configs that are not taken", "error", err)
	}
	s := topicSettings{
		partition: partition.Config{
			MaxMessageBytes:          int(c.MaxMessageBytes),
			LogAppendTime:            c.LogAppendTime,
			TimestampBeforeMaxMillis: c.TimestampBeforeMaxMillis,
			TimestampAfterMaxMillis:  c.TimestampAfterMaxMillis,
			MinInsyncReplicas:        int(c.MinInsyncReplicas),
			RetentionMillis:          c.RetentionMillis,
			RetentionBytes:           c.RetentionBytes,
			Compact:                  c.CleanupCompact,
			MinCleanableDirtyRatio:   c.MinCleanableDirtyRatio,
			MinCompactionLagMillis:   c.MinCompactionLagMillis,
			MaxCompactionLagMillis:   c.MaxCompactionLagMillis,
			DeleteRetentionMillis:    c.DeleteRetentionMillis,
			ProducerExpiration:       time.Duration(node.ProducerIDExpirationMillis) * time.Millisecond,
			MaxProducers:             maxProducersPerPartition,
			MaxDecompressedBytes:     maxDecompressedBytes,
		},
		log: log.Limits{
			SegmentBytes:        int64(c.SegmentBytes),
			SegmentMillis:       c.SegmentMillis,
			SegmentJitterMillis: c.SegmentJitterMillis,
			IndexIntervalBytes:  max(1, c.IndexIntervalBytes),
			FileDeleteDelay:     millis(c.FileDeleteDelayMillis),
		},
		flush: replication.FlushPolicy{Messages: c.FlushMessages, Interval: millis(c.FlushMillis)},
	}
	if !c.CleanupDelete {
		s.partition.KeepRecords = true
		s.partition.RetentionMillis, s.partition.RetentionBytes = -1, -1
	}
	if c.CleanupCompact {
		// What is appended to is never compacted (KIP-354).
		s.log.SegmentMillis = min(c.SegmentMillis, c.MaxCompactionLagMillis)
	}
	if c.Compression != configs.CompressionProducer {
		s.partition.Recompress = true
		s.partition.Codec = record.Codec(c.Compression)
		s.partition.CodecLevel = int(codecLevel(c))
	}
	return s
}

func codecLevel(c configs.TopicConfig) int32 {
	switch c.Compression {
	case configs.CompressionGzip:
		return c.GzipLevel
	case configs.CompressionLZ4:
		return c.LZ4Level
	case configs.CompressionZstd:
		return c.ZstdLevel
	}
	return 0
}

// millis is a duration of milliseconds as Kafka counts them, clamped to what a
// time.Duration holds.
func millis(ms int64) time.Duration {
	return time.Duration(min(max(ms, 0), math.MaxInt64/int64(time.Millisecond))) * time.Millisecond
}

// replicaChanged wakes those who wait for a replica to serve.
func (n *LocalNode) replicaChanged() {
	n.ready.Lock()
	defer n.ready.Unlock()
	close(n.ready.wake)
	n.ready.wake = make(chan struct{})
}

// Changed is closed when the metadata or this node's replicas have changed since
// it was asked for.
func (n *LocalNode) Changed() <-chan struct{} {
	n.ready.Lock()
	defer n.ready.Unlock()
	return n.ready.wake
}

// settled tells whether a replica serves, or is known not to.
func (r *localReplica) settled() bool {
	return r.failed.Load() != nil || r.part.Serving() || r.part.Offline() != nil
}

// await waits until done says so; it is asked again when replicas changed.
func (n *LocalNode) await(ctx context.Context, done func() bool) error {
	for {
		n.ready.Lock()
		wake := n.ready.wake
		n.ready.Unlock()
		if done() {
			return nil
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// WaitReady returns when this node's replicas of the topic serve, or are known
// to be offline. A topic that is deleted meanwhile is ready, too.
func (n *LocalNode) WaitReady(ctx context.Context, topic [16]byte) error {
	return n.await(ctx, func() bool {
		meta := n.machine.Image().TopicByID(topic)
		return meta == nil || n.topicSettled(meta)
	})
}

// WaitAllReady is WaitReady for all topics.
func (n *LocalNode) WaitAllReady(ctx context.Context) error {
	return n.await(ctx, func() bool {
		for meta := range n.machine.Image().Topics() {
			if !n.topicSettled(meta) {
				return false
			}
		}
		return true
	})
}

func (n *LocalNode) topicSettled(meta *cluster.Topic) bool {
	t := n.replicas.Load().topics[meta.ID]
	for number, p := range meta.Partitions {
		if _, here := p.On(n.opts.NodeID); !here {
			continue
		}
		if t == nil || number >= len(t.replicas) || t.replicas[number] == nil || !t.replicas[number].settled() {
			return false
		}
	}
	return true
}
