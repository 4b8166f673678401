package log

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/fanfold/fanfold/internal/vfs"
	"github.com/fanfold/fanfold/protocol/record"
)

// paddedBatch makes a batch of about so many bytes in one record.
func paddedBatch(t testing.TB, size int) []byte {
	t.Helper()
	b, err := record.NewBuilder(record.None, 0)
	must(t, err)
	b.Append(1_700_000_000_000, nil, make([]byte, max(0, size-record.HeaderBytes-12)), nil)
	raw, err := b.Build(nil)
	must(t, err)
	return raw
}

// discardSync makes nothing durable: for measuring all else.
type discardSync struct{}

func (discardSync) Sync(vfs.File) error { return nil }

func openOS(t testing.TB, dir string, cfg Config) *Log {
	t.Helper()
	l, err := Open(context.Background(), dir, cfg)
	must(t, err)
	return l
}

// fill appends n batches of so many bytes, 64 a call.
func fill(t testing.TB, l *Log, n, size int) {
	t.Helper()
	batch := paddedBatch(t, size)
	var entries []Entry
	last, _ := l.Last()
	for i := range n {
		entries = append(entries, Entry{Index: last + uint64(i) + 1, Term: 1, Data: batch})
		if len(entries) == 64 || i == n-1 {
			// Each write patches the same bytes anew: one entry at a time.
			for _, e := range entries {
				must(t, l.AppendLeader([]Entry{e}))
			}
			entries = entries[:0]
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{1 << 10, 16 << 10, 128 << 10} {
		for _, n := range []int{1, 16} {
			b.Run(fmt.Sprintf("entrySize=%d/batch=%d", size, n), func(b *testing.B) { benchAppend(b, size, n, discardSync{}) })
		}
	}
}

func BenchmarkAppendSync(b *testing.B) {
	for _, size := range []int{16 << 10, 128 << 10} {
		for _, n := range []int{1, 16} {
			b.Run(fmt.Sprintf("entrySize=%d/batch=%d", size, n), func(b *testing.B) { benchAppend(b, size, n, nil) })
		}
	}
}

func benchAppend(b *testing.B, size, n int, s Syncer) {
	l := openOS(b, b.TempDir(), Config{Syncer: s, Limits: Limits{SegmentBytes: 256 << 20}})
	defer l.Abort()
	entries := make([]Entry, n)
	for i := range entries {
		entries[i].Data = paddedBatch(b, size)
	}
	b.SetBytes(int64(n * len(entries[0].Data)))
	b.ReportAllocs()
	next := uint64(1)
	for b.Loop() {
		for i := range entries {
			entries[i].Index, entries[i].Term = next, 1
			next++
		}
		if err := l.AppendLeader(entries); err != nil {
			b.Fatal(err)
		}
		if err := l.Sync(); err != nil {
			b.Fatal(err)
		}
		if next%1024 == 0 && l.Size() > 1<<30 {
			b.StopTimer()
			_, err := l.DropBefore(l.EndOffset())
			must(b, err)
			b.StartTimer()
		}
	}
}

func BenchmarkRead(b *testing.B) {
	l := openOS(b, b.TempDir(), Config{Syncer: discardSync{}})
	defer l.Abort()
	fill(b, l, 20_000, 4<<10)
	end := l.EndOffset()
	read := func(b *testing.B, next func(i int64, after int64) int64) {
		b.ReportAllocs()
		var i, offset int64
		for b.Loop() {
			offset = next(i, offset)
			r, err := l.Read(offset, end, 1<<20, true)
			if err != nil || r.Len() == 0 {
				b.Fatal(offset, r.Len(), err)
			}
			offset += int64(r.Len()) / (4<<10 - 12) // one record a batch
			r.Release()
			i++
		}
	}
	b.Run("where=sequential", func(b *testing.B) {
		read(b, func(_, after int64) int64 {
			if after >= end-300 {
				return 0
			}
			return after
		})
	})
	b.Run("where=random", func(b *testing.B) {
		read(b, func(i, _ int64) int64 { return i * 7919 % end })
	})
	b.Run("where=tail", func(b *testing.B) {
		read(b, func(int64, int64) int64 { return end - 4 })
	})
}

func BenchmarkIndexLookup(b *testing.B) {
	l := openOS(b, b.TempDir(), Config{Syncer: discardSync{}, Limits: Limits{IndexIntervalBytes: 1}})
	defer l.Abort()
	fill(b, l, 50_000, 200)
	end, _ := l.Last()
	b.Run("by=index", func(b *testing.B) {
		b.ReportAllocs()
		i := uint64(0)
		for b.Loop() {
			i += 7919
			if _, err := l.Entry(1 + i%end); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("by=sequentialIndex", func(b *testing.B) {
		b.ReportAllocs()
		i := uint64(0)
		for b.Loop() {
			i++
			if _, err := l.Entry(1 + i%end); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("by=time", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := l.OffsetForTimestamp(context.Background(), 5, 0, l.EndOffset()); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkRecovery(b *testing.B) {
	for _, clean := range []bool{true, false} {
		b.Run(fmt.Sprintf("clean=%v/tail=64MiB", clean), func(b *testing.B) {
			dir := filepath.Join(b.TempDir(), "t-0")
			cfg := Config{Syncer: discardSync{}}
			l := openOS(b, dir, cfg)
			fill(b, l, 4096, 16<<10)
			if clean {
				must(b, l.Close())
			} else {
				must(b, l.Abort())
			}
			b.ReportAllocs()
			for b.Loop() {
				l := openOS(b, dir, cfg)
				if clean {
					must(b, l.Close())
					continue
				}
				b.StopTimer()
				// Take the mark back to where the tail begins.
				must(b, l.mark.writeBoth(mark{at: l.mu.segs[0].start(), generation: 1}))
				must(b, l.Abort())
				b.StartTimer()
			}
		})
	}
}
