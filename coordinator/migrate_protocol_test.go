package coordinator

import (
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// metadataOf is what a classic consumer sends, as another library writes it.
func embeddedMetadata(version int16, rack *string, topics []string, owned ...kmsg.ConsumerMemberMetadataOwnedPartition) []byte {
	m := kmsg.NewConsumerMemberMetadata()
	m.Version, m.Topics, m.OwnedPartitions, m.Generation, m.Rack = version, topics, owned, 7, rack
	return m.AppendTo(nil)
}

func TestParseSubscription(t *testing.T) {
	rack := "a"
	owned := kmsg.ConsumerMemberMetadataOwnedPartition{Topic: "x", Partitions: []int32{3, 1}}
	for version := range int16(4) {
		got, err := parseSubscription(embeddedMetadata(version, &rack, []string{"y", "x", "y"}, owned))
		if err != nil {
			t.Fatalf("version %d: %v", version, err)
		}
		want := subscription{version: version, topics: []string{"x", "y"}}
		if version >= 1 {
			want.owned = []namedPartitions{{"x", []int32{3, 1}}}
		}
		if version >= 3 {
			want.rack = "a"
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("version %d: got %+v, want %+v", version, got, want)
		}
	}
	later := embeddedMetadata(3, nil, []string{"x"})
	later[1] = 9
	if got, err := parseSubscription(append(later, 1, 2, 3)); err != nil || got.version != 3 || len(got.topics) != 1 {
		t.Errorf("a later version: got %+v, %v", got, err)
	}
	for _, data := range [][]byte{nil, {0}, {0xff, 0xff, 0, 0, 0, 0}, {0, 0, 0x7f, 0xff, 0xff, 0xff}, []byte("0,1,2 of mine")} {
		if got, err := parseSubscription(data); err == nil {
			t.Errorf("%q: got %+v", data, got)
		}
	}
}

func TestParseAssignment(t *testing.T) {
	topics := []namedPartitions{{"a", []int32{0, 2}}, {"b", []int32{1}}}
	data := appendAssignment(nil, 1, topics)
	other := kmsg.NewConsumerMemberAssignment()
	if err := other.ReadFrom(data); err != nil || other.Version != 1 || len(other.Topics) != 2 || other.UserData != nil {
		t.Errorf("another library reads %+v, %v", other, err)
	}
	if got, userData, err := parseAssignment(data); err != nil || userData || !reflect.DeepEqual(got, topics) {
		t.Errorf("got %v, %v, %v", got, userData, err)
	}
	other.UserData = []byte("x")
	if _, userData, err := parseAssignment(other.AppendTo(nil)); err != nil || !userData {
		t.Errorf("user data: %v, %v", userData, err)
	}
	if _, _, err := parseAssignment(data[:len(data)-1]); err == nil {
		t.Error("what is cut off is taken")
	}
}

// FuzzEmbeddedProtocol reads any bytes as what classic consumers send: without
// taking more memory than some times their size, and what can be read can be
// written again.
func FuzzEmbeddedProtocol(f *testing.F) {
	rack := "r"
	for version := range int16(4) {
		f.Add(embeddedMetadata(version, &rack, []string{"a", "b"}, kmsg.ConsumerMemberMetadataOwnedPartition{Topic: "a", Partitions: []int32{1}}))
	}
	f.Add(appendAssignment(nil, 0, []namedPartitions{{"a", []int32{0, 2}}}))
	f.Add([]byte{0, 1, 0, 0, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		if s, err := parseSubscription(data); err == nil && len(s.topics) > len(data) {
			t.Errorf("%d topics of %d bytes", len(s.topics), len(data))
		}
		topics, _, err := parseAssignment(data)
		if err != nil {
			return
		}
		again, _, err := parseAssignment(appendAssignment(nil, 0, topics))
		if err != nil || !reflect.DeepEqual(again, topics) {
			t.Errorf("read %v, and again %v, %v", topics, again, err)
		}
	})
}
