package replication

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/fanfold/fanfold/internal/vfs"
	"github.com/fanfold/fanfold/log"
)

func TestGroupStoresAppliesAndAnswersInOrder(t *testing.T) {
	rep := openReplica(t, newMem(t))
	defer rep.close()
	for i := range 50 {
		size := 20 * i
		if i%7 == 3 {
			size = -1
		}
		if a := rep.mustPut(size); a.stored != 1 {
			t.Fatalf("request %d was applied, and stored %d times", a.id, a.stored)
		}
	}
	list := rep.requests()
	if len(list) != 50 {
		t.Fatalf("%d entries were applied, want 50", len(list))
	}
	for i, a := range list {
		if a.id != uint64(i+1) || (i > 0 && a.index != list[i-1].index+1) {
			t.Fatalf("entry %d is %+v after %+v", i, a, list[max(0, i-1)])
		}
	}
	l := rep.recorder.log
	if durable, offset := l.Durable(); durable != list[49].index || offset != l.EndOffset() {
		t.Errorf("durable are index %d and offset %d, applied %d and written %d", durable, offset, list[49].index, l.EndOffset())
	}
}

// Many propose at once: the order of each is kept, and what gathers is synced
// at once.
func TestGroupConcurrentProposers(t *testing.T) {
	const proposers, each = 16, 200
	fsys := vfs.NewErrors(newMem(t), func(vfs.Op) error { return nil })
	rep := openReplica(t, fsys)
	defer rep.close()
	term := rep.awaitLeading()
	syncs := fsys.Count(vfs.OpSync)
	var wg sync.WaitGroup
	for p := range proposers {
		wg.Go(func() {
			for i := range each {
				a, err := rep.propose(term, uint64(p*each+i+1), 30)
				if err != nil {
					t.Error(err)
					return
				}
				if i%20 == 19 {
					<-a.done
				}
			}
		})
	}
	wg.Wait()
	list := rep.requests()
	if len(list) != proposers*each {
		t.Fatalf("%d entries were applied, want %d", len(list), proposers*each)
	}
	last := map[uint64]uint64{}
	for i, a := range list {
		p := (a.id - 1) / each
		if a.id <= last[p] || (i > 0 && a.index <= list[i-1].index) {
			t.Fatalf("entry %+v follows %+v, proposer's last was %d", a, list[max(0, i-1)], last[p])
		}
		last[p] = a.id
	}
	if n := fsys.Count(vfs.OpSync) - syncs; n >= proposers*each/4 {
		t.Errorf("%d entries cost %d syncs", proposers*each, n)
	}
}

// While one sync runs everything gathers, and goes with few more.
func TestGroupCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := vfs.NewGate(func(op vfs.Op) bool { return op.Kind == vfs.OpSync })
		gate.Open()
		fsys := vfs.NewErrors(newMem(t), gate.Inject)
		rep := openReplica(t, fsys)
		rep.mustPut(10)
		synctest.Wait()
		syncs := fsys.Count(vfs.OpSync)
		gate.Shut()
		term := rep.awaitLeading()
		var asks []*ask
		for i := range 100 {
			a, err := rep.propose(term, uint64(1000+i), 10)
			if err != nil {
				t.Fatal(err)
			}
			asks = append(asks, a)
		}
		synctest.Wait()
		for _, a := range asks {
			if a.answers != 0 {
				t.Fatalf("request %d was answered before a sync", a.id)
			}
		}
		gate.Open()
		for _, a := range asks {
			<-a.done
		}
		if n := fsys.Count(vfs.OpSync) - syncs; n > 3 {
			t.Errorf("%d syncs for 100 entries", n)
		}
		rep.close()
	})
}

