package broker

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fanfold/fanfold/cluster"
)

func ptr[T any](v T) *T { return &v }

func wantCode(t *testing.T, what string, code int16, want *kerr.Error) {
	t.Helper()
	if got := kerr.TypedErrorForCode(code); got != want {
		t.Errorf("%s: answered %v; want %v", what, got, want)
	}
}

// metadataOf asks for topics by name.
func metadataOf(version int16, create bool, names ...string) *kmsg.MetadataRequest {
	r := kmsg.NewPtrMetadataRequest()
	r.SetVersion(version)
	r.AllowAutoTopicCreation = create
	r.Topics = []kmsg.MetadataRequestTopic{}
	for _, name := range names {
		r.Topics = append(r.Topics, kmsg.MetadataRequestTopic{Topic: &name})
	}
	return r
}

func TestMetadataDescribesTheCluster(t *testing.T) {
	node := newTestNode(t)
	topic := node.topic("t", 2, nil)
	node.topic("u", 1, nil)
	c := dial(t, testServer(t, node, Config{}))
	req := metadataOf(13, false, "t")
	req.IncludeTopicAuthorizedOperations = true
	resp := ask[*kmsg.MetadataResponse](c, 13, req)
	if len(resp.Brokers) != 1 || resp.Brokers[0].Host != "kafka.example" || resp.Brokers[0].Port != 9092 || *resp.Brokers[0].Rack != "r1" {
		t.Errorf("brokers are %+v", resp.Brokers)
	}
	if *resp.ClusterID != testClusterID || resp.ControllerID != 1 || resp.AuthorizedOperations != noOperations {
		t.Errorf("answered %+v", resp)
	}
	if len(resp.Topics) != 1 || resp.Topics[0].TopicID != topic.ID || resp.Topics[0].AuthorizedOperations != topicOperations {
		t.Fatalf("topics are %+v", resp.Topics)
	}
	for i, p := range resp.Topics[0].Partitions {
		if p.Partition != int32(i) || p.Leader != 1 || p.LeaderEpoch != 1 || !slices.Equal(p.Replicas, []int32{1}) || !slices.Equal(p.ISR, []int32{1}) {
			t.Errorf("partition %d is %+v", i, p)
		}
	}
	byID := kmsg.NewPtrMetadataRequest()
	byID.Topics = []kmsg.MetadataRequestTopic{{TopicID: topic.ID}, {TopicID: newTopicID()}}
	resp = ask[*kmsg.MetadataResponse](c, 12, byID)
	if *resp.Topics[0].Topic != "t" {
		t.Errorf("the id is of topic %v", *resp.Topics[0].Topic)
	}
	wantCode(t, "an id that is none", resp.Topics[1].ErrorCode, kerr.UnknownTopicID)
	resp = ask[*kmsg.MetadataResponse](c, 11, byID)
	wantCode(t, "an id in a version without", resp.Topics[0].ErrorCode, kerr.InvalidRequest)

	for version, topics := range map[int16][]kmsg.MetadataRequestTopic{0: {}, 1: nil, 13: nil} {
		all := kmsg.NewPtrMetadataRequest()
		all.Topics = topics
		if resp := ask[*kmsg.MetadataResponse](c, version, all); len(resp.Topics) != 2 {
			t.Errorf("version %d: %d topics; want all", version, len(resp.Topics))
		}
	}
	if resp := ask[*kmsg.MetadataResponse](c, 1, metadataOf(1, true)); len(resp.Topics) != 0 {
		t.Errorf("%d topics; want none", len(resp.Topics))
	}
}

func TestMetadataCreatesTopics(t *testing.T) {
	node := newTestNode(t)
	node.static["num.partitions"] = "3"
	s := testServer(t, node, Config{})
	c := dial(t, s)
	cases := []struct {
		version int16
		create  bool
		name    string
		want    *kerr.Error
	}{
		{3, false, "before-the-flag", nil},
		{4, true, "asked-for", nil},
		{4, false, "not-asked-for", kerr.UnknownTopicOrPartition},
		{9, true, "bad name", kerr.InvalidTopicException},
		{9, true, "asked.for", kerr.InvalidTopicException}, // collides
		{9, true, "__consumer_offsets", kerr.UnknownTopicOrPartition},
		{0, true, strings.Repeat("x", 250), kerr.InvalidTopicException},
	}
	node.topic("asked_for", 1, nil)
	for _, tc := range cases {
		resp := ask[*kmsg.MetadataResponse](c, tc.version, metadataOf(tc.version, tc.create, tc.name))
		wantCode(t, tc.name, resp.Topics[0].ErrorCode, tc.want)
		if tc.want == nil && (len(resp.Topics[0].Partitions) != 3 || resp.Topics[0].Partitions[0].Leader != 1) {
			t.Errorf("%s: created as %+v", tc.name, resp.Topics[0])
		}
	}
	node.mustPropose(&cluster.AlterBrokerConfigs{Node: cluster.AllNodes, Ops: []cluster.ConfigOp{
		{Kind: cluster.ConfigSet, Name: "auto.create.topics.enable", Value: "false"},
	}})
	resp := ask[*kmsg.MetadataResponse](c, 9, metadataOf(9, true, "too-late"))
	wantCode(t, "creation switched off", resp.Topics[0].ErrorCode, kerr.UnknownTopicOrPartition)
}

