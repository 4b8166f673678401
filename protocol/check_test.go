package protocol

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// fill gives every field of v a random value; slices get up to three elements.
// tags, if any, puts unknown tagged fields everywhere.
func fill(r *rand.Rand, v reflect.Value, tags bool) {
	switch v.Kind() {
	case reflect.Struct:
		if t, ok := v.Addr().Interface().(*kmsg.Tags); ok {
			for i := range r.IntN(3) {
				if tags {
					t.Set(uint32(100+i), randomBytes(r, 5))
				}
			}
			return
		}
		for i := range v.NumField() {
			if name := v.Type().Field(i).Name; name != "Version" {
				fill(r, v.Field(i), tags)
			}
		}
	case reflect.Pointer:
		if r.IntN(3) == 0 {
			v.SetZero()
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		fill(r, v.Elem(), tags)
	case reflect.Slice:
		n := r.IntN(4)
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(r, v.Index(i), tags)
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(r, v.Index(i), tags)
		}
	case reflect.String:
		v.SetString(string(randomBytes(r, 10)))
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Uint8:
		v.SetUint(r.Uint64() & 0xff)
	default:
		v.SetInt(int64(r.Uint64()))
	}
}

func randomBytes(r *rand.Rand, most int) []byte {
	b := make([]byte, r.IntN(most+1))
	for i := range b {
		b[i] = 'a' + byte(r.IntN(26))
	}
	return b
}

func randomRequest(r *rand.Rand, key, version int16, tags bool) kmsg.Request {
	req := kmsg.RequestForKey(key)
	fill(r, reflect.ValueOf(req).Elem(), tags)
	req.SetVersion(version)
	return req
}

// everyVersion runs f for each key and version that is known.
func everyVersion(f func(schema requestSchema, version int16)) {
	for _, schema := range requestSchemas {
		for version := schema.min; version <= schema.max; version++ {
			f(schema, version)
		}
	}
}

func TestSchemasAreKmsgs(t *testing.T) {
	for _, s := range requestSchemas {
		if newest := kmsg.RequestForKey(s.key).MaxVersion(); newest < s.max {
			t.Errorf("%s: kmsg knows up to v%d, the table has v%d", s.name, newest, s.max)
		}
	}
	everyVersion(func(s requestSchema, version int16) {
		req := kmsg.RequestForKey(s.key)
		req.SetVersion(version)
		if req.IsFlexible() != (version >= s.flexible) {
			t.Errorf("%s v%d: kmsg says flexible is %v", s.name, version, req.IsFlexible())
		}
	})
}

func TestEveryRequestIsWalkedToItsEndAndWhatFollowsIsIgnored(t *testing.T) {
	const seed = 1
	r := rand.New(rand.NewPCG(seed, seed))
	everyVersion(func(s requestSchema, version int16) {
		for range 30 {
			body := randomRequest(r, s.key, version, false).AppendTo(nil)
			if err := Check(s.key, version, body); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			for n := range body {
				if err := Check(s.key, version, body[:n:n]); err == nil {
					t.Fatalf("seed %d: %s v%d: the first %d bytes of %d pass", seed, s.name, version, n, len(body))
				}
			}
			got, err := Decode(s.key, version, append(body[:len(body):len(body)], 0, 1, 0xff))
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if again := got.AppendTo(nil); !bytes.Equal(again, body) {
				t.Fatalf("seed %d: %s v%d: %x decodes and encodes to %x", seed, s.name, version, body, again)
			}
		}
	})
}

func TestUnknownTaggedFieldsAreDropped(t *testing.T) {
	const seed = 2
	r := rand.New(rand.NewPCG(seed, seed))
	everyVersion(func(s requestSchema, version int16) {
		for range 30 {
			req := randomRequest(r, s.key, version, version >= s.flexible)
			if f, ok := req.(*kmsg.FetchRequest); ok { // a struct within a tagged field
				f.ReplicaState.UnknownTags = kmsg.Tags{}
			}
			got, err := Decode(s.key, version, req.AppendTo(nil))
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			clearTags(reflect.ValueOf(req).Elem())
			if !bytes.Equal(got.AppendTo(nil), req.AppendTo(nil)) {
				t.Fatalf("seed %d: %s v%d: more than the tagged fields is gone", seed, s.name, version)
			}
		}
	})
}

func clearTags(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		if t, ok := v.Addr().Interface().(*kmsg.Tags); ok {
			*t = kmsg.Tags{}
			return
		}
		for i := range v.NumField() {
			clearTags(v.Field(i))
		}
	case reflect.Pointer:
		if !v.IsNil() {
			clearTags(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			clearTags(v.Index(i))
		}
	}
}

func TestDecodeIntoUsesItsSlicesAgain(t *testing.T) {
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 12
	for i := range 100 {
		topic := kmsg.NewMetadataRequestTopic()
		topic.TopicID[0] = byte(i)
		req.Topics = append(req.Topics, topic)
	}
	body := req.AppendTo(nil)
	got := kmsg.NewPtrMetadataRequest()
	got.Version = 12
	if n := testing.AllocsPerRun(20, func() {
		if err := DecodeInto(got, body); err != nil {
			t.Error(err)
		}
	}); n > 1 {
		t.Errorf("%v allocations a request", n)
	}
	if !bytes.Equal(got.AppendTo(nil), body) {
		t.Error("decoded otherwise")
	}
}

