package protocol

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// randomFetch draws a response and the records that belong into it, by tag.
func randomFetch(r *rand.Rand) (*FetchResponse, [][]byte) {
	var records [][]byte
	maybe := func() bool { return r.IntN(3) == 0 }
	resp := &FetchResponse{ThrottleMillis: r.Int32(), Code: int16(r.IntN(100)), SessionID: r.Int32()}
	for range r.IntN(4) {
		topic := FetchTopic{Name: string(randomBytes(r, 9)), ID: [16]byte{byte(r.IntN(256)), 7}}
		for range r.IntN(4) {
			p := FetchPartition{
				Index: r.Int32(), Code: int16(r.IntN(100)), HighWatermark: r.Int64(), LastStableOffset: r.Int64(), LogStartOffset: -1,
			}
			if maybe() {
				p.Aborted = []AbortedTransaction{}
				for range r.IntN(3) {
					p.Aborted = append(p.Aborted, AbortedTransaction{r.Int64(), r.Int64()})
				}
			}
			if maybe() {
				p.PreferredReadReplica = new(int32)
			}
			if maybe() {
				p.DivergingEpoch = &EpochEnd{r.Int32(), r.Int64()}
			}
			if maybe() {
				p.CurrentLeader = &CurrentLeader{r.Int32(), r.Int32()}
			}
			if maybe() {
				p.SnapshotID = &EpochEnd{r.Int32(), r.Int64()}
			}
			if b := randomBytes(r, 300); len(b) > 0 && !maybe() {
				p.RecordBytes, p.Tag = len(b), len(records)
				records = append(records, b)
			}
			topic.Partitions = append(topic.Partitions, p)
		}
		resp.Topics = append(resp.Topics, topic)
	}
	for range r.IntN(3) {
		resp.Endpoints = append(resp.Endpoints, NodeEndpoint{r.Int32(), string(randomBytes(r, 9)), r.Int32(), string(randomBytes(r, 2))})
	}
	return resp, records
}

// kmsgFetch is what kmsg is to read of r at that version.
func kmsgFetch(r *FetchResponse, records [][]byte, version int16) *kmsg.FetchResponse {
	want := kmsg.NewPtrFetchResponse()
	want.Version, want.ThrottleMillis = version, r.ThrottleMillis
	if version >= 7 {
		want.ErrorCode, want.SessionID = r.Code, r.SessionID
	}
	for _, topic := range r.Topics {
		wt := kmsg.NewFetchResponseTopic()
		if wt.Topic = topic.Name; version >= 13 {
			wt.Topic, wt.TopicID = "", topic.ID
		}
		for i := range topic.Partitions {
			wt.Partitions = append(wt.Partitions, kmsgFetchPartition(&topic.Partitions[i], records, version))
		}
		want.Topics = append(want.Topics, wt)
	}
	if version >= 16 {
		for _, e := range r.Endpoints {
			wb := kmsg.NewFetchResponseBroker()
			wb.NodeID, wb.Host, wb.Port = e.ID, e.Host, e.Port
			if e.Rack != "" {
				wb.Rack = &e.Rack
			}
			want.Brokers = append(want.Brokers, wb)
		}
	}
	return want
}

func kmsgFetchPartition(p *FetchPartition, records [][]byte, version int16) kmsg.FetchResponseTopicPartition {
	wp := kmsg.NewFetchResponseTopicPartition()
	wp.Partition, wp.ErrorCode, wp.HighWatermark, wp.LastStableOffset = p.Index, p.Code, p.HighWatermark, p.LastStableOffset
	if version >= 5 {
		wp.LogStartOffset = p.LogStartOffset
	}
	if p.Aborted != nil {
		wp.AbortedTransactions = []kmsg.FetchResponseTopicPartitionAbortedTransaction{}
	}
	for _, a := range p.Aborted {
		wa := kmsg.NewFetchResponseTopicPartitionAbortedTransaction()
		wa.ProducerID, wa.FirstOffset = a.ProducerID, a.FirstOffset
		wp.AbortedTransactions = append(wp.AbortedTransactions, wa)
	}
	if version >= 11 && p.PreferredReadReplica != nil {
		wp.PreferredReadReplica = *p.PreferredReadReplica
	}
	if version >= 12 {
		if d := p.DivergingEpoch; d != nil {
			wp.DivergingEpoch.Epoch, wp.DivergingEpoch.EndOffset = d.Epoch, d.EndOffset
		}
		if l := p.CurrentLeader; l != nil {
			wp.CurrentLeader.LeaderID, wp.CurrentLeader.LeaderEpoch = l.ID, l.Epoch
		}
		if s := p.SnapshotID; s != nil {
			wp.SnapshotID.Epoch, wp.SnapshotID.EndOffset = s.Epoch, s.EndOffset
		}
	}
	if wp.RecordBatches = []byte{}; p.RecordBytes > 0 {
		wp.RecordBatches = records[p.Tag]
	}
	return wp
}

