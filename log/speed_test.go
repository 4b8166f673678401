package log

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fanfold/fanfold/internal/invariants"
	"github.com/fanfold/fanfold/internal/vfs"
)

func TestHotPathAllocatesNothing(t *testing.T) {
	if invariants.Enabled {
		t.Skip("checks are on")
	}
	l := openOS(t, t.TempDir(), Config{Syncer: discardSync{}})
	defer l.Abort()
	fill(t, l, 2000, 1000)
	entries := []Entry{{Data: paddedBatch(t, 5000)}, {Data: paddedBatch(t, 5000)}}
	last, _ := l.Last()
	if n := testing.AllocsPerRun(200, func() {
		for i := range entries {
			last++
			entries[i].Index, entries[i].Term = last, 1
		}
		if err := errors.Join(l.AppendLeader(entries), l.Sync(), l.WriteMark()); err != nil {
			t.Error(err)
		}
	}); n > 0 {
		t.Errorf("append and sync allocate %v times", n)
	}
	end := l.EndOffset()
	offset := int64(0)
	if n := testing.AllocsPerRun(500, func() {
		offset = (offset + 77) % (end - 1)
		r, err := l.Read(offset, end-1, 20_000, true)
		if err != nil || r.Len() == 0 {
			t.Errorf("read at %d: %d bytes, %v", offset, r.Len(), err)
		}
		r.Release()
	}); n > 0 {
		t.Errorf("read allocates %v times", n)
	}
}

// TestCleanStopIsReadInNoTime opens a log after a clean stop and counts the
// bytes that it reads.
func TestOpenAfterACleanStopReadsLittle(t *testing.T) {
	var read int64
	counting := func(op vfs.Op) error {
		if op.Kind == vfs.OpRead {
			read += int64(op.Len)
		}
		return nil
	}
	mem := vfs.NewMem(vfs.MemOptions{})
	cfg := Config{FS: vfs.NewErrors(mem, counting), Limits: Limits{SegmentBytes: 1 << 20}}
	l := openOS(t, testDir, cfg)
	fill(t, l, 5000, 1000)
	must(t, l.Close())
	read = 0
	syncs := func() int64 { return cfg.FS.(*vfs.Errors).Count(vfs.OpSync) }
	before := syncs()
	l = openOS(t, testDir, cfg)
	if read > 32<<10 || syncs() != before {
		t.Errorf("read %d bytes and synced %d times for a log of %d", read, syncs()-before, l.Size())
	}
	if last, _ := l.Last(); last != 5000 {
		t.Errorf("last is %d", last)
	}
	must(t, l.WriteMark())
	must(t, l.Close())
	// And after a crash no more than what lies behind the mark.
	l = openOS(t, testDir, cfg)
	fill(t, l, 500, 1000)
	must(t, l.Sync())
	must(t, l.WriteMark())
	fill(t, l, 100, 1000)
	must(t, l.Sync())
	must(t, l.Abort())
	read = 0
	l = openOS(t, testDir, cfg)
	// What is behind the mark is read twice: it is checked, then written once
	// more. Before it, one header is read for each index entry not in the file.
	if last, _ := l.Last(); last != 5600 || read > 2*100*1000+indexFlushBytes/indexEntryBytes*headerWindow+64<<10 {
		t.Errorf("last is %d, read %d bytes", last, read)
	}
	must(t, l.Close())
}

