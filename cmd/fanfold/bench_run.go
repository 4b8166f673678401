package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/fanfold/fanfold/bench"
	"github.com/fanfold/fanfold/internal/table"
	"github.com/fanfold/fanfold/internal/units"
)

// benchRun is one measurement and the topics made for it.
type benchRun struct {
	app    *app
	flags  *benchFlags
	verb   string
	topic  string
	made   []string // topics
	result bench.Result
}

// begin checks that a broker answers, and makes the topic.
func (b *benchRun) begin(ctx context.Context) error {
	if b.topic != "" {
		return b.app.withClient(ctx, func(ctx context.Context, c *client) error {
			topics, err := c.admin.ListTopics(ctx, b.topic)
			if err != nil {
				return c.explain(ctx, "look for the topic", err)
			}
			if t := topics[b.topic]; t.Err != nil {
				return topicError(b.topic, t.Err, "")
			}
			return nil
		})
	}
	b.topic = fmt.Sprintf("fanfold-bench-%s-%d", b.verb, time.Now().UnixMilli())
	return b.make(ctx, b.topic)
}

func (b *benchRun) make(ctx context.Context, topic string) error {
	settings, err := parseSettings(b.flags.configs)
	if err != nil {
		return err
	}
	configs := map[string]*string{}
	for _, s := range settings {
		configs[s.name] = kadm.StringPtr(s.value)
	}
	return b.app.withClient(ctx, func(ctx context.Context, c *client) error {
		answer, err := c.admin.CreateTopic(ctx, b.flags.partitions, b.flags.replicas, configs, topic)
		if answer.Err != nil {
			return topicError(topic, answer.Err, answer.ErrMessage)
		}
		if err != nil {
			return c.explain(ctx, "create topic "+topic, err)
		}
		b.made = append(b.made, topic)
		return c.awaitLeaders(ctx, topic, int(b.flags.partitions))
	})
}

// awaitLeaders waits until every partition of a new topic answers.
func (c *client) awaitLeaders(ctx context.Context, topic string, partitions int) error {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		ends, err := c.admin.ListEndOffsets(ctx, topic)
		if err == nil {
			err = ends.Error()
		}
		if err == nil && len(ends[topic]) == partitions {
			return nil
		}
		select {
		case <-ctx.Done():
			return c.explain(ctx, "wait for the leaders of "+topic, errors.Join(err, ctx.Err()))
		case <-ticker.C:
		}
	}
}

// end deletes the topics that were made, after an interrupt too.
func (b *benchRun) end() error {
	if b.flags.keep || len(b.made) == 0 {
		return nil
	}
	return b.app.withClient(context.Background(), func(ctx context.Context, c *client) error {
		_, err := c.admin.DeleteTopics(ctx, b.made...)
		return c.explain(ctx, "delete topic "+strings.Join(b.made, ", "), err)
	})
}

// watch shows a run on the terminal until stop is called. It begins to count
// down once the time that counts has begun.
func (b *benchRun) watch(doing string, duration time.Duration, total int64) (w bench.Watch, stop func()) {
	w.Live = &bench.Live{}
	if !b.app.errTerminal {
		return w, func() {}
	}
	l := &liveLine{doing: doing, live: w.Live, duration: duration, total: total, last: time.Now()}
	w.Begin = l.begin
	return w, showProgress(b.app.stderr, l.text)
}

// liveLine is the progress of a run.
type liveLine struct {
	doing    string
	live     *bench.Live
	duration time.Duration // of the time that counts, or 0
	total    int64         // of bytes, or 0

	mu     sync.Mutex
	counts time.Time // when the time that counts began

	last           time.Time
	records, bytes int64
}

func (l *liveLine) begin() {
	l.mu.Lock()
	l.counts = time.Now()
	l.mu.Unlock()
}

const barWidth = 24

