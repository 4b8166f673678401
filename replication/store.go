package replication

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/fanfold/fanfold/log"
	"github.com/fanfold/fanfold/protocol/record"
)

// store is the raft.LogStore of one Raft instance over the partition's log.
//
// Extensions of a stored command, as raft sees them, hold its kind (1 byte). On
// the way in they hold the kind and the token of the proposal, which is never
// stored or sent.
type store struct {
	g   *Group
	log *log.Log

	broken chan struct{} // closed when the instance fails
	due    atomic.Uint64 // newest stored index that raft will show its FSM

	// The rest belongs to raft's main goroutine.
	entries []log.Entry // scratch
	tokens  []*proposal // scratch, parallel to entries
	rolls   uint64      // of the log, when a snapshot was last asked for
}

func newStore(g *Group, l *log.Log) *store {
	return &store{g: g, log: l, broken: make(chan struct{}), rolls: l.Rolls()}
}

// FirstIndex is 0 where the log has no entry: it never had one, or all were
// given up behind a snapshot.
func (s *store) FirstIndex() (uint64, error) {
	first := s.log.First()
	if last, _ := s.log.Last(); last < first {
		return 0, nil
	}
	return first, nil
}

// LastIndex is 0 where the log has no entry: raft reads the last one when it
// starts, and goes on behind its snapshot where there is none.
func (s *store) LastIndex() (uint64, error) {
	last, _ := s.log.Last()
	if last < s.log.First() {
		return 0, nil
	}
	return last, nil
}

// GetLog fills l with the entry at index; the payload of a batch is left out.
// raft.ErrLogNotFound is returned bare: raft compares it by identity. It panics
// over most other errors, so those end its goroutine.
func (s *store) GetLog(index uint64, l *raft.Log) error {
	info, err := s.log.Entry(index)
	if errors.Is(err, log.ErrNotFound) {
		return raft.ErrLogNotFound
	}
	if errors.Is(err, log.ErrClosed) {
		return err // its metrics may ask once more behind the end
	}
	if err != nil {
		s.end(fmt.Errorf("read entry %d: %w", index, err))
	}
	l.Index, l.Term, l.Type = info.Index, info.Term, raftType(info.Kind)
	if l.Type == raft.LogCommand {
		l.Extensions = []byte{byte(info.Kind)}
	}
	l.Data = info.Data
	return nil
}

func (s *store) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// StoreLogs writes and syncs what this replica proposed as leader, or what it
// bootstraps with. On failure it does not return: raft's goroutine ends.
func (s *store) StoreLogs(logs []*raft.Log) error {
	entries, tokens := s.entries[:0], s.tokens[:0]
	for _, l := range logs {
		e, tok, err := s.entry(l)
		if err != nil {
			s.g.fail(s, err)
			s.drop(tokens, err)
			runtime.Goexit()
		}
		entries, tokens = append(entries, e), append(tokens, tok)
	}
	s.entries, s.tokens = entries, tokens
	defer s.clear()
	before, _ := s.log.Last()
	offset := s.log.EndOffset()
	if err := s.write(entries); err != nil {
		s.g.fail(s, err)
		s.drop(tokens, err)
		runtime.Goexit()
	}
	s.stored(entries, tokens, before, offset)
	return nil
}

// write appends entries and syncs them where the topic wants that.
func (s *store) write(entries []log.Entry) error {
	if s.g.failed(s) {
		return errReplicaFailed
	}
	if err := s.log.AppendLeader(entries); err != nil {
		return fmt.Errorf("append: %w", err)
	}
	if !s.g.syncDue(s, entries) {
		s.log.RetractSync()
		return nil
	}
	if err := s.log.Sync(); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	return nil
}

// drop fails proposals that were taken from the queue but not stored.
func (s *store) drop(tokens []*proposal, err error) {
	for _, p := range tokens {
		if p != nil && p.request != nil {
			s.g.cfg.Machine.Dropped(p.request, err)
		}
	}
}

