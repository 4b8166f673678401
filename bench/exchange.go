package bench

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Exchange has Load.Clients connections, each of which sends one record, waits
// for its acknowledgement, and sends the next: what a broker makes of many
// clients that do not batch. Connections share the partitions evenly. Rate,
// compression, linger and batch size of the load do not apply.
func Exchange(ctx context.Context, l Load) (Result, error) {
	if err := l.check(); err != nil {
		return Result{}, err
	}
	leaders, err := findLeaders(ctx, l)
	if err != nil {
		return Result{}, err
	}
	dial := func(ctx context.Context, number int) (Exchanger, error) {
		partition := int32(number % len(leaders))
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", leaders[partition])
		if err != nil {
			return nil, err
		}
		return newKafkaExchanger(conn, l.Topic, partition, l.RecordBytes), nil
	}
	return ExchangeWith(ctx, l, dial)
}

// findLeaders returns the address of each partition's leader.
func findLeaders(ctx context.Context, l Load) ([]string, error) {
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(l.Brokers...)}, l.Options...)...)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	meta, err := kadm.NewClient(cl).Metadata(ctx, l.Topic)
	if err != nil {
		return nil, fmt.Errorf("find the leaders of %s: %w", l.Topic, err)
	}
	addresses := map[int32]string{}
	for _, b := range meta.Brokers {
		addresses[b.NodeID] = net.JoinHostPort(b.Host, fmt.Sprint(b.Port))
	}
	partitions := meta.Topics[l.Topic].Partitions
	leaders := make([]string, len(partitions))
	for i := range leaders {
		p := partitions[int32(i)]
		if leaders[i] = addresses[p.Leader]; p.Err != nil || leaders[i] == "" {
			return nil, fmt.Errorf("partition %d of %s has no leader: %w", i, l.Topic, p.Err)
		}
	}
	if len(leaders) == 0 {
		return nil, fmt.Errorf("topic %s does not exist", l.Topic)
	}
	return leaders, nil
}

// Exchanger is a connection that sends one record and returns when it is
// acknowledged.
type Exchanger interface {
	Exchange(value []byte) error
	Close() error
}

// ExchangeWith is Exchange over connections of any protocol.
func ExchangeWith(ctx context.Context, l Load, dial func(ctx context.Context, number int) (Exchanger, error)) (Result, error) {
	if err := l.check(); err != nil {
		return Result{}, err
	}
	if l.Watch.Live == nil {
		l.Watch.Live = &Live{}
	}
	e := &exchange{load: l, filler: newFiller(l.Text), times: newTimings()}
	e.going, e.fail = context.WithCancelCause(ctx)
	defer e.fail(nil)
	connections := make([]Exchanger, l.Clients)
	defer func() {
		for _, c := range connections {
			if c != nil {
				c.Close()
			}
		}
	}()
	for i := range connections {
		var err error
		if connections[i], err = dial(ctx, i); err != nil {
			return Result{}, fmt.Errorf("connect: %w", err)
		}
	}
	return e.measure(connections)
}

type exchange struct {
	load    Load
	filler  filler
	going   context.Context
	fail    context.CancelCauseFunc
	stopped atomic.Bool
	counted span
	times   *timings
	records atomic.Int64
	sums    struct {
		sync.Mutex
		all Sum
	}
}

// measure lets all connections run. One that hangs is closed when the context
// ends.
func (e *exchange) measure(connections []Exchanger) (Result, error) {
	l := &e.load
	var running sync.WaitGroup
	for i, c := range connections {
		running.Go(func() { e.run(c, i) })
	}
	cut := context.AfterFunc(e.going, func() {
		for _, c := range connections {
			c.Close()
		}
	})
	defer cut()
	defer running.Wait()
	defer e.stopped.Store(true)
	if pause(e.going, time.Now().Add(l.Warmup), l.Watch.Done) != nil {
		return Result{}, context.Cause(e.going)
	}
	l.Watch.begin()
	began, records := time.Now(), e.records.Load()
	e.counted.from.Store(began.UnixNano())
	e.counted.to.Store(began.Add(l.Duration).UnixNano())
	if pause(e.going, began.Add(l.Duration), l.Watch.Done) != nil {
		return Result{}, context.Cause(e.going)
	}
	records = e.records.Load() - records
	took := time.Since(began)
	l.Watch.end()
	e.stopped.Store(true)
	running.Wait()
	if err := context.Cause(e.going); err != nil {
		return Result{}, err
	}
	r := Result{Clients: l.Clients, Acked: &e.sums.all}
	r.count(records, records*int64(l.RecordBytes), took)
	r.Ack = e.times.distribution()
	return r, nil
}