func TestGroupCleanRestartReplaysNothing(t *testing.T) {
	mem := newMem(t)
	rep := openReplica(t, mem, withSegments(2000))
	for range 40 {
		rep.mustPut(100)
	}
	rep.close()
	want := rep.requests()
	for range 3 {
		rep = openReplica(t, mem, withSegments(2000))
		rep.awaitLeading()
		rep.mu.Lock()
		// What a new term writes has no request but the leader-start.
		for _, a := range rep.history[len(rep.history)-rep.replays:] {
			if a.id != 0 {
				t.Errorf("entry %+v was applied again", a)
			}
		}
		rep.mu.Unlock()
		sameHistory(t, "after a restart", want, rep.requests())
		rep.nextID = 10_000
		rep.mustPut(100)
		rep.close()
		want = rep.requests()
	}
}

// groupCrash is what a crash left, and what was acknowledged before it.
type groupCrash struct {
	at    string
	fs    *vfs.Mem
	acked []applied
}

func (c groupCrash) verify(t *testing.T, configs ...testConfig) {
	t.Helper()
	rep := openReplica(t, c.fs, configs...)
	defer rep.close()
	rep.awaitLeading()
	got := rep.requests()
	byID := map[uint64]applied{}
	for i, a := range got {
		if i > 0 && a.index <= got[i-1].index {
			t.Fatalf("%s: %+v follows %+v", c.at, a, got[i-1])
		}
		if _, twice := byID[a.id]; twice {
			t.Fatalf("%s: request %d is there twice", c.at, a.id)
		}
		byID[a.id] = a
	}
	for _, a := range c.acked {
		if byID[a.id] != a {
			t.Fatalf("%s: acknowledged was %+v, it is %+v now", c.at, a, byID[a.id])
		}
	}
	rep.nextID = 1 << 40
	a := rep.mustPut(50)
	if last, _ := rep.recorder.log.Last(); last < a.index || a.index <= uint64(len(got)) {
		t.Fatalf("%s: a new entry has index %d of %d", c.at, a.index, last)
	}
}

