package replication

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/fanfold/fanfold/log"
)

var (
	// ErrNotLeader: this replica does not lead its group, now or any more.
	ErrNotLeader = errors.New("replica is not the leader")

	// ErrTermOver: the proposal was checked in a term that ended before it
	// was appended. Nothing of it is in the log.
	ErrTermOver = errors.New("leadership changed before the entry was appended")

	// ErrStopped: the group was closed.
	ErrStopped = errors.New("replica is stopped")

	errReplicaFailed = errors.New("replica has failed")
)

const (
	// maxInRaft is how many proposals are handed to raft before it has stored
	// them.
	maxInRaft = 64

	// raftChannel is the size of raft's own channel. What was dropped when
	// leadership was lost may still be in it, so it is larger than maxInRaft:
	// handing over must never block, for raft's goroutine needs our lock.
	raftChannel = 2 * maxInRaft
)

// proposal is an entry on its way into the log.
type proposal struct {
	kind    log.Kind
	data    []byte
	term    uint64 // in which it was checked
	request any
	seq     uint64
	ext     [9]byte
}

// queue holds proposals in order: inRaft first, then waiting. While raft syncs
// one group of entries the next one gathers here; it is handed over when the
// sync is done, all at once, and so becomes one write and one sync.
type queue struct {
	inRaft  []*proposal
	waiting []*proposal
	nextSeq uint64 // of the newest proposal that raft was given
	taken   uint64 // of the newest one that raft is known to have taken from its channel
}

// Propose queues an entry for the log: a record batch (its base offset and
// leader epoch are patched in place when it is stored) or a command. term is
// the one in which the caller checked it. The outcome reaches the Machine with
// request: Stored and Apply, or Dropped. An error means that it was not
// queued. Calls that follow each other are stored in that order.
func (g *Group) Propose(kind log.Kind, data []byte, term uint64, request any) error {
	p := &proposal{kind: kind, data: data, term: term, request: request}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mu.raft == nil || g.mu.term == 0 {
		return ErrNotLeader
	}
	g.mu.queue.waiting = append(g.mu.queue.waiting, p)
	if len(g.mu.queue.inRaft) == 0 {
		g.handOver()
	}
	if g.mu.log != nil {
		g.mu.log.AnnounceSync()
	}
	return nil
}

// handOver gives raft what is waiting, as far as its channel has room. The
// caller holds g.mu.
func (g *Group) handOver() {
	q := &g.mu.queue
	n := min(len(q.waiting), maxInRaft-len(q.inRaft), raftChannel-int(q.nextSeq-q.taken))
	for _, p := range q.waiting[:n] {
		q.nextSeq++
		p.seq = q.nextSeq
		q.inRaft = append(q.inRaft, p)
		g.mu.raft.ApplyLog(raft.Log{Data: p.data, Extensions: putToken(p.ext[:0], p.kind, p.seq)}, 0)
	}
	rest := copy(q.waiting, q.waiting[n:])
	clear(q.waiting[rest:])
	q.waiting = q.waiting[:rest]
}

// stuck tells whether proposals wait that nothing under way will hand over.
func (g *Group) stuck() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.mu.queue.waiting) > 0 && len(g.mu.queue.inRaft) == 0
}

// takeProposal finds the proposal that ext names. Those before it were
// rejected by raft on its way and are dropped.
func (g *Group) takeProposal(ext []byte) (*proposal, error) {
	if len(ext) != 9 {
		return nil, fmt.Errorf("proposal token of %d bytes", len(ext))
	}
	seq := binary.BigEndian.Uint64(ext[1:])
	g.mu.Lock()
	q := &g.mu.queue
	q.taken = max(q.taken, seq)
	var found *proposal
	var lost []*proposal
	n := 0
	for ; n < len(q.inRaft) && q.inRaft[n].seq <= seq; n++ {
		if q.inRaft[n].seq == seq {
			found = q.inRaft[n]
		} else {
			lost = append(lost, q.inRaft[n])
		}
	}
	rest := copy(q.inRaft, q.inRaft[n:])
	clear(q.inRaft[rest:])
	q.inRaft = q.inRaft[:rest]
	g.mu.Unlock()
	for _, p := range lost {
		g.cfg.Machine.Dropped(p.request, ErrTermOver)
	}
	if found == nil {
		// It was dropped when leadership was lost; what raft still carries of
		// it goes into the log as void.
		return &proposal{seq: seq}, nil
	}
	return found, nil
}

// dropProposals fails everything that is not in the log yet.
func (g *Group) dropProposals(err error) {
	g.mu.Lock()
	q := &g.mu.queue
	lost := append(append([]*proposal(nil), q.inRaft...), q.waiting...)
	clear(q.inRaft)
	clear(q.waiting)
	q.inRaft, q.waiting = q.inRaft[:0], q.waiting[:0]
	if g.mu.log != nil {
		g.mu.log.RetractSync()
	}
	g.mu.Unlock()
	for _, p := range lost {
		g.cfg.Machine.Dropped(p.request, err)
	}
}
