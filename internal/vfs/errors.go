package vfs

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
)

// OpKind is what a call on a file system or a file does.
type OpKind uint8

// The calls that [Errors] shows to its hook.
const (
	OpCreate OpKind = iota
	OpOpen          // Open and OpenReadWrite
	OpRead
	OpWrite // WriteAt and WritevAt
	OpTruncate
	OpSync
	OpSize
	OpClose
	OpRemove
	OpRemoveAll
	OpRename
	OpMkdirAll
	OpSyncDir
	OpSyncFS
	OpList
	OpStat
	OpLock

	opKinds
)

// String is the kind's name.
func (k OpKind) String() string {
	if k >= opKinds {
		return fmt.Sprintf("OpKind(%d)", uint8(k))
	}
	return [...]string{
		"create", "open", "read", "write", "truncate", "sync", "size", "close",
		"remove", "removeall", "rename", "mkdir", "syncdir", "syncfs", "list",
		"stat", "lock",
	}[k]
}

// Op is one call on an [Errors] file system.
type Op struct {
	Kind OpKind
	Path string // as given; a file's is that it was opened by
	New  string // a rename's target
	Off  int64  // a read's or write's start, a truncation's new length, bytes
	Len  int    // a read's or write's length in bytes
	Grow int64  // by how many bytes the call lengthens, or if negative frees, files
	N    int64  // the how-manieth call of this kind it is, from 1
	Seq  int64  // the how-manieth call of any kind, from 1
}

// ShortWrite is what a hook returns for a write that writes its first N bytes
// and then fails with Err.
type ShortWrite struct {
	N   int
	Err error
}

// Error describes the failure.
func (e *ShortWrite) Error() string { return fmt.Sprintf("wrote %d bytes: %v", e.N, e.Err) }

// Unwrap returns the cause.
func (e *ShortWrite) Unwrap() error { return e.Err }

// Errors is a file system that asks a hook before each call what it should
// fail with. A Sync that it lets fail on a file of a [Mem] loses data there as
// a failed fsync may (see the package's contract). It is safe for concurrent
// use.
type Errors struct {
	inner  FS
	inject func(Op) error
	seq    atomic.Int64
	counts [opKinds]atomic.Int64
}

// NewErrors returns inner behind the hook inject, which is called, maybe
// concurrently, before each call: with a nil it goes to inner, otherwise it
// fails with that error, wrapped in a *fs.PathError.
func NewErrors(inner FS, inject func(Op) error) *Errors {
	return &Errors{inner: inner, inject: inject}
}

// Count is how many calls of the kind there were.
func (e *Errors) Count(kind OpKind) int64 { return e.counts[kind].Load() }

// ask numbers op and calls the hook.
func (e *Errors) ask(op Op) error {
	op.Seq = e.seq.Add(1)
	op.N = e.counts[op.Kind].Add(1)
	if err := e.inject(op); err != nil {
		return &fs.PathError{Op: op.Kind.String(), Path: op.Path, Err: err}
	}
	return nil
}

// size is the length of the file name, zero for a directory or nothing.
func (e *Errors) size(name string) int64 {
	info, err := e.inner.Stat(name)
	if err != nil || info.IsDir() {
		return 0
	}
	return info.Size()
}

// treeSize is the length of all files below name.
func (e *Errors) treeSize(name string) int64 {
	total := e.size(name)
	names, err := e.inner.List(name)
	if err != nil {
		return total // a file, or nothing
	}
	for _, n := range names {
		total += e.treeSize(filepath.Join(name, n))
	}
	return total
}

func (e *Errors) file(f File, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return &errorsFile{fs: e, inner: f}, nil
}

// Create implements [FS].
func (e *Errors) Create(name string) (File, error) {
	if err := e.ask(Op{Kind: OpCreate, Path: name}); err != nil {
		return nil, err
	}
	return e.file(e.inner.Create(name))
}

// Open implements [FS].
func (e *Errors) Open(name string) (File, error) {
	if err := e.ask(Op{Kind: OpOpen, Path: name}); err != nil {
		return nil, err
	}
	return e.file(e.inner.Open(name))
}

// OpenReadWrite implements [FS].
func (e *Errors) OpenReadWrite(name string) (File, error) {
	if err := e.ask(Op{Kind: OpOpen, Path: name}); err != nil {
		return nil, err
	}
	return e.file(e.inner.OpenReadWrite(name))
}

// Remove implements [FS].
func (e *Errors) Remove(name string) error {
	if err := e.ask(Op{Kind: OpRemove, Path: name, Grow: -e.size(name)}); err != nil {
		return err
	}
	return e.inner.Remove(name)
}

// RemoveAll implements [FS].
func (e *Errors) RemoveAll(name string) error {
	if err := e.ask(Op{Kind: OpRemoveAll, Path: name, Grow: -e.treeSize(name)}); err != nil {
		return err
	}
	return e.inner.RemoveAll(name)
}

