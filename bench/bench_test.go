package bench

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeBroker is a broker in memory with a topic t of three partitions.
func fakeBroker(t *testing.T) []string {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "t", "u"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c.ListenAddrs()
}

func TestProduceThenConsume(t *testing.T) {
	brokers := fakeBroker(t)
	var began, ended int
	var live Live
	w := Watch{Begin: func() { began++ }, End: func() { ended++ }, Live: &live}
	r, err := Produce(t.Context(), Load{
		Brokers: brokers, Topic: "t", RecordBytes: 100, Clients: 3, Rate: 3000, Compression: "lz4", Text: true,
		Warmup: 50 * time.Millisecond, Duration: 200 * time.Millisecond, Watch: w,
	})
	if err != nil {
		t.Fatal(err)
	}
	if began != 1 || ended != 1 || r.Records == 0 || r.Ack == nil || r.Acked.Records < r.Records || live.Records.Load() != r.Acked.Records {
		t.Errorf("began %d, ended %d, live %d, result %+v", began, ended, live.Records.Load(), r)
	}
	got, err := Consume(t.Context(), Reading{Brokers: brokers, Topic: "t", Readers: 2})
	if err != nil {
		t.Fatal(err)
	}
	if *got.Read != *r.Acked || got.Records != 2*r.Acked.Records || got.Bytes != 200*r.Acked.Records {
		t.Errorf("acknowledged were %v, read %v by each, %d by all", r.Acked, got.Read, got.Records)
	}
	if err := Verify(t.Context(), brokers, "t", *r.Acked); err != nil {
		t.Error(err)
	}
	wrong := *r.Acked
	wrong.Hash++
	if err := Verify(t.Context(), brokers, "t", wrong); err == nil || !strings.Contains(err.Error(), "but acknowledged were") {
		t.Errorf("a wrong checksum gave: %v", err)
	}
}

func TestConsumeEmptyTopic(t *testing.T) {
	got, err := Consume(t.Context(), Reading{Brokers: fakeBroker(t), Topic: "t"})
	if err != nil || got.Read.Records != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestExchange(t *testing.T) {
	brokers := fakeBroker(t)
	r, err := Exchange(t.Context(), Load{Brokers: brokers, Topic: "t", RecordBytes: 300, Clients: 7, Duration: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if r.Acked.Records < 7 || r.Ack == nil {
		t.Errorf("%+v", r)
	}
	if err := Verify(t.Context(), brokers, "t", *r.Acked); err != nil {
		t.Error(err)
	}
}

func TestLatencyWithBackground(t *testing.T) {
	brokers := fakeBroker(t)
	load := Load{Brokers: brokers, Topic: "t", RecordBytes: 64, Rate: 500, Duration: 300 * time.Millisecond}
	behind := Load{Brokers: brokers, Topic: "u", RecordBytes: 64, Rate: 200}
	r, err := Latency(t.Context(), load, 2, behind)
	if err != nil {
		t.Fatal(err)
	}
	if r.EndToEnd == nil || r.EndToEnd.Count == 0 || r.Read.Records != r.Acked.Records || len(r.Background) != 1 {
		t.Errorf("%+v", r)
	}
	if err := Verify(t.Context(), brokers, "u", *r.Background[0].Acked); err != nil {
		t.Error(err)
	}
}

// TestStallsAreCharged: a broker that answers nothing for a while delays every
// record that was due meanwhile, not only those that were in flight.
func TestStallsAreCharged(t *testing.T) {
	const stall = 300 * time.Millisecond
	var stalled bool
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	hold := kgo.WithHooks(stallOnce{&stalled, stall})
	r, err := Produce(t.Context(), Load{
		Brokers: c.ListenAddrs(), Options: []kgo.Opt{hold}, Topic: "t", RecordBytes: 16, Rate: 1000, InFlight: 1,
		Duration: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	if r.Ack.P90 < 100 {
		t.Errorf("a stall of %v in one second left the 90th percentile at %v ms", stall, r.Ack.P90)
	}
}

type exchangerFunc func([]byte) error

func (f exchangerFunc) Exchange(v []byte) error { return f(v) }
func (exchangerFunc) Close() error              { return nil }

// stallOnce holds up the goroutine that reads a broker's answers, once.
type stallOnce struct {
	done *bool
	wait time.Duration
}

func (s stallOnce) OnBrokerRead(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, _ error) {
	if key == 0 && !*s.done {
		*s.done = true
		<-time.After(s.wait)
	}
}

func TestFailuresEndTheRun(t *testing.T) {
	broken := errors.New("broken")
	dial := func(context.Context, int) (Exchanger, error) {
		return exchangerFunc(func([]byte) error { return broken }), nil
	}
	_, err := ExchangeWith(t.Context(), Load{Topic: "t", RecordBytes: 16, Duration: time.Minute}, dial)
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	_, err = Produce(t.Context(), Load{Brokers: fakeBroker(t), Topic: "absent", RecordBytes: 16, Duration: time.Minute,
		Options: []kgo.Opt{kgo.UnknownTopicRetries(0)}})
	if err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestLoadsThatMakeNoSense(t *testing.T) {
	for name, l := range map[string]Load{
		"no topic":      {RecordBytes: 100, Duration: time.Second},
		"small records": {Topic: "t", RecordBytes: 15, Duration: time.Second},
		"no duration":   {Topic: "t", RecordBytes: 100},
		"negative rate": {Topic: "t", RecordBytes: 100, Duration: time.Second, Rate: -1},
		"codec":         {Topic: "t", RecordBytes: 100, Duration: time.Second, Compression: "rar"},
		"acks":          {Topic: "t", RecordBytes: 100, Duration: time.Second, Acks: "2"},
	} {
		if _, err := Produce(t.Context(), l); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestSumsOfJSON(t *testing.T) {
	var s, back Sum
	s.Add([]byte("value"))
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &back); err != nil || back != s {
		t.Errorf("%s became %v (%v)", text, back, err)
	}
}

func BenchmarkFill(b *testing.B) {
	f, value := newFiller(false), make([]byte, 1024)
	var s Sum
	b.SetBytes(int64(len(value)))
	b.ReportAllocs()
	n := int64(0)
	for b.Loop() {
		f.write(value, time.Unix(0, n), 0, n)
		s.Add(value)
		n++
	}
}