func TestFetchResponsesReadAsKmsgReadsThem(t *testing.T) {
	const seed = 6
	r := rand.New(rand.NewPCG(seed, seed))
	var e FetchEncoder // used again and again
	for version := fetchMinVersion; version <= fetchMaxVersion; version++ {
		for range 100 {
			in, records := randomFetch(r)
			h := Header{Key: keyFetch, Version: version, CorrelationID: r.Int32()}
			chunks, size, err := e.Encode(h, in)
			if err != nil {
				t.Fatal(err)
			}
			frame := assemble(t, chunks, records)
			if len(frame) != size {
				t.Fatalf("seed %d: v%d: %d bytes, announced %d", seed, version, len(frame), size)
			}
			got := kmsg.NewPtrFetchResponse()
			got.Version = version
			readResponse(t, frame, h, got)
			if want := kmsgFetch(in, records, version); !reflect.DeepEqual(got, want) {
				t.Fatalf("seed %d: v%d: got %+v\nwant %+v", seed, version, got, want)
			}
		}
	}
	for _, version := range []int16{3, 19} {
		if _, _, err := e.Encode(Header{Version: version}, &FetchResponse{}); !errors.Is(err, kerr.UnsupportedVersion) {
			t.Errorf("v%d: %v", version, err)
		}
	}
}

// assemble puts the records where the chunks want them, each once.
func assemble(t *testing.T, chunks []Chunk, records [][]byte) []byte {
	t.Helper()
	var frame bytes.Buffer
	next := 0
	for _, c := range chunks {
		if (c.RecordBytes > 0) == (len(c.Bytes) > 0) {
			t.Fatalf("chunk %+v is not either", c)
		}
		if c.RecordBytes == 0 {
			frame.Write(c.Bytes)
			continue
		}
		if c.Tag != next || c.RecordBytes != len(records[c.Tag]) {
			t.Fatalf("records %d of %d bytes, want %d of %d", c.Tag, c.RecordBytes, next, len(records[c.Tag]))
		}
		frame.Write(records[c.Tag])
		next++
	}
	if next != len(records) {
		t.Fatalf("%d of %d record ranges are placed", next, len(records))
	}
	return frame.Bytes()
}

func TestFetchResponsesThatNoFrameCanHold(t *testing.T) {
	var e FetchEncoder
	partitions := []FetchPartition{{RecordBytes: math.MaxInt32 - 100}, {RecordBytes: 100}}
	_, _, err := e.Encode(Header{Version: 12}, &FetchResponse{Topics: []FetchTopic{{Partitions: partitions}}})
	if !errors.Is(err, kerr.UnknownServerError) {
		t.Fatal(err)
	}
}

func benchFetchResponse(partitions int) *FetchResponse {
	topic := FetchTopic{Name: "a topic", Partitions: make([]FetchPartition, partitions)}
	for i := range topic.Partitions {
		topic.Partitions[i].RecordBytes, topic.Partitions[i].Tag = 1<<20, i
	}
	return &FetchResponse{Topics: []FetchTopic{topic}}
}

func TestFetchEncoderAllocatesNothingOnceGrown(t *testing.T) {
	in := benchFetchResponse(20)
	var e FetchEncoder
	if n := testing.AllocsPerRun(20, func() {
		if _, _, err := e.Encode(Header{Version: 12}, in); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkFetchEncoder(b *testing.B) {
	for _, partitions := range []int{1, 8, 100} {
		b.Run(fmt.Sprintf("version=13/partitions=%d", partitions), func(b *testing.B) {
			in := benchFetchResponse(partitions)
			var e FetchEncoder
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := e.Encode(Header{Version: 13}, in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
