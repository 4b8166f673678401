package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// seed sends records through a client of its own.
func seed(t *testing.T, cluster *kfake.Cluster, records ...*kgo.Record) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if err := cl.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

func numbered(topic string, partition int32, n int) []*kgo.Record {
	var records []*kgo.Record
	for i := range n {
		records = append(records, &kgo.Record{Topic: topic, Partition: partition, Value: []byte{byte('0' + i)}, Timestamp: time.UnixMilli(1700000000000 + int64(i)*1000)})
	}
	return records
}

func TestConsumePositions(t *testing.T) {
	cluster := newBroker(t, kfake.SeedTopics(1, "t", "empty"))
	seed(t, cluster, numbered("t", 0, 10)...)
	for _, c := range []struct{ args, want string }{
		{"-e", "0123456789"},
		{"-e --from beginning", "0123456789"},
		{"-e --from end", ""},
		{"-e --from 7", "789"},
		{"-e --from 10", ""},
		{"-e --from 100", ""},
		{"-e --from -3", "789"},
		{"-e --from -30", "0123456789"},
		{"-e --from @1700000004000", "456789"},
		{"-e --from @1700000003001", "456789"},
		{"-e --from 2023-11-14T22:13:28Z", "89"},
		{"-e --from -1h", ""},
		{"--to 3", "012"},
		{"--from 2 --to 5", "234"},
		{"--from 5 --to 5", ""},
		{"--from 6 --to 2", ""},
		{"--to -8", "01"},
		{"--to end", "0123456789"},
		{"--to @1700000002000", "01"},
		{"-n 4", "0123"},
		{"-n 2 --from -5", "56"},
		{"-n 20 -e", "0123456789"},
	} {
		args := append([]string{"consume", "t", "-D", ""}, strings.Fields(c.args)...)
		if got := succeed(t, "", args...); got != c.want {
			t.Errorf("consume %s gives %q, want %q", c.args, got, c.want)
		}
	}
	if got := succeed(t, "", "consume", "empty", "-e"); got != "" {
		t.Errorf("an empty topic gives %q", got)
	}
}

func TestConsumeFormats(t *testing.T) {
	cluster := newBroker(t, kfake.SeedTopics(1, "t"))
	seed(t, cluster,
		&kgo.Record{Topic: "t", Key: []byte("k"), Value: []byte("v%"), Timestamp: time.UnixMilli(17), Headers: []kgo.RecordHeader{{Key: "a", Value: []byte("1")}}},
		&kgo.Record{Topic: "t", Value: []byte("\xff"), Timestamp: time.UnixMilli(18)},
		&kgo.Record{Topic: "t", Key: []byte{}, Timestamp: time.UnixMilli(19)},
	)
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "v%\n\xff\n\n"},
		{[]string{"-f", `%t/%p/%o %k=%s (%K,%S) %T [%h]\n`}, "t/0/0 k=v% (1,2) 17 [a=1]\nt/0/1 =\xff (-1,1) 18 []\nt/0/2 = (0,-1) 19 []\n"},
		{[]string{"-f", `%R%s`}, "\x00\x00\x00\x02v%\x00\x00\x00\x01\xff\xff\xff\xff\xff"},
		{[]string{"-K", "%:", "-D", `;\n`}, "k%:v%;\n%:\xff;\n%:;\n"},
		{[]string{"-Z", "-K", ":"}, "k:v%\nNULL:\xff\n:NULL\n"},
	} {
		if got := succeed(t, "", append([]string{"consume", "t", "-e"}, c.args...)...); got != c.want {
			t.Errorf("%q gives %q, want %q", c.args, got, c.want)
		}
	}
	want := `{"topic":"t","partition":0,"offset":0,"timestamp":17,"timestamp_type":"create","key":"k","value":"v%","headers":[{"key":"a","value":"1"}]}
{"topic":"t","partition":0,"offset":1,"timestamp":18,"timestamp_type":"create","key":null,"value":"/w==","value_encoding":"base64"}
{"topic":"t","partition":0,"offset":2,"timestamp":19,"timestamp_type":"create","key":"","value":null}
`
	if got := succeed(t, "", "consume", "t", "-e", "-o", "json"); got != want {
		t.Errorf("json is\n%s", got)
	}
}

