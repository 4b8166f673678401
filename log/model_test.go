package log

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/fanfold/fanfold/internal/vfs"
	"github.com/fanfold/fanfold/protocol/record"
)

// modelEntry is an entry as the model knows it.
type modelEntry struct {
	Entry
	offset, next int64 // where it stands, and the log's end behind it
	times        []int64
}

// model is the naive log: a slice. entries[i] has index i+1.
type model struct {
	entries []modelEntry
	durable uint64 // entries up to here were reported durable
	first   uint64
	start   int64
}

func (m *model) last() uint64 { return uint64(len(m.entries)) }

func (m *model) end() int64 {
	if len(m.entries) == 0 {
		return 0
	}
	return m.entries[len(m.entries)-1].next
}

func (m *model) term() uint64 {
	if len(m.entries) == 0 {
		return 0
	}
	return m.entries[len(m.entries)-1].Term
}

// world drives a log and its model through crashes.
type world struct {
	t    testing.TB
	rng  *rand.Rand
	mem  *vfs.Mem
	l    *Log
	m    model
	cfg  Config
	n    int // values made so far
	text strings.Builder

	// An armed crash happens before the crashIn-th call on the file system.
	crashIn int
	after   *vfs.Mem
	dead    bool

	// An armed failure lets one call fail with failWith.
	failIn    int
	failWith  error
	failed    bool
	failedOp  vfs.Op
	opening   bool // it failed while the log was opened
	isOpening bool

	// What the operation that a crash may interrupt wants to do.
	truncating uint64
	dropping   bool

	keyed *keyedModel // of a compacted log; nil otherwise
	clock int64       // milliseconds

	// harmless says that it was a compaction that failed, and only that.
	harmless bool
}

var errCrash = errors.New("power is gone")

func newWorld(t testing.TB, seed uint64) *world {
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 42))}
	sector := 512
	if w.rng.IntN(2) == 0 {
		sector = 64
	}
	w.mem = vfs.NewMem(vfs.MemOptions{SectorBytes: sector, Seed: seed, Now: w.now})
	w.m.first = 1
	w.cfg = Config{Now: w.now, Limits: w.limits(), journalSlack: 150, indexFlush: 32 << w.rng.IntN(4)}
	if testing.Verbose() {
		w.cfg.Logger = slog.New(slog.NewTextHandler(&w.text, nil))
	}
	return w
}

func (w *world) limits() Limits {
	return Limits{
		SegmentBytes: 150 + w.rng.Int64N(1200), IndexIntervalBytes: 1 + w.rng.Int32N(300),
		SegmentMillis: []int64{0, 5, 1000}[w.rng.IntN(3)], SegmentJitterMillis: 3,
	}
}

// inject is the hook of the file system.
func (w *world) inject(op vfs.Op) error {
	if w.dead {
		return errCrash
	}
	if w.failIn > 0 {
		if w.failIn--; w.failIn == 0 {
			w.failed, w.failedOp, w.opening = true, op, w.isOpening
			w.say("%v of %s fails with %v", op.Kind, op.Path, w.failWith)
			return w.failWith
		}
	}
	if w.crashIn > 0 {
		if w.crashIn--; w.crashIn == 0 {
			mode := []vfs.CrashMode{vfs.DropAll, vfs.KeepAll, vfs.Random, vfs.Random}[w.rng.IntN(4)]
			w.after, w.dead = w.mem.CrashClone(mode, w.rng), true
			w.say("crash %v", mode)
			return errCrash
		}
	}
	return nil
}

func (w *world) say(format string, args ...any) {
	fmt.Fprintf(&w.text, format+"\n", args...)
}

func (w *world) fatal(format string, args ...any) {
	w.t.Helper()
	text := w.text.String()
	if len(text) > 6000 {
		text = "…" + text[len(text)-6000:]
	}
	w.t.Fatalf("%s\n%s", fmt.Sprintf(format, args...), text)
}

// check ends the test on an error that no crash explains.
func (w *world) check(what string, err error) bool {
	w.t.Helper()
	if err != nil && !w.dead && !w.failed {
		w.fatal("%s: %v", what, err)
	}
	return err == nil
}

func (w *world) arm() {
	if w.rng.IntN(3) > 0 {
		w.crashIn = 1 + w.rng.IntN(14)
		if w.rng.IntN(3) == 0 {
			w.crashIn = 1 + w.rng.IntN(40)
		}
	}
}

