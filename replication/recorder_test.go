package replication

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/fanfold/fanfold/internal/vfs"
	"github.com/fanfold/fanfold/log"
	"github.com/fanfold/fanfold/protocol/record"
)

const (
	kindTestStart   log.Kind = 16 // the recorder's leader-start
	kindTestCommand log.Kind = 17 // its payload is the id of the request
)

// applied is one entry as the recorder saw it applied.
type applied struct {
	index uint64
	id    uint64 // of a batch (its base timestamp) or command, 0 otherwise
	kind  log.Kind
}

// ask is a request of a test: it is answered exactly once.
type ask struct {
	id      uint64
	size    int
	stored  int
	answers int
	index   uint64
	err     error
	done    chan struct{}
}

// recorder is a Machine that writes everything down and checks the order of
// calls. Its state is all that it has applied.
type recorder struct {
	t testing.TB

	mu      sync.Mutex
	log     *log.Log
	history []applied
	index   uint64   // applied so far
	run     []uint64 // ids since Applied was last called
	term    uint64   // in which the recorder leads
	state   chan struct{}
	offline error
	replays int // entries applied without a request since Attach
	restore int // Restore calls

	failures int
}

func newRecorder(t testing.TB) *recorder { return &recorder{t: t, state: make(chan struct{})} }

// changed wakes those who wait. The caller holds mu.
func (r *recorder) changed() {
	close(r.state)
	r.state = make(chan struct{})
}

// await waits until ok holds, which is called with mu held.
func (r *recorder) await(what string, ok func() bool) {
	r.t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	for {
		r.mu.Lock()
		met, state := ok(), r.state
		r.mu.Unlock()
		if met {
			return
		}
		select {
		case <-state:
		case <-deadline.C:
			r.t.Fatalf("waited for a minute until %s", what)
		}
	}
}

func (r *recorder) awaitLeading() uint64 {
	r.t.Helper()
	r.await("the replica leads", func() bool { return r.term != 0 })
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.term
}

func (r *recorder) awaitOffline() error {
	r.t.Helper()
	r.await("the replica is offline", func() bool { return r.offline != nil })
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.offline
}

func (r *recorder) Attach(l *log.Log) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log, r.offline, r.replays = l, nil, 0
	r.changed()
}

func (r *recorder) Restore(state []byte) (uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.restore++
	r.history, r.index, r.run = nil, 0, nil
	if state == nil {
		return 0, nil
	}
	r.index = binary.BigEndian.Uint64(state)
	for b := state[8:]; len(b) > 0; b = b[17:] {
		r.history = append(r.history, applied{
			binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:]), log.Kind(b[16]),
		})
	}
	return r.index, nil
}

func (r *recorder) Snapshot() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := binary.BigEndian.AppendUint64(nil, r.index)
	for _, a := range r.history {
		b = binary.BigEndian.AppendUint64(b, a.index)
		b = binary.BigEndian.AppendUint64(b, a.id)
		b = append(b, byte(a.kind))
	}
	return b
}

func (r *recorder) Stored(e log.EntryInfo, request any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a, ok := request.(*ask)
	if !ok {
		return // the leader-start
	}
	if a.stored++; a.stored > 1 || a.answers > 0 {
		r.t.Errorf("request %d: stored %d times, after %d answers", a.id, a.stored, a.answers)
	}
	if idOf(e) != a.id || e.Index <= r.index {
		r.t.Errorf("request %d is stored as %d at index %d, %d are applied", a.id, idOf(e), e.Index, r.index)
	}
}

func idOf(e log.EntryInfo) uint64 {
	switch {
	case e.Kind == KindBatch:
		return uint64(e.Header.BaseTimestamp)
	case e.Kind == kindTestCommand && len(e.Data) == 8:
		return binary.BigEndian.Uint64(e.Data)
	}
	return 0
}

func (r *recorder) Apply(e log.EntryInfo, request any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.Index <= r.index {
		r.t.Errorf("entry %d is applied after entry %d", e.Index, r.index)
	}
	r.index = e.Index
	r.history = append(r.history, applied{e.Index, idOf(e), e.Kind})
	switch a := request.(type) {
	case *ask:
		if a.stored != 1 {
			r.t.Errorf("request %d is applied, and stored %d times", a.id, a.stored)
		}
		a.index = e.Index
		r.answer(a, nil)
	case leaderStart:
		r.term = e.Term
	default:
		r.replays++
	}
}

