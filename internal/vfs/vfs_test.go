package vfs_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/fanfold/fanfold/internal/vfs"
)

// eachFS runs the test on every implementation, in a directory of its own.
func eachFS(t *testing.T, test func(t *testing.T, fsys vfs.FS, dir string)) {
	noErrors := func(vfs.Op) error { return nil }
	t.Run("fs=os", func(t *testing.T) { test(t, vfs.OS, t.TempDir()) })
	t.Run("fs=mem", func(t *testing.T) {
		m := vfs.NewMem(vfs.MemOptions{})
		must(t, m.MkdirAll("/data"))
		test(t, m, "/data")
	})
	t.Run("fs=errors", func(t *testing.T) {
		m := vfs.NewMem(vfs.MemOptions{})
		must(t, m.MkdirAll("/data"))
		test(t, vfs.NewErrors(m, noErrors), "/data")
	})
	t.Run("fs=errors-os", func(t *testing.T) {
		test(t, vfs.NewErrors(vfs.OS, noErrors), t.TempDir())
	})
}

// failer is what testing.TB and rapid.T share.
type failer interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func must(t failer, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t failer, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error is %v, want %v", err, want)
	}
}

func create(t testing.TB, fsys vfs.FS, name, content string) vfs.File {
	t.Helper()
	f, err := fsys.Create(name)
	must(t, err)
	if content != "" {
		writeAt(t, f, content, 0)
	}
	return f
}

func writeAt(t failer, f vfs.File, content string, off int64) {
	t.Helper()
	n, err := f.WriteAt([]byte(content), off)
	must(t, err)
	if n != len(content) {
		t.Fatalf("wrote %d of %d bytes without an error", n, len(content))
	}
}

func content(t testing.TB, fsys vfs.FS, name string) string {
	t.Helper()
	b, err := vfs.ReadFile(fsys, name, 1<<20)
	must(t, err)
	return string(b)
}

func wantContent(t testing.TB, fsys vfs.FS, name, want string) {
	t.Helper()
	if got := content(t, fsys, name); got != want {
		t.Fatalf("%s holds %q, want %q", name, got, want)
	}
}

func wantList(t testing.TB, fsys vfs.FS, dir string, want ...string) {
	t.Helper()
	got, err := fsys.List(dir)
	must(t, err)
	if !slices.Equal(got, want) {
		t.Fatalf("%s holds %q, want %q", dir, got, want)
	}
}

func TestFileReadsAndWrites(t *testing.T) {
	eachFS(t, func(t *testing.T, fsys vfs.FS, dir string) {
		name := filepath.Join(dir, "f")
		f := create(t, fsys, name, "hello")
		defer f.Close()
		if f.Name() != name {
			t.Errorf("Name is %q", f.Name())
		}
		n, err := f.WritevAt([][]byte{[]byte("ab"), nil, []byte("cde")}, 8)
		must(t, err)
		if n != 5 {
			t.Errorf("WritevAt wrote %d", n)
		}
		wantContent(t, fsys, name, "hello\x00\x00\x00abcde")
		must(t, f.Truncate(4))
		must(t, f.Truncate(6))
		wantContent(t, fsys, name, "hell\x00\x00")
		writeAt(t, f, "HE", 0)
		must(t, f.Sync())
		size, err := f.Size()
		must(t, err)
		if size != 6 {
			t.Errorf("Size is %d", size)
		}
		b := make([]byte, 4)
		n, err = f.ReadAt(b, 3)
		if n != 3 || err != io.EOF || string(b[:n]) != "l\x00\x00" {
			t.Errorf("ReadAt across the end: %d, %v, %q", n, err, b[:n])
		}
		if n, err := f.ReadAt(b, 6); n != 0 || err != io.EOF {
			t.Errorf("ReadAt at the end: %d, %v", n, err)
		}
		if n, err := f.ReadAt(nil, 99); n != 0 || err != nil {
			t.Errorf("ReadAt of nothing: %d, %v", n, err)
		}
		if n, err := f.ReadAt(b, 0); n != 4 || err != nil || string(b) != "HEll" {
			t.Errorf("ReadAt within: %d, %v, %q", n, err, b)
		}
		if _, err := f.WriteAt(b, -1); err == nil {
			t.Error("WriteAt before the start succeeded")
		}
	})
}

