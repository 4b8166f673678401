package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fanfold/fanfold/protocol"
)

// api is what is served of one API key.
type api struct {
	key       int16
	name      string
	min, max  int16 // versions served
	listedMin int16 // the lowest version that ApiVersions names
	// start begins a call whose body is in the frame, on the reader's
	// goroutine. It owns both from then on, whatever it returns.
	start func(c *conn, k *call, f *frame, body []byte) error
}

// apis is what is served, by ascending key. Dispatch and ApiVersions both read
// it: what is listed is what works.
//
// Produce is listed from 0 though served from 3: librdkafka turns compression
// off where the lowest version is higher.
var apis []*api

// apiByKey is the same by key; nil where a key is not served.
var apiByKey [80]*api

// It is filled here, since the handler of ApiVersions looks at the table.
func init() {
	apis = []*api{
		{key: 0, name: "Produce", min: 3, max: 13, listedMin: 0, start: (*conn).startProduce},
		{key: 1, name: "Fetch", min: 4, max: 18, listedMin: 4, start: (*conn).startFetch},
		{key: 2, name: "ListOffsets", min: 1, max: 11, listedMin: 1, start: queued((*conn).listOffsets)},
		{key: 3, name: "Metadata", min: 0, max: 13, listedMin: 0, start: queued((*conn).metadata)},
		{key: 8, name: "OffsetCommit", min: 2, max: 10, listedMin: 2, start: ofGroup(offsetCommitGroup, offsetCommitFailed)},
		{key: 9, name: "OffsetFetch", min: 1, max: 10, listedMin: 1, start: ofGroups(splitOffsetFetch, joinOffsetFetch)},
		{key: 10, name: "FindCoordinator", min: 0, max: 6, listedMin: 0, start: queued((*conn).findCoordinator)},
		{key: 11, name: "JoinGroup", min: 0, max: 9, listedMin: 0, start: ofGroup(joinGroupGroup, joinGroupFailed)},
		{key: 12, name: "Heartbeat", min: 0, max: 4, listedMin: 0, start: ofGroup(heartbeatGroup, heartbeatFailed)},
		{key: 13, name: "LeaveGroup", min: 0, max: 5, listedMin: 0, start: ofGroup(leaveGroupGroup, leaveGroupFailed)},
		{key: 14, name: "SyncGroup", min: 0, max: 5, listedMin: 0, start: ofGroup(syncGroupGroup, syncGroupFailed)},
		{key: 15, name: "DescribeGroups", min: 0, max: 6, listedMin: 0, start: ofGroups(splitDescribeGroups, joinDescribeGroups)},
		{key: 16, name: "ListGroups", min: 0, max: 5, listedMin: 0, start: everyGroup(listGroupsBody, joinListGroups)},
		{key: 18, name: "ApiVersions", min: 0, max: 5, listedMin: 0, start: queued((*conn).apiVersions)},
		{key: 19, name: "CreateTopics", min: 2, max: 7, listedMin: 2, start: queued((*conn).createTopics)},
		{key: 20, name: "DeleteTopics", min: 1, max: 6, listedMin: 1, start: queued((*conn).deleteTopics)},
		{key: 21, name: "DeleteRecords", min: 0, max: 2, listedMin: 0, start: queued((*conn).deleteRecords)},
		{key: 22, name: "InitProducerId", min: 0, max: 5, listedMin: 0, start: queued((*conn).initProducerID)},
		{key: 23, name: "OffsetForLeaderEpoch", min: 2, max: 4, listedMin: 2, start: queued((*conn).offsetForLeaderEpoch)},
		{key: 32, name: "DescribeConfigs", min: 1, max: 4, listedMin: 1, start: queued((*conn).describeConfigs)},
		{key: 33, name: "AlterConfigs", min: 0, max: 2, listedMin: 0, start: queued((*conn).alterConfigs)},
		{key: 35, name: "DescribeLogDirs", min: 1, max: 5, listedMin: 1, start: queued((*conn).describeLogDirs)},
		{key: 37, name: "CreatePartitions", min: 0, max: 3, listedMin: 0, start: queued((*conn).createPartitions)},
		{key: 42, name: "DeleteGroups", min: 0, max: 3, listedMin: 0, start: ofGroups(splitDeleteGroups, joinDeleteGroups)},
		{key: 44, name: "IncrementalAlterConfigs", min: 0, max: 1, listedMin: 0, start: queued((*conn).incrementalAlterConfigs)},
		{key: 47, name: "OffsetDelete", min: 0, max: 0, listedMin: 0, start: ofGroup(offsetDeleteGroup, offsetDeleteFailed)},
		{key: 60, name: "DescribeCluster", min: 0, max: 2, listedMin: 0, start: queued((*conn).describeCluster)},
		{key: 61, name: "DescribeProducers", min: 0, max: 0, listedMin: 0, start: queued((*conn).describeProducers)},
		{key: 68, name: "ConsumerGroupHeartbeat", min: 0, max: 1, listedMin: 0, start: ofGroup(consumerGroupHeartbeatGroup, consumerGroupHeartbeatFailed)},
		{key: 69, name: "ConsumerGroupDescribe", min: 0, max: 1, listedMin: 0, start: ofGroups(splitConsumerGroupDescribe, joinConsumerGroupDescribe)},
		{key: 74, name: "ListConfigResources", min: 0, max: 1, listedMin: 0, start: queued((*conn).listConfigResources)},
		{key: 75, name: "DescribeTopicPartitions", min: 0, max: 0, listedMin: 0, start: queued((*conn).describeTopicPartitions)},
	}
	for _, a := range apis {
		apiByKey[a.key] = a
	}
}

// findAPI is the table's row for a key, nil where the key is not served.
func findAPI(key int16) *api {
	if key < 0 || int(key) >= len(apiByKey) {
		return nil
	}
	return apiByKey[key]
}

func (a *api) serves(version int16) bool { return version >= a.min && version <= a.max }

// queued makes the start function of an API whose handler may block: it runs
// after those before it on the connection, beside produces and fetches.
func queued[R kmsg.Request](handle func(*conn, context.Context, R) kmsg.Response) func(*conn, *call, *frame, []byte) error {
	run := func(ctx context.Context, k *call) answer {
		return message{handle(k.conn, ctx, k.request.(R))}
	}
	return func(c *conn, k *call, f *frame, body []byte) (err error) {
		k.request, err = protocol.Decode(k.header.Key, k.header.Version, body)
		f.free() // texts were copied
		if err != nil {
			k.finish()
			return badInputf("%v", err)
		}
		k.run = run
		c.push(k)
		c.enqueue(k)
		return nil
	}
}
