package history

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"
	"time"
)

const (
	magic         = "ffhist1\n"
	frameHeader   = 8
	frameBytes    = 64 << 10 // a buffered Recorder writes frames of about this
	maxFrameBytes = 1 << 20
	maxTopicBytes = 1 << 10
	offsetsKept   = 64 // last offsets that deltas are taken from, by partition
)

// deltas is what an op's fields are encoded as the difference from; a frame
// starts with the zero deltas.
type deltas struct {
	end     int64
	offsets [offsetsKept]int64
	values  [offsetsKept]uint64
}

// RecorderOptions configure a [Recorder]. The zero value buffers.
type RecorderOptions struct {
	// Unbuffered writes each operation at once, so that it survives the
	// process.
	Unbuffered bool
}

// Recorder writes operations to a file. It is safe for concurrent use. The
// file's operations ascend by End.
type Recorder struct {
	unbuffered bool
	epoch      time.Time

	mu      sync.Mutex
	w       io.Writer
	err     error  // the first of w's
	frame   []byte // with room for its header
	last    deltas
	topics  map[string]int // those named in the frame
	recent  string         // the topic named last, and its number
	number  int
	lastEnd int64
	ops     int64
}

// NewRecorder starts a history on w. Files of processes on the same machine
// can be checked together.
func NewRecorder(w io.Writer, opts RecorderOptions) *Recorder {
	r := &Recorder{
		unbuffered: opts.Unbuffered,
		epoch:      time.Now(),
		w:          w,
		frame:      make([]byte, frameHeader, frameBytes+4096),
		topics:     map[string]int{},
	}
	_, r.err = io.WriteString(w, magic)
	return r
}

// Now is the time to put into [Op.Start] before sending a request, in
// nanoseconds.
func (r *Recorder) Now() int64 { return r.epoch.UnixNano() + int64(time.Since(r.epoch)) }

// Append records op, with the present time as its End. An op that breaks the
// rules of its fields panics. Errors of writing are returned by Flush.
func (r *Recorder) Append(op Op) {
	if why := op.invalid(); why != "" {
		panic("history: " + why + ": " + op.String())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lastEnd = max(r.lastEnd, r.Now(), op.Start)
	op.End = r.lastEnd
	r.encode(&op)
	r.ops++
	if r.unbuffered || len(r.frame) >= frameBytes {
		r.writeFrame()
	}
}

// Ops is the number of operations recorded.
func (r *Recorder) Ops() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ops
}

// Flush writes what is buffered and returns the first error of any write.
func (r *Recorder) Flush() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.writeFrame()
	if r.err != nil {
		return fmt.Errorf("write history: %w", r.err)
	}
	return nil
}

func (r *Recorder) writeFrame() {
	payload := r.frame[frameHeader:]
	if len(payload) == 0 {
		return
	}
	binary.LittleEndian.PutUint32(r.frame, uint32(len(payload)))
	binary.LittleEndian.PutUint32(r.frame[4:], crc32.Checksum(payload, castagnoli))
	if r.err == nil {
		_, r.err = r.w.Write(r.frame)
	}
	r.frame = r.frame[:frameHeader]
	r.last = deltas{}
	r.recent = ""
	clear(r.topics)
}

const (
	outcomeShift   = 4
	idempotentFlag = 1 << 6
	timedFlag      = 1 << 7
)

func (r *Recorder) encode(op *Op) {
	b := r.frame
	flags := byte(op.Kind) | byte(op.Outcome)<<outcomeShift
	if op.Idempotent {
		flags |= idempotentFlag
	}
	if op.Start != 0 {
		flags |= timedFlag
	}
	b = append(b, flags)
	b = binary.AppendVarint(b, op.End-r.last.end)
	r.last.end = op.End
	if op.Start != 0 {
		b = binary.AppendUvarint(b, uint64(op.End-op.Start))
	}
	b = binary.AppendUvarint(b, uint64(op.Client))
	b = r.encodeTopic(b, op.Topic)
	b = binary.AppendUvarint(b, uint64(op.Partition))
	slot := op.Partition % offsetsKept
	b = binary.AppendVarint(b, op.Offset-r.last.offsets[slot])
	r.last.offsets[slot] = op.Offset
	switch op.Kind {
	case Produce, Fetch:
		b = binary.AppendVarint(b, int64(uint64(op.Value)-r.last.values[slot]))
		r.last.values[slot] = uint64(op.Value)
	case Final:
		b = binary.AppendVarint(b, op.To-op.Offset)
	}
	r.frame = b
}

func (r *Recorder) encodeTopic(b []byte, topic string) []byte {
	if topic == r.recent {
		return binary.AppendUvarint(b, uint64(r.number))
	}
	n, known := r.topics[topic]
	if !known {
		n = len(r.topics)
		r.topics[topic] = n
	}
	r.recent, r.number = topic, n
	b = binary.AppendUvarint(b, uint64(n))
	if !known {
		b = binary.AppendUvarint(b, uint64(len(topic)))
		b = append(b, topic...)
	}
	return b
}

// ErrCorrupt is matched by the errors of a history that is not as it was
// written; they say where and why.
var ErrCorrupt = errors.New("corrupt history")

