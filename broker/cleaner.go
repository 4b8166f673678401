package broker

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fanfold/fanfold/cluster/configs"
	"github.com/fanfold/fanfold/log"
	"github.com/fanfold/fanfold/partition"
	"github.com/fanfold/fanfold/replication"
)

const (
	// cleanerBurst is how many bytes the cleaner reads and writes before it
	// waits.
	cleanerBurst = 256 << 10

	// cleanerRetry is how long a log is left alone whose compaction failed.
	cleanerRetry = 5 * time.Minute
)

// cleaner compacts the logs of this node, one at a time: always the one that
// has waited for longer than max.compaction.lag.ms, or else the dirtiest. One
// goroutine runs it.
type cleaner struct {
	node  *LocalNode
	stats cleanerStats

	resting map[*localReplica]rest

	since int64 // bytes since it waited last
}

// rest is for how long a log is left alone, and whether because its compaction
// failed.
type rest struct {
	until  time.Time
	failed bool
}

func newCleaner(n *LocalNode, reg prometheus.Registerer) *cleaner {
	return &cleaner{node: n, stats: newCleanerStats(reg), resting: map[*localReplica]rest{}}
}

// run compacts for as long as the node runs.
func (c *cleaner) run(ctx context.Context) {
	for {
		s := c.settings()
		for s.Enable && ctx.Err() == nil && c.cleanNext(ctx, s) {
			s = c.settings()
		}
		if !pause(ctx, millis(s.BackoffMillis)) {
			return
		}
	}
}

func (c *cleaner) settings() configs.CleanerSettings {
	s, _ := configs.EffectiveBroker(c.node.Configs()) // what is not taken has its default
	return s.Cleaner
}

// candidate is a log that is to be compacted.
type candidate struct {
	*localReplica
	partition.Cleanable
}

// before says whether a goes first.
func (a candidate) before(b candidate) bool {
	if b.localReplica == nil || a.Due != b.Due {
		return b.localReplica == nil || a.Due
	}
	return a.Ratio() > b.Ratio()
}

// cleanNext makes a pass over the log that needs it most; false: none does.
func (c *cleaner) cleanNext(ctx context.Context, s configs.CleanerSettings) bool {
	next := c.choose()
	if next.localReplica == nil {
		return false
	}
	c.clean(ctx, next, s)
	return true
}

// choose looks at all logs, and seals what nobody appends to.
func (c *cleaner) choose() candidate {
	var next candidate
	now := time.Now()
	resting, failed, dirtiest := map[*localReplica]rest{}, 0, 0.0
	c.node.eachReplica(func(r *localReplica) {
		if _, ok := r.part.Cleanable(); !ok {
			return
		}
		if err := r.part.RollAged(); err != nil && !errors.Is(err, log.ErrClosed) {
			c.node.opts.Logger.Warn("seal segment for compaction", "dir", r.dir, "error", err)
		}
		it := candidate{localReplica: r}
		it.Cleanable, _ = r.part.Cleanable()
		dirtiest = max(dirtiest, it.Ratio())
		if still := c.resting[r]; now.Before(still.until) {
			resting[r] = still
			if still.failed {
				failed++
			}
			return
		}
		if it.Wanted && it.before(next) {
			next = it
		}
	})
	c.resting = resting // without those that are gone
	c.stats.dirtiest.Set(dirtiest)
	c.stats.failed.Set(float64(failed))
	return next
}

// clean makes a pass over one log. Where that fails it is logged and counted,
// and the log is left alone for a while.
func (c *cleaner) clean(ctx context.Context, it candidate, s configs.CleanerSettings) {
	began := time.Now()
	stats, err := it.part.Compact(ctx, it.UpTo, log.CompactOptions{
		MapBytes: s.DedupeBytes, MapLoad: s.BufferLoadFactor, BufferBytes: int(s.BufferBytes) / 2,
		Pace: func(ctx context.Context, bytes int) error { return c.pace(ctx, bytes, s.MaxBytesPerSec) },
	})
	c.stats.observe(stats, time.Since(began))
	logger := c.node.opts.Logger.With("dir", it.dir)
	var corrupt *log.CorruptionError
	switch {
	case err == nil && stats.To > stats.From:
		logger.Debug("compacted", "from", stats.From, "to", stats.To, "records", stats.Records, "removed", stats.Removed,
			"segments", stats.Segments, "into", stats.Into, "undecoded", stats.Opaque)
		return
	case err == nil || ctx.Err() != nil || errors.Is(err, log.ErrClosed) || errors.Is(err, replication.ErrStopped):
		// The snapshot did not cover it yet, the replica starts again, or stops.
		c.resting[it.localReplica] = rest{until: time.Now().Add(millis(s.BackoffMillis))}
		return
	case errors.As(err, &corrupt):
		c.node.stats.corruptions.Inc()
		logger.Error("stored data is damaged; see docs/operations.md, \"Damaged files\"", "error", err)
	default:
		logger.Warn("compaction failed; it will be tried again", "error", err)
	}
	c.resting[it.localReplica] = rest{until: time.Now().Add(cleanerRetry), failed: true}
}

// pace waits so that the node's cleaner reads and writes no more than rate bytes
// a second.
func (c *cleaner) pace(ctx context.Context, bytes int, rate float64) error {
	c.stats.bytes.Add(float64(bytes))
	if c.since += int64(bytes); c.since < cleanerBurst {
		return ctx.Err()
	}
	seconds := float64(c.since) / rate
	c.since = 0
	if wait := time.Duration(min(seconds*float64(time.Second), math.MaxInt64/2)); wait > 0 && !pause(ctx, wait) {
		return ctx.Err()
	}
	return ctx.Err()
}
