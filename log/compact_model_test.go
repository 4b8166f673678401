package log

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fanfold/fanfold/internal/vfs"
	"github.com/fanfold/fanfold/protocol/record"
)

// keyedEntry is a record of the model of a compacted log.
type keyedEntry struct {
	offset, at int64
	key        string // "" is none
	value      string
	tombstone  bool
}

// keyedModel is the naive compacted log: all that was ever appended, and what
// passes of compaction were told.
type keyedModel struct {
	records []keyedEntry // by offset

	began     int64           // up to where a pass may have compared records
	firstPass map[int64]int64 // offset of a tombstone → time of the first pass that may have compared it
}

// keyedWorld makes a world whose batches have keys; it settles and compacts.
func keyedWorld(t testing.TB, seed uint64) *world {
	w := newWorld(t, seed)
	w.keyed = &keyedModel{firstPass: map[int64]int64{}}
	return w
}

// deleteRetention is that of the tests, in milliseconds of their clock.
const deleteRetention = 50

var keyedCodecs = []record.Codec{record.None, record.None, record.Snappy, record.LZ4}

// keyedBatch makes a batch of few keys, and notes its records at offset.
func (w *world) keyedBatch(offset int64) ([]byte, []int64) {
	b, err := record.NewBuilder(keyedCodecs[w.rng.IntN(len(keyedCodecs))], 0)
	if err != nil {
		w.fatal("%v", err)
	}
	if w.rng.IntN(3) == 0 {
		b.SetProducer(int64(w.rng.IntN(3)), 0, int32(w.rng.IntN(100)))
	}
	w.cutKeyed(offset)
	var times []int64
	for i := range 1 + w.rng.IntN(3) {
		w.n++
		r := keyedEntry{
			offset: offset + int64(i), at: w.rng.Int64N(1000),
			key: fmt.Sprintf("key %d", w.rng.IntN(9)), value: fmt.Sprintf("%d %s", w.n, strings.Repeat(".", w.rng.IntN(32))),
		}
		key, value := []byte(r.key), []byte(r.value)
		switch w.rng.IntN(12) {
		case 0, 1:
			r.tombstone, r.value, value = true, "", nil
		case 2:
			r.key, key = "", nil
		}
		b.Append(r.at, key, value, nil)
		times = append(times, r.at)
		w.keyed.records = append(w.keyed.records, r)
	}
	raw, err := b.Build(nil)
	if err != nil {
		w.fatal("%v", err)
	}
	return raw, times
}

// cutKeyed makes the model end where the log does.
func (w *world) cutKeyed(end int64) {
	k := w.keyed
	n := len(k.records)
	for n > 0 && k.records[n-1].offset >= end {
		n--
	}
	k.records = k.records[:n]
}

// settle gives up entries of sealed segments; they are durable.
func (w *world) settle() {
	offset := w.m.start + w.rng.Int64N(w.l.EndOffset()-w.m.start+1)
	w.say("settle below %d", offset)
	w.dropping = true
	if w.check("settle", w.l.Settle(offset)) {
		w.m.first = w.l.First()
		w.dropping = false
	}
}

// compact makes a pass, with room for few or many keys.
func (w *world) compact() {
	k := w.keyed
	opts := CompactOptions{
		UpTo: w.l.EndOffset(), DeleteRetention: deleteRetention, BufferBytes: 61 + w.rng.IntN(400),
		MapBytes: int64(1 + w.rng.IntN(20*mapSlotBytes)), MapLoad: 0.5 + w.rng.Float64()/2,
		KeepProducer: func(h *record.Header) bool { return h.ProducerID == 1 },
	}
	if w.rng.IntN(4) == 0 {
		opts.UpTo -= w.rng.Int64N(opts.UpTo - w.m.start + 1)
	}
	settled, now := w.l.SettledOffset(), w.now().UnixMilli()
	for i := range k.records {
		r := &k.records[i]
		if _, known := k.firstPass[r.offset]; r.tombstone && !known && r.offset < settled {
			k.firstPass[r.offset] = now
		}
	}
	k.began = max(k.began, settled)
	w.say("compact up to %d of %d, from %d", opts.UpTo, settled, w.l.CleanedOffset())
	stats, err := w.l.Compact(context.Background(), opts)
	if w.check("compact", err) {
		w.say("compacted: %+v", stats)
		if got := w.l.CleanedOffset(); stats.To > 0 && got != stats.To {
			w.fatal("compacted up to %d, the log says %d", stats.To, got)
		}
	} else {
		w.say("compact failed: %v", err)
		w.harmless = w.l.Failed() == nil
	}
}

