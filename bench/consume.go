package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Reading is what is read, and how.
type Reading struct {
	Brokers []string
	Options []kgo.Opt
	Topic   string
	Readers int // each reads the whole topic with connections of its own; zero is 1

	// Follow starts at the topic's end and reads what comes for Duration,
	// instead of everything that is there, once.
	Follow   bool
	Warmup   time.Duration // with Follow: not counted
	Duration time.Duration // with Follow; otherwise a limit, and zero is none
	Watch    Watch
}

// Consume reads as it is told. Without Follow, Result.Read is what one reader
// read, and that the readers differ is an error; the rates are of all readers.
func Consume(ctx context.Context, r Reading) (Result, error) {
	rs, err := startReaders(ctx, r)
	if err != nil {
		return Result{}, err
	}
	defer rs.close()
	if r.Follow {
		err = rs.follow(ctx)
	} else {
		err = rs.readAll(ctx)
	}
	return rs.result(err)
}

// readers are the clients of a Reading.
type readers struct {
	Reading
	clients []*reader
	going   context.Context
	fail    context.CancelCauseFunc
	running sync.WaitGroup

	counted        span // of the times from due to read
	times          *timings
	records, bytes atomic.Int64
	counting       struct {
		records, bytes int64
		took           time.Duration
	}
}

// reader reads the topic once.
type reader struct {
	all    *readers
	client *kgo.Client
	ends   map[int32]int64 // where each partition is read to; empty when all are done
	sum    Sum
	count  atomic.Int64 // of sum.Records, for others
}

// startReaders finds out where the topic begins and ends and connects.
func startReaders(ctx context.Context, r Reading) (*readers, error) {
	r.Readers = max(r.Readers, 1)
	if r.Watch.Live == nil {
		r.Watch.Live = &Live{}
	}
	if r.Follow && r.Duration <= 0 {
		return nil, errors.New("following a topic needs a duration above 0")
	}
	rs := &readers{Reading: r, times: newTimings()}
	rs.going, rs.fail = context.WithCancelCause(ctx)
	from, to, err := bounds(ctx, r)
	if err != nil {
		rs.close()
		return nil, err
	}
	for range r.Readers {
		one, err := rs.newReader(from, to)
		if err != nil {
			rs.close()
			return nil, err
		}
		rs.clients = append(rs.clients, one)
	}
	return rs, nil
}

// bounds are the offsets that the partitions of a topic begin and end at.
func bounds(ctx context.Context, r Reading) (from, to kadm.ListedOffsets, err error) {
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(r.Brokers...)}, r.Options...)...)
	if err != nil {
		return nil, nil, err
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	if from, err = admin.ListStartOffsets(ctx, r.Topic); err == nil {
		err = from.Error()
	}
	if err != nil {
		return nil, nil, fmt.Errorf("list where %s begins: %w", r.Topic, err)
	}
	if to, err = admin.ListEndOffsets(ctx, r.Topic); err == nil {
		err = to.Error()
	}
	if err != nil {
		return nil, nil, fmt.Errorf("list where %s ends: %w", r.Topic, err)
	}
	return from, to, nil
}

func (rs *readers) newReader(from, to kadm.ListedOffsets) (*reader, error) {
	one := &reader{all: rs, ends: map[int32]int64{}}
	start := map[int32]kgo.Offset{}
	to.Each(func(end kadm.ListedOffset) {
		begin, _ := from.Lookup(rs.Topic, end.Partition)
		if rs.Follow {
			begin = end
		} else if begin.Offset == end.Offset {
			return
		}
		one.ends[end.Partition] = end.Offset
		start[end.Partition] = kgo.NewOffset().At(begin.Offset)
	})
	var err error
	one.client, err = kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(rs.Brokers...),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{rs.Topic: start}),
		kgo.DisableClientMetrics(),
	}, rs.Options...)...)
	if err != nil {
		return nil, fmt.Errorf("make consumer: %w", err)
	}
	return one, nil
}