// A created topic is answered when it serves; one that does not come to serve
// is said to have no leader yet.
func TestMetadataWaitsForNewTopics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := newTestNode(t)
		wait := make(chan struct{})
		node.mu.notReady = wait
		s := pipeServer(t, node, Config{})
		c := dialPipe(t, s)
		began := time.Now()
		resp := ask[*kmsg.MetadataResponse](c, 9, metadataOf(9, true, "slow"))
		wantCode(t, "a topic that does not serve", resp.Topics[0].ErrorCode, kerr.LeaderNotAvailable)
		if took := time.Since(began); took != readyWait {
			t.Errorf("answered after %v; want %v", took, readyWait)
		}
		req := metadataOf(9, true, "soon")
		id := c.send(req)
		time.AfterFunc(time.Second, func() { close(wait) })
		resp = c.receive(req, id).(*kmsg.MetadataResponse)
		wantCode(t, "a topic that serves", resp.Topics[0].ErrorCode, nil)
		_ = c.nc.Close()
		closeServer(t, s, node)
	})
}

func TestCreateTopics(t *testing.T) {
	node := newTestNode(t)
	node.topic("there", 1, nil)
	s := testServer(t, node, Config{})
	c := dial(t, s)
	topic := func(name string, change func(*kmsg.CreateTopicsRequestTopic)) kmsg.CreateTopicsRequestTopic {
		r := kmsg.CreateTopicsRequestTopic{Topic: name, NumPartitions: 2, ReplicationFactor: 1}
		if change != nil {
			change(&r)
		}
		return r
	}
	config := func(name, value string) func(*kmsg.CreateTopicsRequestTopic) {
		return func(r *kmsg.CreateTopicsRequestTopic) {
			r.Configs = append(r.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: name, Value: &value})
		}
	}
	cases := []struct {
		topic kmsg.CreateTopicsRequestTopic
		want  *kerr.Error
		text  string
	}{
		{topic("plain", nil), nil, ""},
		{topic("defaults", func(r *kmsg.CreateTopicsRequestTopic) { r.NumPartitions, r.ReplicationFactor = -1, -1 }), nil, ""},
		{topic("assigned", func(r *kmsg.CreateTopicsRequestTopic) {
			r.NumPartitions, r.ReplicationFactor = -1, -1
			r.ReplicaAssignment = []kmsg.CreateTopicsRequestTopicReplicaAssignment{{Partition: 1, Replicas: []int32{1}}, {Partition: 0, Replicas: []int32{1}}}
		}), nil, ""},
		{topic("configured", config("retention.ms", "1000")), nil, ""},
		{topic("there", nil), kerr.TopicAlreadyExists, "exists"},
		{topic("bad/name", nil), kerr.InvalidTopicException, "illegal"},
		{topic("__consumer_offsets", nil), kerr.InvalidTopicException, "reserved"},
		{topic("none", func(r *kmsg.CreateTopicsRequestTopic) { r.NumPartitions = 0 }), kerr.InvalidPartitions, "0 partitions"},
		{topic("many", func(r *kmsg.CreateTopicsRequestTopic) { r.ReplicationFactor = 3 }), kerr.InvalidReplicationFactor, "needs as many nodes"},
		{topic("unknown-config", config("retention.msec", "1")), kerr.InvalidConfig, `did you mean "retention.ms"`},
		{topic("bad-config", config("retention.ms", "a week")), kerr.InvalidConfig, "retention.ms"},
		{topic("compacted", config("cleanup.policy", "compacted")), kerr.InvalidConfig, "cleanup.policy"},
	}
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 5000
	for _, tc := range cases {
		req.Topics = append(req.Topics, tc.topic)
	}
	resp := ask[*kmsg.CreateTopicsResponse](c, 7, req)
	for i, tc := range cases {
		out := resp.Topics[i]
		wantCode(t, tc.topic.Topic, out.ErrorCode, tc.want)
		if tc.want != nil {
			if out.ErrorMessage == nil || !strings.Contains(*out.ErrorMessage, tc.text) {
				t.Errorf("%s: the message is %v; want %q in it", tc.topic.Topic, out.ErrorMessage, tc.text)
			}
			continue
		}
		made := node.Image().Topic(tc.topic.Topic)
		if made == nil || out.TopicID != made.ID || int(out.NumPartitions) != len(made.Partitions) || out.ReplicationFactor != 1 {
			t.Errorf("%s: answered %+v", tc.topic.Topic, out)
		}
		if len(out.Configs) < 20 {
			t.Errorf("%s: %d configs are named", tc.topic.Topic, len(out.Configs))
		}
		for _, cfg := range out.Configs {
			if own := cfg.Source == 1; own != (tc.topic.Topic == "configured" && cfg.Name == "retention.ms") {
				t.Errorf("%s: %s has source %d", tc.topic.Topic, cfg.Name, cfg.Source)
			}
		}
	}

	twice := kmsg.NewPtrCreateTopicsRequest()
	twice.TimeoutMillis = 5000
	twice.Topics = []kmsg.CreateTopicsRequestTopic{topic("twice", nil), topic("once", nil), topic("twice", nil)}
	resp = ask[*kmsg.CreateTopicsResponse](c, 7, twice)
	if len(resp.Topics) != 2 || resp.Topics[0].ErrorCode != kerr.InvalidRequest.Code || resp.Topics[1].ErrorCode != 0 {
		t.Errorf("a topic named twice is answered %+v", resp.Topics)
	}

	only := kmsg.NewPtrCreateTopicsRequest()
	only.ValidateOnly = true
	only.Topics = []kmsg.CreateTopicsRequestTopic{topic("checked", nil), topic("there", nil)}
	resp = ask[*kmsg.CreateTopicsResponse](c, 7, only)
	wantCode(t, "a valid topic", resp.Topics[0].ErrorCode, nil)
	wantCode(t, "a topic that exists", resp.Topics[1].ErrorCode, kerr.TopicAlreadyExists)
	if node.Image().Topic("checked") != nil || resp.Topics[0].NumPartitions != 2 {
		t.Error("validating creates the topic, or does not describe it")
	}
}

func TestCreateTopicsTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := newTestNode(t)
		node.mu.notReady = make(chan struct{})
		s := pipeServer(t, node, Config{})
		c := dialPipe(t, s)
		req := kmsg.NewPtrCreateTopicsRequest()
		req.TimeoutMillis = 3000
		req.Topics = []kmsg.CreateTopicsRequestTopic{{Topic: "slow", NumPartitions: 1, ReplicationFactor: 1}}
		resp := ask[*kmsg.CreateTopicsResponse](c, 7, req)
		wantCode(t, "a topic that does not come to serve", resp.Topics[0].ErrorCode, kerr.RequestTimedOut)
		_ = c.nc.Close()
		closeServer(t, s, node)
	})
}

func TestDeleteTopics(t *testing.T) {
	node := newTestNode(t)
	a, b := node.topic("a", 1, nil), node.topic("b", 1, nil)
	node.mustPropose(&cluster.CreateTopic{Name: "__own", ID: newTopicID(), Assignment: [][]int32{{1}}, Internal: true})
	c := dial(t, testServer(t, node, Config{}))
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TimeoutMillis = 1000
	req.Topics = []kmsg.DeleteTopicsRequestTopic{
		{Topic: ptr("a")}, {TopicID: b.ID}, {Topic: ptr("none")}, {TopicID: newTopicID()},
		{Topic: ptr("a"), TopicID: a.ID}, {}, {Topic: ptr("__own")},
	}
	resp := ask[*kmsg.DeleteTopicsResponse](c, 6, req)
	for i, want := range []*kerr.Error{
		nil, nil, kerr.UnknownTopicOrPartition, kerr.UnknownTopicID, kerr.InvalidRequest, kerr.InvalidRequest, kerr.InvalidTopicException,
	} {
		wantCode(t, "topic "+string(rune('0'+i)), resp.Topics[i].ErrorCode, want)
	}
	if *resp.Topics[1].Topic != "b" || resp.Topics[0].TopicID != a.ID {
		t.Errorf("answered %+v", resp.Topics[:2])
	}
	if node.Image().NumTopics() != 1 {
		t.Errorf("%d topics are left; want 1", node.Image().NumTopics())
	}
	twice := node.topic("twice", 1, nil)
	for version, topics := range map[int16][]kmsg.DeleteTopicsRequestTopic{
		5: {{Topic: ptr("twice")}, {Topic: ptr("twice")}},
		6: {{TopicID: twice.ID}, {Topic: ptr("twice")}},
	} {
		req.Topics, req.TopicNames = topics, []string{"twice", "twice"}
		resp = ask[*kmsg.DeleteTopicsResponse](c, version, req)
		if len(resp.Topics) != 1 || resp.Topics[0].ErrorCode != kerr.InvalidRequest.Code || node.Image().Topic("twice") == nil {
			t.Errorf("version %d: a topic named twice is answered %+v", version, resp.Topics)
		}
	}
	node.topic("kept", 1, nil)
	node.static["delete.topic.enable"] = "false"
	node.topic("another", 1, nil) // a new image: the setting is seen
	req.Topics = []kmsg.DeleteTopicsRequestTopic{{Topic: ptr("kept")}}
	wantCode(t, "deletion switched off", ask[*kmsg.DeleteTopicsResponse](c, 6, req).Topics[0].ErrorCode, kerr.TopicDeletionDisabled)
}