// readRecords decodes all that is readable from an offset on.
func (w *world) readRecords(from int64) []keyedEntry {
	w.t.Helper()
	var list []keyedEntry
	for end := w.l.EndOffset(); from < end; {
		r, err := w.l.Read(from, end, 300, true)
		if err != nil {
			w.fatal("read from %d: %v", from, err)
		}
		b := readRange(w.t, r)
		if len(b) == 0 {
			w.fatal("there is nothing from offset %d on, the log ends at %d", from, end)
		}
		for len(b) > 0 {
			h, err := record.ParseHeader(b)
			if err == nil {
				err = record.CheckCRC(b[:h.Bytes()])
			}
			if err != nil || h.NextOffset() <= from {
				w.fatal("read from %d: batch %d to %d: %v", from, h.BaseOffset, h.LastOffset(), err)
			}
			for rec, err := range record.Records(b[:h.Bytes()], record.Limits{}) {
				if err != nil {
					w.fatal("batch at %d: %v", h.BaseOffset, err)
				}
				list = append(list, keyedEntry{
					offset: h.RecordOffset(rec), at: h.RecordTimestamp(rec), key: string(rec.Key), value: string(rec.Value), tombstone: rec.Value == nil,
				})
			}
			from, b = h.NextOffset(), b[h.Bytes():]
		}
	}
	return list
}

// compareKeyed holds what is readable against the model.
func (w *world) compareKeyed() {
	w.t.Helper()
	k := w.keyed
	w.cutKeyed(w.l.EndOffset())
	start := w.l.StartOffset()
	got := w.readRecords(start)
	newest := map[string]keyedEntry{}
	for _, r := range k.records {
		if r.key != "" {
			newest[r.key] = r
		}
	}
	compared := w.l.CleanedOffset()
	settled := w.l.SettledOffset()
	seen := map[string]int{} // below compared
	there := map[int64]bool{}
	at, last := 0, int64(-1)
	for _, r := range got {
		for at < len(k.records) && k.records[at].offset < r.offset {
			at++
		}
		if at == len(k.records) || r.offset <= last {
			w.fatal("record at offset %d, behind %d: it was never appended there", r.offset, last)
		}
		if r != k.records[at] {
			w.fatal("record %+v, it was %+v", r, k.records[at])
		}
		last = r.offset
		there[r.offset] = true
		if r.offset < compared {
			if seen[r.key]++; seen[r.key] > 1 || r.key == "" {
				w.fatal("key %q is there %d times below offset %d", r.key, seen[r.key], compared)
			}
		}
	}
	w.compareLatest(start, settled, newest, there)
	w.compareKeyedTimes(start, got)
	w.compareHoles(start, got)
}

// compareLatest looks for what must be there: all that was not settled, and of
// each key the newest record; a tombstone goes after its time only, and with it
// all that it deleted.
func (w *world) compareLatest(start, settled int64, newest map[string]keyedEntry, there map[int64]bool) {
	w.t.Helper()
	k, now := w.keyed, w.now().UnixMilli()
	for _, r := range k.records {
		if r.offset < start || there[r.offset] {
			continue
		}
		if r.offset >= settled || r.offset >= k.began {
			w.fatal("record %+v is gone; settled is %d, compacted at most %d", r, settled, k.began)
		}
		if r.key == "" || newest[r.key].offset > r.offset {
			continue
		}
		first, known := k.firstPass[r.offset]
		if !r.tombstone || !known || now < first+deleteRetention {
			w.fatal("the newest record %+v of its key is gone (now %d, first compared at %d)", r, now, first)
		}
	}
	// Of a key the oldest go first: what was deleted does not come back.
	gone := map[string]keyedEntry{}
	for _, r := range k.records {
		if r.offset >= start && !there[r.offset] {
			gone[r.key] = r
		}
	}
	for _, r := range k.records {
		if r.key != "" && there[r.offset] && r.offset < gone[r.key].offset {
			w.fatal("record %+v is there, and the newer %+v is not", r, gone[r.key])
		}
	}
}

// compareKeyedTimes looks times up.
func (w *world) compareKeyedTimes(start int64, got []keyedEntry) {
	w.t.Helper()
	ts, min := w.rng.Int64N(1100), start
	if end := w.l.EndOffset(); end > start {
		min += w.rng.Int64N(end - start)
	}
	first, largest := int64(-1), keyedEntry{offset: -1, at: -1}
	for _, r := range got {
		if r.offset >= min && r.at >= ts && first < 0 {
			first = r.offset
		}
		if r.offset >= min && r.at > largest.at {
			largest = r
		}
	}
	found, ok, err := w.l.OffsetForTimestamp(context.Background(), ts, min, w.l.EndOffset())
	if err != nil || ok != (first >= 0) || ok && found.Offset != first {
		w.fatal("time %d from %d: %+v, %v, %v; expected %d", ts, min, found, ok, err, first)
	}
	found, ok, err = w.l.MaxTimestamp(context.Background(), min, w.l.EndOffset())
	if err != nil || ok != (largest.offset >= 0) || ok && (found.Offset != largest.offset || found.Timestamp != largest.at) {
		w.fatal("largest time from %d: %+v, %v, %v; expected %+v", min, found, ok, err, largest)
	}
}