func (e *exchange) run(c Exchanger, number int) {
	value := make([]byte, e.load.RecordBytes)
	var sum Sum
	for n := int64(0); !e.stopped.Load(); n++ {
		due := time.Now()
		e.filler.write(value, due, number, n)
		if err := c.Exchange(value); err != nil {
			e.fail(fmt.Errorf("connection %d: %w", number, err))
			return
		}
		if e.counted.holds(due) {
			e.times.add(time.Since(due))
		}
		sum.Add(value)
		e.records.Add(1)
		e.load.Watch.Live.Records.Add(1)
		e.load.Watch.Live.Bytes.Add(int64(len(value)))
	}
	e.sums.Lock()
	defer e.sums.Unlock()
	e.sums.all.Join(sum)
}

// kafkaExchanger writes Produce requests of version 8 (the last before
// flexible ones, served from Kafka 2.4 on), one record each.
type kafkaExchanger struct {
	conn    net.Conn
	in      *bufio.Reader
	request []byte // with its length before it
	batch   int    // where the record batch begins in request
	value   int    // where the value does
	answer  []byte
}

// Places in a record batch's header.
const (
	batchCRC        = 17
	batchAttributes = 21
	batchFirstTime  = 27
	batchMaxTime    = 35
	batchRecords    = 61
)

func newKafkaExchanger(conn net.Conn, topic string, partition int32, valueBytes int) *kafkaExchanger {
	record := kmsg.Record{Value: make([]byte, valueBytes)}
	record.Length = int32(len(record.AppendTo(nil)) - 1) // a zero length takes one byte
	batch := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1,
		NumRecords: 1, Records: record.AppendTo(nil),
	}
	raw := batch.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-12))
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = partition, raw
	t := kmsg.NewProduceRequestTopic()
	t.Topic, t.Partitions = topic, []kmsg.ProduceRequestTopicPartition{p}
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis, req.Topics = 8, -1, 30_000, []kmsg.ProduceRequestTopic{t}
	request := kmsg.NewRequestFormatter(kmsg.FormatterClientID("bench")).AppendRequest(nil, req, 0)
	return &kafkaExchanger{
		conn: conn, in: bufio.NewReader(conn), request: request,
		batch: len(request) - len(raw), value: len(request) - valueBytes - 1, // a count of no headers ends it
	}
}

// answerWithin is how long one acknowledgement may take.
const answerWithin = time.Minute

func (k *kafkaExchanger) Exchange(value []byte) error {
	copy(k.request[k.value:], value)
	batch := k.request[k.batch:]
	now := uint64(time.Now().UnixMilli())
	binary.BigEndian.PutUint64(batch[batchFirstTime:], now)
	binary.BigEndian.PutUint64(batch[batchMaxTime:], now)
	binary.BigEndian.PutUint32(batch[batchCRC:], crc32.Checksum(batch[batchAttributes:], castagnoli))
	if err := k.conn.SetDeadline(time.Now().Add(answerWithin)); err != nil {
		return err
	}
	if _, err := k.conn.Write(k.request); err != nil {
		return fmt.Errorf("write request: %w", err)
	}
	var head [4]byte
	if _, err := io.ReadFull(k.in, head[:]); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < 4 || n > 1<<16 {
		return fmt.Errorf("an answer of %d bytes", n)
	}
	if int(n) > cap(k.answer) {
		k.answer = make([]byte, n)
	}
	k.answer = k.answer[:n]
	if _, err := io.ReadFull(k.in, k.answer); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	return checkProduced(k.answer[4:]) // behind the correlation id
}

// checkProduced reads the error code of a Produce response of version 8 with
// one partition: counts and names, then the code, are at its start.
func checkProduced(body []byte) error {
	if len(body) < 6 {
		return errors.New("a truncated answer")
	}
	at := 6 + int(binary.BigEndian.Uint16(body[4:])) + 4 + 4
	if len(body) < at+2 {
		return errors.New("a truncated answer")
	}
	return kerr.ErrorForCode(int16(binary.BigEndian.Uint16(body[at:])))
}

func (k *kafkaExchanger) Close() error { return k.conn.Close() }