// open opens the log, through crashes in recovery, and compares.
func (w *world) open() {
	for {
		w.cfg.FS = vfs.NewErrors(w.mem, w.inject)
		w.isOpening = true
		l, err := Open(context.Background(), testDir, w.cfg)
		w.isOpening = false
		if w.check("open", err) && !w.dead {
			w.l = l
			w.crashIn = 0
			break
		}
		if err == nil {
			_ = l.Abort()
		}
		if w.dead {
			w.restart()
		}
	}
	w.adopt()
	w.compare()
}

// restart takes what the crash left.
func (w *world) restart() {
	w.mem, w.after, w.dead, w.crashIn = w.after, nil, false, 0
	if w.rng.IntN(4) == 0 {
		w.verify()
	}
	if w.rng.IntN(4) == 0 || w.truncating > 0 && w.rng.IntN(2) == 0 {
		w.crashIn = 1 + w.rng.IntN(25) // in recovery too
	}
}

// verify expects that a crash damages nothing.
func (w *world) verify() {
	if _, err := w.mem.Stat(testDir + "/" + journalName); err != nil {
		return // there is no log yet
	}
	r, err := Verify(context.Background(), w.mem, testDir, VerifyOptions{Records: true})
	if err != nil || !r.OK() {
		w.fatal("verify after a crash: %+v, %v", r, err)
	}
}

// adopt checks what survived, and makes it the model's.
func (w *world) adopt() {
	last, _ := w.l.Last()
	switch {
	case last > w.m.last():
		w.fatal("entry %d was never appended, the last was %d", last, w.m.last())
	case last < w.m.durable && (w.truncating == 0 || last != w.truncating-1):
		w.fatal("entries up to %d were durable, %d survived (truncating from %d)", w.m.durable, last, w.truncating)
	}
	first, start := w.l.First(), w.l.StartOffset()
	if !w.dropping && (first != w.m.first || start != w.m.start) || first < w.m.first {
		w.fatal("first is entry %d at offset %d, expected %d at %d", first, start, w.m.first, w.m.start)
	}
	w.m.entries = w.m.entries[:last]
	w.m.first, w.m.start = first, start
	w.m.durable = last
	w.truncating, w.dropping = 0, false
	if index, offset := w.l.Durable(); index != last || offset != w.l.EndOffset() {
		w.fatal("after recovery entry %d at %d is durable, the log ends with %d at %d", index, offset, last, w.l.EndOffset())
	}
}

// compare holds everything readable against the model.
func (w *world) compare() {
	w.t.Helper()
	defer func(crash, fail int) { w.crashIn, w.failIn = crash, fail }(w.crashIn, w.failIn)
	w.crashIn, w.failIn = 0, 0 // what only reads neither crashes nor fails
	last, term := w.l.Last()
	if last != w.m.last() || w.l.EndOffset() != max(w.m.end(), w.m.start) {
		w.fatal("last entry %d, end %d; expected %d, %d", last, w.l.EndOffset(), w.m.last(), w.m.end())
	}
	if last > 0 && term != w.m.term() {
		w.fatal("last term %d, expected %d", term, w.m.term())
	}
	from := w.m.first
	if from <= last && w.rng.IntN(3) > 0 {
		from += w.rng.Uint64N(last - from + 1)
	}
	for i := from; i <= last; i++ {
		w.compareEntry(i)
	}
	if _, err := w.l.Entry(last + 1); err != ErrNotFound {
		w.fatal("entry beyond the end: %v", err)
	}
	if _, err := w.l.Entry(w.m.first - 1); err != ErrNotFound {
		w.fatal("entry before the start: %v", err)
	}
	if w.keyed != nil {
		w.compareKeyed()
		return
	}
	for range 3 {
		w.compareRead()
	}
	w.compareTimes()
}

func (w *world) compareEntry(i uint64) {
	w.t.Helper()
	want := &w.m.entries[i-1]
	got, err := w.l.Entry(i)
	if err != nil {
		w.fatal("entry %d: %v", i, err)
	}
	if got.Index != i || got.Term != want.Term || got.Kind != want.Kind || got.OffsetAt != want.offset || got.NextOffset() != want.next {
		w.fatal("entry %d is %+v, expected term %d kind %d at %d", i, got, want.Term, want.Kind, want.offset)
	}
	data := got.Data
	if got.Kind == KindBatch {
		if data, err = w.l.ReadBatch(got, nil); err != nil {
			w.fatal("batch of entry %d: %v", i, err)
		}
	}
	if !bytes.Equal(data, want.Data) {
		w.fatal("entry %d has other bytes", i)
	}
}

