package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fanfold/fanfold/internal/history"
)

// TestKilledBrokerLosesNothing kills a broker process with SIGKILL again and
// again while many clients write, read, list, trim, create and delete, and
// checks the history that they saw.
//
// FANFOLD_KILLS is the number of kills (3, and 50 in .ci/run; about a second
// each), FANFOLD_SEED the seed of what clients do and when kills come.
func TestKilledBrokerLosesNothing(t *testing.T) {
	kills, seed := 3, rand.Uint64()
	if text := os.Getenv("FANFOLD_KILLS"); text != "" {
		kills = parseNumber[int](t, "FANFOLD_KILLS", text)
	}
	if text := os.Getenv("FANFOLD_SEED"); text != "" {
		seed = parseNumber[uint64](t, "FANFOLD_SEED", text)
	}
	t.Logf("FANFOLD_KILLS=%d FANFOLD_SEED=%d", kills, seed)

	s := newServer(t, "--set", "log.retention.check.interval.ms=100")
	l := newLoad(t, s, seed, plainTopic, rollsTopic, relaxedTopic, trimmedTopic)
	s.start()
	l.begin()
	random := rand.New(rand.NewPCG(seed, 0))
	moments := map[string]int{}
	for range kills {
		moment := killMoments[random.IntN(len(killMoments))]
		moments[moment.name]++
		moment.await(s, random)
		s.Kill()
		s.launch()
	}
	s.awaitReady()
	l.end()
	t.Logf("kills: %v", moments)
	l.check()
	for _, line := range s.complaints() {
		t.Errorf("the broker says: %s", line)
	}
}

func parseNumber[T int | uint64](t *testing.T, name, text string) T {
	t.Helper()
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return T(n)
}

// killMoments are when a process that was just launched is killed. Some come
// up several times, since more can happen there.
var killMoments = []struct {
	name  string
	await func(s *server, random *rand.Rand)
}{
	{"as it starts", func(s *server, random *rand.Rand) {
		waitFor(s, time.Duration(random.IntN(60_000))*time.Microsecond)
	}},
	{"as it recovers", func(s *server, random *rand.Rand) {
		waitFor(s, time.Duration(20+random.IntN(200))*time.Millisecond)
	}},
	{"once it serves", func(s *server, random *rand.Rand) {
		s.awaitReady()
		waitFor(s, time.Duration(random.IntN(50))*time.Millisecond)
	}},
	{"at a roll", func(s *server, random *rand.Rand) {
		s.awaitReady()
		s.awaitNewSegment()
		waitFor(s, time.Duration(random.IntN(5_000))*time.Microsecond)
	}},
	{"under load", underLoad}, {"under load", underLoad}, {"under load", underLoad},
}

func underLoad(s *server, random *rand.Rand) {
	s.awaitReady()
	waitFor(s, time.Duration(200+random.IntN(1300))*time.Millisecond)
}

// waitFor waits while the process runs; one that ends by itself is a failure.
func waitFor(s *server, d time.Duration) {
	s.t.Helper()
	select {
	case <-time.After(d):
	case <-s.Done():
		s.t.Fatalf("the broker ended by itself: %s", s.Stderr())
	}
}

// awaitNewSegment waits until some partition has a segment more, but not for
// long.
func (s *server) awaitNewSegment() {
	count := func() int {
		files, _ := filepath.Glob(filepath.Join(s.dataDir, "topics", "*", "*", "*.log"))
		return len(files)
	}
	before := count()
	for deadline := time.Now().Add(2 * time.Second); time.Now().Before(deadline) && count() <= before; {
		waitFor(s, time.Millisecond)
	}
}

// The topics that a load may have from its beginning to its end.
const (
	plainTopic   = "plain"   // as topics are by default
	rollsTopic   = "rolls"   // small segments, large records
	relaxedTopic = "relaxed" // synced every second: kept by the kernel when the process is killed
	trimmedTopic = "trimmed" // its oldest records are deleted
)

var loadTopics = map[string]struct {
	partitions int32
	configs    []string
}{
	plainTopic:   {6, nil},
	rollsTopic:   {3, []string{"segment.bytes", "1048576"}},
	relaxedTopic: {2, []string{"flush.messages", "1000", "flush.ms", "1000"}},
	trimmedTopic: {2, []string{"segment.bytes", "1048576", "retention.bytes", "3145728", "file.delete.delay.ms", "100"}},
}

