package configs

import "errors"

// cleanerDefinitions are the configs of log compaction on a node. Those of
// topics are in the topics' table.
var cleanerDefinitions = []Definition{
	{Name: "log.cleaner.enable", Type: Boolean, Default: "true", Group: groupUpkeep,
		Doc: "Whether topics are compacted whose cleanup.policy says so. Without, their logs grow for ever."},
	{Name: "log.cleaner.threads", Type: Int, Default: "1", Mode: ClusterWide, Group: groupUpkeep,
		Valid: only("1", "one log of a node is compacted at a time"),
		Doc:   "How many logs are compacted at a time."},
	{Name: "log.cleaner.io.max.bytes.per.second", Type: Double, Unit: Bytes, Default: "33554432", Mode: ClusterWide, Group: groupUpkeep,
		Valid: cleanerRate,
		Doc:   "How many bytes compaction reads and writes a second, on the whole node. Kafka's default is no limit."},
	{Name: "log.cleaner.dedupe.buffer.size", Type: Long, Unit: Bytes, Default: "16777216", Mode: ClusterWide, Group: groupUpkeep,
		Valid: atLeast(1 << 20),
		Doc:   "How much memory compaction takes for telling keys apart, 24 bytes a key, while it runs. Where a log has more keys that are new, it takes several passes. Kafka's default is 128 MiB."},
	{Name: "log.cleaner.io.buffer.size", Type: Int, Unit: Bytes, Default: "524288", Mode: ClusterWide, Group: groupUpkeep,
		Valid: between(1<<12, 1<<30),
		Doc:   "How much memory compaction takes for reading and writing. A batch that is larger is read as a whole."},
	{Name: "log.cleaner.io.buffer.load.factor", Type: Double, Default: "0.9", Mode: ClusterWide, Group: groupUpkeep,
		Valid: between(0.1, 0.99),
		Doc:   "Which share of log.cleaner.dedupe.buffer.size is filled. More keys fit in a pass with a higher one, and each takes longer to find."},
	{Name: "log.cleaner.backoff.ms", Type: Long, Unit: Milliseconds, Default: "15000", Mode: ClusterWide, Group: groupUpkeep,
		Valid: atLeast(1),
		Doc:   "How long the cleaner waits before it looks again, where no log was to be compacted."},
}

// cleanerRate allows what a rate can be: a double may be no number.
var cleanerRate = Validator{
	Text: "at least 1024",
	Check: func(v any) error {
		if !(number(v) >= 1024) {
			return errors.New("it is below 1024")
		}
		return nil
	},
}

// CleanerSettings is what the configs of log compaction say, typed.
type CleanerSettings struct {
	Enable           bool
	MaxBytesPerSec   float64
	DedupeBytes      int64
	BufferBytes      int32
	BufferLoadFactor float64
	BackoffMillis    int64
}

func (v values) cleanerSettings() CleanerSettings {
	return CleanerSettings{
		Enable:           get[bool](v, "log.cleaner.enable"),
		MaxBytesPerSec:   get[float64](v, "log.cleaner.io.max.bytes.per.second"),
		DedupeBytes:      get[int64](v, "log.cleaner.dedupe.buffer.size"),
		BufferBytes:      get[int32](v, "log.cleaner.io.buffer.size"),
		BufferLoadFactor: get[float64](v, "log.cleaner.io.buffer.load.factor"),
		BackoffMillis:    get[int64](v, "log.cleaner.backoff.ms"),
	}
}