// run reads until everything is read, or, following, until the context ends.
func (o *reader) run(ctx context.Context) {
	rs := o.all
	for rs.Follow || len(o.ends) > 0 {
		fetches := o.client.PollFetches(ctx)
		now := time.Now()
		for _, e := range fetches.Errors() {
			if ctx.Err() == nil {
				rs.fail(fmt.Errorf("fetch from %s partition %d: %w", e.Topic, e.Partition, e.Err))
			}
			return
		}
		var records, bytes int64
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			for _, r := range p.Records {
				if !rs.Follow && r.Offset >= o.ends[p.Partition] {
					break
				}
				o.sum.Add(r.Value)
				records, bytes = records+1, bytes+int64(len(r.Value))
				if due, ok := dueOf(r.Value); ok && rs.Follow && rs.counted.holds(due) {
					rs.times.add(now.Sub(due))
				}
			}
			if n := len(p.Records); n > 0 && !rs.Follow && p.Records[n-1].Offset+1 >= o.ends[p.Partition] {
				delete(o.ends, p.Partition)
			}
		})
		rs.records.Add(records)
		rs.bytes.Add(bytes)
		o.count.Store(o.sum.Records)
		rs.Watch.Live.Records.Add(records)
		rs.Watch.Live.Bytes.Add(bytes)
	}
}

// readAll reads everything that is there.
func (rs *readers) readAll(ctx context.Context) error {
	limited, cancel := rs.going, func() {}
	if rs.Duration > 0 {
		limited, cancel = context.WithTimeout(rs.going, rs.Duration)
	}
	defer cancel()
	rs.Watch.begin()
	began := time.Now()
	for _, one := range rs.clients {
		rs.running.Go(func() { one.run(limited) })
	}
	rs.running.Wait()
	rs.counting.took = time.Since(began)
	rs.counting.records, rs.counting.bytes = rs.records.Load(), rs.bytes.Load()
	rs.Watch.end()
	if err := context.Cause(rs.going); err != nil {
		return err
	}
	return ctx.Err()
}

// begin lets the readers follow.
func (rs *readers) begin(ctx context.Context) {
	for _, one := range rs.clients {
		rs.running.Go(func() { one.run(ctx) })
	}
}

// follow reads what comes until the time is over.
func (rs *readers) follow(ctx context.Context) error {
	reading, stop := context.WithCancel(rs.going)
	defer rs.running.Wait()
	defer stop()
	rs.begin(reading)
	if pause(rs.going, time.Now().Add(rs.Warmup), rs.Watch.Done) != nil {
		return context.Cause(rs.going)
	}
	rs.Watch.begin()
	began, records, bytes := time.Now(), rs.records.Load(), rs.bytes.Load()
	rs.counted.from.Store(began.UnixNano())
	rs.counted.to.Store(began.Add(rs.Duration).UnixNano())
	err := pause(rs.going, began.Add(rs.Duration), rs.Watch.Done)
	rs.counting.took = time.Since(began)
	rs.counting.records, rs.counting.bytes = rs.records.Load()-records, rs.bytes.Load()-bytes
	rs.Watch.end()
	if err != nil {
		return context.Cause(rs.going)
	}
	return ctx.Err()
}

// result is for after the readers have ended.
func (rs *readers) result(err error) (Result, error) {
	r := Result{Clients: rs.Readers}
	if err != nil {
		return r, err
	}
	r.count(rs.counting.records, rs.counting.bytes, rs.counting.took)
	r.EndToEnd = rs.times.distribution()
	if rs.Follow || rs.Duration > 0 {
		return r, nil // readers may stand at different places
	}
	first := rs.clients[0].sum
	for _, one := range rs.clients[1:] {
		if one.sum != first {
			return r, fmt.Errorf("readers of %s differ: one read %v, another %v", rs.Topic, first, one.sum)
		}
	}
	r.Read = &first
	return r, nil
}

func (rs *readers) close() {
	rs.fail(nil)
	rs.running.Wait()
	for _, one := range rs.clients {
		one.client.Close()
	}
}

// Verify reads a whole topic and fails where it does not hold exactly what was
// acknowledged.
func Verify(ctx context.Context, brokers []string, topic string, acked Sum, opts ...kgo.Opt) error {
	got, err := Consume(ctx, Reading{Brokers: brokers, Topic: topic, Options: opts})
	if err != nil {
		return fmt.Errorf("read %s back: %w", topic, err)
	}
	if *got.Read != acked {
		return fmt.Errorf("%s holds %v, but acknowledged were %v", topic, *got.Read, acked)
	}
	return nil
}
