package vfs_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/fanfold/fanfold/internal/vfs"
)

func newMem(t testing.TB) *vfs.Mem {
	m := vfs.NewMem(vfs.MemOptions{})
	must(t, m.MkdirAll("/d"))
	must(t, m.SyncFS("/"))
	return m
}

func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

// durableFile is an open file that a power loss leaves as it is.
func durableFile(t testing.TB, m *vfs.Mem, name, content string) vfs.File {
	f := create(t, m, name, content)
	must(t, f.Sync())
	must(t, m.SyncFS("/"))
	return f
}

func TestDropAllKeepsWhatWasSynced(t *testing.T) {
	m := newMem(t)
	f := create(t, m, "/d/synced", "kept")
	must(t, f.Sync())
	must(t, m.SyncDir("/d"))
	writeAt(t, f, "lost and longer", 0)
	must(t, f.Truncate(2))
	must(t, create(t, m, "/d/noDirSync", "x").Sync())
	m = m.Crash(vfs.DropAll, nil)
	wantList(t, m, "/d", "synced")
	wantContent(t, m, "/d/synced", "kept")
}

func TestDropAllOfANameWithoutData(t *testing.T) {
	m := newMem(t)
	create(t, m, "/d/f", "lost")
	must(t, m.SyncDir("/d"))
	m = m.Crash(vfs.DropAll, nil)
	wantContent(t, m, "/d/f", "")
}

func TestDropAllTakesBackNames(t *testing.T) {
	m := newMem(t)
	durableFile(t, m, "/d/a", "a")
	durableFile(t, m, "/d/b", "b")
	must(t, m.Rename("/d/a", "/d/b"))
	c := m.CrashClone(vfs.DropAll, nil)
	wantContent(t, c, "/d/a", "a")
	wantContent(t, c, "/d/b", "b")

	must(t, m.SyncDir("/d"))
	must(t, m.Remove("/d/b"))
	c = m.CrashClone(vfs.DropAll, nil)
	wantList(t, c, "/d", "b")
	wantContent(t, c, "/d/b", "a")

	must(t, m.MkdirAll("/d/e/f"))
	must(t, m.SyncDir("/d/e"))
	c = m.CrashClone(vfs.DropAll, nil)
	wantList(t, c, "/d", "b") // e's own name was not synced
	must(t, m.SyncDir("/d"))
	m = m.Crash(vfs.DropAll, nil)
	wantList(t, m, "/d", "e")
	wantList(t, m, "/d/e", "f")
}

func TestKeepAllStillKnowsWhatIsNotDurable(t *testing.T) {
	m := newMem(t)
	f := durableFile(t, m, "/d/f", "old")
	writeAt(t, f, "new", 0)
	create(t, m, "/d/g", "g")
	m = m.Crash(vfs.KeepAll, nil)
	wantContent(t, m, "/d/f", "new")
	wantContent(t, m, "/d/g", "g")
	c := m.CrashClone(vfs.DropAll, nil)
	wantContent(t, c, "/d/f", "old")
	wantList(t, c, "/d", "f")
	must(t, m.SyncFS("/"))
	m = m.Crash(vfs.DropAll, nil)
	wantContent(t, m, "/d/f", "new")
	wantContent(t, m, "/d/g", "g")
}

func TestCrashEndsTheOldFileSystem(t *testing.T) {
	m := newMem(t)
	f := create(t, m, "/d/f", "x")
	l, err := m.Lock("/d/LOCK")
	must(t, err)
	after := m.Crash(vfs.KeepAll, nil)
	_, err = f.ReadAt(make([]byte, 1), 0)
	wantErr(t, err, vfs.ErrCrashed)
	_, err = f.WriteAt([]byte("y"), 0)
	wantErr(t, err, vfs.ErrCrashed)
	wantErr(t, f.Sync(), vfs.ErrCrashed)
	wantErr(t, f.Truncate(0), vfs.ErrCrashed)
	wantErr(t, f.Close(), vfs.ErrCrashed)
	wantErr(t, l.Close(), vfs.ErrCrashed)
	_, err = m.Create("/d/g")
	wantErr(t, err, vfs.ErrCrashed)
	_, err = m.Open("/d/f")
	wantErr(t, err, vfs.ErrCrashed)
	wantErr(t, m.MkdirAll("/e"), vfs.ErrCrashed)
	wantErr(t, m.RemoveAll("/d"), vfs.ErrCrashed)
	wantErr(t, m.SyncFS("/"), vfs.ErrCrashed)

	l, err = after.Lock("/d/LOCK")
	must(t, err)
	must(t, l.Close())
	wantContent(t, after, "/d/f", "x")
}

