package broker

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// sampleRequest is a request of each key that succeeds, on the topic "sample"
// of two partitions.
func sampleRequest(t testing.TB, key, version int16, node *testNode) kmsg.Request {
	id := node.Image().Topic("sample").ID
	name := "sample"
	switch key {
	case 0:
		r := kmsg.NewPtrProduceRequest()
		r.Acks, r.TimeoutMillis = -1, 1000
		r.Topics = []kmsg.ProduceRequestTopic{{Topic: name, TopicID: id, Partitions: []kmsg.ProduceRequestTopicPartition{
			{Partition: 0, Records: testBatch(t, "a", "b")}, {Partition: 1, Records: testBatch(t, "c")},
		}}}
		return r
	case 1:
		r := kmsg.NewPtrFetchRequest()
		r.MaxWaitMillis, r.MinBytes, r.MaxBytes = 100, 1, 1<<20
		p := kmsg.NewFetchRequestTopicPartition()
		p.PartitionMaxBytes = 1 << 20
		r.Topics = []kmsg.FetchRequestTopic{{Topic: name, TopicID: id, Partitions: []kmsg.FetchRequestTopicPartition{p}}}
		return r
	case 2:
		r := kmsg.NewPtrListOffsetsRequest()
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Timestamp = -1
		r.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: name, Partitions: []kmsg.ListOffsetsRequestTopicPartition{p}}}
		return r
	case 3:
		r := kmsg.NewPtrMetadataRequest()
		r.Topics = []kmsg.MetadataRequestTopic{{Topic: &name}}
		return r
	case 18:
		r := kmsg.NewPtrApiVersionsRequest()
		r.ClientSoftwareName, r.ClientSoftwareVersion = "test", "1.0"
		return r
	case 19:
		r := kmsg.NewPtrCreateTopicsRequest()
		r.TimeoutMillis = 1000
		r.Topics = []kmsg.CreateTopicsRequestTopic{{Topic: fmt.Sprintf("new-%d", version), NumPartitions: 2, ReplicationFactor: 1}}
		return r
	case 20:
		gone := node.topic(fmt.Sprintf("gone-%d", version), 1, nil)
		r := kmsg.NewPtrDeleteTopicsRequest()
		r.TimeoutMillis = 1000
		r.TopicNames = []string{gone.Name}
		r.Topics = []kmsg.DeleteTopicsRequestTopic{{TopicID: gone.ID}}
		return r
	case 21:
		r := kmsg.NewPtrDeleteRecordsRequest()
		r.TimeoutMillis = 1000
		r.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: name, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Partition: 0}}}}
		return r
	case 22:
		r := kmsg.NewPtrInitProducerIDRequest()
		return r
	case 23:
		r := kmsg.NewPtrOffsetForLeaderEpochRequest()
		p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
		p.LeaderEpoch = 1
		r.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: name, Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{p}}}
		return r
	case 32:
		r := kmsg.NewPtrDescribeConfigsRequest()
		r.IncludeSynonyms, r.IncludeDocumentation = true, true
		r.Resources = []kmsg.DescribeConfigsRequestResource{
			{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: name}, {ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: "1"},
		}
		return r
	case 33:
		r := kmsg.NewPtrAlterConfigsRequest()
		value := "1000"
		r.Resources = []kmsg.AlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: name,
			Configs: []kmsg.AlterConfigsRequestResourceConfig{{Name: "retention.ms", Value: &value}}}}
		return r
	case 35:
		return kmsg.NewPtrDescribeLogDirsRequest()
	case 37:
		grown := node.topic(fmt.Sprintf("grown-%d", version), 1, nil)
		r := kmsg.NewPtrCreatePartitionsRequest()
		r.TimeoutMillis = 1000
		r.Topics = []kmsg.CreatePartitionsRequestTopic{{Topic: grown.Name, Count: 3}}
		return r
	case 44:
		r := kmsg.NewPtrIncrementalAlterConfigsRequest()
		value := "2000"
		r.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: name,
			Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "retention.ms", Value: &value}}}}
		return r
	case 60:
		return kmsg.NewPtrDescribeClusterRequest()
	case 61:
		r := kmsg.NewPtrDescribeProducersRequest()
		r.Topics = []kmsg.DescribeProducersRequestTopic{{Topic: name, Partitions: []int32{0}}}
		return r
	case 74:
		return kmsg.NewPtrListConfigResourcesRequest()
	case 75:
		r := kmsg.NewPtrDescribeTopicPartitionsRequest()
		r.ResponsePartitionLimit = 10
		return r
	}
	if r := groupSample(key, version, id); r != nil {
		return r
	}
	t.Fatalf("key %d has no sample", key)
	return nil
}

