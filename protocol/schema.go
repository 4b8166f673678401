package protocol

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
)

// requestSchema is the shape of the body of one key's requests.
//
// fields is one line of text for all versions: "name:type", and "@3-5" or
// "@3+" after it where only some versions have the field. Types are bool,
// int8, int16, int32, int64, uuid, string, bytes; "?string" and "?bytes" may
// be null; "[type]" is an array of it, whose elements are a struct where fields
// stand between the brackets; "?{fields}" is a struct that may be null, and
// "{fields}" one that may not. "#0:" before a field makes it a tagged one
// (KIP-482). Arrays may always be null, as in kmsg.
type requestSchema struct {
	key      int16
	min, max int16 // versions that can be decoded
	flexible int16 // first version with tagged fields and compact lengths
	name     string
	fields   string
}

const neverFlexible = math.MaxInt16

// requestSchemas has every request that Decode knows. It follows the message
// definitions of Apache Kafka 4.4.
var requestSchemas = []requestSchema{
	{0, 3, 13, 9, "Produce", `transactional_id:?string acks:int16 timeout_ms:int32
		topics:[name:string@-12 topic_id:uuid@13+ partitions:[index:int32 records:?bytes]]`},
	{1, 4, 18, 12, "Fetch", `replica_id:int32@-14 max_wait_ms:int32 min_bytes:int32 max_bytes:int32
		isolation_level:int8 session_id:int32@7+ session_epoch:int32@7+
		topics:[name:string@-12 topic_id:uuid@13+ partitions:[partition:int32 current_leader_epoch:int32@9+
			fetch_offset:int64 last_fetched_epoch:int32@12+ log_start_offset:int64@5+ partition_max_bytes:int32
			#0:replica_directory_id:uuid #1:high_watermark:int64]]
		forgotten_topics:[name:string@-12 topic_id:uuid@13+ partitions:[int32]]@7+ rack_id:string@11+
		#0:cluster_id:?string #1:replica_state:{replica_id:int32 replica_epoch:int64}`},
	{2, 1, 11, 6, "ListOffsets", `replica_id:int32 isolation_level:int8@2+
		topics:[name:string partitions:[index:int32 current_leader_epoch:int32@4+ timestamp:int64]] timeout_ms:int32@10+`},
	{3, 0, 13, 9, "Metadata", `topics:[topic_id:uuid@10+ name:string@-9 name:?string@10+]
		allow_auto_topic_creation:bool@4+ include_cluster_authorized_operations:bool@8-10
		include_topic_authorized_operations:bool@8+`},
	{8, 2, 10, 8, "OffsetCommit", `group_id:string generation_id:int32 member_id:string group_instance_id:?string@7+
		retention_time_ms:int64@-4 topics:[name:string@-9 topic_id:uuid@10+
		partitions:[index:int32 committed_offset:int64 committed_leader_epoch:int32@6+ metadata:?string]]`},
	{9, 1, 10, 6, "OffsetFetch", `group_id:string@-7 topics:[name:string partitions:[int32]]@-7
		groups:[group_id:string member_id:?string@9+ member_epoch:int32@9+
			topics:[name:string@-9 topic_id:uuid@10+ partitions:[int32]]]@8+ require_stable:bool@7+`},
	{10, 0, 6, 3, "FindCoordinator", `key:string@-3 key_type:int8@1+ coordinator_keys:[string]@4+`},
	{11, 0, 9, 6, "JoinGroup", `group_id:string session_timeout_ms:int32 rebalance_timeout_ms:int32@1+ member_id:string
		group_instance_id:?string@5+ protocol_type:string protocols:[name:string metadata:bytes] reason:?string@8+`},
	{12, 0, 4, 4, "Heartbeat", `group_id:string generation_id:int32 member_id:string group_instance_id:?string@3+`},
	{13, 0, 5, 4, "LeaveGroup", `group_id:string member_id:string@-2
		members:[member_id:string group_instance_id:?string reason:?string@5+]@3+`},
	{14, 0, 5, 4, "SyncGroup", `group_id:string generation_id:int32 member_id:string group_instance_id:?string@3+
		protocol_type:?string@5+ protocol_name:?string@5+ assignments:[member_id:string assignment:bytes]`},
	{15, 0, 6, 5, "DescribeGroups", `groups:[string] include_authorized_operations:bool@3+`},
	{16, 0, 5, 3, "ListGroups", `states_filter:[string]@4+ types_filter:[string]@5+`},
	{18, 0, 5, 3, "ApiVersions", `client_software_name:string@3+ client_software_version:string@3+
		cluster_id:?string@5+ node_id:int32@5+`},
	{19, 2, 7, 5, "CreateTopics", `topics:[name:string num_partitions:int32 replication_factor:int16
		assignments:[partition_index:int32 broker_ids:[int32]] configs:[name:string value:?string]]
		timeout_ms:int32 validate_only:bool`},
	{20, 1, 6, 4, "DeleteTopics", `topic_names:[string]@-5 topics:[name:?string topic_id:uuid]@6+ timeout_ms:int32`},
	{21, 0, 2, 2, "DeleteRecords", `topics:[name:string partitions:[index:int32 offset:int64]] timeout_ms:int32`},
	{22, 0, 5, 2, "InitProducerId", `transactional_id:?string transaction_timeout_ms:int32 producer_id:int64@3+ producer_epoch:int16@3+`},
	{23, 2, 4, 4, "OffsetForLeaderEpoch", `replica_id:int32@3+
		topics:[name:string partitions:[index:int32 current_leader_epoch:int32 leader_epoch:int32]]`},
	{32, 1, 4, 4, "DescribeConfigs", `resources:[type:int8 name:string configuration_keys:[string]]
		include_synonyms:bool include_documentation:bool@3+`},
	{33, 0, 2, 2, "AlterConfigs", `resources:[type:int8 name:string configs:[name:string value:?string]] validate_only:bool`},
	{35, 1, 5, 2, "DescribeLogDirs", `topics:[name:string partitions:[int32]]`},
	{37, 0, 3, 2, "CreatePartitions", `topics:[name:string count:int32 assignments:[broker_ids:[int32]]]
		timeout_ms:int32 validate_only:bool`},
	{42, 0, 3, 2, "DeleteGroups", `groups_names:[string]`},
	{44, 0, 1, 1, "IncrementalAlterConfigs", `resources:[type:int8 name:string
		configs:[name:string operation:int8 value:?string]] validate_only:bool`},
	{47, 0, 0, neverFlexible, "OffsetDelete", `group_id:string topics:[name:string partitions:[index:int32]]`},
	{60, 0, 2, 0, "DescribeCluster", `include_cluster_authorized_operations:bool endpoint_type:int8@1+ include_fenced_brokers:bool@2+`},
	{61, 0, 0, 0, "DescribeProducers", `topics:[name:string partitions:[int32]]`},
	{68, 0, 1, 0, "ConsumerGroupHeartbeat", `group_id:string member_id:string member_epoch:int32 instance_id:?string
		rack_id:?string rebalance_timeout_ms:int32 subscribed_topic_names:[string] subscribed_topic_regex:?string@1+
		server_assignor:?string topic_partitions:[topic_id:uuid partitions:[int32]]`},
	{69, 0, 1, 0, "ConsumerGroupDescribe", `group_ids:[string] include_authorized_operations:bool`},
	{74, 0, 1, 0, "ListConfigResources", `resource_types:[int8]@1+`},
	{75, 0, 0, 0, "DescribeTopicPartitions", `topics:[name:string] response_partition_limit:int32
		cursor:?{topic_name:string partition_index:int32}`},
}

