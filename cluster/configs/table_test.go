package configs

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestTableIsSound(t *testing.T) {
	for _, kind := range []Kind{Topic, Broker} {
		for _, d := range All(kind) {
			t.Run(kind.String()+"/"+d.Name, func(t *testing.T) { checkDefinition(t, d) })
		}
	}
	if len(topicByName) != len(topicDefinitions) || len(brokerByName) != len(brokerDefinitions) {
		t.Error("a name is there twice")
	}
}

func checkDefinition(t *testing.T, d *Definition) {
	if d.Kind != Topic && d.Kind != Broker {
		t.Errorf("its kind is %v", d.Kind)
	}
	if !d.NoDefault {
		v, err := Parse(d, d.Default)
		if err != nil {
			t.Errorf("its default is refused: %v", err)
		} else if Format(v) != d.Default {
			t.Errorf("its default is written %q, %q when parsed", d.Default, Format(v))
		}
	}
	if d.Doc == "" || !strings.HasSuffix(d.Doc, ".") || strings.Contains(d.Doc, "|") {
		t.Errorf("its text is %q", d.Doc)
	}
	if !slices.Contains(groupOrder, d.Group) {
		t.Errorf("its group %q is not listed", d.Group)
	}
	for _, name := range d.Synonyms {
		if Lookup(Broker, name) == nil {
			t.Errorf("its synonym %s is unknown", name)
		}
	}
	if d.Kind == Topic {
		if got := (BrokerConfig{}).Governing(d); got.Value != d.Default || got.Source != Default {
			t.Errorf("its default is %q, its brokers' %q", d.Default, got.Value)
		}
	}
}

func TestTypesAndSourcesAreNumberedAsOnTheWire(t *testing.T) {
	for ours, wire := range map[Type]kmsg.ConfigType{
		Boolean: kmsg.ConfigTypeBoolean, String: kmsg.ConfigTypeString, Int: kmsg.ConfigTypeInt,
		Short: kmsg.ConfigTypeShort, Long: kmsg.ConfigTypeLong, Double: kmsg.ConfigTypeDouble,
		List: kmsg.ConfigTypeList, Class: kmsg.ConfigTypeClass, Password: kmsg.ConfigTypePassword,
	} {
		if int8(ours) != int8(wire) {
			t.Errorf("type %v is %d, on the wire %d", ours, ours, wire)
		}
	}
	for ours, wire := range map[Source]kmsg.ConfigSource{
		DynamicTopic: kmsg.ConfigSourceDynamicTopicConfig, DynamicBroker: kmsg.ConfigSourceDynamicBrokerConfig,
		DynamicDefaultBroker: kmsg.ConfigSourceDynamicDefaultBrokerConfig,
		StaticBroker:         kmsg.ConfigSourceStaticBrokerConfig, Default: kmsg.ConfigSourceDefaultConfig,
	} {
		if int8(ours) != int8(wire) || ours.String() != wire.String() {
			t.Errorf("source %v is %d, on the wire %v, %d", ours, ours, wire, wire)
		}
	}
}

