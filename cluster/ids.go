package cluster

import (
	"encoding/base64"
	"fmt"
)

// TopicID is a topic's identity (KIP-516): never used again, so that a topic
// that is deleted and created anew under its old name is another topic. It is
// assignable to and from the [16]byte of the wire types.
type TopicID [16]byte

// String returns the id as Kafka's tools print it: URL-safe base64 without
// padding.
func (id TopicID) String() string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// IsZero reports whether the id is the one that stands for "none".
func (id TopicID) IsZero() bool { return id == TopicID{} }

// ParseTopicID reads what [TopicID.String] writes.
func ParseTopicID(s string) (TopicID, error) {
	var id TopicID
	raw, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(raw) != len(id) {
		return TopicID{}, fmt.Errorf("parse topic id %q: want 22 characters of URL-safe base64", s)
	}
	copy(id[:], raw)
	return id, nil
}
