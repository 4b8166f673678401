package cluster

import (
	"fmt"
	"sync/atomic"
)

// Machine applies commands in the order of the metadata group's log. Apply and
// Restore are for one goroutine at a time, the one that owns the machine;
// Image and Snapshot are for any.
type Machine struct {
	image  atomic.Pointer[Image]
	broken error // why no further command is applied
}

// NewMachine returns a machine with an empty image.
func NewMachine() *Machine {
	m := &Machine{}
	m.image.Store(emptyImage())
	return m
}

// Image returns the current image.
func (m *Machine) Image() *Image { return m.image.Load() }

// Apply applies the command at that index of the log and publishes the next
// image. Result.Err tells why a command changed nothing; it wraps
// [ErrUnknownCommand] or [ErrCorruptCommand] where the machine had to stop,
// and then every later call returns it too.
func (m *Machine) Apply(index uint64, command []byte) Result {
	if m.broken != nil {
		return Result{Err: m.broken}
	}
	before := m.Image()
	if index <= before.index {
		m.broken = fmt.Errorf("%w: index %d comes after %d", ErrCorruptCommand, index, before.index)
		return Result{Err: m.broken}
	}
	c, err := Decode(command)
	if err != nil {
		m.broken = fmt.Errorf("apply command at index %d: %w", index, err)
		return Result{Err: m.broken}
	}
	if err := before.admits(c); err != nil {
		after := *before
		after.index = index
		m.image.Store(&after)
		return Result{Err: err, Command: c}
	}
	after := *before
	after.index = index
	result := c.apply(&after)
	result.Command = c
	m.image.Store(&after)
	return result
}

// Snapshot returns the current image as bytes.
func (m *Machine) Snapshot() []byte { return m.Image().Snapshot() }

// Restore replaces the image by the one of a snapshot. On an error, which
// wraps [ErrCorruptSnapshot] or [ErrUnknownSnapshot], the machine stays as it
// was.
func (m *Machine) Restore(snapshot []byte) error {
	image, err := decodeSnapshot(snapshot)
	if err != nil {
		return fmt.Errorf("restore cluster metadata: %w", err)
	}
	m.broken = nil
	m.image.Store(image)
	return nil
}