// A load is what many clients do to a server meanwhile, and its history.
type load struct {
	t      *testing.T
	server *server
	seed   uint64
	topics []string

	file    *os.File
	history *history.Recorder
	clients atomic.Uint32   // clients so far
	ctx     context.Context // ends when clients shall end what they do
	stop    context.CancelFunc
	life    context.Context // ends when they shall give up
	abandon context.CancelFunc
	running sync.WaitGroup

	complaints atomic.Int64

	produced, consumed, polled, trimmed, churned atomic.Int64

	mu struct {
		sync.Mutex
		producerIDs map[int64]uint32 // to the client that got it
	}
}

func newLoad(t *testing.T, s *server, seed uint64, topics ...string) *load {
	t.Helper()
	file, err := os.Create(filepath.Join(s.root, "history"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	l := &load{t: t, server: s, seed: seed, topics: topics, file: file, history: history.NewRecorder(file, history.RecorderOptions{})}
	l.life, l.abandon = context.WithCancel(context.Background())
	l.ctx, l.stop = context.WithCancel(l.life)
	l.mu.producerIDs = map[int64]uint32{}
	t.Cleanup(func() {
		l.abandon()
		s.Kill()
		l.running.Wait()
	})
	return l
}

// complain fails the test, unless it has failed already and the clients give
// up. Of very many complaints the first are enough.
func (l *load) complain(format string, args ...any) {
	if l.life.Err() == nil && l.complaints.Add(1) <= 20 {
		l.t.Errorf(format, args...)
	}
}

// begin creates the topics and starts the clients.
func (l *load) begin() {
	for _, topic := range l.topics {
		l.server.createTopic(topic, loadTopics[topic].partitions, loadTopics[topic].configs...)
	}
	for _, p := range []producer{
		{topics: []string{plainTopic}, idempotent: true, burst: 20},
		{topics: []string{plainTopic, relaxedTopic}, idempotent: true, burst: 200, linger: 5 * time.Millisecond, codec: kgo.ZstdCompression()},
		{topics: []string{rollsTopic}, idempotent: true, burst: 30, size: 4 << 10, linger: 2 * time.Millisecond},
		{topics: []string{rollsTopic, plainTopic}, idempotent: true, burst: 100, codec: kgo.Lz4Compression(), lives: true},
		{topics: []string{plainTopic, trimmedTopic}, idempotent: true, burst: 5, codec: kgo.GzipCompression(), lives: true},
		{topics: []string{trimmedTopic}, idempotent: true, burst: 40, size: 2 << 10, codec: kgo.SnappyCompression()},
		{topics: []string{plainTopic}, acks: 1, burst: 50, linger: time.Millisecond},
		{topics: []string{relaxedTopic, plainTopic}, acks: 0, burst: 10},
	} {
		if p.topics = l.only(p.topics...); len(p.topics) > 0 {
			l.client(func(client uint32, random *rand.Rand) { l.produce(p, client, random) })
		}
	}
	l.client(l.follow(l.only(plainTopic, rollsTopic, relaxedTopic)...))
	l.client(l.readInPieces)
	l.client(l.pollOffsets)
	if slices.Contains(l.topics, trimmedTopic) {
		l.client(l.follow(trimmedTopic))
		l.client(l.trim)
	}
	for n := range 3 {
		l.client(func(client uint32, random *rand.Rand) { l.churn(fmt.Sprintf("churn-%d", n), client, random) })
	}
}

// only returns those of topics that the load has.
func (l *load) only(topics ...string) []string {
	return slices.DeleteFunc(topics, func(topic string) bool { return !slices.Contains(l.topics, topic) })
}

// client runs a client with a number and a random source of its own.
func (l *load) client(run func(client uint32, random *rand.Rand)) {
	number := l.clients.Add(1)
	l.running.Go(func() { run(number, rand.New(rand.NewPCG(l.seed, uint64(number)))) })
}

// end stops all clients, and reads everything once more.
func (l *load) end() {
	l.t.Helper()
	l.stop()
	l.running.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, topic := range l.topics {
		if err := l.readFinally(ctx, topic, topic); err != nil {
			l.t.Errorf("final reading: %v", err)
		}
	}
	c := l.server.client()
	l.newProducerID(ctx, c, l.clients.Add(1))
}

// readFinally reads all of a topic and records it, under the name that the
// topic has in the history.
func (l *load) readFinally(ctx context.Context, topic, name string) error {
	client := l.clients.Add(1)
	starts, ends, err := l.server.readAll(ctx, topic, func(r *kgo.Record) {
		l.history.Append(history.Op{Kind: history.Fetch, Client: client, Topic: name, Partition: r.Partition, Offset: r.Offset, Value: history.ParsePayload(r.Value)})
	})
	for p, end := range ends {
		if err == nil {
			l.history.Append(history.Op{Kind: history.Final, Client: client, Topic: name, Partition: p, Offset: starts[p], To: end})
		}
	}
	return err
}

// check reports what is wrong with the history.
func (l *load) check() {
	l.t.Helper()
	if err := l.history.Flush(); err != nil {
		l.t.Fatal(err)
	}
	if _, err := l.file.Seek(0, 0); err != nil {
		l.t.Fatal(err)
	}
	report, err := history.Check(history.Options{MaxAnomalies: 20}, l.file)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Log(report)
	l.t.Logf("%d records acknowledged to load producers, %d read by readers, %d times offsets listed, %d times records deleted, %d topics deleted; %d producer ids",
		l.produced.Load(), l.consumed.Load(), l.polled.Load(), l.trimmed.Load(), l.churned.Load(), len(l.mu.producerIDs))
	for _, a := range report.Anomalies {
		l.t.Error(a)
	}
	for what, n := range map[string]int64{"acknowledged": report.Acked, "consumed": l.consumed.Load(), "listed": l.polled.Load()} {
		if n == 0 {
			l.t.Errorf("nothing was %s", what)
		}
	}
}

// A producer is one way to write.
type producer struct {
	topics     []string
	idempotent bool // with acks=all
	acks       int  // otherwise
	burst      int  // most records at once
	size       int  // of most records, bytes
	linger     time.Duration
	codec      kgo.CompressionCodec
	lives      bool // is closed and made anew again and again
}

func (p producer) options() []kgo.Opt {
	opts := []kgo.Opt{
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(p.linger),
		kgo.MaxBufferedRecords(2000),
		kgo.ProducerBatchCompression(p.codec),
		kgo.UnknownTopicRetries(-1),
		kgo.StopProducerOnDataLossDetected(),
	}
	if p.idempotent {
		return opts
	}
	acks := map[int]kgo.Acks{0: kgo.NoAck(), 1: kgo.LeaderAck()}[p.acks]
	return append(opts, kgo.DisableIdempotentWrite(), kgo.RequiredAcks(acks), kgo.MaxProduceRequestsInflightPerBroker(3))
}

// produce writes until the load ends, and waits for what is under way.
func (l *load) produce(p producer, client uint32, random *rand.Rand) {
	for seq := uint64(0); l.ctx.Err() == nil; client = l.clients.Add(1) {
		c, err := l.server.newClient(p.options()...)
		if err != nil {
			l.complain("%v", err)
			return
		}
		if p.idempotent {
			l.newProducerID(l.ctx, c, client)
		}
		for round := 0; l.ctx.Err() == nil && (!p.lives || round < 50); round++ {
			for range 1 + random.IntN(p.burst) {
				seq++
				topic := p.topics[random.IntN(len(p.topics))]
				l.send(c, p, client, history.ValueOf(client, seq), topic, p.payloadBytes(random))
			}
			pause(l.ctx, time.Duration(random.IntN(20))*time.Millisecond)
		}
		l.flush(c)
		c.Close()
	}
}

// payloadBytes is the size of a record: mostly p's, sometimes a large one.
func (p producer) payloadBytes(random *rand.Rand) int {
	if random.IntN(500) == 0 {
		return 64<<10 + random.IntN(128<<10)
	}
	return history.MinPayloadBytes + random.IntN(max(p.size, 100))
}

// send sends one record and records what becomes of it. Records of one key go
// to one partition.
func (l *load) send(c *kgo.Client, p producer, client uint32, v history.Value, topic string, size int) {
	key := uint64(v.Seq()) * 31 % 64
	partition := int32(key % uint64(loadTopics[topic].partitions))
	op := history.Op{
		Kind: history.Produce, Idempotent: p.idempotent, Client: client, Topic: topic, Partition: partition,
		Value: v, Start: l.history.Now(),
	}
	r := &kgo.Record{Topic: topic, Partition: partition, Key: fmt.Appendf(nil, "key-%d", key), Value: history.AppendPayload(nil, v, size)}
	c.Produce(context.Background(), r, func(r *kgo.Record, err error) {
		switch {
		case !p.idempotent && p.acks == 0:
			op.Outcome, op.Offset = history.Unknown, -1 // with an error or without
		case err != nil:
			op.Outcome, op.Offset = history.Unknown, -1
			l.complain("client %d: %s-%d: %v", client, topic, partition, err)
		default:
			op.Offset = r.Offset
			l.produced.Add(1)
		}
		l.history.Append(op)
	})
}

// flush waits until all records are answered. The broker comes back: none has
// a reason to fail.
func (l *load) flush(c *kgo.Client) {
	ctx, cancel := context.WithTimeout(l.life, time.Minute)
	defer cancel()
	if err := c.Flush(ctx); err != nil {
		l.complain("flush: %v; %d records are buffered", err, c.BufferedProduceRecords())
	}
}

// newProducerID takes the producer id of a client, which nobody else has had.
func (l *load) newProducerID(ctx context.Context, c *kgo.Client, client uint32) {
	for {
		id, _, err := c.ProducerID(ctx)
		if err != nil {
			if !pause(ctx, 10*time.Millisecond) {
				return
			}
			continue
		}
		l.mu.Lock()
		other, used := l.mu.producerIDs[id]
		l.mu.producerIDs[id] = client
		l.mu.Unlock()
		if used {
			l.complain("client %d got producer id %d, which client %d has", client, id, other)
		}
		return
	}
}

// follow reads topics from their starts, and what comes.
func (l *load) follow(topics ...string) func(client uint32, random *rand.Rand) {
	return func(client uint32, _ *rand.Rand) {
		reset := kgo.NoResetOffset()
		from := map[string]map[int32]kgo.Offset{}
		for _, topic := range topics {
			start := kgo.NewOffset().At(0)
			if topic == trimmedTopic {
				start, reset = kgo.NewOffset().AtStart(), kgo.NewOffset().AtStart()
			}
			from[topic] = map[int32]kgo.Offset{}
			for p := range loadTopics[topic].partitions {
				from[topic][p] = start
			}
		}
		c, err := l.server.newClient(kgo.ConsumePartitions(from), kgo.ConsumeResetOffset(reset))
		if err != nil {
			l.complain("%v", err)
			return
		}
		defer c.Close()
		for l.ctx.Err() == nil {
			l.read(l.ctx, c, client)
		}
	}
}

// read reads once and records it.
func (l *load) read(ctx context.Context, c *kgo.Client, client uint32) {
	fetches := c.PollFetches(ctx)
	fetches.EachError(func(topic string, p int32, err error) {
		var answered *kerr.Error
		var lost *kgo.ErrDataLoss
		if errors.As(err, &answered) || errors.As(err, &lost) {
			l.complain("reader %d: %s-%d: %v", client, topic, p, err)
		}
	})
	fetches.EachRecord(func(r *kgo.Record) {
		l.consumed.Add(1)
		l.history.Append(history.Op{Kind: history.Fetch, Client: client, Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Value: history.ParsePayload(r.Value)})
	})
}

// readInPieces reads a part of a partition, then one of another, each time as
// another client.
func (l *load) readInPieces(_ uint32, random *rand.Rand) {
	c, err := l.server.newClient()
	if err != nil {
		l.complain("%v", err)
		return
	}
	defer c.Close()
	admin := kadm.NewClient(c)
	topics := l.only(plainTopic, rollsTopic, relaxedTopic)
	for pause(l.ctx, 30*time.Millisecond) {
		topic := topics[random.IntN(len(topics))]
		partition := random.Int32N(loadTopics[topic].partitions)
		ctx, cancel := context.WithTimeout(l.ctx, 500*time.Millisecond)
		ends, err := endOffsets(ctx, admin, topic)
		if err == nil && ends[partition] > 0 {
			from := kgo.NewOffset().At(random.Int64N(ends[partition]))
			reader, err := l.server.newClient(kgo.ConsumeResetOffset(kgo.NoResetOffset()),
				kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: from}}))
			if err != nil {
				l.complain("%v", err)
			} else {
				l.read(ctx, reader, l.clients.Add(1))
				reader.Close()
			}
		}
		cancel()
	}
}

