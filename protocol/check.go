package protocol

import (
	"encoding/binary"
	"math"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Limits of one request. Java's parsers take 200,000 elements an array, which
// decode into far more memory than a broker of this size has; no request of a
// client names more than some for each partition of the cluster.
const (
	maxElements     = 200_000 // of all arrays together
	maxTaggedFields = 10_000  // as Java's
)

// Known says whether Decode takes requests of this key and version.
func Known(key, version int16) bool {
	return bodySchemas()[keyVersion{key, version}] != nil
}

// Check walks the body of a request (what follows its header) without
// allocating, and refuses what kmsg would take far more memory for than it has
// bytes: truncated bodies, counts that the bytes left cannot hold, strings of
// more than 32,767 bytes (as Kafka: older versions cannot write them), more than
// 1,000,000 elements or 10,000 tagged fields. An error is an *Error:
// UNSUPPORTED_VERSION for a key or version that is not Known, INVALID_REQUEST
// for the rest, naming field and position. Bytes behind the last field are
// ignored, as Kafka does: librdkafka sends three with every Metadata request
// for all topics from version 9 on (its issue 5049).
func Check(key, version int16, body []byte) error {
	w := walker{body: body}
	return w.walk(key, version)
}

// Elements is how many elements the arrays of a body have together, which says
// what it decodes into; 0 where it does not pass Check. It allocates nothing.
func Elements(key, version int16, body []byte) int {
	w := walker{body: body}
	if w.walk(key, version) != nil {
		return 0
	}
	return w.elements
}

// Decode checks the body of a request and decodes it. Strings are copied;
// []byte fields are slices of body. Tagged fields that are not known are
// dropped. Errors are those of Check.
func Decode(key, version int16, body []byte) (kmsg.Request, error) {
	req := kmsg.RequestForKey(key)
	if req == nil || !Known(key, version) {
		return nil, unsupportedVersion(key, version)
	}
	req.SetVersion(version)
	known, err := checked(key, version, body)
	if err != nil {
		return nil, err
	}
	if err := req.ReadFrom(known); err != nil {
		return nil, Errorf(kerr.InvalidRequest, "decode %s v%d: %v", kmsg.NameForKey(key), version, err)
	}
	return req, nil
}

// DecodeInto is Decode into req, whose version is set and whose slices are
// used again. Strings are parts of body too: neither req nor any string of it
// may outlive body.
func DecodeInto(req kmsg.Request, body []byte) error {
	key, version := req.Key(), req.GetVersion()
	known, err := checked(key, version, body)
	if err != nil {
		return err
	}
	read := req.ReadFrom
	if r, ok := req.(kmsg.UnsafeReadFrom); ok {
		read = r.UnsafeReadFrom
	}
	if err := read(known); err != nil {
		return Errorf(kerr.InvalidRequest, "decode %s v%d: %v", kmsg.NameForKey(key), version, err)
	}
	return nil
}

// checked gives a body that passes Check, to the end of its last field and
// without the tagged fields that are not known: kmsg would keep each in a map.
func checked(key, version int16, body []byte) ([]byte, error) {
	w := walker{body: body}
	if err := w.walk(key, version); err != nil {
		return body, err
	}
	body = body[:w.pos]
	if w.unknownTags == 0 {
		return body, nil
	}
	w = walker{body: body, strip: true, out: make([]byte, 0, len(body))}
	err := w.walk(key, version)
	return append(w.out, body[w.copied:]...), err
}

func unsupportedVersion(key, version int16) *Error {
	return Errorf(kerr.UnsupportedVersion, "key %d version %d is not served", key, version)
}

// walker steps through a body along its schema.
type walker struct {
	body        []byte
	pos         int
	flexible    bool
	elements    int
	tags        int
	unknownTags int

	strip  bool   // build out
	out    []byte // body up to copied, without unknown tagged fields
	copied int
	keep   []byte // scratch: the known fields of a tag section

	err *Error
}

func (w *walker) walk(key, version int16) error {
	s := bodySchemas()[keyVersion{key, version}]
	if s == nil {
		return unsupportedVersion(key, version)
	}
	w.flexible = s.flexible
	if ok := w.shape(&s.body); !ok {
		return Errorf(kerr.InvalidRequest, "%s v%d: %s", s.name, version, w.err.Message)
	}
	return nil
}

func (w *walker) fail(name, format string, args ...any) bool {
	if w.err == nil {
		w.err = Errorf(kerr.InvalidRequest, "field %s at byte %d: "+format, append([]any{name, w.pos}, args...)...)
	}
	return false
}

func (w *walker) left() int { return len(w.body) - w.pos }

// skip steps over n bytes.
func (w *walker) skip(name string, n int) bool {
	if n > w.left() {
		return w.fail(name, "%d bytes are needed, %d are left", n, w.left())
	}
	w.pos += n
	return true
}

func (w *walker) shape(s *shape) bool {
	for i := range s.fields {
		if !w.field(&s.fields[i]) {
			return false
		}
	}
	if w.flexible && !s.bare {
		return w.tagSection(s.tagged)
	}
	return true
}

func (w *walker) field(f *field) bool {
	switch f.kind {
	case kindFixed:
		return w.skip(f.name, f.minBytes)
	case kindString:
		return w.blob(f, 2)
	case kindBytes:
		return w.blob(f, 4)
	case kindArray:
		return w.array(f)
	case kindStruct:
		return w.shape(f.elem)
	}
	return w.nullableStruct(f)
}

// blob is a string or bytes, with a length of lengthBytes where not compact.
func (w *walker) blob(f *field, lengthBytes int) bool {
	n, ok := w.length(f.name, lengthBytes)
	if !ok {
		return false
	}
	if n == -1 {
		return f.nullable || w.fail(f.name, "it is null")
	}
	if f.kind == kindString && n > math.MaxInt16 {
		return w.fail(f.name, "a string of %d bytes, of at most %d", n, math.MaxInt16)
	}
	return w.skip(f.name, n)
}

// length reads a length, −1 for null.
func (w *walker) length(name string, lengthBytes int) (int, bool) {
	if w.flexible {
		u, ok := w.uvarint(name)
		if u > math.MaxInt32 {
			return 0, w.fail(name, "length %d is out of range", u)
		}
		return int(u) - 1, ok
	}
	if w.left() < lengthBytes {
		return 0, w.fail(name, "%d bytes are needed, %d are left", lengthBytes, w.left())
	}
	n := int(int16(binary.BigEndian.Uint16(w.body[w.pos:])))
	if lengthBytes == 4 {
		n = int(int32(binary.BigEndian.Uint32(w.body[w.pos:])))
	}
	if n < -1 {
		return 0, w.fail(name, "length %d is negative", n)
	}
	w.pos += lengthBytes
	return n, true
}

// uvarint reads up to five bytes of an unsigned 32 bit number.
func (w *walker) uvarint(name string) (uint32, bool) {
	u, n := uvarint(w.body[w.pos:])
	if n == 0 {
		return 0, w.fail(name, "no number in the %d bytes left", w.left())
	}
	w.pos += n
	return u, true
}

// uvarint gives 0 bytes where b does not begin with a number of 32 bits.
func uvarint(b []byte) (v uint32, n int) {
	for i := range min(len(b), 5) {
		if i == 4 && b[i] > 0x0f {
			return 0, 0
		}
		v |= uint32(b[i]&0x7f) << (7 * i)
		if b[i] < 0x80 {
			return v, i + 1
		}
	}
	return 0, 0
}

func (w *walker) array(f *field) bool {
	n, ok := w.length(f.name, 4)
	if !ok || n <= 0 {
		return ok
	}
	if n > w.left()/f.elem.minBytes {
		return w.fail(f.name, "%d elements of %d bytes at least, %d are left", n, f.elem.minBytes, w.left())
	}
	if w.elements += n; w.elements > maxElements {
		return w.fail(f.name, "more than %d elements in all", maxElements)
	}
	if f.elem.fixed {
		return w.skip(f.name, n*f.elem.minBytes)
	}
	for range n {
		if !w.shape(f.elem) {
			return false
		}
	}
	return true
}

func (w *walker) nullableStruct(f *field) bool {
	if w.left() < 1 {
		return w.fail(f.name, "1 byte is needed, 0 are left")
	}
	present := int8(w.body[w.pos])
	w.pos++
	if present == -1 {
		return true
	}
	return w.shape(f.elem)
}

// tagSection is a struct's tagged fields: their number, and for each its tag,
// its size and its bytes.
func (w *walker) tagSection(known []field) bool {
	start, before := w.pos, w.unknownTags
	n, ok := w.uvarint("tagged fields")
	if !ok || n == 0 {
		return ok
	}
	if uint64(n) > uint64(w.left()/2) {
		return w.fail("tagged fields", "%d of them, %d bytes are left", n, w.left())
	}
	if w.tags += int(n); w.tags > maxTaggedFields {
		return w.fail("tagged fields", "more than %d in all", maxTaggedFields)
	}
	w.keep = w.keep[:0]
	kept := 0
	for range n {
		at := w.pos
		isKnown, ok := w.tagged(known)
		if !ok {
			return false
		}
		if !isKnown {
			w.unknownTags++
		} else if w.strip {
			w.keep = append(w.keep, w.body[at:w.pos]...)
			kept++
		}
	}
	if w.strip && w.unknownTags > before {
		w.out = append(w.out, w.body[w.copied:start]...)
		w.out = binary.AppendUvarint(w.out, uint64(kept))
		w.out = append(w.out, w.keep...)
		w.copied = w.pos
	}
	return true
}

// tagged is one tagged field. One that is known must fill its size, and has no
// unknown ones inside.
func (w *walker) tagged(known []field) (isKnown, ok bool) {
	tag, ok := w.uvarint("tag")
	if !ok {
		return false, false
	}
	size, ok := w.uvarint("tagged field size")
	if !ok || uint64(size) > uint64(w.left()) {
		return false, w.fail("tagged field size", "%d bytes, %d are left", size, w.left())
	}
	end := w.pos + int(size)
	for i := range known {
		if uint32(known[i].tag) == tag {
			return true, w.knownTag(&known[i], end)
		}
	}
	w.pos = end
	return false, true
}

func (w *walker) knownTag(f *field, end int) bool {
	inner := walker{body: w.body[:end], pos: w.pos, flexible: true, elements: w.elements, tags: w.tags}
	if !inner.field(f) {
		w.err = inner.err
		return false
	}
	if inner.pos != end || inner.unknownTags > 0 {
		return w.fail(f.name, "the tagged field has %d bytes more than it takes", end-inner.pos)
	}
	w.pos, w.elements, w.tags = end, inner.elements, inner.tags
	return true
}
