package protocol

import (
	"encoding/binary"
	"math"

	"github.com/twmb/franz-go/pkg/kerr"
)

const (
	keyFetch         int16 = 1
	fetchMinVersion  int16 = 4
	fetchMaxVersion  int16 = 18
	fetchSessions    int16 = 7  // first version with an error code and a session
	fetchFlexible    int16 = 12 // first version with tagged fields: epochs and leaders
	fetchTopicIDs    int16 = 13
	fetchEndpoints   int16 = 16
	fetchReadReplica int16 = 11
)

// FetchResponse answers a Fetch request. Its records are elsewhere: each
// partition says how many bytes of them there are.
type FetchResponse struct {
	ThrottleMillis int32
	Code           int16 // of the whole request; from version 7 on
	SessionID      int32 // 0: none; from version 7 on
	Topics         []FetchTopic
	Endpoints      []NodeEndpoint // of the leaders named; from version 16 on
}

// FetchTopic is named as the request did: by Name up to version 12, by ID from
// 13 on.
type FetchTopic struct {
	Name       string
	ID         [16]byte
	Partitions []FetchPartition
}

// FetchPartition is one partition of a FetchResponse. Fields that a version
// does not have are left out.
type FetchPartition struct {
	Index            int32
	Code             int16 // error code, 0 for none
	HighWatermark    int64 // −1 if not known
	LastStableOffset int64 // −1 if not known
	LogStartOffset   int64 // −1 if not known; from version 5 on
	// Aborted lists the aborted transactions that records may be part of; nil is
	// null, which is what read_uncommitted gets.
	Aborted              []AbortedTransaction
	PreferredReadReplica *int32         // nil: none; from version 11 on
	DivergingEpoch       *EpochEnd      // nil: none; from version 12 on
	CurrentLeader        *CurrentLeader // nil: not said; from version 12 on
	SnapshotID           *EpochEnd      // nil: none; from version 12 on

	// RecordBytes is the size of the partition's records, 0 for none. They take
	// their place in the frame as a Chunk with this Tag.
	RecordBytes int
	Tag         int
}

// AbortedTransaction is a transaction that readers of committed records skip.
type AbortedTransaction struct {
	ProducerID  int64
	FirstOffset int64
}

// EpochEnd is a leader epoch and the offset at which it ends.
type EpochEnd struct {
	Epoch     int32
	EndOffset int64
}

// Chunk is a part of a response: Bytes, or, where RecordBytes is above 0, that
// many bytes of records which the caller puts there, of the partition with Tag.
type Chunk struct {
	Bytes       []byte
	Tag         int
	RecordBytes int
}

// FetchEncoder lays out Fetch responses, versions 4 to 18, around records that
// are sent from where they are. It uses its memory again: its chunks are valid
// until the next call.
type FetchEncoder struct {
	a      appender
	cuts   []cut
	chunks []Chunk
}

// cut is a place in the bytes at which records go.
type cut struct {
	at, tag, recordBytes int
}

// Encode gives the frame that answers the request of header h as chunks, which
// are to be sent in their order, and its size in bytes, records and size
// prefix included.
func (e *FetchEncoder) Encode(h Header, r *FetchResponse) (chunks []Chunk, frameBytes int, err error) {
	if h.Version < fetchMinVersion || h.Version > fetchMaxVersion {
		return nil, 0, unsupportedVersion(keyFetch, h.Version)
	}
	h.Key = keyFetch
	e.a = appender{b: beginFrame(e.a.b[:0], h), flexible: h.Version >= fetchFlexible}
	e.cuts = e.cuts[:0]
	e.response(h.Version, r)
	frameBytes = len(e.a.b)
	for _, c := range e.cuts {
		frameBytes += c.recordBytes
	}
	if frameBytes-SizeBytes > math.MaxInt32 {
		return nil, 0, Errorf(kerr.UnknownServerError, "fetch response of %d bytes is larger than a frame", frameBytes)
	}
	binary.BigEndian.PutUint32(e.a.b, uint32(frameBytes-SizeBytes))
	return e.cutUp(), frameBytes, nil
}

// cutUp slices the bytes, which do not move any more, at the cuts.
func (e *FetchEncoder) cutUp() []Chunk {
	clear(e.chunks)
	e.chunks = e.chunks[:0]
	from := 0
	for _, c := range e.cuts {
		e.chunks = append(e.chunks, Chunk{Bytes: e.a.b[from:c.at:c.at], Tag: -1},
			Chunk{Tag: c.tag, RecordBytes: c.recordBytes})
		from = c.at
	}
	if from < len(e.a.b) {
		e.chunks = append(e.chunks, Chunk{Bytes: e.a.b[from:], Tag: -1})
	}
	return e.chunks
}

func (e *FetchEncoder) response(version int16, r *FetchResponse) {
	a := &e.a
	a.int32(r.ThrottleMillis)
	if version >= fetchSessions {
		a.int16(r.Code)
		a.int32(r.SessionID)
	}
	a.count(len(r.Topics))
	for i := range r.Topics {
		t := &r.Topics[i]
		if version >= fetchTopicIDs {
			a.uuid(t.ID)
		} else {
			a.string(t.Name)
		}
		a.count(len(t.Partitions))
		for j := range t.Partitions {
			e.partition(version, &t.Partitions[j])
		}
		a.noTags()
	}
	if version >= fetchEndpoints {
		a.nodeEndpoints(r.Endpoints)
	} else {
		a.noTags()
	}
}

func (e *FetchEncoder) partition(version int16, p *FetchPartition) {
	a := &e.a
	a.int32(p.Index)
	a.int16(p.Code)
	a.int64(p.HighWatermark)
	a.int64(p.LastStableOffset)
	if version >= 5 {
		a.int64(p.LogStartOffset)
	}
	e.aborted(p.Aborted)
	if version >= fetchReadReplica {
		replica := int32(-1)
		if p.PreferredReadReplica != nil {
			replica = *p.PreferredReadReplica
		}
		a.int32(replica)
	}
	a.count(p.RecordBytes)
	if p.RecordBytes > 0 {
		e.cuts = append(e.cuts, cut{len(a.b), p.Tag, p.RecordBytes})
	}
	if version >= fetchFlexible {
		a.fetchTags(p)
	}
}

func (e *FetchEncoder) aborted(aborted []AbortedTransaction) {
	if aborted == nil {
		e.a.nullCount()
		return
	}
	e.a.count(len(aborted))
	for _, t := range aborted {
		e.a.int64(t.ProducerID)
		e.a.int64(t.FirstOffset)
		e.a.noTags()
	}
}

// fetchTags are a partition's tagged fields, in the order of their tags.
func (a *appender) fetchTags(p *FetchPartition) {
	n := 0
	for _, present := range [...]bool{p.DivergingEpoch != nil, p.CurrentLeader != nil, p.SnapshotID != nil} {
		if present {
			n++
		}
	}
	a.uvarint(n)
	if d := p.DivergingEpoch; d != nil {
		a.tag(0, 13)
		a.int32(d.Epoch)
		a.int64(d.EndOffset)
		a.noTags()
	}
	if p.CurrentLeader != nil {
		a.currentLeader(1, p.CurrentLeader)
	}
	if s := p.SnapshotID; s != nil {
		a.tag(2, 13)
		a.int64(s.EndOffset)
		a.int32(s.Epoch)
		a.noTags()
	}
}
