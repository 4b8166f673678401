package partition

import (
	"context"
	"errors"

	"github.com/fanfold/fanfold/log"
	"github.com/fanfold/fanfold/protocol/record"
)

// Cleanable is what there is to compact in a partition.
type Cleanable struct {
	UpTo       int64 // end offset of the newest segment that may be compacted
	CleanBytes int64 // of segments that were compacted
	DirtyBytes int64 // of segments that were not, and may be
	Due        bool  // some of them waited for longer than max.compaction.lag.ms
	Wanted     bool  // they are due, or more than min.cleanable.dirty.ratio
}

// Ratio is the share of bytes that is dirty, 0 to 1.
func (c Cleanable) Ratio() float64 {
	if c.DirtyBytes == 0 {
		return 0
	}
	return float64(c.DirtyBytes) / float64(c.CleanBytes+c.DirtyBytes)
}

// Cleanable looks at what compaction may do: sealed segments of committed
// records, none younger than min.compaction.lag.ms. A segment that is partly
// compacted counts as dirty. ok is false where the topic is not compacted, or
// the replica offline.
func (p *Partition) Cleanable() (c Cleanable, ok bool) {
	cfg, l := p.config.Load(), p.log.Load()
	if !cfg.Compact || l == nil || p.Offline() != nil {
		return c, false
	}
	now, hw, cleaned := p.now().UnixMilli(), p.hw.Load(), l.CleanedOffset()
	for _, s := range l.Segments() {
		if s.Active || s.EndOffset > hw {
			break
		}
		if s.EndOffset <= cleaned {
			c.CleanBytes += s.Bytes
			continue
		}
		newest := s.MaxTimestamp
		if newest < 0 {
			newest = s.Modified.UnixMilli()
		}
		if cfg.MinCompactionLagMillis > 0 && newest > now-cfg.MinCompactionLagMillis {
			break
		}
		c.UpTo = s.EndOffset
		c.DirtyBytes += s.Bytes
		c.Due = c.Due || s.FirstTimestamp > 0 && s.FirstTimestamp < now-cfg.MaxCompactionLagMillis
	}
	c.Wanted = c.DirtyBytes > 0 && (c.Due || c.Ratio() > cfg.MinCleanableDirtyRatio)
	return c, true
}

// RollAged seals the segment that is appended to where it is older than the
// topic's segment.ms, or max.compaction.lag.ms, though nobody appends to it.
func (p *Partition) RollAged() error {
	l, g := p.log.Load(), p.group.Load()
	if l == nil || g == nil || p.Offline() != nil {
		return nil
	}
	err := l.RollAged()
	if err != nil {
		(*g).CheckLog()
	}
	return err
}

// Compact makes one pass of compaction over the segments that end at or below
// upTo (Cleanable.UpTo). opts says how; what the topic's configs say is filled
// in.
func (p *Partition) Compact(ctx context.Context, upTo int64, opts log.CompactOptions) (log.CompactStats, error) {
	cfg, l, g := p.config.Load(), p.log.Load(), p.group.Load()
	if l == nil || g == nil {
		return log.CompactStats{}, errors.New("replica is not there yet")
	}
	if l.SettledOffset() < upTo {
		if err := (*g).Settle(ctx, upTo); err != nil {
			return log.CompactStats{}, err
		}
	}
	opts.UpTo = upTo
	opts.DeleteRetention = cfg.DeleteRetentionMillis
	opts.MaxDecompressedBytes = cfg.MaxDecompressedBytes
	opts.KeepProducer = p.isLastOfProducer
	stats, err := l.Compact(ctx, opts)
	if err != nil {
		(*g).CheckLog()
	}
	return stats, err
}

// isLastOfProducer says whether h is the newest batch of an idempotent producer
// that is remembered. Its header stays in the log, so that whoever rebuilds
// producers' state from that finds the sequence.
func (p *Partition) isLastOfProducer(h *record.Header) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	pr := p.mu.producers.byID[h.ProducerID]
	if pr == nil || len(pr.batches) == 0 || pr.epoch != h.ProducerEpoch {
		return false
	}
	return pr.batches[len(pr.batches)-1].offset == h.BaseOffset
}
