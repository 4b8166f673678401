package vfs

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// ErrCrashed is what every call on a [Mem], its files and its locks returns
// after [Mem.Crash].
var ErrCrashed = errors.New("file system crashed")

// MemOptions configure a [Mem]. The zero value is ready to use.
type MemOptions struct {
	// SectorBytes is the unit in which unsynced data survives a crash or does
	// not; zero means 512.
	SectorBytes int

	// Seed chooses what a failed Sync has written all the same.
	Seed uint64

	// Now is the clock of the modification times; nil means time.Now.
	Now func() time.Time
}

// Mem is a file system in memory that knows what of it would survive a power
// loss: per file the writes and changes of length since its last Sync, per
// directory the names that came, moved and went since its last SyncDir.
// [Mem.Crash] turns it into what a restart may find. It is safe for concurrent
// use.
//
// Paths are cleaned; a leading slash makes no difference, and the root is "/"
// or ".". A removed file stays usable through its open handles.
type Mem struct {
	opts MemOptions

	// mu guards all below and every memNode reachable from it.
	mu   sync.RWMutex
	dead bool
	root *memNode
	seq  uint64     // the last nameOp's
	rng  *rand.Rand // what failed syncs have written

	// dirtyFiles and dirtyDirs hold what has unsynced changes, in an order
	// that depends on the calls alone, so that a seed reproduces a crash.
	dirtyFiles dirtyList
	dirtyDirs  dirtyList
	locked     []*memNode
}

// NewMem returns an empty file system: a durable root directory.
func NewMem(opts MemOptions) *Mem {
	if opts.SectorBytes <= 0 {
		opts.SectorBytes = 512
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return &Mem{
		opts: opts,
		root: newMemDir(opts.Now()),
		rng:  rand.New(rand.NewPCG(opts.Seed, 0x6d656d)),
	}
}

func pathError(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// splitPath cleans name and returns its components; none for the root.
func splitPath(name string) []string {
	name = strings.Trim(path.Clean("/"+filepath.ToSlash(name)), "/")
	if name == "" {
		return nil
	}
	return strings.Split(name, "/")
}

// find returns the node that name leads to.
func (m *Mem) find(name string) (*memNode, error) {
	if m.dead {
		return nil, ErrCrashed
	}
	return walk(m.root, splitPath(name))
}

func walk(n *memNode, parts []string) (*memNode, error) {
	for _, part := range parts {
		if !n.isDir() {
			return nil, syscall.ENOTDIR
		}
		next, ok := n.entries[part]
		if !ok {
			return nil, fs.ErrNotExist
		}
		n = next
	}
	return n, nil
}

// findParent returns the directory that holds, or would hold, name, and the
// name in it.
func (m *Mem) findParent(name string) (*memNode, string, error) {
	if m.dead {
		return nil, "", ErrCrashed
	}
	parts := splitPath(name)
	if len(parts) == 0 {
		return nil, "", fs.ErrInvalid
	}
	last := len(parts) - 1
	dir, err := walk(m.root, parts[:last])
	if err != nil {
		return nil, "", err
	}
	if !dir.isDir() {
		return nil, "", syscall.ENOTDIR
	}
	return dir, parts[last], nil
}

// Create implements [FS].
func (m *Mem) Create(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, base, err := m.findParent(name)
	if err != nil {
		return nil, pathError("create", name, err)
	}
	if dir.entries[base] != nil {
		return nil, pathError("create", name, fs.ErrExist)
	}
	return &memFile{fs: m, node: m.addFile(dir, base), name: name, writable: true}, nil
}

func (m *Mem) addFile(dir *memNode, base string) *memNode {
	n := &memNode{mod: m.opts.Now()}
	m.change(nameChange{dir: dir, name: base, node: n})
	return n
}

// Open implements [FS]; unlike the operating system's it opens no directory.
func (m *Mem) Open(name string) (File, error) { return m.open(name, false) }

// OpenReadWrite implements [FS].
func (m *Mem) OpenReadWrite(name string) (File, error) { return m.open(name, true) }

func (m *Mem) open(name string, writable bool) (File, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, err := m.find(name)
	if err == nil && n.isDir() {
		err = syscall.EISDIR
	}
	if err != nil {
		return nil, pathError("open", name, err)
	}
	return &memFile{fs: m, node: n, name: name, writable: writable}, nil
}

// Remove implements [FS].
func (m *Mem) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, base, err := m.findParent(name)
	if err == nil {
		switch n := dir.entries[base]; {
		case n == nil:
			err = fs.ErrNotExist
		case len(n.entries) > 0:
			err = syscall.ENOTEMPTY
		}
	}
	if err != nil {
		return pathError("remove", name, err)
	}
	m.change(nameChange{dir: dir, name: base})
	return nil
}

// RemoveAll implements [FS]. Each name in the tree goes by itself, the deepest
// first, as the operating system does it.
func (m *Mem) RemoveAll(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, base, err := m.findParent(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return pathError("removeall", name, err)
	}
	if n := dir.entries[base]; n != nil {
		m.removeTree(n)
		m.change(nameChange{dir: dir, name: base})
	}
	return nil
}

func (m *Mem) removeTree(n *memNode) {
	for _, name := range n.names() {
		m.removeTree(n.entries[name])
		m.change(nameChange{dir: n, name: name})
	}
}

// Rename implements [FS]. A rename survives a crash as a whole or not at all.
func (m *Mem) Rename(oldName, newName string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.rename(oldName, newName); err != nil {
		return &linkError{Op: "rename", Old: oldName, New: newName, Err: err}
	}
	return nil
}

func (m *Mem) rename(oldName, newName string) error {
	oldDir, oldBase, err := m.findParent(oldName)
	if err != nil {
		return err
	}
	newDir, newBase, err := m.findParent(newName)
	if err != nil {
		return err
	}
	n, target := oldDir.entries[oldBase], newDir.entries[newBase]
	switch {
	case n == nil:
		return fs.ErrNotExist
	case target == n && !n.isDir():
		return nil
	case target != nil && target.isDir():
		return fs.ErrExist
	case target != nil && n.isDir():
		return syscall.ENOTDIR
	case n.isDir() && n.holds(newDir):
		return fs.ErrInvalid
	}
	m.change(
		nameChange{dir: oldDir, name: oldBase},
		nameChange{dir: newDir, name: newBase, node: n},
	)
	return nil
}

// MkdirAll implements [FS].
func (m *Mem) MkdirAll(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return pathError("mkdir", dir, ErrCrashed)
	}
	n := m.root
	for _, part := range splitPath(dir) {
		next := n.entries[part]
		if next == nil {
			next = newMemDir(m.opts.Now())
			m.change(nameChange{dir: n, name: part, node: next})
		}
		if !next.isDir() {
			return pathError("mkdir", dir, syscall.ENOTDIR)
		}
		n = next
	}
	return nil
}

