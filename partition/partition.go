package partition

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/fanfold/fanfold/log"
	"github.com/fanfold/fanfold/protocol"
	"github.com/fanfold/fanfold/protocol/record"
)

// Commands of this package in the log's journal. The numbers are on disk: they
// never change their meaning. Those below 16 are replication's own.
const (
	// KindLeaderStart opens a leader's term: it serves from here on. The
	// payload is the leader's replica identity.
	KindLeaderStart log.Kind = 16

	// KindLogStart moves the log start up; the payload is the offset, int64.
	// Retention and DeleteRecords go through the log, or deleted records would
	// come back after a failover.
	KindLogStart log.Kind = 18
)

// Group is the replica's Raft group as a partition needs it.
type Group interface {
	// Propose queues an entry, checked in term. Its outcome comes back as
	// Stored and Apply, or Dropped, with request. The order of calls is the
	// order in the log.
	Propose(kind log.Kind, data []byte, term uint64, request any) error

	// DropBefore lets files go that hold only records below offset.
	DropBefore(offset int64)

	// Settle gives up the entries of sealed segments that end at or below
	// offset, as far as a snapshot covers them, so that they may be compacted.
	Settle(ctx context.Context, offset int64) error

	// CheckLog says that the log may have failed in something that the group
	// did not ask for: it takes the replica offline, and tries again.
	CheckLog()
}

// Config is what a topic's configuration says to its partitions. It is
// replaced as a whole and never changed.
type Config struct {
	MaxMessageBytes          int
	LogAppendTime            bool  // message.timestamp.type
	TimestampBeforeMaxMillis int64 // MaxInt64: not checked
	TimestampAfterMaxMillis  int64 // MaxInt64: not checked
	Recompress               bool  // compression.type is not producer
	Codec                    record.Codec
	CodecLevel               int
	MinInsyncReplicas        int
	RetentionMillis          int64 // −1: no limit
	RetentionBytes           int64 // −1: no limit
	Compact                  bool  // cleanup.policy holds compact
	KeepRecords              bool  // it does not hold delete
	MinCleanableDirtyRatio   float64
	MinCompactionLagMillis   int64
	MaxCompactionLagMillis   int64
	DeleteRetentionMillis    int64
	ProducerExpiration       time.Duration
	MaxProducers             int // kept in memory
	MaxDecompressedBytes     int // of one batch
}

// Partition is one replica. It is safe for concurrent use.
type Partition struct {
	identity string // of the replica: tells its own leader-start from others'
	now      func() time.Time
	changed  func()
	config   atomic.Pointer[Config]
	group    atomic.Pointer[Group]

	log      atomic.Pointer[log.Log]
	offline  atomic.Pointer[error]
	epoch    atomic.Int32 // of the newest leader-start; −1: none yet
	hw       atomic.Int64
	logStart atomic.Int64
	inSync   atomic.Int32
	writing  atomic.Uint64 // term in which this replica leads and serves; 0: none
	caughtUp atomic.Bool   // it served once: the high watermark is what it was, or more

	watch struct {
		sync.Mutex
		waiters []watch
	}

	// mu is taken before the group's own mutex.
	mu struct {
		sync.Mutex
		applied   uint64
		hw        int64 // as of applied; shown by Applied
		logStart  int64 // as of applied; behind what is shown while a log is applied again
		producers producerTable
		epochs    []epochStart
	}

	// Between Apply and Applied, on the goroutine that calls them.
	run struct {
		hw     int64
		bytes  int
		stored []*pending
		done   []*pending
		moved  []*pendingStart
		wake   []watch
	}
}

// New makes a partition. identity is the replica's; now is the clock (nil:
// time.Now); changed (nil: nothing) is called when the replica began or ceased
// to serve, and must not block. It serves nothing before Bind and the first
// Attach.
func New(identity string, cfg Config, now func() time.Time, changed func()) *Partition {
	if now == nil {
		now = time.Now
	}
	if changed == nil {
		changed = func() {}
	}
	p := &Partition{identity: identity, now: now, changed: changed}
	p.config.Store(&cfg)
	p.inSync.Store(1)
	p.epoch.Store(-1)
	p.mu.producers.init()
	return p
}

// Bind gives the group that takes proposals.
func (p *Partition) Bind(g Group) { p.group.Store(&g) }

// SetConfig replaces the configuration for what comes from now on.
func (p *Partition) SetConfig(cfg Config) { p.config.Store(&cfg) }

// Config is the configuration in force.
func (p *Partition) Config() Config { return *p.config.Load() }

// LeaderEpoch is the newest leader epoch, −1 before the first.
func (p *Partition) LeaderEpoch() int32 { return p.epoch.Load() }

// HighWatermark is the offset below which records are committed.
func (p *Partition) HighWatermark() int64 { return p.hw.Load() }

// LogStartOffset is the first offset that may be read.
func (p *Partition) LogStartOffset() int64 { return p.logStart.Load() }

// EndOffset is the offset that the next record gets.
func (p *Partition) EndOffset() int64 {
	if l := p.log.Load(); l != nil {
		return l.EndOffset()
	}
	return p.hw.Load()
}

// SizeBytes is the size of the segment files.
func (p *Partition) SizeBytes() int64 {
	if l := p.log.Load(); l != nil {
		return l.Size()
	}
	return 0
}

// Log is the log that is read from, or nil before the first Attach.
func (p *Partition) Log() *log.Log { return p.log.Load() }

// Serving tells whether this replica leads and takes writes.
func (p *Partition) Serving() bool { return p.writing.Load() != 0 }

// Offline is why the replica takes no writes, or nil.
func (p *Partition) Offline() error {
	if err := p.offline.Load(); err != nil {
		return *err
	}
	return nil
}

// checkEpoch compares a client's idea of the leader epoch with ours (KIP-320).
func (p *Partition) checkEpoch(current int32) error {
	epoch := p.epoch.Load()
	switch {
	case current < 0 || current == epoch:
		return nil
	case current < epoch:
		return protocol.Errorf(kerr.FencedLeaderEpoch, "leader epoch %d is over: it is %d now", current, epoch)
	default:
		return protocol.Errorf(kerr.UnknownLeaderEpoch, "leader epoch %d is not known here: it is %d", current, epoch)
	}
}

// writable is the term to propose in, or why there is none.
func (p *Partition) writable() (uint64, error) {
	if term := p.writing.Load(); term != 0 && p.group.Load() != nil {
		return term, nil
	}
	if err := p.Offline(); err != nil {
		return 0, protocol.Errorf(kerr.KafkaStorageError, "replica is offline: %v", err)
	}
	return 0, protocol.Errorf(kerr.NotLeaderForPartition, "replica does not lead the partition now")
}

// storageError is what a client gets for a failed read.
func storageError(err error) error {
	var corrupt *log.CorruptionError
	if errors.As(err, &corrupt) {
		return protocol.Errorf(kerr.CorruptMessage, "%v", err)
	}
	return protocol.Errorf(kerr.KafkaStorageError, "%v", err)
}

// clampInt is n as an int32's worth of bytes.
func clampInt(n int) int { return min(n, math.MaxInt32) }

func (p *Partition) String() string { return fmt.Sprintf("partition %s", p.identity) }