// Reader reads a history.
type Reader struct {
	r      *bufio.Reader
	began  bool
	at     int64 // where the frame starts, in bytes
	next   int64 // where it ends
	frame  []byte
	rest   []byte // of the frame
	last   deltas
	topics []string
	names  map[string]string // one string for each topic
}

// NewReader reads a history that a [Recorder] wrote.
func NewReader(r io.Reader) *Reader {
	return &Reader{r: bufio.NewReaderSize(r, 256<<10), names: map[string]string{}}
}

// Next reads the next operation into op. It returns io.EOF at the end, where a
// torn frame counts as the end, and an error that matches [ErrCorrupt] or is
// the underlying reader's.
func (r *Reader) Next(op *Op) error {
	for len(r.rest) == 0 {
		if err := r.nextFrame(); err != nil {
			return err
		}
	}
	*op = Op{}
	if err := r.decode(op); err != nil {
		return err
	}
	if why := op.invalid(); why != "" {
		return r.corrupt(why)
	}
	return nil
}

func (r *Reader) corrupt(why string) error {
	return fmt.Errorf("%w: %s in the frame at byte %d", ErrCorrupt, why, r.at)
}

// torn turns the end of the input within a frame into the end of the history.
func torn(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return io.EOF
	}
	return err
}

func (r *Reader) nextFrame() error {
	if !r.began {
		var head [len(magic)]byte
		if _, err := io.ReadFull(r.r, head[:]); err != nil {
			return torn(err)
		}
		if string(head[:]) != magic {
			return r.corrupt("no history starts so")
		}
		r.began = true
		r.next = int64(len(magic))
	}
	r.at = r.next
	var head [frameHeader]byte
	r.frame = r.frame[:0]
	if _, err := io.ReadFull(r.r, head[:]); err != nil {
		return torn(err)
	}
	size := int(binary.LittleEndian.Uint32(head[:]))
	if size == 0 || size > maxFrameBytes {
		return r.corrupt("impossible length")
	}
	if err := r.readPayload(size); err != nil {
		return torn(err)
	}
	if crc32.Checksum(r.rest, castagnoli) != binary.LittleEndian.Uint32(head[4:]) {
		return r.corrupt("wrong checksum")
	}
	r.next = r.at + frameHeader + int64(size)
	r.last = deltas{}
	r.topics = r.topics[:0]
	return nil
}

// readPayload reads size bytes, and takes no memory for what does not come.
func (r *Reader) readPayload(size int) error {
	for len(r.frame) < size {
		n := min(size-len(r.frame), frameBytes)
		at := len(r.frame)
		if cap(r.frame) < at+n {
			r.frame = append(r.frame, make([]byte, n)...)
		} else {
			r.frame = r.frame[:at+n]
		}
		if _, err := io.ReadFull(r.r, r.frame[at:]); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	r.rest = r.frame
	return nil
}

// fields takes varints off a frame; bad is set at the first that is none.
type fields struct {
	b   []byte
	bad bool
}

func (f *fields) uvarint() uint64 {
	v, n := binary.Uvarint(f.b)
	if n <= 0 {
		f.bad, f.b = true, nil
		return 0
	}
	f.b = f.b[n:]
	return v
}

func (f *fields) varint() int64 {
	v := f.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

func (r *Reader) decode(op *Op) error {
	flags := r.rest[0]
	f := fields{b: r.rest[1:]}
	op.Kind = Kind(flags & (1<<outcomeShift - 1))
	op.Outcome = Outcome(flags >> outcomeShift & 3)
	op.Idempotent = flags&idempotentFlag != 0
	r.last.end += f.varint()
	op.End = r.last.end
	if flags&timedFlag != 0 {
		op.Start = op.End - int64(f.uvarint())
	}
	client := f.uvarint()
	topic, ok := r.decodeTopic(&f)
	partition := f.uvarint()
	if f.bad || !ok || client > 1<<32-1 || partition > 1<<31-1 {
		return r.corrupt("impossible field")
	}
	op.Client, op.Partition, op.Topic = uint32(client), int32(partition), topic
	slot := op.Partition % offsetsKept
	r.last.offsets[slot] += f.varint()
	op.Offset = r.last.offsets[slot]
	switch op.Kind {
	case Produce, Fetch:
		r.last.values[slot] += uint64(f.varint())
		op.Value = Value(r.last.values[slot])
	case Final:
		op.To = op.Offset + f.varint()
	}
	if f.bad || op.Start > op.End {
		return r.corrupt("impossible field")
	}
	r.rest = f.b
	return nil
}

func (r *Reader) decodeTopic(f *fields) (string, bool) {
	n := f.uvarint()
	switch {
	case n < uint64(len(r.topics)):
		return r.topics[n], true
	case n > uint64(len(r.topics)):
		return "", false
	}
	size := f.uvarint()
	if size > maxTopicBytes || size > uint64(len(f.b)) {
		return "", false
	}
	name, known := r.names[string(f.b[:size])]
	if !known {
		name = string(f.b[:size])
		r.names[name] = name
	}
	f.b = f.b[size:]
	r.topics = append(r.topics, name)
	return name, true
}
