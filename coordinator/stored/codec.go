package stored

import (
	"encoding/binary"
	"fmt"
	"math"
)

// MaxStringBytes is the most that a string of a key or value may have. A longer
// one panics in Append: no request that protocol.Check has let through holds
// one.
const MaxStringBytes = math.MaxInt16

// writer appends the primitives that doc.go names.
type writer struct {
	buf      []byte
	flexible bool
}

// startKey and startValue begin with the type or the version.
func startKey(dst []byte, keyType int16) writer {
	return writer{buf: binary.BigEndian.AppendUint16(dst, uint16(keyType))}
}

func startValue(dst []byte, version int16, flexible bool) writer {
	return writer{buf: binary.BigEndian.AppendUint16(dst, uint16(version)), flexible: flexible}
}

func (w *writer) int8(n int8)      { w.buf = append(w.buf, byte(n)) }
func (w *writer) int32(n int32)    { w.buf = binary.BigEndian.AppendUint32(w.buf, uint32(n)) }
func (w *writer) int64(n int64)    { w.buf = binary.BigEndian.AppendUint64(w.buf, uint64(n)) }
func (w *writer) uuid(id [16]byte) { w.buf = append(w.buf, id[:]...) }
func (w *writer) uvarint(n int)    { w.buf = binary.AppendUvarint(w.buf, uint64(n)) }

func (w *writer) string(s string) {
	switch {
	case len(s) > MaxStringBytes:
		panic(fmt.Sprintf("stored: a string of %d bytes, of at most %d", len(s), MaxStringBytes))
	case w.flexible:
		w.uvarint(len(s) + 1)
	default:
		w.buf = binary.BigEndian.AppendUint16(w.buf, uint16(len(s)))
	}
	w.buf = append(w.buf, s...)
}

func (w *writer) nullableString(s *string) {
	switch {
	case s != nil:
		w.string(*s)
	case w.flexible:
		w.uvarint(0)
	default:
		w.buf = append(w.buf, 0xff, 0xff)
	}
}

// length is that of an array or of bytes.
func (w *writer) length(n int) {
	if w.flexible {
		w.uvarint(n + 1)
	} else {
		w.int32(int32(n))
	}
}

func (w *writer) bytes(b []byte) {
	w.length(len(b))
	w.buf = append(w.buf, b...)
}

func (w *writer) strings(list []string) {
	w.length(len(list))
	for _, s := range list {
		w.string(s)
	}
}

func (w *writer) int32s(list []int32) {
	w.length(len(list))
	for _, n := range list {
		w.int32(n)
	}
}

// tags ends a struct: of no tagged field, or of one whose tag is 0.
func (w *writer) noTags() {
	if w.flexible {
		w.uvarint(0)
	}
}

func (w *writer) tag0(size int) {
	w.uvarint(1)
	w.uvarint(0)
	w.uvarint(size)
}

// tag0Int64 ends a struct with an int64 that is not written when it is 0.
func (w *writer) tag0Int64(n int64) {
	if n == 0 {
		w.noTags()
		return
	}
	w.tag0(8)
	w.int64(n)
}

func uvarintBytes(n int) int {
	size := 1
	for ; n >= 0x80; n >>= 7 {
		size++
	}
	return size
}

// reader takes them back. The first error stays: what is read after it is zero.
// No array is taken to be longer than the bytes left could hold, so that memory
// is bounded by the input.
type reader struct {
	record   string
	size     int // of the whole key or value
	buf      []byte
	flexible bool
	err      *Error
}

// openValue reads a value's version, which may be 0 to newest.
func openValue(record string, value []byte, newest, flexible int16) (*reader, int16) {
	r := &reader{record: record + " value", size: len(value), buf: value}
	version := r.int16("version")
	if r.err == nil && (version < 0 || version > newest) {
		r.fail("", "version %d is not known, 0 to %d are", version, newest)
	}
	r.flexible = version >= flexible
	return r, version
}

func (r *reader) fail(field, format string, args ...any) {
	if r.err == nil {
		r.err = &Error{Record: r.record, Field: field, Byte: r.size - len(r.buf), Text: fmt.Sprintf(format, args...)}
		r.buf = nil
	}
}

// end is the error of the whole, which there must be nothing behind.
func (r *reader) end() error {
	if len(r.buf) > 0 {
		r.fail("the end", "%d more bytes follow", len(r.buf))
	}
	if r.err != nil {
		return r.err
	}
	return nil
}

