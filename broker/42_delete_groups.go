package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DeleteGroups (42), versions 0–3.
//
//	1    the client waits out a throttle
//	2    flexible
//	3    error messages

func splitDeleteGroups(req *kmsg.DeleteGroupsRequest) []part {
	req.Groups = firstOf(req.Groups, func(id *string) string { return *id })
	parts := make([]part, len(req.Groups))
	for i, id := range req.Groups {
		one := *req
		one.Groups = req.Groups[i : i+1]
		parts[i] = part{id, &one, func(err *kerr.Error) kmsg.Response {
			resp := one.ResponseKind().(*kmsg.DeleteGroupsResponse)
			g := kmsg.NewDeleteGroupsResponseGroup()
			g.Group, g.ErrorCode = id, err.Code
			resp.Groups = append(resp.Groups, g)
			return resp
		}}
	}
	return parts
}

func joinDeleteGroups(req *kmsg.DeleteGroupsRequest, all []kmsg.Response) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.DeleteGroupsResponse)
	for _, one := range all {
		resp.Groups = append(resp.Groups, one.(*kmsg.DeleteGroupsResponse).Groups...)
	}
	return resp
}
