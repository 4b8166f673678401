//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fanfold/fanfold/bench"
)

// load is a workload's load on the turn's topic.
func (t *turn) load(l bench.Load) bench.Load {
	l.Brokers, l.Topic = []string{t.server.address}, t.topic
	l.Warmup, l.Duration = t.settings.warmup, t.settings.duration
	return l
}

// produced is what a run of Produce or Exchange measured, once it is verified.
func (t *turn) produced(r bench.Result, s *span) (measured, error) {
	m := measured{Values: sample{}, Ack: r.Ack, Verified: r.Acked}
	if s.err != nil {
		return m, fmt.Errorf("read /proc: %w", s.err)
	}
	s.into(m.Values, r.Bytes)
	m.Values[mbPerSecond], m.Values[recordsPerSecond] = r.MBPerSecond, r.RecordsPerSecond
	m.acks(r.Ack)
	return m, bench.Verify(t.ctx, []string{t.server.address}, t.topic, *r.Acked)
}

func (m *measured) acks(d *bench.Distribution) {
	if d != nil {
		m.Ack = d
		m.Values[ackP50], m.Values[ackP99], m.Values[ackP999] = d.P50, d.P99, d.P999
	}
}

// produceWith writes as fast as it goes.
func produceWith(l bench.Load) func(t *turn) (measured, error) {
	return func(t *turn) (measured, error) {
		if nats, ok := t.server.system.(*natsServer); ok {
			return nats.produce(t, l)
		}
		l := t.load(l)
		var s *span
		s, l.Watch = watch(t.server.pid())
		r, err := bench.Produce(t.ctx, l)
		if err != nil {
			return measured{}, err
		}
		m, err := t.produced(r, s)
		// Without a schedule these are times in the client's own queue.
		delete(m.Values, ackP50)
		delete(m.Values, ackP99)
		delete(m.Values, ackP999)
		return m, err
	}
}

// exchange is the same over Kafka's protocol and NATS's.
func exchange(t *turn) (measured, error) {
	l := t.load(bench.Load{RecordBytes: 1024, Clients: 64})
	var s *span
	s, l.Watch = watch(t.server.pid())
	nats, ok := t.server.system.(*natsServer)
	if !ok {
		r, err := bench.Exchange(t.ctx, l)
		if err != nil {
			return measured{}, err
		}
		return t.produced(r, s)
	}
	return nats.exchange(t, l, s)
}

// latencyAt follows records of 1 KiB.
func latencyAt(rate float64) func(t *turn) (measured, error) {
	return func(t *turn) (measured, error) {
		return t.latency(t.load(bench.Load{RecordBytes: 1024, Rate: rate}))
	}
}

func (t *turn) latency(l bench.Load, background ...bench.Load) (measured, error) {
	var s *span
	s, l.Watch = watch(t.server.pid())
	r, err := bench.Latency(t.ctx, l, 1, background...)
	if err != nil {
		return measured{}, err
	}
	if s.err != nil {
		return measured{}, fmt.Errorf("read /proc: %w", s.err)
	}
	m := measured{Values: sample{}, EndToEnd: r.EndToEnd, Verified: r.Read}
	s.into(m.Values, 0)
	m.acks(r.Ack)
	m.Values[p50], m.Values[p99], m.Values[p999] = r.EndToEnd.P50, r.EndToEnd.P99, r.EndToEnd.P999
	for i, b := range r.Background {
		m.Values[mbPerSecond] = b.MBPerSecond
		if err := bench.Verify(t.ctx, l.Brokers, background[i].Topic, *b.Acked); err != nil {
			return m, err
		}
	}
	return m, nil
}

// calibrate finds what half of Kafka's maximum is, for all systems.
func calibrate(t *turn) error {
	if t.server.name() != kafka || t.shared.rate > 0 {
		return nil
	}
	t.topic = "calibrate"
	if err := createTopic(t.ctx, t.server.address, t.topic, partitions); err != nil {
		return err
	}
	l := t.load(bench.Load{RecordBytes: 1024, Linger: -1})
	l.Warmup = t.settings.warmRun
	r, err := bench.Produce(t.ctx, l)
	t.shared.rate = r.RecordsPerSecond / 2
	return errors.Join(err, deleteTopic(t.ctx, t.server.address, t.topic))
}

// defaultBackground is used where Kafka is left out.
const defaultBackground = 100_000 // records of 1 KiB a second

func mixed(t *turn) (measured, error) {
	behind := t.load(bench.Load{RecordBytes: 1024, Linger: -1, Rate: t.shared.rate})
	if behind.Rate == 0 {
		behind.Rate = defaultBackground
	}
	behind.Topic += "-behind"
	if err := createTopic(t.ctx, t.server.address, behind.Topic, partitions); err != nil {
		return measured{}, err
	}
	m, err := t.latency(t.load(bench.Load{RecordBytes: 1024, Rate: 1000}), behind)
	return m, errors.Join(err, deleteTopic(t.ctx, t.server.address, behind.Topic))
}

