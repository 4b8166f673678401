package configs

import "strconv"

// The headings of the documentation, in its order.
const (
	groupCleaning    = "Retention and cleaning"
	groupSegments    = "Segments"
	groupDurability  = "Durability and replication"
	groupBatches     = "Record batches"
	groupCompression = "Compression"
	groupTiering     = "Tiered storage"
	groupNode        = "Node and addresses"
	groupTopics      = "Topics"
	groupClients     = "Clients and limits"
	groupUpkeep      = "Upkeep"
	groupGroups      = "Consumer groups"
)

var groupOrder = []string{
	groupNode, groupClients, groupTopics, groupGroups, groupCleaning, groupSegments, groupDurability,
	groupBatches, groupCompression, groupUpkeep, groupTiering,
}

const (
	maxLong = "9223372036854775807"
	day     = 24 * 60 * 60 * 1000 // milliseconds
)

func num(n int64) string { return strconv.FormatInt(n, 10) }

// topicDefinitions are Kafka's topic configs with Kafka's defaults but for
// flush.messages.
var topicDefinitions = []Definition{
	{Name: "cleanup.policy", Type: List, Default: "delete", Valid: cleanupPolicy, Group: groupCleaning,
		Synonyms: []string{"log.cleanup.policy"},
		Doc: "What happens to old records: delete removes whole segments once they are beyond retention.ms or retention.bytes; " +
			"compact keeps the newest record of each key; both may be given."},
	{Name: "retention.ms", Type: Long, Unit: Milliseconds, Default: num(7 * day), Group: groupCleaning,
		Valid:    atLeastOrNone(0, "no limit"),
		Synonyms: []string{"log.retention.ms", "log.retention.minutes", "log.retention.hours"},
		Doc:      "How long records are kept: a segment goes once its newest record is older than this."},
	{Name: "retention.bytes", Type: Long, Unit: Bytes, Default: "-1", Group: groupCleaning,
		Valid:    atLeastOrNone(0, "no limit"),
		Synonyms: []string{"log.retention.bytes"},
		Doc:      "How large a partition may grow before its oldest segments go. It counts for each partition, not for the topic."},
	{Name: "delete.retention.ms", Type: Long, Unit: Milliseconds, Default: num(day), Valid: atLeast(0), Group: groupCleaning,
		Synonyms: []string{"log.cleaner.delete.retention.ms"},
		Doc:      "How long a compacted topic keeps the tombstones of deleted keys, counted from when they were compacted: a reader that began before and takes less time sees every deletion. It matters to compacted topics alone."},
	{Name: "min.compaction.lag.ms", Type: Long, Unit: Milliseconds, Default: "0", Valid: atLeast(0), Group: groupCleaning,
		Synonyms: []string{"log.cleaner.min.compaction.lag.ms"},
		Doc:      "How long a record stays untouched by compaction at least. It matters to compacted topics alone."},
	{Name: "max.compaction.lag.ms", Type: Long, Unit: Milliseconds, Default: maxLong, Valid: atLeast(1), Group: groupCleaning,
		Synonyms: []string{"log.cleaner.max.compaction.lag.ms"},
		Doc:      "How long a record stays untouched by compaction at most: segments are sealed, and compacted whatever their dirty ratio, once a record is older. It matters to compacted topics alone."},
	{Name: "min.cleanable.dirty.ratio", Type: Double, Default: "0.5", Valid: between(0, 1), Group: groupCleaning,
		Synonyms: []string{"log.cleaner.min.cleanable.ratio"},
		Doc:      "Compaction begins where more than this share of a log was not compacted yet. It matters to compacted topics alone."},
	{Name: "file.delete.delay.ms", Type: Long, Unit: Milliseconds, Default: "60000", Valid: atLeast(0), Group: groupCleaning,
		Synonyms: []string{"log.segment.delete.delay.ms"},
		Doc:      "How long a removed segment's file stays on disk, so that fetches under way can end."},

	{Name: "segment.bytes", Type: Int, Unit: Bytes, Default: "1073741824", Valid: atLeast(1 << 20), Group: groupSegments,
		Synonyms: []string{"log.segment.bytes"},
		Doc:      "How large a segment file grows before the next begins. Retention removes whole segments, so that smaller ones make it finer."},
	{Name: "segment.ms", Type: Long, Unit: Milliseconds, Default: num(7 * day), Valid: atLeast(1), Group: groupSegments,
		Synonyms: []string{"log.roll.ms", "log.roll.hours"},
		Doc:      "After which time the next segment begins though the last is not full, so that retention can remove it."},
	{Name: "segment.jitter.ms", Type: Long, Unit: Milliseconds, Default: "0", Valid: atLeast(0), Group: groupSegments,
		Synonyms: []string{"log.roll.jitter.ms", "log.roll.jitter.hours"},
		Doc:      "At most how much is taken off segment.ms at random, so that not all partitions roll at once."},
	{Name: "segment.index.bytes", Type: Int, Unit: Bytes, Default: "10485760", Group: groupSegments,
		Valid:    only("10485760", "an index takes no room ahead of its entries, so there is nothing to size"),
		Synonyms: []string{"log.index.size.max.bytes"},
		Doc:      "How large the index of a segment may be in Kafka."},
	{Name: "index.interval.bytes", Type: Int, Unit: Bytes, Default: "4096", Valid: atLeast(0), Group: groupSegments,
		Synonyms: []string{"log.index.interval.bytes"},
		Doc:      "After how many bytes of log the index gets an entry. Fewer make look-ups read less and the index larger."},
	{Name: "preallocate", Type: Boolean, Default: "false", Group: groupSegments,
		Valid:    only("false", "segments grow as they are written"),
		Synonyms: []string{"log.preallocate"},
		Doc:      "Whether a segment takes its whole room on disk when it begins."},

	{Name: "flush.messages", Type: Long, Unit: Records, Default: "1", Valid: atLeast(1), Group: groupDurability,
		Synonyms: []string{"log.flush.interval.messages"},
		Doc: "After how many records the log is synced to disk. 1, the default, means that every acknowledged record is on disk; " +
			"a larger value relaxes the topic: acknowledgements no longer wait for the disk. Kafka's default is never."},
	{Name: "flush.ms", Type: Long, Unit: Milliseconds, Default: maxLong, Valid: atLeast(0), Group: groupDurability,
		Synonyms: []string{"log.flush.interval.ms", "log.flush.scheduler.interval.ms"},
		Doc:      "After which time what was written is synced to disk in any case, where flush.messages is above 1."},
	{Name: "min.insync.replicas", Type: Int, Default: "1", Valid: atLeast(1), Group: groupDurability,
		Synonyms: []string{"min.insync.replicas"},
		Doc: "How many replicas have to be in sync for a write with acks=all; with fewer it is refused. " +
			"A write waits for a majority of the replicas besides."},
	{Name: "unclean.leader.election.enable", Type: Boolean, Default: "false", Group: groupDurability,
		Valid:    only("false", "a replica that lacks acknowledged records never leads"),
		Synonyms: []string{"unclean.leader.election.enable"},
		Doc:      "Whether a replica that is not in sync may lead, at the price of acknowledged records."},
	{Name: "leader.replication.throttled.replicas", Type: List, Default: "", Group: groupDurability,
		Valid: only("", "replication is not throttled by replica"),
		Doc:   "The replicas whose sending of replication traffic is throttled, in Kafka."},
	{Name: "follower.replication.throttled.replicas", Type: List, Default: "", Group: groupDurability,
		Valid: only("", "replication is not throttled by replica"),
		Doc:   "The replicas whose receiving of replication traffic is throttled, in Kafka."},

	{Name: "max.message.bytes", Type: Int, Unit: Bytes, Default: "1048588", Valid: atLeast(0), Group: groupBatches,
		Synonyms: []string{"message.max.bytes"},
		Doc:      "How large a record batch may be, as it is stored."},
	{Name: "message.timestamp.type", Type: String, Default: "CreateTime", Valid: oneOf("CreateTime", "LogAppendTime"), Group: groupBatches,
		Synonyms: []string{"log.message.timestamp.type"},
		Doc:      "Whether a record keeps the time that its producer gave it (CreateTime) or gets the broker's (LogAppendTime)."},
	{Name: "message.timestamp.before.max.ms", Type: Long, Unit: Milliseconds, Default: maxLong, Valid: atLeast(0), Group: groupBatches,
		Synonyms: []string{"log.message.timestamp.before.max.ms"},
		Doc:      "How far before the broker's clock a producer's timestamp may lie. It does not apply to LogAppendTime."},
	{Name: "message.timestamp.after.max.ms", Type: Long, Unit: Milliseconds, Default: "3600000", Valid: atLeast(0), Group: groupBatches,
		Synonyms: []string{"log.message.timestamp.after.max.ms"},
		Doc:      "How far after the broker's clock a producer's timestamp may lie. It does not apply to LogAppendTime."},

	{Name: "compression.type", Type: String, Default: "producer", Group: groupCompression,
		Valid:    oneOf("producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"),
		Synonyms: []string{"compression.type"},
		Doc:      "How batches are stored: as they came (producer), or compressed anew by the codec named where they came otherwise."},
	{Name: "compression.gzip.level", Type: Int, Default: "-1", Valid: gzipLevel, Group: groupCompression,
		Synonyms: []string{"compression.gzip.level"},
		Doc:      "How hard the broker's gzip tries, where compression.type is gzip."},
	{Name: "compression.lz4.level", Type: Int, Default: "9", Valid: between(1, 17), Group: groupCompression,
		Synonyms: []string{"compression.lz4.level"},
		Doc:      "How hard the broker's lz4 tries, where compression.type is lz4. 9, the default, is its fast mode; the other levels are the high-compression mode's, of which those above 9 are one."},
	{Name: "compression.zstd.level", Type: Int, Default: "3", Valid: between(-131072, 22), Group: groupCompression,
		Synonyms: []string{"compression.zstd.level"},
		Doc:      "How hard the broker's zstd tries, where compression.type is zstd. The encoder has four levels, of which the nearest is taken."},

	{Name: "remote.storage.enable", Type: Boolean, Default: "false", Group: groupTiering,
		Valid: only("false", "there is no tiered storage"),
		Doc:   "Whether old segments move to a remote store."},
	{Name: "local.retention.ms", Type: Long, Unit: Milliseconds, Default: "-2", Group: groupTiering,
		Valid:    only("-2", "there is no tiered storage, so retention.ms governs"),
		Synonyms: []string{"log.local.retention.ms"},
		Doc:      "How long records stay on the broker's own disk once they are in a remote store; -2 means retention.ms."},
	{Name: "local.retention.bytes", Type: Long, Unit: Bytes, Default: "-2", Group: groupTiering,
		Valid:    only("-2", "there is no tiered storage, so retention.bytes governs"),
		Synonyms: []string{"log.local.retention.bytes"},
		Doc:      "How much of a partition stays on the broker's own disk besides the remote store; -2 means retention.bytes."},
	{Name: "remote.log.copy.disable", Type: Boolean, Default: "false", Group: groupTiering,
		Valid: only("false", "there is no tiered storage"),
		Doc:   "Whether segments are no longer copied to the remote store."},
	{Name: "remote.log.delete.on.disable", Type: Boolean, Default: "false", Group: groupTiering,
		Valid: only("false", "there is no tiered storage"),
		Doc:   "Whether the remote store is emptied when it is turned off."},
}

func init() {
	for i := range topicDefinitions {
		topicDefinitions[i].Kind = Topic
		topicDefinitions[i].Mode = ClusterWide
	}
}
