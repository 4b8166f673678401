package history

import "slices"

const (
	chunkBits  = 8
	chunkSize  = 1 << chunkBits
	cacheSlots = 64
)

// table is a sparse array that is cheap where its indexes come in runs.
type table[T any] struct {
	chunks map[uint64]*[chunkSize]T
	cache  [cacheSlots]struct {
		key   uint64
		chunk *[chunkSize]T
	}
}

// at returns the cell i, made if missing.
func (t *table[T]) at(i uint64) *T {
	key := i >> chunkBits
	slot := &t.cache[(key^key>>32)%cacheSlots]
	if slot.chunk == nil || slot.key != key {
		chunk := t.chunks[key]
		if chunk == nil {
			if t.chunks == nil {
				t.chunks = map[uint64]*[chunkSize]T{}
			}
			chunk = new([chunkSize]T)
			t.chunks[key] = chunk
		}
		slot.key, slot.chunk = key, chunk
	}
	return &slot.chunk[i%chunkSize]
}

// all yields the cells of all chunks in order, used or not.
func (t *table[T]) all(yield func(uint64, *T) bool) {
	keys := make([]uint64, 0, len(t.chunks))
	for key := range t.chunks {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		chunk := t.chunks[key]
		for i := range chunk {
			if !yield(key<<chunkBits|uint64(i), &chunk[i]) {
				return
			}
		}
	}
}

// frontier is a bound that rises with time: an answer shows it, and every
// request that starts after that answer is held to it.
type frontier struct {
	points []point // ascending in both
}

type point struct{ end, bound int64 }

// keptPoints is how many rises are remembered: a request that started before
// the oldest is held to less than it could be.
const keptPoints = 1 << 12

// raise notes that an answer at end showed bound; ends ascend.
func (f *frontier) raise(end, bound int64) {
	if n := len(f.points); n > 0 && f.points[n-1].bound >= bound {
		return
	}
	if len(f.points) >= 2*keptPoints {
		f.points = slices.Delete(f.points, 0, len(f.points)-keptPoints)
	}
	f.points = append(f.points, point{end, bound})
}

// before returns the bound for a request that started then.
func (f *frontier) before(start int64) int64 {
	if n := len(f.points); n > 0 && f.points[n-1].end < start {
		return f.points[n-1].bound
	}
	i, _ := slices.BinarySearchFunc(f.points, start, func(p point, start int64) int {
		if p.end < start {
			return -1
		}
		return 1
	})
	if i == 0 {
		return 0
	}
	return f.points[i-1].bound
}

// last returns the bound for a request that starts after all else.
func (f *frontier) last() int64 {
	if n := len(f.points); n > 0 {
		return f.points[n-1].bound
	}
	return 0
}