func TestDeleteRecords(t *testing.T) {
	node := newTestNode(t)
	node.topic("t", 2, nil)
	node.replica("t", 0).produce(t, "a", "b", "c")
	c := dial(t, testServer(t, node, Config{}))
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.TimeoutMillis = 1000
	for _, offset := range []int64{2, 9, -1} {
		req.Topics = append(req.Topics, kmsg.DeleteRecordsRequestTopic{Topic: "t",
			Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Partition: 0, Offset: offset}}})
	}
	req.Topics = append(req.Topics, kmsg.DeleteRecordsRequestTopic{Topic: "none", Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{}}})
	resp := ask[*kmsg.DeleteRecordsResponse](c, 2, req)
	for i, want := range []struct {
		err *kerr.Error
		low int64
	}{{nil, 2}, {kerr.OffsetOutOfRange, -1}, {nil, 3}, {kerr.UnknownTopicOrPartition, -1}} {
		p := resp.Topics[i].Partitions[0]
		wantCode(t, "partition", p.ErrorCode, want.err)
		if p.LowWatermark != want.low {
			t.Errorf("the low watermark is %d; want %d", p.LowWatermark, want.low)
		}
	}
}

func TestListOffsets(t *testing.T) {
	node := newTestNode(t)
	node.topic("t", 1, nil)
	r := node.replica("t", 0)
	r.produce(t, "a", "b") // at 1,700,000,000,000 ms and one later
	r.produce(t, "c")
	r.DeleteRecords(1, func(int64, error) {})
	c := dial(t, testServer(t, node, Config{}))
	const t0 = 1_700_000_000_000
	cases := []struct {
		version   int16
		timestamp int64
		want      *kerr.Error
		offset    int64
		at        int64
	}{
		{1, -1, nil, 3, -1},
		{11, -1, nil, 3, -1},
		{1, -2, nil, 1, -1},
		{1, t0 + 1, nil, 1, t0 + 1},
		{11, t0 + 2, nil, -1, -1},
		{7, -3, nil, 1, t0 + 1},
		{6, -3, kerr.UnsupportedVersion, -1, -1},
		{8, -4, nil, 1, -1},
		{7, -4, kerr.UnsupportedVersion, -1, -1},
		{9, -5, nil, -1, -1},
		{8, -5, kerr.UnsupportedVersion, -1, -1},
		{11, -6, nil, -1, -1},
		{10, -6, kerr.UnsupportedVersion, -1, -1},
		{11, -7, kerr.UnsupportedVersion, -1, -1},
	}
	for _, tc := range cases {
		req := kmsg.NewPtrListOffsetsRequest()
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Timestamp = tc.timestamp
		req.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: "t", Partitions: []kmsg.ListOffsetsRequestTopicPartition{p}}}
		out := ask[*kmsg.ListOffsetsResponse](c, tc.version, req).Topics[0].Partitions[0]
		wantCode(t, "a look-up", out.ErrorCode, tc.want)
		if out.Offset != tc.offset || out.Timestamp != tc.at {
			t.Errorf("version %d, timestamp %d: offset %d at %d; want %d at %d", tc.version, tc.timestamp, out.Offset, out.Timestamp, tc.offset, tc.at)
		}
	}
}

