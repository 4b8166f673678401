package vfs

import (
	"context"
	"sync"
	"syscall"
)

// Fail is a hook for [NewErrors] that lets the n-th call of the kind fail with
// err, from 1.
func Fail(kind OpKind, n int64, err error) func(Op) error {
	return func(op Op) error {
		if op.Kind == kind && op.N == n {
			return err
		}
		return nil
	}
}

// FailFrom is a hook that lets the n-th call of the kind and all later ones
// fail with err.
func FailFrom(kind OpKind, n int64, err error) func(Op) error {
	return func(op Op) error {
		if op.Kind == kind && op.N >= n {
			return err
		}
		return nil
	}
}

// FailWhere is a hook that lets the calls fail with err that match picks.
func FailWhere(match func(Op) bool, err error) func(Op) error {
	return func(op Op) error {
		if match(op) {
			return err
		}
		return nil
	}
}

// FirstOf is a hook that asks each hook in turn until one fails the call.
func FirstOf(hooks ...func(Op) error) func(Op) error {
	return func(op Op) error {
		for _, hook := range hooks {
			if err := hook(op); err != nil {
				return err
			}
		}
		return nil
	}
}

// DiskBudget is a disk with limited room: what would lengthen files by more
// bytes than are left fails with ENOSPC, a write after having written what
// fits. Shorter and removed files give their bytes back at once. Of several
// writes to one file at the same time each may count the same growth.
type DiskBudget struct {
	mu   sync.Mutex
	left int64
}

// NewDiskBudget returns a disk with room for so many bytes.
func NewDiskBudget(bytes int64) *DiskBudget { return &DiskBudget{left: bytes} }

// Add makes room for so many bytes more, or less if negative.
func (b *DiskBudget) Add(bytes int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left += bytes
}

// Left is the number of bytes left.
func (b *DiskBudget) Left() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.left
}

// Inject is the hook for [NewErrors]. Where several hooks are joined it comes
// last, for it counts what it lets pass.
func (b *DiskBudget) Inject(op Op) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	room := max(b.left, 0)
	switch {
	case op.Grow <= room:
		b.left -= op.Grow
		return nil
	case op.Kind != OpWrite:
		return syscall.ENOSPC
	}
	fits := int64(op.Len) - (op.Grow - room)
	if fits <= 0 {
		return syscall.ENOSPC
	}
	b.left = min(b.left, 0)
	return &ShortWrite{N: int(fits), Err: syscall.ENOSPC}
}

// Gate holds calls back until it is opened, as a disk that hangs does. It is
// closed at first.
type Gate struct {
	match func(Op) bool

	mu      sync.Mutex
	opened  chan struct{} // closed while the gate is open
	waiting int
	changed chan struct{} // closed and replaced when waiting grows
}

// NewGate returns a closed gate for the calls that match picks.
func NewGate(match func(Op) bool) *Gate {
	return &Gate{match: match, opened: make(chan struct{}), changed: make(chan struct{})}
}

// Inject is the hook for [NewErrors]; it lets no call fail.
func (g *Gate) Inject(op Op) error {
	if !g.match(op) {
		return nil
	}
	g.mu.Lock()
	opened := g.opened
	g.waiting++
	close(g.changed)
	g.changed = make(chan struct{})
	g.mu.Unlock()

	<-opened

	g.mu.Lock()
	g.waiting--
	g.mu.Unlock()
	return nil
}

// Open lets all pass that waits, and all that comes until Shut.
func (g *Gate) Open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-g.opened:
	default:
		close(g.opened)
	}
}

// Shut holds back what comes from now on.
func (g *Gate) Shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-g.opened:
		g.opened = make(chan struct{})
	default:
	}
}

// WaitHeld returns once n calls wait at the gate, or ctx's error.
func (g *Gate) WaitHeld(ctx context.Context, n int) error {
	for {
		g.mu.Lock()
		waiting, changed := g.waiting, g.changed
		g.mu.Unlock()
		if waiting >= n {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
