package log

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fanfold/fanfold/internal/vfs"
	"github.com/fanfold/fanfold/protocol/record"
)

// compactAll compacts all that is settled, in as many passes as it takes.
func compactAll(t testing.TB, l *Log, opts CompactOptions) CompactStats {
	t.Helper()
	opts.UpTo = l.EndOffset()
	var sum CompactStats
	for passes := 1; ; passes++ {
		stats, err := l.Compact(t.Context(), opts)
		must(t, err)
		if passes == 1 {
			sum = stats
		} else {
			sum.To, sum.Removed, sum.Records = stats.To, sum.Removed+stats.Removed, stats.Records
		}
		if l.CleanedOffset() == l.SettledOffset() {
			return sum
		}
		if stats.To <= stats.From {
			t.Fatalf("pass %d came no further: %+v", passes, stats)
		}
	}
}

func wantRecords(t testing.TB, l *Log, want ...string) {
	t.Helper()
	if got := dumpRecords(t, l); !slices.Equal(got, want) {
		t.Fatalf("there is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// clockLog opens a log with a clock that the test turns.
func clockLog(t testing.TB, limits Limits) (l *Log, clock *int64) {
	clock = new(int64)
	*clock = 1_700_000_000_000
	cfg := testConfig(vfs.NewMem(vfs.MemOptions{}))
	cfg.Limits = limits
	cfg.Now = func() time.Time { return time.UnixMilli(*clock) }
	l, err := Open(context.Background(), testDir, cfg)
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	return l, clock
}

func TestCompactKeepsTheNewestOfEachKey(t *testing.T) {
	l, _ := clockLog(t, Limits{SegmentBytes: 1 << 20})
	appendKeys(t, l, nil, keyValue{"a", []byte("1")}, keyValue{"b", []byte("1")}, keyValue{"", []byte("no key")})
	appendKeys(t, l, nil, keyValue{"a", []byte("2")})
	must(t, l.Roll())
	appendKeys(t, l, nil, keyValue{"b", []byte("2")}, keyValue{"c", []byte("1")}, keyValue{"c", []byte("2")})
	must(t, l.Roll())
	appendKeys(t, l, nil, keyValue{"a", []byte("3")}, keyValue{"d", []byte("1")})
	must(t, l.Settle(7))
	if l.First() != 4 || l.SettledOffset() != 7 || l.StartOffset() != 0 {
		t.Fatalf("first is entry %d, settled up to %d, from %d", l.First(), l.SettledOffset(), l.StartOffset())
	}
	stats := compactAll(t, l, CompactOptions{})
	wantRecords(t, l, "3 a=2", "4 b=2", "6 c=2", "7 a=3", "8 d=1")
	if stats.Records != 7 || stats.Removed != 4 || stats.Segments != 2 || stats.Into != 1 || stats.To != 7 {
		t.Errorf("%+v", stats)
	}
	// What is appended to was not looked at; now it is.
	settleAll(t, l)
	compactAll(t, l, CompactOptions{})
	wantRecords(t, l, "4 b=2", "6 c=2", "7 a=3", "8 d=1")
	if segs := l.Segments(); len(segs) != 2 || segs[0].Generation != 2 || !segs[0].Settled || segs[1].Generation != 0 || segs[1].Settled {
		t.Errorf("%+v", segs)
	}
	// Nothing is dirty: nothing is read.
	if stats, err := l.Compact(t.Context(), CompactOptions{UpTo: 100}); err != nil || stats.ReadBytes != 0 {
		t.Errorf("%+v, %v", stats, err)
	}
}

func TestTombstonesGoAfterTheirTime(t *testing.T) {
	l, clock := clockLog(t, Limits{SegmentBytes: 1 << 20})
	opts := CompactOptions{DeleteRetention: 1000}
	more := func(key string) { // something is dirty again
		appendKeys(t, l, nil, keyValue{key, []byte("x")})
		settleAll(t, l)
		compactAll(t, l, opts)
	}
	appendKeys(t, l, nil, keyValue{"a", []byte("1")})
	appendKeys(t, l, nil, keyValue{"a", nil}, keyValue{"b", []byte("1")})
	settleAll(t, l)
	compactAll(t, l, opts)
	wantRecords(t, l, "1 a=∅", "2 b=1")
	*clock += 999
	more("x")
	wantRecords(t, l, "1 a=∅", "2 b=1", "3 x=x")
	*clock++
	more("y")
	wantRecords(t, l, "2 b=1", "3 x=x", "4 y=x")
	// Without end.
	opts.DeleteRetention = 1<<63 - 1
	appendKeys(t, l, nil, keyValue{"b", nil})
	more("z")
	*clock += 1 << 40
	more("z")
	wantRecords(t, l, "3 x=x", "4 y=x", "5 b=∅", "7 z=x")
}

func TestCompactKeepsProducersAndMarkers(t *testing.T) {
	l, _ := clockLog(t, Limits{SegmentBytes: 1 << 20})
	producer := func(id int64, sequence int32) func(*record.Builder) {
		return func(b *record.Builder) { b.SetProducer(id, 3, sequence) }
	}
	appendKeys(t, l, producer(1, 0), keyValue{"a", []byte("1")}, keyValue{"b", []byte("1")})
	appendKeys(t, l, producer(1, 2), keyValue{"a", []byte("2")}, keyValue{"b", []byte("2")})
	appendKeys(t, l, producer(2, 0), keyValue{"a", []byte("3")})
	appendKeys(t, l, func(b *record.Builder) { producer(2, 1)(b); b.SetTransactional(); b.SetControl() }, keyValue{"a", nil})
	appendKeys(t, l, func(b *record.Builder) { producer(2, 1)(b); b.SetTransactional() }, keyValue{"a", []byte("in a transaction")})
	appendKeys(t, l, nil, keyValue{"a", []byte("4")}, keyValue{"b", []byte("4")})
	settleAll(t, l)
	last := map[int64]int64{1: 2, 2: 5} // base offset of each producer's last batch
	opts := CompactOptions{KeepProducer: func(h *record.Header) bool { return last[h.ProducerID] == h.BaseOffset }}
	compactAll(t, l, opts)
	wantRecords(t, l, "5 a=∅", "6 a=in a transaction", "7 a=4", "8 b=4")
	headers := func() (list []string) {
		r, err := l.Read(0, l.EndOffset(), 1<<20, true)
		must(t, err)
		for b := readRange(t, r); len(b) > 0; {
			h, err := record.ParseHeader(b)
			must(t, err)
			list = append(list, fmt.Sprintf("%d–%d: %d of %d/%d/%d", h.BaseOffset, h.LastOffset(), h.Records, h.ProducerID, h.ProducerEpoch, h.BaseSequence))
			b = b[h.Bytes():]
		}
		return list
	}
	if got, want := headers(), []string{"2–3: 0 of 1/3/2", "5–5: 1 of 2/3/1", "6–6: 1 of 2/3/1", "7–8: 2 of -1/-1/-1"}; !slices.Equal(got, want) {
		t.Errorf("batches %q, want %q", got, want)
	}
	// Once it is not the last any more, it goes.
	last[1] = 100
	appendKeys(t, l, nil, keyValue{"c", []byte("1")})
	settleAll(t, l)
	compactAll(t, l, opts)
	if got := headers(); got[0] != "5–5: 1 of 2/3/1" {
		t.Errorf("batches %q", got)
	}
}

// A log whose end loses all records still has a batch there: who reads on comes
// to the end.
func TestCompactKeepsTheEnd(t *testing.T) {
	l, _ := clockLog(t, Limits{SegmentBytes: 1 << 20})
	for range 3 {
		appendKeys(t, l, nil, keyValue{"", []byte("from before the topic was compacted")}, keyValue{"", nil})
	}
	settleAll(t, l)
	compactAll(t, l, CompactOptions{})
	wantRecords(t, l)
	for offset := range int64(6) {
		r, err := l.Read(offset, 6, 1000, true)
		must(t, err)
		h, err := record.ParseHeader(readRange(t, r))
		if err != nil || h.BaseOffset != 4 || h.NextOffset() != 6 || h.Records != 0 {
			t.Errorf("at offset %d there is %+v, %v", offset, h, err)
		}
	}
	// It is the end no more.
	appendKeys(t, l, nil, keyValue{"a", []byte("1")})
	settleAll(t, l)
	compactAll(t, l, CompactOptions{})
	wantRecords(t, l, "6 a=1")
	if r, err := l.Read(0, 7, 1000, true); err != nil || r.Len() == 0 {
		t.Error(err)
	} else if h, err := record.ParseHeader(readRange(t, r)); err != nil || h.BaseOffset != 6 {
		t.Errorf("the log begins with %+v, %v", h, err)
	}
}

// With room for a few keys it takes several passes, and comes to the same.
func TestCompactInManyPasses(t *testing.T) {
	for _, keys := range []int{3, 40, 1000} {
		l, _ := clockLog(t, Limits{SegmentBytes: 4000})
		newest := map[string]string{}
		for i := range 600 {
			key := fmt.Sprintf("key %d", i*i%977)
			value := fmt.Sprintf("value %d", i)
			newest[key] = fmt.Sprintf("%d %s=%s", i, key, value)
			appendKeys(t, l, nil, keyValue{key, []byte(value)})
		}
		settleAll(t, l)
		compactAll(t, l, CompactOptions{MapBytes: int64(keys * mapSlotBytes), MapLoad: 0.8})
		got := dumpRecords(t, l)
		if len(got) != len(newest) {
			t.Fatalf("room for %d keys: %d records are left of %d keys", keys, len(got), len(newest))
		}
		for _, r := range got {
			_, keyAndValue, _ := strings.Cut(r, " ")
			key, _, _ := strings.Cut(keyAndValue, "=")
			if newest[key] != r {
				t.Errorf("room for %d keys: %q is there, the newest is %q", keys, r, newest[key])
			}
		}
	}
}

// A segment in which nothing changes is not written anew; one that cannot be
// decoded stays as it is, and what is around it is compacted.
func TestCompactLeavesAlone(t *testing.T) {
	l, _ := clockLog(t, Limits{SegmentBytes: 300})
	for i := range 20 {
		appendKeys(t, l, nil, keyValue{fmt.Sprintf("key %d", i), bytes.Repeat([]byte("v"), 100)})
	}
	settleAll(t, l)
	stats := compactAll(t, l, CompactOptions{})
	if stats.Into != 0 || stats.WrittenBytes != 0 || stats.To != 20 {
		t.Errorf("nothing was to be done: %+v", stats)
	}
	before := l.Segments()
	b, err := record.NewBuilder(record.None, 0)
	must(t, err)
	b.Append(1, []byte("key 3"), []byte("damaged by its producer"), nil)
	raw, err := b.Build(nil)
	must(t, err)
	raw[record.HeaderBytes] = 0x7f // its length is wrong
	raw[17], raw[18], raw[19], raw[20] = crcBytes(raw)
	last, _ := l.Last()
	must(t, l.AppendLeader([]Entry{{Index: last + 1, Term: 1, Data: raw}}))
	appendKeys(t, l, nil, keyValue{"key 7", []byte("new")})
	settleAll(t, l)
	stats = compactAll(t, l, CompactOptions{})
	if stats.Opaque == 0 || stats.Removed != 1 {
		t.Errorf("%+v", stats)
	}
	after := l.Segments()
	same := 0
	for i := range before[:len(before)-1] {
		if i < len(after) && after[i].Generation == 0 {
			same++
		}
	}
	if same < len(before)-3 {
		t.Errorf("%+v became %+v", before, after)
	}
	r, err := l.Read(20, 21, 1000, true)
	must(t, err)
	if got := readRange(t, r); !bytes.Equal(got[record.HeaderBytes:], raw[record.HeaderBytes:]) {
		t.Error("the batch that cannot be decoded was changed")
	}
}

// What can be read of a batch that cannot be decoded to its end replaces
// nothing.
func TestCompactOfAHalfBrokenBatch(t *testing.T) {
	l, _ := clockLog(t, Limits{SegmentBytes: 1 << 20})
	appendKeys(t, l, nil, keyValue{"a", []byte("1")})
	b, err := record.NewBuilder(record.None, 0)
	must(t, err)
	b.Append(1, []byte("a"), []byte("newer"), nil)
	second := b.Bytes()
	b.Append(1, []byte("a"), []byte("broken"), nil)
	raw, err := b.Build(nil)
	must(t, err)
	raw[second] = 0x7f
	raw[17], raw[18], raw[19], raw[20] = crcBytes(raw)
	last, _ := l.Last()
	must(t, l.AppendLeader([]Entry{{Index: last + 1, Term: 1, Data: raw}}))
	appendKeys(t, l, nil, keyValue{"b", []byte("1")}, keyValue{"b", []byte("2")})
	settleAll(t, l)
	stats := compactAll(t, l, CompactOptions{})
	if stats.Removed != 1 {
		t.Errorf("%+v", stats)
	}
	for offset, want := range map[int64]int64{0: 0, 1: 1, 3: 3} {
		r, err := l.Read(offset, 5, 1, true)
		must(t, err)
		if h, err := record.ParseHeader(readRange(t, r)); err != nil || h.BaseOffset != want {
			t.Errorf("at offset %d there is %+v, %v", offset, h, err)
		}
	}
}

func crcBytes(b []byte) (_, _, _, _ byte) {
	crc := record.ComputeCRC(b)
	return byte(crc >> 24), byte(crc >> 16), byte(crc >> 8), byte(crc)
}

// Compaction stops at damage and leaves everything as it is.
func TestCompactFindsDamage(t *testing.T) {
	mem := vfs.NewMem(vfs.MemOptions{})
	l := openTest(t, mem)
	for i := range 9 {
		appendKeys(t, l, nil, keyValue{fmt.Sprint(i % 3), []byte("value")})
	}
	settleAll(t, l)
	f, err := mem.OpenReadWrite(testDir + "/" + segmentName(0, logSuffix))
	must(t, err)
	flip(t, 300, 3)(f, 0)
	must(t, f.Close())
	names, err := mem.List(testDir)
	must(t, err)
	_, err = l.Compact(t.Context(), CompactOptions{UpTo: 9})
	var damage *CorruptionError
	if !errors.As(err, &damage) || l.Failed() != nil {
		t.Fatalf("compaction says %v, failed %v", err, l.Failed())
	}
	if now, err := mem.List(testDir); err != nil || !slices.Equal(now, names) {
		t.Errorf("files %q, they were %q, %v", now, names, err)
	}
	must(t, l.Close())
}

// Readers that hold a range of a segment that is replaced read on; appends,
// truncations and retention go on beside a compaction, and Close ends it.
func TestCompactBesideOthers(t *testing.T) {
	l, _ := clockLog(t, Limits{SegmentBytes: 500})
	for i := range 60 {
		appendKeys(t, l, nil, keyValue{fmt.Sprint(i % 4), fmt.Appendf(nil, "value %d", i)})
	}
	settleAll(t, l)
	held, err := l.Read(0, 10, 1<<20, true)
	must(t, err)
	want := make([]byte, held.Len())
	_, err = held.ReadAt(want, 0)
	must(t, err)

	paused, goOn := make(chan struct{}), make(chan struct{})
	steps := 0
	pace := func(ctx context.Context, _ int) error {
		if steps++; steps == 70 { // in the second half: groups are being replaced
			close(paused)
			<-goOn
		}
		return ctx.Err()
	}
	done := make(chan error, 1)
	go func() {
		_, err := l.Compact(context.Background(), CompactOptions{UpTo: l.EndOffset(), Pace: pace})
		done <- err
	}()
	<-paused
	if _, err := l.Compact(t.Context(), CompactOptions{UpTo: 1}); !errors.Is(err, ErrCompacting) {
		t.Errorf("a second compaction: %v", err)
	}
	appendKeys(t, l, nil, keyValue{"new", []byte("1")})
	must(t, l.Sync())
	last, _ := l.Last()
	must(t, l.Truncate(last))
	appendKeys(t, l, nil, keyValue{"newer", []byte("2")})
	if got := readRange(t, held); !bytes.Equal(got, want) {
		t.Error("a range that was held has other bytes")
	}
	close(goOn)
	must(t, <-done)
	wantRecords(t, l, "56 0=value 56", "57 1=value 57", "58 2=value 58", "59 3=value 59", "60 newer=2")

	// Retention takes what is being compacted.
	for i := range 60 {
		appendKeys(t, l, nil, keyValue{fmt.Sprint(i % 4), fmt.Appendf(nil, "again %d", i)})
	}
	settleAll(t, l)
	steps, paused, goOn = 0, make(chan struct{}), make(chan struct{})
	go func() {
		_, err := l.Compact(context.Background(), CompactOptions{UpTo: l.EndOffset(), Pace: pace})
		done <- err
	}()
	<-paused
	_, err = l.DropBefore(l.EndOffset())
	must(t, err)
	close(goOn)
	if err := <-done; err == nil {
		t.Error("what was dropped was compacted")
	}
	wantRecords(t, l)
}

func TestCloseEndsACompaction(t *testing.T) {
	mem := vfs.NewMem(vfs.MemOptions{})
	l := openTest(t, mem)
	for i := range 20 {
		appendKeys(t, l, nil, keyValue{fmt.Sprint(i % 4), []byte("value")})
	}
	settleAll(t, l)
	waiting := make(chan struct{})
	once := false
	done := make(chan error, 1)
	go func() {
		_, err := l.Compact(context.Background(), CompactOptions{UpTo: 20, Pace: func(ctx context.Context, _ int) error {
			if !once {
				once = true
				close(waiting)
			}
			<-ctx.Done()
			return ctx.Err()
		}})
		done <- err
	}()
	<-waiting
	must(t, l.Close())
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	if _, err := l.Compact(t.Context(), CompactOptions{UpTo: 20}); !errors.Is(err, ErrClosed) {
		t.Errorf("of a closed log: %v", err)
	}
	l = openTest(t, mem)
	compactAll(t, l, CompactOptions{})
	if got := dumpRecords(t, l); len(got) != 4 {
		t.Errorf("%q", got)
	}
	must(t, l.Close())
}

func TestRollAged(t *testing.T) {
	l, clock := clockLog(t, Limits{SegmentMillis: 1000})
	must(t, l.RollAged()) // nothing to seal
	appendKeys(t, l, nil, keyValue{"a", []byte("1")})
	*clock += 1000
	must(t, l.RollAged())
	if n := len(l.Segments()); n != 1 {
		t.Fatalf("%d segments", n)
	}
	*clock++
	must(t, l.RollAged())
	must(t, l.RollAged())
	if n := len(l.Segments()); n != 2 {
		t.Fatalf("%d segments", n)
	}
}

func TestOffsetMapIsBounded(t *testing.T) {
	m := newOffsetMap(1000*mapSlotBytes, 0.75)
	n := 0
	for m.put(hashKey(fmt.Append(nil, n)), int64(n)) {
		n++
	}
	if n != 750 || len(m.slots) != 1000 {
		t.Fatalf("%d keys in %d slots", n, len(m.slots))
	}
	for i := range n {
		if !m.put(hashKey(fmt.Append(nil, i)), int64(i+5000)) { // those that are there have room
			t.Fatalf("key %d is refused", i)
		}
	}
	for i := range n {
		if got := m.get(hashKey(fmt.Append(nil, i))); got != int64(i+5000) {
			t.Fatalf("key %d is at %d", i, got)
		}
	}
	if got := m.get(hashKey([]byte("none"))); got != -1 {
		t.Errorf("a key that is not there is at %d", got)
	}
	grown := newOffsetMap(100_000*mapSlotBytes, 0.9)
	for i := range 20_000 {
		if !grown.put(hashKey(fmt.Append(nil, i)), int64(i)) || grown.get(hashKey(fmt.Append(nil, i/2))) != int64(i/2) {
			t.Fatalf("key %d is lost", i)
		}
	}
	if len(grown.slots) >= 100_000 {
		t.Errorf("%d slots for 20,000 keys", len(grown.slots))
	}
	if tiny := newOffsetMap(1, 0.01); !tiny.put(hashKey(nil), 7) || tiny.get(hashKey(nil)) != 7 {
		t.Error("there is no room for one key")
	}
}

// BenchmarkCompact compacts records of 100 bytes, of which one in ten stays.
func BenchmarkCompact(b *testing.B) {
	for _, codec := range []record.Codec{record.None, record.LZ4} {
		b.Run("codec="+codec.String(), func(b *testing.B) {
			b.ReportAllocs()
			var read int64
			for range b.N {
				b.StopTimer()
				l := benchLog(b, codec)
				b.StartTimer()
				stats, err := l.Compact(context.Background(), CompactOptions{UpTo: l.EndOffset()})
				must(b, err)
				read = stats.ReadBytes
				b.StopTimer()
				must(b, l.Close())
				b.StartTimer()
			}
			b.SetBytes(read)
		})
	}
}

func benchLog(b *testing.B, codec record.Codec) *Log {
	l, err := Open(context.Background(), b.TempDir(), Config{Limits: Limits{SegmentBytes: 4 << 20}})
	must(b, err)
	value := bytes.Repeat([]byte("0123456789"), 10)
	n := 0
	for i := range 300 {
		build, err := record.NewBuilder(codec, 0)
		must(b, err)
		for range 200 {
			build.Append(int64(n), fmt.Appendf(nil, "key %d", n%6000), value, nil)
			n++
		}
		raw, err := build.Build(nil)
		must(b, err)
		must(b, l.AppendLeader([]Entry{{Index: uint64(i + 1), Term: 1, Data: raw}}))
	}
	settleAll(b, l)
	return l
}