// pollOffsets lists starts and ends all the time.
func (l *load) pollOffsets(client uint32, random *rand.Rand) {
	c, err := l.server.newClient()
	if err != nil {
		l.complain("%v", err)
		return
	}
	defer c.Close()
	admin := kadm.NewClient(c)
	for pause(l.ctx, time.Duration(random.IntN(20))*time.Millisecond) {
		for _, topic := range l.topics {
			l.listOnce(client, topic, history.End, func(ctx context.Context) (map[int32]int64, error) { return endOffsets(ctx, admin, topic) })
			l.listOnce(client, topic, history.Start, func(ctx context.Context) (map[int32]int64, error) { return startOffsets(ctx, admin, topic) })
		}
	}
}

func (l *load) listOnce(client uint32, topic string, kind history.Kind, list func(context.Context) (map[int32]int64, error)) {
	ctx, cancel := context.WithTimeout(l.ctx, time.Second)
	defer cancel()
	start := l.history.Now()
	offsets, err := list(ctx)
	if err != nil {
		return // the broker is down
	}
	l.polled.Add(1)
	for p, offset := range offsets {
		l.history.Append(history.Op{Kind: kind, Client: client, Topic: topic, Partition: p, Offset: offset, Start: start})
	}
}

// trim deletes the oldest records of the trimmed topic.
func (l *load) trim(client uint32, random *rand.Rand) {
	c, err := l.server.newClient()
	if err != nil {
		l.complain("%v", err)
		return
	}
	defer c.Close()
	admin := kadm.NewClient(c)
	for pause(l.ctx, time.Duration(50+random.IntN(200))*time.Millisecond) {
		ctx, cancel := context.WithTimeout(l.ctx, 2*time.Second)
		start := l.history.Now()
		ends, err := endOffsets(ctx, admin, trimmedTopic)
		if err == nil {
			upTo := kadm.Offsets{}
			for p, end := range ends {
				upTo.Add(kadm.Offset{Topic: trimmedTopic, Partition: p, At: max(0, end-1-random.Int64N(2000))})
			}
			answers, err := admin.DeleteRecords(ctx, upTo)
			if err == nil {
				answers.Each(func(r kadm.DeleteRecordsResponse) {
					if r.Err == nil {
						l.trimmed.Add(1)
						l.history.Append(history.Op{Kind: history.Start, Client: client, Topic: r.Topic, Partition: r.Partition, Offset: r.LowWatermark, Start: start})
					} else if !errors.Is(r.Err, kerr.OffsetOutOfRange) && !kerr.IsRetriable(r.Err) {
						l.complain("delete records of %s-%d: %v", r.Topic, r.Partition, r.Err)
					}
				})
			}
		}
		cancel()
	}
}

