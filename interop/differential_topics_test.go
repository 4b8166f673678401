package interop

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func apiVersionsArea(p *pair) {
	p.topic("versions", 1) // and learns the clusters' ids
	software := func(name, version string) func(*side, int16) kmsg.Request {
		return func(*side, int16) kmsg.Request {
			req := kmsg.NewPtrApiVersionsRequest()
			req.ClientSoftwareName, req.ClientSoftwareVersion = name, version
			return req
		}
	}
	p.each("all", 0, 5, software("differential", "1.0"))
	p.each("empty software", 3, 3, software("", ""))
	p.each("illegal software", 3, 3, software("a b", "-1"))
	p.each("odd software", 3, 3, software("a-b.c", "v1.0-x"))
	for _, c := range []struct {
		label, cluster string
		node           int32
	}{{"this cluster", "", 1}, {"another node", "", 7}, {"another cluster", "other", 1}, {"cluster alone", "", -1}} {
		p.ask(c.label, 5, func(s *side) kmsg.Request {
			req := software("differential", "1.0")(s, 5).(*kmsg.ApiVersionsRequest)
			cluster := c.cluster
			if cluster == "" {
				cluster = s.cluster
			}
			req.ClusterID, req.NodeID = &cluster, c.node
			return req
		})
	}
	p.ask("node alone", 5, func(s *side) kmsg.Request {
		req := software("differential", "1.0")(s, 5).(*kmsg.ApiVersionsRequest)
		req.NodeID = 1
		return req
	})
	// The answer to a version from the future is one of version 0.
	p.do("unknown version", 99, func(s *side) (kmsg.Response, error) {
		return s.wire.askBytes(apiVersionsKey, 99, []byte{0, 2, 'a', 2, '1', 0}, kmsg.NewPtrApiVersionsResponse())
	}, true)
	p.do("unknown key", 0, func(s *side) (kmsg.Response, error) {
		return s.wire.askBytes(999, 0, nil, kmsg.NewPtrApiVersionsResponse())
	}, true)
	metadata := func(version int16) *kmsg.MetadataResponse {
		resp := kmsg.NewPtrMetadataResponse()
		resp.Version = version
		return resp
	}
	p.do("Metadata version from the future", 99, func(s *side) (kmsg.Response, error) {
		return s.wire.askBytes(3, 99, []byte{0, 0, 0}, metadata(0))
	}, true)
	for _, junk := range []struct {
		label string
		body  []byte
	}{{"truncated", []byte{0, 0}}, {"huge array", []byte{0x7f, 0xff, 0xff, 0xff}}, {"trailing bytes", []byte{0, 0, 0, 0, 1, 2, 3}}} {
		p.do(junk.label, 1, func(s *side) (kmsg.Response, error) {
			return s.wire.askBytes(3, 1, junk.body, metadata(1))
		}, true)
	}
	for v := int16(0); v <= 2; v++ { // listed for librdkafka's sake, never served
		p.ask("Produce", v, func(s *side) kmsg.Request { return s.produceRequest(1, "versions", 0, simple("x")) })
	}
}

// askBytes sends a request with any key, version and body, in a header that is
// not flexible but for ApiVersions.
func (w *wire) askBytes(key, version int16, body []byte, resp kmsg.Response) (kmsg.Response, error) {
	w.last++
	frame := binary.BigEndian.AppendUint16(make([]byte, 4), uint16(key))
	frame = binary.BigEndian.AppendUint16(frame, uint16(version))
	frame = binary.BigEndian.AppendUint32(frame, uint32(w.last))
	frame = append(frame, 0, 1, 'c')
	frame = append(frame, body...)
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
	if err := w.write(frame); err != nil {
		return nil, err
	}
	answer, err := w.read()
	if err != nil {
		return nil, err
	}
	return resp, resp.ReadFrom(answer)
}

