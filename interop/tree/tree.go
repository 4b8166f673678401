// Package tree is the suite's input: a folder of files that goes through a
// broker line by line, and the checks that it came back whole.
//
// The convention, the same in every client program: a file becomes records in
// its topic in order, each keyed by the file's slash-separated path below the
// root. Cutting a file with n newlines at each of them gives n+1 records, so
// that the last record is empty where the file ends in a newline and the whole
// content of a file without one; an empty file is one empty record. Joining
// the values with newlines is the exact inverse: nothing needs a mark.
package tree

import (
	"bytes"
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// Tree is a folder's regular files and their number of records.
type Tree struct {
	Root  string
	Files []string // slash-separated paths below Root, in byte order
	Lines []int    // records of each file: newlines + 1
	Bytes int64    // the files' bytes together

	index map[string]int
}

// Load walks root. With limit > 0 it keeps that many files: the one with the
// longest line, an empty one and one without a final newline where there are
// such, the others spread evenly over the walk.
func Load(root string, limit int) (*Tree, error) {
	var all []entry
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		e, err := scan(root, path)
		all = append(all, e)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("walk %s: %w", root, err)
	}
	slices.SortFunc(all, func(a, b entry) int { return cmp.Compare(a.name, b.name) })
	t := &Tree{Root: root, index: map[string]int{}}
	for _, e := range pick(all, limit) {
		t.index[e.name] = len(t.Files)
		t.Files = append(t.Files, e.name)
		t.Lines = append(t.Lines, e.lines)
		t.Bytes += e.size
	}
	return t, nil
}

type entry struct {
	name    string
	lines   int
	longest int // bytes of the longest line
	open    bool
	size    int64
}

func scan(root, path string) (entry, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return entry{}, err
	}
	rel, err := filepath.Rel(root, path)
	if err != nil {
		return entry{}, err
	}
	e := entry{name: filepath.ToSlash(rel), size: int64(len(content))}
	for line := range Records(content) {
		e.lines++
		e.longest = max(e.longest, len(line))
		e.open = len(line) > 0 // of the last line: no final newline
	}
	return e, nil
}

func pick(all []entry, limit int) []entry {
	if limit <= 0 || limit >= len(all) {
		return all
	}
	keep := map[int]bool{}
	longest := 0
	for i, e := range all {
		if e.longest > all[longest].longest {
			longest = i
		}
	}
	keep[longest] = true
	keep[max(0, slices.IndexFunc(all, func(e entry) bool { return e.size == 0 }))] = true
	keep[max(0, slices.IndexFunc(all, func(e entry) bool { return e.open }))] = true
	for i := 0; len(keep) < limit; i++ {
		keep[(i*len(all)/limit+i/limit)%len(all)] = true
	}
	var picked []entry
	for i, e := range all {
		if keep[i] {
			picked = append(picked, e)
		}
	}
	return picked
}

// Records yields a file's values in order, as the package comment says.
func Records(content []byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for {
			i := bytes.IndexByte(content, '\n')
			if i < 0 {
				yield(content)
				return
			}
			if !yield(content[:i:i]) {
				return
			}
			content = content[i+1:]
		}
	}
}

// Index returns the position in Files of a path.
func (t *Tree) Index(name string) (int, bool) {
	i, ok := t.index[name]
	return i, ok
}

// Records is how many records the whole tree makes.
func (t *Tree) Records() int {
	n := 0
	for _, l := range t.Lines {
		n += l
	}
	return n
}

// WriteList writes the paths, one a line, for the client programs.
func (t *Tree) WriteList(path string) error {
	var b bytes.Buffer
	for _, f := range t.Files {
		b.WriteString(f)
		b.WriteByte('\n')
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

// Copy puts the files into dir, which is created.
func (t *Tree) Copy(dir string) error {
	for _, f := range t.Files {
		content, err := os.ReadFile(filepath.Join(t.Root, filepath.FromSlash(f)))
		if err != nil {
			return err
		}
		to := filepath.Join(dir, filepath.FromSlash(f))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(to, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}
