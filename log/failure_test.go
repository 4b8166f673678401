package log

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"

	"github.com/fanfold/fanfold/internal/vfs"
)

// TestEveryCallFails lets each call on the file system that a scripted run
// makes fail once, in each way that it can: nothing is reported durable that is
// not, what was durable stays readable, and opening the log again makes all
// good.
func TestEveryCallFails(t *testing.T) {
	ways := []error{syscall.EIO, syscall.ENOSPC, &vfs.ShortWrite{N: 37, Err: syscall.ENOSPC}}
	for seed := range uint64(4) {
		for i, way := range ways {
			for call := 1; ; call++ {
				w := newWorld(t, seed)
				w.failIn, w.failWith = call, way
				if !w.runFailing(50) {
					if call < 100 {
						t.Fatalf("only %d calls were made", call)
					}
					break
				}
				if i > 0 { // the same calls, not each of them
					call += int(seed) + 1
				}
			}
		}
	}
}

// runFailing runs a script of so many steps with an armed failure; it reports
// whether the failure came up.
func (w *world) runFailing(steps int) bool {
	w.tryOpen()
	for range steps {
		if w.failed {
			break
		}
		if w.keyed != nil {
			w.stepKeyed()
		} else {
			w.step()
		}
	}
	if !w.failed {
		w.check("close", w.l.Close())
		return false
	}
	w.checkFailed()
	_ = w.l.Abort()
	w.failed = false
	w.open()
	// What recovery calls durable is, even if an earlier sync failed.
	w.say("power loss")
	_ = w.l.Abort()
	w.mem = w.mem.Crash(vfs.DropAll, nil)
	w.open()
	for range 5 {
		w.step()
	}
	w.check("close", w.l.Close())
	return true
}

// tryOpen opens the log, again if the first time fails.
func (w *world) tryOpen() {
	w.cfg.FS = vfs.NewErrors(w.mem, w.inject)
	w.isOpening = true
	l, err := Open(context.Background(), testDir, w.cfg)
	w.isOpening = false
	if !w.check("open", err) {
		if !errors.Is(err, w.failWith) && !errors.Is(err, errors.Unwrap(w.failWith)) {
			w.fatal("open failed with %v", err)
		}
		if l, err = Open(context.Background(), testDir, w.cfg); err != nil {
			w.fatal("open after %v: %v", w.failWith, err)
		}
	}
	w.l = l
}

// mustHaveFailed checks that a write or sync that failed ended the log. What
// fails while it is opened is returned by Open.
func (w *world) mustHaveFailed() {
	if w.harmless {
		return
	}
	if kind := w.failedOp.Kind; w.l.Failed() == nil && !w.opening && (kind == vfs.OpWrite || kind == vfs.OpSync || kind == vfs.OpSyncDir) {
		w.fatal("a failed %v of %s goes unnoticed", kind, w.failedOp.Path)
	}
}

// checkFailed checks what a failed log still does.
func (w *world) checkFailed() {
	w.mustHaveFailed()
	err := w.l.Failed()
	if err == nil {
		return // a read failed, or what matters to nobody, or Open
	}
	var failed *FailedError
	if !errors.As(err, &failed) || !errors.Is(err, w.failWith) {
		w.fatal("failed with %v", err)
	}
	durable, offset := w.l.Durable()
	last, term := w.l.Last()
	if last > durable {
		if err := w.l.Sync(); !errors.As(err, &failed) {
			w.fatal("sync of a failed log: %v", err)
		}
	}
	if err := w.l.AppendLeader([]Entry{{Index: last + 1, Term: term, Kind: 1}}); !errors.As(err, &failed) {
		w.fatal("append to a failed log: %v", err)
	}
	for i := w.l.First(); i <= durable; i++ {
		w.compareEntry(i)
	}
	if start := w.l.StartOffset(); w.keyed != nil {
		w.readRecords(start)
	} else if start < offset {
		readAll(w.t, w.l, start, offset)
	}
}

// TestFullDisk fills a disk, sees the log fail and the reads go on, and opens
// it again with room.
func TestFullDisk(t *testing.T) {
	disk := vfs.NewDiskBudget(40 << 10)
	fsys := vfs.NewErrors(vfs.NewMem(vfs.MemOptions{}), disk.Inject)
	l := openTest(t, fsys)
	var err error
	var n uint64
	for err == nil {
		n++
		if err = l.AppendLeader([]Entry{{Index: n, Term: 1, Data: testBatch(t, 5, 0, "value")}}); err == nil {
			err = l.Sync()
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("failed with %v", err)
	}
	durable, end := l.Durable()
	if got := readAll(t, l, 0, end); len(got) == 0 || durable < n-1 {
		t.Fatalf("%d bytes, %d durable", len(got), durable)
	}
	must(t, l.Abort())
	disk.Add(40 << 10)
	l = openTest(t, fsys)
	if last, _ := l.Last(); last < durable {
		t.Fatalf("last is %d, durable was %d", last, durable)
	}
	last, _ := l.Last()
	must(t, l.AppendLeader([]Entry{{Index: last + 1, Term: 1, Data: testBatch(t, 5, 0, "value")}}))
	must(t, l.Close())
}

// TestHangingSyncBlocksNoReader shows that a hanging sync blocks neither readers nor
// appends of batches.
func TestHangingSyncBlocksNoReader(t *testing.T) {
	gate := vfs.NewGate(func(op vfs.Op) bool { return op.Kind == vfs.OpSync })
	gate.Open()
	l := openTest(t, vfs.NewErrors(vfs.NewMem(vfs.MemOptions{}), gate.Inject))
	add := func(n uint64) {
		must(t, l.AppendLeader([]Entry{{Index: n, Term: 1, Data: testBatch(t, 1, 0, "v")}}))
	}
	add(1)
	gate.Shut()
	done := make(chan error)
	go func() { done <- l.Sync() }()
	must(t, gate.WaitHeld(t.Context(), 1))
	add(2)
	if got := readAll(t, l, 0, 2); len(got) == 0 {
		t.Fatal("nothing is read")
	}
	if index, _ := l.Durable(); index != 0 {
		t.Fatalf("entry %d is durable", index)
	}
	gate.Open()
	must(t, <-done)
	if index, _ := l.Durable(); index != 1 {
		t.Fatalf("entry %d is durable, 1 was synced", index)
	}
	must(t, l.Close())
}

// TestErrorsNameTheirCause holds the texts of errors to what is documented.
func TestErrorsNameTheirCause(t *testing.T) {
	err := error(&CorruptionError{File: "/d/1.log", Pos: 61, Offset: 7, Cause: errors.New("wrong CRC")})
	if got := err.Error(); got != "corrupt /d/1.log at byte 61 (offset 7): wrong CRC" {
		t.Errorf("got %q", got)
	}
	err = &CorruptionError{File: "/d/journal", Pos: -1, Offset: -1, Cause: fs.ErrNotExist}
	if !errors.Is(err, fs.ErrNotExist) || err.Error() != "corrupt /d/journal: file does not exist" {
		t.Errorf("got %q", err)
	}
	err = fmt.Errorf("append: %w", &FailedError{Cause: syscall.ENOSPC})
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %q", err)
	}
}
