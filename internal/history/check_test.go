package history_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/fanfold/fanfold/internal/history"
)

const topic = "t"

var val = history.ValueOf

// script builds a history whose operations follow one another in time.
type script struct {
	buf bytes.Buffer
	rec *history.Recorder
}

func newScript() *script {
	s := &script{}
	s.rec = history.NewRecorder(&s.buf, history.RecorderOptions{})
	return s
}

func (s *script) op(op history.Op) *script {
	op.Topic = topic
	s.rec.Append(op)
	return s
}

// since is op as a request sent at start.
func (s *script) since(start int64, op history.Op) *script {
	op.Start = start
	return s.op(op)
}

// now is a time between the operations before and those after.
func (s *script) now() int64 {
	before := s.rec.Now()
	for s.rec.Now() == before { // the clock may be coarse
		continue
	}
	defer func() {
		for after := s.rec.Now(); s.rec.Now() == after; {
			continue
		}
	}()
	return s.rec.Now()
}

func (s *script) sent(seq uint64, outcome history.Outcome, offset int64) *script {
	return s.op(history.Op{
		Kind: history.Produce, Idempotent: true, Client: 1,
		Value: val(1, seq), Outcome: outcome, Offset: offset,
	})
}

func (s *script) acked(seq uint64, offset int64) *script { return s.sent(seq, history.OK, offset) }

func (s *script) read(client uint32, offset int64, v history.Value) *script {
	return s.op(history.Op{Kind: history.Fetch, Client: client, Offset: offset, Value: v})
}

func (s *script) final(from, to int64) *script {
	return s.op(history.Op{Kind: history.Final, Client: 9, Offset: from, To: to})
}