func metadataRequest(auto bool, names ...string) *kmsg.MetadataRequest {
	req := kmsg.NewPtrMetadataRequest()
	req.AllowAutoTopicCreation = auto
	req.Topics = []kmsg.MetadataRequestTopic{}
	for _, n := range names {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = &n
		req.Topics = append(req.Topics, t)
	}
	return req
}

func metadataArea(p *pair) {
	p.topic("meta-one", 1)
	p.topic("meta-three", 3)
	p.each("all topics", 0, 13, func(_ *side, v int16) kmsg.Request {
		req := metadataRequest(false)
		if v > 0 {
			req.Topics = nil
		}
		return req
	})
	p.each("no topics", 1, 13, func(*side, int16) kmsg.Request { return metadataRequest(false) })
	p.each("by name", 0, 13, func(*side, int16) kmsg.Request { return metadataRequest(false, "meta-three", "meta-one") })
	p.each("twice", 1, 13, func(*side, int16) kmsg.Request { return metadataRequest(false, "meta-one", "meta-one") })
	p.each("unknown", 4, 13, func(*side, int16) kmsg.Request { return metadataRequest(false, "meta-one", "unknown") })
	long := strings.Repeat("n", 250)
	p.each("illegal names", 4, 13, func(_ *side, v int16) kmsg.Request {
		return metadataRequest(v%2 == 0, "", ".", "..", "a b", "ü", long, "a/b")
	})
	p.each("operations", 8, 13, func(_ *side, v int16) kmsg.Request {
		req := metadataRequest(false, "meta-one")
		req.IncludeClusterAuthorizedOperations, req.IncludeTopicAuthorizedOperations = v <= 10, true
		return req
	})
	byID := func(id func(s *side) [16]byte, name *string) func(*side, int16) kmsg.Request {
		return func(s *side, _ int16) kmsg.Request {
			req := metadataRequest(false)
			t := kmsg.NewMetadataRequestTopic()
			t.TopicID, t.Topic = id(s), name
			req.Topics = append(req.Topics, t)
			return req
		}
	}
	name := "meta-one"
	known := func(s *side) [16]byte { return s.ids[name] }
	p.each("by id", 10, 13, byID(known, nil))
	p.each("by unknown id", 10, 13, byID(func(*side) [16]byte { return [16]byte{9, 9} }, nil))
	p.each("by no id", 10, 13, byID(func(*side) [16]byte { return [16]byte{} }, nil))
	p.each("by id and name", 10, 13, byID(known, &name))
	p.each("by no id and name", 12, 13, byID(func(*side) [16]byte { return [16]byte{} }, &name))
	p.each("created on demand", 4, 4, func(_ *side, v int16) kmsg.Request { return metadataRequest(true, "meta-auto") })
	p.settle("meta-auto", 1)
	p.each("after creation on demand", 0, 13, func(*side, int16) kmsg.Request { return metadataRequest(false, "meta-auto") })
	p.topic("meta.one", 1)
	p.each("colliding name on demand", 9, 9, func(*side, int16) kmsg.Request { return metadataRequest(true, "meta_one") })
	p.each("internal topic on demand", 12, 12, func(*side, int16) kmsg.Request {
		return metadataRequest(false, "__consumer_offsets", "__transaction_state")
	})
}

func one(t kmsg.CreateTopicsRequestTopic) []kmsg.CreateTopicsRequestTopic {
	return []kmsg.CreateTopicsRequestTopic{t}
}

func assigned(name string, partitions int32, factor int16, replicas map[int32][]int32) kmsg.CreateTopicsRequestTopic {
	t := newTopicRequest(name, partitions, factor)
	for part := int32(-1); part < 10; part++ {
		if nodes, ok := replicas[part]; ok {
			a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
			a.Partition, a.Replicas = part, nodes
			t.ReplicaAssignment = append(t.ReplicaAssignment, a)
		}
	}
	return t
}

