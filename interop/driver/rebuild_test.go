package driver

import (
	"os"
	"path/filepath"
	"testing"
)

func TestRebuild(t *testing.T) {
	dir := t.TempDir()
	r := newRebuild(dir)
	next := map[int32]int64{}
	add := func(partition int32, key, value string) error {
		rec := Record{Partition: partition, Offset: next[partition], Key: []byte(key), Value: []byte(value)}
		next[partition]++
		return r.add(rec)
	}
	for _, rec := range []struct {
		partition  int32
		key, value string
	}{
		{0, "a", "1"}, {1, "d/b", "x"}, {0, "a", ""}, {0, "d/c", ""}, {1, "d/b", "y"}, {0, "a", "3"}, // a goes on after d/c
	} {
		if err := add(rec.partition, rec.key, rec.value); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := r.close(); n != 6 || err != nil {
		t.Errorf("%d records, %v", n, err)
	}
	for name, want := range map[string]string{"a": "1\n\n3", "d/b": "x\ny", "d/c": ""} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); string(got) != want || err != nil {
			t.Errorf("%s is %q, want %q: %v", name, got, want, err)
		}
	}
}

func TestRebuildRefuses(t *testing.T) {
	for _, key := range []string{"../x", "/x", "a/../../x", ""} {
		r := newRebuild(filepath.Join(t.TempDir(), "in"))
		if err := r.add(Record{Key: []byte(key)}); err != nil {
			t.Fatal(err)
		}
		if _, err := r.close(); err == nil {
			t.Errorf("the key %q was taken for a path", key)
		}
	}
	r := newRebuild(t.TempDir())
	if err := r.add(Record{Offset: 1, Key: []byte("a")}); err == nil {
		t.Error("a partition began at offset 1")
	}
}
