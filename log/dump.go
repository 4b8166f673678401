package log

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/fanfold/fanfold/internal/vfs"
	"github.com/fanfold/fanfold/protocol/record"
)

// DumpOptions say what to show beside segments, batches, the journal, the mark
// and problems.
type DumpOptions struct {
	Records bool // show every record; implies CheckRecords
	Index   bool // show every index entry

	CheckRecords bool // decode every record
}

// Item is one thing found in a log's files. One of the pointers is set.
type Item struct {
	File string `json:"file"`
	Pos  int64  `json:"pos"` // bytes from the file's start; −1: the file as a whole

	Mark    *MarkItem    `json:"mark,omitempty"`
	Journal *JournalItem `json:"journal,omitempty"`
	Segment *SegmentItem `json:"segment,omitempty"`
	Batch   *BatchItem   `json:"batch,omitempty"`
	Record  *RecordItem  `json:"record,omitempty"`
	Index   *IndexItem   `json:"index,omitempty"`
	Problem *Problem     `json:"problem,omitempty"`
}

// MarkItem is the durable mark.
type MarkItem struct {
	Sequence          uint64 `json:"sequence"`
	CleanStop         bool   `json:"cleanStop"`
	Segment           int64  `json:"segment"`  // base offset
	Position          int64  `json:"position"` // bytes in it
	EndOffset         int64  `json:"endOffset"`
	Index             uint64 `json:"index"` // of the last durable entry
	Term              uint64 `json:"term"`
	JournalGeneration uint64 `json:"journalGeneration"`
	JournalBytes      int64  `json:"journalBytes"`
}

// JournalItem is a record of the journal.
type JournalItem struct {
	Type   string `json:"type"` // entry, roll, first, truncate-begin, truncate-done, term, settle, replace, cleaned
	Kind   Kind   `json:"kind,omitempty"`
	Index  uint64 `json:"index"`
	Term   uint64 `json:"term"`
	Offset int64  `json:"offset"`
	Data   []byte `json:"data,omitempty"`

	// Of replace: what the segments up to EndOffset became.
	Generation uint64 `json:"generation,omitempty"`
	EndOffset  int64  `json:"endOffset,omitempty"`
}

// SegmentItem begins a segment.
type SegmentItem struct {
	BaseOffset int64  `json:"baseOffset"`
	FirstIndex uint64 `json:"firstIndex"`
	Generation uint64 `json:"generation,omitempty"` // of a compacted one
	Bytes      int64  `json:"bytes"`
	Active     bool   `json:"active"`
	Settled    bool   `json:"settled,omitempty"` // its batches have no index
}

// BatchItem is a record batch.
type BatchItem struct {
	Index         uint64 `json:"index,omitempty"` // 0 in a settled segment
	BaseOffset    int64  `json:"baseOffset"`
	LastOffset    int64  `json:"lastOffset"`
	LeaderEpoch   int32  `json:"leaderEpoch"`
	Records       int32  `json:"records"`
	Bytes         int    `json:"bytes"`
	Codec         string `json:"codec"`
	TimestampType string `json:"timestampType"`
	BaseTimestamp int64  `json:"baseTimestamp"`
	MaxTimestamp  int64  `json:"maxTimestamp"`
	ProducerID    int64  `json:"producerId"`
	ProducerEpoch int16  `json:"producerEpoch"`
	BaseSequence  int32  `json:"baseSequence"`
	Transactional bool   `json:"transactional,omitempty"`
	Control       bool   `json:"control,omitempty"`
	CRC           uint32 `json:"crc"`
}

// RecordItem is a record. Its bytes are valid only during the call.
type RecordItem struct {
	Offset    int64                 `json:"offset"`
	Timestamp int64                 `json:"timestamp"`
	Key       []byte                `json:"key"`
	Value     []byte                `json:"value"`
	Headers   []record.RecordHeader `json:"headers,omitempty"`
}

// IndexItem is an index entry, its numbers made absolute.
type IndexItem struct {
	Offset       int64  `json:"offset"`
	Position     int64  `json:"position"`
	Index        uint64 `json:"index"`
	LeaderEpoch  int32  `json:"leaderEpoch"` // −1: the entry that ends the index
	MaxTimestamp int64  `json:"maxTimestamp"`
}

// ProblemKind says what a problem costs.
type ProblemKind string

// The kinds of problems: those of the lists of Report.
const (
	ProblemDamage   ProblemKind = "damage"
	ProblemLeftOver ProblemKind = "left over"
	ProblemCache    ProblemKind = "cache"
)

// Problem is something wrong, or not as after a clean stop.
type Problem struct {
	Kind   ProblemKind `json:"kind"`
	Offset int64       `json:"offset"` // −1: none
	Cause  string      `json:"cause"`
}

// Dump reads every file of the log in dir, which nobody has open, and calls
// emit for what it finds, file by file: mark, journal, then each segment with
// its index. It changes nothing, and stops with the first error of emit.
func Dump(ctx context.Context, fsys vfs.FS, dir string, opts DumpOptions, emit func(Item) error) (*Report, error) {
	in := inspector{ctx: ctx, fs: fsys, dir: dir, opts: opts, emit: emit, report: &Report{Dir: dir}}
	if err := in.run(); err != nil {
		return nil, fmt.Errorf("inspect log %s: %w", dir, err)
	}
	if in.state != nil {
		in.report.First, in.report.StartOffset = in.state.firstEntries().firstIndex, in.state.first().base
	}
	return in.report, nil
}