// Rename implements [FS].
func (e *Errors) Rename(oldName, newName string) error {
	op := Op{Kind: OpRename, Path: oldName, New: newName, Grow: -e.size(newName)}
	if err := e.ask(op); err != nil {
		return err
	}
	return e.inner.Rename(oldName, newName)
}

// MkdirAll implements [FS].
func (e *Errors) MkdirAll(dir string) error {
	if err := e.ask(Op{Kind: OpMkdirAll, Path: dir}); err != nil {
		return err
	}
	return e.inner.MkdirAll(dir)
}

// SyncDir implements [FS].
func (e *Errors) SyncDir(dir string) error {
	if err := e.ask(Op{Kind: OpSyncDir, Path: dir}); err != nil {
		return err
	}
	return e.inner.SyncDir(dir)
}

// SyncFS implements [FS].
func (e *Errors) SyncFS(dir string) error {
	if err := e.ask(Op{Kind: OpSyncFS, Path: dir}); err != nil {
		if inner, ok := e.inner.(interface{ FailSyncFS() }); ok {
			inner.FailSyncFS()
		}
		return err
	}
	return e.inner.SyncFS(dir)
}

// List implements [FS].
func (e *Errors) List(dir string) ([]string, error) {
	if err := e.ask(Op{Kind: OpList, Path: dir}); err != nil {
		return nil, err
	}
	return e.inner.List(dir)
}

// Stat implements [FS].
func (e *Errors) Stat(name string) (fs.FileInfo, error) {
	if err := e.ask(Op{Kind: OpStat, Path: name}); err != nil {
		return nil, err
	}
	return e.inner.Stat(name)
}

// Lock implements [FS].
func (e *Errors) Lock(name string) (io.Closer, error) {
	if err := e.ask(Op{Kind: OpLock, Path: name}); err != nil {
		return nil, err
	}
	return e.inner.Lock(name)
}

// errorsFile is an open file of an [Errors] file system.
type errorsFile struct {
	fs    *Errors
	inner File
}

func (f *errorsFile) Name() string { return f.inner.Name() }

// OSFile is nil: reads of it would pass the hook by.
func (f *errorsFile) OSFile() *os.File { return nil }

func (f *errorsFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.fs.ask(Op{Kind: OpRead, Path: f.Name(), Off: off, Len: len(p)}); err != nil {
		return 0, err
	}
	return f.inner.ReadAt(p, off)
}

func (f *errorsFile) WriteAt(p []byte, off int64) (int, error) {
	short, err := f.askWrite(len(p), off)
	if err == nil {
		return f.inner.WriteAt(p, off)
	}
	n, innerErr := f.inner.WriteAt(p[:short], off)
	if innerErr != nil {
		err = innerErr
	}
	return n, err
}

func (f *errorsFile) WritevAt(bufs [][]byte, off int64) (int, error) {
	var total int
	for _, b := range bufs {
		total += len(b)
	}
	short, err := f.askWrite(total, off)
	if err == nil {
		return f.inner.WritevAt(bufs, off)
	}
	var head [][]byte
	for _, b := range bufs {
		b = b[:min(len(b), short)]
		short -= len(b)
		head = append(head, b)
	}
	n, innerErr := f.inner.WritevAt(head, off)
	if innerErr != nil {
		err = innerErr
	}
	return n, err
}

// askWrite asks for a write; if that is to fail, short of its bytes are
// written before.
func (f *errorsFile) askWrite(length int, off int64) (short int, err error) {
	op := Op{Kind: OpWrite, Path: f.Name(), Off: off, Len: length}
	if size, err := f.inner.Size(); err == nil {
		op.Grow = max(off+int64(length)-size, 0)
	}
	err = f.fs.ask(op)
	if pe, ok := err.(*fs.PathError); ok {
		if sw, ok := pe.Err.(*ShortWrite); ok {
			return min(max(sw.N, 0), length), err
		}
	}
	return 0, err
}

func (f *errorsFile) Size() (int64, error) {
	if err := f.fs.ask(Op{Kind: OpSize, Path: f.Name()}); err != nil {
		return 0, err
	}
	return f.inner.Size()
}

func (f *errorsFile) Truncate(size int64) error {
	op := Op{Kind: OpTruncate, Path: f.Name(), Off: size}
	if old, err := f.inner.Size(); err == nil {
		op.Grow = size - old
	}
	if err := f.fs.ask(op); err != nil {
		return err
	}
	return f.inner.Truncate(size)
}

func (f *errorsFile) Sync() error {
	if err := f.fs.ask(Op{Kind: OpSync, Path: f.Name()}); err != nil {
		f.FailSync()
		return err
	}
	return f.inner.Sync()
}

// FailSync passes a failed Sync on to a [Mem] below.
func (f *errorsFile) FailSync() {
	if inner, ok := f.inner.(interface{ FailSync() }); ok {
		inner.FailSync()
	}
}

// Close closes the file even where the hook lets the call fail.
func (f *errorsFile) Close() error {
	err := f.fs.ask(Op{Kind: OpClose, Path: f.Name()})
	if innerErr := f.inner.Close(); innerErr != nil {
		return innerErr
	}
	return err
}
