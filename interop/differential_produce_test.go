package interop

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// batchesOf makes a partition's bytes for one of the brokers: producer ids are
// the broker's own.
type batchesOf func(s *side) []byte

func simple(values ...string) batchesOf { return made(batch{values: values}) }

// made is the batches, one after the other.
func made(batches ...batch) batchesOf {
	return func(*side) []byte {
		var out []byte
		for _, b := range batches {
			out = append(out, b.bytes()...)
		}
		return out
	}
}

func (s *side) produceRequest(acks int16, topic string, partition int32, records batchesOf) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = acks, 10_000
	t := kmsg.NewProduceRequestTopic()
	t.Topic, t.TopicID = topic, s.ids[topic]
	part := kmsg.NewProduceRequestTopicPartition()
	part.Partition, part.Records = partition, records(s)
	t.Partitions = append(t.Partitions, part)
	req.Topics = append(req.Topics, t)
	return req
}

// produce sends a batch and compares what is answered.
func (p *pair) produce(label string, version, acks int16, topic string, partition int32, records batchesOf) {
	p.t.Helper()
	if acks != 0 {
		p.ask(label, version, func(s *side) kmsg.Request { return s.produceRequest(acks, topic, partition, records) })
		return
	}
	// There is no answer: the next request tells whether the connection lives.
	p.do(label, version, func(s *side) (kmsg.Response, error) {
		req := s.produceRequest(acks, topic, partition, records)
		req.Version = version
		if err := s.wire.send(req); err != nil {
			return nil, err
		}
		defer s.wire.close() // a broker may close it later
		meta := metadataRequest(false)
		meta.Version = 1
		return s.wire.ask(meta)
	}, false)
}

// contents compares everything that is in a partition.
func (p *pair) contents(label, topic string, partition int32) {
	p.t.Helper()
	p.ask(label, 7, func(*side) kmsg.Request { return listOffsetsRequest(7, topic, partition, -1, -1) })
	p.ask(label, 12, func(s *side) kmsg.Request { return s.fetchRequest(12, fetchPart{topic: topic, partition: partition}) })
}

func produceArea(p *pair) {
	p.topic("pr", 3, "retention.ms=-1")
	long := strings.Repeat("all work and no play ", 40)
	for v := int16(3); v <= 13; v++ {
		for codec, name := range codecNames {
			b := made(batch{values: []string{"first", long, ""}, times: []int64{longAgo + int64(v), longAgo + 3, longAgo}, codec: codec, headers: v%2 == 0})
			p.produce(name, v, -1, "pr", 0, b)
			p.produce(name+", acks 1", v, 1, "pr", 1, b)
			if codec < 4 || v >= 7 {
				p.produce(name+", acks 0", v, 0, "pr", 2, b)
			}
		}
	}
	for part := range int32(3) {
		p.contents(fmt.Sprintf("read partition %d", part), "pr", part)
	}
	p.each("several partitions", 3, 13, func(s *side, _ int16) kmsg.Request {
		req := s.produceRequest(-1, "pr", 0, simple("a"))
		req.Topics[0].Partitions = append(req.Topics[0].Partitions,
			kmsg.ProduceRequestTopicPartition{Partition: 1, Records: simple("b", "c")(s)},
			kmsg.ProduceRequestTopicPartition{Partition: 9, Records: simple("d")(s)})
		return req
	})
	p.each("nothing", 3, 13, func(*side, int16) kmsg.Request {
		req := kmsg.NewPtrProduceRequest()
		req.Acks, req.TimeoutMillis = -1, 1000
		return req
	})
	p.each("topic without partitions", 3, 13, func(s *side, _ int16) kmsg.Request {
		req := s.produceRequest(-1, "pr", 0, simple("a"))
		req.Topics[0].Partitions = nil
		return req
	})

	p.topic("pr-append-time", 1, "message.timestamp.type=LogAppendTime")
	for codec, name := range codecNames {
		p.produce("LogAppendTime "+name, 9, -1, "pr-append-time", 0, made(batch{values: []string{"x", "y"}, codec: codec}))
	}
	p.contents("LogAppendTime", "pr-append-time", 0)
	for to, name := range append(codecNames, "uncompressed") {
		if name == "none" {
			continue
		}
		topic := "pr-" + name
		p.topic(topic, 1, "compression.type="+name, "retention.ms=-1")
		for from, codec := range codecNames {
			p.produce(fmt.Sprintf("%s to %s (%d)", codec, name, to), 9, -1, topic, 0, made(batch{values: []string{"x", long}, times: []int64{longAgo + 9, longAgo}, codec: from, headers: true}))
		}
		p.contents("re-compressed with "+name, topic, 0)
	}
}

