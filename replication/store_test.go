package replication

import (
	"bytes"
	"math"
	"testing"
	"testing/synctest"

	"github.com/hashicorp/raft"

	"github.com/fanfold/fanfold/log"
)

// inBubble runs a subtest in virtual time.
func inBubble(f func(*testing.T)) func(*testing.T) {
	return func(t *testing.T) { synctest.Test(t, f) }
}

func (r *testReplica) instance() (*raft.Raft, *store) {
	r.group.mu.Lock()
	defer r.group.mu.Unlock()
	return r.group.mu.raft, r.group.mu.store
}

// raft compares this error by identity: a wrapped one would stop replication
// for ever.
func TestStoreNotFoundIsBare(t *testing.T) {
	rep := openReplica(t, newMem(t))
	defer rep.close()
	a := rep.mustPut(10)
	_, s := rep.instance()
	for _, index := range []uint64{0, a.index + 1, 1 << 50} {
		if err := s.GetLog(index, new(raft.Log)); err != raft.ErrLogNotFound {
			t.Errorf("entry %d: %v", index, err)
		}
	}
}

// What raft reads back has the kind, no payload of a batch, and never the token
// that it came with.
func TestStoreEntries(t *testing.T) {
	rep := openReplica(t, newMem(t))
	defer rep.close()
	data := rep.mustPut(100)
	command := rep.mustPut(-1)
	_, s := rep.instance()
	var l raft.Log
	if err := s.GetLog(data.index, &l); err != nil {
		t.Fatal(err)
	}
	if l.Type != raft.LogCommand || l.Index != data.index || l.Data != nil || !bytes.Equal(l.Extensions, []byte{byte(KindBatch)}) {
		t.Errorf("batch: %+v", l)
	}
	l = raft.Log{}
	if err := s.GetLog(command.index, &l); err != nil {
		t.Fatal(err)
	}
	if l.Type != raft.LogCommand || len(l.Data) != 8 || !bytes.Equal(l.Extensions, []byte{byte(kindTestCommand)}) {
		t.Errorf("command: %+v", l)
	}
	l = raft.Log{}
	if err := s.GetLog(1, &l); err != nil || l.Type != raft.LogConfiguration || voters(raft.DecodeConfiguration(l.Data)) != 1 {
		t.Errorf("configuration: %+v, %v", l, err)
	}
	first, err := s.FirstIndex()
	if first != 1 || err != nil {
		t.Errorf("first index %d, %v", first, err)
	}
	if last, err := s.LastIndex(); last != command.index || err != nil {
		t.Errorf("last index %d, %v", last, err)
	}
}

// raft deletes a prefix behind each snapshot, and everything behind an
// installed one: what the snapshot covers stays.
func TestStoreDeletesSuffixOnly(t *testing.T) {
	mem := newMem(t)
	l, err := log.Open(t.Context(), "/node/other", log.Config{FS: mem, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Abort()
	for i := uint64(1); i <= 10; i++ {
		if err := l.AppendLeader([]log.Entry{{Index: i, Term: 1, Kind: KindBatch, Data: batch(t, i, 10)}}); err != nil {
			t.Fatal(err)
		}
	}
	g := &Group{}
	s := newStore(g, l)
	g.snapshotIndex.Store(6)
	for _, c := range []struct{ lo, hi, last uint64 }{
		{1, 6, 10}, {1, 10, 10}, {3, 8, 10}, {6, 10, 10}, {9, 10, 8}, {7, 8, 6},
	} {
		if err := s.DeleteRange(c.lo, c.hi); err != nil {
			t.Fatal(err)
		}
		if last, _ := l.Last(); last != c.last || l.First() != 1 {
			t.Errorf("%d to %d: the log is from %d to %d, want to %d", c.lo, c.hi, l.First(), last, c.last)
		}
	}
}

// What cannot be stored fails the replica: all that came with it is answered.
func TestStoreRefuses(t *testing.T) {
	for name, bad := range map[string]*raft.Log{
		"no kind":        {Type: raft.LogCommand, Term: 2},
		"no token":       {Type: raft.LogCommand, Term: 2, Extensions: []byte{17}},
		"old type":       {Type: raft.LogAddPeerDeprecated, Term: 2},
		"term above int": {Type: raft.LogNoop, Term: math.MaxInt32 + 1},
	} {
		t.Run(name, inBubble(func(t *testing.T) {
			rep := openReplica(t, newMem(t))
			defer rep.close()
			rep.mustPut(10)
			_, s := rep.instance()
			g := rep.group
			a := &ask{id: 50, done: make(chan struct{})}
			g.mu.Lock()
			g.mu.queue.nextSeq++
			p := &proposal{kind: kindTestCommand, data: make([]byte, 8), term: 2, request: a, seq: g.mu.queue.nextSeq}
			g.mu.queue.inRaft = append(g.mu.queue.inRaft, p)
			g.mu.Unlock()
			last, _ := s.log.Last()
			good := &raft.Log{Type: raft.LogCommand, Index: last + 1, Term: 2, Extensions: putToken(nil, p.kind, p.seq)}
			bad.Index = last + 2
			returned := false
			done := make(chan struct{})
			go func() {
				defer close(done)
				_ = s.StoreLogs([]*raft.Log{good, bad})
				returned = true
			}()
			<-done
			<-a.done
			if returned || a.err == nil {
				t.Errorf("StoreLogs returned: %v; the other proposal: %v", returned, a.err)
			}
			rep.awaitOffline()
			if now, _ := s.log.Last(); now != last {
				t.Errorf("the log ends at %d, before at %d", now, last)
			}
			rep.mustPut(10) // it comes back
		}))
	}
}

// A snapshot succeeds where the newest entry is a configuration, which a plain
// FSM never sees.
func TestSnapshotBehindConfiguration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := newMem(t)
		rep := openReplica(t, mem)
		rep.mustPut(10)
		r, s := rep.instance()
		f := r.AddNonvoter("2-1", "2-1", 0, 0)
		if err := f.Error(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		rep.group.wantSnapshot()
		synctest.Wait()
		if at := rep.group.snapshotIndex.Load(); at != f.Index() {
			t.Errorf("the snapshot is of entry %d, the configuration is entry %d", at, f.Index())
		}
		if !rep.group.lone.Load() {
			t.Error("a non-voter ended the short way")
		}
		if last, _ := s.log.Last(); last != f.Index() {
			t.Errorf("the log ends at %d", last)
		}
		if err := r.RemoveServer("2-1", 0, 0).Error(); err != nil {
			t.Fatal(err)
		}
		rep.mustPut(10)
		rep.close()
	})
}

func TestKinds(t *testing.T) {
	for _, typ := range []raft.LogType{raft.LogNoop, raft.LogConfiguration, raft.LogBarrier} {
		kind, err := kindOf(&raft.Log{Type: typ})
		if err != nil || raftType(kind) != typ {
			t.Errorf("%v became %d and %v, %v", typ, kind, raftType(kind), err)
		}
	}
	for _, kind := range []log.Kind{KindBatch, KindVoid, kindTestCommand} {
		got, err := kindOf(&raft.Log{Type: raft.LogCommand, Extensions: putToken(nil, kind, 5)})
		if err != nil || got != kind || raftType(kind) != raft.LogCommand {
			t.Errorf("kind %d became %d, %v", kind, got, err)
		}
	}
}
