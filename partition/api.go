package partition

import (
	"github.com/fanfold/fanfold/log"
)

// Acks as a produce request says them.
const (
	AcksNone   int16 = 0
	AcksLeader int16 = 1
	AcksAll    int16 = -1
)

// ProduceSink takes the outcome of produced batches. One request implements it
// for all its partitions; tag says which batch is meant. Its methods are called
// from the Raft group's goroutine: they must not block.
type ProduceSink interface {
	// Produced is called once for each batch, with its outcome.
	Produced(tag int, r ProduceResult)

	// Released is called once for each batch, at or after Produced, when
	// nothing reads its bytes any more. After a failure of the replica it may
	// never come: the bytes are then left to the garbage collector.
	Released(tag int)
}

// ProduceResult is the outcome of one batch.
type ProduceResult struct {
	BaseOffset     int64 // −1 on error
	LogAppendTime  int64 // milliseconds, −1 where the topic keeps CreateTime
	LogStartOffset int64
	LeaderEpoch    int32
	Err            error // *protocol.Error; nil: acknowledged as asked for
}

// FetchRequest asks for records of one partition.
type FetchRequest struct {
	Offset             int64
	MaxBytes           int
	AtLeastOne         bool  // return one batch even if it is larger than MaxBytes
	CurrentLeaderEpoch int32 // −1: not checked (KIP-320)
	LastFetchedEpoch   int32 // −1: no divergence check (KIP-595)
}

// FetchResult is what one partition has for a fetch. The caller must Release
// Records, also where Err is set.
type FetchResult struct {
	HighWatermark    int64
	LastStableOffset int64
	LogStartOffset   int64
	LeaderEpoch      int32
	Records          log.Range
	DivergingEpoch   int32 // −1: none
	DivergingOffset  int64
	Err              error // *protocol.Error
}

// Waiter is a fetch that waits for data. Advanced is called, possibly from the
// Raft group's goroutine, when committed bytes were added; it must not block.
// It may be called after Unwatch returned, once, if it was under way.
type Waiter interface {
	Advanced(bytes int)
}

// TimestampOffset is the answer of a look-up by time.
type TimestampOffset struct {
	Offset      int64 // −1: none
	Timestamp   int64 // milliseconds, −1: none
	LeaderEpoch int32 // −1: unknown
}

// ProducerState is one producer's state as DescribeProducers shows it.
type ProducerState struct {
	ProducerID    int64
	ProducerEpoch int16
	LastSequence  int32
	LastTimestamp int64 // milliseconds
}