func edited(at int, b ...byte) func([]byte) {
	return func(out []byte) { copy(out[at:], b) }
}

func produceErrorsArea(p *pair) {
	p.topic("pe", 1, "retention.ms=-1")
	p.topic("pe-small", 1, "max.message.bytes=200", "retention.ms=-1")
	now := time.Now().UnixMilli()
	two := []string{"a", "b"}
	empty := batch{}
	cases := []struct {
		label string
		bytes batchesOf
	}{
		{"wrong CRC", made(batch{values: two, harm: edited(atCRC, 1, 2, 3, 4)})},
		{"no bytes", func(*side) []byte { return []byte{} }},
		{"empty batch", made(batch{values: two, edit: func(b []byte) { binary.BigEndian.PutUint32(b[atNumRecords:], 0) }})},
		{"batch without records", func(*side) []byte {
			b := empty
			b.edit = func(out []byte) { binary.BigEndian.PutUint32(out[atLastDelta:], 0) }
			return b.bytes()
		}},
		{"two batches", made(batch{values: two}, batch{values: two})},
		{"magic 1", made(batch{values: two, harm: edited(atMagic, 1)})},
		{"magic 0", made(batch{values: two, harm: edited(atMagic, 0)})},
		{"magic 3", made(batch{values: two, harm: edited(atMagic, 3)})},
		{"a byte short", func(*side) []byte { b := batch{values: two}.bytes(); return b[:len(b)-1] }},
		{"a byte more", func(*side) []byte { return append(batch{values: two}.bytes(), 0) }},
		{"20 bytes", func(*side) []byte { return batch{values: two}.bytes()[:20] }},
		{"5 bytes", func(*side) []byte { return batch{values: two}.bytes()[:5] }},
		{"negative length", made(batch{values: two, harm: edited(8, 0xff, 0xff, 0xff, 0xff)})},
		{"length too small", made(batch{values: two, harm: edited(8, 0, 0, 0, 14)})},
		{"more records counted", made(batch{values: two, edit: edited(atNumRecords, 0, 0, 0, 3)})},
		{"fewer records counted", made(batch{values: two, edit: edited(atNumRecords, 0, 0, 0, 1)})},
		{"negative count", made(batch{values: two, edit: edited(atNumRecords, 0xff, 0xff, 0xff, 0xff)})},
		{"last offset delta too large", made(batch{values: two, edit: edited(atLastDelta, 0, 0, 0, 9)})},
		{"last offset delta too small", made(batch{values: two, edit: edited(atLastDelta, 0, 0, 0, 0)})},
		{"negative last offset delta", made(batch{values: two, edit: edited(atLastDelta, 0xff, 0xff, 0xff, 0xff)})},
		{"base offset 7", made(batch{values: two, harm: edited(0, 0, 0, 0, 0, 0, 0, 0, 7)})},
		{"unknown codec 5", made(batch{values: two, attributes: 5})},
		{"unknown codec 7", made(batch{values: two, attributes: 7})},
		{"unknown attributes", made(batch{values: two, attributes: 1 << 9})},
		{"control batch", made(batch{values: []string{"a"}, attributes: 1 << 5})},
		{"transactional without producer", made(batch{values: two, attributes: 1 << 4})},
		{"delete horizon", made(batch{values: two, attributes: 1 << 6})},
		{"says LogAppendTime", made(batch{values: two, attributes: 1 << 3})},
		{"gzip that is none", made(batch{values: two, attributes: 1})},
		{"snappy that is none", made(batch{values: two, attributes: 2})},
		{"lz4 that is none", made(batch{values: two, attributes: 3})},
		{"zstd that is none", made(batch{values: two, attributes: 4})},
		{"time in two hours", made(batch{values: two, times: []int64{now + 7_200_000, now}})},
		{"time in half an hour", made(batch{values: two, times: []int64{now + 1_200_000, now}})},
		{"negative times", made(batch{values: two, times: []int64{-1, -1}})},
		{"times -5", made(batch{values: two, times: []int64{-5, -5}})},
		{"max time wrong", made(batch{values: two, edit: edited(atMaxTime, 0, 0, 0, 0, 0, 0, 0, 1)})},
		{"first time wrong", made(batch{values: two, edit: edited(atFirstTime, 0, 0, 0, 0, 0, 0, 0, 1)})},
		{"producer without sequence", made(batch{values: two, idempotent: true, producer: 5, sequence: -1})},
		{"producer with epoch -1", made(batch{values: two, idempotent: true, producer: 5, epoch: -1})},
		{"broken record", made(batch{values: two, edit: func(b []byte) { b[batchOverhead] = 3 }})},
		{"broken record, gzip", func(*side) []byte {
			return batch{values: two, codec: 1, edit: func(b []byte) { b[len(b)-10] ^= 0x55 }}.bytes()
		}},
	}
	for n, c := range cases {
		topic := fmt.Sprintf("pe-%d", n) // of its own: what one broker takes and one refuses moves offsets
		p.topic(topic, 1, "retention.ms=-1")
		for _, v := range []int16{3, 7, 8, 10, 13} {
			p.produce(c.label, v, -1, topic, 0, c.bytes)
		}
		p.contents(c.label+", then", topic, 0)
	}
	for _, v := range []int16{3, 6, 7, 13} {
		p.produce("zstd by version", v, -1, "pe", 0, made(batch{values: two, codec: 4}))
		p.produce("too large", v, -1, "pe-small", 0, simple(strings.Repeat("x", 200)))
		p.produce("too large before compression", v, -1, "pe-small", 0, made(batch{values: []string{strings.Repeat("x", 2000)}, codec: 1}))
		p.produce("largest", v, -1, "pe-small", 0, simple(strings.Repeat("x", 200-batchOverhead-10)))
		p.produce("unknown partition", v, -1, "pe", 7, simple("a"))
		p.produce("negative partition", v, -1, "pe", -1, simple("a"))
		p.produce("unknown topic", v, -1, "unknown", 0, simple("a"))
		p.produce("illegal topic", min(v, 12), -1, "a b", 0, simple("a"))
		p.produce("acks 2", v, 2, "pe", 0, simple("a"))
		p.produce("acks -2", v, -2, "pe", 0, simple("a"))
		p.produce("acks 0, wrong CRC", v, 0, "pe", 0, made(batch{values: two, harm: edited(atCRC, 1, 2, 3, 4)}))
		p.produce("acks 0, unknown partition", v, 0, "pe", 7, simple("a"))
		p.produce("acks 0, right", v, 0, "pe", 0, simple("a"))
	}
	p.ask("unknown id", 13, func(s *side) kmsg.Request {
		req := s.produceRequest(-1, "pe", 0, simple("a"))
		req.Topics[0].TopicID = [16]byte{3, 3}
		return req
	})
	p.each("twice the same partition", 3, 13, func(s *side, _ int16) kmsg.Request {
		req := s.produceRequest(-1, "pe", 0, simple("twice"))
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, req.Topics[0].Partitions[0])
		return req
	})
	p.contents("after all errors", "pe", 0)
	p.contents("after all errors, small", "pe-small", 0)

	now = time.Now().UnixMilli()
	p.topic("pe-window", 1, "message.timestamp.before.max.ms=30000", "message.timestamp.after.max.ms=30000")
	for _, d := range []struct {
		label string
		by    int64
	}{{"now", 0}, {"a minute old", -60_000}, {"in a minute", 60_000}} {
		p.produce("window: "+d.label, 9, -1, "pe-window", 0, made(batch{values: two, times: []int64{now + d.by, now + d.by}}))
	}
}