// churn creates a topic, fills it, reads it, deletes it and looks that it stays
// away, and all again under the same name: in the history each is a topic of
// its own.
func (l *load) churn(topic string, client uint32, random *rand.Rand) {
	c, err := l.server.newClient()
	if err != nil {
		l.complain("%v", err)
		return
	}
	defer c.Close()
	admin := kadm.NewClient(c)
	ids := map[kadm.TopicID]int{}
	for generation := 1; l.ctx.Err() == nil; generation++ {
		if !l.churnCreate(admin, topic) {
			return
		}
		id := l.describe(c, topic, true)
		if before, seen := ids[id]; seen && id != (kadm.TopicID{}) {
			l.complain("topic %s has the id that it had in generation %d, in generation %d", topic, before, generation)
		}
		ids[id] = generation
		name := fmt.Sprintf("%s of generation %d", topic, generation)
		l.churnFill(topic, name, l.clients.Add(1), 1+random.IntN(300))
		pause(l.ctx, time.Duration(random.IntN(1000))*time.Millisecond)
		if err := l.churnRead(topic, name); err != nil {
			l.complain("read %s: %v", name, err)
		}
		if !l.churnDelete(admin, topic) {
			return
		}
		l.churned.Add(1)
		for range random.IntN(5) {
			if !pause(l.ctx, time.Duration(random.IntN(200))*time.Millisecond) {
				return
			}
			l.describe(c, topic, false)
		}
	}
}

