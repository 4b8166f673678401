package history

import "fmt"

// Kind is what an operation did.
type Kind uint8

const (
	// Produce sent the record Value; if OK it has the Offset, or -1 if the
	// client was not told it.
	Produce Kind = iota + 1

	// Fetch read the record Value at Offset; the zero Value stands for bytes
	// that are no payload of this test.
	Fetch

	// Seek says that the client's next Fetch of the partition begins at
	// Offset or behind it.
	Seek

	// End was told that the log ends before Offset (the high watermark).
	End

	// Start was told that the log starts at Offset.
	Start

	// Final says that everything from Offset, the log's start, up to To, its
	// end, was read, when nothing was written any more.
	Final

	kinds
)

// String is the kind's name.
func (k Kind) String() string {
	if k == 0 || k >= kinds {
		return fmt.Sprintf("Kind(%d)", uint8(k))
	}
	return [...]string{"", "produce", "fetch", "seek", "end", "start", "final"}[k]
}

// Outcome is what the client knows of its operation.
type Outcome uint8

const (
	// OK is an acknowledgement or an answer.
	OK Outcome = iota

	// Refused is an answer that says that nothing was done.
	Refused

	// Unknown is a time-out, a lost connection, or an answer that leaves open
	// whether it was done.
	Unknown

	// Sent stands before the operation, in case that nothing comes after.
	Sent
)

// String is the outcome's name.
func (o Outcome) String() string {
	if o > Sent {
		return fmt.Sprintf("Outcome(%d)", uint8(o))
	}
	return [...]string{"ok", "refused", "unknown", "sent"}[o]
}

// Limits of what a [Value] can hold.
const (
	MaxProducer = 1<<22 - 1
	MaxSeq      = 1<<40 - 1
)

// Value identifies a record that was sent: the producer and a number that
// ascends with each record of that producer. The zero Value is none.
type Value uint64

// ValueOf returns the value of a producer's record seq, from 1; producer is at
// most [MaxProducer], seq at most [MaxSeq].
func ValueOf(producer uint32, seq uint64) Value {
	if producer > MaxProducer || seq == 0 || seq > MaxSeq {
		panic(fmt.Sprintf("history: no value for record %d of producer %d", seq, producer))
	}
	return Value(uint64(producer)<<40 | seq)
}

// Producer is who sent the value.
func (v Value) Producer() uint32 { return uint32(v >> 40) }

// Seq is the number that the producer gave the value.
func (v Value) Seq() uint64 { return uint64(v) & MaxSeq }

// valid reports whether v came from ValueOf, or is zero.
func (v Value) valid() bool { return v == 0 || (v.Producer() <= MaxProducer && v.Seq() != 0) }

// String is producer:seq.
func (v Value) String() string { return fmt.Sprintf("%d:%d", v.Producer(), v.Seq()) }

// Op is one operation of one client.
type Op struct {
	Kind       Kind
	Outcome    Outcome
	Idempotent bool // a Produce of a producer that must not duplicate or reorder
	Client     uint32
	Partition  int32
	Topic      string
	Offset     int64
	To         int64 // Final's end
	Value      Value

	// Start is when the client sent the request, from [Recorder.Now]; zero if
	// the order in time does not matter.
	Start int64

	// End is when it was recorded; the Recorder sets it.
	End int64
}

// String shows the operation on one line.
func (op Op) String() string {
	s := fmt.Sprintf("%s %s client=%d %s-%d offset=%d", op.Kind, op.Outcome, op.Client, op.Topic, op.Partition, op.Offset)
	switch op.Kind {
	case Produce, Fetch:
		s += " value=" + op.Value.String()
	case Final:
		s += fmt.Sprintf(" to=%d", op.To)
	}
	if op.Start != 0 {
		s += fmt.Sprintf(" took=%dns", op.End-op.Start)
	}
	return s
}

// invalid says what is wrong with op, or nothing.
func (op *Op) invalid() string {
	switch {
	case op.Kind == 0 || op.Kind >= kinds:
		return "unknown kind"
	case op.Outcome > Sent:
		return "unknown outcome"
	case op.Partition < 0:
		return "negative partition"
	case op.Topic == "" || len(op.Topic) > maxTopicBytes:
		return "no topic, or a long one"
	case !op.Value.valid():
		return "impossible value"
	case op.Kind == Produce && op.Value == 0:
		return "nothing produced"
	case op.Offset < -1 || (op.Offset < 0 && op.Kind != Produce):
		return "negative offset"
	case op.Kind == Final && op.To < op.Offset:
		return "end before start"
	}
	return ""
}
