package broker

import (
	"math/bits"
	"sync"
)

// Frames are read into buffers of size classes, four to each doubling, so that
// a buffer is at most a quarter larger than what it holds. What is larger than
// the largest class is allocated and left to the garbage collector.
const (
	smallestClassBytes = 1 << 10
	largestClassBytes  = 32 << 20
	frameClasses       = 61
)

// frame is the body of one request as it was received. Its bytes may be handed
// to partitions; whoever uses them last calls free.
type frame struct {
	data  []byte
	class int // −1: not pooled
}

var framePools [frameClasses]sync.Pool

// classOf returns the class of a buffer of n bytes and that class's size; the
// class is −1 where n is above all of them.
func classOf(n int) (class, size int) {
	switch {
	case n <= smallestClassBytes:
		return 0, smallestClassBytes
	case n > largestClassBytes:
		return -1, n
	}
	length := bits.Len(uint(n - 1))
	quarter := length - 3
	steps := (n - 1) >> quarter // 4 to 7
	return (length-11)*4 + steps - 3, (steps + 1) << quarter
}

// newFrame returns a frame of n bytes with arbitrary contents.
func newFrame(n int) *frame {
	class, size := classOf(n)
	if class < 0 {
		return &frame{data: make([]byte, n), class: class}
	}
	if f, ok := framePools[class].Get().(*frame); ok {
		f.data = f.data[:n]
		return f
	}
	return &frame{data: make([]byte, n, size), class: class}
}

// free gives the frame back. Nothing may use its bytes afterwards.
func (f *frame) free() {
	if f.class >= 0 {
		framePools[f.class].Put(f)
	}
}
