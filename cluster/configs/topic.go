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
	var c TopicConfig
	var errs []error
	for i := range topicDefinitions {
		d := &topicDefinitions[i]
		if text, ok := overrides[d.Name]; ok {
			v, err := Parse(d, text)
			if err == nil {
				c.set(d.Name, v)
				continue
			}
			errs = append(errs, err)
		}
		v, err := Parse(d, broker.Governing(d).Value)
		if err != nil {
			panic("configs: " + err.Error())
		}
		c.set(d.Name, v)
	}
	for _, name := range slices.Sorted(maps.Keys(overrides)) {
		if _, err := Find(Topic, name); err != nil {
			errs = append(errs, err)
		}
	}
	return c, errors.Join(errs...)
}

func (c *TopicConfig) set(name string, v any) {
	switch name {
	case "cleanup.policy":
		c.CleanupDelete = slices.Contains(v.([]string), "delete")
	case "message.timestamp.type":
		c.LogAppendTime = v == "LogAppendTime"
	case "compression.type":
		c.Compression = compressions[v.(string)]
	default:
		assign(c.field(name), v)
	}
}

// assign stores a parsed value in the field, whose type is that of the value.
func assign(field, v any) {
	switch f := field.(type) {
	case *bool:
		*f = v.(bool)
	case *int32:
		*f = v.(int32)
	case *int64:
		*f = v.(int64)
	case *float64:
		*f = v.(float64)
	case *[]string:
		*f = v.([]string)
	case *string:
		*f = v.(string)
	default:
		panic(fmt.Sprintf("configs: a field of type %T", field))
	}
}

// field returns where the config of that name is kept.
func (c *TopicConfig) field(name string) any {
	switch name {
	case "retention.ms":
		return &c.RetentionMillis
	case "retention.bytes":
		return &c.RetentionBytes
	case "delete.retention.ms":
		return &c.DeleteRetentionMillis
	case "min.compaction.lag.ms":
		return &c.MinCompactionLagMillis
	case "max.compaction.lag.ms":
		return &c.MaxCompactionLagMillis
	case "min.cleanable.dirty.ratio":
		return &c.MinCleanableDirtyRatio
	case "file.delete.delay.ms":
		return &c.FileDeleteDelayMillis
	case "segment.bytes":
		return &c.SegmentBytes
	case "segment.ms":
		return &c.SegmentMillis
	case "segment.jitter.ms":
		return &c.SegmentJitterMillis
	case "segment.index.bytes":
		return &c.SegmentIndexBytes
	case "index.interval.bytes":
		return &c.IndexIntervalBytes
	case "preallocate":
		return &c.Preallocate
	case "flush.messages":
		return &c.FlushMessages
	case "flush.ms":
		return &c.FlushMillis
	case "min.insync.replicas":
		return &c.MinInsyncReplicas
	case "unclean.leader.election.enable":
		return &c.UncleanLeaderElection
	case "leader.replication.throttled.replicas":
		return &c.LeaderThrottledReplicas
	case "follower.replication.throttled.replicas":
		return &c.FollowerThrottledReplicas
	case "max.message.bytes":
		return &c.MaxMessageBytes
	case "message.timestamp.before.max.ms":
		return &c.TimestampBeforeMaxMillis
	case "message.timestamp.after.max.ms":
		return &c.TimestampAfterMaxMillis
	case "compression.gzip.level":
		return &c.GzipLevel
	case "compression.lz4.level":
		return &c.LZ4Level
	case "compression.zstd.level":
		return &c.ZstdLevel
	case "remote.storage.enable":
		return &c.RemoteStorage
	case "local.retention.ms":
		return &c.LocalRetentionMillis
	case "local.retention.bytes":
		return &c.LocalRetentionBytes
	case "remote.log.copy.disable":
		return &c.RemoteLogCopyDisable
	case "remote.log.delete.on.disable":
		return &c.RemoteLogDeleteOnDisable
	default:
		panic("configs: no field for " + name)
	}
}
