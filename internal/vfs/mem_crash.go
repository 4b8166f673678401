package vfs

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// CrashMode says what of the unsynced state survives [Mem.Crash].
type CrashMode uint8

const (
	// DropAll is a power loss at its worst: what was synced survives alone.
	DropAll CrashMode = iota

	// KeepAll is the end of the process (kill -9): all that was written is
	// read, and what was not synced is still not durable.
	KeepAll

	// Random is a power loss as it comes. Of each file every sector holds
	// what it held after its last sync or after any of the writes since; the
	// length is that after any of them, or within one that extends it; what is
	// below the length and was not written reads as zeros. A truncation takes
	// effect with all that was before it in its file, or not at all, and then
	// nothing after it does. Of each directory the first changes of names
	// survive, up to any of them. Files and directories are independent, but
	// for a move between two, which happens in both or in neither.
	Random
)

// String is the mode's name.
func (c CrashMode) String() string {
	return [...]string{"DropAll", "KeepAll", "Random"}[c]
}

type randSource interface{ IntN(n int) int }

// Crash ends m and returns what is found after it. Every later call on m, its
// files and locks fails with [ErrCrashed]. rng is used by Random alone; equal
// calls on m and equal seeds give equal results. What is found after a power
// loss is durable.
func (m *Mem) Crash(mode CrashMode, rng *rand.Rand) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		panic("vfs: crash of a file system that has crashed")
	}
	after := &Mem{
		opts:       m.opts,
		root:       m.root,
		seq:        m.seq,
		rng:        m.rng,
		dirtyFiles: m.dirtyFiles,
		dirtyDirs:  m.dirtyDirs,
	}
	for _, n := range m.locked {
		n.locked = false
	}
	m.dead = true
	m.root, m.locked, m.dirtyFiles, m.dirtyDirs = nil, nil, dirtyList{}, dirtyList{}
	if mode != KeepAll {
		after.losePower(mode, rng)
	}
	return after
}

// CrashClone returns what [Mem.Crash] would, and m goes on.
func (m *Mem) CrashClone(mode CrashMode, rng *rand.Rand) *Mem {
	return m.clone().Crash(mode, rng)
}

func (m *Mem) losePower(mode CrashMode, rng *rand.Rand) {
	for _, n := range m.dirtyFiles.nodes {
		n.data, n.shared = m.surviving(n, mode, rng), false
		n.forget()
		n.gate, n.dirty = nil, 0
	}
	m.dirtyFiles = dirtyList{}
	m.chooseNames(mode, rng)
	for _, d := range m.dirtyDirs.nodes {
		for _, op := range d.pending[:d.cut] {
			for _, c := range op.changes {
				if c.dir == d {
					setName(d.durable, c.name, c.node)
				}
			}
		}
		d.entries, d.durable, d.pending, d.dirty = d.durable, nil, nil, 0
	}
	for _, d := range m.dirtyDirs.nodes {
		for _, n := range d.entries {
			n.links = 1
		}
	}
	m.dirtyDirs = dirtyList{}
}

// chooseNames sets how much of each directory's changes survives.
func (m *Mem) chooseNames(mode CrashMode, rng *rand.Rand) {
	dirs := m.dirtyDirs.nodes
	for _, d := range dirs {
		d.cut = 0
		if mode == Random {
			switch n := len(d.pending); rng.IntN(4) {
			case 0: // nothing
			case 1:
				d.cut = n
			default:
				d.cut = rng.IntN(n + 1)
			}
		}
	}
	for changed := true; changed; {
		changed = false
		for _, d := range dirs {
			for i, op := range d.pending[:d.cut] {
				if !op.possible(d) {
					d.cut, changed = i, true
					break
				}
			}
		}
	}
}

// possible reports whether op, kept in d, agrees with what is kept elsewhere:
// the other half of a move, and what was moved out of a removed directory.
func (op *nameOp) possible(d *memNode) bool {
	for _, c := range op.changes {
		if c.dir != d && !slices.Contains(c.dir.pending[:c.dir.cut], op) {
			return false
		}
		if c.gone != nil && c.gone.isDir() && c.gone.cut < len(c.gone.pending) {
			return false
		}
	}
	return true
}

// crashChoice is what survives of one file's unsynced changes.
type crashChoice struct {
	sector int64 // bytes

	// changes is how many of the changes of length survive, counted in
	// writes; extra is by how many bytes the next one still extends the file.
	changes int
	extra   int64

	// kept[i] is how many of the writes survive in the sector first+i; nil
	// means none in any.
	first int64
	kept  []int32
}

func (c *crashChoice) draw(n *memNode, rng randSource) {
	total := len(n.writes)
	switch rng.IntN(4) {
	case 0: // the length as it was
	case 1:
		c.changes = rng.IntN(total + 1)
	default:
		c.changes = total
	}
	if c.changes < total && rng.IntN(2) == 0 {
		if grown := n.sizeAfter(c.changes+1) - n.sizeAfter(c.changes); grown > c.sector {
			c.extra = int64(rng.IntN(int(grown/c.sector)+1)) * c.sector
		}
	}
	limit := total // writes behind a truncation that is lost are lost
	for i := c.changes; i < total; i++ {
		if n.writes[i].shrink {
			limit = i
			break
		}
	}
	c.drawSectors(n, limit, rng)
}

