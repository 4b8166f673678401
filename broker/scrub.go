package broker

import (
	"context"
	"errors"
	"time"

	"github.com/fanfold/fanfold/cluster/configs"
	"github.com/fanfold/fanfold/log"
)

// The scrubber reads every log of the node within log.scrub.days, one after
// the other, at the rate that takes.
const (
	scrubMinRate  = 64 << 10 // bytes a second
	scrubPause    = time.Minute
	scrubBurst    = 256 << 10 // bytes read before it waits
	secondsPerDay = 24 * 60 * 60
)

// runScrub scrubs for as long as the node runs.
func (n *LocalNode) runScrub(ctx context.Context) {
	for {
		if days := n.scrubDays(); days > 0 {
			rate := n.scrubRate(days)
			n.eachReplica(func(r *localReplica) { n.scrub(ctx, r, rate) })
		}
		if !pause(ctx, scrubPause) {
			return
		}
	}
}

func (n *LocalNode) scrubDays() int64 {
	s, _ := configs.EffectiveBroker(n.Configs()) // what is not taken has its default
	return int64(s.ScrubDays)
}

// scrubRate is how many bytes a second read everything within days.
func (n *LocalNode) scrubRate(days int64) int64 {
	var total int64
	n.eachReplica(func(r *localReplica) { total += r.part.SizeBytes() })
	return scrubRateOf(total, days)
}

// scrubRateOf is total bytes within days, rounded up, in bytes a second.
func scrubRateOf(total, days int64) int64 {
	seconds := days * secondsPerDay
	return max(scrubMinRate, (total+seconds-1)/seconds)
}

// scrub reads one log. Damage is logged and counted; readers' checksums and
// `fanfold log verify` say the rest.
func (n *LocalNode) scrub(ctx context.Context, r *localReplica, rate int64) {
	l := r.part.Log()
	if l == nil || ctx.Err() != nil {
		return
	}
	var since int64
	pace := func(ctx context.Context, bytes int) error {
		n.stats.scrubbed.Add(float64(bytes))
		if since += int64(bytes); since < scrubBurst {
			return ctx.Err()
		}
		wait := time.Duration(since) * time.Second / time.Duration(rate)
		since = 0
		if !pause(ctx, wait) {
			return ctx.Err()
		}
		return nil
	}
	err := l.Scrub(ctx, pace)
	var corrupt *log.CorruptionError
	switch {
	case err == nil || ctx.Err() != nil || errors.Is(err, log.ErrClosed):
	case errors.As(err, &corrupt):
		n.stats.corruptions.Inc()
		n.opts.Logger.Error("stored data is damaged; see docs/operations.md, \"Damaged files\"", "dir", r.dir, "error", err)
	default:
		n.opts.Logger.Warn("scrub", "dir", r.dir, "error", err)
	}
}

// pause waits for d; false: ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