// TestReadersRace lets readers of all kinds run beside a writer that appends,
// rolls, drops and truncates what is not committed.
func TestReadersRace(t *testing.T) {
	l := openOS(t, t.TempDir(), Config{Syncer: discardSync{}, Limits: Limits{SegmentBytes: 8000, IndexIntervalBytes: 300}, journalSlack: 300})
	defer l.Abort()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	reader := func(f func(rng *rand.Rand, start, end int64) error) {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(1, 2))
			for ctx.Err() == nil {
				end := l.EndOffset() - 40 // what the writer truncates is above
				start := l.StartOffset()
				if end <= start {
					continue
				}
				if err := f(rng, start, end); err != nil && !errors.Is(err, ErrOffsetOutOfRange) && err != ErrNotFound && ctx.Err() == nil {
					t.Error(err)
					return
				}
			}
		})
	}
	reader(func(rng *rand.Rand, start, end int64) error {
		r, err := l.Read(start+rng.Int64N(end-start), end, 3000, true)
		if err == nil {
			readRange(t, r)
		}
		return err
	})
	reader(func(rng *rand.Rand, start, end int64) error {
		first := l.First()
		last, _ := l.Last()
		e, err := l.Entry(first + rng.Uint64N(max(last, first+51)-first-50))
		if err == nil && e.Kind == KindBatch {
			_, err = l.ReadBatch(e, nil)
		}
		return err
	})
	reader(func(rng *rand.Rand, start, end int64) error {
		_, _, err := l.OffsetForTimestamp(ctx, rng.Int64N(2000), start, end)
		return err
	})
	reader(func(*rand.Rand, int64, int64) error { return l.Scrub(ctx, nil) })
	reader(func(*rand.Rand, int64, int64) error { return errors.Join(l.Sync(), l.WriteMark()) })
	for i := range 1500 {
		last, _ := l.Last()
		switch {
		case i%50 == 49:
			must(t, l.Truncate(max(l.First(), last-10)))
		case i%30 == 29:
			_, err := l.DropBefore(l.EndOffset() - 300)
			must(t, err)
		case i%10 == 9:
			must(t, l.AppendLeader([]Entry{{Index: last + 1, Term: uint64(i), Kind: 3}}))
		default:
			_, term := l.Last()
			must(t, l.AppendLeader([]Entry{{Index: last + 1, Term: max(term, 1), Data: testBatch(t, 2, int64(i), "v")}}))
		}
	}
	cancel()
	wg.Wait()
}

// TestDroppedFilesGoAfterTheDelay holds a range of a dropped segment, which
// stays readable, and sees its file go in time.
func TestDroppedFilesGoAfterTheDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem(vfs.MemOptions{})
		cfg := testConfig(mem)
		cfg.Limits.FileDeleteDelay = time.Minute
		l := openOS(t, testDir, cfg)
		fill(t, l, 20, 500)
		r, err := l.Read(0, 3, 2000, true)
		must(t, err)
		bytes, err := l.DropBefore(l.EndOffset())
		must(t, err)
		if bytes == 0 || l.StartOffset() == 0 {
			t.Fatalf("dropped %d bytes, start is %d", bytes, l.StartOffset())
		}
		name := filepath.Join(testDir, segmentName(0, logSuffix)+deletedSuffix)
		if _, err := mem.Stat(name); err != nil {
			t.Fatal(err)
		}
		<-time.After(2 * time.Minute)
		synctest.Wait()
		if _, err := mem.Stat(name); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("the file is still there: %v", err)
		}
		if got := readRange(t, r); len(got) != r.Len() {
			t.Fatalf("read %d bytes of %d", len(got), r.Len())
		}
		fill(t, l, 20, 500)
		_, err = l.DropBefore(l.EndOffset())
		must(t, err)
		must(t, l.Close()) // stops the timer
		l = openOS(t, testDir, cfg)
		names, err := mem.List(testDir)
		must(t, err)
		for _, n := range names {
			if filepath.Ext(n) == deletedSuffix {
				t.Errorf("%s is left over", n)
			}
		}
		must(t, l.Close())
	})
}

