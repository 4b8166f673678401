package main

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fanfold/fanfold/protocol/record"
)

// Where a batch's header has its fields.
const (
	batchLengthAt     = 8
	batchMagicAt      = 16
	batchCRCAt        = 17
	batchAttributesAt = 21
	batchLastDeltaAt  = 23
	batchBaseTimeAt   = 27
	batchMaxTimeAt    = 35
	batchProducerAt   = 43
	batchCountAt      = 57
)

// goodBatch is a batch of three records.
func goodBatch(t *testing.T, codec record.Codec, values ...[]byte) []byte {
	t.Helper()
	b, err := record.NewBuilder(codec, 0)
	if err != nil {
		t.Fatal(err)
	}
	if values == nil {
		values = [][]byte{[]byte("one"), []byte("two"), []byte("three")}
	}
	for _, value := range values {
		b.Append(time.Now().UnixMilli(), []byte("key"), value, nil)
	}
	batch, err := b.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

// seal gives a spoiled batch the CRC that belongs to it.
func seal(b []byte) []byte {
	binary.BigEndian.PutUint32(b[batchCRCAt:], crc32.Checksum(b[batchAttributesAt:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

func put32(at int, value int32) func([]byte) []byte {
	return func(b []byte) []byte {
		binary.BigEndian.PutUint32(b[at:], uint32(value))
		return seal(b)
	}
}

func put64(at int, value int64) func([]byte) []byte {
	return func(b []byte) []byte {
		binary.BigEndian.PutUint64(b[at:], uint64(value))
		return seal(b)
	}
}

// attribute sets a bit of the attributes.
func attribute(bits byte) func([]byte) []byte {
	return func(b []byte) []byte {
		b[batchAttributesAt+1] |= bits
		return seal(b)
	}
}

// produceBeside sends a bad batch to a topic and good ones beside it, and
// returns how the bad one is answered: the good ones have to be taken.
func (v *victim) produceBeside(topic string, bad []byte) kmsg.ProduceResponseTopicPartition {
	v.t.Helper()
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = 9, -1, 30_000
	for _, part := range []struct {
		topic string
		batch []byte
	}{{"good", goodBatch(v.t, record.None)}, {topic, bad}, {"also-good", goodBatch(v.t, record.LZ4)}} {
		rt := kmsg.NewProduceRequestTopic()
		rt.Topic = part.topic
		rt.Partitions = append(rt.Partitions, kmsg.ProduceRequestTopicPartition{Records: part.batch})
		req.Topics = append(req.Topics, rt)
	}
	c := v.dial()
	defer c.Close()
	resp := c.answer(req).(*kmsg.ProduceResponse)
	if len(resp.Topics) != 3 {
		v.t.Fatalf("%d topics are answered", len(resp.Topics))
	}
	var answer kmsg.ProduceResponseTopicPartition
	for _, rt := range resp.Topics {
		if rt.Topic == topic {
			answer = rt.Partitions[0]
		} else if p := rt.Partitions[0]; p.ErrorCode != 0 || p.BaseOffset < 0 {
			v.t.Errorf("the good batch beside it is answered by %+v", p)
		}
	}
	return answer
}

func (v *victim) refusedBatch(topic string, bad []byte, want *kerr.Error, text string) {
	v.t.Helper()
	p := v.produceBeside(topic, bad)
	message := ""
	if p.ErrorMessage != nil {
		message = *p.ErrorMessage
	}
	if p.ErrorCode != want.Code || !strings.Contains(message, text) {
		v.t.Errorf("answered by %v %q, want %v and %q", kerr.ErrorForCode(p.ErrorCode), message, want, text)
	}
}

func TestHostileBatches(t *testing.T) {
	v := newVictim(t)
	v.createTopic("good", 1)
	v.createTopic("also-good", 1)
	v.createTopic("bad", 1)
	v.createTopic("narrow", 1, "message.timestamp.before.max.ms", "3600000", "message.timestamp.after.max.ms", "60000", "max.message.bytes", "2000")
	now := time.Now().UnixMilli()
	whole := func(b []byte) []byte { return b }
	for _, c := range []struct {
		name  string
		spoil func([]byte) []byte
		code  *kerr.Error
		text  string
	}{
		{"nothing", func([]byte) []byte { return nil }, kerr.InvalidRecord, "no record batch"},
		{"one byte", func(b []byte) []byte { return b[:1] }, kerr.CorruptMessage, "too few"},
		{"wrong CRC", func(b []byte) []byte { b[len(b)-1] ^= 1; return b }, kerr.CorruptMessage, "CRC"},
		{"record count above", put32(batchCountAt, 4), kerr.InvalidRecord, "record count 4 does not fit last offset delta 2"},
		{"record count 0", put32(batchCountAt, 0), kerr.InvalidRecord, "record count is 0"},
		{"record count negative", put32(batchCountAt, -1), kerr.CorruptMessage, "record count -1 is negative"},
		{"record count huge", func(b []byte) []byte {
			return put32(batchLastDeltaAt, 1<<31-2)(put32(batchCountAt, 1<<31-1)(b))
		}, kerr.InvalidRecord, "record count 2147483647 does not fit into"},
		{"last offset delta", put32(batchLastDeltaAt, 7), kerr.InvalidRecord, "last offset delta 7"},
		{"last offset delta negative", put32(batchLastDeltaAt, -1), kerr.CorruptMessage, "last offset delta -1 is negative"},
		{"codec 5", attribute(5), kerr.UnsupportedCompressionType, "codec 5"},
		{"codec 6", attribute(6), kerr.UnsupportedCompressionType, "codec 6"},
		{"codec 7", attribute(7), kerr.UnsupportedCompressionType, "codec 7"},
		{"magic 0", func(b []byte) []byte { b[batchMagicAt] = 0; return b }, kerr.InvalidRecord, "magic 0"},
		{"magic 1", func(b []byte) []byte { b[batchMagicAt] = 1; return b }, kerr.InvalidRecord, "magic 1"},
		{"magic 3", func(b []byte) []byte { b[batchMagicAt] = 3; return b }, kerr.CorruptMessage, "magic 3"},
		{"two batches", func(b []byte) []byte { return append(b, b...) }, kerr.InvalidRecord, "one batch a partition"},
		{"cut short", func(b []byte) []byte { return b[:len(b)-5] }, kerr.CorruptMessage, "batch length"},
		{"length below a header", put32(batchLengthAt, 10), kerr.CorruptMessage, "batch length 10"},
		{"length negative", put32(batchLengthAt, -5), kerr.CorruptMessage, "batch length -5"},
		{"length largest", put32(batchLengthAt, 1<<31-1), kerr.CorruptMessage, "batch length 2147483647"},
		{"length of less", put32(batchLengthAt, 60), kerr.InvalidRecord, "follow the batch"},
		{"control", attribute(1 << 5), kerr.InvalidRecord, "control"},
		{"transactional", func(b []byte) []byte {
			return attribute(1 << 4)(put64(batchProducerAt, 5<<48)(b))
		}, kerr.InvalidRecord, ""},
		{"LogAppendTime", attribute(1 << 3), kerr.InvalidTimestamp, "LogAppendTime"},
		{"timestamp below -1", put64(batchBaseTimeAt, -2), kerr.InvalidRecord, "timestamp -2"},
		{"timestamp far ahead", put64(batchMaxTimeAt, now+2*3600_000), kerr.InvalidTimestamp, "message.timestamp.after.max.ms is 3600000"},
		{"producer id without epoch", put64(batchProducerAt, 5), kerr.InvalidRecord, "producer id 5"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v.on(t).refusedBatch("bad", c.spoil(goodBatch(t, record.None)), c.code, c.text)
		})
	}
	t.Run("too large", func(t *testing.T) {
		v.on(t).refusedBatch("bad", goodBatch(t, record.None, make([]byte, 1<<20+13)), kerr.MessageTooLarge, "max.message.bytes is 1048588")
		v.on(t).refusedBatch("narrow", goodBatch(t, record.None, make([]byte, 2001)), kerr.MessageTooLarge, "max.message.bytes is 2000")
	})
	t.Run("timestamps of a topic", func(t *testing.T) {
		at := func(base, max int64) []byte {
			return put64(batchMaxTimeAt, max)(put64(batchBaseTimeAt, base)(goodBatch(t, record.None)))
		}
		v.on(t).refusedBatch("narrow", at(now-2*3600_000, now), kerr.InvalidTimestamp, "message.timestamp.before.max.ms is 3600000")
		v.on(t).refusedBatch("narrow", at(now, now+2*60_000), kerr.InvalidTimestamp, "message.timestamp.after.max.ms is 60000")
	})
	t.Run("sound", func(t *testing.T) {
		for codec := record.None; codec <= record.Zstd; codec++ {
			if p := v.on(t).produceBeside("bad", whole(goodBatch(t, codec))); p.ErrorCode != 0 {
				t.Errorf("%v: %+v", codec, p)
			}
		}
	})
	v.served()
	v.unharmed(map[string]int64{"bad": 5 * 3, "narrow": 0})
}

// unharmed sees that topics hold so many records, can be read, and that their
// files are sound.
func (v *victim) unharmed(records map[string]int64) {
	v.t.Helper()
	for topic, want := range records {
		if n := v.countAll(topic); n != want {
			v.t.Errorf("topic %s holds %d records, want %d", topic, n, want)
		}
	}
	v.checkAfterwards()
	v.stop()
	if r := fanfold(v.t, "", "log", "verify", v.dataDir); r.status != exitOK {
		v.t.Errorf("log verify: status %d\n%s%s", r.status, r.stdout, r.stderr)
	}
}

// bombs are batches that decompress to very many zero bytes: those of one
// record are refused when its length is read, those of many have to be streamed.
func bombs(t *testing.T, size int) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	many := make([][]byte, size>>20)
	for i := range many {
		many[i] = make([]byte, 1<<20-100)
	}
	for codec := record.Gzip; codec <= record.Zstd; codec++ {
		all[codec.String()+" of one record"] = goodBatch(t, codec, make([]byte, size))
		all[codec.String()+" of many records"] = goodBatch(t, codec, many...)
	}
	// zstd in one frame whose window is as large as its content.
	encoder, err := zstd.NewWriter(nil, zstd.WithSingleSegment(true), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		t.Fatal(err)
	}
	defer encoder.Close()
	all["zstd of one segment"] = compressedBatch(goodBatch(t, record.None, many...), record.Zstd, encoder)
	// The same, just within the limit of what is decompressed.
	all["zstd of one segment within the limit"] = compressedBatch(goodBatch(t, record.None, many[:min(len(many), 250)]...), record.Zstd, encoder)
	return all
}

// compressedBatch is a batch with its records compressed by an encoder.
func compressedBatch(b []byte, codec record.Codec, encoder *zstd.Encoder) []byte {
	b = encoder.EncodeAll(b[record.HeaderBytes:], b[:record.HeaderBytes:record.HeaderBytes])
	b[batchAttributesAt+1] = byte(codec)
	binary.BigEndian.PutUint32(b[batchLengthAt:], uint32(len(b)-12))
	return seal(b)
}

// TestHostileCompression sends batches that decompress to far more than they
// are to topics that compress anew, alone and many at once.
func TestHostileCompression(t *testing.T) {
	v := newVictim(t)
	v.createTopic("good", 1)
	v.createTopic("also-good", 1)
	bytes := quickOr(100, 1000) << 20
	all := bombs(t, bytes)
	for name, bomb := range all {
		t.Run(name, func(t *testing.T) {
			v := v.on(t)
			topic := "to-" + strings.ReplaceAll(name, " ", "-")
			to := "lz4"
			if name == "lz4" {
				to = "zstd"
			}
			v.createTopic(topic, 1, "compression.type", to)
			// The request itself is in memory, whatever it decompresses to.
			v.bounded(fmt.Sprintf("a bomb of %d KiB", len(bomb)>>10), min(int64(len(bomb))+72<<20, 96<<20), func() {
				if p := v.produceBeside(topic, bomb); p.ErrorCode != 0 && p.ErrorCode != kerr.MessageTooLarge.Code {
					t.Errorf("answered by %+v", p)
				}
			})
			n := quickOr(10, 40)
			v.bounded(fmt.Sprintf("the same, %d at once", n), 160<<20, func() { v.manyAtOnce(topic, bomb, n) })
			v.served()
		})
	}
	v.unharmed(nil)
}

// manyAtOnce sends a batch over many connections and waits for all answers.
func (v *victim) manyAtOnce(topic string, batch []byte, n int) {
	v.t.Helper()
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = 9, -1, 30_000
	rt := kmsg.NewProduceRequestTopic()
	rt.Topic = topic
	rt.Partitions = append(rt.Partitions, kmsg.ProduceRequestTopicPartition{Records: batch})
	req.Topics = append(req.Topics, rt)
	input := requestFrame(req)
	conns := make([]*rawConn, n)
	for i := range conns {
		conns[i] = v.dial()
		go conns[i].send(input)
	}
	for _, c := range conns {
		if _, err := c.receive(); err != nil {
			v.t.Errorf("not answered: %v", err)
			return
		}
		c.Close()
	}
}
