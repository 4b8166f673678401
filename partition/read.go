package partition

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/fanfold/fanfold/log"
	"github.com/fanfold/fanfold/protocol"
)

// Isolation levels as requests say them.
const (
	ReadUncommitted int8 = 0
	ReadCommitted   int8 = 1
)

// Read returns committed records from an offset on, as a range of a file. The
// error, if any, is in the result.
func (p *Partition) Read(req FetchRequest) FetchResult {
	r := FetchResult{
		LogStartOffset: p.logStart.Load(),
		HighWatermark:  p.hw.Load(),
		LeaderEpoch:    p.epoch.Load(),
		DivergingEpoch: -1, DivergingOffset: -1,
	}
	r.LastStableOffset = r.HighWatermark
	l := p.log.Load()
	if l == nil {
		_, r.Err = p.writable()
		return r
	}
	if r.Err = p.checkEpoch(req.CurrentLeaderEpoch); r.Err != nil {
		return r
	}
	if req.LastFetchedEpoch >= 0 && p.diverges(req, &r) {
		return r
	}
	switch end := l.EndOffset(); {
	case req.Offset < r.LogStartOffset, req.Offset > max(end, r.HighWatermark):
		r.Err = protocol.Errorf(kerr.OffsetOutOfRange, "offset %d is outside of %d–%d", req.Offset, r.LogStartOffset, end)
	case req.Offset < r.HighWatermark && (req.MaxBytes > 0 || req.AtLeastOne):
		p.readLog(l, req, &r)
	}
	return r
}

func (p *Partition) readLog(l *log.Log, req FetchRequest, r *FetchResult) {
	var err error
	r.Records, err = l.Read(req.Offset, r.HighWatermark, clampInt(req.MaxBytes), req.AtLeastOne)
	if now := p.log.Load(); errors.Is(err, log.ErrClosed) && now != l {
		// The replica was started again meanwhile.
		r.Records, err = now.Read(req.Offset, min(r.HighWatermark, p.hw.Load()), clampInt(req.MaxBytes), req.AtLeastOne)
	}
	if errors.Is(err, log.ErrOffsetOutOfRange) {
		// Retention overtook the look-up.
		r.LogStartOffset = p.logStart.Load()
		r.Err = protocol.Errorf(kerr.OffsetOutOfRange, "offset %d is below the log start %d", req.Offset, r.LogStartOffset)
	} else if err != nil {
		r.Err = storageError(err)
	}
}

// diverges tells a reader whose last epoch ended earlier here than where it
// reads on (KIP-595).
func (p *Partition) diverges(req FetchRequest, r *FetchResult) bool {
	epoch, end, err := p.EpochEndOffset(-1, req.LastFetchedEpoch)
	if err != nil || (epoch == req.LastFetchedEpoch && end >= req.Offset) {
		return false
	}
	if epoch < 0 {
		r.Err = protocol.Errorf(kerr.OffsetOutOfRange, "the last epoch fetched, %d, has not begun here", req.LastFetchedEpoch)
		return true
	}
	r.DivergingEpoch, r.DivergingOffset = epoch, end
	return true
}

// confirmed refuses while a new leader does not know yet what is committed
// (KIP-207).
func (p *Partition) confirmed(current int32) error {
	if err := p.checkEpoch(current); err != nil {
		return err
	}
	if p.writing.Load() != 0 {
		return nil
	}
	if err := p.Offline(); err != nil {
		if p.caughtUp.Load() {
			// The last high watermark holds: nothing is written meanwhile.
			return nil
		}
		return protocol.Errorf(kerr.KafkaStorageError, "replica is offline since it was started: %v", err)
	}
	return protocol.Errorf(kerr.OffsetNotAvailable, "the leader of this term has not committed an entry yet")
}

// EarliestOffset is the log start, and the leader epoch there.
func (p *Partition) EarliestOffset(currentLeaderEpoch int32) (offset int64, epoch int32, err error) {
	if err := p.confirmed(currentLeaderEpoch); err != nil {
		return -1, -1, err
	}
	offset = p.logStart.Load()
	return offset, p.epochAt(offset), nil
}

// LatestOffset is the end for a reader of the isolation level, and the leader
// epoch.
func (p *Partition) LatestOffset(currentLeaderEpoch int32, _ int8) (offset int64, epoch int32, err error) {
	if err := p.confirmed(currentLeaderEpoch); err != nil {
		return -1, -1, err
	}
	return p.hw.Load(), p.epoch.Load(), nil
}

// OffsetForTimestamp is the first record at ts (milliseconds) or later.
func (p *Partition) OffsetForTimestamp(ctx context.Context, currentLeaderEpoch int32, ts int64) (TimestampOffset, error) {
	return p.lookUp(ctx, currentLeaderEpoch, func(l *log.Log, start, end int64) (log.TimestampOffset, bool, error) {
		return l.OffsetForTimestamp(ctx, ts, start, end)
	})
}

// MaxTimestamp is the record with the largest timestamp (KIP-734).
func (p *Partition) MaxTimestamp(ctx context.Context, currentLeaderEpoch int32) (TimestampOffset, error) {
	return p.lookUp(ctx, currentLeaderEpoch, func(l *log.Log, start, end int64) (log.TimestampOffset, bool, error) {
		return l.MaxTimestamp(ctx, start, end)
	})
}

func (p *Partition) lookUp(ctx context.Context, currentLeaderEpoch int32, find func(l *log.Log, start, end int64) (log.TimestampOffset, bool, error)) (TimestampOffset, error) {
	none := TimestampOffset{Offset: -1, Timestamp: -1, LeaderEpoch: -1}
	if err := p.confirmed(currentLeaderEpoch); err != nil {
		return none, err
	}
	start, end := p.logStart.Load(), p.hw.Load()
	if start >= end {
		return none, nil
	}
	found, ok, err := find(p.log.Load(), start, end)
	switch {
	case err != nil && ctx.Err() != nil:
		return none, ctx.Err()
	case err != nil:
		return none, storageError(err)
	case !ok:
		return none, nil
	}
	return TimestampOffset(found), nil
}
