package broker

import "github.com/twmb/franz-go/pkg/kmsg"

// DeleteGroups (42), versions 0–3.
//
//	1    the client waits out a throttle
//	2    flexible
//	3    error messages

func splitDeleteGroups(req *kmsg.DeleteGroupsRequest) []part {
	one := func(ids []string) *kmsg.DeleteGroupsRequest {
		one := *req
		one.Groups = ids
		return &one
	}
	return splitGroups(req.Groups, one, func(one *kmsg.DeleteGroupsRequest, id string, code int16) kmsg.Response {
		resp := one.ResponseKind().(*kmsg.DeleteGroupsResponse)
		g := kmsg.NewDeleteGroupsResponseGroup()
		g.Group, g.ErrorCode = id, code
		resp.Groups = append(resp.Groups, g)
		return resp
	})
}

func joinDeleteGroups(req *kmsg.DeleteGroupsRequest, all []kmsg.Response) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.DeleteGroupsResponse)
	for _, one := range all {
		resp.Groups = append(resp.Groups, one.(*kmsg.DeleteGroupsResponse).Groups...)
	}
	return resp
}
