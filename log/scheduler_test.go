package log

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fanfold/fanfold/internal/vfs"
)

// syncRig is a scheduler over files whose syncs can be held and fail.
type syncRig struct {
	fsys  *vfs.Errors
	gate  *vfs.Gate
	s     *SyncScheduler
	files []vfs.File
	fail  atomic.Pointer[string] // path whose sync fails, or "syncfs"
	wg    sync.WaitGroup
	errs  []error
}

func newSyncRig(t *testing.T, files int, cfg SyncConfig) *syncRig {
	r := &syncRig{errs: make([]error, files)}
	isSync := func(op vfs.Op) bool { return op.Kind == vfs.OpSync || op.Kind == vfs.OpSyncFS }
	r.gate = vfs.NewGate(isSync)
	fails := func(op vfs.Op) error {
		if p := r.fail.Load(); isSync(op) && p != nil && (*p == op.Path || *p == "syncfs" && op.Kind == vfs.OpSyncFS) {
			return syscall.EIO
		}
		return nil
	}
	r.fsys = vfs.NewErrors(vfs.NewMem(vfs.MemOptions{}), vfs.FirstOf(r.gate.Inject, fails))
	cfg.FS, cfg.Dir = r.fsys, "/"
	r.s = NewSyncScheduler(cfg)
	for i := range files {
		f, err := r.fsys.Create(fmt.Sprintf("/f%d", i))
		must(t, err)
		r.files = append(r.files, f)
	}
	return r
}

// sync syncs file i in a goroutine of its own.
func (r *syncRig) sync(i int) {
	r.wg.Go(func() {
		if err := r.s.Sync(r.files[i]); err != nil {
			r.errs[i] = err
		}
	})
	synctest.Wait()
}

func (r *syncRig) counts() (files, whole int64) {
	return r.fsys.Count(vfs.OpSync), r.fsys.Count(vfs.OpSyncFS)
}

func TestSyncsOfOneFileAreGathered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSyncRig(t, 1, SyncConfig{})
		for range 10 {
			r.sync(0)
		}
		if files, _ := r.counts(); files != 1 {
			t.Fatalf("%d syncs of one file run", files)
		}
		r.gate.Open()
		r.wg.Wait()
		if files, whole := r.counts(); files != 2 || whole != 0 {
			t.Fatalf("%d syncs, %d of all", files, whole)
		}
		must(t, r.s.Close())
		if err := r.s.Sync(r.files[0]); err != ErrClosed {
			t.Fatalf("sync after Close: %v", err)
		}
	})
}

func TestSyncsInFlightAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSyncRig(t, 20, SyncConfig{InFlight: 3, WholeFrom: -1})
		for i := range 20 {
			r.sync(i)
		}
		if files, _ := r.counts(); files != 6 { // twice, of nothing written
			t.Fatalf("%d syncs run", files)
		}
		bad := "/f13"
		r.fail.Store(&bad)
		closed := make(chan struct{})
		go func() { defer close(closed); _ = r.s.Close() }()
		synctest.Wait()
		select {
		case <-closed:
			t.Fatal("Close does not wait")
		default:
		}
		r.gate.Open()
		r.wg.Wait()
		<-closed
		if files, _ := r.counts(); files != 20 {
			t.Fatalf("%d syncs for 20 files", files)
		}
		for i, err := range r.errs {
			if (err != nil) != (i == 13) {
				t.Errorf("file %d: %v", i, err)
			}
		}
	})
}

func TestManyFilesAreSyncedAtOnce(t *testing.T) {
	for _, fails := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var observed []int
			var mu sync.Mutex
			r := newSyncRig(t, 12, SyncConfig{InFlight: 1, WholeFrom: 10, Observe: func(_ time.Duration, files int) {
				mu.Lock()
				defer mu.Unlock()
				observed = append(observed, files)
			}})
			for i := range 12 {
				r.sync(i)
			}
			if fails {
				whole := "syncfs"
				r.fail.Store(&whole)
			}
			r.gate.Open()
			r.wg.Wait()
			if files, whole := r.counts(); files != 1 || whole != 1 {
				t.Fatalf("%d syncs of files, %d of all", files, whole)
			}
			for i, err := range r.errs {
				if (err != nil) != (fails && i > 0) || err != nil && !errors.Is(err, syscall.EIO) {
					t.Errorf("file %d: %v", i, err)
				}
			}
			if len(observed) != 2 || observed[1] != 11 {
				t.Errorf("observed %v", observed)
			}
			must(t, r.s.Close())
		})
	}
}

