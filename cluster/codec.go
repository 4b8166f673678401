package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// writer appends the primitives that doc.go names.
type writer struct{ buf []byte }

func (w *writer) byte(b byte)     { w.buf = append(w.buf, b) }
func (w *writer) uint(n uint64)   { w.buf = binary.AppendUvarint(w.buf, n) }
func (w *writer) int(n int64)     { w.buf = binary.AppendVarint(w.buf, n) }
func (w *writer) count(n int)     { w.uint(uint64(n)) }
func (w *writer) id(id [16]byte)  { w.buf = append(w.buf, id[:]...) }
func (w *writer) string(s string) { w.count(len(s)); w.buf = append(w.buf, s...) }
func (w *writer) limits(l Limits) { w.int(l.Topics); w.int(l.Partitions) }
func (w *writer) nodes(ids []int32) {
	w.count(len(ids))
	for _, id := range ids {
		w.int(int64(id))
	}
}

func (w *writer) bool(b bool) {
	if b {
		w.byte(1)
	} else {
		w.byte(0)
	}
}

func (w *writer) stringMap(m map[string]string) {
	w.count(len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		w.string(k)
		w.string(m[k])
	}
}

func (w *writer) assignment(a [][]int32) {
	w.count(len(a))
	for _, replicas := range a {
		w.nodes(replicas)
	}
}

// reader takes them back. The first error stays: what is read after it is
// zero. No list is taken to be longer than the bytes left could hold, so that
// memory is bounded by the input.
type reader struct {
	buf []byte
	err error
}

var errShort = errors.New("it ends early")

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err, r.buf = err, nil
	}
}

func (r *reader) take(n int) []byte {
	if n > len(r.buf) {
		r.fail(errShort)
		return nil
	}
	b := r.buf[:n]
	r.buf = r.buf[n:]
	return b
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) bool() bool {
	b := r.byte()
	if b > 1 {
		r.fail(fmt.Errorf("a boolean is %d", b))
	}
	return b == 1
}

func (r *reader) uint() uint64 {
	n, size := binary.Uvarint(r.buf)
	if size <= 0 {
		r.fail(errShort)
		return 0
	}
	r.buf = r.buf[size:]
	return n
}

func (r *reader) int() int64 {
	n, size := binary.Varint(r.buf)
	if size <= 0 {
		r.fail(errShort)
		return 0
	}
	r.buf = r.buf[size:]
	return n
}

func (r *reader) int32() int32 {
	n := r.int()
	if n != int64(int32(n)) {
		r.fail(fmt.Errorf("%d does not fit 32 bits", n))
		return 0
	}
	return int32(n)
}

func (r *reader) uint16() uint16 {
	n := r.uint()
	if n != uint64(uint16(n)) {
		r.fail(fmt.Errorf("%d does not fit 16 bits", n))
		return 0
	}
	return uint16(n)
}

// count reads the length of a list whose elements take at least size bytes.
func (r *reader) count(size int) int {
	n := r.uint()
	if n > uint64(len(r.buf)/size) {
		r.fail(errShort)
		return 0
	}
	return int(n)
}

func (r *reader) id() (id [16]byte) {
	copy(id[:], r.take(len(id)))
	return id
}

func (r *reader) string() string { return string(r.take(r.count(1))) }

func (r *reader) limits() Limits { return Limits{Topics: r.int(), Partitions: r.int()} }

func (r *reader) nodes() []int32 {
	ids := make([]int32, r.count(1))
	for i := range ids {
		ids[i] = r.int32()
	}
	return ids
}

// stringMap reads a map whose keys ascend; an empty one is nil.
func (r *reader) stringMap() map[string]string {
	n := r.count(2)
	if n == 0 {
		return nil
	}
	m, last := make(map[string]string), ""
	for i := range n {
		k, v := r.string(), r.string()
		if r.err != nil {
			return nil
		}
		if i > 0 && k <= last {
			r.fail(fmt.Errorf("key %q is out of order", k))
			return nil
		}
		m[k], last = v, k
	}
	return m
}

func (r *reader) assignment() [][]int32 {
	a := make([][]int32, r.count(2))
	for i := range a {
		a[i] = r.nodes()
		if len(a[i]) == 0 && r.err == nil {
			r.fail(errors.New("a partition has no replica"))
		}
		if r.err != nil {
			return nil
		}
	}
	return a
}

// end fails if anything is left.
func (r *reader) end() error {
	if r.err == nil && len(r.buf) > 0 {
		r.fail(fmt.Errorf("%d bytes are left over", len(r.buf)))
	}
	return r.err
}

// commandVersion is the version of the bodies that this release writes, and the
// highest that it reads.
const commandVersion = 1

// Errors of [Decode] and, through it, of [Machine.Apply].
var (
	// ErrUnknownCommand: the command is of a newer release.
	ErrUnknownCommand = errors.New("command of a newer release")
	// ErrCorruptCommand: the bytes are no command.
	ErrCorruptCommand = errors.New("corrupt command")
)

// Encode returns the command as it stands in the log.
func Encode(c Command) []byte {
	w := &writer{}
	w.byte(byte(c.kind()))
	w.byte(commandVersion)
	c.encodeBody(w)
	return w.buf
}