func (s *script) check(t testing.TB, opts history.Options) *history.Report {
	t.Helper()
	if err := s.rec.Flush(); err != nil {
		t.Fatal(err)
	}
	report, err := history.Check(opts, &s.buf)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func TestCheckFindsEachAnomaly(t *testing.T) {
	v := func(seq uint64) history.Value { return val(1, seq) }
	for name, test := range map[string]struct {
		build func(s *script)
		opts  history.Options
		want  []string
	}{
		"nothing wrong": {build: func(s *script) {
			s.acked(1, 0).sent(2, history.Unknown, -1).sent(3, history.Refused, -1).acked(4, 2)
			s.read(2, 0, v(1)).read(2, 1, v(2)).read(2, 2, v(4)).read(3, 1, v(2)).final(0, 3)
		}},
		"two readers disagree": {
			build: func(s *script) {
				s.sent(1, history.Unknown, -1).sent(2, history.Unknown, -1)
				s.read(2, 0, v(1)).read(3, 0, v(2))
			},
			want: []string{"disagreement at 0 of 1:2"},
		},
		"a reader disagrees with the writer": {
			build: func(s *script) { s.acked(1, 0).sent(2, history.Unknown, -1).read(2, 0, v(2)).final(0, 1) },
			want:  []string{"disagreement at 0 of 1:2"},
		},
		"two writers were given one offset": {
			build: func(s *script) { s.acked(1, 0).acked(2, 0).read(2, 0, v(1)) },
			want:  []string{"disagreement at 0 of 1:2"},
		},
		"lost in the middle": {
			build: func(s *script) { s.acked(1, 0).acked(2, 1).acked(3, 2).read(2, 0, v(1)).final(0, 3).read(3, 2, v(3)) },
			want:  []string{"lost at 1 of 1:2"},
		},
		"lost at the end": {
			build: func(s *script) { s.acked(1, 0).acked(2, 1).read(2, 0, v(1)).final(0, 1) },
			want:  []string{"lost at 1 of 1:2"},
		},
		"lost without an offset": {
			build: func(s *script) { s.acked(1, -1).acked(2, -1).read(2, 0, v(1)).final(0, 1) },
			want:  []string{"lost at -1 of 1:2"},
		},
		"deleted by retention": {build: func(s *script) {
			s.acked(1, 0).acked(2, 1).read(2, 1, v(2)).final(1, 2)
		}},
		"deleted without reason": {
			build: func(s *script) { s.acked(1, 0).acked(2, 1).read(2, 1, v(2)).final(1, 2) },
			opts:  history.Options{KeepsAll: true},
			want:  []string{"start moved at 1 of 0:0"},
		},
		"a reader skips": {
			build: func(s *script) {
				s.acked(1, 0).acked(2, 1).acked(3, 2)
				s.read(2, 0, v(1)).read(2, 2, v(3)).read(3, 1, v(2)).final(0, 3)
			},
			want: []string{"skipped at 1 of 1:2"},
		},
		"a reader seeks": {build: func(s *script) {
			s.acked(1, 0).acked(2, 1).acked(3, 2).read(2, 0, v(1))
			s.op(history.Op{Kind: history.Seek, Client: 2, Offset: 2}).read(2, 2, v(3))
			s.op(history.Op{Kind: history.Seek, Client: 2, Offset: 0}).read(2, 0, v(1)).read(2, 1, v(2)).final(0, 3)
		}},
		"a reader passes what was deleted": {build: func(s *script) {
			s.acked(1, 0).acked(2, 1).acked(3, 2).read(2, 0, v(1)).read(2, 2, v(3))
			s.op(history.Op{Kind: history.Start, Client: 2, Offset: 2}).final(2, 3)
		}},
		"a reader passes what was not acknowledged": {build: func(s *script) {
			s.acked(1, 0).acked(3, 5).read(2, 0, v(1)).read(2, 5, v(3)).final(0, 6)
		}},
		"a reader goes back": {
			build: func(s *script) { s.acked(1, 0).acked(2, 1).read(2, 0, v(1)).read(2, 1, v(2)).read(2, 0, v(1)) },
			want:  []string{"reader went back at 0 of 1:1"},
		},
		"read twice at one offset": {
			build: func(s *script) { s.acked(1, 0).read(2, 0, v(1)).read(2, 0, v(1)) },
			want:  []string{"reader went back at 0 of 1:1"},
		},
		"duplicate": {
			build: func(s *script) {
				s.acked(1, 0).acked(2, 1).read(2, 0, v(1)).read(2, 1, v(2)).read(2, 2, v(1)).final(0, 3)
			},
			want: []string{"duplicate at 2 of 1:1"},
		},
		"duplicate of an unknown outcome": {
			build: func(s *script) { s.sent(1, history.Unknown, -1).read(2, 0, v(1)).read(2, 1, v(1)) },
			want:  []string{"duplicate at 1 of 1:1"},
		},
		"duplicate in another partition": {
			build: func(s *script) {
				s.acked(1, 0).read(2, 0, v(1))
				s.op(history.Op{Kind: history.Fetch, Client: 2, Partition: 1, Value: v(1)})
			},
			want: []string{"duplicate at 0 of 1:1"},
		},
		"duplicate without idempotence": {build: func(s *script) {
			s.op(history.Op{Kind: history.Produce, Client: 1, Value: v(1), Outcome: history.Unknown})
			s.op(history.Op{Kind: history.Produce, Client: 1, Value: v(2), Offset: 1})
			s.read(2, 0, v(1)).read(2, 1, v(2)).read(2, 2, v(1)).final(0, 3)
		}},
		"reordered": {
			build: func(s *script) {
				s.sent(1, history.Unknown, -1).sent(2, history.Unknown, -1).sent(3, history.Unknown, -1)
				s.read(2, 0, v(2)).read(2, 1, v(1)).read(2, 2, v(3))
			},
			want: []string{"reordered at 1 of 1:1"},
		},
		"producers interleave": {build: func(s *script) {
			for p := range uint32(2) {
				for seq := range uint64(2) {
					s.op(history.Op{Kind: history.Produce, Idempotent: true, Outcome: history.Unknown, Value: val(p, seq+1)})
				}
			}
			s.read(2, 0, val(1, 1)).read(2, 1, val(0, 1)).read(2, 2, val(0, 2)).read(2, 3, val(1, 2))
		}},
		"phantom": {
			build: func(s *script) { s.read(2, 0, v(1)) },
			want:  []string{"phantom at 0 of 1:1"},
		},
		"phantom that another reader disagrees with": {
			build: func(s *script) { s.acked(1, 0).read(2, 0, v(1)).read(3, 0, v(7)) },
			want:  []string{"disagreement at 0 of 1:7", "phantom at 0 of 1:7"},
		},
		"damaged payload": {
			build: func(s *script) { s.acked(1, 0).read(2, 0, 0).final(0, 1) },
			want:  []string{"phantom at 0 of 0:0"},
		},
		"refused and read": {
			build: func(s *script) { s.sent(1, history.Sent, -1).sent(1, history.Refused, -1).read(2, 0, v(1)) },
			want:  []string{"refused record read at 0 of 1:1"},
		},
		"refused after a time-out": {build: func(s *script) {
			s.sent(1, history.Unknown, -1).sent(1, history.Refused, -1).read(2, 0, v(1))
		}},
		"a killed producer's record": {build: func(s *script) { s.sent(1, history.Sent, -1).read(2, 0, v(1)) }},
		"the end goes back": {
			build: func(s *script) {
				s.op(history.Op{Kind: history.End, Offset: 5})
				s.since(s.now(), history.Op{Kind: history.End, Offset: 4})
			},
			want: []string{"end went back at 4 of 0:0"},
		},
		"the end is below an acknowledged record": {
			build: func(s *script) {
				s.acked(1, 4)
				s.since(s.now(), history.Op{Kind: history.End, Offset: 4})
			},
			want: []string{"end went back at 4 of 0:0"},
		},
		"the final end goes back": {
			build: func(s *script) {
				s.op(history.Op{Kind: history.End, Offset: 5})
				s.since(s.now(), history.Op{Kind: history.Final, To: 4})
			},
			want: []string{"end went back at 4 of 0:0"},
		},
		"an older question": {build: func(s *script) {
			start := s.now()
			s.op(history.Op{Kind: history.End, Offset: 5})
			s.since(start, history.Op{Kind: history.End, Offset: 4})
			s.op(history.Op{Kind: history.End, Offset: 3})
		}},
		"a question without an answer": {build: func(s *script) {
			s.op(history.Op{Kind: history.End, Offset: 5})
			s.since(s.now(), history.Op{Kind: history.End, Outcome: history.Unknown})
		}},
		"an offset is used again": {
			build: func(s *script) {
				s.op(history.Op{Kind: history.End, Offset: 5})
				s.since(s.now(), history.Op{Kind: history.Produce, Value: v(1), Offset: 4})
			},
			want: []string{"offset reused at 4 of 1:1"},
		},
		"the start goes back": {
			build: func(s *script) {
				s.op(history.Op{Kind: history.Start, Offset: 5})
				s.since(s.now(), history.Op{Kind: history.Start, Offset: 4})
			},
			want: []string{"start went back at 4 of 0:0"},
		},
		"a huge gap": {
			build: func(s *script) { s.acked(1, 0).acked(2, 1<<60).read(2, 0, v(1)).read(2, 1<<61, v(2)) },
			want:  []string{"skipped at 1152921504606846976 of 1:2", "duplicate at 2305843009213693952 of 1:2"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScript()
			test.build(s)
			report := s.check(t, test.opts)
			var got []string
			for _, a := range report.Anomalies {
				got = append(got, fmt.Sprintf("%s at %d of %v", a.Kind, a.Offset, a.Value))
				if a.Topic != topic || a.Text == "" {
					t.Errorf("incomplete: %v", a)
				}
			}
			if !slices.Equal(sorted(got), sorted(test.want)) {
				t.Errorf("found %q\nwant  %q\n%v", got, test.want, report.Anomalies)
			}
		})
	}
}

func sorted(s []string) []string { return slices.Sorted(slices.Values(s)) }

func TestCheckCounts(t *testing.T) {
	s := newScript()
	s.acked(1, 0).sent(2, history.Unknown, -1).sent(3, history.Refused, -1).sent(4, history.Sent, -1)
	s.read(2, 0, val(1, 1)).read(3, 0, val(1, 1)).read(2, 1, val(1, 2))
	r := s.check(t, history.Options{})
	if r.Ops != 7 || r.Sent != 4 || r.Acked != 1 || r.Refused != 1 || r.Unknown != 2 || r.Read != 2 || r.Total() != 0 {
		t.Error(r)
	}
}

func TestCheckLimitsWhatItKeeps(t *testing.T) {
	s := newScript()
	for i := range int64(50) {
		s.read(2, i, val(1, uint64(i+1)))
	}
	r := s.check(t, history.Options{MaxAnomalies: 10})
	if len(r.Anomalies) != 10 || r.Counts[history.Phantom] != 50 || r.Total() != 50 {
		t.Error(r)
	}
}

func TestCheckMergesHistories(t *testing.T) {
	writer, reader := newScript(), newScript()
	for i := range int64(1000) {
		writer.acked(uint64(i+1), i)
		reader.read(2, i, val(1, uint64(i+1)))
	}
	reader.final(0, 1000)
	for _, s := range []*script{writer, reader} {
		if err := s.rec.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	r, err := history.Check(history.Options{KeepsAll: true}, &reader.buf, &writer.buf)
	if err != nil || r.Total() != 0 || r.Ops != 2001 || r.Read != 1000 || r.Acked != 1000 {
		t.Error(r, err, r.Anomalies)
	}
}

// TestCheckOfASimulatedLog runs producers and readers against a correct log,
// where nothing may be found, and against one that then forgets a record.
func TestCheckOfASimulatedLog(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		s := newScript()
		var log []history.Value
		var acked []int64
		seq := map[uint32]uint64{}
		for range rapid.IntRange(1, 300).Draw(t, "ops") {
			client := rng.Uint32N(3)
			start := s.rec.Now()
			op := history.Op{Topic: topic, Client: client, Offset: int64(len(log)), Start: start}
			switch rng.IntN(4) {
			case 0:
				op.Kind = history.End
			default:
				seq[client]++
				op.Kind, op.Idempotent, op.Value = history.Produce, true, val(client, seq[client])
				op.Outcome = history.Outcome(rng.IntN(4))
				written := op.Outcome == history.OK || (op.Outcome != history.Refused && rng.IntN(2) == 0)
				if op.Outcome == history.OK {
					acked = append(acked, op.Offset)
				} else {
					op.Offset = -1
				}
				if written {
					log = append(log, op.Value)
				}
			}
			s.rec.Append(op)
		}
		forgotten := int64(-1)
		if len(acked) > 0 && rapid.Bool().Draw(t, "forget") {
			forgotten = acked[rng.IntN(len(acked))]
		}
		for i, v := range log {
			if int64(i) != forgotten {
				s.read(100, int64(i), v)
			}
		}
		s.final(0, int64(len(log)))
		if err := s.rec.Flush(); err != nil {
			t.Fatal(err)
		}
		r, err := history.Check(history.Options{KeepsAll: true}, &s.buf)
		if err != nil {
			t.Fatal(err)
		}
		lost := r.Counts[history.Lost]
		switch {
		case forgotten < 0 && r.Total() > 0:
			t.Fatal(r, r.Anomalies)
		case forgotten >= 0 && lost != 1:
			t.Fatal("the loss was not found", r, r.Anomalies)
		}
	})
}

