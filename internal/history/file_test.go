package history_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/fanfold/fanfold/internal/history"
)

// readOps reads a history to its end.
func readOps(b []byte) ([]history.Op, error) {
	var ops []history.Op
	r := history.NewReader(bytes.NewReader(b))
	for {
		var op history.Op
		switch err := r.Next(&op); {
		case err == io.EOF:
			return ops, nil
		case err != nil:
			return ops, err
		}
		ops = append(ops, op)
	}
}

func randomOp(rng *rand.Rand, now int64) history.Op {
	op := history.Op{
		Kind:       history.Kind(1 + rng.IntN(6)),
		Outcome:    history.Outcome(rng.IntN(4)),
		Idempotent: rng.IntN(2) == 0,
		Client:     rng.Uint32() >> rng.IntN(32),
		Topic:      []string{"a", "longer topic", "c"}[rng.IntN(3)],
		Partition:  int32(rng.Uint32()>>1) >> rng.IntN(31),
		Offset:     rng.Int64() >> rng.IntN(63),
	}
	if rng.IntN(2) == 0 {
		op.Start = now - rng.Int64N(1e9)
	}
	switch op.Kind {
	case history.Produce, history.Fetch:
		op.Value = val(rng.Uint32N(history.MaxProducer+1), 1+rng.Uint64N(history.MaxSeq))
	case history.Final:
		op.To = op.Offset + rng.Int64N(min(1e6, 1<<63-1-op.Offset)+1)
	}
	return op
}

func TestFileKeepsOperations(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 2))
		var buf bytes.Buffer
		rec := history.NewRecorder(&buf, history.RecorderOptions{Unbuffered: rapid.Bool().Draw(t, "unbuffered")})
		var want []history.Op
		for range rapid.IntRange(0, 200).Draw(t, "ops") {
			op := randomOp(rng, rec.Now())
			rec.Append(op)
			want = append(want, op)
		}
		if err := rec.Flush(); err != nil {
			t.Fatal(err)
		}
		got, err := readOps(buf.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(want) || rec.Ops() != int64(len(want)) {
			t.Fatalf("read %d operations of %d", len(got), len(want))
		}
		var last int64
		for i := range got {
			if got[i].End < last || got[i].End < got[i].Start {
				t.Fatalf("operation %d ended before the last, or its start: %v", i, got[i])
			}
			last = got[i].End
			got[i].End = 0
			if got[i] != want[i] {
				t.Fatalf("operation %d is\n%v, want\n%v", i, got[i], want[i])
			}
		}
	})
}

func TestFileTornAnywhereEndsThere(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 3))
	var buf bytes.Buffer
	rec := history.NewRecorder(&buf, history.RecorderOptions{Unbuffered: true})
	var sizes []int
	for range 20 {
		rec.Append(randomOp(rng, rec.Now()))
		sizes = append(sizes, buf.Len())
	}
	all, err := readOps(buf.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	for n := range buf.Len() {
		got, err := readOps(buf.Bytes()[:n])
		if err != nil {
			t.Fatalf("torn at byte %d: %v", n, err)
		}
		whole := 0
		for whole < len(sizes) && sizes[whole] <= n {
			whole++
		}
		if !slices.Equal(got, all[:whole]) {
			t.Fatalf("torn at byte %d: read %d operations, want %d", n, len(got), whole)
		}
	}
}

func TestFileWithAFlippedBitIsCorrupt(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 4))
	var buf bytes.Buffer
	rec := history.NewRecorder(&buf, history.RecorderOptions{Unbuffered: true})
	for range 10 {
		rec.Append(randomOp(rng, rec.Now()))
	}
	all, err := readOps(buf.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	for i := range buf.Len() {
		for bit := range 8 {
			b := bytes.Clone(buf.Bytes())
			b[i] ^= 1 << bit
			got, err := readOps(b)
			if err == nil && reflect.DeepEqual(got, all) {
				t.Fatalf("bit %d of byte %d makes no difference", bit, i)
			}
			if err != nil && !errors.Is(err, history.ErrCorrupt) {
				t.Fatalf("bit %d of byte %d: %v", bit, i, err)
			}
			if !slices.Equal(got, all[:len(got)]) {
				t.Fatalf("bit %d of byte %d: wrong operations were read", bit, i)
			}
		}
	}
}

func TestRecorderIsConcurrent(t *testing.T) {
	var buf bytes.Buffer
	rec := history.NewRecorder(&buf, history.RecorderOptions{})
	const clients, each = 8, 2000
	var wg sync.WaitGroup
	for c := range uint32(clients) {
		wg.Go(func() {
			for i := range uint64(each) {
				start := rec.Now()
				rec.Append(history.Op{
					Kind: history.Produce, Outcome: history.Unknown, Idempotent: true,
					Client: c, Topic: topic, Offset: -1, Value: val(c, i+1), Start: start,
				})
			}
		})
	}
	wg.Wait()
	if err := rec.Flush(); err != nil {
		t.Fatal(err)
	}
	r, err := history.Check(history.Options{}, &buf)
	if err != nil || r.Sent != clients*each || r.Total() != 0 {
		t.Error(r, err)
	}
}

type failingWriter struct{ left int }

func (w *failingWriter) Write(p []byte) (int, error) {
	if w.left--; w.left < 0 {
		return 0, io.ErrClosedPipe
	}
	return len(p), nil
}