func TestCrashCloneLeavesTheOriginalAlone(t *testing.T) {
	m := newMem(t)
	f := durableFile(t, m, "/d/f", "original")
	writeAt(t, f, "O", 0)
	c := m.CrashClone(vfs.KeepAll, nil)
	g, err := c.OpenReadWrite("/d/f")
	must(t, err)
	writeAt(t, g, "clone", 0)
	must(t, g.Truncate(5))
	writeAt(t, g, " grew longer", 5)
	writeAt(t, f, "AL", 6)
	must(t, m.Remove("/d/f"))
	wantContent(t, c, "/d/f", "clone grew longer")
	wantContent(t, m.CrashClone(vfs.DropAll, nil), "/d/f", "original")
	wantContent(t, c.CrashClone(vfs.DropAll, nil), "/d/f", "original")
	wantList(t, m, "/d")
}

func TestRandomIsReproducible(t *testing.T) {
	build := func() *vfs.Mem {
		m := newMem(t)
		for i := range 20 {
			f := create(t, m, fmt.Sprintf("/d/%d", i), strings.Repeat("x", 3000))
			if i%3 == 0 {
				must(t, f.Sync())
			}
		}
		return m
	}
	dump := func(m *vfs.Mem) string {
		var b strings.Builder
		names, err := m.List("/d")
		must(t, err)
		for _, name := range names {
			fmt.Fprintf(&b, "%s=%q\n", name, content(t, m, "/d/"+name))
		}
		return b.String()
	}
	one, two := build(), build()
	for seed := range uint64(20) {
		a := dump(one.CrashClone(vfs.Random, seeded(seed)))
		b := dump(two.CrashClone(vfs.Random, seeded(seed)))
		if a != b {
			t.Fatalf("seed %d gives two results", seed)
		}
	}
}

// outcomes counts the results of many random crashes.
func outcomes(m *vfs.Mem, describe func(*vfs.Mem) string) map[string]int {
	seen := map[string]int{}
	for seed := range uint64(2000) {
		seen[describe(m.CrashClone(vfs.Random, seeded(seed)))]++
	}
	return seen
}

func wantOutcomes(t *testing.T, got map[string]int, want ...string) {
	t.Helper()
	for _, w := range want {
		if got[w] == 0 {
			t.Errorf("never seen: %q", w)
		}
		delete(got, w)
	}
	for w, n := range got {
		t.Errorf("seen %d times: %q", n, w)
	}
}

// sectors describes a file by the first byte of each sector, "." for zero.
func sectors(t *testing.T, name string) func(*vfs.Mem) string {
	return func(m *vfs.Mem) string {
		b := []byte(content(t, m, name))
		var s []byte
		for ; len(b) > 0; b = b[min(512, len(b)):] {
			if sector := b[:min(512, len(b))]; bytes.Count(sector, sector[:1]) != len(sector) {
				t.Fatalf("a sector is mixed: %q", sector)
			}
			s = append(s, b[0])
		}
		return strings.ReplaceAll(string(s), "\x00", ".")
	}
}

func fill(s string) string {
	var b strings.Builder
	for _, c := range s {
		b.WriteString(strings.Repeat(string(c), 512))
	}
	return b.String()
}

func TestRandomTearsAnOverwrite(t *testing.T) {
	m := newMem(t)
	f := durableFile(t, m, "/d/f", fill("aaa"))
	writeAt(t, f, fill("bb"), 512)
	wantOutcomes(t, outcomes(m, sectors(t, "/d/f")), "aaa", "aba", "aab", "abb")
}

func TestRandomTearsAnAppend(t *testing.T) {
	m := newMem(t)
	f := durableFile(t, m, "/d/f", fill("a"))
	writeAt(t, f, fill("bc"), 512)
	wantOutcomes(t, outcomes(m, sectors(t, "/d/f")),
		"a", "ab", "a.", "abc", "a.c", "ab.", "a..")
}

