package configs

import "slices"

// brokerDefinitions are the configs of a node: Kafka's where Kafka has one.
var brokerDefinitions = slices.Concat(nodeDefinitions, coordinatorDefinitions, cleanerDefinitions, topicDefaults())

var nodeDefinitions = []Definition{
	{Name: "node.id", Type: Int, Default: "1", Valid: atLeast(0), Group: groupNode,
		Synonyms: []string{"node.id", "broker.id"},
		Doc:      "The node's number, which no other node of the cluster has. It cannot change once the data directory exists."},
	{Name: "broker.id", Type: Int, NoDefault: true, Valid: atLeast(0), Group: groupNode,
		Synonyms: []string{"node.id", "broker.id"},
		Doc:      "An older name of node.id."},
	{Name: "broker.rack", Type: String, NoDefault: true, Group: groupNode,
		Doc: "Where the node stands. Replicas of a partition are spread over racks, and clients read from their own."},
	{Name: "listeners", Type: List, Default: "PLAINTEXT://127.0.0.1:9092", Valid: addresses, Group: groupNode,
		Doc: "Where Kafka clients connect. The default is reached from this machine alone, since there is no authentication yet."},
	{Name: "advertised.listeners", Type: List, NoDefault: true, Valid: addresses, Group: groupNode,
		Doc: "The addresses that clients are told to connect to, where they differ from listeners: behind a proxy or in a container."},
	{Name: "peer.listen", Type: String, Default: "127.0.0.1:9093", Valid: hostPortOrOff, Group: groupNode, Own: true,
		Doc: "Where the other nodes of the cluster connect."},
	{Name: "http.listen", Type: String, Default: "127.0.0.1:9094", Valid: hostPortOrOff, Group: groupNode, Own: true,
		Doc: "Where /metrics, /healthz and /readyz are served."},
	{Name: "log.dirs", Type: String, Default: "fanfold-data", Valid: oneDirectory, Group: groupNode,
		Synonyms: []string{"log.dirs", "log.dir"},
		Doc:      "The data directory."},
	{Name: "log.dir", Type: String, NoDefault: true, Valid: oneDirectory, Group: groupNode,
		Synonyms: []string{"log.dirs", "log.dir"},
		Doc:      "An older name of log.dirs."},
	{Name: "memory.limit.bytes", Type: Long, Unit: Bytes, Default: "50331648", Group: groupNode, Own: true,
		Valid: atLeastOrNone(33554432, "no limit of its own"),
		Doc:   "The heap size at which the garbage collector works harder, beside 56 KiB for each partition and 16 KiB for each connection. GOMEMLIMIT wins where it is set in the environment."},

	{Name: "socket.request.max.bytes", Type: Int, Unit: Bytes, Default: "104857600", Valid: atLeast(1024), Group: groupClients,
		Doc: "How large a request may be; a larger one closes the connection."},
	{Name: "socket.send.buffer.bytes", Type: Int, Unit: Bytes, Default: "102400", Group: groupClients,
		Valid: atLeastOrNone(4096, "the operating system's choice"),
		Doc:   "How much of its answers a connection hands to the operating system ahead of what the client took. More helps clients that are fast and far away; less stays in the processor's cache."},
	{Name: "queued.max.request.bytes", Type: Long, Unit: Bytes, Default: "12582912", Valid: atLeast(1 << 20), Group: groupClients,
		Doc: "How many bytes of requests are in memory at once, over all connections. Reading waits while they are used up; a single larger request passes alone. Kafka's default is no limit."},
	{Name: "max.connections", Type: Int, Default: "10000", Valid: atLeast(1), Group: groupClients,
		Doc: "How many connections of clients are open at once; more are closed at once. Kafka's default is no limit."},
	{Name: "max.connections.per.ip", Type: Int, Default: "4000", Valid: atLeast(1), Group: groupClients,
		Doc: "How many connections one address may have open at once. Kafka's default is no limit."},
	{Name: "connections.max.idle.ms", Type: Long, Unit: Milliseconds, Default: "600000", Group: groupClients,
		Valid: atLeastOrNone(1, "never"),
		Doc:   "After which time without a request a connection is closed."},
	{Name: "fetch.max.bytes", Type: Int, Unit: Bytes, Default: "57671680", Valid: atLeast(1024), Group: groupClients,
		Doc: "How many bytes of records a fetch answers at most, whatever it asks for. The first batch is sent whole though it be larger."},
	{Name: "max.incremental.fetch.session.cache.slots", Type: Int, Default: "1000", Valid: atLeast(0), Group: groupClients,
		Doc: "How many fetch sessions are kept (KIP-227). A client without one names all its partitions in each fetch."},
	{Name: "producer.id.expiration.ms", Type: Int, Unit: Milliseconds, Default: num(day), Valid: atLeast(1), Group: groupClients,
		Doc: "How long the state of an idempotent producer is kept after its last batch: after that, its duplicates are not recognized."},

	{Name: "num.partitions", Type: Int, Default: "1", Valid: atLeast(1), Group: groupTopics,
		Doc: "How many partitions a topic gets whose creator names no number."},
	{Name: "default.replication.factor", Type: Int, Default: "1", Valid: between(1, 32767), Group: groupTopics,
		Doc: "How many replicas a topic's partitions get whose creator names no number."},
	{Name: "auto.create.topics.enable", Type: Boolean, Default: "true", Group: groupTopics,
		Doc: "Whether a topic is created when a client asks for its metadata and allows it."},
	{Name: "delete.topic.enable", Type: Boolean, Default: "true", Group: groupTopics,
		Doc: "Whether topics can be deleted."},
	{Name: "max.topics", Type: Long, Default: "10000", Valid: atLeast(1), Group: groupTopics, Own: true,
		Doc: "How many topics the cluster holds; creating more is refused."},
	{Name: "max.partitions", Type: Long, Default: "100000", Valid: atLeast(1), Group: groupTopics, Own: true,
		Doc: "How many partitions all topics of the cluster have together; creating more is refused."},

	{Name: "log.retention.check.interval.ms", Type: Long, Unit: Milliseconds, Default: "300000", Valid: atLeast(1), Group: groupUpkeep,
		Doc: "How often logs are looked through for segments beyond their retention."},
	{Name: "log.scrub.days", Type: Int, Unit: Days, Default: "14", Valid: between(0, 3650), Group: groupUpkeep, Own: true,
		Doc: "In how many days the scrubber reads every log once and checks its checksums; 0 turns it off."},
	{Name: "remote.log.storage.system.enable", Type: Boolean, Default: "false", Group: groupTiering,
		Valid: only("false", "there is no tiered storage"),
		Doc:   "Whether old segments can move to a remote store."},
}

