package log

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/fanfold/fanfold/internal/vfs"
	"github.com/fanfold/fanfold/protocol/record"
)

// seedFiles are the files of a log with one segment.
func seedFiles(f *testing.F, clean bool) map[string][]byte {
	mem := vfs.NewMem(vfs.MemOptions{})
	cfg := testConfig(mem)
	cfg.indexFlush = 32
	l := openOS(f, testDir, cfg)
	must(f, l.AppendLeader([]Entry{{Index: 1, Term: 1, Kind: 5, Data: []byte("begin")}}))
	fill(f, l, 4, 200)
	must(f, l.Truncate(4))
	must(f, l.Sync())
	must(f, l.WriteMark())
	must(f, l.AppendLeader([]Entry{{Index: 4, Term: 2, Data: testBatch(f, 2, 9, "v")}}))
	if clean {
		must(f, l.Close())
	} else {
		must(f, l.Abort())
	}
	files := map[string][]byte{}
	names, err := mem.List(testDir)
	must(f, err)
	for _, name := range names {
		files[name], err = vfs.ReadFile(mem, filepath.Join(testDir, name), 1<<20)
		must(f, err)
	}
	return files
}

// FuzzRecovery opens a log of arbitrary files: it opens or is called damaged,
// as Verify calls it, and what opens is sound.
func FuzzRecovery(f *testing.F) {
	for _, clean := range []bool{true, false} {
		files := seedFiles(f, clean)
		seg, idx := files[segmentName(0, logSuffix)], files[segmentName(0, indexSuffix)]
		marks := files[markName]
		marks = append(marks[:markBytes:markBytes], marks[markSlotBytes:]...)
		f.Add(seg, idx, files[journalName], marks)
		f.Add(seg, idx, files[journalName], []byte{})
		f.Add(seg[:len(seg)-5], []byte{}, files[journalName], marks)
		f.Add([]byte{}, []byte{}, []byte{}, []byte{})
	}
	f.Fuzz(func(t *testing.T, seg, idx, journal, mark []byte) {
		if len(mark) > markBytes { // the slots come without the gap between them
			mark = append(append(mark[:markBytes:markBytes], make([]byte, markSlotBytes-markBytes)...), mark[markBytes:]...)
		}
		mem := vfs.NewMem(vfs.MemOptions{})
		must(t, mem.MkdirAll(testDir))
		for name, b := range map[string][]byte{
			segmentName(0, logSuffix): seg, segmentName(0, indexSuffix): idx, journalName: journal, markName: mark,
		} {
			must(t, vfs.WriteFileAtomic(mem, testDir, filepath.Join(testDir, name), b))
		}
		report, err := Verify(context.Background(), mem, testDir, VerifyOptions{Records: true})
		must(t, err)
		l, err := Open(context.Background(), testDir, testConfig(mem))
		var damage *CorruptionError
		if err != nil {
			if report.OK() {
				t.Fatalf("Verify finds nothing, but: %v", err)
			}
			if !errors.As(err, &damage) && len(report.Damage) == 0 {
				t.Fatal(err)
			}
			return
		}
		if scrub := l.Scrub(context.Background(), nil); scrub != nil && report.OK() {
			t.Fatalf("Verify finds nothing, but: %v", scrub)
		}
		last, _ := l.Last()
		for i := l.First(); i <= last; i++ {
			if _, err := l.Entry(i); err != nil && report.OK() {
				t.Fatal(err)
			}
		}
		fuzzCompact(t, l, report.OK())
		must(t, l.Close())
		l, err = Open(context.Background(), testDir, testConfig(mem))
		must(t, err)
		if again, _ := l.Last(); again != last {
			t.Fatalf("last entry %d, after a restart %d", last, again)
		}
		must(t, l.Close())
	})
}

// fuzzCompact compacts all of a log: what was sound before is so afterwards.
func fuzzCompact(t *testing.T, l *Log, sound bool) {
	must(t, l.Roll())
	must(t, l.Settle(l.EndOffset()))
	opts := CompactOptions{
		UpTo: l.EndOffset(), MapBytes: 3 * mapSlotBytes, MaxDecompressedBytes: 1 << 20,
		KeepProducer: func(h *record.Header) bool { return h.ProducerID%2 == 0 },
	}
	for range 5 {
		_, err := l.Compact(context.Background(), opts)
		var damage *CorruptionError
		if errors.As(err, &damage) && sound || l.Failed() != nil {
			t.Fatalf("a sound log: %v, %v", err, l.Failed())
		}
	}
	if err := l.Scrub(context.Background(), nil); err != nil && sound {
		t.Fatalf("a sound log is damaged by compaction: %v", err)
	}
}

