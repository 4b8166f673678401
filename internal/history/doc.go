// Package history records what the clients of a fault test sent, got and when,
// and checks afterwards that a log could have answered so.
//
// A [Recorder] takes [Op]s from many clients and writes them to a file, at
// once or in frames; [Check] reads one or several such files (of several
// processes on one machine), in time linear in the operations and with memory
// of about ten bytes a record: 10⁸ operations are feasible. What it holds a
// log to:
//
//   - an offset has one value, for all readers and for the writer that it was
//     acknowledged to ([Disagreement]);
//   - what was acknowledged is read in the end ([Lost]), and no reader passes
//     it by ([Skipped]);
//   - what an idempotent producer sent is there once at most, whatever became
//     of the request ([Duplicate]), and in the order that it was sent in
//     ([Reordered]);
//   - what is read was sent ([Phantom]), and was not refused ([RefusedRead]);
//   - a reader gets ascending offsets ([ReaderBack]);
//   - once an end offset was seen or a record acknowledged, no later answer
//     shows a lower end and no later record gets a lower offset ([EndBack],
//     [OffsetReused]); a log's start does not fall ([StartBack]).
//
// # What to record
//
// Each record sent has a [Value] of its own; a producer's values ascend in the
// order that it sends them in. [AppendPayload] makes a record's bytes from it and
// [ParsePayload] tells it from them.
//
// A client that may be killed records a Produce with the outcome [Sent] before
// it sends, to an unbuffered Recorder, and the outcome after. An
// acknowledgement that promises nothing (acks=0) is [Unknown]. A reader
// records a Fetch for each record, and a Seek before it starts anywhere but
// where it was; its first read needs none. When all is over, one reader reads
// everything and records Final with the log's start and end.
//
// # File
//
//	file:  "ffhist1\n" frame*
//	frame: payload length u32le · CRC-32C of the payload u32le · payload
//	op:    kind | outcome<<4 | idempotent<<6 | timed<<7   one byte
//	       end    zigzag varint, nanoseconds since the frame's last end
//	       took   uvarint, nanoseconds from start to end; if timed
//	       client uvarint
//	       topic  uvarint; the number of topics so far in the frame for a new
//	              one, whose name follows: length uvarint · bytes
//	       partition uvarint
//	       offset zigzag varint, from the frame's last one of a partition that
//	              is the same modulo 64
//	       value  zigzag varint, from the frame's last one of the same; for
//	              Produce and Fetch
//	       to     zigzag varint, from the op's offset; for Final
//
// A frame decodes by itself. A torn frame at the end of a file is what a
// killed process leaves: the reader ends there without an error.
package history