func journalItem(file string, pos int64, r *journalRecord) Item {
	j := &JournalItem{Type: r.typ.String(), Kind: r.kind, Index: r.index, Term: r.term, Offset: r.offset}
	if r.typ == recordReplace {
		rep := parseReplacement(r.data)
		j.Generation, j.EndOffset = rep.gen, rep.end
	} else {
		j.Data = r.data
	}
	return Item{File: file, Pos: pos, Journal: j}
}

func batchItem(file string, pos int64, index uint64, h *record.Header) Item {
	return Item{File: file, Pos: pos, Batch: &BatchItem{
		Index: index, BaseOffset: h.BaseOffset, LastOffset: h.LastOffset(), LeaderEpoch: h.LeaderEpoch,
		Records: h.Records, Bytes: h.Bytes(), Codec: h.Codec().String(), TimestampType: h.TimestampType().String(),
		BaseTimestamp: h.BaseTimestamp, MaxTimestamp: h.MaxTimestamp, ProducerID: h.ProducerID,
		ProducerEpoch: h.ProducerEpoch, BaseSequence: h.BaseSequence, Transactional: h.IsTransactional(),
		Control: h.IsControl(), CRC: h.CRC,
	}}
}

func recordItem(file string, pos int64, h *record.Header, r *record.Record) Item {
	return Item{File: file, Pos: pos, Record: &RecordItem{
		Offset: h.RecordOffset(r), Timestamp: h.RecordTimestamp(r), Key: r.Key, Value: r.Value, Headers: r.Headers,
	}}
}

func (in *inspector) indexItem(x *indexScan, pos int64, e *indexEntry) error {
	if !in.opts.Index {
		return nil
	}
	first := uint64(0)
	for _, s := range in.state.segs {
		if s.base == x.idx.base {
			first = s.firstIndex
		}
	}
	return in.emit(Item{File: x.file.Name(), Pos: pos, Index: &IndexItem{
		Offset: x.idx.base + int64(e.offset), Position: int64(e.pos), Index: first + uint64(e.index),
		LeaderEpoch: e.epoch, MaxTimestamp: e.maxTime,
	}})
}

// String shows the item in one line, the file by its last name.
func (it Item) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s", filepath.Base(it.File))
	if it.Pos >= 0 {
		fmt.Fprintf(&b, " %d", it.Pos)
	}
	b.WriteString(": ")
	switch {
	case it.Mark != nil:
		m := it.Mark
		fmt.Fprintf(&b, "mark: durable to offset %d, entry %d of term %d, segment %d byte %d, journal %d byte %d, sequence %d",
			m.EndOffset, m.Index, m.Term, m.Segment, m.Position, m.JournalGeneration, m.JournalBytes, m.Sequence)
		if m.CleanStop {
			b.WriteString(", clean stop")
		}
	case it.Journal != nil:
		j := it.Journal
		fmt.Fprintf(&b, "%s: index %d, term %d, offset %d", j.Type, j.Index, j.Term, j.Offset)
		if j.Kind != KindBatch {
			fmt.Fprintf(&b, ", kind %d, %d bytes %q", j.Kind, len(j.Data), j.Data)
		}
		if j.Generation > 0 {
			fmt.Fprintf(&b, ", up to offset %d, generation %d", j.EndOffset, j.Generation)
		}
	case it.Segment != nil:
		s := it.Segment
		fmt.Fprintf(&b, "segment: offset %d, first index %d, %d bytes", s.BaseOffset, s.FirstIndex, s.Bytes)
		if s.Active {
			b.WriteString(", active")
		}
		if s.Settled {
			b.WriteString(", settled")
		}
		if s.Generation > 0 {
			fmt.Fprintf(&b, ", compacted as generation %d", s.Generation)
		}
	case it.Batch != nil:
		it.Batch.describe(&b)
	case it.Record != nil:
		r := it.Record
		fmt.Fprintf(&b, "record: offset %d, time %d, key %q, value %q", r.Offset, r.Timestamp, r.Key, r.Value)
		for _, h := range r.Headers {
			fmt.Fprintf(&b, ", %q=%q", h.Key, h.Value)
		}
	case it.Index != nil:
		x := it.Index
		fmt.Fprintf(&b, "index: offset %d, position %d, index %d, epoch %d, largest time before %d",
			x.Offset, x.Position, x.Index, x.LeaderEpoch, x.MaxTimestamp)
	case it.Problem != nil:
		p := it.Problem
		fmt.Fprintf(&b, "%s: %s", strings.ToUpper(string(p.Kind)), p.Cause)
		if p.Offset >= 0 {
			fmt.Fprintf(&b, " (offset %d)", p.Offset)
		}
	}
	return b.String()
}

func (t *BatchItem) describe(b *strings.Builder) {
	fmt.Fprintf(b, "batch: offsets %d to %d, ", t.BaseOffset, t.LastOffset)
	if t.Index > 0 {
		fmt.Fprintf(b, "index %d, ", t.Index)
	}
	fmt.Fprintf(b, "epoch %d, %d records, %d bytes, %s, %s %d to %d, CRC %08x",
		t.LeaderEpoch, t.Records, t.Bytes, t.Codec, t.TimestampType, t.BaseTimestamp, t.MaxTimestamp, t.CRC)
	if t.ProducerID >= 0 {
		fmt.Fprintf(b, ", producer %d epoch %d sequence %d", t.ProducerID, t.ProducerEpoch, t.BaseSequence)
	}
	if t.Transactional {
		b.WriteString(", transactional")
	}
	if t.Control {
		b.WriteString(", control")
	}
}
