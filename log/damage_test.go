package log

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fanfold/fanfold/internal/vfs"
)

// damaged is a small log with every kind of file, and what is in it.
type damaged struct {
	mem     *vfs.Mem
	names   []string
	entries []modelEntry
	all     []byte // of all batches
	durable uint64 // by the mark
}

// smallLog builds the log; without a clean stop the mark lags behind.
func smallLog(t *testing.T, clean bool) *damaged {
	w := newWorld(t, 7)
	w.cfg.Limits = Limits{SegmentBytes: 700, IndexIntervalBytes: 100}
	w.cfg.indexFlush = 32
	w.cfg.journalSlack = 1 << 20
	w.open()
	for w.m.last() < 12 {
		w.append()
	}
	must(t, w.l.Truncate(w.m.last()-1))
	w.m.entries = w.m.entries[:w.m.last()-2]
	for w.m.last() < 20 {
		w.append()
	}
	must(t, w.l.Sync())
	must(t, w.l.WriteMark())
	d := &damaged{mem: w.mem, durable: w.m.last()}
	for w.m.last() < 25 {
		w.append()
	}
	if clean {
		must(t, w.l.Close())
		d.durable = w.m.last()
	} else {
		must(t, w.l.Sync())
		must(t, w.l.Abort())
	}
	d.entries = w.m.entries
	for i := range d.entries {
		if d.entries[i].Kind == KindBatch {
			d.all = append(d.all, d.entries[i].Data...)
		}
	}
	var err error
	d.names, err = w.mem.List(testDir)
	must(t, err)
	return d
}

// with changes one file of a copy.
func (d *damaged) with(t *testing.T, name string, change func(f vfs.File, size int64)) *vfs.Mem {
	mem := d.mem.CrashClone(vfs.KeepAll, nil)
	f, err := mem.OpenReadWrite(filepath.Join(testDir, name))
	must(t, err)
	size, err := f.Size()
	must(t, err)
	change(f, size)
	must(t, f.Close())
	return mem
}

func (d *damaged) size(t *testing.T, name string) int64 {
	info, err := d.mem.Stat(filepath.Join(testDir, name))
	must(t, err)
	return info.Size()
}

func flip(t *testing.T, pos int64, bit int) func(vfs.File, int64) {
	return func(f vfs.File, _ int64) {
		var b [1]byte
		_, err := f.ReadAt(b[:], pos)
		if err != nil && err != io.EOF {
			t.Fatal(err)
		}
		b[0] ^= 1 << bit
		_, err = f.WriteAt(b[:], pos)
		must(t, err)
	}
}

// names says whether one of the problems is in the file, not behind pos.
func names(problems []*CorruptionError, name string, pos int64) bool {
	for _, p := range problems {
		if filepath.Base(p.File) == name && p.Pos <= pos {
			return true
		}
	}
	return false
}

// check looks at a log with damage in one file, in every way there is to look.
func (d *damaged) check(t *testing.T, mem *vfs.Mem, name string, pos int64, mustName bool) {
	t.Helper()
	report, err := Verify(context.Background(), mem, testDir, VerifyOptions{Records: true})
	must(t, err)
	data := strings.HasSuffix(name, logSuffix) || name == journalName
	if mustName {
		problems := report.Damage
		switch {
		case name == markName:
			problems = report.LeftOvers
		case strings.HasSuffix(name, indexSuffix):
			problems = report.Caches
		}
		if !names(problems, name, pos) {
			t.Fatalf("%s at %d: not named by Verify: damage %v, left-overs %v, caches %v", name, pos, report.Damage, report.LeftOvers, report.Caches)
		}
		if !data && !report.OK() {
			t.Fatalf("%s at %d: called damage: %v", name, pos, report.Damage)
		}
	}
	cfg := testConfig(mem)
	l, err := Open(context.Background(), testDir, cfg)
	var damage *CorruptionError
	if err != nil {
		if !errors.As(err, &damage) || !data {
			t.Fatalf("%s at %d: open: %v", name, pos, err)
		}
		if report.OK() {
			t.Fatalf("%s at %d: Verify finds nothing, but %v", name, pos, err)
		}
		return
	}
	defer l.Abort()
	last, _ := l.Last()
	if last < d.durable {
		t.Fatalf("%s at %d: entries above %d were cut, %d were durable", name, pos, last, d.durable)
	}
	wrong := d.readAll(t, l, last)
	scrub := l.Scrub(context.Background(), nil)
	switch {
	case mustName && data && !(errors.As(scrub, &damage) && filepath.Base(damage.File) == name && damage.Pos <= pos):
		t.Fatalf("%s at %d: neither Open nor Scrub name it: %v", name, pos, scrub)
	case !data && (wrong != nil || scrub != nil || last != uint64(len(d.entries))):
		t.Fatalf("%s at %d: %d entries, %v, %v", name, pos, last, wrong, scrub)
	case !mustName && (wrong != nil || scrub != nil):
		t.Fatalf("%s at %d: after the cut: %v, %v", name, pos, wrong, scrub)
	}
}

