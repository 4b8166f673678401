package replication

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// listMachine is a metadata machine whose state is the list of its commands.
type listMachine struct {
	mu       sync.Mutex
	commands []string
	index    uint64
	restored int
}

func (m *listMachine) Apply(index uint64, command []byte) any {
	m.mu.Lock()
	defer m.mu.Unlock()
	if index <= m.index {
		panic(fmt.Sprintf("entry %d is applied after entry %d", index, m.index))
	}
	m.index = index
	m.commands = append(m.commands, string(command))
	return len(m.commands)
}

func (m *listMachine) Snapshot() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return fmt.Appendf(nil, "%d\n%s", m.index, strings.Join(m.commands, "\n"))
}

func (m *listMachine) Restore(state []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	lines := strings.Split(string(state), "\n")
	if _, err := fmt.Sscan(lines[0], &m.index); err != nil {
		return err
	}
	m.commands = lines[1:]
	m.restored++
	return nil
}

func (m *listMachine) list() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.commands...)
}

func openMetadata(t *testing.T, dir string) (*MetadataGroup, *listMachine) {
	t.Helper()
	m := &listMachine{}
	g, err := OpenMetadata(t.Context(), MetadataConfig{Dir: dir, ServerID: "1", Machine: m, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	return g, m
}

func proposeAll(t *testing.T, g *MetadataGroup, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		got, err := g.Propose(t.Context(), fmt.Appendf(nil, "command %d", i))
		if err != nil || got != i+1 {
			t.Fatalf("command %d: %v, %v", i, got, err)
		}
	}
}

func checkCommands(t *testing.T, m *listMachine, n int) {
	t.Helper()
	list := m.list()
	if len(list) != n {
		t.Fatalf("%d commands, want %d", len(list), n)
	}
	for i, c := range list {
		if c != fmt.Sprintf("command %d", i) {
			t.Fatalf("command %d is %q", i, c)
		}
	}
}

func TestMetadata(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "metadata")
	g, m := openMetadata(t, dir)
	proposeAll(t, g, 0, 20)
	checkCommands(t, m, 20)
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Propose(t.Context(), nil); !errors.Is(err, ErrMetadataUnavailable) {
		t.Errorf("closed: %v", err)
	}

	// What was there before is applied when OpenMetadata returns.
	g, m = openMetadata(t, dir)
	checkCommands(t, m, 20)
	proposeAll(t, g, 20, 25)
	if err := g.mu.raft.Snapshot().Error(); err != nil {
		t.Fatal(err)
	}
	proposeAll(t, g, 25, 30)
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	g, m = openMetadata(t, dir)
	checkCommands(t, m, 30)
	if m.restored != 1 {
		t.Errorf("restored from %d snapshots", m.restored)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestMetadataProposeWithContext(t *testing.T) {
	g, m := openMetadata(t, t.TempDir())
	defer g.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.Propose(ctx, []byte("given up")); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := g.Propose(t.Context(), []byte("last")); err != nil {
		t.Fatal(err)
	}
	if list := m.list(); len(list) != 1 || list[0] != "last" {
		t.Errorf("%v", list)
	}
}

// A store that fails under raft does not end the process: the group is offline,
// says so, and comes back with all that was acknowledged.
func TestMetadataDiskFails(t *testing.T) {
	g, m := openMetadata(t, t.TempDir())
	defer g.Close()
	proposeAll(t, g, 0, 5)
	g.mu.Lock()
	bolt := g.mu.bolt
	g.mu.Unlock()
	if err := bolt.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Propose(t.Context(), []byte("refused")); !errors.Is(err, ErrMetadataUnavailable) {
		t.Fatalf("proposed to a store that failed: %v", err)
	}
	deadline := time.Now().Add(time.Minute)
	for {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err := g.Propose(ctx, []byte("command 5"))
		cancel()
		if err == nil {
			break
		}
		if !errors.Is(err, ErrMetadataUnavailable) && !errors.Is(err, context.DeadlineExceeded) || time.Now().After(deadline) {
			t.Fatal(err)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-t.Context().Done():
		}
	}
	checkCommands(t, m, 6)
}

func TestMetadataDamaged(t *testing.T) {
	dir := t.TempDir()
	g, _ := openMetadata(t, dir)
	proposeAll(t, g, 0, 200)
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "raft.db")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// Damage to a free page does nothing; none ends the process.
	for page := 0; page < len(good)/4096 && page < 12; page++ {
		bad := append([]byte(nil), good...)
		for i := range 64 {
			bad[page*4096+i] ^= 0x5a
		}
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if b, err := openBolt(path); err == nil {
			b.Close()
		}
	}
	if err := os.WriteFile(path, []byte("no database"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenMetadata(t.Context(), MetadataConfig{Dir: dir, ServerID: "1", Machine: &listMachine{}, Logger: quiet}); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a file that is no database: %v", err)
	}
}
