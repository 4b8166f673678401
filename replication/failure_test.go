package replication

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fanfold/fanfold/internal/vfs"
)

// breaker fails the operations that it is told to.
type breaker struct {
	match atomic.Pointer[func(vfs.Op) error]
}

func (b *breaker) inject(op vfs.Op) error {
	if match := b.match.Load(); match != nil {
		return (*match)(op)
	}
	return nil
}

func (b *breaker) set(match func(vfs.Op) error) { b.match.Store(&match) }
func (b *breaker) clear()                       { b.match.Store(nil) }

func failing(kind vfs.OpKind, suffix string, err error) func(vfs.Op) error {
	return func(op vfs.Op) error {
		if op.Kind == kind && strings.HasSuffix(op.Path, suffix) {
			return err
		}
		return nil
	}
}

// After a failed write or sync proposals are answered with the error, reads go
// on, and the replica comes back by itself with what was durable.
func TestGroupFailsAndComesBack(t *testing.T) {
	for _, c := range []struct {
		name string
		fail func(vfs.Op) error
	}{
		{"write", failing(vfs.OpWrite, ".log", syscall.ENOSPC)},
		{"short write", failing(vfs.OpWrite, ".log", &vfs.ShortWrite{N: 30, Err: syscall.ENOSPC})},
		{"sync", failing(vfs.OpSync, ".log", syscall.EIO)},
		{"everything", func(op vfs.Op) error {
			if op.Kind != vfs.OpRead && op.Kind != vfs.OpClose {
				return syscall.EIO
			}
			return nil
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var b breaker
				mem := newMem(t)
				rep := openReplica(t, vfs.NewErrors(mem, b.inject), withSegments(3000))
				for range 20 {
					rep.mustPut(100)
				}
				synctest.Wait()
				before := rep.requests()
				b.set(c.fail)
				term := rep.awaitLeading()
				var asks []*ask
				for range 30 {
					if a, err := rep.propose(term, rep.nextID, 100); err == nil {
						asks = append(asks, a)
					}
					rep.nextID++
				}
				rep.awaitOffline()
				for _, a := range asks {
					<-a.done
					if a.err == nil {
						t.Fatalf("request %d was acknowledged", a.id)
					}
				}
				if _, err := rep.propose(term, 1, 10); err == nil {
					t.Error("a proposal is taken offline")
				}
				if info, err := rep.recorder.log.Entry(before[19].index); err != nil || uint64(info.Header.BaseTimestamp) != before[19].id {
					t.Errorf("reading offline: %+v, %v", info, err)
				}
				if err := rep.group.Err(); err == nil {
					t.Error("the group has no error")
				}
				time.Sleep(10 * time.Minute)
				b.clear()
				rep.awaitLeading()
				if err := rep.group.Err(); err != nil {
					t.Errorf("back, with the error %v", err)
				}
				got := rep.requests()
				sameHistory(t, "once back", before, got)
				for _, a := range got[len(before):] {
					t.Errorf("%+v was refused and is there", a)
				}
				rep.mustPut(100)
				rep.close()
			})
		})
	}
}

// A replica on a full disk tries again at growing intervals, without a new term
// each time, and is back soon after there is room.
func TestGroupFullDiskBurnsNoTerms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := vfs.NewDiskBudget(40 << 10)
		mem := newMem(t)
		rep := openReplica(t, vfs.NewErrors(mem, budget.Inject), withSegments(4<<10))
		term := rep.awaitLeading()
		acked := 0
		for {
			if _, err := rep.put(500); err != nil {
				break
			}
			acked++
		}
		if err := rep.awaitOffline(); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("offline with %v", err)
		}
		time.Sleep(24 * time.Hour)
		rep.mu.Lock()
		attempts := rep.restore
		rep.mu.Unlock()
		if attempts > 3 {
			t.Errorf("%d instances in a day", attempts)
		}
		budget.Add(4 << 20)
		full := time.Now()
		if now := rep.awaitLeading(); now > term+4 {
			t.Errorf("term %d after the day, %d before", now, term)
		}
		if d := time.Since(full); d > 2*retryMax {
			t.Errorf("back after %v", d)
		}
		if n := len(rep.requests()); n != acked {
			t.Errorf("%d entries are there, %d were acknowledged", n, acked)
		}
		rep.mustPut(500)
		rep.close()
	})
}

// Where each attempt fails in the same way the terms grow slowly.
func TestGroupBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b breaker
		rep := openReplica(t, vfs.NewErrors(newMem(t), b.inject))
		term := rep.awaitLeading()
		b.set(failing(vfs.OpWrite, "journal", syscall.EIO))
		a, err := rep.propose(term, 7, -1)
		if err != nil {
			t.Fatal(err)
		}
		<-a.done
		time.Sleep(time.Hour)
		b.clear()
		if now := rep.awaitLeading(); now > term+130 {
			t.Errorf("%d terms in an hour", now-term)
		}
		rep.close()
	})
}