func TestConfigsAreAlteredAndDescribed(t *testing.T) {
	node := newTestNode(t)
	node.topic("t", 1, map[string]string{"retention.ms": "1000", "segment.bytes": "1048576"})
	c := dial(t, testServer(t, node, Config{}))
	overrides := func() map[string]string { return node.Image().Topic("t").Configs }

	incremental := kmsg.NewPtrIncrementalAlterConfigsRequest()
	incremental.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "t",
		Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{
			{Name: "retention.ms", Op: kmsg.IncrementalAlterConfigOpSet, Value: ptr("2000")},
			{Name: "segment.bytes", Op: kmsg.IncrementalAlterConfigOpDelete},
		}}}
	resp := ask[*kmsg.IncrementalAlterConfigsResponse](c, 1, incremental)
	wantCode(t, "set and delete", resp.Resources[0].ErrorCode, nil)
	if o := overrides(); o["retention.ms"] != "2000" || len(o) != 1 {
		t.Errorf("overrides are %v", o)
	}

	refusals := []struct {
		what   string
		change func(*kmsg.IncrementalAlterConfigsRequestResource)
		want   *kerr.Error
	}{
		{"an unknown name", func(r *kmsg.IncrementalAlterConfigsRequestResource) { r.Configs[0].Name = "retention.minutes" }, kerr.InvalidConfig},
		{"a bad value", func(r *kmsg.IncrementalAlterConfigsRequestResource) { r.Configs[0].Value = ptr("x") }, kerr.InvalidConfig},
		{"no value", func(r *kmsg.IncrementalAlterConfigsRequestResource) { r.Configs[0].Value = nil }, kerr.InvalidRequest},
		{"a list operation on a number", func(r *kmsg.IncrementalAlterConfigsRequestResource) {
			r.Configs[0].Op = kmsg.IncrementalAlterConfigOpAppend
		}, kerr.InvalidConfig},
		{"an unknown operation", func(r *kmsg.IncrementalAlterConfigsRequestResource) { r.Configs[0].Op = 9 }, kerr.InvalidRequest},
		{"an unknown topic", func(r *kmsg.IncrementalAlterConfigsRequestResource) { r.ResourceName = "none" }, kerr.UnknownTopicOrPartition},
		{"another broker", func(r *kmsg.IncrementalAlterConfigsRequestResource) {
			r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeBroker, "2"
		}, kerr.InvalidRequest},
		{"a read-only config", func(r *kmsg.IncrementalAlterConfigsRequestResource) {
			r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeBroker, "1"
			r.Configs[0].Name, r.Configs[0].Value = "log.dirs", ptr("/elsewhere")
		}, kerr.InvalidConfig},
		{"a kind without configs", func(r *kmsg.IncrementalAlterConfigsRequestResource) {
			r.ResourceType = kmsg.ConfigResourceTypeClientMetrics
		}, kerr.InvalidRequest},
	}
	for _, tc := range refusals {
		r := kmsg.IncrementalAlterConfigsRequestResource{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "t",
			Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "retention.ms", Value: ptr("5")}}}
		tc.change(&r)
		req := kmsg.NewPtrIncrementalAlterConfigsRequest()
		req.Resources = []kmsg.IncrementalAlterConfigsRequestResource{r}
		out := ask[*kmsg.IncrementalAlterConfigsResponse](c, 1, req).Resources[0]
		wantCode(t, tc.what, out.ErrorCode, tc.want)
		if out.ErrorMessage == nil {
			t.Errorf("%s: there is no message", tc.what)
		}
	}

	// AlterConfigs resets what it does not name; validating changes nothing.
	alter := kmsg.NewPtrAlterConfigsRequest()
	alter.Resources = []kmsg.AlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "t",
		Configs: []kmsg.AlterConfigsRequestResourceConfig{{Name: "max.message.bytes", Value: ptr("4096")}}}}
	alter.ValidateOnly = true
	wantCode(t, "validate", ask[*kmsg.AlterConfigsResponse](c, 2, alter).Resources[0].ErrorCode, nil)
	if o := overrides(); o["retention.ms"] != "2000" || len(o) != 1 {
		t.Errorf("after validating, overrides are %v", o)
	}
	alter.ValidateOnly = false
	wantCode(t, "alter", ask[*kmsg.AlterConfigsResponse](c, 2, alter).Resources[0].ErrorCode, nil)
	if o := overrides(); o["max.message.bytes"] != "4096" || len(o) != 1 {
		t.Errorf("after altering, overrides are %v", o)
	}

	// The cluster-wide default of a broker config governs a topic's.
	broker := kmsg.NewPtrIncrementalAlterConfigsRequest()
	broker.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: "",
		Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "log.retention.ms", Value: ptr("777000")}}}}
	wantCode(t, "a cluster-wide default", ask[*kmsg.IncrementalAlterConfigsResponse](c, 1, broker).Resources[0].ErrorCode, nil)
	describe := kmsg.NewPtrDescribeConfigsRequest()
	describe.IncludeSynonyms, describe.IncludeDocumentation = true, true
	describe.Resources = []kmsg.DescribeConfigsRequestResource{
		{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "t", ConfigNames: []string{"retention.ms", "max.message.bytes", "cleanup.policy"}},
		{ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: ""},
		{ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: "1"},
		{ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: "2"},
		{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "none"},
	}
	described := ask[*kmsg.DescribeConfigsResponse](c, 4, describe).Resources
	want := map[string]struct {
		value  string
		source kmsg.ConfigSource
	}{
		"retention.ms":      {"777000", kmsg.ConfigSourceDynamicDefaultBrokerConfig},
		"max.message.bytes": {"4096", kmsg.ConfigSourceDynamicTopicConfig},
		"cleanup.policy":    {"delete", kmsg.ConfigSourceDefaultConfig},
	}
	if len(described[0].Configs) != len(want) {
		t.Errorf("%d configs are described; want %d", len(described[0].Configs), len(want))
	}
	for _, cfg := range described[0].Configs {
		if w := want[cfg.Name]; cfg.Value == nil || *cfg.Value != w.value || cfg.Source != w.source || cfg.Documentation == nil || len(cfg.ConfigSynonyms) == 0 {
			t.Errorf("%s is described as %+v; want %v", cfg.Name, cfg, w)
		}
	}
	if len(described[1].Configs) != 1 || described[1].Configs[0].Name != "log.retention.ms" {
		t.Errorf("cluster-wide defaults are %+v", described[1].Configs)
	}
	if len(described[2].Configs) < 30 {
		t.Errorf("the broker has %d configs", len(described[2].Configs))
	}
	wantCode(t, "another broker", described[3].ErrorCode, kerr.InvalidRequest)
	wantCode(t, "an unknown topic", described[4].ErrorCode, kerr.UnknownTopicOrPartition)
}