func TestFileOpenModes(t *testing.T) {
	eachFS(t, func(t *testing.T, fsys vfs.FS, dir string) {
		name := filepath.Join(dir, "f")
		_, err := fsys.Open(name)
		wantErr(t, err, fs.ErrNotExist)
		_, err = fsys.OpenReadWrite(name)
		wantErr(t, err, fs.ErrNotExist)
		_, err = fsys.Create(filepath.Join(dir, "missing", "f"))
		wantErr(t, err, fs.ErrNotExist)
		must(t, create(t, fsys, name, "x").Close())
		_, err = fsys.Create(name)
		wantErr(t, err, fs.ErrExist)
		if _, err := fsys.OpenReadWrite(dir); err == nil {
			t.Error("a directory was opened for writing")
		}

		r, err := fsys.Open(name)
		must(t, err)
		if _, err := r.WriteAt([]byte("y"), 0); err == nil {
			t.Error("a file open for reading was written")
		}
		if err := r.Truncate(0); err == nil {
			t.Error("a file open for reading was truncated")
		}
		must(t, r.Close())
		w, err := fsys.OpenReadWrite(name)
		must(t, err)
		writeAt(t, w, "y", 1)
		must(t, w.Close())
		wantErr(t, w.Close(), fs.ErrClosed)
		_, err = w.ReadAt(make([]byte, 1), 0)
		wantErr(t, err, fs.ErrClosed)
		_, err = w.WriteAt(make([]byte, 1), 0)
		wantErr(t, err, fs.ErrClosed)
		_, err = w.WritevAt([][]byte{{1}, {2}}, 0)
		wantErr(t, err, fs.ErrClosed)
		wantErr(t, w.Sync(), fs.ErrClosed)
		_, err = w.Size()
		wantErr(t, err, fs.ErrClosed)
		wantContent(t, fsys, name, "xy")
	})
}

func TestNames(t *testing.T) {
	eachFS(t, func(t *testing.T, fsys vfs.FS, dir string) {
		at := func(parts ...string) string { return filepath.Join(append([]string{dir}, parts...)...) }
		must(t, fsys.MkdirAll(at("d", "e")))
		must(t, fsys.MkdirAll(at("d", "e")))
		must(t, create(t, fsys, at("b"), "bb").Close())
		must(t, create(t, fsys, at("a"), "a").Close())
		wantList(t, fsys, dir, "a", "b", "d")
		if err := fsys.MkdirAll(at("a", "x")); err == nil {
			t.Error("a directory was made below a file")
		}
		if _, err := fsys.List(at("a")); err == nil {
			t.Error("a file was listed")
		}
		_, err := fsys.List(at("missing"))
		wantErr(t, err, fs.ErrNotExist)

		info, err := fsys.Stat(at("b"))
		must(t, err)
		if info.Name() != "b" || info.Size() != 2 || info.IsDir() || info.ModTime().IsZero() {
			t.Errorf("Stat of a file: %v", info)
		}
		info, err = fsys.Stat(at("d"))
		must(t, err)
		if info.Name() != "d" || !info.IsDir() || !info.Mode().IsDir() {
			t.Errorf("Stat of a directory: %v", info)
		}
		_, err = fsys.Stat(at("missing"))
		wantErr(t, err, fs.ErrNotExist)

		wantErr(t, fsys.Remove(at("missing")), fs.ErrNotExist)
		if err := fsys.Remove(at("d")); err == nil {
			t.Error("a directory with a name in it was removed")
		}
		must(t, fsys.Remove(at("d", "e")))
		must(t, fsys.SyncDir(at("d")))
		must(t, fsys.Remove(at("d")))
		must(t, fsys.Remove(at("a")))
		must(t, fsys.SyncDir(dir))
		wantList(t, fsys, dir, "b")
		if err := fsys.SyncDir(at("missing")); err == nil {
			t.Error("a missing directory was synced")
		}

		must(t, fsys.MkdirAll(at("t", "u", "v")))
		must(t, create(t, fsys, at("t", "u", "f"), "").Close())
		must(t, fsys.RemoveAll(at("t")))
		must(t, fsys.RemoveAll(at("t")))
		must(t, fsys.RemoveAll(at("b")))
		wantList(t, fsys, dir)
	})
}