// The owner is in a snapshot, which waits for raft's main goroutine, when that
// fails: it must get out.
func TestGroupFailsDuringSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b breaker
		rep := openReplica(t, vfs.NewErrors(newMem(t), b.inject))
		rep.mustPut(10)
		synctest.Wait()
		release := make(chan struct{})
		b.set(func(op vfs.Op) error {
			if op.Kind == vfs.OpWrite && strings.HasSuffix(op.Path, ".log") {
				<-release
				return syscall.EIO
			}
			return nil
		})
		a, err := rep.propose(rep.awaitLeading(), 7, 10)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // raft's main goroutine writes
		rep.group.wantSnapshot()
		synctest.Wait()
		close(release)
		<-a.done
		rep.awaitOffline()
		b.clear()
		rep.mustPut(10)
		rep.close()
	})
}

// A failure is noticed however many other things the owner is asked for.
func TestGroupFailureIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b breaker
		rep := openReplica(t, vfs.NewErrors(newMem(t), b.inject))
		for range 3 {
			rep.mustPut(10)
			release := make(chan struct{})
			b.set(func(op vfs.Op) error {
				if op.Kind == vfs.OpRename && op.New == "/node/replica/"+manifestName {
					<-release
				}
				return nil
			})
			rep.group.wantSnapshot()
			synctest.Wait() // the owner is in the snapshot
			for i := range 100 {
				rep.group.DropBefore(int64(i))
			}
			_, s := rep.instance()
			rep.group.fail(s, errTest)
			rep.group.fail(s, errors.New("a second failure"))
			close(release)
			if err := rep.awaitOffline(); !errors.Is(err, errTest) {
				t.Fatalf("offline with %v", err)
			}
			b.clear()
			rep.awaitLeading()
		}
		rep.close()
	})
}

// raft panics over entries that it cannot read; here the replica goes offline.
func TestGroupCannotReadAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := newMem(t)
		rep := openReplica(t, mem)
		for range 10 {
			rep.mustPut(10)
		}
		killed := mem.CrashClone(vfs.KeepAll, nil)
		rep.close()

		var b breaker
		fsys := vfs.NewErrors(killed, b.inject)
		for _, kind := range []string{".log", "journal"} {
			node, err := OpenNode(NodeConfig{FS: fsys, Dir: "/node", Logger: quiet})
			if err != nil {
				t.Fatal(err)
			}
			m := &breakAtRestore{recorder: newRecorder(t), then: func() { b.set(failing(vfs.OpRead, kind, syscall.EIO)) }}
			g, err := node.OpenGroup(context.Background(), GroupConfig{
				ID: testGroup(1), Dir: "/node/replica", ServerID: "1-1", Machine: m, Logger: quiet,
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := m.awaitOffline(); !errors.Is(err, syscall.EIO) {
				t.Fatalf("%s: offline with %v", kind, err)
			}
			if g.Err() == nil {
				t.Error("the group has no error")
			}
			m.then = func() {}
			b.clear()
			m.awaitLeading()
			if n := len(m.requests()); n != 10 {
				t.Errorf("%s: %d entries are there", kind, n)
			}
			node.Close()
		}
	})
}

// breakAtRestore breaks the disk between the log's recovery and raft's start.
type breakAtRestore struct {
	*recorder
	then func()
}

func (m *breakAtRestore) Restore(state []byte) (uint64, error) {
	m.then()
	return m.recorder.Restore(state)
}

