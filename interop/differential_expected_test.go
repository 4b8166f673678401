package interop

// What is meant to be different between Apache Kafka and Fanfold. Whoever
// changes Fanfold towards Kafka deletes a line here: an expectation that no
// longer holds fails the test.

// absentExpr fits what one answer does not have.
const absentExpr = `\(absent\)`

// topicConfigsNotHere are topic configs that Apache Kafka has and Fanfold does
// not.
const topicConfigsNotHere = `(errors\.deadletterqueue\.group\.enable|max\.decompressed\.message\.bytes|remote\.copy\.lag\.(ms|bytes))`

// Broker configs that Apache Kafka has and Fanfold does not.
const (
	ofGroups       = `(group|offsets?|share|transaction|errors|telemetry|transactional)\..*|add\.partitions\.to\.txn\..*`
	ofSecurity     = `(sasl|ssl|security|delegation|authorizer|principal|listener|connection\.failed|connections\.max\.reauth|inter\.broker|early\.start|config\.providers)\b.*`
	ofControllers  = `(controller|metadata|broker|process|initial\.broker|controlled|auto\.leader|leader\.imbalance)\..*`
	ofReplicas     = `(replica|replication|follower|num\.replica|alter\.log\.dirs)\b.*`
	ofRemoteStores = `(remote|log\.remote)\..*`
	ofThreads      = `background\.threads|num\.(io|network|recovery)\.threads.*|queued\.max\.requests|.*\.purgatory\..*|socket\.(connection\.setup|listen|receive|send)\..*|request\.timeout\.ms`
	ofCleaner      = `log\.(dir\.failure|flush\.(start\.)?offset)\..*|cordoned\.log\.dirs`
	ofPlugins      = `(kafka\.metrics|metrics|metric)\..*|.*\.policy\.class\.name|client\.quota\.callback\.class|quota\.window\..*`
	ofLimits       = `max\.connection\.creation\.rate|max\.connections\.per\.ip\.overrides|max\.request\.partition\.size\.limit`
)

const brokerConfig = `DescribeConfigs/broker v\d\.Resources\[BROKER 1\]\.Configs`

