package replication

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/hashicorp/raft"

	"github.com/fanfold/fanfold/internal/vfs"
	"github.com/fanfold/fanfold/log"
)

// The log's first entry moves behind a snapshot only, and the records before it
// can be read, and compacted, as before.
func TestGroupSettlesBehindSnapshots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := newMem(t)
		var noManifest atomic.Bool
		fsys := vfs.NewErrors(mem, func(op vfs.Op) error {
			if noManifest.Load() && op.Kind == vfs.OpRename && op.New == "/node/replica/"+manifestName {
				return errTest
			}
			return nil
		})
		rep := openReplica(t, fsys, withSegments(1000))
		noManifest.Store(true)
		for rep.recorder.log.Rolls() < 5 {
			rep.mustPut(100)
		}
		synctest.Wait()
		l := rep.recorder.log
		active := l.Segments()[5].BaseOffset
		if err := rep.group.Settle(t.Context(), active); err == nil || l.First() != 1 || l.SettledOffset() != 0 {
			t.Fatalf("without a snapshot: %v, first entry %d, settled up to %d", err, l.First(), l.SettledOffset())
		}
		noManifest.Store(false)
		if err := rep.group.Settle(t.Context(), active); err != nil {
			t.Fatal(err)
		}
		first := l.First()
		if l.SettledOffset() != active || l.StartOffset() != 0 || first > rep.group.snapshotIndex.Load()+1 {
			t.Fatalf("settled up to %d of %d, from %d; first entry %d, the snapshot is of %d",
				l.SettledOffset(), active, l.StartOffset(), first, rep.group.snapshotIndex.Load())
		}
		if _, s := rep.instance(); s.GetLog(first-1, new(raft.Log)) != raft.ErrLogNotFound {
			t.Error("an entry that was given up is not just not found")
		}
		stats, err := l.Compact(t.Context(), log.CompactOptions{UpTo: active})
		if err != nil || stats.Removed != active { // records without a key
			t.Fatalf("%+v, %v", stats, err)
		}
		rep.mustPut(10)
		end := l.EndOffset()
		history := rep.requests()
		rep.close()
		if err := rep.group.Settle(t.Context(), end); !errors.Is(err, ErrStopped) {
			t.Errorf("of a group that is closed: %v", err)
		}
		rep = openReplica(t, mem)
		rep.awaitLeading()
		l = rep.recorder.log
		sameHistory(t, "after a restart", history, rep.requests())
		if l.First() != first || l.SettledOffset() != active || l.CleanedOffset() != active || l.EndOffset() != end {
			t.Errorf("after a restart: first entry %d, settled up to %d, compacted up to %d, end %d", l.First(), l.SettledOffset(), l.CleanedOffset(), l.EndOffset())
		}
		rep.close()
	})
}

// Whatever a crash leaves, a replica that is settled and compacted all the time
// starts again with all that was acknowledged.
func TestSettledGroupCrashes(t *testing.T) {
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) {
			rng, crashes := rand.New(rand.NewPCG(seed, 5)), rand.New(rand.NewPCG(seed, 6))
			mem := newMem(t)
			var crashIn atomic.Int64
			var after *vfs.Mem
			fsys := vfs.NewErrors(mem, func(op vfs.Op) error {
				if crashIn.Load() > 0 && crashIn.Add(-1) == 0 {
					after = mem.CrashClone(crashModes[crashes.IntN(len(crashModes))], crashes)
				}
				return nil
			})
			rep := openReplica(t, fsys, withSegments(500))
			rep.awaitLeading()
			var acked []applied
			crashIn.Store(1 + rng.Int64N(400))
			for range 60 {
				a := rep.mustPut(rng.IntN(100))
				if crashIn.Load() > 0 {
					acked = append(acked, applied{a.index, a.id, KindBatch})
				}
				l := rep.recorder.log
				switch rng.IntN(5) {
				case 0:
					if err := rep.group.Settle(t.Context(), l.EndOffset()); err != nil {
						t.Fatal(err)
					}
				case 1:
					if _, err := l.Compact(t.Context(), log.CompactOptions{UpTo: l.EndOffset()}); err != nil {
						t.Fatal(err)
					}
				}
			}
			rep.close()
			if after == nil {
				after = mem
			}
			rep = openReplica(t, after)
			rep.awaitLeading()
			sameHistory(t, "after a crash", acked, rep.requests())
			l := rep.recorder.log
			if err := l.Scrub(t.Context(), nil); err != nil {
				t.Error(err)
			}
			rep.mustPut(10)
			rep.close()
			report, err := log.Verify(context.Background(), after, "/node/replica", log.VerifyOptions{Records: true})
			if err != nil || !report.OK() {
				t.Errorf("%+v, %v", report, err)
			}
		})
	}
}