// errorsOf are all error codes of an answer.
func errorsOf(resp kmsg.Response) (codes []int16) {
	switch r := resp.(type) {
	case *kmsg.ProduceResponse:
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				codes = append(codes, p.ErrorCode)
			}
		}
	case *kmsg.FetchResponse:
		codes = append(codes, r.ErrorCode)
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				codes = append(codes, p.ErrorCode)
			}
		}
	case *kmsg.ListOffsetsResponse:
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				codes = append(codes, p.ErrorCode)
			}
		}
	case *kmsg.MetadataResponse:
		for _, t := range r.Topics {
			codes = append(codes, t.ErrorCode)
		}
	case *kmsg.ApiVersionsResponse:
		codes = append(codes, r.ErrorCode)
	case *kmsg.CreateTopicsResponse:
		for _, t := range r.Topics {
			codes = append(codes, t.ErrorCode)
		}
	case *kmsg.DeleteTopicsResponse:
		for _, t := range r.Topics {
			codes = append(codes, t.ErrorCode)
		}
	case *kmsg.DeleteRecordsResponse:
		for _, t := range r.Topics {
			codes = append(codes, t.Partitions[0].ErrorCode)
		}
	case *kmsg.InitProducerIDResponse:
		codes = append(codes, r.ErrorCode)
	case *kmsg.OffsetForLeaderEpochResponse:
		for _, t := range r.Topics {
			codes = append(codes, t.Partitions[0].ErrorCode)
		}
	case *kmsg.DescribeConfigsResponse:
		for _, t := range r.Resources {
			codes = append(codes, t.ErrorCode)
		}
	case *kmsg.AlterConfigsResponse:
		for _, t := range r.Resources {
			codes = append(codes, t.ErrorCode)
		}
	case *kmsg.DescribeLogDirsResponse:
		codes = append(codes, r.ErrorCode)
		for _, d := range r.Dirs {
			codes = append(codes, d.ErrorCode)
		}
	case *kmsg.CreatePartitionsResponse:
		for _, t := range r.Topics {
			codes = append(codes, t.ErrorCode)
		}
	case *kmsg.IncrementalAlterConfigsResponse:
		for _, t := range r.Resources {
			codes = append(codes, t.ErrorCode)
		}
	case *kmsg.DescribeClusterResponse:
		codes = append(codes, r.ErrorCode)
	case *kmsg.DescribeProducersResponse:
		for _, t := range r.Topics {
			codes = append(codes, t.Partitions[0].ErrorCode)
		}
	case *kmsg.ListConfigResourcesResponse:
		codes = append(codes, r.ErrorCode)
	case *kmsg.DescribeTopicPartitionsResponse:
		for _, t := range r.Topics {
			codes = append(codes, t.ErrorCode)
		}
	default:
		codes = groupErrors(resp)
	}
	return codes
}

func TestEveryKeyInEveryVersion(t *testing.T) {
	node := newTestNode(t)
	node.topic("sample", 2, nil)
	node.static["group.initial.rebalance.delay.ms"] = "0"
	s := testServer(t, node, Config{})
	findGroup(t, dial(t, s), "sample")
	for _, a := range apis {
		for version := a.min; version <= a.max; version++ {
			t.Run(fmt.Sprintf("%s/%d", a.name, version), func(t *testing.T) {
				req := sampleRequest(t, a.key, version, node)
				req.SetVersion(version)
				c := dial(t, s)
				resp := c.receive(req, c.send(req))
				codes := errorsOf(resp)
				if len(codes) == 0 && (a.key != 74 || version != 0) {
					t.Errorf("the answer %+v says nothing", resp)
				}
				for _, code := range codes {
					if code != groupSampleError(a.key, version) {
						t.Errorf("answered %v", kerr.ErrorForCode(code))
					}
				}
			})
		}
	}
}

// What kmsg can express is served to the last version.
func TestServedVersionsAreKmsgs(t *testing.T) {
	for _, a := range apis {
		req := kmsg.RequestForKey(a.key)
		if req.MaxVersion() != a.max {
			t.Errorf("%s is served up to %d, kmsg knows %d", a.name, a.max, req.MaxVersion())
		}
		if name := kmsg.NameForKey(a.key); name != a.name && name != "InitProducerID" {
			t.Errorf("key %d is %s, not %s", a.key, name, a.name)
		}
	}
}

func TestApiVersionsListsTheTable(t *testing.T) {
	node := newTestNode(t)
	c := dial(t, testServer(t, node, Config{}))
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "test", "1.0"
	resp := ask[*kmsg.ApiVersionsResponse](c, 4, req)
	if len(resp.ApiKeys) != len(apis) {
		t.Fatalf("%d keys are listed, %d served", len(resp.ApiKeys), len(apis))
	}
	for i, k := range resp.ApiKeys {
		if a := apis[i]; k.ApiKey != a.key || k.MinVersion != a.listedMin || k.MaxVersion != a.max {
			t.Errorf("listed as %d %d–%d: %+v", k.ApiKey, k.MinVersion, k.MaxVersion, a)
		}
	}
	if resp.ApiKeys[0].MinVersion != 0 {
		t.Error("Produce is not listed from 0: librdkafka would not compress")
	}
}

func TestApiVersionsRefusals(t *testing.T) {
	node := newTestNode(t)
	s := testServer(t, node, Config{})
	id, other := testClusterID, "another"
	cases := []struct {
		what     string
		version  int16
		software string
		cluster  *string
		node     int32
		want     *kerr.Error
	}{
		{"no cluster", 5, "ok", nil, -1, nil},
		{"this cluster and node", 5, "ok", &id, 1, nil},
		{"a cluster without a node", 5, "ok", &id, -1, kerr.InvalidRequest},
		{"a node without a cluster", 5, "ok", nil, 1, kerr.InvalidRequest},
		{"another cluster", 5, "ok", &other, 1, kerr.RebootstrapRequired},
		{"another node", 5, "ok", &id, 2, kerr.RebootstrapRequired},
		{"a bad software name", 3, "no spaces please", nil, -1, kerr.InvalidRequest},
		{"an empty software name", 3, "", nil, -1, kerr.InvalidRequest},
	}
	for _, tc := range cases {
		t.Run(tc.what, func(t *testing.T) {
			req := kmsg.NewPtrApiVersionsRequest()
			req.ClientSoftwareName, req.ClientSoftwareVersion, req.ClusterID, req.NodeID = tc.software, "1.0", tc.cluster, tc.node
			resp := ask[*kmsg.ApiVersionsResponse](dial(t, s), tc.version, req)
			if got := kerr.ErrorForCode(resp.ErrorCode); got != error(tc.want) && !(got == nil && tc.want == nil) {
				t.Errorf("answered %v; want %v", got, tc.want)
			}
		})
	}
}
