package log

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fanfold/fanfold/internal/vfs"
)

// BenchmarkSyncMany compares one fdatasync for each of many dirty files with
// one syncfs for all: from where on the second is cheaper is where WholeFrom
// is set. FANFOLD_BENCH_DIR is a directory on the disk to measure, otherwise a
// temporary one.
func BenchmarkSyncMany(b *testing.B) {
	for _, files := range []int{8, 16, 32, 64, 128, 512} {
		for _, whole := range []int{-1, 1} {
			how := "fdatasync"
			if whole > 0 {
				how = "syncfs"
			}
			b.Run(fmt.Sprintf("files=%d/how=%s", files, how), func(b *testing.B) { benchSyncMany(b, files, whole) })
		}
	}
}

func benchSyncMany(b *testing.B, n, whole int) {
	dir := b.TempDir()
	if d := os.Getenv("FANFOLD_BENCH_DIR"); d != "" {
		var err error
		dir, err = os.MkdirTemp(d, "sync")
		must(b, err)
		defer os.RemoveAll(dir)
	}
	var files []vfs.File
	for i := range n {
		f, err := vfs.OS.Create(filepath.Join(dir, fmt.Sprint(i)))
		must(b, err)
		defer f.Close()
		files = append(files, f)
	}
	s := NewSyncScheduler(SyncConfig{FS: vfs.OS, Dir: dir, WholeFrom: -1})
	buf := make([]byte, 4096)
	var before, after syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	off := int64(0)
	for b.Loop() {
		for _, f := range files {
			if _, err := f.WriteAt(buf, off); err != nil {
				b.Fatal(err)
			}
		}
		off += int64(len(buf))
		if whole > 0 {
			must(b, vfs.OS.SyncFS(dir))
			for _, f := range files {
				must(b, writebackError(f))
			}
			continue
		}
		var wg sync.WaitGroup
		for _, f := range files {
			wg.Go(func() { _ = s.Sync(f) })
		}
		wg.Wait()
	}
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	cpu := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
	b.ReportMetric(float64(cpu.Microseconds())/float64(b.N), "cpu-µs/op")
}