// answer is called with mu held.
func (r *recorder) answer(a *ask, err error) {
	if a.answers++; a.answers > 1 {
		r.t.Errorf("request %d is answered %d times", a.id, a.answers)
		return
	}
	a.err = err
	close(a.done)
}

func (r *recorder) Applied() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changed()
}

func (r *recorder) LeaderStart() (log.Kind, []byte) { return kindTestStart, []byte("recorder") }

func (r *recorder) Dropped(request any, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a, ok := request.(*ask); ok {
		r.answer(a, err)
	}
}

func (r *recorder) SteppedDown() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.term = 0
	r.changed()
}

func (r *recorder) Failed(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.term, r.offline = 0, err
	r.failures++
	r.changed()
}

// snapshotOf is the history without entries that the log makes for itself.
func (r *recorder) requests() []applied {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []applied
	for _, a := range r.history {
		if a.id != 0 {
			list = append(list, a)
		}
	}
	return list
}

// testReplica is a group with its node and recorder.
type testReplica struct {
	*recorder
	node   *Node
	group  *Group
	nextID uint64
}

// testConfig changes a group's configuration before it is opened.
type testConfig func(*GroupConfig)

func openReplica(t testing.TB, fsys vfs.FS, configs ...testConfig) *testReplica {
	t.Helper()
	node, err := OpenNode(NodeConfig{FS: fsys, Dir: "/node", Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	rep := &testReplica{recorder: newRecorder(t), node: node, nextID: 1}
	cfg := GroupConfig{
		ID: testGroup(1), Dir: "/node/replica", ServerID: "1-1", Machine: rep.recorder, Logger: quiet,
	}
	for _, change := range configs {
		change(&cfg)
	}
	rep.group, err = node.OpenGroup(context.Background(), cfg)
	if err != nil {
		node.Close()
		t.Fatal(err)
	}
	return rep
}

func (r *testReplica) close() {
	r.t.Helper()
	if err := r.node.Close(); err != nil {
		r.t.Fatal(err)
	}
}

func withSegments(bytes int64) testConfig {
	return func(c *GroupConfig) { c.Limits.SegmentBytes = bytes }
}

func withFlush(p FlushPolicy) testConfig { return func(c *GroupConfig) { c.Flush = p } }

// batch makes a batch of one record with the id as its timestamp.
func batch(t testing.TB, id uint64, valueBytes int) []byte {
	b, err := record.NewBuilder(record.None, 0)
	if err != nil {
		t.Fatal(err)
	}
	b.Append(int64(id), nil, make([]byte, valueBytes), nil)
	data, err := b.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// propose queues a batch in the term, or a command where size is negative.
func (r *testReplica) propose(term uint64, id uint64, size int) (*ask, error) {
	a := &ask{id: id, size: size, done: make(chan struct{})}
	if size < 0 {
		return a, r.group.Propose(kindTestCommand, binary.BigEndian.AppendUint64(nil, id), term, a)
	}
	return a, r.group.Propose(KindBatch, batch(r.t, id, size), term, a)
}

// put proposes a batch and waits for its answer.
func (r *testReplica) put(size int) (*ask, error) {
	r.t.Helper()
	term := r.awaitLeading()
	a, err := r.propose(term, r.nextID, size)
	if err != nil {
		return a, err
	}
	r.nextID++
	select {
	case <-a.done:
		return a, a.err
	case <-time.After(time.Minute):
		r.t.Fatalf("request %d is not answered", a.id)
		return nil, nil
	}
}

func (r *testReplica) mustPut(size int) *ask {
	r.t.Helper()
	a, err := r.put(size)
	if err != nil {
		r.t.Fatalf("request %d: %v", a.id, err)
	}
	return a
}

// sameHistory fails the test unless got begins with want.
func sameHistory(t testing.TB, at string, want, got []applied) {
	t.Helper()
	for i, a := range want {
		if i >= len(got) || got[i] != a {
			t.Fatalf("%s: entry %d should be %+v; there are %d of %d: %s", at, i, a, len(got), len(want), around(got, i))
		}
	}
}

func around(list []applied, i int) string {
	return fmt.Sprintf("%+v", list[min(max(0, i-2), len(list)):min(len(list), i+3)])
}

var errTest = errors.New("test")
