package broker

import (
	"sync"
	"sync/atomic"
)

const (
	// smallRequestBytes is below what a request may draw on the reserve.
	smallRequestBytes = 32 << 10
	// reserveShare is which part of queued.max.request.bytes stands besides as
	// the reserve.
	reserveShare = 8
)

// reserve takes n bytes for a small request from what is kept for those, so
// that a few large ones that come slowly, or are slowly dealt with, do not hold
// up everybody. What it grants is negative, which releaseBytes understands.
func (s *Server) reserve(n int64) (granted int64, ok bool) {
	if n >= smallRequestBytes {
		return 0, false
	}
	granted, ok = s.small.tryAcquire(n)
	return -granted, ok
}

// releaseBytes gives back what was granted of the budget or of the reserve.
func (s *Server) releaseBytes(granted int64) {
	if granted < 0 {
		s.small.release(-granted)
		return
	}
	s.budget.release(granted)
}

// budget is the node-wide allowance for bytes of requests in flight
// (queued.max.request.bytes). It is granted in the order in which it was asked
// for, so that large requests are not starved by small ones.
type budget struct {
	size int64
	used atomic.Int64 // for metrics; written under mu

	mu struct {
		sync.Mutex
		free       int64
		head, tail *budgetWait
	}
}

type budgetWait struct {
	n       int64
	granted chan struct{}
	next    *budgetWait
}

func newBudget(size int64) *budget {
	b := &budget{size: size}
	b.mu.free = size
	return b
}

// acquire takes n bytes, waiting until they are there or cancel is closed, and
// returns what has to be released: a request that is larger than the whole
// budget takes all of it and so passes alone.
func (b *budget) acquire(n int64, cancel <-chan struct{}) (granted int64, ok bool) {
	n = min(n, b.size)
	b.mu.Lock()
	if b.take(n) {
		b.mu.Unlock()
		return n, true
	}
	w := &budgetWait{n: n, granted: make(chan struct{})}
	if b.mu.tail == nil {
		b.mu.head = w
	} else {
		b.mu.tail.next = w
	}
	b.mu.tail = w
	b.mu.Unlock()
	select {
	case <-w.granted:
		return n, true
	case <-cancel:
		b.abandon(w)
		return 0, false
	}
}

// tryAcquire is acquire without waiting.
func (b *budget) tryAcquire(n int64) (granted int64, ok bool) {
	n = min(n, b.size)
	b.mu.Lock()
	defer b.mu.Unlock()
	return n, b.take(n)
}

// take takes n bytes if nobody waits and they are there. Callers hold mu.
func (b *budget) take(n int64) bool {
	if b.mu.head != nil || b.mu.free < n {
		return false
	}
	b.mu.free -= n
	b.used.Store(b.size - b.mu.free)
	return true
}

// contended tells whether somebody waits.
func (b *budget) contended() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.head != nil
}

// release gives back what acquire returned.
func (b *budget) release(n int64) {
	if n == 0 {
		return
	}
	b.mu.Lock()
	b.mu.free += n
	b.grant()
	b.used.Store(b.size - b.mu.free)
	b.mu.Unlock()
}

func (b *budget) grant() {
	for w := b.mu.head; w != nil && w.n <= b.mu.free; w = b.mu.head {
		b.mu.free -= w.n
		b.mu.head = w.next
		if b.mu.head == nil {
			b.mu.tail = nil
		}
		close(w.granted)
	}
}

// abandon takes a waiter out again, or gives back what it was granted
// meanwhile.
func (b *budget) abandon(gone *budgetWait) {
	b.mu.Lock()
	var before *budgetWait
	for w := b.mu.head; w != nil; before, w = w, w.next {
		if w != gone {
			continue
		}
		if before == nil {
			b.mu.head = w.next
		} else {
			before.next = w.next
		}
		if b.mu.tail == w {
			b.mu.tail = before
		}
		b.grant() // what stood behind it may fit
		b.used.Store(b.size - b.mu.free)
		b.mu.Unlock()
		return
	}
	b.mu.Unlock()
	b.release(gone.n)
}
