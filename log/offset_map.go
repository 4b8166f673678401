package log

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
)

// keyHash stands for a key: half of its SHA-256. That two keys have the same is
// less likely than that the disk changes one into the other unnoticed, and
// nobody can make two that do.
type keyHash [16]byte

func hashKey(key []byte) keyHash {
	sum := sha256.Sum256(key)
	return keyHash(sum[:16])
}

// offsetMap is the newest offset of each key, in memory of a bounded size,
// whatever the keys: open addressing over slots that grow up to a limit.
type offsetMap struct {
	slots []mapSlot
	used  int
	most  int     // slots that there may be
	load  float64 // share of them that may be used
}

type mapSlot struct {
	hash keyHash
	next int64 // offset + 1; 0: the slot is free
}

const (
	mapSlotBytes  = 24
	minMapSlots   = 2
	startMapSlots = 4096
)

// newOffsetMap takes at most so many bytes once it has grown; while it grows
// from one size to the next it has both.
func newOffsetMap(bytes int64, load float64) *offsetMap {
	most := max(minMapSlots, int(bytes/mapSlotBytes))
	return &offsetMap{slots: make([]mapSlot, min(startMapSlots, most)), most: most, load: load}
}

// room is how many keys the slots take.
func (m *offsetMap) room() int {
	return max(1, min(int(float64(len(m.slots))*m.load), len(m.slots)-1))
}

// fill is the share of the limit that is used.
func (m *offsetMap) fill() float64 { return float64(m.used) / float64(m.most) }

func (m *offsetMap) reset() {
	clear(m.slots)
	m.used = 0
}

// find is the slot of h, or the free one that it would take.
func (m *offsetMap) find(h keyHash) *mapSlot {
	at, _ := bits.Mul64(binary.BigEndian.Uint64(h[:]), uint64(len(m.slots)))
	for {
		s := &m.slots[at]
		if s.next == 0 || s.hash == h {
			return s
		}
		if at++; at == uint64(len(m.slots)) {
			at = 0
		}
	}
}

// put says that the key is at offset, which is above all before; false: there is
// no room for another key.
func (m *offsetMap) put(h keyHash, offset int64) bool {
	s := m.find(h)
	if s.next == 0 {
		if m.used >= m.room() {
			if len(m.slots) == m.most {
				return false
			}
			m.grow()
			s = m.find(h)
		}
		m.used++
	}
	*s = mapSlot{hash: h, next: offset + 1}
	return true
}

func (m *offsetMap) grow() {
	old := m.slots
	m.slots = make([]mapSlot, min(2*len(old), m.most))
	for i := range old {
		if old[i].next != 0 {
			*m.find(old[i].hash) = old[i]
		}
	}
}

// get is the newest offset of a key, −1 where there is none.
func (m *offsetMap) get(h keyHash) int64 { return m.find(h).next - 1 }
