package interop

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fanfold/fanfold/interop/driver"
	"github.com/twmb/franz-go/pkg/kgo"
)

// t0 is the timestamp of the first test record, in milliseconds.
const t0 = 1_700_000_000_000

// kinds are records with everything that one may have: null and empty keys,
// values and headers, and bytes that are no text.
func kinds(client string) []driver.Record {
	binary := []byte{0, 1, 0xff, 0xfe, '\n', '\t', '\r', 0x80}
	records := []driver.Record{
		{Key: nil, Value: []byte("null key")},
		{Key: []byte("null value"), Value: nil},
		{Key: nil, Value: nil},
		{Key: []byte{}, Value: []byte{}},
		{Key: binary, Value: binary},
		{Key: []byte("héllo"), Value: []byte("wörld")},
		{Key: []byte("h"), Value: []byte("one header"), Headers: []driver.Header{{Name: "a", Value: []byte("1")}}},
		{Value: []byte("empty header value"), Headers: []driver.Header{{Name: "a", Value: []byte{}}}},
		{Value: []byte("binary header"), Headers: []driver.Header{{Name: "ключ", Value: binary}}},
		{Value: []byte("a name twice"), Headers: []driver.Header{{Name: "a", Value: []byte("1")}, {Name: "a", Value: []byte("2")}}},
		{Value: []byte("order"), Headers: []driver.Header{{Name: "z", Value: []byte("1")}, {Name: "a", Value: []byte("2")}}},
		{Value: []byte("old"), Timestamp: 1},
		{Value: bytes.Repeat([]byte("long "), 20_000)},
	}
	if client != "kafkajs" { // its headers are an object: no null, no empty name
		records = append(records,
			driver.Record{Value: []byte("null header"), Headers: []driver.Header{{Name: "a", Value: nil}, {Name: "b", Value: []byte{}}}},
			driver.Record{Value: []byte("nameless"), Headers: []driver.Header{{Name: "", Value: []byte("v")}}})
	}
	for i := range records {
		records[i].Partition = int32(i % 3)
		if records[i].Timestamp == 0 {
			records[i].Timestamp = t0 + int64(i)*1000 - int64(i%4)*5000
		}
	}
	return records
}

// TestRecords: keys, values, headers and timestamps of every client and codec
// come back the same from every other one.
func TestRecords(t *testing.T) {
	for _, w := range recordPrograms(t) {
		t.Run(w.name, func(t *testing.T) { passRecords(t, w, w.codecs, kinds(w.name), true) })
	}
}

// TestLargeRecords: records just below the default limit of 1 MiB, which do
// not compress.
func TestLargeRecords(t *testing.T) {
	seed := rand.NewChaCha8([32]byte{7})
	var records []driver.Record
	for i := range 3 {
		value := make([]byte, 1_000_000)
		if _, err := seed.Read(value); err != nil {
			t.Fatal(err)
		}
		records = append(records, driver.Record{Partition: int32(i % 3), Timestamp: t0, Key: []byte("k"), Value: value})
	}
	for _, w := range recordPrograms(t) {
		t.Run(w.name, func(t *testing.T) { passRecords(t, w, []string{w.codec}, records, false) })
	}
}

// passRecords writes the records once with each codec to one topic, which then
// every client reads. shrinks says that every codec makes some of them smaller.
func passRecords(t *testing.T, w program, codecs []string, records []driver.Record, shrinks bool) {
	topic := newTopic(t, suite.broker, fmt.Sprintf("records-%s-%d", w.name, len(records)), 3)
	file := filepath.Join(t.TempDir(), "records")
	if err := driver.WriteRecords(file, records, false); err != nil {
		t.Fatal(err)
	}
	var all []driver.Record
	written := map[string]int{} // codec of each record, as "partition offset"
	for _, codec := range codecs {
		w.run(t, suite.broker, "write", "--topic", topic, "--codec", codec, "--records", file)
		all = append(all, records...)
		for _, r := range expected(all) {
			at := fmt.Sprint(r.Partition, " ", r.Offset)
			if _, ok := written[at]; !ok {
				written[at] = slices.Index(everyCodec, codec) // in the order of Kafka's numbers
			}
		}
	}
	checkCodecs(t, topic, written, shrinks)
	want := expected(all)
	for _, r := range recordPrograms(t) {
		if !r.reads {
			continue
		}
		got := filepath.Join(t.TempDir(), "got")
		r.run(t, suite.broker, "read", "--topic", topic, "--records", got)
		found, err := driver.ReadRecords(got, true)
		if err != nil {
			t.Fatal(err)
		}
		compareRecords(t, r, topic, want, found)
	}
}