// producerBatch is a batch of a producer that both brokers know by name.
func producerBatch(name string, epoch int16, sequence int32, values ...string) batchesOf {
	return func(s *side) []byte {
		return batch{values: values, idempotent: true, producer: s.producers[name], epoch: epoch, sequence: sequence}.bytes()
	}
}

// producer gets a producer id from both brokers.
func (p *pair) producer(name string, version int16) {
	p.t.Helper()
	p.do("producer "+name, version, func(s *side) (kmsg.Response, error) {
		req := kmsg.NewPtrInitProducerIDRequest()
		req.Version, req.ProducerID, req.ProducerEpoch = version, -1, -1
		if s == p.fanfold {
			p.asked[[2]int16{req.Key(), version}] = true
		}
		resp, err := s.wire.ask(req)
		for n := 0; err == nil && n < 100 && resp.(*kmsg.InitProducerIDResponse).ErrorCode == kerr.CoordinatorLoadInProgress.Code; n++ {
			<-time.After(20 * time.Millisecond) // Kafka asks its controller for a block of ids
			resp, err = s.wire.ask(req)
		}
		if err == nil && resp.(*kmsg.InitProducerIDResponse).ErrorCode == 0 {
			id := resp.(*kmsg.InitProducerIDResponse).ProducerID
			if _, twice := s.producerNames[id]; twice {
				return resp, fmt.Errorf("producer id %d is given twice", id)
			}
			s.producers[name], s.producerNames[id] = id, name
		}
		return resp, err
	}, false)
}

