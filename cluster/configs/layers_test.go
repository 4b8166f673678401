package configs

import (
	"math"
	"os"
	"reflect"
	"strings"
	"testing"
)

func TestTopicDefaults(t *testing.T) {
	got, err := EffectiveTopic(BrokerConfig{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := TopicConfig{
		CleanupDelete: true, RetentionMillis: 7 * day, RetentionBytes: -1, DeleteRetentionMillis: day,
		MaxCompactionLagMillis: math.MaxInt64, MinCleanableDirtyRatio: 0.5, FileDeleteDelayMillis: 60000,
		SegmentBytes: 1 << 30, SegmentMillis: 7 * day, SegmentIndexBytes: 10 << 20, IndexIntervalBytes: 4096,
		FlushMessages: 1, FlushMillis: math.MaxInt64, MinInsyncReplicas: 1, MaxMessageBytes: 1048588,
		TimestampBeforeMaxMillis: math.MaxInt64, TimestampAfterMaxMillis: 3600000,
		Compression: CompressionProducer, GzipLevel: -1, LZ4Level: 9, ZstdLevel: 3,
		LocalRetentionMillis: -2, LocalRetentionBytes: -2,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestEachLayerWinsOverTheNext(t *testing.T) {
	b := BrokerConfig{}
	retention := func(overrides map[string]string) int64 {
		c, err := EffectiveTopic(b, overrides)
		if err != nil {
			t.Fatal(err)
		}
		return c.RetentionMillis
	}
	check := func(step string, got, want int64) {
		if got != want {
			t.Errorf("%s: retention.ms is %d, want %d", step, got, want)
		}
	}
	check("default", retention(nil), 7*day)
	b.Static = map[string]string{"log.retention.hours": "2"}
	check("hours", retention(nil), 2*3600_000)
	b.Static["log.retention.minutes"] = "3"
	check("minutes win over hours", retention(nil), 3*60_000)
	b.Static["log.retention.ms"] = "4"
	check("ms win over minutes", retention(nil), 4)
	b.DynamicDefault = map[string]string{"log.retention.ms": "5"}
	check("dynamic default", retention(nil), 5)
	b.Dynamic = map[string]string{"log.retention.ms": "6"}
	check("dynamic", retention(nil), 6)
	check("override", retention(map[string]string{"retention.ms": "7"}), 7)
	b = BrokerConfig{Static: map[string]string{"log.retention.hours": "-1"}}
	check("no limit", retention(nil), -1)
}

func TestBadOverridesCountAsNotSet(t *testing.T) {
	c, err := EffectiveTopic(BrokerConfig{Static: map[string]string{"log.segment.bytes": "2097152"}},
		map[string]string{"segment.bytes": "1", "retention.bytes": "5", "of.tomorrow": "x"})
	if c.SegmentBytes != 2<<20 || c.RetentionBytes != 5 {
		t.Errorf("got segments of %d and retention of %d bytes", c.SegmentBytes, c.RetentionBytes)
	}
	for _, want := range []string{"segment.bytes", "of.tomorrow"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not name %s: %v", want, err)
		}
	}
}

func TestValidateTopicLooksAtPairs(t *testing.T) {
	err := ValidateTopic(map[string]string{"min.compaction.lag.ms": "10", "max.compaction.lag.ms": "5"})
	if err == nil || !strings.Contains(err.Error(), "above max.compaction.lag.ms") {
		t.Errorf("got %v", err)
	}
}

func TestBrokerSettings(t *testing.T) {
	s, err := EffectiveBroker(BrokerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if s.NodeID != 1 || s.DataDir != "fanfold-data" || s.Listeners[0] != "127.0.0.1:9092" ||
		s.AdvertisedListeners[0] != "127.0.0.1:9092" || s.QueuedMaxRequestBytes != 12582912 || !s.AutoCreateTopics {
		t.Errorf("defaults are %+v", s)
	}
	s, err = EffectiveBroker(BrokerConfig{Static: map[string]string{
		"broker.id": "7", "log.dir": "/data", "listeners": "PLAINTEXT://0.0.0.0:1,[::1]:2", "num.partitions": "8",
	}})
	if err != nil {
		t.Fatal(err)
	}
	if s.NodeID != 7 || s.DataDir != "/data" || s.NumPartitions != 8 ||
		!reflect.DeepEqual(s.Listeners, []string{"0.0.0.0:1", "[::1]:2"}) {
		t.Errorf("got %+v", s)
	}
	for _, bad := range []map[string]string{
		{"num.partitions": "0"}, {"num.partition": "1"}, {"socket.request.max.bytes": "1 GiB"},
	} {
		if _, err := EffectiveBroker(BrokerConfig{Static: bad}); err == nil {
			t.Errorf("%v is accepted", bad)
		}
	}
}

func find(t *testing.T, entries []Entry, name string) Entry {
	t.Helper()
	for _, e := range entries {
		if e.Name == name {
			return e
		}
	}
	t.Fatalf("%s is not described", name)
	return Entry{}
}

func TestDescribeTopic(t *testing.T) {
	b := BrokerConfig{
		Static:         map[string]string{"log.retention.hours": "24"},
		DynamicDefault: map[string]string{"message.max.bytes": "2000000"},
	}
	entries := DescribeTopic(b, map[string]string{"retention.ms": " 1000"})
	if len(entries) != len(topicDefinitions) {
		t.Errorf("%d of %d configs are described", len(entries), len(topicDefinitions))
	}
	e := find(t, entries, "retention.ms")
	want := []Origin{
		{"retention.ms", "1000", DynamicTopic},
		{"log.retention.hours", "24", StaticBroker},
		{"log.retention.hours", "168", Default},
	}
	if *e.Value != "1000" || e.Source != DynamicTopic || !reflect.DeepEqual(e.Synonyms, want) || e.ReadOnly {
		t.Errorf("got %+v with %q", e, *e.Value)
	}
	e = find(t, DescribeTopic(b, nil), "retention.ms")
	if *e.Value != "86400000" || e.Source != StaticBroker {
		t.Errorf("got %q from %v", *e.Value, e.Source)
	}
	e = find(t, entries, "max.message.bytes")
	if *e.Value != "2000000" || e.Source != DynamicDefaultBroker || len(e.Synonyms) != 2 {
		t.Errorf("got %q from %v, %v", *e.Value, e.Source, e.Synonyms)
	}
	e = find(t, entries, "remote.storage.enable")
	if *e.Value != "false" || e.Source != Default || len(e.Synonyms) != 0 {
		t.Errorf("got %q from %v, %v", *e.Value, e.Source, e.Synonyms)
	}
}

func TestDescribeBroker(t *testing.T) {
	b := BrokerConfig{
		Static:         map[string]string{"log.retention.minutes": "5"},
		DynamicDefault: map[string]string{"log.segment.bytes": "2097152"},
		Dynamic:        map[string]string{"log.segment.bytes": "4194304"},
	}
	entries := DescribeBroker(b)
	e := find(t, entries, "log.segment.bytes")
	want := []Origin{
		{"log.segment.bytes", "4194304", DynamicBroker},
		{"log.segment.bytes", "2097152", DynamicDefaultBroker},
		{"log.segment.bytes", "1073741824", Default},
	}
	if *e.Value != "4194304" || e.Source != DynamicBroker || !reflect.DeepEqual(e.Synonyms, want) || e.ReadOnly {
		t.Errorf("got %+v with %q", e, *e.Value)
	}
	if e := find(t, entries, "log.retention.ms"); e.Value != nil || e.Source != Default {
		t.Errorf("log.retention.ms has a value from %v", e.Source)
	}
	if e := find(t, entries, "log.retention.minutes"); *e.Value != "5" || e.Source != StaticBroker || !e.ReadOnly {
		t.Errorf("log.retention.minutes: %+v", e)
	}
	defaults := DescribeBrokerDefaults(b.DynamicDefault)
	if len(defaults) != 1 || *defaults[0].Value != "2097152" || len(defaults[0].Synonyms) != 1 {
		t.Errorf("defaults: %+v", defaults)
	}
}

func TestSensitiveValuesAreHidden(t *testing.T) {
	d := &Definition{Name: "secret", Kind: Broker, Type: Password, Sensitive: true}
	e := Entry{Definition: d, Synonyms: []Origin{{"secret", "hunter2", StaticBroker}}}
	e.show(e.Synonyms[0])
	if e.Value != nil || e.Synonyms[0].Value != "" || e.Source != StaticBroker {
		t.Errorf("got %+v", e)
	}
	err := &ValueError{Definition: d, Value: "hunter2", Err: errTooLong}
	if strings.Contains(err.Error(), "hunter2") {
		t.Error(err)
	}
}

//go:generate env FANFOLD_REWRITE=1 go test -run TestDocumentation .

// TestDocumentation holds docs/configuration.md to the table; with
// FANFOLD_REWRITE set it writes the page anew.
func TestDocumentation(t *testing.T) {
	const page = "../../docs/configuration.md"
	want := Markdown()
	if os.Getenv("FANFOLD_REWRITE") != "" {
		if err := os.MkdirAll("../../docs", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if strings.ReplaceAll(string(got), "\r\n", "\n") != want {
		t.Errorf("%s is not what the table says: run go generate in cluster/configs", page)
	}
}

func BenchmarkEffectiveTopic(b *testing.B) {
	b.ReportAllocs()
	overrides := map[string]string{"retention.ms": "1000", "segment.bytes": "1048576"}
	for b.Loop() {
		if _, err := EffectiveTopic(BrokerConfig{}, overrides); err != nil {
			b.Fatal(err)
		}
	}
}