func TestCreatePartitions(t *testing.T) {
	node := newTestNode(t)
	node.topic("t", 2, nil)
	c := dial(t, testServer(t, node, Config{}))
	grow := func(count int32, validate bool, names ...string) []kmsg.CreatePartitionsResponseTopic {
		req := kmsg.NewPtrCreatePartitionsRequest()
		req.TimeoutMillis, req.ValidateOnly = 1000, validate
		for _, name := range names {
			req.Topics = append(req.Topics, kmsg.CreatePartitionsRequestTopic{Topic: name, Count: count})
		}
		return ask[*kmsg.CreatePartitionsResponse](c, 3, req).Topics
	}
	wantCode(t, "more", grow(4, true, "t")[0].ErrorCode, nil)
	if n := len(node.Image().Topic("t").Partitions); n != 2 {
		t.Errorf("validating made %d partitions", n)
	}
	wantCode(t, "more", grow(4, false, "t")[0].ErrorCode, nil)
	if n := len(node.Image().Topic("t").Partitions); n != 4 {
		t.Errorf("there are %d partitions; want 4", n)
	}
	wantCode(t, "fewer", grow(3, false, "t")[0].ErrorCode, kerr.InvalidPartitions)
	wantCode(t, "as many", grow(4, false, "t")[0].ErrorCode, kerr.InvalidPartitions)
	wantCode(t, "no topic", grow(4, false, "none")[0].ErrorCode, kerr.UnknownTopicOrPartition)
	twice := grow(5, false, "t", "t")
	if len(twice) != 1 || twice[0].ErrorCode != kerr.InvalidRequest.Code || len(node.Image().Topic("t").Partitions) != 4 {
		t.Errorf("a topic named twice is answered %+v", twice)
	}
}