func idempotenceArea(p *pair) {
	p.topic("id", 2, "retention.ms=-1")
	for v := int16(0); v <= 5; v++ {
		p.producer(fmt.Sprintf("p%d", v), v)
	}
	send := func(label, producer string, epoch int16, sequence int32, values ...string) {
		p.t.Helper()
		p.produce(label, 9, -1, "id", 0, producerBatch(producer, epoch, sequence, values...))
	}
	for n := range 8 {
		send(fmt.Sprintf("batch %d", n), "p0", 0, int32(2*n), "a", "b")
	}
	for n := 7; n >= 0; n-- {
		send(fmt.Sprintf("batch %d again", n), "p0", 0, int32(2*n), "a", "b")
	}
	send("duplicate of another length", "p0", 0, 14, "a")
	send("longer duplicate", "p0", 0, 14, "a", "b", "c")
	send("half a duplicate", "p0", 0, 15, "a")
	send("gap", "p0", 0, 18, "a")
	send("large gap", "p0", 0, 1000, "a")
	send("after the gaps", "p0", 0, 16, "a")
	send("next epoch, not from 0", "p0", 1, 5, "a")
	send("next epoch", "p0", 1, 0, "a")
	send("next epoch's second", "p0", 1, 1, "a")
	send("next epoch's first again", "p0", 1, 0, "a")
	send("old epoch", "p0", 0, 17, "a")
	send("old epoch's duplicate", "p0", 0, 16, "a")
	send("epoch far ahead", "p0", 9, 0, "a")
	send("unknown producer from 0", "p1", 0, 0, "a")
	send("unknown producer from 7", "p2", 0, 7, "a")
	send("then its next", "p2", 0, 8, "a")
	send("then its first", "p2", 0, 0, "a")
	send("unknown producer at epoch 5", "p3", 5, 3, "a")
	send("wrapping: the last sequences", "p4", 0, 2147483646, "a", "b")
	send("wrapping: from 0", "p4", 0, 0, "a")
	send("wrapping: the last again", "p4", 0, 2147483646, "a", "b")
	for _, v := range []int16{3, 5, 7, 8, 10, 13} {
		p.produce("gap by version", v, -1, "id", 0, producerBatch("p0", 9, 100, "a"))
		p.produce("duplicate by version", v, -1, "id", 0, producerBatch("p0", 9, 0, "a"))
		p.produce("fenced by version", v, -1, "id", 0, producerBatch("p0", 2, 0, "a"))
		p.produce("unknown by version", v, 1, "id", 1, producerBatch("p5", 0, 1+int32(v), "a"))
	}
	p.produce("acks 0, gap", 9, 0, "id", 0, producerBatch("p0", 9, 100, "a"))
	p.produce("acks 0, duplicate", 9, 0, "id", 0, producerBatch("p0", 9, 0, "a"))
	p.produce("two producers in one request", 9, -1, "id", 0, func(s *side) []byte {
		return slices.Concat(producerBatch("p0", 9, 1, "a")(s), producerBatch("p1", 0, 1, "a")(s))
	})
	p.produce("transactional batch", 9, -1, "id", 0, func(s *side) []byte {
		return batch{values: []string{"a"}, idempotent: true, producer: s.producers["p0"], epoch: 9, sequence: 1, attributes: 1 << 4}.bytes()
	})
	p.contents("after all", "id", 0)
	p.ask("DescribeProducers", 0, func(*side) kmsg.Request {
		req := kmsg.NewPtrDescribeProducersRequest()
		req.Topics = []kmsg.DescribeProducersRequestTopic{{Topic: "id", Partitions: []int32{0, 1, 5}}, {Topic: "unknown", Partitions: []int32{0}}, {Topic: "a b", Partitions: []int32{0}}}
		return req
	})
	init := func(id int64, epoch int16, tx *string) func(*side, int16) kmsg.Request {
		return func(*side, int16) kmsg.Request {
			req := kmsg.NewPtrInitProducerIDRequest()
			req.ProducerID, req.ProducerEpoch, req.TransactionalID, req.TransactionTimeoutMillis = id, epoch, tx, 60_000
			return req
		}
	}
	p.each("half an id", 3, 5, init(5, -1, nil))
	p.each("half an epoch", 3, 5, init(-1, 5, nil))
	p.each("a former id", 3, 5, init(5, 1, nil))
	none := ""
	p.each("empty transactional id", 0, 5, init(-1, -1, &none))
	some := "tx"
	p.each("transactional id", 0, 5, init(-1, -1, &some))
	p.each("transactional produce", 3, 13, func(s *side, _ int16) kmsg.Request {
		req := s.produceRequest(-1, "id", 1, simple("a"))
		req.TransactionID = &some
		return req
	})
}