// compareHoles reads from every offset: the next record comes.
func (w *world) compareHoles(start int64, got []keyedEntry) {
	w.t.Helper()
	for range 4 {
		if w.l.EndOffset() == start {
			return
		}
		from := start + w.rng.Int64N(w.l.EndOffset()-start)
		var want []keyedEntry
		for _, r := range got {
			if r.offset >= from {
				want = append(want, r)
			}
		}
		list := w.readRecords(from)
		for len(list) > 0 && list[0].offset < from {
			list = list[1:] // of the batch that holds from
		}
		if len(list) != len(want) {
			w.fatal("%d records from offset %d, expected %d", len(list), from, len(want))
		}
		for i := range list {
			if list[i] != want[i] {
				w.fatal("from offset %d: %+v, expected %+v", from, list[i], want[i])
			}
		}
	}
}

// stepKeyed does one random operation.
func (w *world) stepKeyed() {
	switch p := w.rng.IntN(100); {
	case p < 15:
		w.settle()
	case p < 35:
		w.compact()
	case p < 40:
		w.say("roll")
		w.check("roll", w.l.Roll())
	case p < 50:
		w.clock += w.rng.Int64N(2 * deleteRetention)
		w.say("the clock is %d", w.clock)
	default:
		w.step()
	}
}

// TestCompactionCrashes runs a compacted log against its model through crashes
// at random calls on the file system. FANFOLD_LOG_CRASHES sets how many there
// are in all (2,000 otherwise), FANFOLD_LOG_SEED the first seed.
func TestCompactionCrashes(t *testing.T) {
	const each = 20
	crashes, seed := 2000, rand.Uint64N(1<<32)
	if s := os.Getenv("FANFOLD_LOG_CRASHES"); s != "" {
		var err error
		crashes, err = strconv.Atoi(s)
		must(t, err)
	}
	if s := os.Getenv("FANFOLD_LOG_SEED"); s != "" {
		var err error
		seed, err = strconv.ParseUint(s, 10, 64)
		must(t, err)
	}
	for i := range uint64((crashes + each - 1) / each) {
		ok := t.Run(strconv.FormatUint(seed+i, 10), func(t *testing.T) { keyedWorld(t, seed+i).run(each) })
		if !ok {
			t.Fatalf("FANFOLD_LOG_SEED=%d", seed+i)
		}
	}
}

// TestEveryCallOfACompactionFails lets each call on the file system fail once
// while a log is written and compacted.
func TestEveryCallOfACompactionFails(t *testing.T) {
	for i, way := range []error{syscall.EIO, &vfs.ShortWrite{N: 37, Err: syscall.ENOSPC}} {
		for seed := range uint64(3) {
			for call := 1; ; call++ {
				w := keyedWorld(t, seed)
				w.failIn, w.failWith = call, way
				if !w.runFailing(60) {
					if call < 100 {
						t.Fatalf("only %d calls were made", call)
					}
					break
				}
				call += i + int(seed)
			}
		}
	}
}

// compactedLog builds a log of which the older half is compacted.
func compactedLog(t *testing.T) *damaged {
	w := keyedWorld(t, 11)
	w.cfg.Limits = Limits{SegmentBytes: 700, IndexIntervalBytes: 100}
	w.cfg.indexFlush = 32
	w.cfg.journalSlack = 1 << 20
	w.open()
	merged := false
	for _, entries := range []uint64{30, 40} {
		for w.m.last() < entries {
			w.append()
		}
		must(t, w.l.Settle(w.l.EndOffset()*2/3))
		stats, err := w.l.Compact(context.Background(), CompactOptions{UpTo: w.l.EndOffset(), DeleteRetention: deleteRetention})
		must(t, err)
		merged = stats.Segments > stats.Into && stats.Removed > 0
	}
	if segs := w.l.Segments(); !merged || len(segs) < 4 || !segs[1].Settled || segs[len(segs)-2].Settled {
		t.Fatalf("%+v", segs)
	}
	must(t, w.l.Close())
	d := &damaged{mem: w.mem, durable: w.m.last()}
	var err error
	d.names, err = w.mem.List(testDir)
	must(t, err)
	return d
}

func isData(name string) bool { return strings.HasSuffix(name, logSuffix) || name == journalName }