// While one sync runs, those who come wait for it, and are served by one; where
// it takes long they go on one by one.
func TestFilesThatWait(t *testing.T) {
	for _, long := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := newSyncRig(t, 5, SyncConfig{})
			for i := range 5 {
				r.sync(i)
			}
			if files, whole := r.counts(); files != 1 || whole != 0 {
				t.Fatalf("%d syncs of files, %d of all", files, whole)
			}
			wantFiles, wantWhole := int64(1), int64(1)
			if long {
				time.Sleep(10 * time.Millisecond) // the alarm's
				synctest.Wait()
				if files, whole := r.counts(); files != 1 || whole != 1 {
					t.Fatalf("after long: %d syncs of files, %d of all", files, whole)
				}
				r.sync(0) // waits for the second
				time.Sleep(10 * time.Millisecond)
				synctest.Wait()
				wantFiles = 1 // the file is busy: no second sync of it
				if files, whole := r.counts(); files != wantFiles || whole != 1 {
					t.Fatalf("of a busy file: %d syncs of files, %d of all", files, whole)
				}
				wantFiles = 2
			}
			r.gate.Open()
			r.wg.Wait()
			if files, whole := r.counts(); files != wantFiles || whole != wantWhole {
				t.Fatalf("at the end: %d syncs of files, %d of all", files, whole)
			}
			must(t, errors.Join(r.errs...))
			must(t, r.s.Close())
		})
	}
}

// A sync of the whole file system that costs more than syncs of the files is
// not made, and tried again later.
func TestWholeSyncMustPay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSyncRig(t, 4, SyncConfig{})
		r.s.mu.wholeEach = time.Second // as one who found it so
		r.gate.Open()
		again := 0
		for ; again < 1000; again++ {
			r.s.mu.Lock()
			r.s.mu.running++ // what the others wait for
			r.s.mu.started = time.Now()
			r.s.mu.Unlock()
			for i := range r.files {
				r.sync(i)
			}
			r.s.mu.Lock()
			r.s.mu.running--
			r.s.next(nil)
			r.s.mu.Unlock()
			r.wg.Wait()
			if _, whole := r.counts(); whole > 0 {
				break
			}
		}
		if again < 10 || again == 1000 {
			t.Errorf("a sync of the whole was made again after %d rounds", again)
		}
		must(t, errors.Join(r.errs...))
		must(t, r.s.Close())
	})
}

// Who wrote little does not wait for who wrote much, even where as many syncs
// run as may; those who wrote much are synced one by one.
func TestLittleDoesNotWaitForMuch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSyncRig(t, 6, SyncConfig{InFlight: 2})
		sync := func(i int, bytes int64) {
			r.wg.Go(func() {
				if err := r.s.sync(r.files[i], bytes, new(announcement)); err != nil {
					r.errs[i] = err
				}
			})
			synctest.Wait()
		}
		for i := range 3 {
			sync(i, 8<<20)
		}
		if files, whole := r.counts(); files != 2 || whole != 0 {
			t.Fatalf("of much: %d syncs of files, %d of all", files, whole)
		}
		sync(3, 1000)
		sync(4, 1000)
		if files, whole := r.counts(); files != 4 || whole != 0 {
			t.Fatalf("of little beside much: %d syncs of files, %d of all", files, whole)
		}
		r.gate.Open()
		r.wg.Wait()
		r.gate.Shut()
		for i := range 3 {
			sync(i, 1000)
		}
		r.gate.Open()
		r.wg.Wait()
		if files, whole := r.counts(); files != 6 || whole != 1 {
			t.Fatalf("of little afterwards: %d syncs of files, %d of all", files, whole)
		}
		must(t, errors.Join(r.errs...))
		must(t, r.s.Close())
	})
}