// fieldKind is what a field is made of.
type fieldKind uint8

const (
	kindFixed  fieldKind = iota // minBytes of it
	kindString                  // int16 or compact length
	kindBytes                   // int32 or compact length
	kindArray
	kindStruct
	kindNullableStruct // int8: −1 is null
)

// field is a field of one version of a request.
type field struct {
	name     string
	kind     fieldKind
	nullable bool
	tag      int32   // −1: not tagged
	minBytes int     // fewest that it takes
	elem     *shape  // of an array or a struct
	min, max int16   // versions, while parsing
	shape    []field // fields of all versions, while parsing
}

// shape is the fields of a struct in one version. The element of an array that
// is no struct is a shape of one field without a name.
type shape struct {
	fields   []field
	tagged   []field
	bare     bool // one element that is no struct
	minBytes int
	fixed    bool // every element takes minBytes
}

// bodySchema is what Check walks: one version of one key.
type bodySchema struct {
	name     string
	flexible bool
	body     shape
}

type keyVersion struct{ key, version int16 }

// bodySchemas compiles requestSchemas once.
var bodySchemas = sync.OnceValue(func() map[keyVersion]*bodySchema {
	all := make(map[keyVersion]*bodySchema)
	for _, r := range requestSchemas {
		p := schemaParser{rest: r.fields}
		fields := p.fields()
		for v := r.min; v <= r.max; v++ {
			flexible := v >= r.flexible
			all[keyVersion{r.key, v}] = &bodySchema{
				name: r.name, flexible: flexible, body: compileShape(fields, v, flexible, false),
			}
		}
	}
	return all
})