func createTopicsArea(p *pair) {
	p.topic("exists", 1)
	p.topic("dotted.name", 1)
	nullValue := newTopicRequest("c-null", 1, 1, "retention.ms=1")
	nullValue.Configs[0].Value = nil
	create := func(topics []kmsg.CreateTopicsRequestTopic, validate bool) func(*side, int16) kmsg.Request {
		return func(*side, int16) kmsg.Request {
			req := kmsg.NewPtrCreateTopicsRequest()
			req.Topics, req.TimeoutMillis, req.ValidateOnly = topics, 10_000, validate
			return req
		}
	}
	for _, c := range []struct {
		label  string
		topics []kmsg.CreateTopicsRequestTopic
	}{
		{"nothing", nil},
		{"plain", one(newTopicRequest("c-plain", 2, 1))},
		{"defaults", one(newTopicRequest("c-defaults", -1, -1))},
		{"no partitions", one(newTopicRequest("c-zero", 0, 1))},
		{"negative partitions", one(newTopicRequest("c-neg", -2, 1))},
		{"too many partitions", one(newTopicRequest("c-many", 2_000_000_000, 1))},
		{"replication 0", one(newTopicRequest("c-rf0", 1, 0))},
		{"replication -2", one(newTopicRequest("c-rf-2", 1, -2))},
		{"replication 3", one(newTopicRequest("c-rf3", 1, 3))},
		{"exists", one(newTopicRequest("exists", 1, 1))},
		{"exists, and is wrong", one(newTopicRequest("exists", 1, 3))},
		{"twice", []kmsg.CreateTopicsRequestTopic{newTopicRequest("c-twice", 1, 1), newTopicRequest("c-twice", 1, 1), newTopicRequest("c-once", 1, 1)}},
		{"empty name", one(newTopicRequest("", 1, 1))},
		{"dot", one(newTopicRequest(".", 1, 1))},
		{"illegal name", one(newTopicRequest("a b", 1, 1))},
		{"long name", one(newTopicRequest(strings.Repeat("n", 250), 1, 1))},
		{"longest name", one(newTopicRequest(strings.Repeat("n", 249), 1, 1))},
		{"colliding name", one(newTopicRequest("dotted_name", 1, 1))},
		{"internal name", one(newTopicRequest("__cluster_metadata", 1, 1))},
		{"assignment", one(assigned("c-a", -1, -1, map[int32][]int32{0: {1}, 1: {1}}))},
		{"assignment and counts", one(assigned("c-b", 2, 1, map[int32][]int32{0: {1}, 1: {1}}))},
		{"assignment with a gap", one(assigned("c-c", -1, -1, map[int32][]int32{0: {1}, 2: {1}}))},
		{"assignment from 1", one(assigned("c-d", -1, -1, map[int32][]int32{1: {1}}))},
		{"negative partition", one(assigned("c-d2", -1, -1, map[int32][]int32{-1: {1}}))},
		{"assignment to nobody", one(assigned("c-e", -1, -1, map[int32][]int32{0: {}}))},
		{"assignment to an unknown broker", one(assigned("c-f", -1, -1, map[int32][]int32{0: {9}}))},
		{"assignment twice to one", one(assigned("c-g", -1, -1, map[int32][]int32{0: {1, 1}}))},
		{"uneven assignment", one(assigned("c-h", -1, -1, map[int32][]int32{0: {1}, 1: {1, 2}}))},
		{"configs", one(newTopicRequest("c-configs", 1, 1, "retention.ms=1000", "cleanup.policy=delete", "max.message.bytes=2000"))},
		{"unknown config", one(newTopicRequest("c-i", 1, 1, "retention.mss=1000"))},
		{"config of a wrong type", one(newTopicRequest("c-j", 1, 1, "retention.ms=soon"))},
		{"config out of range", one(newTopicRequest("c-k", 1, 1, "segment.bytes=1"))},
		{"config not in its list", one(newTopicRequest("c-l", 1, 1, "compression.type=brotli"))},
		{"empty config", one(newTopicRequest("c-m", 1, 1, "retention.ms="))},
		{"config without value", one(nullValue)},
		{"config twice", one(newTopicRequest("c-n", 1, 1, "retention.ms=1000", "retention.ms=2000"))},
		{"min.insync.replicas 0", one(newTopicRequest("c-o", 1, 1, "min.insync.replicas=0"))},
		{"min.insync.replicas 5", one(newTopicRequest("c-o5", 1, 1, "min.insync.replicas=5"))},
		{"compact", one(newTopicRequest("c-p", 1, 1, "cleanup.policy=compact"))},
		{"cleanup.policy none", one(newTopicRequest("c-p2", 1, 1, "cleanup.policy="))},
		{"several, one wrong", []kmsg.CreateTopicsRequestTopic{newTopicRequest("c-q", 1, 1), newTopicRequest("c-r", 0, 1)}},
	} {
		p.each(c.label+", validated", 2, 7, create(c.topics, true))
		p.each(c.label, 7, 7, create(c.topics, false))
	}
	for v := int16(2); v <= 7; v++ {
		name := fmt.Sprintf("c-version-%d", v)
		p.ask("in version", v, func(s *side) kmsg.Request {
			return create(one(newTopicRequest(name, 2, 1, "retention.bytes=5000")), false)(s, v)
		})
		p.settle(name, 2)
	}
	p.settle("c-plain", 2)
	p.each("what was made", 12, 12, func(*side, int16) kmsg.Request {
		return metadataRequest(false, "c-plain", "c-defaults", "c-zero", "c-twice", "c-once", "c-a", "c-b", "c-q", "c-r", "c-p2", "c-e", "c-o5")
	})
}