// crashRun writes under load and crashes at random operations.
func crashRun(t *testing.T, seed uint64, configs ...testConfig) {
	rng := rand.New(rand.NewPCG(seed, 11))
	mem := newMem(t)
	var mu sync.Mutex // of what follows
	var acked []applied
	var crashes []groupCrash
	fsys := vfs.NewErrors(mem, func(op vfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		if op.Kind == vfs.OpRead || len(crashes) >= 12 || rng.IntN(20) != 0 {
			return nil
		}
		mode := crashModes[rng.IntN(len(crashModes))]
		crashes = append(crashes, groupCrash{
			at: fmt.Sprintf("seed %d: %v before operation %d (%v %s)", seed, mode, op.Seq, op.Kind, op.Path),
			fs: mem.CrashClone(mode, rng), acked: append([]applied(nil), acked...),
		})
		return nil
	})
	rep := openReplica(t, fsys, configs...)
	term := rep.awaitLeading()
	var wg sync.WaitGroup
	for p := range 3 {
		wg.Go(func() {
			for i := range 30 {
				a, err := rep.propose(term, uint64(p*1000+i+1), 40*(i%5)-1)
				if err != nil {
					t.Error(err)
					return
				}
				if i%4 != p {
					continue
				}
				<-a.done
				mu.Lock()
				acked = append(acked, applied{a.index, a.id, kindFor(a)})
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	rep.close()
	for _, c := range crashes {
		c.verify(t, configs...)
	}
}

func kindFor(a *ask) log.Kind {
	if a.size < 0 {
		return kindTestCommand
	}
	return KindBatch
}

// crashSeeds is how many seeds a crash test takes: as many times more as
// FANFOLD_REPLICATION_CRASHES says, which .ci/run sets.
func crashSeeds(t *testing.T, n uint64) uint64 {
	t.Helper()
	text := os.Getenv("FANFOLD_REPLICATION_CRASHES")
	if text == "" {
		return n
	}
	times, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		t.Fatalf("FANFOLD_REPLICATION_CRASHES: %v", err)
	}
	return n * times
}

func TestGroupCrashes(t *testing.T) {
	for seed := range crashSeeds(t, 150) {
		crashRun(t, seed, withSegments(1500))
	}
}

// A relaxed topic may lose what it acknowledged, but never its order, and
// never comes back with state about entries that are gone.
func TestGroupRelaxedCrashes(t *testing.T) {
	configs := []testConfig{withSegments(1000), withFlush(FlushPolicy{Messages: 1000})}
	for seed := range crashSeeds(t, 60) {
		rng := rand.New(rand.NewPCG(seed, 13))
		mem := newMem(t)
		var mu sync.Mutex // of crashes and rng
		var crashes []groupCrash
		rep := openReplica(t, vfs.NewErrors(mem, func(op vfs.Op) error {
			mu.Lock()
			defer mu.Unlock()
			// Snapshots are what may know too much.
			often := op.Kind == vfs.OpSyncDir || op.Kind == vfs.OpRename
			if len(crashes) < 20 && (often || rng.IntN(20) == 0) {
				crashes = append(crashes, groupCrash{
					at: fmt.Sprintf("seed %d: before operation %d (%v %s)", seed, op.Seq, op.Kind, op.Path),
					fs: mem.CrashClone(crashModes[rng.IntN(2)*2], rng),
				})
			}
			return nil
		}), configs...)
		term := rep.awaitLeading()
		var last *ask
		for i := range 120 {
			a, err := rep.propose(term, uint64(i+1), 60)
			if err != nil {
				t.Fatal(err)
			}
			last = a
		}
		<-last.done
		rep.close()
		full := rep.requests()
		for _, c := range crashes {
			after := openReplica(t, c.fs, configs...)
			after.awaitLeading()
			sameHistory(t, c.at, after.requests(), full)
			after.nextID = 1 << 40
			a := after.mustPut(10)
			if last, _ := after.recorder.log.Last(); a.index != last {
				t.Fatalf("%s: the new entry has index %d, the log ends at %d", c.at, a.index, last)
			}
			after.close()
		}
	}
}

// snapshotting does something before its state is taken.
type snapshotting struct {
	*recorder
	before atomic.Pointer[func()]
}

func (m *snapshotting) Snapshot() []byte {
	if f := m.before.Swap(nil); f != nil {
		(*f)()
	}
	return m.recorder.Snapshot()
}

// What is applied while a snapshot begins is in its state, and must be durable
// before it is.
func TestGroupRelaxedSnapshotIsDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := newMem(t)
		m := &snapshotting{}
		rep := openReplica(t, mem, withFlush(FlushPolicy{Messages: 1000}), func(c *GroupConfig) {
			m.recorder = c.Machine.(*recorder)
			c.Machine = m
		})
		rep.mustPut(10)
		synctest.Wait()
		late := func() {
			for range 9 {
				rep.mustPut(10)
			}
		}
		m.before.Store(&late)
		rep.group.wantSnapshot()
		synctest.Wait()
		if rep.group.snapshotIndex.Load() == 0 || rep.nextID != 11 {
			t.Fatal("there was no snapshot")
		}
		crashed := mem.CrashClone(vfs.DropAll, nil)
		rep.close()
		after := openReplica(t, crashed)
		after.awaitLeading()
		sameHistory(t, "after the crash", rep.requests(), after.requests())
		after.nextID = 99
		after.mustPut(10)
		after.close()
	})
}

func TestGroupSnapshotsAtRolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rep := openReplica(t, newMem(t), withSegments(1000))
		rep.mustPut(100)
		synctest.Wait()
		if at := rep.group.snapshotIndex.Load(); at != 0 {
			t.Fatalf("a snapshot of entry %d before the first roll", at)
		}
		last := uint64(0)
		for rep.recorder.log.Rolls() < 4 {
			rolls := rep.recorder.log.Rolls()
			a := rep.mustPut(100)
			if rep.recorder.log.Rolls() == rolls {
				continue
			}
			synctest.Wait()
			at := rep.group.snapshotIndex.Load()
			if at <= last || at > a.index || at < a.index-1 {
				t.Fatalf("after the roll before entry %d the snapshot is of entry %d, before of %d", a.index, at, last)
			}
			last = at
		}
		rep.close()
	})
}