func TestRandomKeepsVersionsOfASector(t *testing.T) {
	m := newMem(t)
	f := durableFile(t, m, "/d/f", fill("a"))
	for _, c := range "bcd" {
		writeAt(t, f, fill(string(c)), 0)
	}
	wantOutcomes(t, outcomes(m, sectors(t, "/d/f")), "a", "b", "c", "d")
}

func TestRandomTruncationIsABarrier(t *testing.T) {
	m := newMem(t)
	f := durableFile(t, m, "/d/f", fill("aaa"))
	must(t, f.Truncate(512))
	writeAt(t, f, fill("b"), 512)
	wantOutcomes(t, outcomes(m, sectors(t, "/d/f")),
		"aaa",      // not truncated: nothing of b
		"a",        // truncated
		"ab", "a.") // and written again
}

func TestRandomTruncationLeavesZerosAbove(t *testing.T) {
	m := newMem(t)
	f := durableFile(t, m, "/d/f", fill("aaa"))
	writeAt(t, f, fill("b"), 512)
	must(t, f.Truncate(512))
	must(t, f.Truncate(3*512))
	wantOutcomes(t, outcomes(m, sectors(t, "/d/f")), "aaa", "aba", "a", "a.", "a..")
}

func TestRandomTruncationWithinASector(t *testing.T) {
	m := newMem(t)
	f := durableFile(t, m, "/d/f", "abcdef")
	must(t, f.Truncate(3))
	must(t, f.Truncate(6))
	wantOutcomes(t, outcomes(m, func(m *vfs.Mem) string { return content(t, m, "/d/f") }),
		"abcdef", "abc", "abc\x00\x00\x00")
}

func listing(t *testing.T, dirs ...string) func(*vfs.Mem) string {
	return func(m *vfs.Mem) string {
		var parts []string
		for _, dir := range dirs {
			names, err := m.List(dir)
			if err != nil {
				wantErr(t, err, fs.ErrNotExist)
				names = []string{"-"}
			}
			parts = append(parts, strings.Join(names, ","))
		}
		return strings.Join(parts, " ")
	}
}

func TestRandomKeepsAPrefixOfNames(t *testing.T) {
	m := newMem(t)
	create(t, m, "/d/a", "")
	create(t, m, "/d/b", "")
	must(t, m.Rename("/d/a", "/d/c"))
	must(t, m.Remove("/d/b"))
	wantOutcomes(t, outcomes(m, listing(t, "/d")), "", "a", "a,b", "b,c", "c")
}

func TestRandomMoveBetweenDirectoriesIsOne(t *testing.T) {
	m := newMem(t)
	must(t, m.MkdirAll("/e"))
	durableFile(t, m, "/d/f", "x")
	must(t, m.Rename("/d/f", "/e/f"))
	create(t, m, "/e/g", "")
	wantOutcomes(t, outcomes(m, listing(t, "/d", "/e")), "f ", " f", " f,g")

	must(t, m.SyncDir("/e"))
	wantOutcomes(t, outcomes(m, listing(t, "/d", "/e")), " f,g")
}

func TestRandomRemovedDirectoryLosesNothingMovedOut(t *testing.T) {
	m := newMem(t)
	must(t, m.MkdirAll("/e"))
	durableFile(t, m, "/d/f", "x")
	must(t, m.Rename("/d/f", "/e/f"))
	must(t, m.Remove("/d"))
	wantOutcomes(t, outcomes(m, listing(t, "/d", "/e")), "f ", " f", "- f")

	must(t, m.SyncDir("/"))
	wantOutcomes(t, outcomes(m, listing(t, "/d", "/e")), "- f")
}

func TestRemoveAllSyncedByItsParent(t *testing.T) {
	m := newMem(t)
	must(t, m.MkdirAll("/d/x/y"))
	durableFile(t, m, "/d/x/y/f", "x")
	must(t, m.RemoveAll("/d/x"))
	wantOutcomes(t, outcomes(m, listing(t, "/d", "/d/x", "/d/x/y")),
		"x y f", "x y ", "x  -", " - -")
	must(t, m.SyncDir("/d"))
	m = m.Crash(vfs.DropAll, nil)
	wantList(t, m, "/d")
}

