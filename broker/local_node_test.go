package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/fanfold/fanfold/cluster"
)

// broker is a whole one, on a directory.
type testBroker struct {
	server *Server
	node   *LocalNode
	addr   string
}

// startBroker serves the data directory on loopback.
func startBroker(t *testing.T, dir string, static map[string]string) *testBroker {
	t.Helper()
	s, err := Listen(t.Context(), Config{Listeners: []ListenerConfig{{Address: "127.0.0.1:0"}}})
	must(t, err)
	host, port, err := net.SplitHostPort(s.Addr(DefaultListener).String())
	must(t, err)
	number, err := strconv.Atoi(port)
	must(t, err)
	n, err := OpenNode(t.Context(), NodeOptions{
		DataDir: dir, NodeID: 1, Version: "test", Static: static, Logger: slog.New(slog.DiscardHandler),
		Listeners: []cluster.Listener{{Name: DefaultListener, Host: host, Port: int32(number)}},
	})
	must(t, err)
	s.Serve(n)
	return &testBroker{s, n, s.Addr(DefaultListener).String()}
}

func (b *testBroker) stop(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	must(t, errors.Join(b.server.Close(ctx), b.node.Close()))
}

func (b *testBroker) client(t *testing.T, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append(opts, kgo.SeedBrokers(b.addr))...)
	must(t, err)
	return c
}

// A client that knows nothing of Fanfold creates topics, produces with
// idempotence, reads, administrates; a restart keeps all of it.
func TestFranzGoOnAWholeNode(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dir := t.TempDir()
	b := startBroker(t, dir, map[string]string{"num.partitions": "2"})
	c := b.client(t, kgo.AllowAutoTopicCreation(), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	const records = 2000
	for i := range records {
		c.Produce(ctx, &kgo.Record{Topic: "auto", Partition: int32(i % 2), Value: []byte(strconv.Itoa(i))}, func(r *kgo.Record, err error) {
			if err != nil {
				t.Errorf("record %s: %v", r.Value, err)
			}
		})
	}
	must(t, c.Flush(ctx))
	adm := kadm.NewClient(c)
	_, err := adm.CreateTopic(ctx, 3, 1, map[string]*string{"retention.ms": kadm.StringPtr("1000000")}, "made")
	must(t, err)
	_, err = adm.CreateTopic(ctx, 3, 1, nil, "made")
	if !errors.Is(err, kerr.TopicAlreadyExists) {
		t.Errorf("creating it again: %v", err)
	}
	ends, err := adm.ListEndOffsets(ctx, "auto")
	must(t, err)
	if total := sumOffsets(ends); total != records {
		t.Errorf("the ends sum up to %d; want %d", total, records)
	}
	_, err = adm.DeleteRecords(ctx, kadm.Offsets{"auto": {1: {Topic: "auto", Partition: 1, At: 500}}})
	must(t, err)
	c.Close()
	b.stop(t)

	b = startBroker(t, dir, nil)
	defer b.stop(t)
	must(t, b.node.WaitAllReady(ctx))
	c = b.client(t, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"auto": {0: kgo.NewOffset().AtStart(), 1: kgo.NewOffset().AtStart()}}))
	defer c.Close()
	var got []int
	for len(got) < records-500 {
		fetches := c.PollFetches(ctx)
		must(t, fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			n, err := strconv.Atoi(string(r.Value))
			must(t, err)
			if int64(n/2) != r.Offset || int32(n%2) != r.Partition {
				t.Errorf("record %d is at %d of partition %d", n, r.Offset, r.Partition)
			}
			got = append(got, n)
		})
	}
	slices.Sort(got)
	if len(slices.Compact(got)) != records-500 {
		t.Errorf("%d different records; want %d", len(slices.Compact(got)), records-500)
	}
	adm = kadm.NewClient(c)
	configs, err := adm.DescribeTopicConfigs(ctx, "made")
	must(t, err)
	for _, cfg := range configs[0].Configs {
		if cfg.Key == "retention.ms" && cfg.MaybeValue() != "1000000" {
			t.Errorf("retention.ms is %s", cfg.MaybeValue())
		}
	}
	must(t, deleteTopic(ctx, adm, "auto"))
	topics, err := adm.ListTopics(ctx)
	must(t, err)
	if names := topics.Names(); !slices.Equal(names, []string{"made"}) {
		t.Errorf("topics are %v", names)
	}
	if _, err := adm.DescribeAllLogDirs(ctx, nil); err != nil {
		t.Errorf("describe log directories: %v", err)
	}
}

func deleteTopic(ctx context.Context, adm *kadm.Client, name string) error {
	resp, err := adm.DeleteTopic(ctx, name)
	if err != nil {
		return fmt.Errorf("delete topic: %w", err)
	}
	return resp.Err
}

func sumOffsets(offsets kadm.ListedOffsets) (total int64) {
	offsets.Each(func(o kadm.ListedOffset) { total += o.Offset })
	return total
}

// A producer with a transactional id is told at once that there are no
// transactions.
func TestTransactionalProducersFailAtOnce(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	b := startBroker(t, t.TempDir(), nil)
	defer b.stop(t)
	c := b.client(t, kgo.TransactionalID("tx"), kgo.AllowAutoTopicCreation())
	defer c.Close()
	err := c.BeginTransaction()
	if err == nil {
		err = c.ProduceSync(ctx, &kgo.Record{Topic: "t", Value: []byte("v")}).FirstErr()
	}
	if err == nil || ctx.Err() != nil {
		t.Errorf("a transactional produce: %v", err)
	}
	t.Logf("the producer is told: %v", err)
}