// Files go when the log start moved, never with an entry that no snapshot
// covers.
func TestGroupDropsBehindSnapshots(t *testing.T) {
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
		rep.group.DropBefore(l.EndOffset())
		synctest.Wait()
		if l.First() != 1 || l.StartOffset() != 0 {
			t.Fatalf("files went without a snapshot: first index %d, offset %d", l.First(), l.StartOffset())
		}
		noManifest.Store(false)
		rep.group.DropBefore(l.Segments()[3].BaseOffset)
		synctest.Wait()
		// The larger of the two counts.
		if segs := l.Segments(); len(segs) != 1 || segs[0].Bytes != 0 || l.StartOffset() != l.EndOffset() {
			t.Fatalf("%+v are left, from offset %d to %d", segs, l.StartOffset(), l.EndOffset())
		}
		if l.First() > rep.group.snapshotIndex.Load()+1 {
			t.Fatalf("first index is %d, the snapshot is of %d", l.First(), rep.group.snapshotIndex.Load())
		}
		if _, s := rep.instance(); s.GetLog(1, new(raft.Log)) != raft.ErrLogNotFound {
			t.Error("a dropped entry is not just not found")
		}
		end := l.EndOffset()
		rep.mustPut(10)
		rep.close()
		rep = openReplica(t, mem)
		rep.awaitLeading()
		if l := rep.recorder.log; l.StartOffset() != end || l.EndOffset() != end+1 {
			t.Errorf("after a restart the log is from %d to %d, want %d and %d", l.StartOffset(), l.EndOffset(), end, end+1)
		}
		rep.close()
	})
}

// With one voter but without the short way everything comes through raft.
func TestGroupLongWay(t *testing.T) {
	rep := openReplica(t, newMem(t), withSegments(2000))
	rep.awaitLeading()
	rep.group.lone.Store(false)
	var wg sync.WaitGroup
	for p := range 4 {
		wg.Go(func() {
			for i := range 50 {
				a, err := rep.propose(rep.awaitLeading(), uint64(p*1000+i+1), 30)
				if err != nil {
					t.Error(err)
					return
				}
				if i%5 == 4 {
					<-a.done
				}
			}
		})
	}
	wg.Wait()
	rep.await("all is applied", func() bool { return len(rep.history) >= 200 })
	rep.group.mu.Lock()
	waiting := len(rep.group.mu.awaited)
	rep.group.mu.Unlock()
	if waiting != 0 {
		t.Errorf("%d requests are still awaited", waiting)
	}
	// Back on the short way, the order stays.
	rep.group.lone.Store(true)
	rep.nextID = 9000
	for range 50 {
		rep.mustPut(30)
	}
	rep.close()
	list := rep.requests()
	for i := 1; i < len(list); i++ {
		if list[i].index <= list[i-1].index {
			t.Fatalf("%+v follows %+v", list[i], list[i-1])
		}
	}
	if len(list) != 250 {
		t.Errorf("%d were applied, want 250", len(list))
	}
}

// What is stored but not committed when leadership is lost is dropped, and the
// leader-start of a term that is over makes nobody a leader.
func TestGroupDropsAwaited(t *testing.T) {
	rep := openReplica(t, newMem(t))
	defer rep.close()
	term := rep.awaitLeading()
	g := rep.group
	a := &ask{id: 77, done: make(chan struct{}), stored: 1}
	g.await(1<<40, a)
	g.await(1<<40+1, leaderStart{})
	g.mu.Lock()
	r, s := g.mu.raft, g.mu.store
	g.mu.Unlock()
	g.leadership(r, s, false)
	if a.answers != 1 || !errors.Is(a.err, ErrNotLeader) {
		t.Fatalf("answered %d times: %v", a.answers, a.err)
	}
	if request := g.takeAwaited(1<<40 + 1); request != nil {
		t.Errorf("the leader-start is still awaited: %v", request)
	}
	if _, err := rep.propose(term, 5, 10); !errors.Is(err, ErrNotLeader) {
		t.Errorf("proposing as no leader: %v", err)
	}
	// Raft still leads: it says so again, as after a loss and a new election.
	g.leadership(r, s, true)
	rep.mustPut(10)
}

