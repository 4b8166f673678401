package vfs_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/fanfold/fanfold/internal/vfs"
)

const modelSector = 16

// modelNode is a file (files is set) or a directory of a naive file system
// that keeps every version of everything since the last sync: the first is
// durable, the last is what is read.
type modelNode struct {
	files [][]byte
	dirs  []map[string]*modelNode
}

func newModelDir() *modelNode { return &modelNode{dirs: []map[string]*modelNode{{}}} }

func (n *modelNode) isDir() bool                    { return n.dirs != nil }
func (n *modelNode) names() map[string]*modelNode   { return n.dirs[len(n.dirs)-1] }
func (n *modelNode) data() []byte                   { return n.files[len(n.files)-1] }
func (n *modelNode) set(name string, to *modelNode) { n.change(map[string]*modelNode{name: to}) }

func (n *modelNode) change(changes map[string]*modelNode) {
	next := maps.Clone(n.names())
	for name, to := range changes {
		if to == nil {
			delete(next, name)
		} else {
			next[name] = to
		}
	}
	n.dirs = append(n.dirs, next)
}

func (n *modelNode) sync() {
	if n.isDir() {
		n.dirs = n.dirs[len(n.dirs)-1:]
	} else {
		n.files = n.files[len(n.files)-1:]
	}
}

func (n *modelNode) each(visit func(*modelNode)) {
	visit(n)
	if n.isDir() {
		for _, names := range n.dirs {
			for _, child := range names {
				child.each(visit)
			}
		}
	}
}

func (n *modelNode) dropUnsynced() {
	if !n.isDir() {
		n.files = n.files[:1]
		return
	}
	n.dirs = n.dirs[:1]
	for _, child := range n.names() {
		child.dropUnsynced()
	}
}

// allows reports whether fsys below path may be what a power loss left of n.
func (n *modelNode) allows(t *rapid.T, fsys vfs.FS, path string) bool {
	info, err := fsys.Stat(path)
	if err != nil || info.IsDir() != n.isDir() {
		return false
	}
	if !n.isDir() {
		return n.allowsData([]byte(readAll(t, fsys, path)))
	}
	got, err := fsys.List(path)
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(n.dirs, func(names map[string]*modelNode) bool {
		if !slices.Equal(got, slices.Sorted(maps.Keys(names))) {
			return false
		}
		for name, child := range names {
			if !child.allows(t, fsys, path+"/"+name) {
				return false
			}
		}
		return true
	})
}

func (n *modelNode) allowsData(got []byte) bool {
	sizeOK := false
	for i, v := range n.files {
		within := i+1 < len(n.files) && (len(got)-len(v))%modelSector == 0 &&
			len(got) > len(v) && len(got) < len(n.files[i+1])
		sizeOK = sizeOK || len(got) == len(v) || within
	}
	for off := 0; off < len(got); off += modelSector {
		end := min(off+modelSector, len(got))
		if !slices.ContainsFunc(n.files, func(v []byte) bool {
			return bytes.Equal(got[off:end], padded(v, off, end))
		}) {
			return false
		}
	}
	return sizeOK
}

// padded is v[off:end] with zeros for what v does not have.
func padded(v []byte, off, end int) []byte {
	b := make([]byte, end-off)
	if off < len(v) {
		copy(b, v[off:])
	}
	return b
}

