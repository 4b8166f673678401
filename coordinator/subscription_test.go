package coordinator

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func subscriptionTo(version int16, topics ...string) []byte {
	m := kmsg.NewConsumerMemberMetadata()
	m.Version = version
	m.Topics = topics
	m.OwnedPartitions = []kmsg.ConsumerMemberMetadataOwnedPartition{{Topic: "t", Partitions: []int32{1}}}
	return m.AppendTo(nil)
}

func TestSubscriptionTopics(t *testing.T) {
	for version := range int16(4) {
		topics, ok := subscriptionTopics(subscriptionTo(version, "t", "u"))
		if !ok || !slices.Equal(topics, []string{"t", "u"}) {
			t.Errorf("version %d: %v, %v", version, topics, ok)
		}
	}
	for _, other := range [][]byte{
		nil,
		{0},
		[]byte("what kafka-go sends"),
		{0xff, 0xff, 0, 0, 0, 0},
		{0, 0, 0xff, 0xff, 0xff, 0xff},
		{0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 1, 'a'},
		{0, 0, 0, 0, 0, 1, 0, 9, 'a'},
		{0, 0, 0, 0, 0, 1, 0, 1, 0xff},
	} {
		if topics, ok := subscriptionTopics(other); ok {
			t.Errorf("%q is taken for a subscription to %v", other, topics)
		}
	}
}

func TestSameTopics(t *testing.T) {
	for _, c := range []struct {
		a, b []byte
		same bool
	}{
		{subscriptionTo(0, "t", "u"), subscriptionTo(3, "u", "t"), true},
		{subscriptionTo(0, "t"), subscriptionTo(0, "t", "t"), true},
		{subscriptionTo(0, "t"), subscriptionTo(0, "t", "u"), false},
		{subscriptionTo(0, "t"), []byte("?"), true},
	} {
		if sameTopics(c.a, c.b) != c.same {
			t.Errorf("%q and %q are the same: %v", c.a, c.b, !c.same)
		}
	}
}

func FuzzSubscriptionTopics(f *testing.F) {
	f.Add(subscriptionTo(0, "t"))
	f.Add(subscriptionTo(3, "t", "u"))
	f.Add([]byte("stranger"))
	f.Fuzz(func(t *testing.T, metadata []byte) {
		topics, ok := subscriptionTopics(metadata)
		if !ok {
			return
		}
		n := 0
		for _, topic := range topics {
			n += 2 + len(topic)
		}
		if n > len(metadata) {
			t.Fatalf("%d bytes of topics come out of %d", n, len(metadata))
		}
	})
}