func deleteTopicsArea(p *pair) {
	byName := func(v int16, names ...string) kmsg.Request {
		req := kmsg.NewPtrDeleteTopicsRequest()
		req.TimeoutMillis = 10_000
		req.TopicNames = names
		if v >= 6 {
			for _, n := range names {
				req.Topics = append(req.Topics, kmsg.DeleteTopicsRequestTopic{Topic: &n})
			}
		}
		return req
	}
	for v := int16(1); v <= 6; v++ {
		name := fmt.Sprintf("d-%d", v)
		p.topic(name, 2)
		p.ask("by name", v, func(*side) kmsg.Request { return byName(v, name) })
		p.ask("gone", v, func(*side) kmsg.Request { return byName(v, name) })
		p.ask("unknown and illegal", v, func(*side) kmsg.Request { return byName(v, "unknown", "", "a b", strings.Repeat("n", 300)) })
		twice := name + "-twice"
		p.topic(twice, 1)
		p.ask("twice", v, func(*side) kmsg.Request { return byName(v, twice, twice) })
		p.ask("after twice", v, func(*side) kmsg.Request { return byName(v, twice) })
		p.ask("nothing", v, func(*side) kmsg.Request { return byName(v) })
	}
	byID := func(ids ...func(s *side) kmsg.DeleteTopicsRequestTopic) func(s *side) kmsg.Request {
		return func(s *side) kmsg.Request {
			req := kmsg.NewPtrDeleteTopicsRequest()
			req.TimeoutMillis = 10_000
			for _, id := range ids {
				req.Topics = append(req.Topics, id(s))
			}
			return req
		}
	}
	p.topic("d-id", 1)
	p.topic("d-both", 1)
	p.topic("d-other", 1)
	id := func(name string) func(s *side) kmsg.DeleteTopicsRequestTopic {
		return func(s *side) kmsg.DeleteTopicsRequestTopic {
			return kmsg.DeleteTopicsRequestTopic{TopicID: s.ids[name]}
		}
	}
	both := "d-both"
	p.ask("by id", 6, byID(id("d-id")))
	p.ask("by an id that is gone", 6, byID(id("d-id")))
	p.ask("by unknown id", 6, byID(func(*side) kmsg.DeleteTopicsRequestTopic {
		return kmsg.DeleteTopicsRequestTopic{TopicID: [16]byte{1, 2}}
	}))
	p.ask("by neither", 6, byID(func(*side) kmsg.DeleteTopicsRequestTopic { return kmsg.DeleteTopicsRequestTopic{} }))
	p.ask("by both", 6, byID(func(s *side) kmsg.DeleteTopicsRequestTopic {
		return kmsg.DeleteTopicsRequestTopic{Topic: &both, TopicID: s.ids[both]}
	}))
	p.ask("by name and by id", 6, byID(id(both), func(*side) kmsg.DeleteTopicsRequestTopic { return kmsg.DeleteTopicsRequestTopic{Topic: &both} }))
	p.ask("id twice", 6, byID(id(both), id(both)))
	p.ask("one right, one by both", 6, byID(id("d-other"), func(s *side) kmsg.DeleteTopicsRequestTopic {
		return kmsg.DeleteTopicsRequestTopic{Topic: &both, TopicID: s.ids[both]}
	}))
	p.ask("what is left", 12, func(*side) kmsg.Request { return metadataRequest(false, "d-both", "d-id", "d-1", "d-1-twice") })
}