// clear drops the references that the scratch slices hold to requests' bytes.
func (s *store) clear() {
	clear(s.entries)
	clear(s.tokens)
}

// end fails the replica and ends raft's main goroutine.
func (s *store) end(err error) {
	s.g.fail(s, err)
	runtime.Goexit()
}

// entry turns what raft hands over into what is stored. A proposal whose term
// is over becomes a void entry.
func (s *store) entry(l *raft.Log) (log.Entry, *proposal, error) {
	kind, err := kindOf(l)
	if err != nil {
		return log.Entry{}, nil, err
	}
	if l.Term > math.MaxInt32 {
		return log.Entry{}, nil, fmt.Errorf("term %d does not fit a leader epoch", l.Term)
	}
	e := log.Entry{Index: l.Index, Term: l.Term, Kind: kind, Data: l.Data}
	if l.Type != raft.LogCommand {
		return e, nil, nil
	}
	p, err := s.g.takeProposal(l.Extensions)
	if err != nil {
		return log.Entry{}, nil, err
	}
	if p.term != l.Term {
		e.Kind, e.Data = KindVoid, nil
	}
	return e, p, nil
}

// stored tells the machine what is durable now, applies it where that makes it
// committed, and hands the next proposals to raft. before and offset are where
// the log ended before these entries.
func (s *store) stored(entries []log.Entry, tokens []*proposal, before uint64, offset int64) {
	g := s.g
	g.applyMu.Lock()
	// One voter's own durable log is the majority. What is in it already must
	// have been applied, or the order would be lost.
	short := g.lone.Load() && g.appliedIndex.Load() >= before
	for i, e := range entries {
		if e.Kind == KindConfiguration {
			g.observeConfiguration(e.Data)
			short = short && g.lone.Load()
		}
		info := infoOf(e, offset)
		offset = info.NextOffset()
		request := s.tell(info, tokens[i])
		if t := raftType(e.Kind); t == raft.LogCommand || t == raft.LogConfiguration {
			s.due.Store(e.Index)
		}
		if short {
			g.apply(info, request)
		} else if request != nil {
			g.await(e.Index, request)
		}
	}
	g.cfg.Machine.Applied()
	g.applyMu.Unlock()
	g.wrote(s)
}

// tell gives the machine the outcome of storing p, and returns the request that
// Apply is to mention.
func (s *store) tell(info log.EntryInfo, p *proposal) any {
	switch {
	case p == nil || p.request == nil:
		return nil
	case info.Kind == KindVoid:
		s.g.cfg.Machine.Dropped(p.request, ErrTermOver)
		return nil
	}
	s.g.cfg.Machine.Stored(info, p.request)
	return p.request
}

// infoOf describes an entry that was just written, at offset.
func infoOf(e log.Entry, offset int64) log.EntryInfo {
	info := log.EntryInfo{Index: e.Index, Term: e.Term, Kind: e.Kind, OffsetAt: offset}
	if e.Kind == KindBatch {
		// The batch was validated before it was proposed.
		info.Header, _ = record.ParseHeader(e.Data)
	} else {
		info.Data = e.Data
	}
	return info
}

// DeleteRange is called by raft in two ways: for a prefix behind a snapshot,
// where it does nothing, since retention governs the files; and for a suffix
// that another leader's log replaces, which is truncated.
func (s *store) DeleteRange(lo, hi uint64) error {
	last, _ := s.log.Last()
	if hi < last || lo <= s.g.snapshotIndex.Load() {
		return nil
	}
	if err := s.log.Truncate(lo); err != nil {
		s.end(fmt.Errorf("truncate from entry %d: %w", lo, err))
	}
	return nil
}

// putToken numbers a proposal on its way through raft.
func putToken(ext []byte, kind log.Kind, seq uint64) []byte {
	ext = append(ext, byte(kind))
	return binary.BigEndian.AppendUint64(ext, seq)
}