// SyncDir implements [FS]. A file moved here from another directory takes that
// directory's earlier changes with it, since the move is one.
func (m *Mem) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.find(dir)
	if err == nil && !n.isDir() {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return pathError("syncdir", dir, err)
	}
	m.flushDir(n, m.seq)
	return nil
}

// SyncFS implements [FS]: everything is durable, whatever dir is.
func (m *Mem) SyncFS(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.find(dir); err != nil {
		return pathError("syncfs", dir, err)
	}
	for _, n := range slices.Clone(m.dirtyFiles.nodes) {
		m.syncFile(n)
	}
	for len(m.dirtyDirs.nodes) > 0 {
		m.flushDir(m.dirtyDirs.nodes[0], m.seq)
	}
	return nil
}

// FailSyncFS is a SyncFS that fails: every file with unsynced changes is as
// after a Sync of its own that failed.
func (m *Mem) FailSyncFS() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range m.dirtyFiles.nodes {
		m.failSync(n)
	}
}

// List implements [FS].
func (m *Mem) List(dir string) ([]string, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, err := m.find(dir)
	if err == nil && !n.isDir() {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return nil, pathError("list", dir, err)
	}
	return n.names(), nil
}

// Stat implements [FS].
func (m *Mem) Stat(name string) (fs.FileInfo, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, err := m.find(name)
	if err != nil {
		return nil, pathError("stat", name, err)
	}
	info := memInfo{name: "/", size: int64(len(n.data)), mode: 0o640, mod: n.mod}
	if parts := splitPath(name); len(parts) > 0 {
		info.name = parts[len(parts)-1]
	}
	if n.isDir() {
		info.mode = fs.ModeDir | 0o750
	}
	return info, nil
}

// Lock implements [FS]. A crash frees all locks.
func (m *Mem) Lock(name string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, base, err := m.findParent(name)
	if err != nil {
		return nil, pathError("lock", name, err)
	}
	n := dir.entries[base]
	switch {
	case n == nil:
		n = m.addFile(dir, base)
	case n.isDir():
		return nil, pathError("lock", name, syscall.EISDIR)
	case n.locked:
		return nil, pathError("lock", name, ErrLocked)
	}
	n.locked = true
	m.locked = append(m.locked, n)
	return &memLock{fs: m, node: n, name: name}, nil
}

type memLock struct {
	fs   *Mem
	node *memNode
	name string
}

func (l *memLock) Close() error {
	l.fs.mu.Lock()
	defer l.fs.mu.Unlock()
	switch {
	case l.fs.dead:
		return pathError("unlock", l.name, ErrCrashed)
	case l.node == nil:
		return pathError("unlock", l.name, fs.ErrClosed)
	}
	l.node.locked = false
	i := slices.Index(l.fs.locked, l.node)
	l.fs.locked = slices.Delete(l.fs.locked, i, i+1)
	l.node = nil
	return nil
}

// linkError is os.LinkError without the package os.
type linkError struct {
	Op, Old, New string
	Err          error
}

func (e *linkError) Error() string { return e.Op + " " + e.Old + " " + e.New + ": " + e.Err.Error() }
func (e *linkError) Unwrap() error { return e.Err }

type memInfo struct {
	name string
	size int64
	mode fs.FileMode
	mod  time.Time
}

func (i memInfo) Name() string       { return i.name }
func (i memInfo) Size() int64        { return i.size }
func (i memInfo) Mode() fs.FileMode  { return i.mode }
func (i memInfo) ModTime() time.Time { return i.mod }
func (i memInfo) IsDir() bool        { return i.mode.IsDir() }
func (i memInfo) Sys() any           { return nil }

// names returns the names in the directory n, sorted.
func (n *memNode) names() []string { return slices.Sorted(maps.Keys(n.entries)) }