// The state of a snapshot that the machine refuses keeps the replica offline,
// and says why.
func TestGroupCannotRestore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := newMem(t)
		rep := openReplica(t, mem)
		rep.mustPut(10)
		rep.close()
		node, err := OpenNode(NodeConfig{FS: mem, Dir: "/node", Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		m := &refusing{newRecorder(t)}
		g, err := node.OpenGroup(context.Background(), GroupConfig{ID: testGroup(1), Dir: "/node/replica", ServerID: "1-1", Machine: m, Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		if !errors.Is(m.awaitOffline(), errTest) || !errors.Is(g.Err(), errTest) {
			t.Errorf("offline with %v", g.Err())
		}
		node.Close()
	})
}

type refusing struct{ *recorder }

func (refusing) Restore([]byte) (uint64, error) { return 0, errTest }

// A replica that took part in votes and has lost what it knew is not started.
func TestGroupLost(t *testing.T) {
	for name, lose := range map[string]func(*vfs.Mem) error{
		"directory": func(m *vfs.Mem) error { return m.RemoveAll("/node/replica") },
		"log": func(m *vfs.Mem) error {
			names, err := m.List("/node/replica")
			for _, n := range names {
				if n != manifestName {
					err = errors.Join(err, m.Remove("/node/replica/"+n))
				}
			}
			return err
		},
		"all in it": func(m *vfs.Mem) error {
			return errors.Join(m.RemoveAll("/node/replica"), m.MkdirAll("/node/replica"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			mem := newMem(t)
			rep := openReplica(t, mem)
			rep.mustPut(10)
			rep.close()
			if err := lose(mem); err != nil {
				t.Fatal(err)
			}
			node, err := OpenNode(NodeConfig{FS: mem, Dir: "/node", Logger: quiet})
			if err != nil {
				t.Fatal(err)
			}
			defer node.Close()
			g, err := node.OpenGroup(t.Context(), GroupConfig{ID: testGroup(1), Dir: "/node/replica", ServerID: "1-1", Machine: newRecorder(t), Logger: quiet})
			if !errors.Is(err, ErrReplicaLost) || g != nil {
				t.Errorf("opened: %v", err)
			}
		})
	}
}

// A log whose snapshot is gone cannot be started where its beginning is, too.
func TestGroupManifestLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := newMem(t)
		rep := openReplica(t, mem, withSegments(1000))
		for range 30 {
			rep.mustPut(100)
		}
		rep.group.DropBefore(rep.recorder.log.EndOffset())
		synctest.Wait()
		rep.close()
		if err := mem.Remove("/node/replica/" + manifestName); err != nil {
			t.Fatal(err)
		}
		node, err := OpenNode(NodeConfig{FS: mem, Dir: "/node", Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		_, err = node.OpenGroup(t.Context(), GroupConfig{ID: testGroup(1), Dir: "/node/replica", ServerID: "1-1", Machine: newRecorder(t), Logger: quiet})
		if !errors.Is(err, ErrReplicaLost) {
			t.Errorf("opened: %v", err)
		}
		node.Close()
	})
}

// A vote file that takes nothing keeps a replica from standing; it comes back
// when the file does.
func TestGroupVotesFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b breaker
		mem := newMem(t)
		rep := openReplica(t, vfs.NewErrors(mem, b.inject))
		rep.mustPut(10)
		b.set(failing(vfs.OpSync, "votes", syscall.EIO))
		if err := rep.node.Votes().set(testGroup(2), testVote(2)); !errors.Is(err, syscall.EIO) {
			t.Fatal(err)
		}
		rep.mustPut(10) // who leads needs no votes
		_, s := rep.instance()
		rep.group.fail(s, errTest)
		rep.awaitOffline()
		b.set(func(op vfs.Op) error {
			if strings.Contains(op.Path, "votes") && op.Kind != vfs.OpRead {
				return syscall.EIO
			}
			return nil
		})
		time.Sleep(5 * time.Minute)
		if err := rep.group.Err(); !errors.Is(err, syscall.EIO) {
			t.Errorf("offline with %v", err)
		}
		b.clear()
		rep.mustPut(10)
		rep.close()
	})
}

// Errors at any operation of a run: nothing is acknowledged that a crash right
// after the run does not keep.
func TestGroupErrorAtAnyOperation(t *testing.T) {
	for seed := range crashSeeds(t, 120) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 3))
			mem := newMem(t)
			at, cause := int64(rng.IntN(400)), []error{syscall.EIO, syscall.ENOSPC}[rng.IntN(2)]
			var count atomic.Int64
			var open atomic.Bool
			fsys := vfs.NewErrors(mem, func(op vfs.Op) error {
				if !open.Load() || op.Kind == vfs.OpClose || count.Add(1) != at {
					return nil
				}
				return cause
			})
			rep := openReplica(t, fsys, withSegments(1500))
			rep.awaitLeading()
			open.Store(true)
			var acked []applied
			for range 40 {
				if a, err := rep.put(60); err == nil {
					acked = append(acked, applied{a.index, a.id, KindBatch})
				} else {
					rep.nextID++
				}
			}
			mode := crashModes[rng.IntN(len(crashModes))]
			c := groupCrash{
				at: fmt.Sprintf("seed %d: %v at operation %d, then %v", seed, cause, at, mode),
				fs: mem.CrashClone(mode, rng), acked: acked,
			}
			rep.close()
			c.verify(t, withSegments(1500))
		})
	}
}

// Closing works in whatever state the group is.
func TestGroupCloseOffline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b breaker
		rep := openReplica(t, vfs.NewErrors(newMem(t), b.inject))
		rep.mustPut(10)
		b.set(func(op vfs.Op) error {
			if op.Kind == vfs.OpWrite {
				return syscall.EIO
			}
			return nil
		})
		if _, err := rep.put(10); err == nil {
			t.Error("acknowledged")
		}
		rep.awaitOffline()
		time.Sleep(3 * time.Second)
		if err := rep.group.Close(); err != nil {
			t.Error(err)
		}
		if _, err := rep.propose(1, 5, 10); err == nil {
			t.Error("a closed group takes proposals")
		}
		rep.close()
	})
}
