package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/fanfold/fanfold/internal/table"
	"github.com/fanfold/fanfold/internal/units"
)

// flushGrace is how long records that were read before a signal or a failure
// may still take to be acknowledged.
const flushGrace = 5 * time.Second

// A publisher sends records and counts what was acknowledged.
type publisher struct {
	app    *app
	client *client
	topic  string
	flags  *produceFlags
	limit  int32 // largest batch, bytes
	meter  *meter

	// stop ends the reading of input at the first failure.
	stop context.CancelCauseFunc

	waiting  atomic.Int64 // records sent and not answered
	progress atomic.Int64 // when the last answer came, or waiting left 0: ns since 1970

	mu struct {
		sync.Mutex
		partitions map[int32]*sentPartition
		failed     int64
		first      error // why the first record failed
	}
}

// sentPartition is what was acknowledged in one partition.
type sentPartition struct {
	Partition int32 `json:"partition"`
	Records   int64 `json:"records"`
	Bytes     int64 `json:"bytes"`
	First     int64 `json:"first_offset"`
	Last      int64 `json:"last_offset"`
}

func newPublisher(a *app, c *client, topic string, f *produceFlags) *publisher {
	p := &publisher{app: a, client: c, topic: topic, flags: f, meter: newMeter()}
	p.mu.partitions = make(map[int32]*sentPartition)
	return p
}

// errRecordFailed ends the reading of input; the reason is in publisher.mu.
var errRecordFailed = errors.New("a record failed")

// run sends all records of the source, waits for their acknowledgements, and
// returns what went wrong first.
func (p *publisher) run(ctx context.Context, source *recordSource) error {
	reading, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	p.stop = stop
	// Sending outlives reading by the grace time, for what is under way.
	sending, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(reading, func() {
		timer := time.AfterFunc(flushGrace, cancel)
		context.AfterFunc(sending, func() { timer.Stop() })
	})()
	defer p.watch(cancel)()
	typing := p.app.inTerminal && !source.fromDisk() && !p.flags.quiet
	if typing {
		p.app.note("type records, one a line; Ctrl-D ends")
	}
	if p.app.errTerminal && !p.flags.quiet && !typing {
		defer showProgress(p.app.stderr, func() string { return p.meter.line("sent") })()
	}
	var inputErr error
	for record, err := range source.records(reading, p.app.stdin, int(p.limit)) {
		if err != nil {
			inputErr = err
			break
		}
		if reading.Err() != nil {
			break
		}
		record.Topic = p.topic
		if at, ok := record.Context.(*placed); ok {
			at.Context = sending
		}
		if p.waiting.Add(1) == 1 {
			p.progress.Store(time.Now().UnixNano())
		}
		p.client.Produce(sending, record, p.acknowledged)
	}
	flushErr := p.client.Flush(sending)
	if flushErr != nil {
		p.abort()
	}
	return p.outcome(ctx, inputErr)
}

// watch cancels the sending once nothing was answered for --timeout. (The
// client's own record timeout counts from a record's timestamp, which may be
// any.) The function that it returns ends the watching and waits for it.
func (p *publisher) watch(cancel context.CancelFunc) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(min(max(p.app.timeout/10, time.Millisecond), 250*time.Millisecond))
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				silent := time.Since(time.Unix(0, p.progress.Load()))
				if p.waiting.Load() > 0 && silent > p.app.timeout+p.flags.linger {
					cancel()
				}
			case <-quit:
				return
			}
		}
	}()
	return func() {
		close(quit)
		<-done
	}
}

// abort fails what is still buffered, so that it is counted.
func (p *publisher) abort() {
	ctx, cancel := context.WithTimeout(context.Background(), flushGrace)
	defer cancel()
	// What cannot be aborted in this time is not counted as acknowledged.
	_ = p.client.AbortBufferedRecords(ctx)
}

// outcome is the error to end with: a failed record, else bad input, else an
// interrupt.
func (p *publisher) outcome(ctx context.Context, inputErr error) error {
	p.mu.Lock()
	failed, first := p.mu.failed, p.mu.first
	p.mu.Unlock()
	switch {
	case first != nil && ctx.Err() != nil:
		return fmt.Errorf("interrupted: %s were not acknowledged", plural(failed, "record"))
	case first != nil:
		return fmt.Errorf("%s not acknowledged, the first: %w", plural(failed, "record"), first)
	case ctx.Err() != nil:
		return errInterrupted
	case isTooLong(inputErr):
		return fmt.Errorf("%w; %s", inputErr, p.limitText())
	}
	return inputErr
}

// limitText says where the limit of a record's size is from, and how to raise
// it.
func (p *publisher) limitText() string {
	if p.flags.batchBytes > 0 {
		return fmt.Sprintf("--batch-bytes allows %d bytes", p.limit)
	}
	return fmt.Sprintf("topic %q takes %d bytes at most; raise it with: fanfold topic alter %s -c max.message.bytes=SIZE", p.topic, p.limit, p.topic)
}