func TestWhatCheckRefuses(t *testing.T) {
	flexible := func(head string, n uint64, tail int) []byte {
		return append(binary.AppendUvarint([]byte(head), n), make([]byte, tail)...)
	}
	metadata := func(n uint32, tail int) []byte {
		return append(binary.BigEndian.AppendUint32(nil, n), make([]byte, tail)...)
	}
	cases := []struct {
		name         string
		key, version int16
		body         []byte
		code         *kerr.Error
		text         string
	}{
		{"unknown key", 999, 0, nil, kerr.UnsupportedVersion, "key 999"},
		{"unknown version", 3, 99, nil, kerr.UnsupportedVersion, "version 99"},
		{"negative version", 3, -1, nil, kerr.UnsupportedVersion, "version -1"},
		{"old produce", 0, 2, nil, kerr.UnsupportedVersion, "version 2"},
		{"count above the bytes", 3, 0, metadata(1000, 1998), kerr.InvalidRequest, "topics at byte 4: 1000 elements of 2 bytes"},
		{"negative count", 3, 0, metadata(0xfffffffe, 10), kerr.InvalidRequest, "length -2"},
		{"too many elements", 15, 5, flexible("", 200_002, 1_000_100), kerr.InvalidRequest, "200000 elements"},
		{"too many elements of fixed size", 61, 0, flexible("\x02\x01", 200_002, 4_000_100), kerr.InvalidRequest, "200000 elements"},
		{"tags above the bytes", 60, 0, []byte{0, 0xff, 0xff, 0xff, 0xff, 0x0f}, kerr.InvalidRequest, "tagged fields"},
		{"too many tags", 60, 0, flexible("\x00", 10_001, 20_002), kerr.InvalidRequest, "more than 10000"},
		{"tag size", 60, 0, []byte{0, 1, 5, 9, 1}, kerr.InvalidRequest, "tagged field size"},
		{"overlong number", 60, 0, []byte{0, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, kerr.InvalidRequest, "no number"},
		{"null string", 12, 0, []byte{0xff, 0xff, 0, 0, 0, 0, 0, 0}, kerr.InvalidRequest, "group_id at byte 2: it is null"},
		{"long string", 12, 4, flexible("", 32_769, 40_000), kerr.InvalidRequest, "group_id at byte 3: a string of 32768 bytes"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for _, err := range []error{Check(c.key, c.version, c.body), second(Decode(c.key, c.version, c.body))} {
				var e *Error
				if !errors.As(err, &e) || e.Code != c.code || !strings.Contains(e.Message, c.text) {
					t.Fatalf("got %v, want %v with %q", err, c.code, c.text)
				}
			}
		})
	}
}

func second[T any](_ T, err error) error { return err }

func TestCheckAllocatesNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	everyVersion(func(s requestSchema, version int16) {
		body := randomRequest(r, s.key, version, false).AppendTo(nil)
		if n := testing.AllocsPerRun(5, func() { _ = Check(s.key, version, body) }); n != 0 {
			t.Fatalf("%s v%d: %v allocations", s.name, version, n)
		}
	})
}

// FuzzDecode holds that whatever passes Check decodes, and in memory of no more
// than 40 times its size and 4 KiB.
func FuzzDecode(f *testing.F) {
	r := rand.New(rand.NewPCG(4, 4))
	everyVersion(func(s requestSchema, version int16) {
		f.Add(uint8(s.key), uint8(version), randomRequest(r, s.key, version, version >= s.flexible).AppendTo(nil))
	})
	f.Fuzz(func(t *testing.T, key, version uint8, body []byte) {
		checkErr := Check(int16(key), int16(version), body)
		var used uint64
		for range 3 { // other goroutines of the test allocate too: the least counts
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := Decode(int16(key), int16(version), body)
			runtime.ReadMemStats(&after)
			if (err == nil) != (checkErr == nil) {
				t.Fatalf("Check says %v, Decode %v", checkErr, err)
			}
			if used = after.TotalAlloc - before.TotalAlloc; used <= uint64(40*len(body)+4096) {
				return
			}
		}
		t.Fatalf("key %d v%d: %d bytes take %d of memory", key, version, len(body), used)
	})
}

func BenchmarkDecode(b *testing.B) {
	for _, c := range []struct {
		name    string
		request kmsg.Request
	}{
		{"request=Metadata/topics=100", benchMetadata()},
		{"request=Fetch/partitions=100", benchFetch()},
	} {
		body := c.request.AppendTo(nil)
		key, version := c.request.Key(), c.request.GetVersion()
		b.Run(c.name+"/step=Check", func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if err := Check(key, version, body); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(c.name+"/step=Decode", func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Decode(key, version, body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func benchMetadata() kmsg.Request {
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 9
	for range 100 {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = kmsg.StringPtr("some.topic.name")
		req.Topics = append(req.Topics, topic)
	}
	return req
}

func benchFetch() kmsg.Request {
	req := kmsg.NewPtrFetchRequest()
	req.Version = 17
	topic := kmsg.NewFetchRequestTopic()
	for range 100 {
		topic.Partitions = append(topic.Partitions, kmsg.NewFetchRequestTopicPartition())
	}
	req.Topics = append(req.Topics, topic)
	return req
}