// A second voter ends the short way with the entry that names it. Without its
// vote nothing is committed, and leadership ends: what is stored is dropped, and
// nobody says that it is acknowledged.
func TestGroupStepsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rep := openReplica(t, newMem(t))
		rep.mustPut(10)
		term := rep.awaitLeading()
		r, _ := rep.instance()
		r.AddVoter("2-1", "2-1", 0, 0)
		synctest.Wait()
		if rep.group.lone.Load() {
			t.Fatal("the group has one voter still")
		}
		a, err := rep.propose(term, 7, 10)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		rep.mu.Lock()
		stored, answers := a.stored, a.answers
		rep.mu.Unlock()
		if stored != 1 || answers != 0 {
			t.Fatalf("stored %d times, answered %d times", stored, answers)
		}
		<-a.done
		if !errors.Is(a.err, ErrNotLeader) {
			t.Errorf("answered with %v", a.err)
		}
		if _, err := rep.propose(term, 8, 10); !errors.Is(err, ErrNotLeader) {
			t.Errorf("proposing as no leader: %v", err)
		}
		time.Sleep(time.Hour)
		if now := r.CurrentTerm(); now != term {
			t.Errorf("term %d, it was %d", now, term)
		}
		for _, e := range rep.requests() {
			if e.id == 7 {
				t.Errorf("%+v was applied", e)
			}
		}
		rep.close()
	})
}

// What was checked in a term that is over is not in the log, but a void entry
// that takes no offset.
func TestGroupVoidsStaleProposals(t *testing.T) {
	rep := openReplica(t, newMem(t))
	defer rep.close()
	term := rep.awaitLeading()
	end := rep.recorder.log.EndOffset()
	a, err := rep.propose(term+1, 5, 10)
	if err != nil {
		t.Fatal(err)
	}
	<-a.done
	if !errors.Is(a.err, ErrTermOver) || a.stored != 0 {
		t.Fatalf("answered %v, stored %d times", a.err, a.stored)
	}
	b := rep.mustPut(10)
	l := rep.recorder.log
	if info, err := l.Entry(b.index - 1); err != nil || info.Kind != KindVoid || len(info.Data) != 0 {
		t.Errorf("the entry before is %+v, %v", info, err)
	}
	if l.EndOffset() != end+1 {
		t.Errorf("the log ends at %d, began at %d", l.EndOffset(), end)
	}
}

// Proposals that were dropped may still be in raft's channel. They come out as
// void entries, and nothing blocks.
func TestGroupStaleChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := vfs.NewGate(func(op vfs.Op) bool { return op.Kind == vfs.OpSync })
		gate.Open()
		rep := openReplica(t, vfs.NewErrors(newMem(t), gate.Inject))
		term := rep.awaitLeading()
		synctest.Wait()
		gate.Shut()
		g := rep.group
		var asks []*ask
		fill := func() {
			for range 3 * raftChannel {
				a, err := rep.propose(term, rep.nextID, -1)
				if err != nil {
					t.Fatal(err)
				}
				rep.nextID++
				asks = append(asks, a)
			}
		}
		fill()
		synctest.Wait() // raft syncs the first
		fill()
		for range 4 {
			g.dropProposals(errTest)
			fill()
		}
		g.dropProposals(errTest)
		gate.Open()
		synctest.Wait()
		g.mu.Lock()
		r, s := g.mu.raft, g.mu.store
		g.mu.Unlock()
		g.leadership(r, s, false)
		for i, a := range asks {
			if a.answers != 1 {
				t.Fatalf("request %d of %d was answered %d times", i, len(asks), a.answers)
			}
		}
		g.leadership(r, s, true)
		rep.awaitLeading()
		rep.mustPut(10)
		rep.close()
	})
}