// until tries an operation until its outcome is known. It returns false when
// the load ends before.
func (l *load) until(doing string, try func(ctx context.Context) error, done ...error) bool {
	for l.ctx.Err() == nil {
		ctx, cancel := context.WithTimeout(l.ctx, 5*time.Second)
		err := try(ctx)
		cancel()
		if err == nil {
			return true
		}
		for _, d := range done {
			if errors.Is(err, d) {
				return true
			}
		}
		var answered *kerr.Error
		if errors.As(err, &answered) && !answered.Retriable {
			l.complain("%s: %v", doing, err)
			return false
		}
		pause(l.ctx, 20*time.Millisecond)
	}
	return false
}

func (l *load) churnCreate(admin *kadm.Client, topic string) bool {
	return l.until("create "+topic, func(ctx context.Context) error {
		_, err := admin.CreateTopic(ctx, 2, 1, nil, topic)
		return err
	}, kerr.TopicAlreadyExists) // by an attempt that was not answered
}

func (l *load) churnDelete(admin *kadm.Client, topic string) bool {
	return l.until("delete "+topic, func(ctx context.Context) error {
		_, err := admin.DeleteTopic(ctx, topic)
		return err
	}, kerr.UnknownTopicOrPartition)
}

// describe returns a topic's id, and complains if the topic is not there, or
// is there although it should not be. No id is no answer. (The clients' own
// listings may come from what they were told a moment ago.)
func (l *load) describe(c *kgo.Client, topic string, wanted bool) kadm.TopicID {
	ctx, cancel := context.WithTimeout(l.ctx, 5*time.Second)
	defer cancel()
	req := kmsg.NewPtrMetadataRequest()
	asked := kmsg.NewMetadataRequestTopic()
	asked.Topic = &topic
	req.Topics = append(req.Topics, asked)
	resp, err := req.RequestWith(ctx, c)
	if err != nil {
		return kadm.TopicID{}
	}
	if len(resp.Topics) != 1 {
		l.complain("topic %s: the broker answers with %d topics", topic, len(resp.Topics))
		return kadm.TopicID{}
	}
	err = kerr.ErrorForCode(resp.Topics[0].ErrorCode)
	if missing := errors.Is(err, kerr.UnknownTopicOrPartition); missing == wanted || err != nil && !missing {
		l.complain("topic %s, which is %s: %v", topic, map[bool]string{true: "there", false: "deleted"}[wanted], err)
	}
	return resp.Topics[0].TopicID
}

