package vfs

import (
	"maps"
	"slices"
	"time"
)

// memNode is a file or a directory of a [Mem]. All is guarded by Mem.mu.
type memNode struct {
	mod    time.Time
	links  int // current names that lead here: 0 or 1
	locked bool
	dirty  int // place in dirtyFiles or dirtyDirs, from 1; 0 if not there

	// A directory has entries, a file has nil.
	entries map[string]*memNode
	durable map[string]*memNode // what is on disk; nil if the same as entries
	pending []*nameOp           // from durable to entries, in order
	cut     int                 // while crashing: how many of pending survive

	data   []byte // as read
	shared bool   // data belongs to a clone too: copy before changing it
	writes []memWrite
	undo   []byte // the old bytes that writes point into
	gate   *memGate
}

// memWrite is an unsynced change of a file's bytes or length, as what takes it
// back: the bytes [off, end) that it changed, of which those below oldSize
// were undo[undoAt:] before and those above did not exist.
type memWrite struct {
	off, end int64
	oldSize  int64
	undoAt   int
	shrink   bool // a truncation from oldSize = end to off
}

// memGate is the state of a file after a failed Sync: the disk's content by
// itself, and the sectors written since, which alone the next Sync writes.
type memGate struct {
	disk  []byte
	dirty map[int64]struct{}
}

// nameOp is an unsynced change of names: one, or the two of a rename.
type nameOp struct {
	seq     uint64
	changes []nameChange
}

// nameChange sets a name of a directory; node is nil for a removal.
type nameChange struct {
	dir  *memNode
	name string
	node *memNode
	gone *memNode // what the name led to before and nothing leads to after
}

func newMemDir(now time.Time) *memNode {
	return &memNode{mod: now, entries: map[string]*memNode{}}
}

func (n *memNode) isDir() bool { return n.entries != nil }

// holds reports whether dir is n or below it.
func (n *memNode) holds(dir *memNode) bool {
	if n == dir {
		return true
	}
	for _, child := range n.entries {
		if child.isDir() && child.holds(dir) {
			return true
		}
	}
	return false
}

// dirtyList is a list with removal by swapping.
type dirtyList struct{ nodes []*memNode }

func (l *dirtyList) add(n *memNode) {
	if n.dirty == 0 {
		l.nodes = append(l.nodes, n)
		n.dirty = len(l.nodes)
	}
}

func (l *dirtyList) remove(n *memNode) {
	if n.dirty == 0 {
		return
	}
	last := l.nodes[len(l.nodes)-1]
	l.nodes[n.dirty-1] = last
	last.dirty = n.dirty
	n.dirty = 0
	l.nodes[len(l.nodes)-1] = nil
	l.nodes = l.nodes[:len(l.nodes)-1]
}

// change makes a change of names, of which a crash keeps all or nothing.
func (m *Mem) change(changes ...nameChange) {
	m.seq++
	op := &nameOp{seq: m.seq, changes: changes}
	for i := range changes {
		c := &changes[i]
		d := c.dir
		if d.durable == nil {
			d.durable = maps.Clone(d.entries)
		}
		if len(d.pending) == 0 || d.pending[len(d.pending)-1] != op {
			d.pending = append(d.pending, op)
		}
		d.mod = m.opts.Now()
		m.dirtyDirs.add(d)
		if c.gone = d.entries[c.name]; c.gone != nil {
			c.gone.links--
		}
		setName(d.entries, c.name, c.node)
		if c.node != nil {
			c.node.links++
		}
	}
	if len(changes) == 2 && changes[0].gone == changes[1].node {
		changes[0].gone = nil // moved
	}
}

func setName(entries map[string]*memNode, name string, n *memNode) {
	if n == nil {
		delete(entries, name)
	} else {
		entries[name] = n
	}
}

// flushDir makes d's changes up to seq durable; before a move from or to
// another directory that one's earlier changes; and before the removal of a
// directory what was moved out of it.
func (m *Mem) flushDir(d *memNode, seq uint64) {
	for len(d.pending) > 0 && d.pending[0].seq <= seq {
		op := d.pending[0]
		for _, c := range op.changes {
			if c.dir != d {
				m.flushDir(c.dir, op.seq-1)
			}
			if c.gone != nil && c.gone.isDir() {
				m.flushDir(c.gone, op.seq)
			}
		}
		m.flushOp(op)
	}
}

// flushOp makes op durable, which comes first in each directory it changes.
func (m *Mem) flushOp(op *nameOp) {
	for _, c := range op.changes {
		setName(c.dir.durable, c.name, c.node)
	}
	for _, c := range op.changes {
		d := c.dir
		if len(d.pending) > 0 && d.pending[0] == op {
			d.pending = slices.Delete(d.pending, 0, 1)
		}
		if len(d.pending) == 0 {
			d.durable = nil
			m.dirtyDirs.remove(d)
		}
		if c.gone != nil && c.gone.links == 0 && !c.gone.isDir() {
			c.gone.forget() // no crash brings it back
			m.dirtyFiles.remove(c.gone)
		}
	}
}