func readAll(t *rapid.T, fsys vfs.FS, path string) string {
	b, err := vfs.ReadFile(fsys, path, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// adopt is the model of what fsys holds, all of it durable.
func adopt(t *rapid.T, fsys vfs.FS, path string) *modelNode {
	info, err := fsys.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if !info.IsDir() {
		return &modelNode{files: [][]byte{[]byte(readAll(t, fsys, path))}}
	}
	n := newModelDir()
	names, err := fsys.List(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		n.dirs[0][name] = adopt(t, fsys, path+"/"+name)
	}
	return n
}

// machine drives a Mem and the model with the same operations.
type machine struct {
	mem  *vfs.Mem
	root *modelNode
}

func (s *machine) dir(t *rapid.T) (string, *modelNode) {
	name := rapid.SampledFrom([]string{"", "/x", "/y"}).Draw(t, "dir")
	if name == "" {
		return name, s.root
	}
	n := s.root.names()[name[1:]]
	if n == nil {
		t.Skip("no such directory")
	}
	return name, n
}

// file draws the name of a file and what the model has under it.
func (s *machine) file(t *rapid.T) (path, name string, dir, n *modelNode) {
	dirPath, dir := s.dir(t)
	name = rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "name")
	return dirPath + "/" + name, name, dir, dir.names()[name]
}

func (s *machine) withFile(t *rapid.T, do func(f vfs.File, n *modelNode)) {
	path, _, _, n := s.file(t)
	f, err := s.mem.OpenReadWrite(path)
	if n == nil {
		wantErr(t, err, fs.ErrNotExist)
		return
	}
	must(t, err)
	do(f, n)
	must(t, f.Close())
}

func (s *machine) create(t *rapid.T) {
	path, name, dir, n := s.file(t)
	f, err := s.mem.Create(path)
	if n != nil {
		wantErr(t, err, fs.ErrExist)
		return
	}
	must(t, err)
	must(t, f.Close())
	dir.set(name, &modelNode{files: [][]byte{{}}})
}

func (s *machine) write(t *rapid.T) {
	s.withFile(t, func(f vfs.File, n *modelNode) {
		off := rapid.IntRange(0, 100).Draw(t, "off")
		if rapid.Bool().Draw(t, "append") {
			off = len(n.data())
		}
		b := bytes.Repeat([]byte{rapid.Byte().Draw(t, "fill")}, rapid.IntRange(1, 60).Draw(t, "len"))
		writeAt(t, f, string(b), int64(off))
		next := padded(n.data(), 0, max(len(n.data()), off+len(b)))
		copy(next[off:], b)
		n.files = append(n.files, next)
	})
}

func (s *machine) truncate(t *rapid.T) {
	s.withFile(t, func(f vfs.File, n *modelNode) {
		size := rapid.IntRange(0, 120).Draw(t, "size")
		must(t, f.Truncate(int64(size)))
		n.files = append(n.files, padded(n.data(), 0, size))
	})
}

func (s *machine) sync(t *rapid.T) {
	s.withFile(t, func(f vfs.File, n *modelNode) {
		must(t, f.Sync())
		n.sync()
	})
}

func (s *machine) remove(t *rapid.T) {
	path, name, dir, n := s.file(t)
	err := s.mem.Remove(path)
	if n == nil {
		wantErr(t, err, fs.ErrNotExist)
		return
	}
	must(t, err)
	dir.set(name, nil)
}

func (s *machine) rename(t *rapid.T) {
	dirPath, dir := s.dir(t)
	names := rapid.SampledFrom([]string{"a", "b", "c"})
	from, to := names.Draw(t, "from"), names.Draw(t, "to")
	err := s.mem.Rename(dirPath+"/"+from, dirPath+"/"+to)
	n := dir.names()[from]
	if n == nil {
		wantErr(t, err, fs.ErrNotExist)
		return
	}
	must(t, err)
	if from != to {
		dir.change(map[string]*modelNode{from: nil, to: n})
	}
}

func (s *machine) mkdir(t *rapid.T) {
	name := rapid.SampledFrom([]string{"x", "y"}).Draw(t, "dir")
	must(t, s.mem.MkdirAll("/"+name))
	if s.root.names()[name] == nil {
		s.root.set(name, newModelDir())
	}
}

func (s *machine) removeAll(t *rapid.T) {
	name := rapid.SampledFrom([]string{"x", "y"}).Draw(t, "dir")
	must(t, s.mem.RemoveAll("/"+name))
	n := s.root.names()[name]
	if n == nil {
		return
	}
	for _, child := range slices.Sorted(maps.Keys(n.names())) {
		n.set(child, nil)
	}
	s.root.set(name, nil)
}

func (s *machine) syncDir(t *rapid.T) {
	path, n := s.dir(t)
	must(t, s.mem.SyncDir("/"+path))
	n.sync()
}

func (s *machine) syncFS(t *rapid.T) {
	must(t, s.mem.SyncFS("/"))
	s.root.each((*modelNode).sync)
}

func (s *machine) crash(t *rapid.T) {
	mode := rapid.SampledFrom([]vfs.CrashMode{vfs.DropAll, vfs.KeepAll, vfs.Random}).Draw(t, "mode")
	rng := seeded(rapid.Uint64().Draw(t, "seed"))
	after := s.mem.CrashClone(mode, rng)
	if rapid.Bool().Draw(t, "clone") {
		s.mem = after
	} else {
		rng = seeded(rapid.Uint64().Draw(t, "seed"))
		s.mem = s.mem.Crash(mode, rng)
	}
	switch mode {
	case vfs.DropAll:
		s.root.dropUnsynced()
	case vfs.Random:
		if !s.root.allows(t, s.mem, "") {
			t.Fatalf("the crash left what it cannot: %s", describe(t, s.mem, ""))
		}
		s.root = adopt(t, s.mem, "")
	case vfs.KeepAll:
	}
}

func (s *machine) check(t *rapid.T) {
	want := describeModel(s.root, "")
	if got := describe(t, s.mem, ""); got != want {
		t.Fatalf("got:\n%s\nwant:\n%s", got, want)
	}
}

func describe(t *rapid.T, fsys vfs.FS, path string) string {
	return describeModel(adopt(t, fsys, path), path)
}

func describeModel(n *modelNode, path string) string {
	if !n.isDir() {
		return fmt.Sprintf("%s: %q\n", path, n.data())
	}
	s := path + "/\n"
	for _, name := range slices.Sorted(maps.Keys(n.names())) {
		s += describeModel(n.names()[name], path+"/"+name)
	}
	return s
}

func TestMemAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &machine{
			mem:  vfs.NewMem(vfs.MemOptions{SectorBytes: modelSector}),
			root: newModelDir(),
		}
		t.Repeat(map[string]func(*rapid.T){
			"create":    s.create,
			"write":     s.write,
			"append":    s.write,
			"truncate":  s.truncate,
			"sync":      s.sync,
			"remove":    s.remove,
			"rename":    s.rename,
			"mkdir":     s.mkdir,
			"removeAll": s.removeAll,
			"syncDir":   s.syncDir,
			"syncFS":    s.syncFS,
			"crash":     s.crash,
			"":          s.check,
		})
	})
}
