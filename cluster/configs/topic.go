package configs

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// ValidateTopic returns why a topic cannot have the overrides: an unknown name,
// a value that is not taken, or two values that do not go together.
func ValidateTopic(overrides map[string]string) error {
	if err := ValidateAll(Topic, overrides); err != nil {
		return err
	}
	c, err := EffectiveTopic(BrokerConfig{}, overrides)
	if err != nil {
		return err
	}
	if c.MinCompactionLagMillis > c.MaxCompactionLagMillis {
		return fmt.Errorf("min.compaction.lag.ms is %d, above max.compaction.lag.ms, which is %d",
			c.MinCompactionLagMillis, c.MaxCompactionLagMillis)
	}
	return nil
}

// Compression says how a topic's batches are stored: Kafka's codec numbers, as
// in a batch's attributes, or CompressionProducer.
type Compression int8

// The values of compression.type.
const (
	CompressionProducer Compression = -1 // as they came
	CompressionNone     Compression = 0
	CompressionGzip     Compression = 1
	CompressionSnappy   Compression = 2
	CompressionLZ4      Compression = 3
	CompressionZstd     Compression = 4
)

var compressions = map[string]Compression{
	"producer": CompressionProducer, "uncompressed": CompressionNone, "gzip": CompressionGzip,
	"snappy": CompressionSnappy, "lz4": CompressionLZ4, "zstd": CompressionZstd,
}

// TopicConfig is every topic config, typed. Names, units and meanings are those
// of the table; milliseconds and bytes are −1 for "no limit" where it says so.
type TopicConfig struct {
	CleanupDelete          bool // cleanup.policy holds delete
	CleanupCompact         bool // cleanup.policy holds compact
	RetentionMillis        int64
	RetentionBytes         int64
	DeleteRetentionMillis  int64
	MinCompactionLagMillis int64
	MaxCompactionLagMillis int64
	MinCleanableDirtyRatio float64
	FileDeleteDelayMillis  int64

	SegmentBytes        int32
	SegmentMillis       int64
	SegmentJitterMillis int64
	SegmentIndexBytes   int32
	IndexIntervalBytes  int32
	Preallocate         bool

	FlushMessages             int64
	FlushMillis               int64
	MinInsyncReplicas         int32
	UncleanLeaderElection     bool
	LeaderThrottledReplicas   []string
	FollowerThrottledReplicas []string
	MaxMessageBytes           int32
	LogAppendTime             bool // message.timestamp.type
	TimestampBeforeMaxMillis  int64
	TimestampAfterMaxMillis   int64
	Compression               Compression
	GzipLevel                 int32
	LZ4Level                  int32
	ZstdLevel                 int32
	RemoteStorage             bool
	LocalRetentionMillis      int64
	LocalRetentionBytes       int64
	RemoteLogCopyDisable      bool
	RemoteLogDeleteOnDisable  bool
}

// EffectiveTopic computes a topic's configs from its overrides and the node's
// configs. On an error, which joins one for each override that is unknown or
// not taken, the rest of the result holds and those are as if not set: a topic
// made by another release stays usable.
func EffectiveTopic(broker BrokerConfig, overrides map[string]string) (TopicConfig, error) {
	v := make(values, len(topicDefinitions))
	var errs []error
	for i := range topicDefinitions {
		d := &topicDefinitions[i]
		if text, ok := overrides[d.Name]; ok {
			parsed, err := Parse(d, text)
			if err == nil {
				v[d.Name] = parsed
				continue
			}
			errs = append(errs, err)
		}
		v[d.Name] = broker.governingValue(d)
	}
	for _, name := range slices.Sorted(maps.Keys(overrides)) {
		if _, err := Find(Topic, name); err != nil {
			errs = append(errs, err)
		}
	}
	return v.topicConfig(), errors.Join(errs...)
}

// values are parsed values by the name of their config.
type values map[string]any

// get returns a value whose Go type is that of the config; the zero value for
// a config that has none.
func get[T any](v values, name string) T {
	if v[name] == nil {
		var none T
		return none
	}
	return v[name].(T)
}

func (v values) topicConfig() TopicConfig {
	return TopicConfig{
		CleanupDelete:          slices.Contains(get[[]string](v, "cleanup.policy"), "delete"),
		CleanupCompact:         slices.Contains(get[[]string](v, "cleanup.policy"), "compact"),
		RetentionMillis:        get[int64](v, "retention.ms"),
		RetentionBytes:         get[int64](v, "retention.bytes"),
		DeleteRetentionMillis:  get[int64](v, "delete.retention.ms"),
		MinCompactionLagMillis: get[int64](v, "min.compaction.lag.ms"),
		MaxCompactionLagMillis: get[int64](v, "max.compaction.lag.ms"),
		MinCleanableDirtyRatio: get[float64](v, "min.cleanable.dirty.ratio"),
		FileDeleteDelayMillis:  get[int64](v, "file.delete.delay.ms"),

		SegmentBytes:        get[int32](v, "segment.bytes"),
		SegmentMillis:       get[int64](v, "segment.ms"),
		SegmentJitterMillis: get[int64](v, "segment.jitter.ms"),
		SegmentIndexBytes:   get[int32](v, "segment.index.bytes"),
		IndexIntervalBytes:  get[int32](v, "index.interval.bytes"),
		Preallocate:         get[bool](v, "preallocate"),

		FlushMessages:             get[int64](v, "flush.messages"),
		FlushMillis:               get[int64](v, "flush.ms"),
		MinInsyncReplicas:         get[int32](v, "min.insync.replicas"),
		UncleanLeaderElection:     get[bool](v, "unclean.leader.election.enable"),
		LeaderThrottledReplicas:   get[[]string](v, "leader.replication.throttled.replicas"),
		FollowerThrottledReplicas: get[[]string](v, "follower.replication.throttled.replicas"),
		MaxMessageBytes:           get[int32](v, "max.message.bytes"),
		LogAppendTime:             get[string](v, "message.timestamp.type") == "LogAppendTime",
		TimestampBeforeMaxMillis:  get[int64](v, "message.timestamp.before.max.ms"),
		TimestampAfterMaxMillis:   get[int64](v, "message.timestamp.after.max.ms"),
		Compression:               compressions[get[string](v, "compression.type")],
		GzipLevel:                 get[int32](v, "compression.gzip.level"),
		LZ4Level:                  get[int32](v, "compression.lz4.level"),
		ZstdLevel:                 get[int32](v, "compression.zstd.level"),
		RemoteStorage:             get[bool](v, "remote.storage.enable"),
		LocalRetentionMillis:      get[int64](v, "local.retention.ms"),
		LocalRetentionBytes:       get[int64](v, "local.retention.bytes"),
		RemoteLogCopyDisable:      get[bool](v, "remote.log.copy.disable"),
		RemoteLogDeleteOnDisable:  get[bool](v, "remote.log.delete.on.disable"),
	}
}
