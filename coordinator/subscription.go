package coordinator

import (
	"encoding/binary"
	"unicode/utf8"
)

// subscriptionTopics reads the topics from the metadata of a member whose
// protocol type is "consumer". It reads what all versions begin with, so that it
// need not know versions to come:
//
//	version  int16
//	topics   [string], with an int32 count, each with an int16 length
//
// ok is false where it is something else: metadata is the clients' own, and some
// send other bytes.
func subscriptionTopics(metadata []byte) (topics []string, ok bool) {
	const header = 2 + 4
	if len(metadata) < header || int16(binary.BigEndian.Uint16(metadata)) < 0 {
		return nil, false
	}
	count := int(int32(binary.BigEndian.Uint32(metadata[2:])))
	rest := metadata[header:]
	if count < 0 || count > len(rest)/2 {
		return nil, false
	}
	topics = make([]string, 0, count)
	for range count {
		if len(rest) < 2 {
			return nil, false
		}
		n := int(int16(binary.BigEndian.Uint16(rest)))
		if n < 0 || n > len(rest)-2 || !utf8.Valid(rest[2:2+n]) {
			return nil, false
		}
		topics = append(topics, string(rest[2:2+n]))
		rest = rest[2+n:]
	}
	return topics, true
}

// topics are those that the members subscribe to: nil where the coordinator
// cannot know.
func (c *classicGroup) topics() map[string]struct{} {
	if c.protocolType != consumerProtocolType || len(c.members) > 0 && c.protocol == nil {
		return nil
	}
	all := map[string]struct{}{}
	for _, member := range c.members {
		topics, ok := subscriptionTopics(member.metadataOf(c.protocol))
		if !ok {
			return nil
		}
		for _, topic := range topics {
			all[topic] = struct{}{}
		}
	}
	return all
}

// subscribes says whether a topic's offsets are in use: those of a topic that
// members subscribe to do not expire and are not deleted. Where members of type
// "consumer" cannot be understood, all are taken to be.
func (c *classicGroup) subscribes(topic string) bool {
	if c.subscribed == nil {
		return c.protocolType == consumerProtocolType
	}
	_, ok := c.subscribed[topic]
	return ok
}

// subscribes says whether the group's members subscribe to a topic.
func (m *Machine) subscribes(g *group, topic string) bool {
	switch {
	case g.consumer != nil:
		return m.consumerSubscribed(g, topic)
	case g.classic != nil:
		return g.classic.subscribes(topic)
	default:
		return false
	}
}
