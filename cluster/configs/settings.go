package configs

import (
	"errors"
	"strings"
)

// Settings is every config of a node that does not merely govern a topic
// config's default, typed. Names, units and meanings are those of the table.
type Settings struct {
	NodeID              int32 // node.id or broker.id
	Rack                string
	Listeners           []string // host:port
	AdvertisedListeners []string // host:port; the listeners where not set
	PeerListen          string   // host:port, empty: off
	HTTPListen          string   // host:port, empty: off
	DataDir             string   // log.dirs or log.dir
	MemoryLimitBytes    int64    // -1: none

	SocketRequestMaxBytes      int32
	SocketSendBufferBytes      int32 // -1: the operating system's choice
	QueuedMaxRequestBytes      int64
	MaxConnections             int32
	MaxConnectionsPerIP        int32
	ConnectionsMaxIdleMillis   int64 // -1: never
	FetchMaxBytes              int32
	FetchSessionCacheSlots     int32
	ProducerIDExpirationMillis int32

	NumPartitions            int32
	DefaultReplicationFactor int16
	AutoCreateTopics         bool
	DeleteTopics             bool
	MaxTopics                int64
	MaxPartitions            int64

	GroupMinSessionTimeoutMillis         int32
	GroupMaxSessionTimeoutMillis         int32
	GroupInitialRebalanceDelayMillis     int32
	GroupMaxSize                         int32
	GroupMaxGroups                       int32
	GroupMaxMetadataBytes                int64
	GroupConsumerSessionTimeoutMillis    int32
	GroupConsumerHeartbeatIntervalMillis int32
	GroupConsumerMaxSize                 int32
	GroupConsumerAssignors               []string
	GroupConsumerAssignmentMillis        int32
	GroupConsumerMigrationPolicy         string
	GroupConsumerRegexRefreshMillis      int32
	OffsetMetadataMaxBytes               int32
	OffsetsRetentionMinutes              int32
	OffsetsRetentionCheckIntervalMillis  int64
	OffsetsTopicPartitions               int32
	OffsetsTopicReplicationFactor        int16
	OffsetsTopicSegmentBytes             int32

	RetentionCheckIntervalMillis int64
	ScrubDays                    int32 // 0: never
	Cleaner                      CleanerSettings
}

// EffectiveBroker computes a node's settings. The error joins one for each
// layer with a config that is unknown or whose value is not taken; such a value
// counts as not set.
func EffectiveBroker(b BrokerConfig) (Settings, error) {
	v := make(values, len(nodeDefinitions)+len(coordinatorDefinitions)+len(cleanerDefinitions))
	for _, table := range [][]Definition{nodeDefinitions, coordinatorDefinitions, cleanerDefinitions} {
		for i := range table {
			v[table[i].Name] = b.governingValue(brokerByName[table[i].Name])
		}
	}
	s := v.settings()
	if len(s.AdvertisedListeners) == 0 {
		s.AdvertisedListeners = s.Listeners
	}
	errs := []error{ValidateAll(Broker, b.Static), ValidateAll(Broker, b.DynamicDefault), ValidateAll(Broker, b.Dynamic)}
	return s, errors.Join(errs...)
}

func (v values) settings() Settings {
	return Settings{
		NodeID:              get[int32](v, "node.id"),
		Rack:                get[string](v, "broker.rack"),
		Listeners:           hostPorts(get[[]string](v, "listeners")),
		AdvertisedListeners: hostPorts(get[[]string](v, "advertised.listeners")),
		PeerListen:          addressOrOff(get[string](v, "peer.listen")),
		HTTPListen:          addressOrOff(get[string](v, "http.listen")),
		DataDir:             get[string](v, "log.dirs"),
		MemoryLimitBytes:    get[int64](v, "memory.limit.bytes"),

		SocketRequestMaxBytes:      get[int32](v, "socket.request.max.bytes"),
		SocketSendBufferBytes:      get[int32](v, "socket.send.buffer.bytes"),
		QueuedMaxRequestBytes:      get[int64](v, "queued.max.request.bytes"),
		MaxConnections:             get[int32](v, "max.connections"),
		MaxConnectionsPerIP:        get[int32](v, "max.connections.per.ip"),
		ConnectionsMaxIdleMillis:   get[int64](v, "connections.max.idle.ms"),
		FetchMaxBytes:              get[int32](v, "fetch.max.bytes"),
		FetchSessionCacheSlots:     get[int32](v, "max.incremental.fetch.session.cache.slots"),
		ProducerIDExpirationMillis: get[int32](v, "producer.id.expiration.ms"),

		NumPartitions:            get[int32](v, "num.partitions"),
		DefaultReplicationFactor: int16(get[int32](v, "default.replication.factor")),
		AutoCreateTopics:         get[bool](v, "auto.create.topics.enable"),
		DeleteTopics:             get[bool](v, "delete.topic.enable"),
		MaxTopics:                get[int64](v, "max.topics"),
		MaxPartitions:            get[int64](v, "max.partitions"),

		GroupMinSessionTimeoutMillis:         get[int32](v, "group.min.session.timeout.ms"),
		GroupMaxSessionTimeoutMillis:         get[int32](v, "group.max.session.timeout.ms"),
		GroupInitialRebalanceDelayMillis:     get[int32](v, "group.initial.rebalance.delay.ms"),
		GroupMaxSize:                         get[int32](v, "group.max.size"),
		GroupMaxMetadataBytes:                get[int64](v, "group.max.metadata.bytes"),
		GroupMaxGroups:                       get[int32](v, "group.max.groups"),
		GroupConsumerSessionTimeoutMillis:    get[int32](v, "group.consumer.session.timeout.ms"),
		GroupConsumerHeartbeatIntervalMillis: get[int32](v, "group.consumer.heartbeat.interval.ms"),
		GroupConsumerMaxSize:                 get[int32](v, "group.consumer.max.size"),
		GroupConsumerAssignors:               get[[]string](v, "group.consumer.assignors"),
		GroupConsumerAssignmentMillis:        get[int32](v, "group.consumer.assignment.interval.ms"),
		GroupConsumerMigrationPolicy:         get[string](v, "group.consumer.migration.policy"),
		GroupConsumerRegexRefreshMillis:      get[int32](v, "group.consumer.regex.refresh.interval.ms"),
		OffsetMetadataMaxBytes:               get[int32](v, "offset.metadata.max.bytes"),
		OffsetsRetentionMinutes:              get[int32](v, "offsets.retention.minutes"),
		OffsetsRetentionCheckIntervalMillis:  get[int64](v, "offsets.retention.check.interval.ms"),
		OffsetsTopicPartitions:               get[int32](v, "offsets.topic.num.partitions"),
		OffsetsTopicReplicationFactor:        get[int16](v, "offsets.topic.replication.factor"),
		OffsetsTopicSegmentBytes:             get[int32](v, "offsets.topic.segment.bytes"),

		RetentionCheckIntervalMillis: get[int64](v, "log.retention.check.interval.ms"),
		ScrubDays:                    get[int32](v, "log.scrub.days"),
		Cleaner:                      v.cleanerSettings(),
	}
}

// hostPorts takes the names off listeners such as PLAINTEXT://host:port.
func hostPorts(listeners []string) []string {
	addresses := make([]string, len(listeners))
	for i, l := range listeners {
		_, address, named := strings.Cut(l, "://")
		if !named {
			address = l
		}
		addresses[i] = address
	}
	return addresses
}

// addressOrOff is an address, empty where none is to be listened at.
func addressOrOff(value string) string {
	if value == "off" {
		return ""
	}
	return value
}
