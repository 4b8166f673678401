package partition

import (
	"context"
	"errors"
	"math"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fanfold/fanfold/internal/vfs"
	"github.com/fanfold/fanfold/log"
	"github.com/fanfold/fanfold/protocol/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tester is what *testing.T, *testing.B, *testing.F and *rapid.T can do.
type tester interface {
	Helper()
	Cleanup(func())
	Fatal(args ...any)
	Errorf(format string, args ...any)
}

const testIdentity = "1-1"

// start is when the tests' clocks begin.
var start = time.UnixMilli(1_700_000_000_000)

// clock is a clock that tests turn.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: start} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) millis() int64 { return c.Now().UnixMilli() }

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// defaultConfig is Kafka's defaults, with small limits.
func defaultConfig() Config {
	return Config{
		MaxMessageBytes:          1 << 20,
		TimestampBeforeMaxMillis: math.MaxInt64,
		TimestampAfterMaxMillis:  3_600_000,
		MinInsyncReplicas:        1,
		RetentionMillis:          -1,
		RetentionBytes:           -1,
		ProducerExpiration:       24 * time.Hour,
		MaxProducers:             1000,
		MaxDecompressedBytes:     8 << 20,
	}
}

// queued is a proposal that waits for driver.step.
type queued struct {
	kind    log.Kind
	data    []byte
	term    uint64
	request any
}

// driver is a Raft group of one voter that stores and commits when it is told
// to. A real log is behind it.
type driver struct {
	t     tester
	p     *Partition
	log   *log.Log
	clock *clock
	term  uint64

	mu      sync.Mutex
	queue   []queued
	refuse  error
	dropped []int64 // DropBefore calls
	more    chan struct{}
}

func openLog(t tester, fsys vfs.FS, c *clock, limits log.Limits) *log.Log {
	t.Helper()
	l, err := log.Open(context.Background(), "/p", log.Config{FS: fsys, Limits: limits, Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// newDriver opens a partition that leads in term 1.
func newDriver(t tester, cfg Config, limits log.Limits) *driver {
	t.Helper()
	c := newClock()
	d := &driver{t: t, clock: c, more: make(chan struct{}, 1)}
	d.log = openLog(t, vfs.NewMem(vfs.MemOptions{Now: c.Now}), c, limits)
	t.Cleanup(func() { d.log.Abort() })
	d.p = New(testIdentity, cfg, c.Now, nil)
	d.p.Attach(d.log)
	if _, err := d.p.Restore(nil); err != nil {
		t.Fatal(err)
	}
	d.p.Bind(d)
	d.lead(1)
	return d
}

func (d *driver) Propose(kind log.Kind, data []byte, term uint64, request any) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.refuse != nil {
		return d.refuse
	}
	d.queue = append(d.queue, queued{kind, data, term, request})
	select {
	case d.more <- struct{}{}:
	default:
	}
	return nil
}

func (d *driver) DropBefore(offset int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dropped = append(d.dropped, offset)
}

// Settle has nothing to wait for: what is in the log is committed.
func (d *driver) Settle(_ context.Context, offset int64) error { return d.log.Settle(offset) }

func (d *driver) CheckLog() {}

// lead begins a term.
func (d *driver) lead(term uint64) {
	d.t.Helper()
	d.term = term
	kind, payload := d.p.LeaderStart()
	if err := d.Propose(kind, payload, term, struct{}{}); err != nil {
		d.t.Fatal(err)
	}
	d.step()
}

func (d *driver) take(n int) []queued {
	d.mu.Lock()
	defer d.mu.Unlock()
	n = min(n, len(d.queue))
	taken := d.queue[:n]
	d.queue = d.queue[n:]
	return taken
}

// step stores and commits all that is queued.
func (d *driver) step() { d.t.Helper(); d.commit(d.store(math.MaxInt)) }

// infos are stored entries with their requests.
type infos []struct {
	log.EntryInfo
	request any
}

// store appends up to n proposals and tells of them as stored. Applied, which
// ends the run, comes with commit.
func (d *driver) store(n int) infos {
	d.t.Helper()
	var list infos
	for _, q := range d.take(n) {
		last, _ := d.log.Last()
		at := d.log.EndOffset()
		if q.term != d.term {
			d.p.Dropped(q.request, errors.New("term is over"))
			continue
		}
		e := log.Entry{Index: last + 1, Term: d.term, Kind: q.kind, Data: q.data}
		if err := d.log.AppendLeader([]log.Entry{e}); err != nil {
			d.t.Fatal(err)
		}
		info := log.EntryInfo{Index: e.Index, Term: e.Term, Kind: e.Kind, OffsetAt: at}
		if e.Kind == log.KindBatch {
			h, err := record.ParseHeader(e.Data)
			if err != nil {
				d.t.Fatal(err)
			}
			info.Header = h
		} else {
			info.Data = e.Data
		}
		d.p.Stored(info, q.request)
		list = append(list, struct {
			log.EntryInfo
			request any
		}{info, q.request})
	}
	if err := d.log.Sync(); err != nil {
		d.t.Fatal(err)
	}
	return list
}

func (d *driver) commit(list infos) {
	for _, e := range list {
		d.p.Apply(e.EntryInfo, e.request)
	}
	d.p.Applied()
}

// fail drops all that is queued, as a replica that failed does.
func (d *driver) fail(err error) {
	d.p.Failed(err)
	for _, q := range d.take(math.MaxInt) {
		d.p.Dropped(q.request, err)
	}
}

// replay makes a new partition from a snapshot and applies what follows it.
func (d *driver) replay(cfg Config, state []byte) *Partition {
	d.t.Helper()
	p := New(testIdentity, cfg, d.clock.Now, nil)
	p.Attach(d.log)
	applied, err := p.Restore(state)
	if err != nil {
		d.t.Fatal(err)
	}
	last, _ := d.log.Last()
	for i := max(applied+1, d.log.First()); i <= last; i++ {
		e, err := d.log.Entry(i)
		if err != nil {
			d.t.Fatal(err)
		}
		p.Apply(e, nil)
		p.Applied()
	}
	return p
}

// outcome is what became of one batch.
type outcome struct {
	ProduceResult
	answers, releases int
	watermark         int64 // when it was answered
}

// sink gathers outcomes by tag.
type sink struct {
	p  *Partition
	mu sync.Mutex
	by map[int]*outcome
}

func newSink(p *Partition) *sink { return &sink{p: p, by: map[int]*outcome{}} }

func (s *sink) at(tag int) *outcome {
	o := s.by[tag]
	if o == nil {
		o = &outcome{}
		s.by[tag] = o
	}
	return o
}

func (s *sink) Produced(tag int, r ProduceResult) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.at(tag)
	o.ProduceResult, o.watermark = r, s.p.HighWatermark()
	o.answers++
}

func (s *sink) Released(tag int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at(tag).releases++
}

func (s *sink) get(tag int) outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	return *s.at(tag)
}

// batchSpec describes a batch of a test.
type batchSpec struct {
	codec      record.Codec
	records    int // 0: one
	timestamps []int64
	value      []byte
	producer   int64 // with epoch and sequence where above 0
	epoch      int16
	sequence   int32
	prepare    func(*record.Builder)
}

func (s batchSpec) build(t tester) []byte {
	t.Helper()
	b, err := record.NewBuilder(s.codec, 0)
	if err != nil {
		t.Fatal(err)
	}
	if s.producer > 0 {
		b.SetProducer(s.producer, s.epoch, s.sequence)
	}
	if s.prepare != nil {
		s.prepare(b)
	}
	for i := range max(s.records, len(s.timestamps), 1) {
		ts := start.UnixMilli()
		if i < len(s.timestamps) {
			ts = s.timestamps[i]
		}
		b.Append(ts, []byte("key"), s.value, nil)
	}
	data, err := b.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// produce produces a batch, lets it be committed, and returns its outcome.
func (d *driver) produce(s batchSpec, acks int16) outcome {
	d.t.Helper()
	to := newSink(d.p)
	d.p.Produce(s.build(d.t), acks, 1, to)
	d.step()
	return to.get(1)
}

// read returns the bytes that a fetch at offset gets.
func read(t tester, p *Partition, offset int64, maxBytes int) []byte {
	t.Helper()
	r := p.Read(FetchRequest{Offset: offset, MaxBytes: maxBytes, AtLeastOne: true, CurrentLeaderEpoch: -1, LastFetchedEpoch: -1})
	defer r.Records.Release()
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	b := make([]byte, r.Records.Len())
	if len(b) > 0 {
		if _, err := r.Records.ReadAt(b, 0); err != nil {
			t.Fatal(err)
		}
	}
	return b
}