// manyPartitions lingers as long as Java's client does.
func manyPartitions(t *turn) (measured, error) {
	return t.paced(bench.Load{RecordBytes: 1024, Rate: 20_000, Linger: 5 * time.Millisecond, RoundRobin: true})
}

func producers1000(t *turn) (measured, error) {
	return t.paced(bench.Load{RecordBytes: 1024, Rate: 1000, Clients: 1000})
}

// settledWarmup is for loads that touch many new things at first: partitions'
// files, connections.
const settledWarmup = 3 * time.Second

// paced writes by a schedule; what it measures is the time to acknowledge.
func (t *turn) paced(l bench.Load) (measured, error) {
	l = t.load(l)
	if t.settings.warmRun > 0 {
		l.Warmup = max(l.Warmup, settledWarmup)
	}
	var s *span
	s, l.Watch = watch(t.server.pid())
	r, err := bench.Produce(t.ctx, l)
	if err != nil {
		return measured{}, err
	}
	return t.produced(r, s)
}

// fill writes this many bytes of 1 KiB records to a new topic.
func (t *turn) fill(topic string, bytes int64) error {
	if err := createTopic(t.ctx, t.server.address, topic, partitions); err != nil {
		return err
	}
	var live bench.Live
	done := make(chan struct{})
	var watching sync.WaitGroup
	stop := make(chan struct{})
	watching.Go(func() {
		ticker := time.NewTicker(5 * time.Millisecond)
		defer ticker.Stop()
		for live.Bytes.Load() < bytes {
			select {
			case <-ticker.C:
			case <-stop:
				return
			}
		}
		close(done)
	})
	r, err := bench.Produce(t.ctx, bench.Load{
		Brokers: []string{t.server.address}, Topic: topic, RecordBytes: 1024, Linger: -1, Clients: 2,
		Duration: time.Hour, Watch: bench.Watch{Live: &live, Done: done},
	})
	close(stop)
	watching.Wait()
	if err != nil {
		return fmt.Errorf("fill %s: %w", t.server.name(), err)
	}
	t.kept.topic, t.kept.sum, t.kept.bytes = topic, *r.Acked, r.Acked.Records*1024
	return nil
}

func fillForReaders(t *turn) error { return t.fill("read", t.settings.readBytes) }

// consumeWith reads everything that was filled in, with each reader.
func consumeWith(readers int, fromDisk bool) func(t *turn) (measured, error) {
	return func(t *turn) (measured, error) {
		if fromDisk {
			if err := evict(t.server.dir); err != nil {
				return measured{}, fmt.Errorf("drop files from the page cache: %w", err)
			}
		}
		s, w := watch(t.server.pid())
		r, err := bench.Consume(t.ctx, bench.Reading{
			Brokers: []string{t.server.address}, Topic: t.kept.topic, Readers: readers, Watch: w,
		})
		if err != nil {
			return measured{}, err
		}
		if *r.Read != t.kept.sum {
			return measured{}, fmt.Errorf("read %v, but acknowledged were %v", r.Read, t.kept.sum)
		}
		m := measured{Values: sample{}, Verified: r.Read}
		s.into(m.Values, r.Bytes)
		delete(m.Values, writtenRatio)
		m.Values[mbPerSecond] = r.MBPerSecond
		return m, s.err
	}
}

const (
	tailReaders = 4
	tailRate    = 50_000_000 / 1024 // records a second
)

// consumeTail takes the CPU for a client that writes at a rate from that for
// the same client with readers.
func consumeTail(t *turn) (measured, error) {
	writing, w := watch(t.server.pid())
	alone := t.load(bench.Load{RecordBytes: 1024, Linger: -1, Rate: tailRate})
	alone.Watch = w
	first, err := bench.Produce(t.ctx, alone)
	if err != nil {
		return measured{}, err
	}
	both := t.load(bench.Load{RecordBytes: 1024, Linger: -1, Rate: tailRate})
	var reading *span
	reading, both.Watch = watch(t.server.pid())
	second, err := bench.Latency(t.ctx, both, tailReaders)
	if err != nil {
		return measured{}, err
	}
	sum := *first.Acked
	sum.Join(*second.Acked)
	m := measured{Values: sample{}, EndToEnd: second.EndToEnd, Verified: &sum}
	reading.into(m.Values, 0)
	per := func(s *span) float64 {
		return (s.after.cpu - s.before.cpu).Seconds() / s.after.at.Sub(s.before.at).Seconds()
	}
	gbRead := second.MBPerSecond / 1000 * tailReaders
	m.Values[cpuPerGB] = (per(reading) - per(writing)*second.MBPerSecond/first.MBPerSecond) / gbRead
	m.Values[mbPerSecond] = gbRead * 1000
	m.Values[p50], m.Values[p99] = second.EndToEnd.P50, second.EndToEnd.P99
	return m, errors.Join(writing.err, reading.err, bench.Verify(t.ctx, both.Brokers, t.topic, sum))
}