// expectedDifferences are those that are meant to be, each with its reason.
var expectedDifferences = []expectation{
	{path: `.*\.ErrorMessage`, kafka: `nil`, fanfold: `a text`,
		why: "Fanfold says what was wrong wherever the protocol has room for it"},

	// ApiVersions.
	{path: `ApiVersions/.*\.ApiKeys\[(17|2[4-9]|3[0146-9]|4[01356789]|5[0157]|6[4-7]|7[126-9]|8\d|9\d)\]`, kafka: `\{.*`, fanfold: absentExpr,
		why: "transactions, security, share groups, reassignments and quotas are not served yet, so not listed"},
	{path: `ApiVersions/.*\.((Finalized|Supported)Features\[.*\]|FinalizedFeaturesEpoch)`, fanfold: absentExpr + `|-1`,
		why: "features are finalized when they are implemented; those of Kafka's controllers never"},
	{path: `ApiVersions/.*\.FinalizedFeaturesEpoch`, kafka: `\d+`, fanfold: `1`,
		why: "Kafka counts records of its metadata log; Fanfold's features do not change"},
	{path: `ApiVersions/.* v3\.SupportedFeatures\[group\.version\]`, kafka: absentExpr,
		why: "before version 4 a lowest level of 0 cannot be said: Kafka leaves the feature out, Fanfold names level 1"},
	{path: `ApiVersions/Produce v[0-2]`, kafka: `connection closed`, fanfold: `\{.*ErrorCode:UNSUPPORTED_VERSION.*`,
		why: "listed for librdkafka and not served; the answer has room to say so"},

	// Metadata.
	{path: `Metadata/by .* v1[01]\.(Brokers\[1\]|ClusterID|ControllerID)`,
		why: "ids are refused below version 12; Kafka's refusal leaves out the brokers as well"},
	{path: `Metadata/by no id v1[23]\..*`,
		why: "neither name nor id: Kafka fails with UNKNOWN_SERVER_ERROR for the whole request, Fanfold refuses the topic alone"},
	{path: `Metadata/created on demand v4\..*`, kafka: `UNKNOWN_TOPIC_OR_PARTITION`, fanfold: `NONE`,
		why: "Kafka creates the topic afterwards; Fanfold answers when it serves, since kafka-go gives up otherwise"},
	{path: `Metadata/colliding name on demand v9\..*`, kafka: `UNKNOWN_TOPIC_OR_PARTITION`, fanfold: `INVALID_TOPIC_EXCEPTION`,
		why: "Kafka creates the topic afterwards and tells nobody that it failed"},
	{path: `Metadata/internal topic on demand .*\.IsInternal`, kafka: `true`, fanfold: `false`,
		why: "there are no internal topics before there are groups"},

	// CreateTopics and DeleteTopics.
	{path: `CreateTopics/.*, validated v7\.Topics\[[^\]]*\]\.TopicID`, kafka: `a new id`, fanfold: `no id`,
		why: "Kafka names an id for a topic that it does not make"},
	{path: `CreateTopics/internal name.*`, kafka: `INVALID_REQUEST`, fanfold: `INVALID_TOPIC_EXCEPTION`,
		why: "the name is what is wrong"},
	{path: `CreateTopics/config twice.*`, kafka: `NONE`, fanfold: `INVALID_CONFIG`,
		why: "Kafka takes the last of two values; Fanfold cannot know which is meant"},
	{path: `CreateTopics/(cleanup\.policy none|what was made).*\.Topics\[c-p2\]\.ErrorCode`, kafka: `NONE`,
		why: "an empty cleanup.policy is refused: to keep everything, set retention.ms and retention.bytes to -1"},
	{path: `DeleteTopics/by name and by id v6\.Topics\[d-both('s id)?\]`,
		why: "a topic named in two ways is answered as it was named first"},

	// Configs.
	{path: `(CreateTopics|DescribeConfigs)/.*\.Configs\[` + topicConfigsNotHere + `\]`, fanfold: absentExpr,
		why: "dead-letter queues come with share groups; there is no remote storage; the bound on decompressed records is one for the node"},
	{path: `(CreateTopics|DescribeConfigs|AlterConfigs)/.*\.Configs\[(log\.flush\.interval|flush)\.messages\]\.(ConfigSynonyms\[log\.flush\.interval\.messages\]\.)?Value`, kafka: `9223372036854775807`, fanfold: `1`,
		why: "Fanfold syncs before it acknowledges"},
	{path: `(CreateTopics|DescribeConfigs)/.*\.Configs\[min\.insync\.replicas\].*`,
		why: "Kafka 4 sets min.insync.replicas as a dynamic default when its storage is formatted (eligible leader replicas); the value is the same"},
	{path: `(DescribeConfigs|AlterConfigs)/.*\.ConfigSynonyms\[log\.(flush\.scheduler\.interval\.ms|retention\.(hours|minutes)|roll\.hours|roll\.jitter\.hours)\]`, kafka: absentExpr,
		why: "Fanfold names the broker config that a default comes from where it has another unit, too"},
	{path: `(DescribeConfigs|AlterConfigs)/.*\.ErrorMessage`, kafka: `a text`, fanfold: `nil`,
		why: "Kafka sends an empty text where there is no error"},
	{path: `DescribeConfigs/twice v\d\.Resources\[TOPIC dc-set#2\]`, fanfold: absentExpr,
		why: "what a request repeats is described once: an answer is not to grow with repetitions"},
	{path: `AlterConfigs/.*: boolean in capitals.*`,
		why: "preallocate=true is refused: segments grow as they are written"},
	{path: `AlterConfigs/.*: (broker's unknown|delete unknown) name.*`, kafka: `NONE`, fanfold: `INVALID_CONFIG`,
		why: "an unknown name is an error that names the nearest"},
	{path: `AlterConfigs/whole: broker's unknown name, then .*\.Configs\[(log\.)?retention\.ms\].*`, mayBe: true,
		why: "Kafka took the request, and what it does not name is reset, a moment later"},
	{path: `AlterConfigs/incremental: subtract\b.*`,
		why: "an empty cleanup.policy is refused"},
	{path: `AlterConfigs/two resources, one twice v1\.Resources\[TOPIC ac-incremental#2\]`, fanfold: absentExpr,
		why: "what a request repeats is refused once"},
	{path: `AlterConfigs/incremental: unknown operation.*`, kafka: `UNKNOWN_SERVER_ERROR`, fanfold: `INVALID_REQUEST`,
		why: "the request is what is wrong"},
	{path: `AlterConfigs/.*: (broker's|all brokers') (read-only name|wrong type).*`, kafka: `INVALID_REQUEST`, fanfold: `INVALID_CONFIG`,
		why: "the code is the same for topics and brokers"},

	// The broker's configs.
	{path: brokerConfig + `\[(` + ofGroups + `)\]`, fanfold: absentExpr,
		why: "share groups, streams groups and transactions are not served yet; bounds of groups' configs are fixed"},
	{path: brokerConfig + `\[group\.(max\.groups|max\.metadata\.bytes|consumer\.regex\.refresh\.interval\.ms)\]`, kafka: absentExpr,
		why: "Fanfold's own, and one that Kafka has and does not show"},
	{path: brokerConfig + `\[group\.(consumer\.)?max\.size\]\.(ConfigSynonyms\[.*\]\.)?Value`, kafka: `2147483647`,
		why: "Fanfold's limits are finite by default"},
	{path: brokerConfig + `\[offsets\.topic\.replication\.factor\]\..*`,
		why: "Kafka has to be told that it is one node alone"},
	{path: brokerConfig + `\[group\.consumer\.assignment\.interval\.ms\]\.ReadOnly`, kafka: `false`, fanfold: `true`,
		why: "it is read at the start"},
	{path: brokerConfig + `\[(` + ofSecurity + `)\]`, fanfold: absentExpr, why: "neither TLS nor authentication is served yet"},
	{path: brokerConfig + `\[(` + ofControllers + `)\]`, fanfold: absentExpr, why: "there are no controllers apart from brokers; Raft's times are fixed"},
	{path: brokerConfig + `\[(` + ofReplicas + `)\]`, fanfold: absentExpr, why: "replication is Raft's: followers are sent what is new"},
	{path: brokerConfig + `\[(` + ofRemoteStores + `)\]`, fanfold: absentExpr, why: "there is no remote storage"},
	{path: brokerConfig + `\[(` + ofThreads + `)\]`, fanfold: absentExpr, why: "there are no thread pools to size and no purgatories to purge"},
	{path: brokerConfig + `\[(` + ofCleaner + `)\]`, fanfold: absentExpr, why: "there are no checkpoints but the durable mark"},
	{path: brokerConfig + `\[log\.cleaner\.(io\.max\.bytes\.per\.second|dedupe\.buffer\.size)\]\.(ConfigSynonyms\[.*\]\.)?Value`,
		why: "compaction is paced, and takes an eighth of the memory, by default"},
	{path: brokerConfig + `\[(` + ofPlugins + `)\]`, fanfold: absentExpr, why: "there are no Java plug-ins; metrics are Prometheus's"},
	{path: brokerConfig + `\[(` + ofLimits + `)\]`, fanfold: absentExpr, why: "connections are bounded in number; a page's partitions at 2,000"},
	{path: brokerConfig + `\[(http\.listen|peer\.listen|log\.scrub\.days|max\.partitions|max\.topics|memory\.limit\.bytes)\]`, kafka: absentExpr,
		why: "Fanfold's own"},
	{path: brokerConfig + `\[(advertised\.listeners|broker\.id|node\.id|listeners|log\.dirs?)\]\..*`,
		why: "how the two are started: places, addresses and ids, and that Kafka's are given in a file"},
	{path: brokerConfig + `\[(max\.connections(\.per\.ip)?|queued\.max\.request\.bytes)\]\.(ConfigSynonyms\[.*\]\.)?Value`, kafka: `2147483647|-1`,
		why: "Fanfold's limits are finite by default"},
	{path: brokerConfig + `\[(max\.connections(\.per\.ip)?|producer\.id\.expiration\.ms)\]\.ReadOnly`, kafka: `false`, fanfold: `true`,
		why: "these are read at the start"},

	// Produce.
	{path: `Produce/topic without partitions .*`, kafka: absentExpr,
		why: "Fanfold's answer has the request's shape"},
	{path: `(ProduceErrors|Idempotence)/.*\.LogStartOffset`, kafka: `-1`, fanfold: `0`,
		why: "Fanfold tells where the log starts beside errors, too"},
	{path: `ProduceErrors/(a byte more|says LogAppendTime|times -5|producer with epoch -1).*`,
		why: "Kafka takes it: it cuts off what follows the last whole batch, corrects the timestamp type, has times before 1970 and producers without an epoch. Fanfold refuses what its sender cannot have meant"},
	{path: `ProduceErrors/(a byte short|20 bytes|5 bytes|negative count|negative last offset delta) .*`, kafka: `INVALID_RECORD`, fanfold: `CORRUPT_MESSAGE`,
		why: "bytes that cannot be a batch are damage: the client sends them again"},
	{path: `ProduceErrors/unknown codec .*`, kafka: `UNKNOWN_SERVER_ERROR`, fanfold: `UNSUPPORTED_COMPRESSION_TYPE`,
		why: "the codec is what is wrong"},
	{path: `ProduceErrors/((gzip|snappy|lz4|zstd) that is none|broken record|max time wrong|first time wrong).*`,
		why: "Kafka decodes every record; Fanfold checks CRC and header, and decodes where the topic's configs need it"},
	{path: `ProduceErrors/(time in two hours|window: .*) v\d+\..*\.ErrorRecords\[\d\]`, fanfold: absentExpr,
		why: "a batch's header tells its latest time, not which records have it"},
	{path: `ProduceErrors/(twice the same partition|after all errors) .*`,
		why: "Kafka takes the last batch of a partition that is named twice and drops the others; Fanfold appends all"},
	{path: `(ProduceErrors|Idempotence)/acks 0, .*`, kafka: `connection closed`, mayBe: true,
		why: "Fanfold closes the connection as well, but answers what arrived before the failure was known"},
	{path: `ProduceErrors/transactional without producer .*`, kafka: `TRANSACTIONAL_ID_AUTHORIZATION_FAILED`, fanfold: `INVALID_RECORD`,
		why: "the batch is refused before rights are looked at"},

	// Producers.
	{path: `Idempotence/transactional (id|produce|batch) .*`,
		why: "there are no transactions yet: transactional ids are refused"},
	{path: `Idempotence/.*\.LogAppendTime`, kafka: `1700000000000`, fanfold: `-1`,
		why: "Kafka answers duplicates with their latest CreateTime, which clients then take for all the batch's records"},

	// Fetch.
	{path: `(Fetch|FetchSessions|DeleteRecords)/.*\.(HighWatermark|LastStableOffset|LogStartOffset)`, kafka: `-1`, fanfold: `\d+`,
		why: "OFFSET_OUT_OF_RANGE carries the log's bounds: clients start from there"},
	{path: `Fetch/a partition twice .*`,
		why: "Kafka answers the last of a partition that is named twice; Fanfold answers each"},
	{path: `Fetch/(negative limit|negative partition limit|unknown isolation) .*`, kafka: `UNKNOWN_SERVER_ERROR`, fanfold: `NONE`,
		why: "Kafka fails inside; Fanfold takes a negative limit for 0 and an unknown isolation for read_uncommitted"},
	{path: `Fetch/a follower .*`,
		why: "Fanfold's replicas do not fetch: who asks is given what consumers are"},
	{path: `FetchSessions/again: .*\.ErrorCode`, kafka: `UNKNOWN_TOPIC_OR_PARTITION|INCONSISTENT_TOPIC_ID`, fanfold: `UNKNOWN_TOPIC_ID`,
		why: "the old id is unknown, in a session as without one; clients ask for metadata after each of these"},

	// DeleteRecords and ListOffsets.
	{path: `DeleteRecords/(empty|again): offset of -3 .*`,
		why: "Kafka's largest timestamp may be that of a deleted record"},
	{path: `DeleteRecords/a partition twice .*`,
		why: "Kafka carries out the last of a partition that is named twice; Fanfold carries out each"},

	// Groups.
	{path: `Groups/of .*\.ErrorMessage`, kafka: `a text`, fanfold: `nil`,
		why: "Kafka sends an empty text, or NONE, where there is no error"},
	{path: `Groups/of (a transaction|share groups' state)\b.*`, fanfold: `UNSUPPORTED_VERSION|` + absentExpr + `|\{.*ErrorCode:UNSUPPORTED_VERSION.*`,
		why: "there are no transactions and no share groups yet"},
	{path: `Groups/describe twice .*\.Groups\[(unknown#2|1)\]`, fanfold: absentExpr,
		why: "what a request repeats is described once: an answer is not to grow with repetitions"},
	{path: `Groups/instance id "" .*`, kafka: `NONE`, fanfold: `INVALID_REQUEST`,
		why: "an id without a character names nobody"},
	{path: `(Consumer)?Groups/list .*\.Groups\[static-0-\d\]`, fanfold: absentExpr,
		why: "groups whose members Fanfold refused (the instance id above)"},
	{path: `(Consumer)?Groups/list .*\.Groups\[refused\]`, fanfold: absentExpr,
		why: "Kafka keeps a group for a join that it refused"},
	{path: `ConsumerGroups/describe with .*\.SubscribedTopicRegex`, kafka: ``, fanfold: `nil`,
		why: "no regular expression is null, not an empty one"},
	{path: `ConsumerGroups/describe without members.*\.AssignmentEpoch`, kafka: `first\+1`, fanfold: `first\+0`,
		why: "once the last member has left Fanfold calculates no assignment"},

	// The cluster.
	{path: `Cluster/(controllers|unknown endpoints) .*\.(ClusterID|EndpointType)`,
		why: "Kafka's refusals are empty; Fanfold's say what was asked of which cluster"},
	{path: `Cluster/(negative cursor|cursor of a topic that is not asked for|cursor behind all topics) .*`,
		why: "Kafka refuses a cursor that it would not have given; Fanfold goes on behind it, since the topic may have been deleted between two pages"},
	{path: `Cluster/illegal topic .*`, kafka: `UNKNOWN_SERVER_ERROR`, fanfold: `INVALID_TOPIC_EXCEPTION`,
		why: "Kafka fails inside"},
	{path: `Cluster/config resources.*\[8 1\]`, fanfold: absentExpr,
		why: "log levels are set at the start"},
	{path: `Cluster/(all (topics|log dirs)|config resources).*\[(2 )?c-(n|p|p2)\]`, fanfold: absentExpr,
		why: "topics that Fanfold refused (see CreateTopics)"},
	{path: `Cluster/.*\.Size`, kafka: `0`, fanfold: `bytes`,
		why: "a replica's size is that of its segments and of its journal"},
}
