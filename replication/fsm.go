package replication

import (
	"fmt"
	"io"
	"runtime"

	"github.com/hashicorp/raft"

	"github.com/fanfold/fanfold/log"
)

// fsm is raft's view of a group's Machine. It is a BatchingFSM so that it sees
// configurations too: snapshots of a plain FSM fail where the newest entry is
// one (raft.md).
type fsm struct{ g *Group }

var _ raft.BatchingFSM = fsm{}

// Apply is never called by raft beside ApplyBatch.
func (f fsm) Apply(l *raft.Log) any {
	return f.ApplyBatch([]*raft.Log{l})[0]
}

// ApplyBatch applies what the store has not applied already. Nobody awaits the
// answers.
func (f fsm) ApplyBatch(logs []*raft.Log) []any {
	g := f.g
	g.applyMu.Lock()
	before := g.appliedIndex.Load()
	defer func() {
		// Also where an entry could not be read and this goroutine ends: those
		// before it were applied.
		if g.appliedIndex.Load() > before {
			g.cfg.Machine.Applied()
		}
		g.applyMu.Unlock()
	}()
	for _, l := range logs {
		g.applyLog(l)
	}
	g.fsmSeen.Store(logs[len(logs)-1].Index)
	signal(g.progress)
	return make([]any, len(logs))
}

// Restore replaces the machine's state by a snapshot's.
func (f fsm) Restore(r io.ReadCloser) error {
	defer r.Close()
	state, err := io.ReadAll(r)
	if err != nil {
		return fmt.Errorf("restore snapshot: %w", err)
	}
	return f.g.restore(state)
}

// Snapshot captures the machine's state.
func (f fsm) Snapshot() (raft.FSMSnapshot, error) {
	// What the snapshot covers must be durable, also where a topic's
	// flush.messages lets it be applied before: the sync comes second, so that
	// it covers all that the state is of.
	state := f.g.cfg.Machine.Snapshot()
	if err := f.g.syncLog(); err != nil {
		return nil, fmt.Errorf("sync before snapshot: %w", err)
	}
	return fsmSnapshot(state), nil
}

type fsmSnapshot []byte

func (s fsmSnapshot) Persist(sink raft.SnapshotSink) error {
	if _, err := sink.Write(s); err != nil {
		return err
	}
	return nil
}

func (fsmSnapshot) Release() {}

// applyLog applies one entry that raft says is committed.
func (g *Group) applyLog(l *raft.Log) {
	if l.Type == raft.LogConfiguration {
		g.configurationCommitted(l.Index)
	}
	if l.Index <= g.appliedIndex.Load() {
		return
	}
	g.mu.Lock()
	lg, s := g.mu.log, g.mu.store
	g.mu.Unlock()
	// What is in the log is asked of the log: a proposal that lost its term is
	// a void entry there, whatever raft has in memory.
	info, err := lg.Entry(l.Index)
	if err != nil {
		g.fail(s, fmt.Errorf("read committed entry %d: %w", l.Index, err))
		runtime.Goexit()
	}
	g.apply(info, g.takeAwaited(l.Index))
}

// apply hands one committed entry to the machine, each index once. The caller
// holds applyMu.
func (g *Group) apply(info log.EntryInfo, request any) {
	if info.Index <= g.appliedIndex.Load() {
		return
	}
	g.cfg.Machine.Apply(info, request)
	g.appliedIndex.Store(info.Index)
}

// await remembers the request of an entry that is stored but not committed.
func (g *Group) await(index uint64, request any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mu.awaited[index] = request
}

func (g *Group) takeAwaited(index uint64) any {
	g.mu.Lock()
	defer g.mu.Unlock()
	request := g.mu.awaited[index]
	delete(g.mu.awaited, index)
	return request
}

// dropAwaited fails what is stored but not committed: whether it will be, this
// replica cannot say any more.
func (g *Group) dropAwaited(err error) {
	g.mu.Lock()
	lost := g.mu.awaited
	g.mu.awaited = map[uint64]any{}
	g.mu.Unlock()
	for _, request := range lost {
		g.cfg.Machine.Dropped(request, err)
	}
}