func TestRecorderReportsFailedWrites(t *testing.T) {
	rec := history.NewRecorder(&failingWriter{left: 2}, history.RecorderOptions{Unbuffered: true})
	rec.Append(history.Op{Kind: history.End, Topic: topic})
	if err := rec.Flush(); err != nil {
		t.Fatal(err)
	}
	rec.Append(history.Op{Kind: history.End, Topic: topic})
	if err := rec.Flush(); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("Flush: %v", err)
	}
}

func TestRecorderRefusesImpossibleOperations(t *testing.T) {
	good := history.Op{Kind: history.Fetch, Topic: topic, Value: val(1, 1)}
	for name, spoil := range map[string]func(op *history.Op){
		"kind":             func(op *history.Op) { op.Kind = 0 },
		"outcome":          func(op *history.Op) { op.Outcome = 4 },
		"partition":        func(op *history.Op) { op.Partition = -1 },
		"topic":            func(op *history.Op) { op.Topic = "" },
		"offset":           func(op *history.Op) { op.Offset = -1 },
		"value":            func(op *history.Op) { op.Value = 1 << 40 },
		"produced nothing": func(op *history.Op) { op.Kind, op.Value = history.Produce, 0 },
		"final":            func(op *history.Op) { op.Kind, op.To = history.Final, -1 },
	} {
		t.Run(name, func(t *testing.T) {
			op := good
			spoil(&op)
			defer func() {
				if recover() == nil {
					t.Error("it was recorded")
				}
			}()
			history.NewRecorder(io.Discard, history.RecorderOptions{}).Append(op)
		})
	}
}

func TestPayload(t *testing.T) {
	for _, size := range []int{0, 12, 13, 20, 1000} {
		v := val(7, 1<<33)
		b := history.AppendPayload([]byte("before"), v, size)[len("before"):]
		if len(b) != max(size, history.MinPayloadBytes) || history.ParsePayload(b) != v {
			t.Fatalf("a payload of %d bytes became %d, value %v", size, len(b), history.ParsePayload(b))
		}
		for i := range b {
			b[i] ^= 0x10
			if got := history.ParsePayload(b); got != 0 {
				t.Fatalf("byte %d of %d changed and the value is %v", i, size, got)
			}
			b[i] ^= 0x10
			if history.ParsePayload(b[:i]) != 0 {
				t.Fatalf("%d of %d bytes are a payload", i, size)
			}
		}
	}
}

// FuzzCheck reads any bytes as a history, and as the payload of a frame whose
// checksum is right: no panic, and memory in proportion to the input.
func FuzzCheck(f *testing.F) {
	const head = 8 + 8 // of the file and of the frame
	rng := rand.New(rand.NewPCG(1, 5))
	for n := range 6 {
		var buf bytes.Buffer
		rec := history.NewRecorder(&buf, history.RecorderOptions{Unbuffered: n%2 == 0})
		for range n * 3 {
			rec.Append(randomOp(rng, rec.Now()))
		}
		if err := rec.Flush(); err != nil {
			f.Fatal(err)
		}
		f.Add(buf.Bytes())
		f.Add(buf.Bytes()[min(head, buf.Len()):])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		checkBytes(t, b)
		framed := []byte("ffhist1\n")
		framed = binary.LittleEndian.AppendUint32(framed, uint32(len(b)))
		framed = binary.LittleEndian.AppendUint32(framed, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
		checkBytes(t, append(framed, b...))
	})
}

func checkBytes(t *testing.T, b []byte) {
	ops, err := readOps(b)
	if err != nil && !errors.Is(err, history.ErrCorrupt) {
		t.Fatal(err)
	}
	report, checkErr := history.Check(history.Options{}, bytes.NewReader(b))
	if (err == nil) != (checkErr == nil) {
		t.Fatalf("reading gives %v, checking %v", err, checkErr)
	}
	if checkErr == nil && report.Ops != int64(len(ops)) {
		t.Fatalf("read %d operations, checked %d", len(ops), report.Ops)
	}
}

// FuzzOps checks operations that the checksums of a file keep from the fuzzer.
func FuzzOps(f *testing.F) {
	f.Add(uint64(1), []byte("\x01\x02\x03\x04\x05\x06\x07\x08"))
	f.Fuzz(func(t *testing.T, seed uint64, choices []byte) {
		rng := rand.New(rand.NewPCG(seed, 6))
		var buf bytes.Buffer
		rec := history.NewRecorder(&buf, history.RecorderOptions{})
		for _, c := range choices {
			op := randomOp(rng, rec.Now())
			op.Kind = history.Kind(1 + c%6)
			op.Offset = int64(c >> 3)
			op.Partition = int32(c % 2)
			op.To = op.Offset + int64(c>>6)
			op.Value = val(uint32(c&1), 1+uint64(c>>4))
			rec.Append(op)
		}
		if err := rec.Flush(); err != nil {
			t.Fatal(err)
		}
		report, err := history.Check(history.Options{}, &buf)
		if err != nil || report.Ops != int64(len(choices)) {
			t.Fatal(report, err)
		}
		for _, a := range report.Anomalies {
			if a.String() == "" {
				t.Fatal("an anomaly says nothing")
			}
		}
	})
}
