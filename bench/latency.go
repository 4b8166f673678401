package bench

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Latency writes at the load's rate, which must be set, while readers follow
// the topic; each record's time runs from when it was due until a reader has
// it. With background loads, those write at the same time. It fails unless
// every reader got exactly what was acknowledged.
func Latency(ctx context.Context, l Load, readerCount int, background ...Load) (Result, error) {
	if l.Rate <= 0 {
		return Result{}, errors.New("a measurement of latency needs a rate above 0")
	}
	rs, err := startReaders(ctx, Reading{
		Brokers: l.Brokers, Options: l.Options, Topic: l.Topic, Readers: readerCount,
		Follow: true, Duration: l.Duration,
	})
	if err != nil {
		return Result{}, err
	}
	defer rs.close()
	reading, stop := context.WithCancel(rs.going)
	defer stop()
	rs.begin(reading)
	behind, err := startBackground(ctx, l, background)
	if err != nil {
		return Result{}, err
	}
	defer behind.close()
	w, err := startWriters(ctx, l)
	if err != nil {
		return Result{}, err
	}
	defer w.close()
	rs.counted.from.Store(w.counted.from.Load())
	rs.counted.to.Store(w.counted.to.Load())
	if err := errors.Join(w.wait(), context.Cause(rs.going), behind.failure()); err != nil {
		return Result{}, err
	}
	result, err := w.finish(ctx)
	if err != nil {
		return result, err
	}
	if err := rs.await(ctx, result.Acked.Records); err != nil {
		return result, err
	}
	stop()
	rs.running.Wait()
	for _, one := range rs.clients {
		if one.sum != *result.Acked {
			return result, fmt.Errorf("read from %s were %v, but acknowledged were %v", l.Topic, one.sum, *result.Acked)
		}
	}
	result.Read, result.EndToEnd = result.Acked, rs.times.distribution()
	return result, behind.finish(ctx, &result)
}

// await waits until every reader has this many records.
func (rs *readers) await(ctx context.Context, records int64) error {
	ctx, cancel := context.WithTimeout(ctx, drainWithin)
	defer cancel()
	for _, one := range rs.clients {
		for one.count.Load() < records {
			if err := context.Cause(rs.going); err != nil {
				return err
			}
			if pause(ctx, time.Now().Add(time.Millisecond), nil) != nil {
				return fmt.Errorf("a reader of %s got %d records of %d that were acknowledged", rs.Topic, one.count.Load(), records)
			}
		}
	}
	return nil
}

// behind are loads that run while something else is measured.
type behind []*writers

func startBackground(ctx context.Context, l Load, loads []Load) (behind, error) {
	var b behind
	for _, load := range loads {
		load.Warmup, load.Duration, load.Watch = l.Warmup, l.Duration, Watch{}
		w, err := startWriters(ctx, load)
		if err != nil {
			b.close()
			return nil, fmt.Errorf("start background load: %w", err)
		}
		b = append(b, w)
	}
	return b, nil
}

func (b behind) failure() error {
	for _, w := range b {
		if err := context.Cause(w.going); err != nil {
			return fmt.Errorf("background load: %w", err)
		}
	}
	return nil
}

// finish ends the loads and adds what they came to.
func (b behind) finish(ctx context.Context, result *Result) error {
	for _, w := range b {
		r, err := w.finish(ctx)
		if err != nil {
			return fmt.Errorf("background load: %w", err)
		}
		r.count(r.Acked.Records, w.bytes.Load(), time.Since(w.started))
		result.Background = append(result.Background, r)
	}
	return nil
}

func (b behind) close() {
	for _, w := range b {
		w.close()
	}
}
