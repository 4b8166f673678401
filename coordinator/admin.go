package coordinator

import (
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ListGroups 0-5: 4 has states (KIP-518), 5 types (KIP-848).
const listTypes = 5

// listGroups handles ListGroups, of the groups of this machine.
func (m *Machine) listGroups(req *Request, body *kmsg.ListGroupsRequest) {
	resp := kmsg.NewPtrListGroupsResponse()
	resp.Version = body.Version
	for _, id := range m.ids() {
		g := m.groups[id]
		state := m.stateName(g)
		if !listed(body.StatesFilter, state) || body.Version >= listTypes && !listed(body.TypesFilter, g.kind()) {
			continue
		}
		resp.Groups = append(resp.Groups, kmsg.ListGroupsResponseGroup{
			Group:        id,
			ProtocolType: g.protocolType(),
			GroupState:   state,
			GroupType:    g.kind(),
		})
	}
	m.answer(req.Token, resp)
}

// listed says whether a value is among those that a client asks for: all, where
// it names none. Case does not matter.
func listed(filter []string, value string) bool {
	return len(filter) == 0 || slices.ContainsFunc(filter, func(s string) bool { return strings.EqualFold(s, value) })
}

// DescribeGroups 0-6: 6 says that a group is not found (KIP-1043); before, it is
// one that is dead.
const describeNotFound = 6

// stateDead is the state of a group that does not exist.
const stateDead = "Dead"

// describeGroups handles DescribeGroups, of classic groups.
func (m *Machine) describeGroups(req *Request, body *kmsg.DescribeGroupsRequest) {
	resp := kmsg.NewPtrDescribeGroupsResponse()
	resp.Version = body.Version
	for _, id := range body.Groups {
		resp.Groups = append(resp.Groups, m.describeGroup(id, body.Version))
	}
	m.answer(req.Token, resp)
}

func (m *Machine) describeGroup(id string, version int16) kmsg.DescribeGroupsResponseGroup {
	d := kmsg.NewDescribeGroupsResponseGroup()
	d.Group = id
	g := m.groups[id]
	if g == nil || g.consumer != nil {
		d.State = stateDead
		if version >= describeNotFound {
			what := "does not exist"
			if g != nil {
				what = "is not a classic group"
			}
			d.ErrorCode = kerr.GroupIDNotFound.Code
			d.ErrorMessage = message(d.ErrorCode, "group %s %s", clip(id), what)
		}
		return d
	}
	d.State = m.stateName(g)
	d.ProtocolType = g.protocolType()
	c := g.classic
	if c == nil {
		return d
	}
	stable := c.state == classicStable
	if stable && c.protocol != nil {
		d.Protocol = *c.protocol
	}
	for _, id := range c.ids() {
		member := c.members[id]
		described := kmsg.NewDescribeGroupsResponseGroupMember()
		described.MemberID = id
		described.InstanceID = member.instanceID
		described.ClientID = member.client.ID
		described.ClientHost = member.client.Host
		described.MemberAssignment = member.assignment
		if stable {
			described.ProtocolMetadata = member.metadataOf(c.protocol)
		}
		d.Members = append(d.Members, described)
	}
	return d
}

// deleteGroups handles DeleteGroups 0-2, and 3 with messages: of groups without
// members, with their offsets.
func (m *Machine) deleteGroups(req *Request, body *kmsg.DeleteGroupsRequest) {
	resp := kmsg.NewPtrDeleteGroupsResponse()
	resp.Version = body.Version
	for _, id := range body.Groups {
		out := kmsg.NewDeleteGroupsResponseGroup()
		out.Group = id
		switch g := m.groups[id]; {
		case g == nil:
			out.ErrorCode = kerr.GroupIDNotFound.Code
			out.ErrorMessage = message(out.ErrorCode, "group %s does not exist", clip(id))
		case !g.isEmpty():
			out.ErrorCode = kerr.NonEmptyGroup.Code
			out.ErrorMessage = message(out.ErrorCode, "group %s is %s", clip(id), m.stateName(g))
		default:
			for _, topic := range g.offsets.names() {
				for _, partition := range g.offsets.partitionsOf(topic, func(*committed) bool { return true }) {
					m.dropOffset(g, topic, partition)
				}
			}
			m.deleteGroup(g)
			m.note(g, "is deleted")
		}
		resp.Groups = append(resp.Groups, out)
	}
	m.answer(req.Token, resp)
}

// deleteGroup deletes a group that has neither members nor offsets.
func (m *Machine) deleteGroup(g *group) {
	if g.classic != nil {
		m.classicTombstones(g)
	}
	if g.consumer != nil {
		m.consumerTombstones(g)
		g.consumer = nil
	}
	delete(m.groups, g.id)
}
