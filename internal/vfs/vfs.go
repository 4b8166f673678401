package vfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
)

// ErrLocked is what [FS.Lock] returns when another process, or another open
// lock of this one, holds the file.
var ErrLocked = errors.New("locked by another process")

// File is an open file. Its methods are safe for concurrent use.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer

	// WritevAt writes bufs one behind the other, starting at byte off. It
	// returns the number of bytes written, and an error if that is less than
	// all of them.
	WritevAt(bufs [][]byte, off int64) (int, error)

	// Size is the file's length in bytes.
	Size() (int64, error)

	// Truncate sets the file's length in bytes.
	Truncate(size int64) error

	// Sync makes what was written durable (fdatasync where there is one).
	Sync() error

	// Name is the path that the file was opened by.
	Name() string

	// OSFile is the operating system's file, for sendfile and the like, or
	// nil where there is none.
	OSFile() *os.File
}

// FS is a file system. Paths are slash-separated or the operating system's;
// errors are matched with errors.Is against fs.ErrNotExist, fs.ErrExist,
// fs.ErrPermission and syscall.ENOSPC.
type FS interface {
	// Create makes a new file for reading and writing; it must not exist.
	Create(name string) (File, error)

	// Open opens an existing file for reading.
	Open(name string) (File, error)

	// OpenReadWrite opens an existing file for reading and writing.
	OpenReadWrite(name string) (File, error)

	// Remove removes a file or an empty directory.
	Remove(name string) error

	// RemoveAll removes a directory with all in it; a missing one is no error.
	RemoveAll(name string) error

	// Rename moves a file or directory, replacing a file of the new name.
	Rename(oldName, newName string) error

	// MkdirAll makes a directory and its missing parents. Durable only after
	// SyncDir of each parent that gained a name.
	MkdirAll(dir string) error

	// SyncDir makes the names in dir durable.
	SyncDir(dir string) error

	// List returns the names in dir, sorted, without the directory's own path.
	List(dir string) ([]string, error)

	// Stat describes a file or directory.
	Stat(name string) (fs.FileInfo, error)

	// Lock takes the exclusive lock of the file name, creating it if missing,
	// until the Closer is closed or the process ends; ErrLocked if held.
	Lock(name string) (io.Closer, error)

	// SyncFS makes all that was written to the file system that holds dir
	// durable (syncfs); errors.ErrUnsupported where there is no such call.
	SyncFS(dir string) error
}

// ReadFile reads the whole of a file that is not larger than limit bytes.
func ReadFile(fsys FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("file is larger than expected")}
	}
	b := make([]byte, size)
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return b, nil
}

// WriteFileAtomic replaces the file name by one that holds data, durably and
// all at once: temporary file, sync, rename, sync of the directory dir.
func WriteFileAtomic(fsys FS, dir, name string, data []byte) error {
	tmp := name + ".tmp"
	if err := fsys.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := fsys.Create(tmp)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(data, 0); err != nil {
		f.Close()
		return err
	}
	if err := f.Sync(); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := fsys.Rename(tmp, name); err != nil {
		return err
	}
	return fsys.SyncDir(dir)
}