// topicDefaults are the broker configs that govern the defaults of topic
// configs.
func topicDefaults() []Definition {
	var defs []Definition
	for _, topic := range topicDefinitions {
		for _, name := range topic.Synonyms {
			d := topic
			d.Name, d.Synonyms, d.Kind, d.Mode = name, topic.Synonyms, Broker, ClusterWide
			d.Doc = "The default of the topic config " + topic.Name + "."
			if spelling, ok := spellings[name]; ok {
				spelling(&d)
			}
			if topic.Name == "retention.ms" {
				d.Valid = atLeastOrNone(1, "no limit")
			}
			defs = append(defs, d)
		}
	}
	return defs
}

// spellings are the configs that differ from the topic config that they govern
// by more than the name: in unit, or in that another spelling has the default.
var spellings = map[string]func(d *Definition){
	"log.retention.ms":                noDefault,
	"log.retention.minutes":           func(d *Definition) { noDefault(d); d.Type, d.Unit, d.Mode = Int, Minutes, ReadOnly },
	"log.retention.hours":             func(d *Definition) { d.Type, d.Unit, d.Mode, d.Default = Int, Hours, ReadOnly, "168" },
	"log.roll.ms":                     noDefault,
	"log.roll.hours":                  func(d *Definition) { d.Type, d.Unit, d.Mode, d.Default = Int, Hours, ReadOnly, "168" },
	"log.roll.jitter.ms":              noDefault,
	"log.roll.jitter.hours":           func(d *Definition) { d.Type, d.Unit, d.Mode, d.Default = Int, Hours, ReadOnly, "0" },
	"log.flush.interval.ms":           noDefault,
	"log.flush.scheduler.interval.ms": func(d *Definition) { d.Mode = ReadOnly },
}

func noDefault(d *Definition) { d.Default, d.NoDefault = "", true }

func init() {
	for i := range brokerDefinitions {
		brokerDefinitions[i].Kind = Broker
	}
}
