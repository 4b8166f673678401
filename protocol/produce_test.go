package protocol

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// assertProduce compares what ParseProduce read with what kmsg did.
func assertProduce(t *testing.T, got *ProduceRequest, want *kmsg.ProduceRequest) {
	t.Helper()
	if !reflect.DeepEqual(got.TransactionalID, want.TransactionID) || got.Acks != want.Acks ||
		got.TimeoutMillis != want.TimeoutMillis || len(got.Topics) != len(want.Topics) {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	for i, wt := range want.Topics {
		gt := got.Topics[i]
		if gt.Name != wt.Topic || gt.ID != wt.TopicID || len(gt.Partitions) != len(wt.Partitions) {
			t.Fatalf("topic %d: got %+v, want %+v", i, gt, wt)
		}
		for j, wp := range wt.Partitions {
			gp := gt.Partitions[j]
			if gp.Index != wp.Partition || !bytes.Equal(gp.Records, wp.Records) || (gp.Records == nil) != (wp.Records == nil) {
				t.Fatalf("partition %d: got %+v, want %+v", j, gp, wp)
			}
		}
	}
}

func TestParseProduceReadsWhatKmsgWrites(t *testing.T) {
	const seed = 5
	r := rand.New(rand.NewPCG(seed, seed))
	var got ProduceRequest // used again and again
	for version := produceMinVersion; version <= produceMaxVersion; version++ {
		for range 50 {
			body := randomRequest(r, keyProduce, version, version >= produceFlexible).AppendTo(nil)
			if err := ParseProduce(version, body, &got); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			want := kmsg.NewPtrProduceRequest()
			want.Version = version
			if err := want.ReadFrom(body); err != nil {
				t.Fatal(err)
			}
			assertProduce(t, &got, want)
			for n := range body {
				if err := ParseProduce(version, body[:n:n], &got); !errors.Is(err, kerr.InvalidRequest) {
					t.Fatalf("seed %d: v%d: the first %d bytes of %d give %v", seed, version, n, len(body), err)
				}
			}
			if err := ParseProduce(version, append(body, 0), &got); err != nil {
				t.Fatalf("seed %d: v%d: a byte more gives %v", seed, version, err)
			}
		}
	}
	for _, version := range []int16{-1, 2, 14} {
		if err := ParseProduce(version, nil, &got); !errors.Is(err, kerr.UnsupportedVersion) {
			t.Errorf("v%d: %v", version, err)
		}
	}
}

func TestParseProduceAllocatesNothingForTheSameTopics(t *testing.T) {
	for _, version := range []int16{3, 12, 13} {
		body := benchProduce(version, 3, 10, 100)
		var req ProduceRequest
		if n := testing.AllocsPerRun(20, func() {
			if err := ParseProduce(version, body, &req); err != nil {
				t.Error(err)
			}
			req.Reset()
		}); n != 0 {
			t.Errorf("v%d: %v allocations", version, n)
		}
	}
}

func FuzzParseProduce(f *testing.F) {
	for version := produceMinVersion; version <= produceMaxVersion; version++ {
		f.Add(uint8(version), benchProduce(version, 2, 2, 10))
	}
	f.Fuzz(func(t *testing.T, version uint8, body []byte) {
		v := produceMinVersion + int16(version)%(produceMaxVersion-produceMinVersion+1)
		checkErr := Check(keyProduce, v, body)
		var req ProduceRequest
		var used uint64
		for range 3 { // other goroutines of the test allocate too: the least counts
			req = ProduceRequest{}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := ParseProduce(v, body, &req)
			runtime.ReadMemStats(&after)
			if (err == nil) != (checkErr == nil) {
				t.Fatalf("Check says %v, ParseProduce %v", checkErr, err)
			}
			if used = after.TotalAlloc - before.TotalAlloc; used <= uint64(40*len(body)+4096) {
				break
			}
		}
		if used > uint64(40*len(body)+4096) {
			t.Fatalf("v%d: %d bytes take %d of memory", v, len(body), used)
		}
		if checkErr != nil {
			return
		}
		want := kmsg.NewPtrProduceRequest()
		want.Version = v
		if err := want.ReadFrom(body); err != nil {
			t.Fatal(err)
		}
		assertProduce(t, &req, want)
	})
}

// produceResponse has one of everything.
func produceResponse() *ProduceResponse {
	return &ProduceResponse{
		ThrottleMillis: 77,
		Topics: []ProduceResponseTopic{{
			Name: "topic", ID: [16]byte{1, 2, 3},
			Partitions: []ProduceResponsePartition{
				{Index: 1, BaseOffset: 1 << 40, LogAppendTime: 123, LogStartOffset: 17},
				{
					Index: 2, Code: 87, Message: "bad batch", BaseOffset: -1, LogAppendTime: -1, LogStartOffset: -1,
					RecordErrors: []RecordError{{BatchIndex: 3, Message: "no key"}, {BatchIndex: 4}},
				},
				{Index: 3, Code: 6, BaseOffset: -1, LogAppendTime: -1, LogStartOffset: -1, CurrentLeader: &CurrentLeader{ID: 0, Epoch: 9}},
			},
		}, {Name: "empty"}},
		Endpoints: []NodeEndpoint{{ID: 0, Host: "host", Port: 9092, Rack: "rack"}, {ID: 4, Host: "other", Port: 1}},
	}
}

func TestProduceResponsesReadAsKmsgReadsThem(t *testing.T) {
	in := produceResponse()
	for version := int16(0); version <= produceMaxVersion; version++ {
		h := Header{Key: keyProduce, Version: version, CorrelationID: 55}
		frame, err := AppendProduceResponse([]byte("before"), h, in)
		if err != nil {
			t.Fatal(err)
		}
		resp := kmsg.NewPtrProduceResponse()
		resp.Version = version
		readResponse(t, frame[6:], h, resp)
		want := kmsg.NewPtrProduceResponse()
		want.Version = version
		fillProduceResponse(want, in, version)
		if !reflect.DeepEqual(resp, want) {
			t.Errorf("v%d: got %+v\nwant %+v", version, resp, want)
		}
		if body := frame[6+headerBytes(h):]; !bytes.Equal(body, want.AppendTo(nil)) {
			t.Errorf("v%d: bytes differ from kmsg's", version)
		}
	}
	if _, err := AppendProduceResponse(nil, Header{Version: 14}, in); !errors.Is(err, kerr.UnsupportedVersion) {
		t.Errorf("v14: %v", err)
	}
}

// headerBytes is the size of size and header before a response.
func headerBytes(h Header) int { return len(beginFrame(nil, h)) }

// readResponse checks size and correlation id and lets kmsg read the rest.
func readResponse(t *testing.T, frame []byte, h Header, resp kmsg.Response) {
	t.Helper()
	if size := binary.BigEndian.Uint32(frame); int(size) != len(frame)-SizeBytes {
		t.Fatalf("v%d: size %d of a frame of %d", h.Version, size, len(frame))
	}
	if id := int32(binary.BigEndian.Uint32(frame[4:])); id != h.CorrelationID {
		t.Fatalf("v%d: correlation id %d", h.Version, id)
	}
	if err := resp.ReadFrom(frame[headerBytes(h):]); err != nil {
		t.Fatalf("v%d: %v", h.Version, err)
	}
}

// fillProduceResponse is what kmsg is to read of r at that version.
func fillProduceResponse(want *kmsg.ProduceResponse, r *ProduceResponse, version int16) {
	text := func(s string) *string {
		if s == "" {
			return nil
		}
		return &s
	}
	if version >= 1 {
		want.ThrottleMillis = r.ThrottleMillis
	}
	for _, topic := range r.Topics {
		wt := kmsg.NewProduceResponseTopic()
		if wt.Topic = topic.Name; version >= 13 {
			wt.Topic, wt.TopicID = "", topic.ID
		}
		for _, p := range topic.Partitions {
			wp := kmsg.NewProduceResponseTopicPartition()
			wp.Partition, wp.ErrorCode, wp.BaseOffset = p.Index, p.Code, p.BaseOffset
			if version >= 2 {
				wp.LogAppendTime = p.LogAppendTime
			}
			if version >= 5 {
				wp.LogStartOffset = p.LogStartOffset
			}
			if version >= 8 {
				for _, e := range p.RecordErrors {
					we := kmsg.NewProduceResponseTopicPartitionErrorRecord()
					we.RelativeOffset, we.ErrorMessage = e.BatchIndex, text(e.Message)
					wp.ErrorRecords = append(wp.ErrorRecords, we)
				}
				wp.ErrorMessage = text(p.Message)
			}
			if version >= 10 && p.CurrentLeader != nil {
				wp.CurrentLeader.LeaderID, wp.CurrentLeader.LeaderEpoch = p.CurrentLeader.ID, p.CurrentLeader.Epoch
			}
			wt.Partitions = append(wt.Partitions, wp)
		}
		want.Topics = append(want.Topics, wt)
	}
	if version >= 10 {
		for _, e := range r.Endpoints {
			wb := kmsg.NewProduceResponseBroker()
			wb.NodeID, wb.Host, wb.Port, wb.Rack = e.ID, e.Host, e.Port, text(e.Rack)
			want.Brokers = append(want.Brokers, wb)
		}
	}
}

func TestOldProduceRequestsAreRefusedInTheirOwnShape(t *testing.T) {
	for version := int16(0); version < produceMinVersion; version++ {
		req := kmsg.NewPtrProduceRequest()
		req.Version, req.Acks = version, 1
		topic := kmsg.NewProduceRequestTopic()
		topic.Topic = "old"
		topic.Partitions = append(topic.Partitions, kmsg.ProduceRequestTopicPartition{Partition: 6, Records: []byte("message set")})
		req.Topics = append(req.Topics, topic)
		h, body, err := ParseRequestHeader(frameOf(req, 3, "old client"))
		if err != nil {
			t.Fatal(err)
		}
		frame, answer, err := AppendUnsupportedProduce(nil, h, body)
		if err != nil || !answer {
			t.Fatal(answer, err)
		}
		resp := kmsg.NewPtrProduceResponse()
		resp.Version = version
		readResponse(t, frame, h, resp)
		if p := resp.Topics[0].Partitions[0]; resp.Topics[0].Topic != "old" || p.Partition != 6 || p.ErrorCode != 35 || p.BaseOffset != -1 {
			t.Errorf("v%d: %+v", version, resp)
		}
		req.Acks = 0
		if frame, answer, err := AppendUnsupportedProduce(nil, h, req.AppendTo(nil)); len(frame) > 0 || answer || err != nil {
			t.Errorf("v%d with acks=0: %x, %v, %v", version, frame, answer, err)
		}
		if _, _, err := AppendUnsupportedProduce(nil, h, body[:len(body)-1]); !errors.Is(err, kerr.InvalidRequest) {
			t.Errorf("v%d cut: %v", version, err)
		}
	}
	if _, _, err := AppendUnsupportedProduce(nil, Header{Version: 3}, nil); !errors.Is(err, kerr.UnsupportedVersion) {
		t.Errorf("v3: %v", err)
	}
}

// benchProduce is a request's body.
func benchProduce(version int16, topics, partitions, recordBytes int) []byte {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks = version, -1
	for i := range topics {
		topic := kmsg.NewProduceRequestTopic()
		topic.Topic = fmt.Sprintf("a topic %d", i)
		topic.TopicID[0] = byte(i + 1)
		for j := range partitions {
			topic.Partitions = append(topic.Partitions, kmsg.ProduceRequestTopicPartition{
				Partition: int32(j), Records: make([]byte, recordBytes),
			})
		}
		req.Topics = append(req.Topics, topic)
	}
	return req.AppendTo(nil)
}

func BenchmarkParseProduce(b *testing.B) {
	for _, version := range []int16{7, 12, 13} {
		b.Run(fmt.Sprintf("version=%d/partitions=8/batchBytes=16384", version), func(b *testing.B) {
			body := benchProduce(version, 1, 8, 16<<10)
			var req ProduceRequest
			b.ReportAllocs()
			for b.Loop() {
				if err := ParseProduce(version, body, &req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAppendProduceResponse(b *testing.B) {
	resp := &ProduceResponse{Topics: []ProduceResponseTopic{{Name: "a topic", Partitions: make([]ProduceResponsePartition, 8)}}}
	for _, version := range []int16{7, 12} {
		b.Run(fmt.Sprintf("version=%d/partitions=8", version), func(b *testing.B) {
			var buf []byte
			var err error
			b.ReportAllocs()
			for b.Loop() {
				if buf, err = AppendProduceResponse(buf[:0], Header{Version: version}, resp); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