// A log of which all entries were given up, by retention or for compaction, goes
// on where it was.
func TestRestartWithoutEntries(t *testing.T) {
	for _, drop := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			mem := newMem(t)
			rep := openReplica(t, mem)
			for range 3 {
				rep.mustPut(100)
			}
			l := rep.recorder.log
			if err := l.Roll(); err != nil {
				t.Fatal(err)
			}
			if drop {
				rep.group.DropBefore(l.EndOffset())
				synctest.Wait()
			} else if err := rep.group.Settle(t.Context(), l.EndOffset()); err != nil {
				t.Fatal(err)
			}
			last, _ := l.Last()
			if l.First() != last+1 {
				t.Fatalf("entries %d to %d are left", l.First(), last)
			}
			history := rep.requests()
			rep.close()
			for range 2 {
				rep = openReplica(t, mem)
				rep.awaitLeading()
				if l := rep.recorder.log; l.First() != last+1 || l.EndOffset() < 3 {
					t.Errorf("the log begins at entry %d and ends at offset %d", l.First(), l.EndOffset())
				}
				sameHistory(t, "after a restart", history, rep.requests())
				if a := rep.mustPut(100); a.index <= last {
					t.Errorf("entry %d follows entry %d", a.index, last)
				}
				rep.close()
			}
		})
	}
}

// What a compaction breaks in the log takes the replica offline, and it comes
// back; what it breaks in its own files does not.
func TestCompactionThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var broken atomic.Pointer[string]
		fsys := vfs.NewErrors(newMem(t), func(op vfs.Op) error {
			if suffix := broken.Load(); suffix != nil && op.Kind == vfs.OpWrite && strings.HasSuffix(op.Path, *suffix) {
				return syscall.ENOSPC
			}
			return nil
		})
		rep := openReplica(t, fsys, withSegments(500))
		for rep.recorder.log.Rolls() < 3 {
			rep.mustPut(100)
		}
		l := rep.recorder.log
		if err := rep.group.Settle(t.Context(), l.EndOffset()); err != nil {
			t.Fatal(err)
		}
		compact := func(suffix string) {
			t.Helper()
			broken.Store(&suffix)
			defer broken.Store(nil)
			if _, err := l.Compact(t.Context(), log.CompactOptions{UpTo: l.EndOffset()}); !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("writes to %s fail: %v", suffix, err)
			}
			rep.group.CheckLog()
		}
		compact("-1.index")
		if err := rep.group.Err(); err != nil {
			t.Fatal(err)
		}
		rep.mustPut(100)
		compact("journal")
		rep.awaitOffline()
		rep.awaitLeading()
		rep.mustPut(100)
		if rep.recorder.log == l {
			t.Error("the log was not opened again")
		}
		rep.close()
	})
}

// A replica that fails, and starts again over the same files, ends the
// compaction of its old log first.
func TestRestartEndsACompaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var broken atomic.Bool
		fsys := vfs.NewErrors(newMem(t), func(op vfs.Op) error {
			if broken.Load() && op.Kind == vfs.OpWrite && strings.HasSuffix(op.Path, ".log") {
				return syscall.EIO
			}
			return nil
		})
		rep := openReplica(t, fsys, withSegments(500))
		for rep.recorder.log.Rolls() < 3 {
			rep.mustPut(100)
		}
		old := rep.recorder.log
		if err := rep.group.Settle(t.Context(), old.EndOffset()); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() {
			_, err := old.Compact(context.Background(), log.CompactOptions{UpTo: old.EndOffset(), Pace: func(ctx context.Context, _ int) error {
				<-ctx.Done()
				return ctx.Err()
			}})
			done <- err
		}()
		synctest.Wait()
		broken.Store(true)
		if _, err := rep.put(10); err == nil {
			t.Error("a write that failed is acknowledged")
		}
		rep.awaitOffline()
		broken.Store(false)
		rep.awaitLeading()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("the compaction ended with %v", err)
		}
		if l := rep.recorder.log; l == old || l.SettledOffset() != old.SettledOffset() {
			t.Errorf("settled up to %d, before %d", l.SettledOffset(), old.SettledOffset())
		}
		rep.close()
	})
}