func createPartitionsArea(p *pair) {
	p.topic("grow", 2)
	grow := func(name string, count int32, validate bool, replicas ...[]int32) kmsg.Request {
		req := kmsg.NewPtrCreatePartitionsRequest()
		req.TimeoutMillis, req.ValidateOnly = 10_000, validate
		t := kmsg.NewCreatePartitionsRequestTopic()
		t.Topic, t.Count = name, count
		for _, r := range replicas {
			t.Assignment = append(t.Assignment, kmsg.CreatePartitionsRequestTopicAssignment{Replicas: r})
		}
		req.Topics = append(req.Topics, t)
		return req
	}
	for _, c := range []struct {
		label    string
		name     string
		count    int32
		replicas [][]int32
	}{
		{"more", "grow", 3, nil},
		{"the same", "grow", 2, nil},
		{"fewer", "grow", 1, nil},
		{"none", "grow", 0, nil},
		{"negative", "grow", -1, nil},
		{"too many", "grow", 2_000_000_000, nil},
		{"unknown topic", "unknown", 3, nil},
		{"illegal topic", "a b", 3, nil},
		{"assignment", "grow", 4, [][]int32{{1}, {1}}},
		{"too short an assignment", "grow", 4, [][]int32{{1}}},
		{"too long an assignment", "grow", 3, [][]int32{{1}, {1}}},
		{"unknown broker", "grow", 3, [][]int32{{8}}},
		{"another replication", "grow", 3, [][]int32{{1, 2}}},
		{"nobody", "grow", 3, [][]int32{{}}},
		{"twice one", "grow", 3, [][]int32{{1, 1}}},
	} {
		p.each(c.label+", validated", 0, 3, func(*side, int16) kmsg.Request { return grow(c.name, c.count, true, c.replicas...) })
	}
	for v := int16(0); v <= 3; v++ {
		p.ask("grown", v, func(*side) kmsg.Request { return grow("grow", 3+int32(v), false) })
		p.settle("grow", 3+int32(v))
	}
	p.ask("twice in one request", 3, func(*side) kmsg.Request {
		req := grow("grow", 8, false).(*kmsg.CreatePartitionsRequest)
		req.Topics = append(req.Topics, req.Topics[0])
		return req
	})
	p.ask("after all", 12, func(*side) kmsg.Request { return metadataRequest(false, "grow") })
}

