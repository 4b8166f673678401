package coordinator

import (
	"encoding/binary"
	"errors"
	"slices"
	"unicode/utf8"
)

// What classic consumers say to each other, and the coordinator has to
// understand where they share a group with others (the embedded consumer
// protocol). Later versions only add to earlier ones:
//
//	Subscription                               Assignment
//	version    int16                           version    int16
//	topics     [string]                        topics     [topic string, partitions [int32]]
//	user data  bytes, may be null              user data  bytes, may be null
//	owned      [topic string, partitions [int32]]   since 1
//	generation int32                           since 2
//	rack       string, may be null             since 3
const latestEmbedded = 3

// errEmbedded is what is wrong with bytes that are not of the protocol.
var errEmbedded = errors.New("it is not of the consumer protocol")

// subscription is what a classic consumer says of itself.
type subscription struct {
	version int16
	topics  []string // in order, each once
	owned   []namedPartitions
	rack    string
}

// namedPartitions are partitions of a topic by its name.
type namedPartitions struct {
	topic      string
	partitions []int32
}

// parseSubscription reads a subscription.
func parseSubscription(data []byte) (subscription, error) {
	r := embeddedReader{data: data}
	s := subscription{version: r.version()}
	for range r.count(2) {
		s.topics = append(s.topics, r.string())
	}
	r.bytes()
	if s.version >= 1 {
		s.owned = r.partitions()
	}
	if s.version >= 2 {
		r.int32()
	}
	if s.version >= 3 {
		s.rack = r.nullableString()
	}
	slices.Sort(s.topics)
	s.topics = slices.Compact(s.topics)
	return s, r.err
}

// parseAssignment reads an assignment: userData says whether it has some.
func parseAssignment(data []byte) (topics []namedPartitions, userData bool, err error) {
	r := embeddedReader{data: data}
	r.version()
	topics = r.partitions()
	userData = len(r.bytes()) > 0
	return topics, userData, r.err
}

// appendAssignment writes an assignment.
func appendAssignment(dst []byte, version int16, topics []namedPartitions) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(version))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(topics)))
	for _, t := range topics {
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(t.topic)))
		dst = append(dst, t.topic...)
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(t.partitions)))
		for _, p := range t.partitions {
			dst = binary.BigEndian.AppendUint32(dst, uint32(p))
		}
	}
	return append(dst, 0xff, 0xff, 0xff, 0xff) // no user data
}

// embeddedReader reads fields one by one; after an error, nothing more.
type embeddedReader struct {
	data []byte
	err  error
}

func (r *embeddedReader) take(n int) []byte {
	if r.err != nil || n < 0 || n > len(r.data) {
		r.err = errEmbedded
		return nil
	}
	taken := r.data[:n]
	r.data = r.data[n:]
	return taken
}

// version is the lower of what the bytes say and what is known here.
func (r *embeddedReader) version() int16 {
	b := r.take(2)
	if r.err != nil {
		return 0
	}
	v := int16(binary.BigEndian.Uint16(b))
	if v < 0 {
		r.err = errEmbedded
	}
	return min(v, latestEmbedded)
}

func (r *embeddedReader) int32() int32 {
	if b := r.take(4); r.err == nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

// count is the count of an array whose elements take some bytes at least.
func (r *embeddedReader) count(bytes int) int {
	n := int(r.int32())
	if n < 0 || n > len(r.data)/bytes {
		r.err = errEmbedded
		return 0
	}
	return n
}

func (r *embeddedReader) string() string {
	if b := r.take(2); r.err == nil {
		if s := r.take(int(int16(binary.BigEndian.Uint16(b)))); utf8.Valid(s) {
			return string(s)
		}
		r.err = errEmbedded
	}
	return ""
}

func (r *embeddedReader) nullableString() string {
	if len(r.data) >= 2 && r.data[0] == 0xff && r.data[1] == 0xff {
		r.take(2)
		return ""
	}
	return r.string()
}

// bytes are nil where they are null.
func (r *embeddedReader) bytes() []byte {
	n := r.int32()
	if n == -1 {
		return nil
	}
	return r.take(int(n))
}

func (r *embeddedReader) partitions() []namedPartitions {
	list := make([]namedPartitions, 0, r.count(6))
	for range cap(list) {
		t := namedPartitions{topic: r.string()}
		t.partitions = make([]int32, 0, r.count(4))
		for range cap(t.partitions) {
			t.partitions = append(t.partitions, r.int32())
		}
		list = append(list, t)
	}
	return list
}