func TestNearest(t *testing.T) {
	for _, c := range []struct {
		kind       Kind
		name, want string
	}{
		{Topic, "retention.m", "retention.ms"},
		{Topic, "retention_ms", "retention.ms"},
		{Topic, "Segment.Bytes", "segment.bytes"},
		{Topic, "max.mesage.bytes", "max.message.bytes"},
		{Broker, "num.partition", "num.partitions"},
		{Broker, "auto.create.topic.enable", "auto.create.topics.enable"},
		{Broker, "log.retention.hour", "log.retention.hours"},
	} {
		if got := Nearest(c.kind, c.name); got != c.want {
			t.Errorf("nearest to %s config %q is %q, want %q", c.kind, c.name, got, c.want)
		}
	}
	_, err := Find(Topic, "retention.mss")
	if want := `unknown topic config "retention.mss"; did you mean "retention.ms"?`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if _, err := Find(Topic, strings.Repeat("x", 1<<20)); len(err.Error()) > 1000 {
		t.Errorf("a long name makes a message of %d bytes", len(err.Error()))
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		kind        Kind
		name, value string
		want        string // the error's text; empty: accepted
	}{
		{Topic, "retention.ms", "-1", ""},
		{Topic, "retention.ms", "0", ""},
		{Topic, "retention.ms", " 60000 ", ""},
		{Topic, "retention.ms", "-2", `invalid value "-2" for retention.ms: it is below 0 and not -1; it must be a whole number of milliseconds, at least 0, or -1: no limit`},
		{Topic, "retention.ms", "7d", `invalid value "7d" for retention.ms: it is not a whole number; it must be a whole number of milliseconds, at least 0, or -1: no limit`},
		{Topic, "retention.ms", "9223372036854775808", `invalid value "9223372036854775808" for retention.ms: it does not fit 64 bits; it must be a whole number of milliseconds, at least 0, or -1: no limit`},
		{Topic, "segment.bytes", "1000", `invalid value "1000" for segment.bytes: it is below 1048576; it must be a whole number of bytes, at least 1048576`},
		{Topic, "segment.bytes", "2147483648", `invalid value "2147483648" for segment.bytes: it does not fit 32 bits; it must be a whole number of bytes, at least 1048576`},
		{Topic, "cleanup.policy", "delete", ""},
		{Topic, "cleanup.policy", "compact", ""},
		{Topic, "cleanup.policy", "compact, delete", ""},
		{Topic, "cleanup.policy", "compacted", `invalid value "compacted" for cleanup.policy: "compacted" is not one of delete, compact; it must be a list separated by commas, delete, compact, or both`},
		{Broker, "log.cleaner.threads", "2", `invalid value "2" for log.cleaner.threads: only 1 is supported: one log of a node is compacted at a time; it must be a whole number, only 1: one log of a node is compacted at a time`},
		{Topic, "compression.type", "zstd", ""},
		{Topic, "compression.type", "brotli", `invalid value "brotli" for compression.type: it is not one of producer, uncompressed, gzip, snappy, lz4, zstd; it must be a text, one of producer, uncompressed, gzip, snappy, lz4, zstd`},
		{Topic, "compression.gzip.level", "9", ""},
		{Topic, "compression.gzip.level", "0", `invalid value "0" for compression.gzip.level: it is not from 1 to 9 and not -1; it must be a whole number, from 1 to 9, or -1: the encoder's default`},
		{Topic, "unclean.leader.election.enable", "FALSE", ""},
		{Topic, "unclean.leader.election.enable", "true", `invalid value "true" for unclean.leader.election.enable: only false is supported: a replica that lacks acknowledged records never leads; it must be true or false, only false: a replica that lacks acknowledged records never leads`},
		{Topic, "unclean.leader.election.enable", "yes", `invalid value "yes" for unclean.leader.election.enable: it is neither true nor false; it must be true or false, only false: a replica that lacks acknowledged records never leads`},
		{Topic, "min.cleanable.dirty.ratio", "0.25", ""},
		{Topic, "min.cleanable.dirty.ratio", "NaN", `invalid value "NaN" for min.cleanable.dirty.ratio: it is not from 0 to 1; it must be a number, from 0 to 1`},
		{Topic, "remote.storage.enable", "false", ""},
		{Topic, "leader.replication.throttled.replicas", "", ""},
		{Broker, "listeners", "PLAINTEXT://:9092,127.0.0.1:9095", ""},
		{Broker, "listeners", "SSL://:9092", `invalid value "SSL://:9092" for listeners: the listener "SSL" is of a kind that is not built yet: PLAINTEXT is; it must be a list separated by commas, host:port or PLAINTEXT://host:port`},
		{Broker, "http.listen", "", ""},
		{Broker, "http.listen", "off", ""},
		{Broker, "http.listen", "localhost:99999", `invalid value "localhost:99999" for http.listen: port "99999" is not from 0 to 65535; it must be a text, host:port, or off`},
		{Broker, "log.dirs", "/a,/b", `invalid value "/a,/b" for log.dirs: a node has one data directory; it must be a text, one directory`},
		{Broker, "log.retention.ms", "0", `invalid value "0" for log.retention.ms: it is below 1 and not -1; it must be a whole number of milliseconds, at least 1, or -1: no limit`},
	} {
		err := Validate(c.kind, c.name, c.value)
		if got := text(err); got != c.want {
			t.Errorf("%s=%q:\n got %s\nwant %s", c.name, c.value, got, c.want)
		}
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func FuzzParse(f *testing.F) {
	for _, kind := range []Kind{Topic, Broker} {
		for _, d := range All(kind) {
			f.Add(kind == Topic, d.Name, d.Default)
		}
	}
	f.Add(true, "min.cleanable.dirty.ratio", "1e-400")
	f.Add(false, "listeners", "PLAINTEXT://[::1]:0,")
	f.Fuzz(func(t *testing.T, topic bool, name, value string) {
		kind := Broker
		if topic {
			kind = Topic
		}
		d, err := Find(kind, name)
		if err != nil {
			return
		}
		v, err := Parse(d, value)
		if err != nil {
			if len(err.Error()) > 4096 {
				t.Errorf("a message of %d bytes", len(err.Error()))
			}
			return
		}
		again, err := Parse(d, Format(v))
		if err != nil || Format(again) != Format(v) {
			t.Errorf("%s=%q is %q when parsed, then %v, %v", name, value, Format(v), again, err)
		}
		if kind == Topic {
			if _, err := EffectiveTopic(BrokerConfig{}, map[string]string{name: value}); err != nil {
				t.Errorf("%s=%q is taken alone, and refused in a topic: %v", name, value, err)
			}
			return
		}
		set := BrokerConfig{Static: map[string]string{name: value}}
		if _, err := EffectiveTopic(set, nil); err != nil {
			t.Error(err)
		}
		_, _ = EffectiveBroker(set)
	})
}

func TestFromHuman(t *testing.T) {
	for _, c := range []struct{ kind, name, value, want, err string }{
		{"t", "retention.ms", "7d", "604800000", ""},
		{"t", "retention.ms", "1h30m", "5400000", ""},
		{"t", "retention.ms", "1 week", "", `"week" is no unit of it`},
		{"t", "retention.ms", "-1", "-1", ""},
		{"t", "retention.ms", "12", "12", ""},
		{"t", "segment.bytes", "1GiB", "1073741824", ""},
		{"t", "segment.bytes", "64 mb", "64000000", ""},
		{"t", "segment.bytes", "7d", "", `"d" is no unit of it`},
		{"t", "retention.bytes", "99999999999TiB", "", "it is too large"},
		{"t", "compression.type", "zstd", "zstd", ""},
		{"t", "min.insync.replicas", "2", "2", ""},
		{"b", "log.retention.hours", "7d", "168", ""},
		{"b", "log.retention.hours", "90m", "", "it is not a whole number of hours"},
		{"b", "listeners", "127.0.0.1:9092", "127.0.0.1:9092", ""},
	} {
		kind := Topic
		if c.kind == "b" {
			kind = Broker
		}
		got, err := FromHuman(Lookup(kind, c.name), c.value)
		if got != c.want || !strings.Contains(text(err), c.err) || (c.err == "") != (err == nil) {
			t.Errorf("%s=%s is %q, %v; want %q, %q", c.name, c.value, got, err, c.want, c.err)
		}
	}
}

func FuzzFromHuman(f *testing.F) {
	for _, seed := range []string{"7d", "1GiB", "1h30m", "-1", "", "9223372036854775807ms", "1é"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		for _, name := range slices.Sorted(maps.Keys(topicByName)) {
			d := topicByName[name]
			plain, err := FromHuman(d, value)
			if err != nil {
				continue
			}
			if again, err := FromHuman(d, plain); err != nil || again != plain {
				t.Errorf("%s: %q is %q, which is %q, %v", name, value, plain, again, err)
			}
		}
	})
}