func TestConsumeWhatWasFormattedIsProducedAgain(t *testing.T) {
	cluster := newBroker(t, kfake.SeedTopics(1, "a", "b"))
	seed(t, cluster,
		&kgo.Record{Topic: "a", Key: []byte("k\n"), Value: []byte("v\x00\xff\n")},
		&kgo.Record{Topic: "a"},
		&kgo.Record{Topic: "a", Key: []byte{}, Value: []byte{}},
	)
	const format = `%K,%k%R%s`
	first := succeed(t, "", "consume", "a", "-e", "-f", format)
	succeed(t, first, "produce", "b", "-q", "-f", format)
	if second := succeed(t, "", "consume", "b", "-e", "-f", format); second != first {
		t.Errorf("%q became %q", first, second)
	}
}

func TestConsumePartitionsAndTopics(t *testing.T) {
	cluster := newBroker(t, kfake.SeedTopics(3, "t", "u"))
	for p := range int32(3) {
		seed(t, cluster, numbered("t", p, 2)...)
		seed(t, cluster, numbered("u", p, 1)...)
	}
	lines := func(args ...string) int {
		return strings.Count(succeed(t, "", append([]string{"consume", "-e"}, args...)...), "\n")
	}
	if got := succeed(t, "", "consume", "t", "-e", "-p", "1", "-f", `%p:%o\n`); got != "1:0\n1:1\n" {
		t.Errorf("partition 1 is %q", got)
	}
	for n, args := range map[int][]string{6: {"t"}, 9: {"t", "u"}, 4: {"t", "-p", "0", "-p", "2"}, 3: {"t", "--from", "-1"}} {
		if got := lines(args...); got != n {
			t.Errorf("%q: %d records, want %d", args, got, n)
		}
	}
	fail(t, exitFailed, `topic "t" has 3 partitions, numbered from 0, and no partition 7`, "", "consume", "t", "-p", "7", "-e")
	fail(t, exitFailed, `topic "nowhere" does not exist`, "", "consume", "nowhere")
}

func TestConsumeEndsAtATransactionsMarker(t *testing.T) {
	cluster := newBroker(t, kfake.SeedTopics(1, "t"))
	cl, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.TransactionalID("x"), kgo.DefaultProduceTopic("t"))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for _, commit := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort} {
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		value := "committed"
		if commit == kgo.TryAbort {
			value = "aborted"
		}
		if err := cl.ProduceSync(t.Context(), kgo.StringRecord(value)).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := cl.EndTransaction(t.Context(), commit); err != nil {
			t.Fatal(err)
		}
	}
	if got := succeed(t, "", "consume", "t", "-e"); got != "committed\n" {
		t.Errorf("read_committed gives %q", got)
	}
	if got := succeed(t, "", "consume", "t", "-e", "--isolation", "read_uncommitted"); got != "committed\naborted\n" {
		t.Errorf("read_uncommitted gives %q", got)
	}
}