// compareRead reads from a random offset below a random boundary.
func (w *world) compareRead() {
	w.t.Helper()
	start, end := w.l.StartOffset(), w.l.EndOffset()
	if start == end {
		return
	}
	offset := start + w.rng.Int64N(end-start)
	limit := end
	var want []byte
	live := w.m.entries[w.m.first-1:]
	if len(live) > 0 && w.rng.IntN(2) == 0 {
		limit = live[w.rng.IntN(len(live))].next
	}
	maxBytes, minOne := w.rng.IntN(700), w.rng.IntN(2) == 0
	r, err := w.l.Read(offset, limit, maxBytes, minOne)
	if err != nil {
		w.fatal("read %d to %d: %v", offset, limit, err)
	}
	got := readRange(w.t, r)
	fits := true // the next batch would have
	for i := range live {
		e := &live[i]
		if e.Kind != KindBatch || e.next <= offset || e.next > limit {
			continue
		}
		if len(want) == len(got) {
			fits = len(want)+len(e.Data) <= maxBytes || len(want) == 0 && minOne
			break
		}
		want = append(want, e.Data...)
	}
	if !bytes.Equal(got, want) {
		w.fatal("read %d to %d, %d bytes: got %d bytes, which are not whole batches from there", offset, limit, maxBytes, len(got))
	}
	if over := len(got) > maxBytes; over && !minOne {
		w.fatal("read of %d bytes, asked for %d", len(got), maxBytes)
	}
	if len(got) == 0 && fits && limit > offset && len(want) == 0 && maxBytes > 650 {
		w.fatal("read %d to %d returned nothing", offset, limit)
	}
}

func (w *world) compareTimes() {
	w.t.Helper()
	ts := w.rng.Int64N(1100)
	limit, start := w.l.EndOffset(), w.l.StartOffset()
	live := w.m.entries[w.m.first-1:]
	if len(live) > 0 && w.rng.IntN(2) == 0 {
		limit = live[w.rng.IntN(len(live))].next
	}
	if limit > start && w.rng.IntN(3) == 0 {
		start += w.rng.Int64N(limit - start)
	}
	first, largest := TimestampOffset{Offset: -1}, TimestampOffset{Offset: -1, Timestamp: -1}
	for i := range live {
		e := &live[i]
		if e.next > limit {
			break
		}
		for j, t := range e.times {
			at := TimestampOffset{Offset: e.offset + int64(j), Timestamp: t, LeaderEpoch: int32(e.Term)}
			if at.Offset < start {
				continue
			}
			if t >= ts && first.Offset < 0 {
				first = at
			}
			if t > largest.Timestamp {
				largest = at
			}
		}
	}
	got, ok, err := w.l.OffsetForTimestamp(context.Background(), ts, start, limit)
	if err != nil || ok != (first.Offset >= 0) || ok && got != first {
		w.fatal("time %d from %d to %d: got %+v, %v, %v, expected %+v", ts, start, limit, got, ok, err, first)
	}
	got, ok, err = w.l.MaxTimestamp(context.Background(), start, limit)
	if err != nil || ok != (largest.Offset >= 0) || ok && got != largest {
		w.fatal("largest time from %d to %d: got %+v, %v, %v, expected %+v", start, limit, got, ok, err, largest)
	}
}

// step does one random operation.
func (w *world) step() {
	switch p := w.rng.IntN(100); {
	case p < 50:
		w.append()
	case p < 68:
		w.say("sync")
		if w.check("sync", w.l.Sync()) {
			w.m.durable = w.m.last()
		}
	case p < 76:
		w.truncate()
	case p < 82:
		w.drop()
	case p < 85:
		w.say("roll")
		w.check("roll", w.l.Roll())
	case p < 90:
		w.say("mark")
		w.check("mark", w.l.WriteMark())
	case p < 92:
		w.l.SetLimits(w.limits())
	case p < 95:
		w.compare()
		if !w.dead {
			w.check("scrub", w.l.Scrub(context.Background(), nil))
		}
	default:
		w.reopen()
	}
}

func (w *world) reopen() {
	if w.rng.IntN(2) == 0 {
		w.say("close")
		if w.check("close", w.l.Close()) {
			w.m.durable = w.m.last()
		}
	} else {
		w.say("abort")
		w.check("abort", w.l.Abort())
	}
	if w.dead {
		w.restart()
	}
	if w.failed {
		w.mustHaveFailed()
		w.opening = true // from here on there is another log
	}
	w.open()
}

