package stored

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"os"
	"reflect"
	"strings"
	"testing"
)

// appender is every key and value type.
type appender interface{ Append(dst []byte) []byte }

// record is a key or a value as Kafka has written it, by its name in
// testdata/golden.txt.
type record struct {
	name string
	want appender
	old  bool // it is not what Append writes
}

func of[T any](v T) *T { return &v }

var (
	topic1 = [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	topic2 = [16]byte{255, 255, 255, 255, 255, 255, 255, 255, 15: 5}
)

// classicValue is what versions of the same GroupMetadata hold.
func classicValue(version int) GroupMetadataValue {
	v := GroupMetadataValue{
		ProtocolType: "consumer", Generation: 31, Protocol: of("range"), Leader: of("m-1"), StateMillis: 1790000000123,
		Members: []MemberMetadata{
			{
				ID: "m-1", InstanceID: of("i-1"), ClientID: "c", ClientHost: "/127.0.0.1",
				RebalanceTimeoutMillis: 300000, SessionTimeoutMillis: 45000, Subscription: []byte{0, 3}, Assignment: []byte{9, 8, 7},
			},
			{
				ID: "m-2", ClientHost: "/::1", RebalanceTimeoutMillis: 1, SessionTimeoutMillis: 2,
				Subscription: []byte{}, Assignment: []byte{},
			},
		},
	}
	if version < 1 {
		v.Members[0].RebalanceTimeoutMillis, v.Members[1].RebalanceTimeoutMillis = -1, -1
	}
	if version < 2 {
		v.StateMillis = -1
	}
	if version < 3 {
		v.Members[0].InstanceID = nil
	}
	return v
}

func goldenKeys() []record {
	return []record{
		{"OffsetCommitKey/legacy", OffsetCommitKey{"readers", "orders", 7}, true},
		{"OffsetCommitKey", OffsetCommitKey{"readers", "orders", 7}, false},
		{"GroupMetadataKey", GroupMetadataKey{"readers"}, false},
		{"ConsumerGroupMetadataKey", ConsumerGroupMetadataKey{"readers"}, false},
		{"ConsumerGroupMemberMetadataKey", ConsumerGroupMemberMetadataKey{"readers", "m-1"}, false},
		{"ConsumerGroupTargetAssignmentMetadataKey", ConsumerGroupTargetAssignmentMetadataKey{"readers"}, false},
		{"ConsumerGroupTargetAssignmentMemberKey", ConsumerGroupTargetAssignmentMemberKey{"readers", "m-1"}, false},
		{"ConsumerGroupCurrentMemberAssignmentKey", ConsumerGroupCurrentMemberAssignmentKey{"readers", "m-1"}, false},
		{"ConsumerGroupRegularExpressionKey", ConsumerGroupRegularExpressionKey{"readers", "^ord.*"}, false},
	}
}

func goldenOffsets() []record {
	const offset, at, expire = 4000000001, 1790000000123, 1790000999999
	return []record{
		{"OffsetCommitValue/legacy/0", OffsetCommitValue{offset, -1, "café", at, -1, [16]byte{}}, true},
		{"OffsetCommitValue/0", OffsetCommitValue{offset, -1, "café", at, -1, [16]byte{}}, true},
		{"OffsetCommitValue/1", OffsetCommitValue{offset, -1, "café", at, expire, [16]byte{}}, false},
		{"OffsetCommitValue/2", OffsetCommitValue{offset, -1, "café", at, -1, [16]byte{}}, true},
		{"OffsetCommitValue/3", OffsetCommitValue{offset, 12, "café", at, -1, [16]byte{}}, true},
		{"OffsetCommitValue/4", OffsetCommitValue{offset, 12, "café", at, -1, topic1}, false},
		{"OffsetCommitValue/plain/4", OffsetCommitValue{0, -1, "", 1, -1, [16]byte{}}, false},
	}
}

func goldenGroups() []record {
	empty := GroupMetadataValue{StateMillis: -1, Members: []MemberMetadata{}}
	return []record{
		{"GroupMetadataValue/0", classicValue(0), true},
		{"GroupMetadataValue/1", classicValue(1), true},
		{"GroupMetadataValue/2", classicValue(2), true},
		{"GroupMetadataValue/3", classicValue(3), false},
		{"GroupMetadataValue/4", classicValue(4), true},
		{"GroupMetadataValue/empty/3", empty, false},
		{"GroupMetadataValue/empty/4", empty, true},
	}
}

func goldenConsumers() []record {
	many := make([]int32, 130)
	for i := range many {
		many[i] = int32(i)
	}
	return []record{
		{"ConsumerGroupMetadataValue/0", ConsumerGroupMetadataValue{17, -2}, false},
		{"ConsumerGroupMetadataValue/plain/0", ConsumerGroupMetadataValue{17, 0}, false},
		{"ConsumerGroupMemberMetadataValue/0", ConsumerGroupMemberMetadataValue{
			InstanceID: of("i-1"), RackID: of("a"), ClientID: "c", ClientHost: "/127.0.0.1",
			SubscribedTopicNames: []string{"bills", "orders"}, SubscribedTopicRegex: of("^ord.*"),
			RebalanceTimeoutMillis: 300000, ServerAssignor: of("uniform"),
			Classic: &ClassicMemberMetadata{45000, []ClassicProtocol{{"range", []byte{0, 3}}, {"sticky", make([]byte, 200)}}},
		}, false},
		{"ConsumerGroupMemberMetadataValue/plain/0", ConsumerGroupMemberMetadataValue{
			ClientID: "c", ClientHost: "/127.0.0.1", SubscribedTopicNames: []string{}, RebalanceTimeoutMillis: -1,
		}, false},
		{"ConsumerGroupTargetAssignmentMetadataValue/0", ConsumerGroupTargetAssignmentMetadataValue{18, 1790000000123}, false},
		{"ConsumerGroupTargetAssignmentMetadataValue/plain/0", ConsumerGroupTargetAssignmentMetadataValue{18, 0}, false},
		{"ConsumerGroupTargetAssignmentMemberValue/0", ConsumerGroupTargetAssignmentMemberValue{[]TopicPartitions{
			{TopicID: topic1, Partitions: []int32{0, 1, 300}}, {TopicID: topic2, Partitions: []int32{}},
		}}, false},
		{"ConsumerGroupCurrentMemberAssignmentValue/0", ConsumerGroupCurrentMemberAssignmentValue{
			MemberEpoch: 18, PreviousMemberEpoch: 17, State: 1,
			AssignedPartitions: []TopicPartitions{
				{topic1, []int32{0, 1}, []int32{17, 18}},
				{topic2, many, many},
			},
			PartitionsPendingRevocation: []TopicPartitions{{topic1, []int32{5}, nil}},
		}, false},
		{"ConsumerGroupRegularExpressionValue/0", ConsumerGroupRegularExpressionValue{
			[]string{"orders", "orders-old"}, 1234567890123, 1790000000123,
		}, false},
	}
}

// goldenRecords is all that golden.txt has.
func goldenRecords() []record {
	var all []record
	for _, part := range [][]record{goldenKeys(), goldenOffsets(), goldenGroups(), goldenConsumers()} {
		all = append(all, part...)
	}
	return all
}

// goldenBytes reads testdata/golden.txt.
func goldenBytes(tb testing.TB) map[string][]byte {
	tb.Helper()
	text, err := os.ReadFile("testdata/golden.txt")
	if err != nil {
		tb.Fatal(err)
	}
	found := map[string][]byte{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		name, digits, ok := strings.Cut(lines.Text(), " ")
		if !ok || name == "#" {
			continue
		}
		if found[name], err = hex.DecodeString(digits); err != nil {
			tb.Fatalf("%s: %v", name, err)
		}
	}
	return found
}

// parse reads a key or a value by the name of its type.
func parse(name string, b []byte) (any, error) {
	name, _, _ = strings.Cut(name, "/")
	switch name {
	case "OffsetCommitValue":
		return ParseOffsetCommitValue(b)
	case "GroupMetadataValue":
		return ParseGroupMetadataValue(b)
	case "ConsumerGroupMetadataValue":
		return ParseConsumerGroupMetadataValue(b)
	case "ConsumerGroupMemberMetadataValue":
		return ParseConsumerGroupMemberMetadataValue(b)
	case "ConsumerGroupTargetAssignmentMetadataValue":
		return ParseConsumerGroupTargetAssignmentMetadataValue(b)
	case "ConsumerGroupTargetAssignmentMemberValue":
		return ParseConsumerGroupTargetAssignmentMemberValue(b)
	case "ConsumerGroupCurrentMemberAssignmentValue":
		return ParseConsumerGroupCurrentMemberAssignmentValue(b)
	case "ConsumerGroupRegularExpressionValue":
		return ParseConsumerGroupRegularExpressionValue(b)
	}
	return ParseKey(b)
}

// What Kafka has written is read, and written alike.
func TestGoldenRecords(t *testing.T) {
	golden := goldenBytes(t)
	for _, r := range goldenRecords() {
		b, ok := golden[r.name]
		if !ok {
			t.Errorf("golden.txt has no %s", r.name)
			continue
		}
		delete(golden, r.name)
		got, err := parse(r.name, b)
		if err != nil {
			t.Errorf("%s: %v", r.name, err)
			continue
		}
		if !reflect.DeepEqual(got, any(r.want)) {
			t.Errorf("%s is read as\n%+v, not as\n%+v", r.name, got, r.want)
		}
		if w := r.want.Append([]byte("before")); !r.old && string(w) != "before"+string(b) {
			t.Errorf("%s is written as\n%x, not as\n%x", r.name, w[6:], b)
		}
	}
	for name := range golden {
		t.Errorf("no test reads %s", name)
	}
}
