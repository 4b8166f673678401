package broker

import "github.com/twmb/franz-go/pkg/kmsg"

// DescribeGroups (15), versions 0–6.
//
//	1    throttle time
//	2    the client waits out a throttle
//	3    what the client may do with the group (KIP-430)
//	4    static members (KIP-345)
//	5    flexible
//	6    GROUP_ID_NOT_FOUND with a message instead of a dead group (KIP-1043)

// groupOperations is what a client may do with a group where nothing forbids
// it: read, delete, describe, and describe and alter its configs.
const groupOperations int32 = 1<<3 | 1<<6 | 1<<8 | 1<<10 | 1<<11

func splitDescribeGroups(req *kmsg.DescribeGroupsRequest) []part {
	one := func(ids []string) *kmsg.DescribeGroupsRequest {
		one := *req
		one.Groups = ids
		return &one
	}
	return splitGroups(req.Groups, one, func(one *kmsg.DescribeGroupsRequest, id string, code int16) kmsg.Response {
		resp := one.ResponseKind().(*kmsg.DescribeGroupsResponse)
		g := kmsg.NewDescribeGroupsResponseGroup()
		g.Group, g.ErrorCode = id, code
		resp.Groups = append(resp.Groups, g)
		return resp
	})
}

func joinDescribeGroups(req *kmsg.DescribeGroupsRequest, all []kmsg.Response) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.DescribeGroupsResponse)
	for _, one := range all {
		resp.Groups = append(resp.Groups, one.(*kmsg.DescribeGroupsResponse).Groups...)
	}
	for i := range resp.Groups {
		resp.Groups[i].AuthorizedOperations = noOperations
		if req.IncludeAuthorizedOperations && resp.Groups[i].ErrorCode == 0 {
			resp.Groups[i].AuthorizedOperations = groupOperations
		}
	}
	return resp
}
