package tree

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Difference is the first place at which a rebuilt file is not the original.
type Difference struct {
	File string
	Line int // index of the record, from 0
	Want string
	Got  string
}

func (d *Difference) Error() string {
	return fmt.Sprintf("file %s, record %d: want %s, got %s", d.File, d.Line, d.Want, d.Got)
}

// Compare checks that dir holds exactly the tree's files, byte for byte. What
// is missing or other than it should be is a *Difference.
func (t *Tree) Compare(dir string) error {
	for _, f := range t.Files {
		want, err := os.ReadFile(filepath.Join(t.Root, filepath.FromSlash(f)))
		if err != nil {
			return err
		}
		got, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(f)))
		if errors.Is(err, fs.ErrNotExist) {
			return &Difference{File: f, Want: fmt.Sprintf("%d bytes", len(want)), Got: "no file"}
		}
		if err != nil {
			return err
		}
		if !bytes.Equal(want, got) {
			return firstDifference(f, want, got)
		}
	}
	return t.noOthers(dir)
}

func (t *Tree) noOthers(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if _, ok := t.Index(filepath.ToSlash(rel)); !ok {
			return &Difference{File: filepath.ToSlash(rel), Want: "no such file", Got: "a file"}
		}
		return nil
	})
}

func firstDifference(file string, want, got []byte) *Difference {
	w := bytes.Split(want, []byte{'\n'})
	g := bytes.Split(got, []byte{'\n'})
	for i := range max(len(w), len(g)) {
		switch {
		case i >= len(w):
			return &Difference{file, i, fmt.Sprintf("no more after %d records", len(w)), excerpt(g[i])}
		case i >= len(g):
			return &Difference{file, i, excerpt(w[i]), fmt.Sprintf("no more after %d records", len(g))}
		case !bytes.Equal(w[i], g[i]):
			return &Difference{file, i, excerpt(w[i]), excerpt(g[i])}
		}
	}
	return &Difference{File: file, Want: "equal", Got: "equal"}
}

func excerpt(line []byte) string {
	return fmt.Sprintf("%.80q", line)
}