func TestFailedSyncLosesDataThatReadsStillShow(t *testing.T) {
	lost := 0
	for seed := range uint64(100) {
		m := vfs.NewMem(vfs.MemOptions{Seed: seed})
		must(t, m.MkdirAll("/d"))
		durableFile(t, m, "/d/f", fill("aaaa"))
		e := vfs.NewErrors(m, vfs.Fail(vfs.OpSync, 1, fs.ErrInvalid))
		f, err := e.OpenReadWrite("/d/f")
		must(t, err)
		writeAt(t, f, fill("bbbb"), 0)
		wantErr(t, f.Sync(), fs.ErrInvalid)
		wantContent(t, e, "/d/f", fill("bbbb"))

		writeAt(t, f, fill("c"), 512)
		must(t, f.Sync())
		wantContent(t, e, "/d/f", fill("bcbb"))
		after := sectors(t, "/d/f")(m.CrashClone(vfs.DropAll, nil))
		if after[1] != 'c' || strings.Trim(after, "abc") != "" || len(after) != 4 {
			t.Fatalf("seed %d: %q", seed, after)
		}
		if strings.Contains(after, "a") {
			lost++
		}
		wantContent(t, m.CrashClone(vfs.KeepAll, nil), "/d/f", fill("bcbb"))

		writeAt(t, f, fill("dddd"), 0)
		must(t, f.Sync())
		wantContent(t, m.Crash(vfs.DropAll, nil), "/d/f", fill("dddd"))
	}
	if lost == 0 || lost == 100 {
		t.Errorf("the failed sync lost data in %d of 100 runs", lost)
	}
}

func TestFailedSyncThenResizedAndCrashed(t *testing.T) {
	for seed := range uint64(200) {
		m := vfs.NewMem(vfs.MemOptions{Seed: seed})
		must(t, m.MkdirAll("/d"))
		e := vfs.NewErrors(m, vfs.Fail(vfs.OpSyncFS, 1, fs.ErrInvalid))
		f := create(t, e, "/d/f", fill("aa"))
		must(t, m.SyncDir("/d"))
		must(t, m.SyncDir("/"))
		wantErr(t, e.SyncFS("/"), fs.ErrInvalid)
		writeAt(t, f, fill("bb"), 1024)
		must(t, f.Truncate(3*512))
		must(t, f.Truncate(5*512))
		got := sectors(t, "/d/f")(m.CrashClone(vfs.Random, seeded(seed)))
		if strings.Trim(got, "ab.") != "" || len(got) > 5 {
			t.Fatalf("seed %d: %q", seed, got)
		}
		must(t, f.Sync())
		got = sectors(t, "/d/f")(m.Crash(vfs.DropAll, nil))
		if len(got) != 5 || got[2:] != "b.." || strings.Trim(got[:2], "a.") != "" {
			t.Fatalf("seed %d: %q", seed, got)
		}
	}
}

func TestDirtyFilesThatWereRemovedAreForgotten(t *testing.T) {
	m := newMem(t)
	f := create(t, m, "/d/f", "x")
	must(t, m.Remove("/d/f"))
	must(t, m.SyncDir("/d"))
	writeAt(t, f, "y", 0)
	wantList(t, m.Crash(vfs.Random, seeded(1)), "/d")
}

func BenchmarkMemAppendSync(b *testing.B) {
	b.ReportAllocs()
	m := newMem(b)
	f := create(b, m, "/d/f", "")
	block := make([]byte, 1000)
	off := int64(0)
	for b.Loop() {
		if off > 1<<20 {
			must(b, f.Truncate(0))
			off = 0
		}
		if _, err := f.WriteAt(block, off); err != nil {
			b.Fatal(err)
		}
		off += int64(len(block))
		must(b, f.Sync())
	}
}

func BenchmarkMemCrash(b *testing.B) {
	for _, mode := range []vfs.CrashMode{vfs.DropAll, vfs.KeepAll, vfs.Random} {
		b.Run("mode="+mode.String(), func(b *testing.B) {
			b.ReportAllocs()
			rng := seeded(1)
			m := newMem(b)
			for i := range 8 {
				durableFile(b, m, fmt.Sprintf("/d/%d", i), fill("abcd"))
			}
			block := []byte(fill("xyz"))
			for b.Loop() {
				f, err := m.OpenReadWrite("/d/3")
				must(b, err)
				must(b, f.Truncate(1024))
				must(b, f.Sync())
				for i := range 10 {
					if _, err := f.WriteAt(block[:700], int64(1024+i*700)); err != nil {
						b.Fatal(err)
					}
				}
				m = m.Crash(mode, rng)
			}
		})
	}
}