// compileShape keeps what version v has.
func compileShape(fields []field, v int16, flexible, bare bool) shape {
	s := shape{bare: bare, fixed: true}
	for _, f := range fields {
		if v < f.min || v > f.max {
			continue
		}
		if f.shape != nil {
			elem := compileShape(f.shape, v, flexible, f.shape[0].name == "")
			f.elem, f.shape = &elem, nil
		}
		f.minBytes = minFieldBytes(&f, flexible)
		if f.tag >= 0 {
			s.tagged = append(s.tagged, f)
			continue
		}
		s.minBytes += f.minBytes
		s.fixed = s.fixed && f.kind == kindFixed
		s.fields = append(s.fields, f)
	}
	if flexible && !bare {
		s.minBytes++ // the number of tagged fields
		s.fixed = false
	}
	return s
}

func minFieldBytes(f *field, flexible bool) int {
	switch {
	case f.kind == kindFixed:
		return f.minBytes
	case f.kind == kindStruct:
		return f.elem.minBytes
	case f.kind == kindNullableStruct || flexible:
		return 1
	case f.kind == kindString:
		return 2
	}
	return 4
}

// schemaParser reads the text of requestSchema; a mistake in it panics.
type schemaParser struct{ rest string }

func (p *schemaParser) fields() []field {
	var fields []field
	for {
		p.rest = strings.TrimLeft(p.rest, " \t\n")
		if p.rest == "" || p.rest[0] == ']' || p.rest[0] == '}' {
			return fields
		}
		fields = append(fields, p.field())
	}
}

func (p *schemaParser) field() field {
	f := field{tag: -1, max: math.MaxInt16}
	if strings.HasPrefix(p.rest, "#") {
		tag, rest, _ := strings.Cut(p.rest[1:], ":")
		f.tag, p.rest = int32(atoi(tag)), rest
	}
	name, rest, ok := strings.Cut(p.rest, ":")
	if !ok || strings.ContainsAny(name, " []{}?@") {
		panic(fmt.Sprintf("request schema: no field name at %q", p.rest))
	}
	f.name, p.rest = name, rest
	p.fieldType(&f)
	if strings.HasPrefix(p.rest, "@") {
		end := strings.IndexAny(p.rest+" ", " \t\n]}")
		p.versions(&f, p.rest[1:end])
		p.rest = p.rest[end:]
	}
	return f
}

func (p *schemaParser) fieldType(f *field) {
	if strings.HasPrefix(p.rest, "?") {
		f.nullable, p.rest = true, p.rest[1:]
	}
	switch p.rest[0] {
	case '[':
		f.kind = kindArray
		p.nested(f, "]")
	case '{':
		if f.kind = kindStruct; f.nullable {
			f.kind = kindNullableStruct
		}
		p.nested(f, "}")
	default:
		end := strings.IndexAny(p.rest+" ", " \t\n]}@")
		f.kind, f.minBytes = primitive(p.rest[:end])
		p.rest = p.rest[end:]
	}
}

// nested reads the fields, or the one bare type, between brackets.
func (p *schemaParser) nested(f *field, closing string) {
	p.rest = p.rest[1:]
	if end := strings.IndexAny(p.rest, ":]}"); p.rest[end] != ':' {
		elem := field{tag: -1, max: math.MaxInt16}
		p.fieldType(&elem)
		f.shape = []field{elem}
	} else {
		f.shape = p.fields()
	}
	if !strings.HasPrefix(p.rest, closing) {
		panic(fmt.Sprintf("request schema: no %s at %q", closing, p.rest))
	}
	p.rest = p.rest[1:]
}

func (p *schemaParser) versions(f *field, text string) {
	if from, ok := strings.CutSuffix(text, "+"); ok {
		f.min = int16(atoi(from))
		return
	}
	from, to, _ := strings.Cut(text, "-")
	if from != "" {
		f.min = int16(atoi(from))
	}
	f.max = int16(atoi(to))
}

func primitive(name string) (kind fieldKind, bytes int) {
	switch name {
	case "bool", "int8":
		return kindFixed, 1
	case "int16":
		return kindFixed, 2
	case "int32":
		return kindFixed, 4
	case "int64":
		return kindFixed, 8
	case "uuid":
		return kindFixed, 16
	case "string":
		return kindString, 0
	case "bytes":
		return kindBytes, 0
	}
	panic(fmt.Sprintf("request schema: unknown type %q", name))
}

func atoi(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(fmt.Sprintf("request schema: %v", err))
	}
	return n
}
