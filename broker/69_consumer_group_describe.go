package broker

import "github.com/twmb/franz-go/pkg/kmsg"

// ConsumerGroupDescribe (69), versions 0–1 (KIP-848).
//
//	1    whether a member is of the classic protocol

func splitConsumerGroupDescribe(req *kmsg.ConsumerGroupDescribeRequest) []part {
	one := func(ids []string) *kmsg.ConsumerGroupDescribeRequest {
		one := *req
		one.Groups = ids
		return &one
	}
	return splitGroups(req.Groups, one, func(one *kmsg.ConsumerGroupDescribeRequest, id string, code int16) kmsg.Response {
		resp := one.ResponseKind().(*kmsg.ConsumerGroupDescribeResponse)
		g := kmsg.NewConsumerGroupDescribeResponseGroup()
		g.Group, g.ErrorCode = id, code
		resp.Groups = append(resp.Groups, g)
		return resp
	})
}

func joinConsumerGroupDescribe(req *kmsg.ConsumerGroupDescribeRequest, all []kmsg.Response) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.ConsumerGroupDescribeResponse)
	for _, one := range all {
		resp.Groups = append(resp.Groups, one.(*kmsg.ConsumerGroupDescribeResponse).Groups...)
	}
	for i := range resp.Groups {
		resp.Groups[i].AuthorizedOperations = noOperations
		if req.IncludeAuthorizedOperations && resp.Groups[i].ErrorCode == 0 {
			resp.Groups[i].AuthorizedOperations = groupOperations
		}
	}
	return resp
}
