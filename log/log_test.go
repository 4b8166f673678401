package log

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fanfold/fanfold/internal/vfs"
	"github.com/fanfold/fanfold/protocol/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testDir = "/data/t-0"

// testBatch makes a batch of n records with the timestamps ts, ts+1, ….
func testBatch(t testing.TB, n int, ts int64, value string) []byte {
	t.Helper()
	b, err := record.NewBuilder(record.None, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		b.Append(ts+int64(i), nil, fmt.Appendf(nil, "%s %d", value, i), nil)
	}
	raw, err := b.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func testConfig(fsys vfs.FS) Config {
	return Config{
		FS: fsys, Now: func() time.Time { return time.UnixMilli(1_700_000_000_000) },
		Limits: Limits{SegmentBytes: 2000, IndexIntervalBytes: 200},
	}
}

func openTest(t testing.TB, fsys vfs.FS) *Log {
	t.Helper()
	l, err := Open(context.Background(), testDir, testConfig(fsys))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// readRange reads a range and releases it.
func readRange(t testing.TB, r Range) []byte {
	t.Helper()
	defer r.Release()
	b := make([]byte, r.Len())
	if _, err := r.ReadAt(b, 0); err != nil && r.Len() > 0 {
		t.Fatal(err)
	}
	return b
}

func TestAppendSyncReadReopen(t *testing.T) {
	fsys := vfs.NewMem(vfs.MemOptions{})
	l := openTest(t, fsys)
	if first := l.First(); first != 1 {
		t.Fatalf("First of an empty log is %d", first)
	}
	if index, term := l.Last(); index != 0 || term != 0 {
		t.Fatalf("Last of an empty log is %d, %d", index, term)
	}
	if r, err := l.Read(0, 100, 100, true); err != nil || r.Len() != 0 {
		t.Fatalf("read of an empty log: %d bytes, %v", r.Len(), err)
	}
	var all []byte
	var batches [][]byte
	must(t, l.AppendLeader([]Entry{{Index: 1, Term: 1, Kind: 7, Data: []byte("begin")}}))
	for i := range 40 {
		b := testBatch(t, 3, int64(1000+i), "value")
		must(t, l.AppendLeader([]Entry{{Index: uint64(i + 2), Term: 1, Data: b}}))
		all = append(all, b...)
		batches = append(batches, b)
	}
	must(t, l.AppendLeader([]Entry{{Index: 42, Term: 3, Kind: 9}}))
	check := func(l *Log) {
		t.Helper()
		if len(l.Segments()) < 3 {
			t.Fatalf("%d segments", len(l.Segments()))
		}
		if got := readAll(t, l, 0, l.EndOffset()); !bytes.Equal(got, all) {
			t.Fatalf("read %d bytes, appended %d", len(got), len(all))
		}
		for i := range uint64(42) {
			info, err := l.Entry(i + 1)
			must(t, err)
			if info.Index != i+1 || info.Kind == KindBatch && info.OffsetAt != int64(i-1)*3 {
				t.Fatalf("entry %d: %+v", i+1, info)
			}
			if info.Kind == KindBatch {
				b, err := l.ReadBatch(info, nil)
				must(t, err)
				if !bytes.Equal(b, batches[i-1]) {
					t.Fatalf("entry %d has other bytes", i+1)
				}
			}
		}
		if info, err := l.Entry(1); err != nil || string(info.Data) != "begin" || info.Kind != 7 {
			t.Fatalf("entry 1: %+v, %v", info, err)
		}
		if _, err := l.Entry(43); err != ErrNotFound {
			t.Fatalf("entry 43: %v", err)
		}
		if _, err := l.Read(121, 200, 100, true); err != ErrOffsetOutOfRange {
			t.Fatalf("read beyond the end: %v", err)
		}
	}
	check(l)
	must(t, l.Sync())
	if index, offset := l.Durable(); index != 42 || offset != 120 {
		t.Fatalf("durable %d, %d", index, offset)
	}
	must(t, l.Close())
	l = openTest(t, fsys)
	check(l)
	must(t, l.Abort())
	l = openTest(t, fsys)
	check(l)
	must(t, l.Truncate(32))
	if end := l.EndOffset(); end != 30*3 {
		t.Fatalf("end offset %d after truncation", end)
	}
	if _, err := l.DropBefore(60); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Read(0, 10, 10, true); !errors.Is(err, ErrOffsetOutOfRange) {
		t.Fatalf("read of what was dropped: %v", err)
	}
	must(t, l.Close())
	if err := l.Sync(); err != ErrClosed {
		t.Fatalf("sync after Close: %v", err)
	}
}

// readAll reads the batches from an offset to another in small ranges.
func readAll(t testing.TB, l *Log, from, to int64) []byte {
	t.Helper()
	var all []byte
	for from < to {
		r, err := l.Read(from, to, 500, true)
		must(t, err)
		b := readRange(t, r)
		if len(b) == 0 {
			t.Fatalf("nothing at offset %d", from)
		}
		all = append(all, b...)
		for len(b) > 0 {
			h, err := record.ParseHeader(b)
			must(t, err)
			from, b = h.NextOffset(), b[h.Bytes():]
		}
	}
	return all
}