func TestDescribeTopicPartitionsInPages(t *testing.T) {
	node := newTestNode(t)
	for _, name := range []string{"a", "b", "c"} {
		node.topic(name, 3, nil)
	}
	c := dial(t, testServer(t, node, Config{}))
	pages := func(limit int32, names ...string) (seen []string) {
		req := kmsg.NewPtrDescribeTopicPartitionsRequest()
		req.ResponsePartitionLimit = limit
		for _, name := range names {
			req.Topics = append(req.Topics, kmsg.DescribeTopicPartitionsRequestTopic{Topic: name})
		}
		for range 20 {
			resp := ask[*kmsg.DescribeTopicPartitionsResponse](c, 0, req)
			page := 0
			for _, topic := range resp.Topics {
				if err := kerr.TypedErrorForCode(topic.ErrorCode); err != nil {
					seen = append(seen, *topic.Topic+" "+err.Message)
				}
				for _, p := range topic.Partitions {
					seen = append(seen, *topic.Topic+string(rune('0'+p.Partition)))
					page++
				}
			}
			if page > int(limit) {
				t.Fatalf("a page has %d partitions; at most %d are asked for", page, limit)
			}
			if resp.NextCursor == nil {
				return seen
			}
			req.Cursor = &kmsg.DescribeTopicPartitionsRequestCursor{Topic: resp.NextCursor.Topic, Partition: resp.NextCursor.Partition}
		}
		t.Fatal("the pages do not end")
		return nil
	}
	all := []string{"a0", "a1", "a2", "b0", "b1", "b2", "c0", "c1", "c2"}
	for _, limit := range []int32{1, 2, 3, 4, 9, 100} {
		if got := pages(limit); !slices.Equal(got, all) {
			t.Errorf("in pages of %d: %v", limit, got)
		}
	}
	if got := pages(2, "c", "a", "none", "c"); !slices.Equal(got, []string{"a0", "a1", "a2", "c0", "c1", "c2", "none UNKNOWN_TOPIC_OR_PARTITION"}) {
		t.Errorf("by name: %v", got)
	}
}

func TestDescribeCluster(t *testing.T) {
	node := newTestNode(t)
	c := dial(t, testServer(t, node, Config{}))
	req := kmsg.NewPtrDescribeClusterRequest()
	req.IncludeClusterAuthorizedOperations = true
	resp := ask[*kmsg.DescribeClusterResponse](c, 2, req)
	if resp.ClusterID != testClusterID || resp.ControllerID != 1 || len(resp.Brokers) != 1 || resp.ClusterAuthorizedOperations != clusterOperations {
		t.Errorf("answered %+v", resp)
	}
	for kind, want := range map[int8]*kerr.Error{2: kerr.MismatchedEndpointType, 3: kerr.UnsupportedEndpointType} {
		req.EndpointType = kind
		wantCode(t, "another endpoint", ask[*kmsg.DescribeClusterResponse](c, 1, req).ErrorCode, want)
	}
}

func TestDescribeLogDirs(t *testing.T) {
	node := newTestNode(t)
	node.topic("t", 2, nil)
	node.topic("u", 1, nil)
	node.replica("t", 1).produce(t, "a")
	c := dial(t, testServer(t, node, Config{}))
	req := kmsg.NewPtrDescribeLogDirsRequest()
	resp := ask[*kmsg.DescribeLogDirsResponse](c, 4, req)
	if d := resp.Dirs[0]; d.Dir != "/data" || d.TotalBytes != 1000 || d.UsableBytes != 500 || len(d.Topics) != 2 {
		t.Errorf("answered %+v", d)
	}
	req.Topics = []kmsg.DescribeLogDirsRequestTopic{{Topic: "t", Partitions: []int32{1, 7}}, {Topic: "none", Partitions: []int32{0}}}
	resp = ask[*kmsg.DescribeLogDirsResponse](c, 4, req)
	if d := resp.Dirs[0]; len(d.Topics) != 1 || len(d.Topics[0].Partitions) != 1 || d.Topics[0].Partitions[0].Size == 0 {
		t.Errorf("answered %+v", d)
	}
}

