package tree

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var contents = map[string]string{
	"a/empty":        "",
	"a/newline":      "\n",
	"a/plain":        "one\ntwo\n",
	"b/no newline":   "one\ntwo",
	"b/bytes":        "\x00\r\n\xff\n\n",
	"c/long":         strings.Repeat("x", 100_000) + "\n",
	"c/another":      "1\n2\n3\n",
	"c/yet/another":  "1\n",
	"c/yet/one more": "1\n",
}

func write(t *testing.T) *Tree {
	t.Helper()
	dir := t.TempDir()
	for name, content := range contents {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return load(t, dir, 0)
}

func load(t *testing.T, dir string, limit int) *Tree {
	t.Helper()
	tr, err := Load(dir, limit)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func TestRecordsJoinedAreTheFile(t *testing.T) {
	for name, content := range contents {
		var values [][]byte
		for v := range Records([]byte(content)) {
			values = append(values, v)
		}
		if got := bytes.Join(values, []byte{'\n'}); string(got) != content {
			t.Errorf("%s: %d records do not join to the file", name, len(values))
		}
		if want := strings.Count(content, "\n") + 1; len(values) != want {
			t.Errorf("%s: %d records, want %d", name, len(values), want)
		}
	}
}

func TestPartOfATreeHasTheHardFiles(t *testing.T) {
	part := load(t, write(t).Root, 4)
	if len(part.Files) != 4 {
		t.Errorf("%d files, want 4: %v", len(part.Files), part.Files)
	}
	for _, name := range []string{"a/empty", "b/no newline", "c/long"} {
		if _, ok := part.Index(name); !ok {
			t.Errorf("%s is not among %v", name, part.Files)
		}
	}
}

func TestCompareNamesTheFirstDifference(t *testing.T) {
	tr := write(t)
	for _, c := range []struct {
		file, content string
		line          int
	}{
		{"a/plain", "one\nTWO\n", 1},
		{"a/plain", "one\ntwo", 2},
		{"b/no newline", "one\ntwo\n", 2},
		{"a/empty", "x", 0},
		{"more", "", 0},
	} {
		dir := filepath.Join(t.TempDir(), "copy")
		if err := tr.Copy(dir); err != nil {
			t.Fatal(err)
		}
		if err := tr.Compare(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, c.file), []byte(c.content), 0o644); err != nil {
			t.Fatal(err)
		}
		var diff *Difference
		if err := tr.Compare(dir); !errors.As(err, &diff) || diff.File != c.file || diff.Line != c.line {
			t.Errorf("%s as %q: %v", c.file, c.content, err)
		}
		if err := os.Remove(filepath.Join(dir, "a/newline")); err != nil {
			t.Fatal(err)
		}
		if err := tr.Compare(dir); err == nil {
			t.Error("a missing file was not noticed")
		}
	}
}

// fill gives the tree's records to two partitions, one file to each in turn.
func fill(t *testing.T, tr *Tree) *Positions {
	t.Helper()
	p, next := NewPositions(tr), [2]int64{}
	for i, name := range tr.Files {
		for v := range Records([]byte(contents[name])) {
			if err := p.Add(int32(i%2), next[i%2], []byte(name), v); err != nil {
				t.Fatal(err)
			}
			next[i%2]++
		}
	}
	return p
}

func TestPositionsFindWhatIsWrong(t *testing.T) {
	tr := write(t)
	whole := fill(t, tr)
	if err := whole.Complete(); err != nil {
		t.Error(err)
	}
	if err := NewPositions(tr).Complete(); err == nil {
		t.Error("no record at all is complete")
	}
	for what, add := range map[string]func(p *Positions) error{
		"a hole":         func(p *Positions) error { return p.Add(0, 1, []byte("a/empty"), nil) },
		"an unknown key": func(p *Positions) error { return p.Add(0, 0, []byte("d"), nil) },
		"another value":  func(p *Positions) error { return p.Add(0, 0, []byte("a/empty"), []byte("x")) },
		"a record twice": func(p *Positions) error {
			return errors.Join(p.Add(0, 0, []byte("a/empty"), nil), p.Add(0, 1, []byte("a/empty"), nil))
		},
		"two partitions": func(p *Positions) error {
			return errors.Join(p.Add(0, 0, []byte("a/newline"), nil), p.Add(1, 0, []byte("a/newline"), nil))
		},
	} {
		if err := add(NewPositions(tr)); err == nil {
			t.Errorf("%s was not noticed", what)
		}
	}
}

func TestCheckAcks(t *testing.T) {
	tr := write(t)
	p, log := fill(t, tr), filepath.Join(t.TempDir(), "acks")
	for _, c := range []struct {
		log   string
		count int
		ok    bool
	}{
		{"0 0 0 0\n1 0 1 0\n1 1 1 1\n", 3, true},
		{"0 0 0 0\n1 0 1", 1, true},          // the program died while it wrote
		{"0 0 1 0\n", 0, false},              // another record is there
		{"0 0 0 0\n0 99999 0 0\n", 1, false}, // none is there
		{"7 0 0 0\n", 0, false},
		{"0 -1 0 0\n", 0, false},
		{"0 0 -1 0\n", 0, false},
		{"0 0 0\n", 0, false},
	} {
		if err := os.WriteFile(log, []byte(c.log), 0o644); err != nil {
			t.Fatal(err)
		}
		if count, err := p.CheckAcks(log); count != c.count || (err == nil) != c.ok {
			t.Errorf("%q: %d, %v", c.log, count, err)
		}
	}
}
