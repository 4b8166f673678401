package broker

import (
	"context"

	"github.com/fanfold/fanfold/cluster"
	"github.com/fanfold/fanfold/cluster/configs"
	"github.com/fanfold/fanfold/partition"
)

// Node is what the broker needs of the node that it answers for. All methods
// may be called from any goroutine; those without a context do not block.
type Node interface {
	// Image is the newest metadata that this node has.
	Image() *cluster.Image
	NodeID() int32
	ClusterID() string
	// Replica is this node's replica of a partition. The error is a
	// *protocol.Error: UNKNOWN_TOPIC_ID, UNKNOWN_TOPIC_OR_PARTITION,
	// NOT_LEADER_OR_FOLLOWER, KAFKA_STORAGE_ERROR.
	Replica(topic [16]byte, partition int32) (Replica, error)
	// Propose changes the metadata, and returns when the change is in Image.
	// Where the command was refused, the error is that of its result.
	Propose(ctx context.Context, cmd cluster.Command) (cluster.Result, error)
	// WaitReady returns when this node's partitions of the topic serve.
	WaitReady(ctx context.Context, topic [16]byte) error
	// Changed is closed when the metadata or this node's replicas have changed
	// since it was asked for.
	Changed() <-chan struct{}
	// AllocateProducerID gives out a producer id that nobody had.
	AllocateProducerID(ctx context.Context) (int64, error)
	// Ready is why the node does not serve all of its replicas yet, or nil.
	Ready() error
	LogDirs() []LogDir
	// Configs are the node's configs in their layers as of now.
	Configs() configs.BrokerConfig
}

// LogDir is a data directory.
type LogDir struct {
	Path        string
	TotalBytes  int64 // of its file system, −1: unknown
	UsableBytes int64 // −1: unknown
	Err         error // why it does not serve; nil: it does
}

// Replica is a partition's replica on this node, as *partition.Partition is
// one. All methods may be called from any goroutine; those without a context
// do not block for long.
type Replica interface {
	// Produce checks and appends one record batch. The bytes are the
	// replica's until the sink is told that they are released.
	Produce(batch []byte, acks int16, tag int, sink partition.ProduceSink)
	// Read reads committed records.
	Read(req partition.FetchRequest) partition.FetchResult
	// Watch tells the waiter of what is committed above the high watermark
	// that the caller has seen, until Unwatch.
	Watch(w partition.Waiter, sinceHighWatermark int64)
	Unwatch(w partition.Waiter)

	LatestOffset(currentLeaderEpoch int32, isolation int8) (offset int64, epoch int32, err error)
	EarliestOffset(currentLeaderEpoch int32) (offset int64, epoch int32, err error)
	OffsetForTimestamp(ctx context.Context, currentLeaderEpoch int32, timestamp int64) (partition.TimestampOffset, error)
	MaxTimestamp(ctx context.Context, currentLeaderEpoch int32) (partition.TimestampOffset, error)
	EpochEndOffset(currentLeaderEpoch, leaderEpoch int32) (epoch int32, endOffset int64, err error)
	// DeleteRecords moves the log start to offset, −1: to the high watermark.
	DeleteRecords(offset int64, done func(lowWatermark int64, err error))
	Producers() []partition.ProducerState

	LeaderEpoch() int32
	HighWatermark() int64
	LogStartOffset() int64
	EndOffset() int64
	SizeBytes() int64
	// Serving tells whether this replica leads and takes writes.
	Serving() bool
	// Offline is why the replica does not serve; nil: it does.
	Offline() error
}