func (r *reader) take(field string, n int) []byte {
	if n > len(r.buf) || r.err != nil {
		r.fail(field, "%d bytes are needed, %d are left", n, len(r.buf))
		return nil
	}
	b := r.buf[:n]
	r.buf = r.buf[n:]
	return b
}

func (r *reader) int8(field string) int8 {
	if b := r.take(field, 1); b != nil {
		return int8(b[0])
	}
	return 0
}

func (r *reader) int16(field string) int16 {
	if b := r.take(field, 2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (r *reader) int32(field string) int32 {
	if b := r.take(field, 4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (r *reader) int64(field string) int64 {
	if b := r.take(field, 8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

func (r *reader) uuid(field string) (id [16]byte) {
	copy(id[:], r.take(field, len(id)))
	return id
}

func (r *reader) uvarint(field string) uint32 {
	n, size := binary.Uvarint(r.buf)
	switch {
	case size == 0:
		r.fail(field, "it ends within a number")
	case size < 0 || n > math.MaxUint32:
		r.fail(field, "a number has more than 32 bits")
	default:
		r.buf = r.buf[size:]
		return uint32(n)
	}
	return 0
}

// compact is a length in a flexible version: -1 for null.
func (r *reader) compact(field string) int { return int(r.uvarint(field)) - 1 }

// stringLength gives -1 for null.
func (r *reader) stringLength(field string) int {
	n := 0
	if r.flexible {
		n = r.compact(field)
	} else {
		n = int(r.int16(field))
	}
	if n < -1 || n > MaxStringBytes {
		r.fail(field, "a string's length is %d", n)
		return 0
	}
	return n
}

func (r *reader) string(field string) string {
	n := r.stringLength(field)
	if n < 0 {
		r.fail(field, "it is null")
		return ""
	}
	return string(r.take(field, n))
}

func (r *reader) nullableString(field string) *string {
	n := r.stringLength(field)
	if n < 0 || r.err != nil {
		return nil
	}
	s := string(r.take(field, n))
	return &s
}

// length is that of bytes or of an array, whose elements take at least each
// bytes; -1 for null.
func (r *reader) length(field string, each int) int {
	n := 0
	if r.flexible {
		n = r.compact(field)
	} else {
		n = int(r.int32(field))
	}
	switch {
	case r.err != nil:
		return 0
	case n < -1:
		r.fail(field, "a length is %d", n)
		return 0
	case n > len(r.buf)/each:
		r.fail(field, "%d elements of at least %d bytes are said to follow, %d bytes are left", n, each, len(r.buf))
		return 0
	}
	return n
}

// count is the length of an array that may not be null.
func (r *reader) count(field string, each int) int {
	n := r.length(field, each)
	if n < 0 {
		r.fail(field, "it is null")
		return 0
	}
	return n
}

func (r *reader) bytes(field string) []byte {
	return append([]byte{}, r.take(field, r.count(field, 1))...)
}

func (r *reader) strings(field string) []string {
	list := make([]string, r.count(field, 1))
	for i := range list {
		list[i] = r.string(field)
	}
	return list
}

func (r *reader) int32s(field string) []int32 {
	list := make([]int32, r.count(field, 4))
	for i := range list {
		list[i] = r.int32(field)
	}
	return list
}

// tags ends a struct. known reads the content of a tagged field and says
// whether it knows it; a field that is not known is dropped. known may be nil.
func (r *reader) tags(known func(tag uint32) bool) {
	if !r.flexible {
		return
	}
	last := int64(-1)
	for range r.uvarint("tags") {
		tag := r.uvarint("tag")
		size := r.uvarint("tag's size")
		if r.err != nil {
			return
		}
		switch {
		case int64(tag) <= last:
			r.fail("tags", "tag %d comes after %d", tag, last)
			return
		case int64(size) > int64(len(r.buf)):
			r.fail("tags", "tag %d has %d bytes, %d are left", tag, size, len(r.buf))
			return
		}
		last = int64(tag)
		after := r.buf[size:]
		if known == nil || !known(tag) {
			r.buf = after
		} else if r.err == nil && len(r.buf) != len(after) {
			r.fail("tags", "tag %d has %d bytes, %d were read", tag, size, int(size)+len(after)-len(r.buf))
		}
		if r.err != nil {
			return
		}
	}
}