// TestRoll rolls by size, by time and by hand.
func TestRoll(t *testing.T) {
	now := time.UnixMilli(1_000_000)
	cfg := testConfig(vfs.NewMem(vfs.MemOptions{}))
	cfg.Now = func() time.Time { return now }
	cfg.Limits = Limits{SegmentMillis: 1000}
	l := openOS(t, testDir, cfg)
	add := func(ts int64) {
		last, _ := l.Last()
		must(t, l.AppendLeader([]Entry{{Index: last + 1, Term: 1, Data: testBatch(t, 1, ts, "v")}}))
	}
	expect := func(want int) {
		t.Helper()
		if got := len(l.Segments()); got != want {
			t.Fatalf("%d segments, expected %d", got, want)
		}
	}
	must(t, l.Roll())
	expect(1) // nothing to roll
	add(5000)
	add(6000)
	expect(1)
	add(6001) // later than the first record by more than segment.ms
	expect(2)
	must(t, l.Roll())
	must(t, l.Roll())
	expect(3)
	if n := l.Rolls(); n != 2 {
		t.Fatalf("%d rolls", n)
	}
	_, err := l.DropBefore(l.EndOffset())
	must(t, err)
	expect(1)
	last, term := l.Last()
	if l.First() != 4 || last != 3 || term != 1 || l.StartOffset() != 3 || l.EndOffset() != 3 {
		t.Fatalf("an emptied log: first %d, last %d of term %d, %d to %d", l.First(), last, term, l.StartOffset(), l.EndOffset())
	}
	must(t, l.Close())
	l = openOS(t, testDir, cfg)
	if last, term := l.Last(); last != 3 || term != 1 || l.EndOffset() != 3 {
		t.Fatalf("an emptied log after a restart: last %d of term %d", last, term)
	}
	add(1)
	must(t, l.Close())
}

// TestStartElsewhere creates a log that begins behind a snapshot.
func TestStartElsewhere(t *testing.T) {
	cfg := testConfig(vfs.NewMem(vfs.MemOptions{}))
	cfg.First = Start{Index: 100, TermBefore: 7, Offset: 5000}
	l := openOS(t, testDir, cfg)
	if last, term := l.Last(); l.First() != 100 || last != 99 || term != 7 || l.StartOffset() != 5000 || l.EndOffset() != 5000 {
		t.Fatalf("first %d, last %d of term %d, offset %d", l.First(), last, term, l.StartOffset())
	}
	must(t, l.AppendLeader([]Entry{{Index: 100, Term: 7, Data: testBatch(t, 2, 0, "v")}}))
	must(t, l.Abort())
	cfg.First = Start{}
	l = openOS(t, testDir, cfg)
	if last, _ := l.Last(); last != 100 || l.EndOffset() != 5002 {
		t.Fatalf("last %d, end %d", last, l.EndOffset())
	}
	must(t, l.Close())
}

// TestAppendRefuses what does not continue the log, and writes nothing of it.
func TestAppendRefuses(t *testing.T) {
	l := openTest(t, vfs.NewMem(vfs.MemOptions{}))
	defer l.Abort()
	must(t, l.AppendLeader([]Entry{{Index: 1, Term: 3, Data: testBatch(t, 2, 0, "v")}}))
	good := Entry{Index: 2, Term: 3, Kind: 1}
	batch := func(change func(b []byte) []byte) []byte { return change(testBatch(t, 1, 0, "v")) }
	leader, follower := l.AppendLeader, l.AppendFollower
	for name, c := range map[string]struct {
		append func([]Entry) error
		entry  Entry
	}{
		"index":           {leader, Entry{Index: 4, Term: 3, Kind: 1}},
		"term falls":      {leader, Entry{Index: 3, Term: 2, Kind: 1}},
		"kind":            {leader, Entry{Index: 3, Term: 3, Kind: 128}},
		"term too large":  {leader, Entry{Index: 3, Term: 1 << 31, Data: batch(func(b []byte) []byte { return b })}},
		"two batches":     {leader, Entry{Index: 3, Term: 3, Data: batch(func(b []byte) []byte { return append(b, b...) })}},
		"half a batch":    {leader, Entry{Index: 3, Term: 3, Data: batch(func(b []byte) []byte { return b[:70] })}},
		"nothing":         {leader, Entry{Index: 3, Term: 3}},
		"follower offset": {follower, Entry{Index: 3, Term: 3, Data: batch(func(b []byte) []byte { return b })}},
		"follower CRC":    {follower, Entry{Index: 3, Term: 3, Data: batch(func(b []byte) []byte { b[65]++; return b })}},
	} {
		if err := c.append([]Entry{good, c.entry}); err == nil {
			t.Errorf("%s: taken", name)
		}
		if last, _ := l.Last(); last != 1 || l.Failed() != nil {
			t.Fatalf("%s: last is %d, failed %v", name, last, l.Failed())
		}
	}
}