func TestInitProducerID(t *testing.T) {
	node := newTestNode(t)
	c := dial(t, testServer(t, node, Config{}))
	req := kmsg.NewPtrInitProducerIDRequest()
	first := ask[*kmsg.InitProducerIDResponse](c, 5, req)
	second := ask[*kmsg.InitProducerIDResponse](c, 0, req)
	if first.ErrorCode != 0 || second.ErrorCode != 0 || first.ProducerID == second.ProducerID || first.ProducerEpoch != 0 {
		t.Errorf("ids are %d and %d", first.ProducerID, second.ProducerID)
	}
	cases := []struct {
		what  string
		id    *string
		pid   int64
		epoch int16
		want  *kerr.Error
	}{
		{"an id that is used up", nil, 7, 32767, nil},
		{"an id without an epoch", nil, 7, -1, kerr.InvalidRequest},
		{"an epoch without an id", nil, -1, 1, kerr.InvalidRequest},
		{"a transactional id", ptr("tx"), -1, -1, kerr.UnsupportedVersion},
		{"an empty transactional id", ptr(""), -1, -1, kerr.InvalidRequest},
	}
	for _, tc := range cases {
		req := kmsg.NewPtrInitProducerIDRequest()
		req.TransactionalID, req.ProducerID, req.ProducerEpoch = tc.id, tc.pid, tc.epoch
		wantCode(t, tc.what, ask[*kmsg.InitProducerIDResponse](c, 5, req).ErrorCode, tc.want)
	}
}

func TestListConfigResources(t *testing.T) {
	node := newTestNode(t)
	node.topic("t", 1, nil)
	c := dial(t, testServer(t, node, Config{}))
	count := func(version int16, kinds ...int8) int {
		req := kmsg.NewPtrListConfigResourcesRequest()
		req.ResourceTypes = kinds
		resp := ask[*kmsg.ListConfigResourcesResponse](c, version, req)
		wantCode(t, "a list", resp.ErrorCode, nil)
		return len(resp.ConfigResources)
	}
	if n := count(1, int8(kmsg.ConfigResourceTypeTopic)); n != 1 {
		t.Errorf("%d topics; want 1", n)
	}
	if n := count(1); n < 2 {
		t.Errorf("%d resources; want the topic and the broker", n)
	}
	if n := count(0); n != 0 {
		t.Errorf("%d client metrics; want none", n)
	}
	req := kmsg.NewPtrListConfigResourcesRequest()
	req.ResourceTypes = []int8{99}
	wantCode(t, "an unknown type", ask[*kmsg.ListConfigResourcesResponse](c, 1, req).ErrorCode, kerr.UnsupportedVersion)
}

// A change that the metadata refuses is answered with its error.
func TestMetadataThatTakesNoChanges(t *testing.T) {
	node := newTestNode(t)
	node.topic("t", 1, nil)
	c := dial(t, testServer(t, node, Config{}))
	node.mu.refuse = context.DeadlineExceeded
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Topics = []kmsg.DeleteTopicsRequestTopic{{Topic: ptr("t")}}
	wantCode(t, "a passed deadline", ask[*kmsg.DeleteTopicsResponse](c, 6, req).Topics[0].ErrorCode, kerr.RequestTimedOut)
	node.mu.refuse = errTest
	wantCode(t, "another failure", ask[*kmsg.DeleteTopicsResponse](c, 6, req).Topics[0].ErrorCode, kerr.UnknownServerError)
}

func TestConfigsOfAResourceNamedTwiceStayAsTheyAre(t *testing.T) {
	node := newTestNode(t)
	node.topic("t", 1, nil)
	c := dial(t, testServer(t, node, Config{}))
	incremental := kmsg.NewPtrIncrementalAlterConfigsRequest()
	one := kmsg.IncrementalAlterConfigsRequestResource{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "t",
		Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "retention.ms", Value: ptr("5")}}}
	incremental.Resources = []kmsg.IncrementalAlterConfigsRequestResource{one, one, one}
	if got := ask[*kmsg.IncrementalAlterConfigsResponse](c, 1, incremental).Resources; len(got) != 1 || got[0].ErrorCode != kerr.InvalidRequest.Code {
		t.Errorf("answered %+v", got)
	}
	whole := kmsg.NewPtrAlterConfigsRequest()
	two := kmsg.AlterConfigsRequestResource{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "t",
		Configs: []kmsg.AlterConfigsRequestResourceConfig{{Name: "retention.ms", Value: ptr("5")}}}
	whole.Resources = []kmsg.AlterConfigsRequestResource{two, two}
	if got := ask[*kmsg.AlterConfigsResponse](c, 2, whole).Resources; len(got) != 1 || got[0].ErrorCode != kerr.InvalidRequest.Code {
		t.Errorf("answered %+v", got)
	}
	if set := node.Image().Topic("t").Configs; len(set) != 0 {
		t.Errorf("the topic has %v", set)
	}
	whole.Resources = whole.Resources[:1]
	whole.Resources[0].Configs[0].Value = nil
	wantCode(t, "a config without a value", ask[*kmsg.AlterConfigsResponse](c, 2, whole).Resources[0].ErrorCode, kerr.InvalidRequest)
}