// churnFill writes records and waits until they are acknowledged.
func (l *load) churnFill(topic, name string, client uint32, records int) {
	c, err := l.server.newClient(producer{idempotent: true}.options()...)
	if err != nil {
		l.complain("%v", err)
		return
	}
	defer c.Close()
	l.newProducerID(l.ctx, c, client)
	for seq := range records {
		v := history.ValueOf(client, uint64(seq)+1)
		op := history.Op{Kind: history.Produce, Idempotent: true, Client: client, Topic: name, Partition: int32(seq % 2), Value: v, Start: l.history.Now()}
		r := &kgo.Record{Topic: topic, Partition: op.Partition, Value: history.AppendPayload(nil, v, 40)}
		c.Produce(context.Background(), r, func(r *kgo.Record, err error) {
			op.Offset = r.Offset
			if err != nil {
				op.Outcome, op.Offset = history.Unknown, -1
				l.complain("client %d: %s: %v", client, name, err)
			}
			l.history.Append(op)
		})
	}
	l.flush(c)
}

// churnRead reads all that was written. The broker may be killed meanwhile.
func (l *load) churnRead(topic, name string) error {
	ctx, cancel := context.WithTimeout(l.life, time.Minute)
	defer cancel()
	for {
		attempt, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := l.readFinally(attempt, topic, name)
		cancel()
		if err == nil || ctx.Err() != nil || strings.Contains(err.Error(), "data loss") {
			return err
		}
		var answered *kerr.Error
		if errors.As(err, &answered) && !answered.Retriable {
			return err
		}
	}
}