// FuzzJournal replays arbitrary records; what lives must come out of a journal
// written anew as it went in.
func FuzzJournal(f *testing.F) {
	encode := func(recs ...journalRecord) []byte {
		var b []byte
		for _, r := range recs {
			b = r.append(b)
		}
		return b
	}
	f.Add(encode(
		journalRecord{typ: recordEntry, kind: 1, index: 1, term: 1, data: []byte("x")},
		journalRecord{typ: recordTerm, index: 2, term: 2},
		journalRecord{typ: recordRoll, index: 9, term: 2, offset: 70},
		journalRecord{typ: recordEntry, kind: 2, index: 9, term: 3, offset: 70},
		journalRecord{typ: recordFirst, index: 9, term: 2, offset: 70},
		journalRecord{typ: recordTruncateBegin, index: 9, term: 2, offset: 70},
		journalRecord{typ: recordTruncateDone, index: 9, term: 2, offset: 70},
		journalRecord{typ: recordEntry, kind: 2, index: 9, term: 4, offset: 70},
	))
	starts := []segmentStart{{base: 0, firstIndex: 1}, {base: 30, firstIndex: 5, termBefore: 1}, {base: 70, firstIndex: 9, termBefore: 2}}
	f.Add(encode(
		journalRecord{typ: recordEntry, kind: 1, index: 1, term: 1, data: []byte("x")},
		journalRecord{typ: recordRoll, index: 5, term: 1, offset: 30},
		journalRecord{typ: recordTerm, index: 6, term: 2, offset: 40},
		journalRecord{typ: recordRoll, index: 9, term: 2, offset: 70},
		journalRecord{typ: recordSettle, index: 5, term: 1, offset: 30},
		journalRecord{typ: recordSettle, index: 9, term: 2, offset: 70},
		starts[0].replaceRecord(replacement{30, compacted{gen: 1, bytes: 200, sum: 7}}),
		starts[0].replaceRecord(replacement{70, compacted{gen: 2, modified: 5, bytes: 100, sum: 9}}),
		journalRecord{typ: recordCleaned, index: 9, term: 2, offset: 65},
		journalRecord{typ: recordEntry, kind: 1, index: 12, term: 3, offset: 75},
	))
	f.Fuzz(func(t *testing.T, b []byte) {
		fixCRCs(b)
		h := journalHeader{generation: 3, first: segmentStart{firstIndex: 1}, bytes: journalHeaderBytes}
		replay := func(b []byte) (*journalState, error) {
			mem := vfs.NewMem(vfs.MemOptions{})
			must(t, vfs.WriteFileAtomic(mem, "/", "/journal", b))
			file, err := mem.Open("/journal")
			must(t, err)
			s, _, _, err := replayJournal(file)
			return s, err
		}
		s, err := replay(append(h.append(nil), b...))
		if err != nil || s.begun != nil {
			return
		}
		h.first = s.first()
		again := h.append(nil)
		s.live(func(r journalRecord, m *entryMeta) bool {
			if m != nil {
				r.data = make([]byte, m.bytes)
			}
			again = r.append(again)
			return true
		})
		if int64(len(again)) != s.liveBytes() {
			t.Fatalf("%d bytes live, %d were said to", len(again), s.liveBytes())
		}
		s2, err := replay(again)
		if err != nil {
			t.Fatalf("what lives is refused: %v", err)
		}
		for i := range s2.entries {
			s2.entries[i].pos = s.entries[i].pos
		}
		if s.settled != s2.settled || s.cleaned != s2.cleaned || !reflect.DeepEqual(s.segs, s2.segs) || len(s.entries) != len(s2.entries) || len(s.terms) != len(s2.terms) ||
			len(s.entries) > 0 && !reflect.DeepEqual(s.entries, s2.entries) || len(s.terms) > 0 && !reflect.DeepEqual(s.terms, s2.terms) {
			t.Fatalf("before %+v\nafter %+v", s, s2)
		}
	})
}

// fixCRCs makes records of what has the length of one.
func fixCRCs(b []byte) {
	for len(b) >= recordFixedBytes {
		n := recordHeadBytes + int64(binary.BigEndian.Uint32(b))
		if n < recordFixedBytes || n > int64(len(b)) {
			return
		}
		binary.BigEndian.PutUint32(b[4:], recordCRC(b[:n]))
		b = b[n:]
	}
}

// FuzzMark reads arbitrary slots; what is read is written as it was.
func FuzzMark(f *testing.F) {
	m := mark{seq: 7, clean: true, at: point{base: 10, pos: 20, offset: 30, index: 4, term: 5, maxTime: 6, maxTimeOffset: 12}, generation: 8, journalBytes: 99}
	f.Add(m.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseMark(b)
		if err == nil && m.clean == (b[11]&^markFlagClean == 0 && b[10] == 0 && b[11] == markFlagClean) && !bytes.Equal(m.append(nil)[16:96], b[16:96]) {
			t.Fatalf("%+v is written differently", m)
		}
	})
}

// FuzzIndex searches arbitrary index files: no panic, and what is found is an
// entry that proves good.
func FuzzIndex(f *testing.F) {
	var b []byte
	for i := range 5 {
		e := indexEntry{offset: uint32(10 * i), pos: uint32(100 * (i + 1)), index: uint32(i), maxTime: int64(i)}
		b = e.append(b, 70, i)
	}
	f.Add(b, uint32(250))
	f.Add(b[:100], uint32(1))
	f.Fuzz(func(t *testing.T, b []byte, pos uint32) {
		mem := vfs.NewMem(vfs.MemOptions{})
		must(t, vfs.WriteFileAtomic(mem, "/", "/x", b))
		file, err := mem.Open("/x")
		must(t, err)
		x := index{file: file, base: 70}
		n := len(b) / indexEntryBytes
		e, ok := x.searchFile(n, func(e indexEntry) bool { return e.pos <= pos }, make([]byte, indexEntryBytes))
		if ok && e.pos > pos {
			t.Fatalf("found %+v for position %d", e, pos)
		}
		good, last, err := x.goodPrefix(int64(pos))
		must(t, err)
		if good > n || good > 0 && int64(last.pos) >= int64(pos) {
			t.Fatalf("%d of %d entries are good, the last %+v", good, n, last)
		}
	})
}