func clusterArea(p *pair) {
	p.topic("cl-a", 3)
	p.topic("cl-b", 2)
	p.topic("cl-c", 1, "retention.ms=-1")
	p.produce("some", 9, -1, "cl-c", 0, simple("a", "b"))
	describe := func(operations bool, endpoint int8) func(*side, int16) kmsg.Request {
		return func(*side, int16) kmsg.Request {
			req := kmsg.NewPtrDescribeClusterRequest()
			req.IncludeClusterAuthorizedOperations, req.EndpointType = operations, endpoint
			return req
		}
	}
	p.each("DescribeCluster", 0, 2, describe(false, 1))
	p.each("with operations", 0, 2, describe(true, 1))
	p.each("controllers", 1, 2, describe(false, 2))
	p.each("unknown endpoints", 1, 2, describe(false, 3))
	p.each("with fenced brokers", 2, 2, func(*side, int16) kmsg.Request {
		req := kmsg.NewPtrDescribeClusterRequest()
		req.EndpointType, req.IncludeFencedBrokers = 1, true
		return req
	})

	partitions := func(limit int32, cursor *kmsg.DescribeTopicPartitionsRequestCursor, names ...string) func(*side) kmsg.Request {
		return func(*side) kmsg.Request {
			req := kmsg.NewPtrDescribeTopicPartitionsRequest()
			req.ResponsePartitionLimit, req.Cursor = limit, cursor
			for _, n := range names {
				req.Topics = append(req.Topics, kmsg.DescribeTopicPartitionsRequestTopic{Topic: n})
			}
			return req
		}
	}
	at := func(topic string, partition int32) *kmsg.DescribeTopicPartitionsRequestCursor {
		return &kmsg.DescribeTopicPartitionsRequestCursor{Topic: topic, Partition: partition}
	}
	p.ask("partitions", 0, partitions(2000, nil, "cl-b", "cl-a"))
	p.ask("first page", 0, partitions(2, nil, "cl-b", "cl-a"))
	p.ask("second page", 0, partitions(2, at("cl-a", 2), "cl-b", "cl-a"))
	p.ask("third page", 0, partitions(2, at("cl-b", 1), "cl-b", "cl-a"))
	p.ask("exactly a topic", 0, partitions(3, nil, "cl-b", "cl-a"))
	p.ask("cursor behind the last partition", 0, partitions(2, at("cl-a", 9), "cl-b", "cl-a"))
	p.ask("negative cursor", 0, partitions(2, at("cl-a", -1), "cl-b", "cl-a"))
	p.ask("cursor of a topic that is not asked for", 0, partitions(2, at("cl-aa", 0), "cl-b", "cl-a"))
	p.ask("cursor behind all topics", 0, partitions(2, at("zz", 0), "cl-b", "cl-a"))
	p.ask("limit 0", 0, partitions(0, nil, "cl-b"))
	p.ask("limit -1", 0, partitions(-1, nil, "cl-b"))
	p.ask("unknown topic", 0, partitions(10, nil, "unknown", "cl-b"))
	p.ask("illegal topic", 0, partitions(10, nil, "a b", ""))
	p.ask("topic twice", 0, partitions(10, nil, "cl-b", "cl-b"))
	p.ask("all topics", 0, partitions(2000, nil))
	p.ask("all topics from a cursor", 0, partitions(2000, at("cl-a", 1)))

	dirs := func(topics []kmsg.DescribeLogDirsRequestTopic) func(*side, int16) kmsg.Request {
		return func(*side, int16) kmsg.Request {
			req := kmsg.NewPtrDescribeLogDirsRequest()
			req.Topics = topics
			return req
		}
	}
	p.each("all log dirs", 1, 5, dirs(nil))
	p.each("some", 1, 5, dirs([]kmsg.DescribeLogDirsRequestTopic{
		{Topic: "cl-a", Partitions: []int32{0, 2, 7}}, {Topic: "unknown", Partitions: []int32{0}}, {Topic: "cl-c", Partitions: []int32{0}}, {Topic: "cl-b"},
	}))
	p.each("none", 1, 5, dirs([]kmsg.DescribeLogDirsRequestTopic{}))

	resources := func(kinds ...int8) func(*side, int16) kmsg.Request {
		return func(*side, int16) kmsg.Request {
			req := kmsg.NewPtrListConfigResourcesRequest()
			req.ResourceTypes = kinds
			return req
		}
	}
	p.each("config resources", 0, 1, resources())
	for _, kind := range []int8{2, 4, 8, 16, 32, 1, 99, 0} {
		p.each(fmt.Sprintf("config resources of type %d", kind), 1, 1, resources(kind))
	}
	p.each("config resources of two types", 1, 1, resources(2, 4))
}