// expected gives records the offsets that they must get: their order within
// their partition.
func expected(records []driver.Record) []driver.Record {
	want, next := slices.Clone(records), map[int32]int64{}
	for i := range want {
		want[i].Offset = next[want[i].Partition]
		next[want[i].Partition]++
	}
	slices.SortStableFunc(want, func(a, b driver.Record) int { return int(a.Partition - b.Partition) })
	return want
}

func compareRecords(t *testing.T, reader program, topic string, want, got []driver.Record) {
	t.Helper()
	what := reader.name + " read topic " + topic
	if len(want) != len(got) {
		t.Errorf("%s: %d records, want %d", what, len(got), len(want))
	}
	for i := range min(len(want), len(got)) {
		w, g := want[i], got[i]
		if reader.emptyIsNull {
			w, g = withoutEmpty(w), withoutEmpty(g)
		}
		if w, g := w.String(), g.String(); w != g {
			t.Errorf("%s: partition %d offset %d:\n got %.300s\nwant %.300s", what, want[i].Partition, want[i].Offset, g, w)
		}
	}
}

// withoutEmpty makes what is empty null.
func withoutEmpty(r driver.Record) driver.Record {
	null := func(b []byte) []byte {
		if len(b) == 0 {
			return nil
		}
		return b
	}
	r.Key, r.Value, r.Headers = null(r.Key), null(r.Value), slices.Clone(r.Headers)
	for i := range r.Headers {
		r.Headers[i].Value = null(r.Headers[i].Value)
	}
	return r
}

// checkCodecs looks at the batches themselves: the broker must have kept the
// codec that the client chose. A client may leave a batch as it is that the
// codec would not make smaller.
func checkCodecs(t *testing.T, topic string, written map[string]int, shrinks bool) {
	t.Helper()
	kept := map[int]bool{}
	err := readAll(t, suite.broker, topic, func(r *kgo.Record) error {
		want, got := written[fmt.Sprint(r.Partition, " ", r.Offset)], int(r.Attrs.CompressionType())
		if got != want && got != 0 {
			return fmt.Errorf("partition %d offset %d: codec %s, want %s", r.Partition, r.Offset, everyCodec[got], everyCodec[want])
		}
		kept[got] = true
		return nil
	})
	if err != nil {
		t.Errorf("topic %s: %v", topic, err)
	}
	for at, codec := range written {
		if shrinks && !kept[codec] {
			t.Errorf("topic %s: no record has codec %s, with which the one at %s was written", topic, everyCodec[codec], at)
			kept[codec] = true
		}
	}
}

// TestClientVersions: clients told to speak as they did to older brokers.
func TestClientVersions(t *testing.T) {
	for _, c := range []struct{ client, set string }{
		{"sarama", "version=1.0.0"},
		{"sarama", "version=2.1.0"},
		{"sarama", "version=2.8.0"},
		{"sarama", "version=3.6.0"},
		{"librdkafka", "api.version.request=false,broker.version.fallback=0.11.0.0"},
		{"librdkafka", "api.version.request=false,broker.version.fallback=2.0.0"},
	} {
		t.Run(c.client+" "+c.set, func(t *testing.T) {
			p := named(t, c.client)
			var set []string
			for s := range strings.SplitSeq(c.set, ",") {
				set = append(set, "--set", s)
			}
			topic := newTopic(t, suite.broker, "versions", 3)
			file, got := filepath.Join(t.TempDir(), "records"), filepath.Join(t.TempDir(), "got")
			records := kinds(c.client)
			if err := driver.WriteRecords(file, records, false); err != nil {
				t.Fatal(err)
			}
			p.run(t, suite.broker, "write", append([]string{"--topic", topic, "--codec", "lz4", "--records", file}, set...)...)
			p.run(t, suite.broker, "read", append([]string{"--topic", topic, "--records", got}, set...)...)
			found, err := driver.ReadRecords(got, true)
			if err != nil {
				t.Fatal(err)
			}
			compareRecords(t, p, topic, expected(records), found)
		})
	}
}