// drawSectors chooses, for every sector written, the writes up to limit that
// survive in it: a whole prefix of the file's writes with one torn, or each
// sector by itself.
func (c *crashChoice) drawSectors(n *memNode, limit int, rng randSource) {
	lo, hi := n.writtenRange()
	c.first = lo / c.sector
	c.kept = make([]int32, (hi+c.sector-1)/c.sector-c.first)
	how, torn := rng.IntN(4), rng.IntN(limit+1)
	for i := range c.kept {
		switch {
		case how == 0: // none
		case how == 1:
			c.kept[i] = int32(limit)
		case how == 2:
			c.kept[i] = int32(max(torn-rng.IntN(2), 0))
		case rng.IntN(2) == 0:
			c.kept[i] = int32(limit)
		}
	}
	if how == 3 {
		c.drawVersions(n, limit, rng)
	}
}

// drawVersions lets some of the lost sectors keep their first writes.
func (c *crashChoice) drawVersions(n *memNode, limit int, rng randSource) {
	for w, write := range n.writes[:limit] {
		for s := write.off / c.sector; s*c.sector < write.end; s++ {
			if k := &c.kept[s-c.first]; int(*k) < limit && rng.IntN(3) == 0 {
				*k = int32(w)
			}
		}
	}
}

// writtenRange is the range of bytes that the unsynced changes touched.
func (n *memNode) writtenRange() (lo, hi int64) {
	lo = n.writes[0].off
	for _, w := range n.writes {
		lo, hi = min(lo, w.off), max(hi, w.end)
	}
	return lo, max(lo, hi)
}

// sizeAfter is the length after the first i unsynced changes.
func (n *memNode) sizeAfter(i int) int64 {
	if i < len(n.writes) {
		return n.writes[i].oldSize
	}
	return int64(len(n.data))
}

// image takes back in a copy of n's data, from the last to the first, what
// does not survive.
func (c *crashChoice) image(n *memNode) []byte {
	size := n.sizeAfter(c.changes) + c.extra
	longest := max(size, int64(len(n.data)))
	for _, w := range n.writes {
		longest = max(longest, w.oldSize)
	}
	img := make([]byte, longest)
	copy(img, n.data)
	limit := longest // a truncation that survives: nothing comes back above
	for i := len(n.writes) - 1; i >= 0; i-- {
		w := &n.writes[i]
		if w.shrink && i < c.changes {
			limit = min(limit, w.off)
			continue
		}
		c.takeBack(n, img, i, limit)
	}
	return img[:size:size]
}

// takeBack undoes the write i in the sectors that lost it, below limit.
func (c *crashChoice) takeBack(n *memNode, img []byte, i int, limit int64) {
	w := &n.writes[i]
	for off := w.off; off < min(w.end, limit); {
		next := min((off/c.sector+1)*c.sector, w.end, limit)
		if c.kept == nil || int32(i) >= c.kept[off/c.sector-c.first] {
			existed := off
			if off < w.oldSize {
				existed = min(next, w.oldSize)
				copy(img[off:existed], n.undo[w.undoAt+int(off-w.off):])
			}
			clear(img[existed:next])
		}
		off = next
	}
}

// clone returns a file system with the same content and the same unsynced
// changes. Data is shared until one of the two changes it.
func (m *Mem) clone() *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		panic("vfs: clone of a file system that has crashed")
	}
	c := cloner{nodes: map[*memNode]*memNode{}, ops: map[*nameOp]*nameOp{}}
	after := &Mem{
		opts: m.opts,
		root: c.node(m.root),
		seq:  m.seq,
		rng:  rand.New(rand.NewPCG(m.opts.Seed, m.seq)),
	}
	for _, n := range m.dirtyFiles.nodes {
		after.dirtyFiles.nodes = append(after.dirtyFiles.nodes, c.node(n))
	}
	for _, n := range m.dirtyDirs.nodes {
		after.dirtyDirs.nodes = append(after.dirtyDirs.nodes, c.node(n))
	}
	for _, n := range m.locked {
		after.locked = append(after.locked, c.node(n))
	}
	return after
}

type cloner struct {
	nodes map[*memNode]*memNode
	ops   map[*nameOp]*nameOp
}

func (c *cloner) node(n *memNode) *memNode {
	if n == nil {
		return nil
	}
	if done := c.nodes[n]; done != nil {
		return done
	}
	to := &memNode{mod: n.mod, links: n.links, locked: n.locked, dirty: n.dirty}
	c.nodes[n] = to
	if !n.isDir() {
		n.shared = true
		to.data, to.shared = n.data[:len(n.data):len(n.data)], true
		to.writes, to.undo = slices.Clone(n.writes), slices.Clone(n.undo)
		if g := n.gate; g != nil {
			to.gate = &memGate{disk: slices.Clone(g.disk), dirty: maps.Clone(g.dirty)}
		}
		return to
	}
	to.entries = c.entries(n.entries)
	if n.durable != nil {
		to.durable = c.entries(n.durable)
	}
	for _, op := range n.pending {
		to.pending = append(to.pending, c.op(op))
	}
	return to
}

func (c *cloner) entries(from map[string]*memNode) map[string]*memNode {
	to := make(map[string]*memNode, len(from))
	for name, n := range from {
		to[name] = c.node(n)
	}
	return to
}

func (c *cloner) op(from *nameOp) *nameOp {
	if done := c.ops[from]; done != nil {
		return done
	}
	to := &nameOp{seq: from.seq}
	c.ops[from] = to
	for _, ch := range from.changes {
		to.changes = append(to.changes, nameChange{
			dir: c.node(ch.dir), name: ch.name, node: c.node(ch.node), gone: c.node(ch.gone),
		})
	}
	return to
}