func listOffsetsArea(p *pair) {
	p.topic("lo", 2, "retention.ms=-1")
	p.topic("lo-append", 1, "message.timestamp.type=LogAppendTime")
	for n, b := range []batch{
		{times: []int64{longAgo + 100, longAgo + 300, longAgo + 200}},
		{times: []int64{longAgo + 400, longAgo + 400}, codec: 1},
		{times: []int64{longAgo + 250, longAgo + 260}},
		{times: []int64{longAgo + 900, longAgo + 800, longAgo + 1000}, codec: 4},
		{times: []int64{longAgo + 1000, longAgo + 1000}, codec: 3},
		{times: []int64{longAgo + 950}, codec: 2},
	} {
		b.values = slices.Repeat([]string{"v"}, len(b.times))
		p.produce(fmt.Sprintf("batch %d", n), 9, -1, "lo", 0, made(b))
	}
	p.produce("append time", 9, -1, "lo-append", 0, simple("a", "b"))
	// Two appends within a millisecond have one time: which record is the
	// latest would be a matter of luck.
	for stamped := time.Now().UnixMilli(); time.Now().UnixMilli() <= stamped; {
		runtime.Gosched()
	}
	p.produce("append time", 9, -1, "lo-append", 0, simple("c"))
	ask := func(label string, topic string, partition int32, timestamp int64) {
		p.t.Helper()
		p.each(label, 1, 11, func(_ *side, v int16) kmsg.Request { return listOffsetsRequest(v, topic, partition, timestamp, -1) })
	}
	for special := int64(-1); special >= -8; special-- {
		ask(fmt.Sprintf("special %d", special), "lo", 0, special)
		ask(fmt.Sprintf("special %d of none", special), "lo", 1, special)
		ask(fmt.Sprintf("special %d with append times", special), "lo-append", 0, special)
	}
	for _, at := range []int64{0, 1, 100, 150, 200, 201, 300, 301, 350, 400, 401, 500, 800, 801, 900, 901, 950, 1000, 1001, 100_000} {
		ts := longAgo + at
		if at == 0 {
			ts = 0
		}
		ask(fmt.Sprintf("time %d", at), "lo", 0, ts)
	}
	ask("time of none", "lo", 1, longAgo)
	ask("now", "lo-append", 0, time.Now().Add(time.Hour).UnixMilli())
	ask("earlier", "lo-append", 0, longAgo)
	ask("unknown partition", "lo", 9, -1)
	ask("negative partition", "lo", -1, -1)
	ask("unknown topic", "unknown", 0, -1)
	ask("illegal topic", "a b", 0, -1)
	for _, e := range []struct {
		label string
		above int32
	}{{"current epoch", 0}, {"future epoch", 1}, {"epoch far ahead", 1000}} {
		for _, ts := range []int64{-1, -2, longAgo} {
			p.each(fmt.Sprintf("%s, %d", e.label, ts), 4, 11, func(s *side, v int16) kmsg.Request {
				return listOffsetsRequest(v, "lo", 0, ts, s.epoch("lo", 0, e.above))
			})
		}
	}
	p.each("read committed", 2, 11, func(_ *side, v int16) kmsg.Request {
		req := listOffsetsRequest(v, "lo", 0, -1, -1)
		req.IsolationLevel = 1
		return req
	})
	p.each("a partition twice", 1, 11, func(_ *side, v int16) kmsg.Request {
		req := listOffsetsRequest(v, "lo", 0, -1, -1)
		part := req.Topics[0].Partitions[0]
		part.Timestamp = -2
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, part)
		return req
	})
	p.each("a follower", 1, 11, func(_ *side, v int16) kmsg.Request {
		req := listOffsetsRequest(v, "lo", 0, -1, -1)
		req.ReplicaID = 2
		return req
	})
	p.each("a debugging client", 1, 11, func(_ *side, v int16) kmsg.Request {
		req := listOffsetsRequest(v, "lo", 0, -1, -1)
		req.ReplicaID = -2
		return req
	})
}

