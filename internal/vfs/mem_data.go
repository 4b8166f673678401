package vfs

import "slices"

// own makes n.data n's alone, with room for size bytes.
func (n *memNode) own(size int64) {
	switch {
	case n.shared:
		n.data = append(make([]byte, 0, max(size, int64(len(n.data)))), n.data...)
		n.shared = false
	case size > int64(cap(n.data)):
		n.data = slices.Grow(n.data, int(size)-len(n.data))
	}
}

// resize sets the length of n.data, which n owns; what comes new is zero.
func (n *memNode) resize(size int64) {
	old := int64(len(n.data))
	n.data = n.data[:size]
	if size > old {
		clear(n.data[old:])
	}
}

// write copies p to off and notes how to take it back.
func (m *Mem) write(n *memNode, p []byte, off int64) {
	if len(p) == 0 {
		return
	}
	end, oldSize := off+int64(len(p)), int64(len(n.data))
	n.own(end)
	if n.gate != nil {
		n.gate.touch(m, min(off, oldSize), end)
	} else {
		n.note(memWrite{off: off, end: end, oldSize: oldSize})
	}
	if end > oldSize {
		n.data = n.data[:end]
		clear(n.data[oldSize:max(off, oldSize)])
	}
	copy(n.data[off:], p)
	n.mod = m.opts.Now()
	m.dirtyFiles.add(n)
}

func (m *Mem) truncate(n *memNode, size int64) {
	oldSize := int64(len(n.data))
	if size == oldSize {
		return
	}
	n.own(size)
	switch {
	case n.gate != nil:
		n.gate.touch(m, min(size, oldSize), max(size, oldSize))
	case size < oldSize:
		n.note(memWrite{off: size, end: oldSize, oldSize: oldSize, shrink: true})
	default:
		n.note(memWrite{off: size, end: size, oldSize: oldSize})
	}
	n.resize(size)
	n.mod = m.opts.Now()
	m.dirtyFiles.add(n)
}

// note appends w to the unsynced changes, with the bytes that it overwrites.
func (n *memNode) note(w memWrite) {
	w.undoAt = len(n.undo)
	if w.off < w.oldSize {
		n.undo = append(n.undo, n.data[w.off:min(w.end, w.oldSize)]...)
	}
	n.writes = append(n.writes, w)
}

// syncFile makes the file n durable, but for what a failed Sync has lost:
// with a gate it stays among the dirty files, for it differs from the disk.
func (m *Mem) syncFile(n *memNode) {
	n.forget()
	g := n.gate
	if g == nil {
		m.dirtyFiles.remove(n)
		return
	}
	g.write(m, n.data, slices.Collect(g.sectors()))
	clear(g.dirty)
}

// forget takes the unsynced changes as done.
func (n *memNode) forget() {
	const keepBytes = 64 << 10
	if cap(n.undo) > keepBytes {
		n.undo = nil
	}
	if cap(n.writes) > keepBytes/32 {
		n.writes = nil
	}
	n.writes, n.undo = n.writes[:0], n.undo[:0]
}

// failSync leaves on disk what a crash might, and everything clean.
func (m *Mem) failSync(n *memNode) {
	if len(n.writes) == 0 && n.gate == nil {
		return
	}
	disk := m.surviving(n, Random, m.rng)
	n.forget()
	n.gate = &memGate{disk: disk, dirty: map[int64]struct{}{}}
}

// surviving is what a crash leaves of the file n, in memory that is not n's.
func (m *Mem) surviving(n *memNode, mode CrashMode, rng randSource) []byte {
	if n.gate != nil {
		return n.gate.surviving(m, n.data, mode, rng)
	}
	if len(n.writes) == 0 {
		return slices.Clone(n.data)
	}
	choice := crashChoice{sector: int64(m.opts.SectorBytes)}
	if mode == Random {
		choice.draw(n, rng)
	}
	return choice.image(n)
}

// touch marks the sectors of [off, end) as written since the failed Sync.
func (g *memGate) touch(m *Mem, off, end int64) {
	sector := int64(m.opts.SectorBytes)
	for s := off / sector; s*sector < end; s++ {
		g.dirty[s] = struct{}{}
	}
}

// sectors yields the dirty sectors in order, so that a seed reproduces.
func (g *memGate) sectors() func(yield func(int64) bool) {
	sorted := make([]int64, 0, len(g.dirty))
	for s := range g.dirty {
		sorted = append(sorted, s)
	}
	slices.Sort(sorted)
	return slices.Values(sorted)
}

// write copies sectors of data to the disk, and data's length.
func (g *memGate) write(m *Mem, data []byte, sectors []int64) {
	size := len(data)
	if grown := size - len(g.disk); grown > 0 {
		g.disk = append(g.disk, make([]byte, grown)...)
	}
	g.disk = g.disk[:size]
	for _, s := range sectors {
		from := min(int(s)*m.opts.SectorBytes, size)
		copy(g.disk[from:min(from+m.opts.SectorBytes, size)], data[from:])
	}
}

func (g *memGate) surviving(m *Mem, data []byte, mode CrashMode, rng randSource) []byte {
	after := &memGate{disk: slices.Clone(g.disk), dirty: g.dirty}
	if mode == Random && len(g.dirty) > 0 && rng.IntN(2) == 0 {
		var kept []int64
		for s := range g.sectors() {
			if rng.IntN(2) == 0 {
				kept = append(kept, s)
			}
		}
		after.write(m, data, kept)
	}
	return after.disk
}
