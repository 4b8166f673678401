package broker

import (
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ListGroups (16), versions 0–5.
//
//	1    throttle time
//	2    the client waits out a throttle
//	3    flexible
//	4    filters by state (KIP-518)
//	5    filters by type (KIP-848)

func listGroupsBody(req *kmsg.ListGroupsRequest) kmsg.Request { return req }

// joinListGroups puts the groups of this node's coordinators together, by their
// ids. A coordinator that is not led here has none.
func joinListGroups(req *kmsg.ListGroupsRequest, all []kmsg.Response) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.ListGroupsResponse)
	for _, one := range all {
		if one, ok := one.(*kmsg.ListGroupsResponse); ok {
			resp.Groups = append(resp.Groups, one.Groups...)
			resp.ErrorCode = max(resp.ErrorCode, one.ErrorCode)
		}
	}
	slices.SortFunc(resp.Groups, func(a, b kmsg.ListGroupsResponseGroup) int { return strings.Compare(a.Group, b.Group) })
	return resp
}