func (l *liveLine) text() string {
	now, records, bytes := time.Now(), l.live.Records.Load(), l.live.Bytes.Load()
	seconds := max(now.Sub(l.last).Seconds(), 1e-3)
	perSecond, bytesPerSecond := float64(records-l.records)/seconds, float64(bytes-l.bytes)/seconds
	l.last, l.records, l.bytes = now, records, bytes
	l.mu.Lock()
	counts := l.counts
	l.mu.Unlock()
	part := 0.0
	switch {
	case l.total > 0:
		part = float64(bytes) / float64(l.total)
	case l.duration > 0 && !counts.IsZero():
		part = now.Sub(counts).Seconds() / l.duration.Seconds()
	}
	full := int(min(max(part, 0), 1) * barWidth)
	doing := l.doing
	if l.duration > 0 && counts.IsZero() {
		doing = "warming up"
	}
	return fmt.Sprintf("%s [%s%s] %s records/s, %s/s", doing, strings.Repeat("=", full), strings.Repeat(" ", barWidth-full),
		units.FormatCount(int64(perSecond)), units.FormatBytes(int64(bytesPerSecond)))
}

func (b *benchRun) produce(ctx context.Context) (err error) {
	l := b.flags.load(b.app, b.topic)
	var stop func()
	l.Watch, stop = b.watch("writing", l.Duration, 0)
	if b.flags.oneByOne {
		b.result, err = bench.Exchange(ctx, l)
	} else {
		b.result, err = bench.Produce(ctx, l)
	}
	stop()
	if err != nil || !b.flags.verify {
		return err
	}
	return b.readBack(ctx, b.topic, *b.result.Acked)
}

// readBack compares a topic with what was acknowledged.
func (b *benchRun) readBack(ctx context.Context, topic string, acked bench.Sum) error {
	w, stop := b.watch("reading back", 0, acked.Records*int64(b.flags.recordBytes))
	got, err := bench.Consume(ctx, bench.Reading{Brokers: b.app.brokers, Topic: topic, Watch: w})
	stop()
	if err != nil {
		return fmt.Errorf("read %s back: %w", topic, err)
	}
	if *got.Read != acked {
		return fmt.Errorf("%s holds %v, but acknowledged were %v: records were lost, changed or written twice", topic, got.Read, acked)
	}
	b.result.Read = got.Read
	return nil
}

func (b *benchRun) consume(ctx context.Context) error {
	f := b.flags
	var filled *bench.Sum
	if f.topic == "" {
		total, err := units.ParseBytes(f.fill)
		if err != nil {
			return usagef("--fill: %s", err)
		}
		if filled, err = b.fill(ctx, total); err != nil {
			return err
		}
	}
	reading := bench.Reading{Brokers: b.app.brokers, Topic: b.topic, Readers: f.readers}
	expected := int64(0)
	if filled != nil {
		expected = filled.Records * int64(f.recordBytes) * int64(f.readers)
	}
	var stop func()
	var err error
	reading.Watch, stop = b.watch("reading", 0, expected)
	b.result, err = bench.Consume(ctx, reading)
	stop()
	if err == nil && filled != nil && *b.result.Read != *filled {
		err = fmt.Errorf("read were %v, but acknowledged %v", b.result.Read, filled)
	}
	b.result.Acked = filled
	return err
}

// fill writes about this many bytes to the topic.
func (b *benchRun) fill(ctx context.Context, total int64) (*bench.Sum, error) {
	w, stop := b.watch("filling", 0, total)
	defer stop()
	done, ended := make(chan struct{}), make(chan struct{})
	var watching sync.WaitGroup
	defer watching.Wait()
	defer close(ended)
	live := w.Live
	watching.Go(func() {
		ticker := time.NewTicker(5 * time.Millisecond)
		defer ticker.Stop()
		for live.Bytes.Load() < total {
			select {
			case <-ticker.C:
			case <-ended:
				return
			}
		}
		close(done)
	})
	w.Done = done
	r, err := bench.Produce(ctx, bench.Load{
		Brokers: b.app.brokers, Topic: b.topic, RecordBytes: int(b.flags.recordBytes), Clients: 2, Linger: -1,
		Duration: 1000 * time.Hour, Watch: w,
	})
	return r.Acked, err
}

