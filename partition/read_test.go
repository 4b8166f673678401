package partition

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/fanfold/fanfold/internal/vfs"
	"github.com/fanfold/fanfold/log"
	"github.com/fanfold/fanfold/protocol/record"
)

func TestReadRange(t *testing.T) {
	d := newDriver(t, defaultConfig(), log.Limits{})
	for range 4 {
		d.produce(batchSpec{records: 2}, AcksAll)
	}
	s := newSink(d.p)
	d.p.Produce(batchSpec{records: 2}.build(t), AcksAll, 1, s)
	stored := d.store(1) // not committed
	size := len(batchSpec{records: 2}.build(t))
	for _, c := range []struct {
		offset   int64
		maxBytes int
		one      bool
		batches  int
		err      error
	}{
		{0, 1 << 20, true, 4, nil},
		{3, 1 << 20, true, 3, nil},
		{0, 1, true, 1, nil},
		{0, 1, false, 0, nil},
		{0, 0, false, 0, nil},
		{2, 2*size + 1, false, 2, nil},
		{8, 1 << 20, true, 0, nil}, // the high watermark
		{10, 1 << 20, true, 0, nil},
		{11, 1 << 20, true, 0, kerr.OffsetOutOfRange},
		{-1, 1 << 20, true, 0, kerr.OffsetOutOfRange},
	} {
		r := d.p.Read(FetchRequest{Offset: c.offset, MaxBytes: c.maxBytes, AtLeastOne: c.one, CurrentLeaderEpoch: -1, LastFetchedEpoch: -1})
		if !errors.Is(r.Err, c.err) || r.Records.Len() != c.batches*size || r.HighWatermark != 8 || r.LastStableOffset != 8 {
			t.Errorf("%+v: %d bytes, %+v", c, r.Records.Len(), r)
		}
		r.Records.Release()
	}
	d.commit(stored)
}

func TestOffsetsByTime(t *testing.T) {
	d := newDriver(t, defaultConfig(), log.Limits{})
	none := TimestampOffset{-1, -1, -1}
	if got, err := d.p.OffsetForTimestamp(t.Context(), -1, 0); got != none || err != nil {
		t.Errorf("in an empty log: %+v, %v", got, err)
	}
	base := start.UnixMilli()
	d.produce(batchSpec{timestamps: []int64{base, base + 10}}, AcksAll)
	d.lead(3)
	d.produce(batchSpec{timestamps: []int64{base + 5, base + 30, base + 20}}, AcksAll)
	for ts, want := range map[int64]TimestampOffset{
		0:         {0, base, 1},
		base + 1:  {1, base + 10, 1},
		base + 11: {3, base + 30, 3},
		base + 31: none,
	} {
		if got, err := d.p.OffsetForTimestamp(t.Context(), -1, ts); got != want || err != nil {
			t.Errorf("at %d: %+v, %v; want %+v", ts-base, got, err, want)
		}
	}
	if got, err := d.p.MaxTimestamp(t.Context(), -1); got != (TimestampOffset{3, base + 30, 3}) || err != nil {
		t.Errorf("max timestamp: %+v, %v", got, err)
	}
	d.p.DeleteRecords(2, func(int64, error) {})
	d.step()
	if got, err := d.p.OffsetForTimestamp(t.Context(), -1, 0); got != (TimestampOffset{2, base + 5, 3}) || err != nil {
		t.Errorf("behind the log start: %+v, %v", got, err)
	}
	if offset, epoch, err := d.p.EarliestOffset(-1); offset != 2 || epoch != 3 || err != nil {
		t.Errorf("earliest: %d of epoch %d, %v", offset, epoch, err)
	}
	if offset, epoch, err := d.p.LatestOffset(-1, ReadCommitted); offset != 5 || epoch != 3 || err != nil {
		t.Errorf("latest: %d of epoch %d, %v", offset, epoch, err)
	}
}

// A replica that applies its log again, or has never opened it, does not say
// where the log ends (KIP-207).
func TestOffsetsNotConfirmed(t *testing.T) {
	d := newDriver(t, defaultConfig(), log.Limits{})
	d.produce(batchSpec{records: 9}, AcksAll)
	p := d.replay(defaultConfig(), nil)
	p.Bind(d)
	if p.Serving() {
		t.Error("a replica serves by its former terms")
	}
	if _, _, err := p.LatestOffset(-1, ReadUncommitted); !errors.Is(err, kerr.OffsetNotAvailable) {
		t.Errorf("before the leader-start: %v", err)
	}
	p.Failed(errors.New("disk is gone"))
	if _, _, err := p.LatestOffset(-1, ReadUncommitted); !errors.Is(err, kerr.KafkaStorageError) {
		t.Errorf("failed before the leader-start: %v", err)
	}
	fresh := New(testIdentity, defaultConfig(), nil, nil)
	fresh.Failed(errors.New("cannot be opened"))
	for name, err := range map[string]error{
		"latest":   third(fresh.LatestOffset(-1, ReadUncommitted)),
		"earliest": third(fresh.EarliestOffset(-1)),
		"read":     fresh.Read(FetchRequest{MaxBytes: 1, CurrentLeaderEpoch: -1, LastFetchedEpoch: -1}).Err,
	} {
		if !errors.Is(err, kerr.KafkaStorageError) {
			t.Errorf("never opened: %s: %v", name, err)
		}
	}
	if fresh.Producers() != nil || fresh.SizeBytes() != 0 || fresh.EndOffset() != 0 {
		t.Error("a replica that was never opened has something")
	}
}

func third(_ int64, _ int32, err error) error { return err }