func TestGroupProposeBesideClose(t *testing.T) {
	for range 20 {
		rep := openReplica(t, newMem(t))
		term := rep.awaitLeading()
		stop := make(chan struct{})
		var asks []*ask
		go func() {
			defer close(stop)
			for i := uint64(1); ; i++ {
				a, err := rep.propose(term, i, 10)
				if err != nil {
					return
				}
				asks = append(asks, a)
			}
		}()
		if err := rep.group.Close(); err != nil {
			t.Fatal(err)
		}
		<-stop
		for _, a := range asks {
			<-a.done
		}
		if err := rep.group.Close(); err != nil {
			t.Error(err)
		}
		rep.close()
	}
}

func TestGroupOpenGivesUpWithItsContext(t *testing.T) {
	node, err := OpenNode(NodeConfig{FS: newMem(t), Dir: "/node", Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer node.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	g, err := node.OpenGroup(ctx, GroupConfig{ID: testGroup(1), Dir: "/node/replica", ServerID: "1-1", Machine: newRecorder(t), Logger: quiet})
	if err == nil {
		// A start that succeeds all the same is a group like any other.
		g.Close()
	} else if !errors.Is(err, context.Canceled) {
		t.Errorf("opened with %v", err)
	}
}

// flush.ms: what waits unsynced is synced when it is due, once.
func TestGroupFlushInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rep := openReplica(t, newMem(t), withFlush(FlushPolicy{Messages: 1000, Interval: 300 * time.Millisecond}))
		rep.awaitLeading()
		l := rep.recorder.log
		for range 3 {
			a := rep.mustPut(10)
			if durable, _ := l.Durable(); durable >= a.index {
				t.Fatalf("entry %d was synced at once", a.index)
			}
			time.Sleep(299 * time.Millisecond)
			b := rep.mustPut(10)
			if durable, _ := l.Durable(); durable >= a.index {
				t.Fatalf("entry %d was synced before it was due", a.index)
			}
			time.Sleep(2 * time.Millisecond)
			synctest.Wait()
			if durable, _ := l.Durable(); durable < b.index {
				t.Fatalf("entry %d is not durable when it is due, only %d", b.index, durable)
			}
		}
		rep.mustPut(10) // a timer is armed when the group closes
		rep.close()
	})
}

func TestGroupFlushMessages(t *testing.T) {
	rep := openReplica(t, newMem(t), withFlush(FlushPolicy{Messages: 10}))
	defer rep.close()
	rep.awaitLeading()
	l := rep.recorder.log
	for i := range 30 {
		a := rep.mustPut(10)
		if durable, _ := l.Durable(); (durable >= a.index) != (i%10 == 9) {
			t.Fatalf("after record %d durable is entry %d of %d", i+1, durable, a.index)
		}
	}
	rep.group.SetFlush(FlushPolicy{})
	a := rep.mustPut(10)
	if durable, _ := l.Durable(); durable < a.index {
		t.Error("the stricter policy does not count yet")
	}
}

// The durable mark is at most a second behind.
func TestNodeWritesMarks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := newMem(t)
		fsys := vfs.NewErrors(mem, func(vfs.Op) error { return nil })
		rep := openReplica(t, fsys)
		rep.mustPut(10)
		time.Sleep(markInterval + time.Millisecond)
		synctest.Wait()
		writes := fsys.Count(vfs.OpWrite)
		time.Sleep(10 * markInterval)
		synctest.Wait()
		if n := fsys.Count(vfs.OpWrite) - writes; n != 0 {
			t.Errorf("%d writes while idle", n)
		}
		rep.mustPut(10)
		writes = fsys.Count(vfs.OpWrite)
		time.Sleep(markInterval + time.Millisecond)
		synctest.Wait()
		if n := fsys.Count(vfs.OpWrite) - writes; n != 1 {
			t.Errorf("%d writes of a mark, want 1", n)
		}
		rep.close()
	})
}
