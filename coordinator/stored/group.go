package stored

import "fmt"

// GroupMetadataValue is a classic group, after a rebalance has completed.
type GroupMetadataValue struct {
	ProtocolType string
	Generation   int32
	Protocol     *string
	Leader       *string
	StateMillis  int64 // when it came into its state; -1: not known
	Members      []MemberMetadata
}

// MemberMetadata is a member of a classic group.
type MemberMetadata struct {
	ID                     string
	InstanceID             *string // of a static member
	ClientID, ClientHost   string
	RebalanceTimeoutMillis int32 // -1: not known
	SessionTimeoutMillis   int32
	Subscription           []byte // its metadata for the group's protocol
	Assignment             []byte
}

// memberMinBytes is the least that a member takes, in version 4.
const memberMinBytes = 15

// Append appends the value's bytes to dst.
func (v GroupMetadataValue) Append(dst []byte) []byte {
	w := startValue(dst, 3, false)
	w.string(v.ProtocolType)
	w.int32(v.Generation)
	w.nullableString(v.Protocol)
	w.nullableString(v.Leader)
	w.int64(v.StateMillis)
	w.length(len(v.Members))
	for i := range v.Members {
		m := &v.Members[i]
		w.string(m.ID)
		w.nullableString(m.InstanceID)
		w.string(m.ClientID)
		w.string(m.ClientHost)
		w.int32(m.RebalanceTimeoutMillis)
		w.int32(m.SessionTimeoutMillis)
		w.bytes(m.Subscription)
		w.bytes(m.Assignment)
	}
	return w.buf
}

// ParseGroupMetadataValue reads versions 0 to 4. An error is an *Error.
func ParseGroupMetadataValue(value []byte) (GroupMetadataValue, error) {
	r, version := openValue("GroupMetadata", value, 4, 4)
	v := GroupMetadataValue{StateMillis: -1}
	v.ProtocolType = r.string("protocolType")
	v.Generation = r.int32("generation")
	v.Protocol = r.nullableString("protocol")
	v.Leader = r.nullableString("leader")
	if version >= 2 {
		v.StateMillis = r.int64("currentStateTimestamp")
	}
	v.Members = make([]MemberMetadata, r.count("members", memberMinBytes))
	for i := range v.Members {
		if r.member(version, &v.Members[i]); r.err != nil {
			r.err.Field = fmt.Sprintf("members[%d].%s", i, r.err.Field)
			break
		}
	}
	r.tags(nil)
	if err := r.end(); err != nil {
		return GroupMetadataValue{}, err
	}
	return v, nil
}

func (r *reader) member(version int16, m *MemberMetadata) {
	m.ID = r.string("memberId")
	if version >= 3 {
		m.InstanceID = r.nullableString("groupInstanceId")
	}
	m.ClientID = r.string("clientId")
	m.ClientHost = r.string("clientHost")
	m.RebalanceTimeoutMillis = -1
	if version >= 1 {
		m.RebalanceTimeoutMillis = r.int32("rebalanceTimeout")
	}
	m.SessionTimeoutMillis = r.int32("sessionTimeout")
	m.Subscription = r.bytes("subscription")
	m.Assignment = r.bytes("assignment")
	r.tags(nil)
}