func (w *world) append() {
	leader := w.rng.IntN(2) == 0
	term, offset := max(w.m.term(), 1), w.m.end()
	offset = max(offset, w.m.start)
	var entries []Entry
	old := w.m.last()
	for range 1 + w.rng.IntN(5) {
		if w.rng.IntN(8) == 0 {
			term += 1 + w.rng.Uint64N(2)
		}
		e := modelEntry{Entry: Entry{Index: w.m.last() + 1, Term: term}, offset: offset, next: offset}
		if w.rng.IntN(4) == 0 {
			e.Kind, e.Data = Kind(1+w.rng.IntN(127)), make([]byte, w.rng.IntN(30))
		} else {
			if w.keyed != nil {
				e.Data, e.times = w.keyedBatch(offset)
			} else {
				e.Data, e.times = w.batch()
			}
			e.next += int64(len(e.times))
		}
		data := bytes.Clone(e.Data)
		if e.Kind == KindBatch {
			record.SetBaseOffset(e.Data, offset)
			record.SetLeaderEpoch(e.Data, int32(term))
		}
		if !leader {
			data = bytes.Clone(e.Data)
		}
		w.m.entries = append(w.m.entries, e)
		entries = append(entries, Entry{Index: e.Index, Term: term, Kind: e.Kind, Data: data})
		offset = e.next
	}
	w.say("append %d to %d of term %d to %d (leader %v) at %d to %d", old+1, w.m.last(), entries[0].Term, term, leader, w.m.entries[old].offset, offset)
	if leader {
		w.check("append", w.l.AppendLeader(entries))
	} else {
		w.check("append", w.l.AppendFollower(entries))
	}
}

func (w *world) batch() ([]byte, []int64) {
	b, err := record.NewBuilder(record.None, 0)
	if err != nil {
		w.fatal("%v", err)
	}
	var times []int64
	for range 1 + w.rng.IntN(3) {
		times = append(times, w.rng.Int64N(1000))
		w.n++
		b.Append(times[len(times)-1], nil, fmt.Appendf(nil, "%d %s", w.n, "................................"[:w.rng.IntN(32)]), nil)
	}
	raw, err := b.Build(nil)
	if err != nil {
		w.fatal("%v", err)
	}
	return raw, times
}

func (w *world) truncate() {
	last := w.m.last()
	if last < w.m.first {
		return
	}
	from := last + 1 - min(last-w.m.first+1, 1+w.rng.Uint64N(6))
	if w.rng.IntN(10) == 0 {
		from = w.m.first
	}
	w.say("truncate from %d (last is %d)", from, last)
	w.truncating = from
	if w.check("truncate", w.l.Truncate(from)) {
		w.m.entries = w.m.entries[:from-1]
		w.m.durable = from - 1
		w.truncating = 0
	}
}

func (w *world) drop() {
	start, end := w.m.start, max(w.m.end(), w.m.start)
	offset := start + w.rng.Int64N(end-start+1)
	w.say("drop before %d", offset)
	w.dropping = true
	_, err := w.l.DropBefore(offset)
	if w.check("drop", err) {
		w.m.first, w.m.start = w.l.First(), w.l.StartOffset()
		if w.m.start > offset && w.m.start > start {
			w.fatal("dropped up to %d, asked for %d", w.m.start, offset)
		}
		w.dropping = false
	}
}

// run goes through so many crashes.
func (w *world) run(crashes int) {
	w.open()
	for n := 0; n < crashes; {
		w.arm()
		for range 1 + w.rng.IntN(12) {
			if w.keyed != nil {
				w.stepKeyed()
			} else {
				w.step()
			}
			if w.dead {
				break
			}
		}
		if !w.dead && w.crashIn > 0 {
			w.crashIn = 1
			_ = w.inject(vfs.Op{}) // between two operations
		}
		if w.dead {
			n++
			_ = w.l.Abort()
			w.restart()
			w.open()
			if w.text.Len() > 1<<16 {
				w.text.Reset()
			}
		}
	}
	w.compare()
	w.check("close", w.l.Close())
}

// TestCrashes runs the log against the model through crashes at random calls on
// the file system. FANFOLD_LOG_CRASHES sets how many there are in all (2,000
// otherwise), FANFOLD_LOG_SEED the first seed.
func TestCrashes(t *testing.T) {
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
		ok := t.Run(strconv.FormatUint(seed+i, 10), func(t *testing.T) { newWorld(t, seed+i).run(each) })
		if !ok {
			t.Fatalf("FANFOLD_LOG_SEED=%d", seed+i)
		}
	}
}