// TestDamageOfACompactedLog flips bits of, cuts and removes every file of a
// compacted log: Verify names it, and no start takes less for all.
func TestDamageOfACompactedLog(t *testing.T) {
	d := compactedLog(t)
	check := func(mem *vfs.Mem, name string, pos int64, mustName bool) {
		t.Helper()
		report, err := Verify(context.Background(), mem, testDir, VerifyOptions{Records: true})
		must(t, err)
		data := isData(name)
		problems := report.Damage
		switch {
		case name == markName:
			problems = report.LeftOvers
		case strings.HasSuffix(name, indexSuffix):
			problems = report.Caches
		}
		if mustName && !names(problems, name, pos) && (!data || report.OK()) {
			t.Fatalf("%s at %d: not named: damage %v, left-overs %v, caches %v", name, pos, report.Damage, report.LeftOvers, report.Caches)
		}
		if !data && !report.OK() {
			t.Fatalf("%s at %d: called damage: %v", name, pos, report.Damage)
		}
		l, err := Open(context.Background(), testDir, testConfig(mem))
		if err != nil {
			var damage *CorruptionError
			if !errors.As(err, &damage) || report.OK() {
				t.Fatalf("%s at %d: open: %v; report %+v", name, pos, err, report)
			}
			return
		}
		if scrub := l.Scrub(context.Background(), nil); (scrub == nil) != report.OK() {
			t.Fatalf("%s at %d: scrub says %v, Verify %v", name, pos, scrub, report.Damage)
		}
		must(t, l.Close())
	}
	for _, name := range d.names {
		for pos := range d.size(t, name) {
			if name == markName && pos%markSlotBytes >= markBytes {
				continue
			}
			check(d.with(t, name, flip(t, pos, int(pos)%8)), name, pos, true)
			check(d.with(t, name, func(f vfs.File, _ int64) { must(t, f.Truncate(pos)) }), name, pos, isData(name))
		}
		mem := d.mem.CrashClone(vfs.KeepAll, nil)
		must(t, mem.Remove(testDir+"/"+name))
		check(mem, name, -1, true)
	}
}

// TestVerifyOfACompactedLog expects no problems, and names what compaction did.
func TestVerifyOfACompactedLog(t *testing.T) {
	d := compactedLog(t)
	var text strings.Builder
	report, err := Dump(context.Background(), d.mem, testDir, DumpOptions{Records: true, Index: true}, func(it Item) error {
		fmt.Fprintln(&text, it)
		return nil
	})
	must(t, err)
	if len(report.Damage)+len(report.LeftOvers)+len(report.Caches) > 0 || report.Last != d.durable || report.First == 1 || report.StartOffset != 0 {
		t.Fatalf("%+v", report)
	}
	for _, want := range []string{"settle: index", "generation 1", ", settled, compacted as generation 2", "cleaned: index"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the dump lacks %q:\n%s", want, &text)
		}
	}
	// The index of a compacted segment is a cache as any other.
	for _, name := range d.names {
		if strings.Contains(name, "-") && strings.HasSuffix(name, indexSuffix) {
			must(t, d.mem.Remove(testDir+"/"+name))
		}
	}
	l, err := Open(context.Background(), testDir, testConfig(d.mem))
	must(t, err)
	must(t, l.Close())
	again, err := Verify(context.Background(), d.mem, testDir, VerifyOptions{Records: true})
	must(t, err)
	if len(again.Damage)+len(again.LeftOvers)+len(again.Caches) > 0 || again.Records != report.Records {
		t.Fatalf("%+v, it was %+v", again, report)
	}
}

func (w *world) now() time.Time { return time.UnixMilli(1_700_000_000_000 + w.clock) }

// keyValue is a record for fillKeys; a nil value is a tombstone.
type keyValue struct {
	key   string
	value []byte
}

// appendKeys appends a batch.
func appendKeys(t testing.TB, l *Log, prepare func(*record.Builder), records ...keyValue) {
	t.Helper()
	b, err := record.NewBuilder(record.None, 0)
	must(t, err)
	if prepare != nil {
		prepare(b)
	}
	for _, r := range records {
		key := []byte(r.key)
		if r.key == "" {
			key = nil
		}
		b.Append(1000, key, r.value, nil)
	}
	raw, err := b.Build(nil)
	must(t, err)
	last, _ := l.Last()
	must(t, l.AppendLeader([]Entry{{Index: last + 1, Term: 1, Data: raw}}))
}

// dumpRecords is what is readable: "offset key=value" for each record.
func dumpRecords(t testing.TB, l *Log) []string {
	t.Helper()
	w := &world{t: t, l: l}
	var list []string
	for _, r := range w.readRecords(l.StartOffset()) {
		value := r.value
		if r.tombstone {
			value = "∅"
		}
		list = append(list, fmt.Sprintf("%d %s=%s", r.offset, r.key, value))
	}
	return list
}

func settleAll(t testing.TB, l *Log) {
	t.Helper()
	must(t, l.Roll())
	must(t, l.Settle(l.EndOffset()))
}