// TestConsumeWhereRecordsAreDeletedMeanwhile reads up to an offset that
// retention passes while it waits.
func TestConsumeWhereRecordsAreDeletedMeanwhile(t *testing.T) {
	cluster := newBroker(t, kfake.SeedTopics(1, "t"))
	seed(t, cluster, numbered("t", 0, 5)...)
	fetched := make(chan struct{}, 1)
	cluster.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		select {
		case fetched <- struct{}{}:
		default:
		}
		return nil, nil, false
	})
	deleted := make(chan error, 1)
	go func() {
		<-fetched
		cl, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.DefaultProduceTopic("t"))
		if err != nil {
			deleted <- err
			return
		}
		defer cl.Close()
		req := kmsg.NewPtrDeleteRecordsRequest()
		rt := kmsg.NewDeleteRecordsRequestTopic()
		rt.Topic = "t"
		rp := kmsg.NewDeleteRecordsRequestTopicPartition()
		rp.Offset = 5
		rt.Partitions = append(rt.Partitions, rp)
		req.Topics = append(req.Topics, rt)
		_, err = req.RequestWith(context.Background(), cl)
		deleted <- err
	}()
	succeed(t, "", "consume", "t", "--from", "5", "--to", "5")
	succeed(t, "", "consume", "t", "--from", "0", "--to", "5")
	if err := <-deleted; err != nil {
		t.Fatal(err)
	}
	if got := succeed(t, "", "consume", "t", "--to", "5"); got != "" {
		t.Errorf("got %q after all was deleted", got)
	}
}

func TestConsumeWaitsForMoreAndEndsAtAnInterrupt(t *testing.T) {
	cluster := newBroker(t, kfake.SeedTopics(1, "t"))
	ctx, cancel := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	status := make(chan int, 1)
	var stderr bytes.Buffer
	go func() {
		status <- run(ctx, []string{"consume", "t"}, strings.NewReader(""), writer, &stderr)
		writer.Close()
	}()
	lines := bufio.NewReader(reader)
	for _, value := range []string{"one", "two"} {
		seed(t, cluster, &kgo.Record{Topic: "t", Value: []byte(value)})
		if line, err := lines.ReadString('\n'); err != nil || line != value+"\n" {
			t.Fatalf("%q, %v", line, err)
		}
	}
	cancel()
	if _, err := lines.ReadString('\n'); !errors.Is(err, io.EOF) {
		t.Errorf("after the interrupt: %v", err)
	}
	if s := <-status; s != exitOK || stderr.Len() > 0 {
		t.Errorf("status %d, stderr %q", s, stderr.String())
	}
}

func TestConsumeInterruptedBeforeItsEndFails(t *testing.T) {
	cluster := newBroker(t, kfake.SeedTopics(1, "t"))
	seed(t, cluster, numbered("t", 0, 2)...)
	ctx, cancel := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	go func() {
		_, _ = bufio.NewReader(reader).ReadString('1')
		cancel()
		_, _ = io.Copy(io.Discard, reader)
	}()
	var stderr bytes.Buffer
	status := run(ctx, []string{"consume", "t", "--to", "5"}, strings.NewReader(""), writer, &stderr)
	writer.Close()
	if status != exitFailed || stderr.String() != "fanfold: interrupted\n" {
		t.Errorf("status %d, stderr %q", status, stderr.String())
	}
}

func TestConsumeFromABrokerThatGoesAway(t *testing.T) {
	cluster := newBroker(t, kfake.SeedTopics(1, "t"))
	seed(t, cluster, numbered("t", 0, 2)...)
	reader, writer := io.Pipe()
	go func() {
		_, _ = bufio.NewReader(reader).ReadString('1')
		cluster.Close()
		_, _ = io.Copy(io.Discard, reader)
	}()
	var stderr bytes.Buffer
	status := run(t.Context(), []string{"consume", "t", "--to", "5", "--timeout", "200ms"}, strings.NewReader(""), writer, &stderr)
	writer.Close()
	if status != exitFailed || !strings.Contains(stderr.String(), "wait for records: ") {
		t.Errorf("status %d, stderr %q", status, stderr.String())
	}
}

func FuzzParsePosition(f *testing.F) {
	for _, s := range []string{"beginning", "end", "12", "-3", "-1h", "@1700000000000", "2026-01-31T12:00:00Z", "-9223372036854775808"} {
		f.Add(s)
	}
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parsePosition(s, now)
		if err == nil && p.kind == atOffset && p.n < 0 {
			t.Fatalf("%q is offset %d", s, p.n)
		}
	})
}