// acknowledged is called for each record in the order of its partition, one at
// a time.
func (p *publisher) acknowledged(r *kgo.Record, err error) {
	p.waiting.Add(-1)
	p.progress.Store(time.Now().UnixNano())
	if err != nil {
		p.fail(r, err)
		return
	}
	bytes := len(r.Key) + len(r.Value)
	p.meter.add(bytes)
	p.mu.Lock()
	defer p.mu.Unlock()
	sent := p.mu.partitions[r.Partition]
	if sent == nil {
		sent = &sentPartition{Partition: r.Partition, First: r.Offset}
		p.mu.partitions[r.Partition] = sent
	}
	sent.Records++
	sent.Bytes += int64(bytes)
	sent.Last = r.Offset
}

func (p *publisher) fail(r *kgo.Record, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.failed++
	if p.mu.first == nil {
		p.mu.first = p.reason(r, err)
		p.stop(errRecordFailed)
	}
}

// reason explains why a record failed, and where it came from.
func (p *publisher) reason(r *kgo.Record, err error) error {
	where := "a record"
	if at, ok := r.Context.Value(placeKey{}).(place); ok {
		where = at.String()
	}
	switch {
	case errors.Is(err, kerr.MessageTooLarge):
		return fmt.Errorf("%s: %s with key and headers are too much; %s", where, units.FormatBytes(int64(len(r.Key)+len(r.Value))), p.limitText())
	case errors.Is(err, context.Canceled), errors.Is(err, kgo.ErrAborting):
		if address, dialErr := p.client.dialFailure(); dialErr != nil {
			return fmt.Errorf("%s: the broker at %s cannot be reached: %s", where, address, rootCause(dialErr))
		}
		return fmt.Errorf("%s: no acknowledgement within %s (--timeout)", where, units.FormatElapsed(p.app.timeout))
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return topicError(p.topic, err, "")
	}
	return fmt.Errorf("%s: %s", where, protocolText(err, ""))
}

// produceSummary is what produce tells at its end.
type produceSummary struct {
	Topic            string          `json:"topic"`
	Records          int64           `json:"records"`
	Bytes            int64           `json:"bytes"`
	Failed           int64           `json:"failed"`
	Files            *int            `json:"files,omitempty"`
	Acknowledged     bool            `json:"acknowledged"` // false with --acks 0
	Seconds          float64         `json:"seconds"`
	RecordsPerSecond float64         `json:"records_per_second"`
	BytesPerSecond   float64         `json:"bytes_per_second"`
	Partitions       []sentPartition `json:"partitions"`
	Error            string          `json:"error,omitempty"`
}

// report writes the summary: JSON to standard output, text to standard error.
func (p *publisher) report(source *recordSource, failure error, asJSON bool) error {
	p.mu.Lock()
	partitions := make([]sentPartition, 0, len(p.mu.partitions))
	for _, sent := range p.mu.partitions {
		partitions = append(partitions, *sent)
	}
	failed := p.mu.failed
	p.mu.Unlock()
	slices.SortFunc(partitions, func(x, y sentPartition) int { return int(x.Partition) - int(y.Partition) })
	if asJSON {
		s := produceSummary{
			Topic: p.topic, Records: p.meter.records.Load(), Bytes: p.meter.bytes.Load(), Failed: failed,
			Acknowledged: p.flags.acks.value != "0", Seconds: time.Since(p.meter.started).Seconds(), Partitions: partitions,
		}
		s.RecordsPerSecond, s.BytesPerSecond = p.meter.pace()
		if source.fromDisk() {
			s.Files = &source.sent
		}
		if failure != nil {
			s.Error = failure.Error()
		}
		return p.app.writeJSON(s)
	}
	if p.flags.quiet {
		return nil
	}
	p.summarize(source, partitions)
	return nil
}

func (p *publisher) summarize(source *recordSource, partitions []sentPartition) {
	verb := "acknowledged"
	if p.flags.acks.value == "0" {
		verb = "sent, without acknowledgement,"
	}
	line := p.meter.line(verb)
	if source.fromDisk() {
		line += ", from " + plural(int64(source.sent), "file")
	}
	out := p.app.stderr
	fmt.Fprintln(out, line)
	if n := len(source.skipped); n > 0 {
		fmt.Fprintf(out, "skipped what is no regular file: %s of them, the first: %s\n", units.FormatCount(int64(n)), source.skipped[0])
	}
	if !p.flags.verbose || len(partitions) == 0 {
		return
	}
	t := table.New(table.Right("PARTITION"), table.Right("RECORDS"), table.Right("BYTES"), table.Right("FIRST OFFSET"), table.Right("LAST OFFSET"))
	t.Heading = p.app.errStyle.heading
	for _, s := range partitions {
		t.Row(s.Partition, s.Records, units.FormatBytes(s.Bytes), s.First, s.Last)
	}
	// Standard error that cannot be written leaves nowhere to say so.
	_ = t.Write(out)
}
