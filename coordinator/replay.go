package coordinator

import (
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fanfold/fanfold/coordinator/stored"
)

// Replay takes a committed record as it is in the log; value is nil for a
// tombstone. Records of types that are not known are left out: versions to come
// may write them. A record that is broken is an error and changes nothing. The
// bytes are not kept.
func (m *Machine) Replay(key, value []byte, _ time.Time) error {
	parsed, err := stored.ParseKey(key)
	if err != nil {
		if unknown := (*stored.UnknownTypeError)(nil); errors.As(err, &unknown) {
			return nil
		}
		return fmt.Errorf("replay record: %w", err)
	}
	switch k := parsed.(type) {
	case stored.OffsetCommitKey:
		if err := m.replayOffset(k, value); err != nil {
			return fmt.Errorf("replay offset of group %q for %s-%d: %w", clip(k.Group), k.Topic, k.Partition, err)
		}
	case stored.GroupMetadataKey:
		if err := m.replayClassic(k, value); err != nil {
			return fmt.Errorf("replay group %q: %w", clip(k.Group), err)
		}
	default:
		return m.replayConsumer(parsed, value)
	}
	return nil
}

func (m *Machine) replayOffset(key stored.OffsetCommitKey, value []byte) error {
	if value == nil {
		if g := m.groups[key.Group]; g != nil {
			m.removeOffset(g, key.Topic, key.Partition)
			m.forget(g)
		}
		return nil
	}
	v, err := stored.ParseOffsetCommitValue(value)
	if err != nil {
		return err
	}
	m.setOffset(m.replayGroup(key.Group), key.Topic, committed{
		partition:   key.Partition,
		leaderEpoch: v.LeaderEpoch,
		offset:      v.Offset,
		metadata:    v.Metadata,
		at:          v.CommitMillis,
		expires:     v.ExpireMillis,
		topic:       v.TopicID,
	})
	return nil
}

func (m *Machine) replayClassic(key stored.GroupMetadataKey, value []byte) error {
	if value == nil {
		if g := m.groups[key.Group]; g != nil {
			g.classic = nil
			m.forget(g)
		}
		return nil
	}
	v, err := stored.ParseGroupMetadataValue(value)
	if err != nil {
		return err
	}
	c, err := classicFrom(v)
	if err != nil {
		return err
	}
	m.replayGroup(key.Group).classic = c
	return nil
}

// classicFrom is the group of a record. What the members said of themselves but
// for the chosen protocol is not in it: they say it again when they join again.
func classicFrom(v stored.GroupMetadataValue) (*classicGroup, error) {
	c := newClassicGroup()
	c.protocolType = v.ProtocolType
	c.generation = v.Generation
	c.protocol = v.Protocol
	c.stateSince = fromMillis(v.StateMillis)
	c.saved = true
	if len(v.Members) > 0 && v.Protocol == nil {
		return nil, fmt.Errorf("%d members have no protocol", len(v.Members))
	}
	for _, saved := range v.Members {
		member := memberFrom(saved, v.Protocol)
		if c.members[member.id] != nil {
			return nil, fmt.Errorf("two members are %q", clip(member.id))
		}
		if member.instanceID != nil && c.static[*member.instanceID] != "" {
			return nil, fmt.Errorf("two members are instance %q", clip(*member.instanceID))
		}
		c.add(member)
		c.state = classicStable
	}
	if v.Leader != nil && c.members[*v.Leader] != nil {
		c.leader = *v.Leader
	}
	c.subscribed = c.topics()
	return c, nil
}

func memberFrom(v stored.MemberMetadata, protocol *string) *classicMember {
	rebalance := v.RebalanceTimeoutMillis
	if rebalance == -1 {
		rebalance = v.SessionTimeoutMillis
	}
	return &classicMember{
		id:               v.ID,
		instanceID:       v.InstanceID,
		client:           Client{ID: v.ClientID, Host: v.ClientHost},
		sessionTimeout:   millis(v.SessionTimeoutMillis),
		rebalanceTimeout: millis(rebalance),
		protocols:        []kmsg.JoinGroupRequestProtocol{{Name: *protocol, Metadata: v.Subscription}},
		assignment:       v.Assignment,
	}
}
