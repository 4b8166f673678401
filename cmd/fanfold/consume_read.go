package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// idleAfter is how long nothing may come before the reader looks whether what
// it waits for can still come.
const idleAfter = time.Second

// A rangeReader reads ranges of offsets into a sink.
type rangeReader struct {
	app     *app
	client  *client
	plan    *consumePlan
	ranges  *ranges
	sink    sink
	meter   *meter
	taken   int64
	warned  bool
	lastGot time.Time
}

// errEnough ends the reading: --count records were read.
var errEnough = errors.New("enough records")

// run reads until the ranges or the count are done or ctx ends.
func (r *rangeReader) run(ctx context.Context) error {
	r.lastGot = time.Now()
	for !r.ranges.done() {
		polling, cancel := context.WithTimeout(ctx, idleAfter)
		fetches := r.client.PollFetches(polling)
		cancel()
		if ctx.Err() != nil {
			return r.interrupted()
		}
		err := r.take(fetches)
		if flushErr := r.sink.flush(); err == nil || errors.Is(err, errEnough) {
			if flushErr != nil {
				return flushErr
			}
		}
		if errors.Is(err, errEnough) {
			return nil
		}
		if err != nil {
			return err
		}
		if fetches.NumRecords() > 0 {
			r.lastGot, r.warned = time.Now(), false
		} else if err := r.idle(ctx); err != nil {
			return err
		}
	}
	return nil
}

// interrupted is no failure where the reading would never have ended.
func (r *rangeReader) interrupted() error {
	if r.plan.bounded() {
		return errInterrupted
	}
	return nil
}

// take gives the records of a poll to the sink.
func (r *rangeReader) take(fetches kgo.Fetches) error {
	for _, e := range fetches.Errors() {
		if errors.Is(e.Err, context.DeadlineExceeded) && e.Topic == "" {
			continue // nothing came
		}
		return r.fetchError(e)
	}
	for iter := fetches.RecordIter(); !iter.Done(); {
		record := iter.Next()
		p := partitionOf{record.Topic, record.Partition}
		pending := r.ranges.pending[p]
		if pending == nil || record.Offset < pending.from {
			continue
		}
		if pending.to < 0 || record.Offset < pending.to {
			pending.from = record.Offset + 1
			if err := r.takeRecord(record); err != nil {
				return err
			}
		}
		if pending.to >= 0 && record.Offset+1 >= pending.to {
			r.finish(p)
		}
	}
	return nil
}

func (r *rangeReader) takeRecord(record *kgo.Record) error {
	if record.Attrs.IsControl() {
		return nil
	}
	if err := r.sink.write(record); err != nil {
		return err
	}
	r.meter.add(len(record.Key) + len(record.Value))
	if r.taken++; r.plan.count > 0 && r.taken == r.plan.count {
		return errEnough
	}
	return nil
}

// finish stops to fetch a partition.
func (r *rangeReader) finish(p partitionOf) {
	delete(r.ranges.pending, p)
	r.client.PauseFetchPartitions(map[string][]int32{p.topic: {p.partition}})
}

func (r *rangeReader) fetchError(e kgo.FetchError) error {
	var lost *kgo.ErrDataLoss
	if errors.As(e.Err, &lost) {
		return fmt.Errorf("topic %q, partition %d: records were lost on the broker: it was read up to offset %d, and now continues at %d",
			e.Topic, e.Partition, lost.ConsumedTo, lost.ResetTo)
	}
	return fmt.Errorf("topic %q, partition %d: %s", e.Topic, e.Partition, protocolText(e.Err, ""))
}

// idle is called when nothing came for a while. Records that ranges wait for
// may have been deleted meanwhile, or no broker may be there any more: then a
// reading that has an end fails after --timeout, and one that has none says so
// once and waits on.
func (r *rangeReader) idle(ctx context.Context) error {
	_, dialErr := r.client.dialFailure()
	if r.plan.to == nil && dialErr == nil {
		return nil
	}
	asking, cancel := context.WithTimeout(ctx, r.app.timeout)
	defer cancel()
	starts, err := r.client.admin.ListStartOffsets(asking, r.ranges.topics()...)
	if ctx.Err() != nil {
		return r.interrupted()
	}
	if err != nil {
		err = r.client.explain(asking, "wait for records", err)
		if r.plan.bounded() && time.Since(r.lastGot) > r.app.timeout {
			return err
		}
		if !r.warned {
			r.warned = true
			r.app.complain(fmt.Errorf("%w; trying on", err))
		}
		return nil
	}
	for p, pending := range r.ranges.pending {
		if start, ok := starts.Lookup(p.topic, p.partition); ok && start.Err == nil && pending.to >= 0 && start.Offset >= pending.to {
			r.finish(p)
		}
	}
	return nil
}