// largeHistory has the records of 4 producers in 8 partitions, written and
// read once.
func largeHistory(tb testing.TB, ops int) []byte {
	var buf bytes.Buffer
	rec := history.NewRecorder(&buf, history.RecorderOptions{})
	var ends [8]int64
	var seqs [4]uint64
	for i := range ops / 2 {
		p, client := int32(i/50%8), uint32(i/10%4)
		seqs[client]++
		v := val(client, seqs[client])
		rec.Append(history.Op{
			Kind: history.Produce, Idempotent: true, Client: client, Topic: topic, Partition: p,
			Offset: ends[p], Value: v, Start: rec.Now() - 1000,
		})
		rec.Append(history.Op{Kind: history.Fetch, Client: 8, Topic: topic, Partition: p, Offset: ends[p], Value: v})
		ends[p]++
	}
	if err := rec.Flush(); err != nil {
		tb.Fatal(err)
	}
	return buf.Bytes()
}

func BenchmarkCheck(b *testing.B) {
	const ops = 1_000_000
	h := largeHistory(b, ops)
	b.ReportMetric(float64(len(h))/ops, "filebytes/op")
	b.ReportAllocs()
	for b.Loop() {
		r, err := history.Check(history.Options{}, bytes.NewReader(h))
		if err != nil || r.Total() != 0 {
			b.Fatal(r, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/ops, "ns/history-op")
}

func BenchmarkRecorder(b *testing.B) {
	for _, unbuffered := range []bool{false, true} {
		b.Run(fmt.Sprintf("unbuffered=%v", unbuffered), func(b *testing.B) {
			b.ReportAllocs()
			rec := history.NewRecorder(io.Discard, history.RecorderOptions{Unbuffered: unbuffered})
			var i int64
			for b.Loop() {
				i++
				rec.Append(history.Op{
					Kind: history.Produce, Client: 1, Topic: topic, Offset: i, Value: val(1, uint64(i)), Start: rec.Now(),
				})
			}
		})
	}
}
