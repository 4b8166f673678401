package recordtext

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// contents are the files that are hard to get right.
var contents = map[string]string{
	"empty":               "",
	"newline":             "\n",
	"newlines":            "\n\n\n",
	"plain.txt":           "a\nb\n",
	"no final newline":    "a\nb",
	"crlf.txt":            "a\r\nb\r\n",
	"dir/nul":             "a\x00b\n\x00",
	"dir/sub/invalid":     "\xff\xfe\n\xc3\x28",
	"dir/sub/long":        strings.Repeat("x", 600<<10) + "\ny",
	"dir/sub/été 日本.go":   "package x\n",
	".hidden/.x":          "1",
	"dir/sub.go":          "z\n",
	"dir/many":            strings.Repeat("line\n", 5000),
	"dir/sub/-dash":       "-",
	"dir/a=b,c;d 'quote'": "q",
}

func writeTree(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

func readTree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	for file, err := range Tree(dir, nil) {
		if err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(file.Path)
		if err != nil {
			t.Fatal(err)
		}
		files[file.Key] = string(content)
	}
	return files
}

func sameTrees(t *testing.T, got, want map[string]string) {
	t.Helper()
	for name := range want {
		if got[name] != want[name] {
			t.Errorf("%q differs: %d bytes, want %d", name, len(got[name]), len(want[name]))
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d files, want %d", len(got), len(want))
	}
}

// treeRecords reads the records of a tree.
func treeRecords(t *testing.T, dir string) []Record {
	t.Helper()
	reader := NewFileReader(1 << 20)
	var records []Record
	for file, err := range Tree(dir, nil) {
		if err != nil {
			t.Fatal(err)
		}
		content, err := os.Open(file.Path)
		if err != nil {
			t.Fatal(err)
		}
		for r, err := range reader.Records([]byte(file.Key), content) {
			if err != nil {
				t.Fatal(err)
			}
			r.Offset = int64(len(records))
			records = append(records, r)
		}
		content.Close()
	}
	return records
}

func TestTreeRoundTrip(t *testing.T) {
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "new")
	writeTree(t, from, contents)
	records := treeRecords(t, from)

	// The form that other languages' clients rely on: split and join.
	pieces := make(map[string][]string)
	for _, r := range records {
		pieces[string(r.Key)] = append(pieces[string(r.Key)], string(r.Value))
	}
	for name, content := range contents {
		if strings.Join(pieces[name], "\n") != content {
			t.Errorf("%q is not its records joined", name)
		}
	}

	for _, headers := range []bool{true, false} {
		dir := fmt.Sprint(to, headers)
		b, err := NewBuilder(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			if !headers {
				r.Headers = nil
			}
			if err := b.Add(&r); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		if b.Files() != len(contents) {
			t.Errorf("%d files, want %d", b.Files(), len(contents))
		}
		sameTrees(t, readTree(t, dir), contents)
	}
}

func TestTreeSkipsWhatIsNoRegularFile(t *testing.T) {
	dir := t.TempDir()
	writeTree(t, dir, map[string]string{"a": "1"})
	if err := os.Symlink("a", filepath.Join(dir, "link")); err != nil {
		t.Skip(err)
	}
	var skipped []string
	count := 0
	for _, err := range Tree(dir, func(path string) { skipped = append(skipped, filepath.Base(path)) }) {
		if err != nil {
			t.Fatal(err)
		}
		count++
	}
	if count != 1 || len(skipped) != 1 || skipped[0] != "link" {
		t.Errorf("%d files, skipped %q", count, skipped)
	}
	for _, err := range Tree(filepath.Join(dir, "missing"), nil) {
		if err == nil {
			t.Error("a missing directory was walked")
		}
	}
}

func TestBuilderInterleavesMoreFilesThanItKeepsOpen(t *testing.T) {
	dir := t.TempDir()
	b, err := NewBuilder(filepath.Join(dir, "x"))
	if err != nil {
		t.Fatal(err)
	}
	var offset int64
	for line := range 3 {
		for file := range 2 * openFiles {
			r := Record{Key: fmt.Appendf(nil, "d/%d", file), Value: fmt.Appendf(nil, "%d", line), Offset: offset}
			if err := b.Add(&r); err != nil {
				t.Fatal(err)
			}
			offset++
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	for name, content := range readTree(t, filepath.Join(dir, "x")) {
		if content != "0\n1\n2" {
			t.Fatalf("%s is %q", name, content)
		}
	}
}

func TestBuilderStartsAFileAnewThatWasSentAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "x")
	b, err := NewBuilder(dir)
	if err != nil {
		t.Fatal(err)
	}
	reader, offset := NewFileReader(100), int64(0)
	for _, content := range []string{"old\nlonger\ncontent", "new\n"} {
		for r, err := range reader.Records([]byte("f"), strings.NewReader(content)) {
			if err != nil {
				t.Fatal(err)
			}
			r.Offset = offset
			offset++
			if err := b.Add(&r); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if got := readTree(t, dir)["f"]; got != "new\n" || b.Bytes() != 4 {
		t.Errorf("got %q, %d bytes", got, b.Bytes())
	}
}

func TestBuilderRefuses(t *testing.T) {
	key := func(k string) []Record { return []Record{{Key: []byte(k), Value: []byte("x")}} }
	mark := func(name, value string) []Header { return []Header{{name, []byte(value)}} }
	for name, c := range map[string]struct {
		records []Record
		want    string
	}{
		"a path upwards":       {key("../x"), "not the path"},
		"a path hidden up":     {key("a/../../x"), "not the path"},
		"an absolute path":     {key("/etc/passwd"), "not the path"},
		"the directory itself": {key("."), "not the path"},
		"an empty path":        {key(""), "not the path"},
		"a slash at the end":   {key("a/"), "not the path"},
		"a NUL":                {key("a\x00b"), "not the path"},
		"no key":               {[]Record{{Value: []byte("x")}}, "no key"},
		"two partitions":       {[]Record{{Key: []byte("a")}, {Key: []byte("a"), Partition: 1}}, "no order"},
		"offsets that fall":    {[]Record{{Key: []byte("a"), Offset: 5}, {Key: []byte("a"), Offset: 5}}, "comes after offset 5"},
		"a file as directory":  {[]Record{{Key: []byte("a")}, {Key: []byte("a/b"), Offset: 1}}, "a"},
		"a wrong end":          {[]Record{{Key: []byte("a"), Value: []byte("x"), Headers: mark(EndHeader, "2 00000000")}}, "does not match"},
		"records behind the end": {[]Record{
			{Key: []byte("a"), Headers: []Header{{EndHeader, endMark(0, 0)}}}, {Key: []byte("a"), Offset: 1},
		}, "after its end"},
	} {
		b, err := NewBuilder(filepath.Join(t.TempDir(), "x"))
		if err != nil {
			t.Fatal(err)
		}
		err = nil
		for _, r := range c.records {
			if err = b.Add(&r); err != nil {
				break
			}
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", name, err, c.want)
		}
		b.Close()
	}
}

func TestBuilderTellsOfIncompleteFiles(t *testing.T) {
	b, err := NewBuilder(filepath.Join(t.TempDir(), "x"))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Add(&Record{Key: []byte("a"), Headers: []Header{{BeginHeader, []byte{}}}}); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err == nil || !strings.Contains(err.Error(), `1 of 1 files are incomplete, the first is "a"`) {
		t.Errorf("got %v", err)
	}
}

func TestBuilderFollowsNoLinkOut(t *testing.T) {
	dir, outside := filepath.Join(t.TempDir(), "x"), t.TempDir()
	b, err := NewBuilder(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Skip(err)
	}
	if err := b.Add(&Record{Key: []byte("link/x")}); err == nil {
		t.Error("wrote through a link that leads out")
	}
	b.Close()
	if _, err := NewBuilder(dir); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("a directory with content was taken: %v", err)
	}
}

func TestFileKey(t *testing.T) {
	t.Chdir(t.TempDir())
	for in, want := range map[string]string{"a": "a", "./b/../c/d": "c/d"} {
		if got, err := FileKey(in); err != nil || got != want {
			t.Errorf("FileKey(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
	if got, err := FileKey("../outside"); err != nil || strings.HasPrefix(got, "/") || strings.Contains(got, "..") {
		t.Errorf("FileKey(../outside) = %q, %v", got, err)
	}
}

func FuzzBuilderKeys(f *testing.F) {
	for _, k := range []string{"a", "a/b", "../x", "/x", "a//b", "C:\\x", "a\x00", strings.Repeat("a/", 300)} {
		f.Add([]byte(k))
	}
	f.Fuzz(func(t *testing.T, key []byte) {
		dir := t.TempDir()
		b, err := NewBuilder(filepath.Join(dir, "inside"))
		if err != nil {
			t.Fatal(err)
		}
		added := b.Add(&Record{Key: append([]byte{}, key...), Value: []byte("v")})
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 1 {
			t.Fatalf("%q left the directory: %v, %v", key, entries, err)
		}
		if added == nil {
			got, err := os.ReadFile(filepath.Join(dir, "inside", filepath.FromSlash(string(key))))
			if err != nil || !bytes.Equal(got, []byte("v")) {
				t.Fatalf("%q: %q, %v", key, got, err)
			}
		}
	})
}

func BenchmarkFileReader(b *testing.B) {
	content := []byte(strings.Repeat("\tif err != nil { return fmt.Errorf(\"read: %w\", err) }\n", 20_000))
	reader := NewFileReader(1 << 20)
	b.SetBytes(int64(len(content)))
	b.ReportAllocs()
	for b.Loop() {
		for _, err := range reader.Records([]byte("key"), bytes.NewReader(content)) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}
