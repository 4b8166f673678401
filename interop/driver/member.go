package driver

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"sync"

	"github.com/fanfold/fanfold/interop/group"
)

// Member prints what happens to a member of a group. Its methods may be called
// by several goroutines.
type Member struct {
	name string

	mu struct {
		sync.Mutex
		next map[int32]int64 // handled and not committed: the next offset, by partition
	}
}

func newMember(name string) *Member {
	m := &Member{name: name}
	m.mu.next = map[int32]int64{}
	return m
}

// print writes one line at once: others append to the same file.
func (m *Member) print(e group.Event) {
	e.Member = m.name
	if _, err := os.Stdout.Write(e.Line()); err != nil {
		fail(fmt.Errorf("print event: %w", err))
	}
}

// Assigned says that the group gave the member these partitions more.
func (m *Member) Assigned(generation int32, partitions []int32) {
	m.print(group.Event{Event: group.Assigned, Generation: generation, Partitions: partitions})
}

// Revoked says that the member is about to give them up.
func (m *Member) Revoked(partitions []int32) { m.drop(group.Revoked, partitions) }

// Lost says that the group took them.
func (m *Member) Lost(partitions []int32) { m.drop(group.Lost, partitions) }

func (m *Member) drop(event string, partitions []int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range partitions {
		delete(m.mu.next, p)
	}
	m.print(group.Event{Event: event, Partitions: partitions})
}

// Handle says that a record was handled. It ends the process where the value
// is no number.
func (m *Member) Handle(partition int32, offset int64, value []byte) {
	number, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil {
		fail(fmt.Errorf("partition %d offset %d: the value is no number: %w", partition, offset, err))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.next[partition] = offset + 1
	m.print(group.Event{Event: group.Handled, Partition: partition, Offset: offset, Number: number})
}

// Uncommitted is what was handled and is not committed: by partition, the next
// offset.
func (m *Member) Uncommitted() map[int32]int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.mu.next)
}

// Committed says that the broker has taken these offsets.
func (m *Member) Committed(offsets map[int32]int64) {
	if len(offsets) == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for p, offset := range offsets {
		if m.mu.next[p] == offset {
			delete(m.mu.next, p)
		}
	}
	m.print(group.Event{Event: group.Committed, Offsets: offsets})
}

// Note writes what went wrong and is no failure to standard error.
func (m *Member) Note(err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", m.name, err)
	}
}

// member joins and leaves when standard input ends.
func member(ctx context.Context, c Client, o Options) error {
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	m := newMember(o.Name)
	go func() { // ends with the process, or with its input
		defer leave()
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			if in.Text() == "describe" {
				describe(ctx, c, o, m)
			}
		}
	}()
	if err := c.Join(ctx, o, m); err != nil {
		return fmt.Errorf("member %s of group %s: %w", o.Name, o.Group, err)
	}
	m.print(group.Event{Event: group.Left})
	return nil
}

func describe(ctx context.Context, c Client, o Options, m *Member) {
	e, err := c.Describe(ctx, o)
	if err != nil {
		e = group.Event{Error: err.Error()}
	}
	e.Event = group.Described
	m.print(e)
}

// Partitions of a map by partition, in order.
func Partitions[V any](of map[int32]V) []int32 { return slices.Sorted(maps.Keys(of)) }
