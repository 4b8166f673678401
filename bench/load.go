package bench

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Load is what is written, and how.
type Load struct {
	Brokers []string // seeds, host:port
	Options []kgo.Opt
	Topic   string // must exist

	RecordBytes int     // of a value; 16 or more
	Text        bool    // values are text that compresses, instead of noise
	Clients     int     // each with connections of its own; zero is 1
	Rate        float64 // records a second of all clients; zero is as fast as it goes

	Acks        string        // all (also when empty), 1 or 0
	Compression string        // none (also when empty), gzip, snappy, lz4, zstd
	Linger      time.Duration // zero sends at once; negative is the client's default
	BatchBytes  int32         // zero is the client's default
	InFlight    int           // requests a broker that wait for their answers; zero is the client's default (5)
	RoundRobin  bool          // each record goes to the next partition

	Warmup   time.Duration // load that is not counted, before what is
	Duration time.Duration // counted
	Watch    Watch
}

// Watch is told how a run goes. Its functions may be nil; they are called from
// one goroutine.
type Watch struct {
	Begin func()          // the time that counts begins
	End   func()          // it ends
	Live  *Live           // counts while the run goes on
	Done  <-chan struct{} // ends the time that counts early
}

func (w Watch) begin() {
	if w.Begin != nil {
		w.Begin()
	}
}

func (w Watch) end() {
	if w.End != nil {
		w.End()
	}
}

// Live is read by others while a run goes on.
type Live struct {
	Records, Bytes atomic.Int64 // acknowledged or read since the run began
}

// Result is what a run came to. Rates are of the time that counts; sums are of
// everything, warm-up and draining too.
type Result struct {
	Clients int     `json:"clients"`
	Seconds float64 `json:"seconds"`
	Records int64   `json:"records"`
	Bytes   int64   `json:"bytes"` // of values

	RecordsPerSecond float64 `json:"records_per_second"`
	MBPerSecond      float64 `json:"mb_per_second"` // 10^6 bytes

	Ack      *Distribution `json:"ack,omitempty"`        // due until acknowledged
	EndToEnd *Distribution `json:"end_to_end,omitempty"` // due until read

	Acked *Sum `json:"acked,omitempty"`
	Read  *Sum `json:"read,omitempty"`

	Background []Result `json:"background,omitempty"`
}

// count sets what follows from what passed in the time that counts.
func (r *Result) count(records, bytes int64, took time.Duration) {
	r.Records, r.Bytes, r.Seconds = records, bytes, took.Seconds()
	r.RecordsPerSecond = float64(records) / max(r.Seconds, 1e-9)
	r.MBPerSecond = float64(bytes) / 1e6 / max(r.Seconds, 1e-9)
}

// Codecs are the names that Compression may have.
var Codecs = []string{"none", "gzip", "snappy", "lz4", "zstd"}

func codecNamed(name string) (kgo.CompressionCodec, error) {
	switch name {
	case "", "none":
		return kgo.NoCompression(), nil
	case "gzip":
		return kgo.GzipCompression(), nil
	case "snappy":
		return kgo.SnappyCompression(), nil
	case "lz4":
		return kgo.Lz4Compression(), nil
	case "zstd":
		return kgo.ZstdCompression(), nil
	}
	return kgo.NoCompression(), fmt.Errorf("unknown compression %q", name)
}

// check sets defaults and refuses what makes no sense.
func (l *Load) check() error {
	l.Clients = max(l.Clients, 1)
	switch {
	case l.Topic == "":
		return errors.New("a load needs a topic")
	case l.RecordBytes < headBytes:
		return fmt.Errorf("records of %d bytes are too small: %d is the least, for what identifies them", l.RecordBytes, headBytes)
	case l.Duration <= 0:
		return errors.New("a load needs a duration above 0")
	case l.Rate < 0:
		return errors.New("a load's rate must not be negative")
	case l.Clients > 1<<16:
		return fmt.Errorf("%d clients are more than %d", l.Clients, 1<<16)
	}
	return nil
}

// Buffers of one client. With many clients, all of them have to fit.
const (
	mostBufferedBytes   = 64 << 20
	mostBufferedRecords = 50_000
)

// newProducer is one client of the load.
func (l *Load) newProducer() (*kgo.Client, error) {
	codec, err := codecNamed(l.Compression)
	if err != nil {
		return nil, err
	}
	opts := append([]kgo.Opt{
		kgo.SeedBrokers(l.Brokers...),
		kgo.DefaultProduceTopic(l.Topic),
		kgo.ProducerBatchCompression(codec),
		kgo.MaxBufferedRecords(mostBufferedRecords),
		kgo.MaxBufferedBytes(max(mostBufferedBytes, 4*l.RecordBytes)),
		kgo.DisableClientMetrics(),
		kgo.RecordDeliveryTimeout(drainWithin),
		kgo.AllowIdempotentProduceCancellation(), // the run has failed then
	}, l.Options...)
	if l.Linger >= 0 {
		opts = append(opts, kgo.ProducerLinger(l.Linger))
	}
	if l.BatchBytes > 0 {
		opts = append(opts, kgo.ProducerBatchMaxBytes(l.BatchBytes))
	}
	if l.RoundRobin {
		opts = append(opts, kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	}
	switch l.Acks {
	case "", "all", "-1":
		if l.InFlight > 0 {
			opts = append(opts, kgo.MaxProduceRequestsInflightPerBroker(l.InFlight))
			if l.InFlight > 1 {
				opts = append(opts, kgo.DisableIdempotentWrite())
			}
		}
	case "0", "1":
		acks := kgo.LeaderAck()
		if l.Acks == "0" {
			acks = kgo.NoAck()
		}
		opts = append(opts, kgo.RequiredAcks(acks), kgo.DisableIdempotentWrite(),
			kgo.MaxProduceRequestsInflightPerBroker(max(l.InFlight, 1)))
		if l.InFlight == 0 {
			opts = append(opts, kgo.MaxProduceRequestsInflightPerBroker(5))
		}
	default:
		return nil, fmt.Errorf("unknown acks %q: all, 1 or 0", l.Acks)
	}
	return kgo.NewClient(opts...)
}

// pause waits until a time, or the end of the context, which is an error.
func pause(ctx context.Context, until time.Time, early <-chan struct{}) error {
	wait := time.Until(until)
	if wait <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-early:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