func TestRename(t *testing.T) {
	eachFS(t, func(t *testing.T, fsys vfs.FS, dir string) {
		at := func(parts ...string) string { return filepath.Join(append([]string{dir}, parts...)...) }
		must(t, create(t, fsys, at("a"), "new").Close())
		must(t, create(t, fsys, at("b"), "old").Close())
		must(t, fsys.Rename(at("a"), at("b")))
		wantList(t, fsys, dir, "b")
		wantContent(t, fsys, at("b"), "new")
		must(t, fsys.Rename(at("b"), at("b")))
		wantErr(t, fsys.Rename(at("a"), at("c")), fs.ErrNotExist)
		wantErr(t, fsys.Rename(at("b"), at("missing", "c")), fs.ErrNotExist)

		must(t, fsys.MkdirAll(at("d", "e")))
		must(t, create(t, fsys, at("d", "e", "f"), "deep").Close())
		wantErr(t, fsys.Rename(at("b"), at("d")), fs.ErrExist)
		if err := fsys.Rename(at("d"), at("b")); err == nil {
			t.Error("a directory replaced a file")
		}
		if err := fsys.Rename(at("d"), at("d", "e", "g")); err == nil {
			t.Error("a directory was moved into itself")
		}
		must(t, fsys.Rename(at("d"), at("x")))
		wantContent(t, fsys, at("x", "e", "f"), "deep")
		must(t, fsys.Rename(at("x", "e", "f"), at("f")))
		wantList(t, fsys, at("x", "e"))
		wantContent(t, fsys, at("f"), "deep")
	})
}

func TestOpenFilesOutliveTheirNames(t *testing.T) {
	eachFS(t, func(t *testing.T, fsys vfs.FS, dir string) {
		name := filepath.Join(dir, "f")
		f := create(t, fsys, name, "one")
		defer f.Close()
		must(t, fsys.Remove(name))
		g := create(t, fsys, name, "two")
		defer g.Close()
		writeAt(t, f, "ONE", 0)
		must(t, f.Sync())
		b := make([]byte, 3)
		_, err := f.ReadAt(b, 0)
		must(t, err)
		if string(b) != "ONE" {
			t.Errorf("the removed file reads %q", b)
		}
		wantContent(t, fsys, name, "two")
	})
}

func TestLock(t *testing.T) {
	eachFS(t, func(t *testing.T, fsys vfs.FS, dir string) {
		name := filepath.Join(dir, "LOCK")
		l, err := fsys.Lock(name)
		must(t, err)
		_, err = fsys.Lock(name)
		wantErr(t, err, vfs.ErrLocked)
		must(t, l.Close())
		if err := l.Close(); err == nil {
			t.Error("a lock was freed twice")
		}
		l, err = fsys.Lock(name)
		must(t, err)
		must(t, l.Close())
		_, err = fsys.Lock(filepath.Join(dir, "missing", "LOCK"))
		wantErr(t, err, fs.ErrNotExist)
	})
}

func TestSyncFS(t *testing.T) {
	eachFS(t, func(t *testing.T, fsys vfs.FS, dir string) {
		if err := fsys.SyncFS(dir); err != nil && !errors.Is(err, errors.ErrUnsupported) {
			t.Fatal(err)
		}
	})
}

func TestReadFileAndWriteFileAtomic(t *testing.T) {
	eachFS(t, func(t *testing.T, fsys vfs.FS, dir string) {
		name := filepath.Join(dir, "f")
		must(t, vfs.WriteFileAtomic(fsys, dir, name, []byte("one")))
		must(t, create(t, fsys, name+".tmp", "left by a crash").Close())
		must(t, vfs.WriteFileAtomic(fsys, dir, name, []byte("two")))
		wantList(t, fsys, dir, "f")
		wantContent(t, fsys, name, "two")
		if _, err := vfs.ReadFile(fsys, name, 2); err == nil || !strings.Contains(err.Error(), "larger") {
			t.Errorf("reading a file above the limit: %v", err)
		}
	})
}

func TestConcurrentUse(t *testing.T) {
	eachFS(t, func(t *testing.T, fsys vfs.FS, dir string) {
		const writers, rounds = 4, 50
		f := create(t, fsys, filepath.Join(dir, "f"), "")
		defer f.Close()
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				block := bytes.Repeat([]byte{byte('a' + w)}, 700)
				for i := range rounds {
					off := int64((i*writers + w) * len(block))
					if _, err := f.WriteAt(block, off); err != nil {
						t.Error(err)
					}
					if _, err := f.ReadAt(block, off); err != nil {
						t.Error(err)
					}
				}
				if err := f.Sync(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		got := content(t, fsys, filepath.Join(dir, "f"))
		for w := range writers {
			if n := strings.Count(got, string(rune('a'+w))); n != rounds*700 {
				t.Errorf("writer %d has %d bytes", w, n)
			}
		}
	})
}