// What was acknowledged unsynced may be gone after a failure: the high
// watermark is then where the log ends.
func TestHighWatermarkAfterLoss(t *testing.T) {
	d := newDriver(t, defaultConfig(), log.Limits{})
	for range 5 {
		d.produce(batchSpec{}, AcksAll)
	}
	d.p.Failed(errors.New("disk is gone"))
	if err := d.log.Truncate(4); err != nil { // leader-start, two batches
		t.Fatal(err)
	}
	d.p.Attach(d.log)
	if hw, end := d.p.HighWatermark(), d.log.EndOffset(); hw != end {
		t.Errorf("high watermark %d, the log ends at %d", hw, end)
	}
}

// A read that began before the replica was started again goes on in the new
// log.
func TestReadBesideRestart(t *testing.T) {
	d := newDriver(t, defaultConfig(), log.Limits{})
	d.produce(batchSpec{}, AcksAll)
	old := d.log
	d.log = openLog(t, vfs.NewMem(vfs.MemOptions{}), d.clock, log.Limits{})
	b := batchSpec{}.build(t)
	if err := d.log.AppendLeader([]log.Entry{{Index: 1, Term: 1, Kind: log.KindBatch, Data: b}}); err != nil {
		t.Fatal(err)
	}
	if err := old.Abort(); err != nil {
		t.Fatal(err)
	}
	d.p.log.Store(d.log)
	r := FetchResult{HighWatermark: 1}
	d.p.readLog(old, FetchRequest{MaxBytes: 1 << 20, AtLeastOne: true}, &r)
	defer r.Records.Release()
	if r.Err != nil || r.Records.Len() != len(b) {
		t.Errorf("%d bytes, %v", r.Records.Len(), r.Err)
	}
}

// waiter counts what it is told.
type waiter struct {
	mu    sync.Mutex
	bytes int
	calls int
	woken chan struct{}
}

func newWaiter() *waiter { return &waiter{woken: make(chan struct{}, 1)} }

func (w *waiter) Advanced(bytes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bytes += bytes
	w.calls++
	select {
	case w.woken <- struct{}{}:
	default:
	}
}

func TestWatch(t *testing.T) {
	d := newDriver(t, defaultConfig(), log.Limits{})
	w, other := newWaiter(), newWaiter()
	d.p.Watch(w, 0)
	d.p.Watch(other, 0)
	d.produce(batchSpec{}, AcksAll)
	size := len(batchSpec{}.build(t))
	if w.bytes != size || other.bytes != size {
		t.Errorf("told of %d and %d bytes, want %d", w.bytes, other.bytes, size)
	}
	d.p.Unwatch(w)
	d.p.Unwatch(w)
	d.produce(batchSpec{}, AcksAll)
	if w.calls != 1 || other.calls != 2 {
		t.Errorf("%d and %d calls", w.calls, other.calls)
	}
	d.p.Unwatch(other)
	late := newWaiter()
	d.p.Watch(late, 1)
	if late.calls != 1 {
		t.Error("nobody said that there is more already")
	}
	d.p.Unwatch(late)
	if n := len(d.p.watch.waiters); n != 0 {
		t.Errorf("%d waiters are left", n)
	}
}

// Readers that wait for each record, one after the other, miss none; the high
// watermark only grows, and who was answered sees what was written.
func TestWatchConcurrently(t *testing.T) {
	const batches, readers = 300, 4
	d := newDriver(t, defaultConfig(), log.Limits{})
	done := make(chan struct{})
	var group, clients sync.WaitGroup
	group.Go(func() {
		for {
			select {
			case <-d.more:
				d.step()
			case <-done:
				return
			}
		}
	})
	for range readers {
		clients.Go(func() {
			for seen := int64(0); seen < batches; {
				w := newWaiter()
				d.p.Watch(w, seen)
				select {
				case <-w.woken:
				case <-time.After(time.Minute):
					t.Errorf("not woken at %d of %d", seen, d.p.HighWatermark())
					return
				}
				d.p.Unwatch(w)
				hw := d.p.HighWatermark()
				if hw <= seen {
					t.Errorf("woken at %d, the high watermark is %d", seen, hw)
				}
				seen = hw
			}
		})
	}
	clients.Go(func() {
		for i := range batches {
			s := newSink(d.p)
			answered := make(chan struct{})
			d.p.Produce(batchSpec{}.build(t), AcksAll-int16(i%2)*-2, 1, answering{s, answered})
			<-answered
			if o := s.get(1); o.Err != nil || o.watermark <= o.BaseOffset {
				t.Errorf("%+v", o)
			}
			b := read(t, d.p, int64(i), 1<<20)
			if h, err := record.Verify(b); err != nil || h.BaseOffset != int64(i) {
				t.Errorf("read back %+v, %v", h, err)
			}
		}
	})
	clients.Wait()
	close(done)
	group.Wait()
}

// answering says when the outcome is there.
type answering struct {
	*sink
	done chan struct{}
}

func (a answering) Produced(tag int, r ProduceResult) {
	a.sink.Produced(tag, r)
	close(a.done)
}

func BenchmarkRead(b *testing.B) {
	d := newDriver(b, defaultConfig(), log.Limits{})
	for range 1000 {
		d.produce(batchSpec{value: make([]byte, 1000)}, AcksAll)
	}
	for _, size := range []int{1 << 10, 64 << 10} {
		b.Run(fmt.Sprintf("max=%d", size), func(b *testing.B) {
			b.ReportAllocs()
			offset := int64(0)
			for b.Loop() {
				r := d.p.Read(FetchRequest{Offset: offset % 1000, MaxBytes: size, AtLeastOne: true, CurrentLeaderEpoch: -1, LastFetchedEpoch: -1})
				r.Records.Release()
				offset++
			}
		})
	}
}