// fillIdle has every one of 1,000 partitions written to.
func fillIdle(t *turn) error {
	t.kept.topic = "idle"
	if err := createTopic(t.ctx, t.server.address, t.kept.topic, 1000); err != nil {
		return err
	}
	l := t.load(bench.Load{RecordBytes: 1024, Rate: 10_000, RoundRobin: true})
	l.Topic, l.Warmup, l.Duration = t.kept.topic, 0, time.Second
	r, err := bench.Produce(t.ctx, l)
	if err == nil {
		t.kept.sum = *r.Acked
	}
	return err
}

// idle lets a little pass after the other systems' turns before it measures.
func idle(t *turn) (measured, error) {
	time.Sleep(time.Second)
	s, w := watch(t.server.pid())
	w.Begin()
	time.Sleep(max(t.settings.duration, time.Second))
	w.End()
	m := measured{Values: sample{}}
	s.into(m.Values, 0)
	delete(m.Values, clientCores)
	return m, s.err
}

// fillForStart leaves a server stopped that holds much.
func fillForStart(t *turn) error {
	if err := t.server.start(t.ctx); err != nil {
		return err
	}
	err := t.fill("full", t.settings.fillBytes)
	if err == nil {
		err = createTopic(t.ctx, t.server.address, "first", partitions)
	}
	return errors.Join(err, t.server.stop())
}

// startTo measures from the start of the process to its first acknowledgement.
func (t *turn) startTo(topic string, create bool) (measured, error) {
	m := measured{Values: sample{}}
	unix.Sync()
	began := time.Now()
	if err := t.server.launch(); err != nil {
		return m, err
	}
	if err := bench.FirstAck(t.ctx, t.server.address, topic, 0, create); err != nil {
		return m, fmt.Errorf("%w; the output of %s ends:\n%s", err, t.server.name(), t.server.tail())
	}
	m.Values[firstAck] = float64(time.Since(began).Microseconds()) / 1000
	for p := int32(1); !create && p < partitions; p++ {
		if err := bench.FirstAck(t.ctx, t.server.address, topic, p, false); err != nil {
			return m, err
		}
	}
	if !create {
		m.Values[allAcks] = float64(time.Since(began).Microseconds()) / 1000
	}
	u, err := usageOf(t.server.pid())
	m.Values[peakMiB], m.Values[residentMiB] = float64(u.peak)/mib, float64(u.resident)/mib
	return m, err
}

// startEmpty has a new directory, formatted where the system needs that.
func startEmpty(t *turn) (measured, error) {
	fresh, err := newServer(t.ctx, t.server.system, fmt.Sprintf("%s-%d", t.server.dir, t.round))
	if err != nil {
		return measured{}, err
	}
	t.server = fresh
	m, err := t.startTo("first", true)
	return m, errors.Join(err, fresh.stop())
}

func startFull(t *turn) (measured, error) {
	m, err := t.startTo("first", false)
	if err == nil {
		err = t.verifyKept(&m)
	}
	return m, errors.Join(err, t.server.stop())
}

// recoverFull kills a server while clients write to it. What was acknowledged
// long before is verified; what hung in the air when it died may be there or
// not.
func recoverFull(t *turn) (measured, error) {
	if err := t.server.start(t.ctx); err != nil {
		return measured{}, err
	}
	topic := fmt.Sprintf("killed-%d", t.round)
	if err := createTopic(t.ctx, t.server.address, topic, partitions); err != nil {
		return measured{}, errors.Join(err, t.server.kill())
	}
	var killed error
	l := t.load(bench.Load{RecordBytes: 1024, Rate: tailRate, Linger: -1})
	l.Topic, l.Warmup = topic, 0
	done := make(chan struct{})
	l.Watch = bench.Watch{Done: done}
	var killing sync.WaitGroup
	killing.Go(func() {
		time.Sleep(t.settings.duration / 2)
		killed = t.server.kill()
		close(done)
	})
	short, cancel := context.WithTimeout(t.ctx, t.settings.duration)
	_, _ = bench.Produce(short, l) // it fails: its broker is killed
	cancel()
	killing.Wait()
	if killed != nil {
		return measured{}, killed
	}
	m, err := t.startTo("first", false)
	if err == nil {
		err = t.verifyKept(&m)
	}
	return m, errors.Join(err, t.server.stop())
}

// verifyKept reads back what was filled in; after the last round only, because
// it is much.
func (t *turn) verifyKept(m *measured) error {
	if t.round < t.settings.runs {
		return nil
	}
	m.Verified = &t.kept.sum
	return bench.Verify(t.ctx, []string{t.server.address}, t.kept.topic, t.kept.sum)
}
