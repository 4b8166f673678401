package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Produce writes as the load says and returns when all that was sent is
// acknowledged. Any record that is not is an error.
func Produce(ctx context.Context, l Load) (Result, error) {
	w, err := startWriters(ctx, l)
	if err != nil {
		return Result{}, err
	}
	defer w.close()
	if err := w.wait(); err != nil {
		return Result{}, err
	}
	return w.finish(ctx)
}

// writers are the clients of a load while they write.
type writers struct {
	load    Load
	filler  filler
	clients []*writer
	going   context.Context         // ends when the caller's does, or with the first failure
	fail    context.CancelCauseFunc // ends going
	stop    context.CancelFunc      // ends the schedule, not what is in flight
	running sync.WaitGroup
	started time.Time
	times   [16]*timings // of several writers each

	counted        span
	records, bytes atomic.Int64 // acknowledged so far
	counting       struct {     // what was acknowledged within the span
		records, bytes int64
		took           time.Duration
	}
}

// span is the time that counts, in Unix nanoseconds; it is set while writers
// already write.
type span struct{ from, to atomic.Int64 }

func (s *span) holds(at time.Time) bool {
	n := at.UnixNano()
	return n >= s.from.Load() && n < s.to.Load()
}

// writer is one client.
type writer struct {
	all     *writers
	number  int
	client  *kgo.Client
	records sync.Pool // *kgo.Record with a value
	timings *timings
	sum     Sum // of what was acknowledged; the client calls back in one goroutine
}

// startWriters connects the clients and lets them begin.
func startWriters(ctx context.Context, l Load) (*writers, error) {
	if err := l.check(); err != nil {
		return nil, err
	}
	if l.Watch.Live == nil {
		l.Watch.Live = &Live{}
	}
	w := &writers{load: l, filler: newFiller(l.Text)}
	w.going, w.fail = context.WithCancelCause(ctx)
	var scheduled context.Context
	scheduled, w.stop = context.WithCancel(w.going)
	for i := range w.times {
		w.times[i] = newTimings()
	}
	for i := range l.Clients {
		client, err := l.newProducer()
		if err != nil {
			w.close()
			return nil, fmt.Errorf("make producer: %w", err)
		}
		one := &writer{all: w, number: i, client: client, timings: w.times[i%len(w.times)]}
		one.records.New = func() any { return &kgo.Record{Value: make([]byte, l.RecordBytes)} }
		w.clients = append(w.clients, one)
	}
	if err := w.connect(ctx); err != nil {
		w.close()
		return nil, fmt.Errorf("connect producers: %w", err)
	}
	w.started = time.Now()
	w.counted.from.Store(w.started.Add(l.Warmup).UnixNano())
	w.counted.to.Store(w.started.Add(l.Warmup + l.Duration).UnixNano())
	for _, one := range w.clients {
		w.running.Go(func() { one.run(scheduled, w.started) })
	}
	return w, nil
}

// connect has every client know its brokers before the schedule begins, some
// at a time.
func (w *writers) connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var mu sync.Mutex
	var first error
	var group sync.WaitGroup
	slots := make(chan struct{}, 16)
	for _, one := range w.clients {
		group.Go(func() {
			slots <- struct{}{}
			err := one.client.Ping(ctx)
			<-slots
			if err != nil {
				mu.Lock()
				first = errors.Join(first, err)
				mu.Unlock()
				cancel()
			}
		})
	}
	group.Wait()
	return first
}

// run sends by the schedule until the context ends. Clients take their turns
// evenly over the time that one needs between two records.
func (o *writer) run(ctx context.Context, started time.Time) {
	l := &o.all.load
	var gap time.Duration
	if l.Rate > 0 {
		gap = time.Duration(float64(l.Clients) / l.Rate * float64(time.Second))
		started = started.Add(gap * time.Duration(o.number) / time.Duration(l.Clients))
	}
	for number := int64(0); ; number++ {
		due := time.Now()
		if gap > 0 {
			due = started.Add(gap * time.Duration(number))
			if pause(ctx, due, nil) != nil {
				return
			}
		} else if ctx.Err() != nil {
			return
		}
		r := o.records.Get().(*kgo.Record)
		*r = kgo.Record{Value: r.Value}
		o.all.filler.write(r.Value, due, o.number, number)
		// What was handed over is waited for, whatever ends the schedule.
		o.client.Produce(context.WithoutCancel(ctx), r, o.acked)
	}
}

func (o *writer) acked(r *kgo.Record, err error) {
	w := o.all
	if err != nil {
		w.fail(fmt.Errorf("produce to %s: %w", r.Topic, err))
		return
	}
	due, _ := dueOf(r.Value)
	if w.counted.holds(due) {
		o.timings.add(time.Since(due))
	}
	o.sum.Add(r.Value)
	w.records.Add(1)
	w.bytes.Add(int64(len(r.Value)))
	w.load.Watch.Live.Records.Add(1)
	w.load.Watch.Live.Bytes.Add(int64(len(r.Value)))
	o.records.Put(r)
}

// wait lets warm-up and the time that counts pass.
func (w *writers) wait() error {
	l := &w.load
	until := func(nanos int64) error {
		if pause(w.going, time.Unix(0, nanos), l.Watch.Done) != nil {
			return context.Cause(w.going)
		}
		return nil
	}
	if err := until(w.counted.from.Load()); err != nil {
		return err
	}
	l.Watch.begin()
	began, records, bytes := time.Now(), w.records.Load(), w.bytes.Load()
	w.counted.from.Store(began.UnixNano())
	err := until(w.counted.to.Load())
	ended := time.Now()
	w.counted.to.Store(ended.UnixNano())
	w.counting.records, w.counting.bytes = w.records.Load()-records, w.bytes.Load()-bytes
	w.counting.took = ended.Sub(began)
	l.Watch.end()
	return err
}

// drainWithin is how long the last acknowledgements may take.
const drainWithin = 2 * time.Minute

// finish stops the schedule and waits for what is in flight.
func (w *writers) finish(ctx context.Context) (Result, error) {
	w.stop()
	ctx, cancel := context.WithTimeout(ctx, drainWithin)
	defer cancel()
	unblock := context.AfterFunc(ctx, func() { // a Produce that waits for room
		for _, one := range w.clients {
			one.client.Close()
		}
	})
	defer unblock()
	w.running.Wait()
	r := Result{Clients: w.load.Clients, Acked: &Sum{}}
	times := newTimings()
	for _, one := range w.clients {
		if err := one.client.Flush(ctx); err != nil {
			return r, fmt.Errorf("wait for the last acknowledgements: %w", err)
		}
		one.client.Close() // joins its callbacks
		r.Acked.Join(one.sum)
	}
	if err := context.Cause(w.going); err != nil {
		return r, err
	}
	for _, t := range w.times {
		times.join(t)
	}
	r.count(w.counting.records, w.counting.bytes, w.counting.took)
	r.Ack = times.distribution()
	return r, nil
}

// close ends everything, whatever is in flight.
func (w *writers) close() {
	w.fail(nil)
	w.stop()
	for _, one := range w.clients {
		one.client.Close() // a Produce that waits for room returns
	}
	w.running.Wait()
}