// Decode reads what Encode wrote. The error wraps [ErrUnknownCommand] or
// [ErrCorruptCommand]. Memory stays within a small factor of the input.
func Decode(b []byte) (Command, error) {
	if len(b) < 2 {
		return nil, fmt.Errorf("%w: %d bytes", ErrCorruptCommand, len(b))
	}
	kind, version := commandKind(b[0]), b[1]
	c := newCommand(kind)
	switch {
	case kind == 0 || version == 0:
		return nil, fmt.Errorf("%w: kind %d, version %d", ErrCorruptCommand, kind, version)
	case c == nil || version > commandVersion:
		return nil, fmt.Errorf("%w: kind %d, version %d", ErrUnknownCommand, kind, version)
	}
	r := &reader{buf: b[2:]}
	c.decodeBody(r, version)
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("%w: kind %d: %w", ErrCorruptCommand, kind, err)
	}
	return c, nil
}

func (c *BootstrapCluster) encodeBody(w *writer) {
	w.string(c.ClusterID)
	w.uint(uint64(c.FeatureLevel))
	w.int(c.TimeMs)
}

func (c *BootstrapCluster) decodeBody(r *reader, _ byte) {
	c.ClusterID, c.FeatureLevel, c.TimeMs = r.string(), r.uint16(), r.int()
}

func (c *RegisterNode) encodeBody(w *writer)         { w.node(&c.Node) }
func (c *RegisterNode) decodeBody(r *reader, _ byte) { c.Node = r.node() }

func (w *writer) node(n *Node) {
	w.int(int64(n.ID))
	w.id(n.Directory)
	w.uint(n.Incarnation)
	w.string(n.Rack)
	w.count(len(n.Listeners))
	for _, l := range n.Listeners {
		w.string(l.Name)
		w.string(l.Host)
		w.int(int64(l.Port))
	}
	w.uint(uint64(n.MinFeatureLevel))
	w.uint(uint64(n.MaxFeatureLevel))
	w.string(n.Version)
	w.int(n.RegisteredMs)
}

func (r *reader) node() Node {
	n := Node{ID: r.int32(), Directory: r.id(), Incarnation: r.uint(), Rack: r.string()}
	n.Listeners = make([]Listener, r.count(3))
	for i := range n.Listeners {
		n.Listeners[i] = Listener{Name: r.string(), Host: r.string(), Port: r.int32()}
	}
	n.MinFeatureLevel, n.MaxFeatureLevel = r.uint16(), r.uint16()
	n.Version, n.RegisteredMs = r.string(), r.int()
	return n
}

func (c *CreateTopic) encodeBody(w *writer) {
	w.string(c.Name)
	w.id(c.ID)
	w.assignment(c.Assignment)
	w.stringMap(c.Configs)
	w.bool(c.Internal)
	w.int(c.TimeMs)
	w.limits(c.Limits)
}

func (c *CreateTopic) decodeBody(r *reader, _ byte) {
	c.Name, c.ID = r.string(), r.id()
	c.Assignment, c.Configs = r.assignment(), r.stringMap()
	c.Internal, c.TimeMs, c.Limits = r.bool(), r.int(), r.limits()
}

func (c *DeleteTopic) encodeBody(w *writer)         { w.id(c.ID); w.int(c.TimeMs) }
func (c *DeleteTopic) decodeBody(r *reader, _ byte) { c.ID, c.TimeMs = r.id(), r.int() }

func (c *TopicPurged) encodeBody(w *writer)         { w.id(c.ID); w.int(int64(c.Node)) }
func (c *TopicPurged) decodeBody(r *reader, _ byte) { c.ID, c.Node = r.id(), r.int32() }

func (c *CreatePartitions) encodeBody(w *writer) {
	w.id(c.ID)
	w.int(int64(c.From))
	w.assignment(c.Assignment)
	w.limits(c.Limits)
}

func (c *CreatePartitions) decodeBody(r *reader, _ byte) {
	c.ID, c.From, c.Assignment, c.Limits = r.id(), r.int32(), r.assignment(), r.limits()
}

func (c *AlterTopicConfigs) encodeBody(w *writer) {
	w.id(c.ID)
	w.bool(c.Replace)
	w.ops(c.Ops)
}

func (c *AlterTopicConfigs) decodeBody(r *reader, _ byte) {
	c.ID, c.Replace, c.Ops = r.id(), r.bool(), r.ops()
}

func (c *AlterBrokerConfigs) encodeBody(w *writer) {
	w.int(int64(c.Node))
	w.bool(c.Replace)
	w.ops(c.Ops)
}

func (c *AlterBrokerConfigs) decodeBody(r *reader, _ byte) {
	c.Node, c.Replace, c.Ops = r.int32(), r.bool(), r.ops()
}

func (c *AlterGroupConfigs) encodeBody(w *writer) {
	w.string(c.Group)
	w.bool(c.Replace)
	w.ops(c.Ops)
}

func (c *AlterGroupConfigs) decodeBody(r *reader, _ byte) {
	c.Group, c.Replace, c.Ops = r.string(), r.bool(), r.ops()
}

func (w *writer) ops(ops []ConfigOp) {
	w.count(len(ops))
	for _, op := range ops {
		w.byte(byte(op.Kind))
		w.string(op.Name)
		w.string(op.Value)
		w.string(op.Default)
	}
}

func (r *reader) ops() []ConfigOp {
	ops := make([]ConfigOp, r.count(4))
	for i := range ops {
		ops[i] = ConfigOp{Kind: ConfigOpKind(r.byte()), Name: r.string(), Value: r.string(), Default: r.string()}
		if ops[i].Kind > ConfigSubtract || ops[i].Kind < ConfigSet {
			r.fail(fmt.Errorf("config operation %d", ops[i].Kind))
		}
	}
	return ops
}

func (c *AllocateProducerIDs) encodeBody(w *writer) { w.int(int64(c.Node)); w.int(int64(c.Count)) }
func (c *AllocateProducerIDs) decodeBody(r *reader, _ byte) {
	c.Node, c.Count = r.int32(), r.int32()
}
