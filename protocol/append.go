package protocol

import "encoding/binary"

// appender appends values in the form that a version of a message has them.
type appender struct {
	b        []byte
	flexible bool
}

func (a *appender) int16(v int16)   { a.b = binary.BigEndian.AppendUint16(a.b, uint16(v)) }
func (a *appender) int32(v int32)   { a.b = binary.BigEndian.AppendUint32(a.b, uint32(v)) }
func (a *appender) int64(v int64)   { a.b = binary.BigEndian.AppendUint64(a.b, uint64(v)) }
func (a *appender) uuid(v [16]byte) { a.b = append(a.b, v[:]...) }
func (a *appender) uvarint(v int)   { a.b = binary.AppendUvarint(a.b, uint64(v)) }

// count is the length of an array or bytes that are not null.
func (a *appender) count(n int) {
	if a.flexible {
		a.uvarint(n + 1)
		return
	}
	a.int32(int32(n))
}

func (a *appender) nullCount() {
	if a.flexible {
		a.uvarint(0)
		return
	}
	a.int32(-1)
}

func (a *appender) string(s string) {
	if a.flexible {
		a.uvarint(len(s) + 1)
	} else {
		a.int16(int16(len(s)))
	}
	a.b = append(a.b, s...)
}

// nullableString writes "" as null.
func (a *appender) nullableString(s string) {
	switch {
	case s != "":
		a.string(s)
	case a.flexible:
		a.uvarint(0)
	default:
		a.int16(-1)
	}
}

// noTags ends a struct without tagged fields.
func (a *appender) noTags() {
	if a.flexible {
		a.uvarint(0)
	}
}

// tag begins a tagged field of that size, tags included.
func (a *appender) tag(tag, sizeBytes int) {
	a.uvarint(tag)
	a.uvarint(sizeBytes)
}

// CurrentLeader is the leader that answers where a client is to go instead
// (KIP-951).
type CurrentLeader struct {
	ID    int32
	Epoch int32
}

// NodeEndpoint says where a node listens, beside the leaders that name it
// (KIP-951). An empty Rack is null.
type NodeEndpoint struct {
	ID   int32
	Host string
	Port int32
	Rack string
}

// currentLeader is tagged field tag.
func (a *appender) currentLeader(tag int, l *CurrentLeader) {
	a.tag(tag, 9)
	a.int32(l.ID)
	a.int32(l.Epoch)
	a.noTags()
}

// nodeEndpoints ends a response with tagged field 0, or with none.
func (a *appender) nodeEndpoints(endpoints []NodeEndpoint) {
	if len(endpoints) == 0 {
		a.noTags()
		return
	}
	inner := appender{flexible: true}
	inner.count(len(endpoints))
	for _, e := range endpoints {
		inner.int32(e.ID)
		inner.string(e.Host)
		inner.int32(e.Port)
		inner.nullableString(e.Rack)
		inner.noTags()
	}
	a.uvarint(1)
	a.tag(0, len(inner.b))
	a.b = append(a.b, inner.b...)
}

// maxStringBytes is the longest string that every version can carry.
const maxStringBytes = 1<<15 - 1

// clip shortens a text for a client to what a string can carry.
func clip(s string) string {
	return s[:min(len(s), maxStringBytes)]
}
