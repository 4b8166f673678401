package protocol

import (
	"encoding/binary"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
)

const (
	keyProduce        int16 = 0
	produceMinVersion int16 = 3
	produceMaxVersion int16 = 13
	produceTopicIDs   int16 = 13 // first version with topic ids for names
	produceFlexible   int16 = 9
	produceLeaders    int16 = 10 // first version that names the leader beside an error
)

// ProduceRequest is a Produce request, versions 3 to 13, in place: records are
// slices of the request's body. ParseProduce uses its slices again.
type ProduceRequest struct {
	TransactionalID *string
	Acks            int16 // −1 all, 1 the leader, 0 no answer at all
	TimeoutMillis   int32
	Topics          []ProduceTopic
}

// ProduceTopic is one topic of a ProduceRequest: a name up to version 12, an
// id from 13 on.
type ProduceTopic struct {
	Name       string
	ID         [16]byte
	Partitions []ProducePartition
}

// ProducePartition is what is to be appended to one partition.
type ProducePartition struct {
	Index   int32
	Records []byte // one record batch if the client is right; nil where null
}

// Reset drops what refers to a request's body, and keeps the slices.
func (r *ProduceRequest) Reset() {
	for i := range r.Topics {
		clear(r.Topics[i].Partitions)
		r.Topics[i].Partitions = r.Topics[i].Partitions[:0]
	}
	r.TransactionalID, r.Topics = nil, r.Topics[:0]
}

// ParseProduce reads the body of a Produce request into req. It copies no
// record, and allocates nothing where req was used for the same topics before.
// Errors are those of Check; req is to be used only without one.
func ParseProduce(version int16, body []byte, req *ProduceRequest) error {
	if version < produceMinVersion || version > produceMaxVersion {
		return unsupportedVersion(keyProduce, version)
	}
	return parseProduce(version, body, req)
}

func parseProduce(version int16, body []byte, req *ProduceRequest) error {
	req.Reset()
	p := produceParser{version: version, walker: walker{body: body, flexible: version >= produceFlexible}}
	if p.request(req); p.err != nil {
		return Errorf(kerr.InvalidRequest, "Produce v%d: %s", version, p.err.Message)
	}
	return nil
}

// produceParser reads values with walker's checks; err stops it.
type produceParser struct {
	walker
	version int16
}

func (p *produceParser) request(req *ProduceRequest) {
	if p.version >= 3 {
		if id := p.bytes("transactional_id", 2); id != nil {
			s := string(id)
			req.TransactionalID = &s
		}
	}
	req.Acks = int16(p.uint16("acks"))
	req.TimeoutMillis = int32(p.uint32("timeout_ms"))
	n := p.count("topics", 3)
	req.Topics = slices.Grow(req.Topics, n)
	for range n {
		if p.err != nil {
			return
		}
		p.topic(req.nextTopic())
	}
	p.skipTags()
}

// nextTopic makes Topics longer by one, for which there is room: one that keeps
// what an earlier request left in it.
func (r *ProduceRequest) nextTopic() *ProduceTopic {
	r.Topics = r.Topics[:len(r.Topics)+1]
	return &r.Topics[len(r.Topics)-1]
}

func (p *produceParser) topic(t *ProduceTopic) {
	if p.version >= produceTopicIDs {
		at := p.pos
		if !p.skip("topic_id", 16) {
			return
		}
		t.Name, t.ID = "", [16]byte(p.body[at:])
	} else {
		name := p.bytes("name", 2)
		if p.err == nil && name == nil {
			p.fail("name", "it is null")
		}
		if t.ID = [16]byte{}; t.Name != string(name) {
			t.Name = string(name)
		}
	}
	t.Partitions = t.Partitions[:0]
	n := p.count("partitions", 6)
	t.Partitions = slices.Grow(t.Partitions, n)
	for range n {
		if p.err != nil {
			return
		}
		index := int32(p.uint32("index"))
		t.Partitions = append(t.Partitions, ProducePartition{Index: index, Records: p.bytes("records", 4)})
		p.skipTags()
	}
	p.skipTags()
}

func (p *produceParser) uint16(name string) uint16 {
	at := p.pos
	if p.err != nil || !p.skip(name, 2) {
		return 0
	}
	return binary.BigEndian.Uint16(p.body[at:])
}

func (p *produceParser) uint32(name string) uint32 {
	at := p.pos
	if p.err != nil || !p.skip(name, 4) {
		return 0
	}
	return binary.BigEndian.Uint32(p.body[at:])
}

// bytes is a nullable string or bytes, nil where null.
func (p *produceParser) bytes(name string, lengthBytes int) []byte {
	if p.err != nil {
		return nil
	}
	n, ok := p.length(name, lengthBytes)
	at := p.pos
	if !ok || n < 0 || !p.skip(name, n) {
		return nil
	}
	return p.body[at:p.pos:p.pos]
}

// count is the length of an array whose elements take minBytes at least.
func (p *produceParser) count(name string, minBytes int) int {
	if p.err != nil {
		return 0
	}
	n, ok := p.length(name, 4)
	if !ok || n < 0 {
		return 0
	}
	if p.elements += n; n > p.left()/minBytes || p.elements > maxElements {
		p.fail(name, "%d elements, %d bytes are left", n, p.left())
		return 0
	}
	return n
}

func (p *produceParser) skipTags() {
	if p.err == nil && p.flexible {
		p.tagSection(nil)
	}
}