func deleteRecordsArea(p *pair) {
	p.topic("dr", 2, "retention.ms=-1")
	for n := range 5 {
		p.produce(fmt.Sprintf("batch %d", n), 9, -1, "dr", 0, made(batch{
			values: []string{"a", "b", "c"}, times: []int64{longAgo + int64(n)*100, longAgo + int64(n)*100 + 10, longAgo + int64(n)*100 + 20},
		}))
	}
	remove := func(topic string, partition int32, offset int64) kmsg.Request {
		req := kmsg.NewPtrDeleteRecordsRequest()
		req.TimeoutMillis = 5_000
		req.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: topic, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Partition: partition, Offset: offset}}}}
		return req
	}
	for _, c := range []struct {
		label     string
		topic     string
		partition int32
		offset    int64
	}{
		{"to 0", "dr", 0, 0}, {"into a batch", "dr", 0, 4}, {"the same again", "dr", 0, 4}, {"back", "dr", 0, 2},
		{"beyond the end", "dr", 0, 99}, {"negative", "dr", 0, -5}, {"unknown partition", "dr", 5, 0},
		{"unknown topic", "unknown", 0, 0}, {"illegal topic", "a b", 0, 0}, {"of an empty one", "dr", 1, 0}, {"to the end of an empty one", "dr", 1, -1},
	} {
		p.each(c.label, 0, 2, func(*side, int16) kmsg.Request { return remove(c.topic, c.partition, c.offset) })
	}
	look := func(label string) {
		p.t.Helper()
		for _, ts := range []int64{-1, -2, -3, -4, -5, longAgo, longAgo + 100, longAgo + 105, longAgo + 111, longAgo + 300} {
			p.each(fmt.Sprintf("%s: offset of %d", label, ts), 7, 9, func(_ *side, v int16) kmsg.Request {
				return listOffsetsRequest(min(v, 9), "dr", 0, ts, -1)
			})
		}
		for offset := range int64(17) {
			p.ask(fmt.Sprintf("%s: fetch from %d", label, offset), 12, func(s *side) kmsg.Request {
				return s.fetchRequest(12, fetchPart{topic: "dr", offset: offset})
			})
		}
		p.ask(label+": epoch's end", 4, func(s *side) kmsg.Request { return s.epochRequest("dr", 0, -1, 0) })
	}
	look("after 4")
	p.ask("to the end", 2, func(*side) kmsg.Request { return remove("dr", 0, -1) })
	look("empty")
	p.produce("after all was deleted", 9, -1, "dr", 0, simple("x"))
	look("again")
	p.each("a partition twice", 0, 2, func(s *side, _ int16) kmsg.Request {
		req := remove("dr", 0, 15).(*kmsg.DeleteRecordsRequest)
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, kmsg.DeleteRecordsRequestTopicPartition{Partition: 0, Offset: 16})
		return req
	})
}