// readAll reads all entries and all offsets, and returns the first error; what
// is read without one must be right, but for bytes that readers' CRCs check.
func (d *damaged) readAll(t *testing.T, l *Log, last uint64) error {
	var first error
	note := func(err error) bool {
		if first == nil {
			first = err
		}
		return err == nil
	}
	for i := uint64(1); i <= last; i++ {
		want := &d.entries[i-1]
		got, err := l.Entry(i)
		if !note(err) {
			continue
		}
		data := got.Data
		if got.Kind == KindBatch {
			if data, err = l.ReadBatch(got, nil); !note(err) {
				continue
			}
		}
		if !bytes.Equal(data, want.Data) || got.Term != want.Term {
			t.Fatalf("entry %d is not what was written", i)
		}
	}
	for offset := int64(0); offset < l.EndOffset(); offset++ {
		r, err := l.Read(offset, l.EndOffset(), 300, true)
		if note(err) {
			readRange(t, r)
		}
		_, _, err = l.OffsetForTimestamp(context.Background(), offset*10, 0, l.EndOffset())
		note(err)
	}
	return first
}

// TestFlippedBits flips bits of every file of a cleanly stopped log, one of
// each byte, or all where FANFOLD_LOG_FLIPS is "all".
func TestFlippedBits(t *testing.T) {
	d := smallLog(t, true)
	all := os.Getenv("FANFOLD_LOG_FLIPS") == "all"
	for _, name := range d.names {
		for pos := range d.size(t, name) {
			if name == markName && pos%markSlotBytes >= markBytes {
				continue // between the slots
			}
			for bit := range 8 {
				if all || int(pos)%8 == bit {
					d.check(t, d.with(t, name, flip(t, pos, bit)), name, pos, true)
				}
			}
		}
	}
}

// TestTruncatedFiles cuts every file of a cleanly stopped log at every length.
func TestTruncatedFiles(t *testing.T) {
	d := smallLog(t, true)
	for _, name := range d.names {
		for size := range d.size(t, name) {
			mem := d.with(t, name, func(f vfs.File, _ int64) { must(t, f.Truncate(size)) })
			data := strings.HasSuffix(name, logSuffix) || name == journalName
			d.check(t, mem, name, size, data)
		}
	}
}

// TestMissingFiles removes each file of a cleanly stopped log.
func TestMissingFiles(t *testing.T) {
	d := smallLog(t, true)
	for _, name := range d.names {
		mem := d.mem.CrashClone(vfs.KeepAll, nil)
		must(t, mem.Remove(filepath.Join(testDir, name)))
		d.check(t, mem, name, -1, true)
	}
}

// TestTornTail damages the last segment of a log that was not stopped behind
// the mark: what is before survives, the rest is cut.
func TestTornTail(t *testing.T) {
	d := smallLog(t, false)
	name := ""
	for _, n := range d.names {
		if strings.HasSuffix(n, logSuffix) {
			name = n
		}
	}
	size := d.size(t, name)
	cuts := 0
	for pos := range size {
		for _, mem := range []*vfs.Mem{
			d.with(t, name, flip(t, pos, int(pos)%8)),
			d.with(t, name, func(f vfs.File, _ int64) { must(t, f.Truncate(pos)) }),
		} {
			report, err := Verify(context.Background(), mem, testDir, VerifyOptions{})
			must(t, err)
			d.check(t, mem, name, pos, !report.OK())
			if report.OK() {
				cuts++
			}
		}
	}
	if cuts < 20 {
		t.Fatalf("only %d of %d were cut", cuts, size)
	}
}

// TestVerifyOfASoundLog expects no problems after a clean stop, and none but
// left-overs after a crash.
func TestVerifyOfASoundLog(t *testing.T) {
	d := smallLog(t, true)
	var lines []string
	report, err := Dump(context.Background(), d.mem, testDir, DumpOptions{Records: true, Index: true}, func(it Item) error {
		lines = append(lines, it.String())
		return nil
	})
	must(t, err)
	if len(report.Damage)+len(report.LeftOvers)+len(report.Caches) > 0 || !report.CleanStop || report.Last != uint64(len(d.entries)) {
		t.Fatalf("%+v", report)
	}
	if report.Batches+report.Entries < int64(report.Last) || report.Segments < 2 {
		t.Fatalf("%+v", report)
	}
	text := strings.Join(lines, "\n")
	for _, want := range []string{"mark: durable to offset", "clean stop", "roll: index", "truncate-done", "batch: offsets 0 to", "record: offset 0", "index: offset", "segment: offset 0"} {
		if !strings.Contains(text, want) {
			t.Errorf("the dump lacks %q:\n%s", want, text)
		}
	}
	stop := errors.New("enough")
	if _, err := Dump(context.Background(), d.mem, testDir, DumpOptions{}, func(Item) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("emit's error is lost: %v", err)
	}
}