// latency is the same for latency and mixed.
func (b *benchRun) latency(ctx context.Context) error {
	l := b.flags.load(b.app, b.topic)
	var behind []bench.Load
	if b.verb == "mixed" {
		other := l
		other.Topic, other.Rate, other.Clients, other.Linger = b.topic+"-behind", b.flags.behindRate, b.flags.behindClients, -1
		if err := b.make(ctx, other.Topic); err != nil {
			return err
		}
		behind = append(behind, other)
	}
	var stop func()
	var err error
	l.Watch, stop = b.watch("measuring", l.Duration, 0)
	b.result, err = bench.Latency(ctx, l, b.flags.readers, behind...)
	stop()
	if err != nil || !b.flags.verify {
		return err
	}
	read := b.result.Read
	for i, r := range b.result.Background {
		if err := b.readBack(ctx, behind[i].Topic, *r.Acked); err != nil {
			return err
		}
	}
	b.result.Read = read
	return nil
}

// benchReport is what -o json writes.
type benchReport struct {
	Verb    string        `json:"verb"`
	Brokers []string      `json:"brokers"`
	Topic   string        `json:"topic"`
	Load    string        `json:"load"`
	Elapsed float64       `json:"elapsed_seconds"` // with warm-up and verification
	Result  *bench.Result `json:"result,omitempty"`
	Error   string        `json:"error,omitempty"`
}

// report writes the results; a failed run has none, but for JSON.
func (b *benchRun) report(failure error, elapsed time.Duration, asJSON bool) error {
	r := benchReport{
		Verb: b.verb, Brokers: b.app.brokers, Topic: b.topic, Load: b.flags.describe(b.verb),
		Elapsed: elapsed.Seconds(),
	}
	if failure != nil {
		r.Error = failure.Error()
	} else {
		r.Result = &b.result
	}
	if asJSON {
		return b.app.writeJSON(r)
	}
	if failure != nil {
		return nil
	}
	return b.summarize(r)
}

func (b *benchRun) summarize(r benchReport) error {
	out := b.app.stdout
	fmt.Fprintf(out, "%s %s\n", b.app.outStyle.heading(b.verb+":"), r.Load)
	fmt.Fprintf(out, "%s in %s: %s records/s, %s MB/s\n", plural(r.Result.Records, "record"), units.FormatElapsed(time.Duration(r.Result.Seconds*float64(time.Second))),
		units.FormatCount(int64(r.Result.RecordsPerSecond)), fmt.Sprintf("%.1f", r.Result.MBPerSecond))
	for _, behind := range r.Result.Background {
		fmt.Fprintf(out, "meanwhile: %s records/s, %.1f MB/s\n", units.FormatCount(int64(behind.RecordsPerSecond)), behind.MBPerSecond)
	}
	switch {
	case r.Result.Read != nil && r.Result.Acked != nil:
		fmt.Fprintf(out, "verified: %v acknowledged, and the same read\n", r.Result.Read)
	case r.Result.Read != nil:
		fmt.Fprintf(out, "read: %v\n", r.Result.Read)
	}
	t := table.New(table.Left("MILLISECONDS"), table.Right("P50"), table.Right("P90"), table.Right("P99"), table.Right("P99.9"), table.Right("P99.99"), table.Right("MAX"))
	t.Heading = b.app.outStyle.heading
	row := func(name string, d *bench.Distribution) {
		if d != nil {
			ms := func(v float64) string { return fmt.Sprintf("%.3f", v) }
			t.Row(name, ms(d.P50), ms(d.P90), ms(d.P99), ms(d.P999), ms(d.P9999), ms(d.Max))
		}
	}
	row("due to acknowledged", r.Result.Ack)
	row("due to read", r.Result.EndToEnd)
	if t.Len() == 0 {
		return nil
	}
	return t.Write(out)
}
