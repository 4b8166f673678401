package history

import "fmt"

// AnomalyKind is a way in which a history cannot be that of a correct log.
type AnomalyKind uint8

const (
	// Disagreement: two readers, or a reader and the writer, have different
	// values at an offset.
	Disagreement AnomalyKind = iota

	// Lost: a record was acknowledged and is not there in the end.
	Lost

	// Skipped: a reader went from below an acknowledged record to above it
	// without getting it.
	Skipped

	// Duplicate: an idempotent producer's record is there twice.
	Duplicate

	// Reordered: an idempotent producer's record is behind one that it sent
	// later.
	Reordered

	// Phantom: a record was read that nobody sent, or that is not as it was
	// sent.
	Phantom

	// RefusedRead: a record was read whose producer was told that it was not
	// written.
	RefusedRead

	// ReaderBack: a reader got an offset that it had passed.
	ReaderBack

	// EndBack: the log's end was shown below where it had been before the
	// question was asked.
	EndBack

	// OffsetReused: a record was acknowledged at an offset below the log's end
	// as it was before the record was sent.
	OffsetReused

	// StartBack: the log's start was shown below where it had been before the
	// question was asked.
	StartBack

	// StartMoved: the log's start moved where nothing should move it.
	StartMoved

	anomalyKinds
)

// String is the kind's name.
func (k AnomalyKind) String() string {
	if k >= anomalyKinds {
		return fmt.Sprintf("AnomalyKind(%d)", uint8(k))
	}
	return [...]string{
		"disagreement", "lost", "skipped", "duplicate", "reordered", "phantom",
		"refused record read", "reader went back", "end went back",
		"offset reused", "start went back", "start moved",
	}[k]
}

// Anomaly is one finding.
type Anomaly struct {
	Kind      AnomalyKind
	Topic     string
	Partition int32
	Offset    int64 // -1 if unknown
	Value     Value
	Client    uint32 // who saw it, where one client did
	Text      string
}

// String is the finding on one line.
func (a Anomaly) String() string {
	s := fmt.Sprintf("%s: %s-%d offset %d", a.Kind, a.Topic, a.Partition, a.Offset)
	if a.Value != 0 {
		s += " value " + a.Value.String()
	}
	return s + ": " + a.Text
}

// Report is the result of [Check].
type Report struct {
	Ops       int64 // operations in the history
	Sent      int64 // records sent, whatever became of them
	Acked     int64 // of these acknowledged
	Refused   int64 // refused and nothing else
	Unknown   int64 // neither
	Read      int64 // different records read
	Anomalies []Anomaly
	Counts    map[AnomalyKind]int64 // all anomalies, kept or not
}

// Total is the number of all anomalies.
func (r *Report) Total() int64 {
	var total int64
	for _, n := range r.Counts {
		total += n
	}
	return total
}

// String is the report on one line.
func (r *Report) String() string {
	return fmt.Sprintf("%d operations; %d records sent, %d acknowledged, %d refused, %d unknown, %d read; %d anomalies %v",
		r.Ops, r.Sent, r.Acked, r.Refused, r.Unknown, r.Read, r.Total(), r.Counts)
}
