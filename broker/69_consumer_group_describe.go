package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ConsumerGroupDescribe (69), versions 0–1 (KIP-848).
//
//	1    whether a member is of the classic protocol

func splitConsumerGroupDescribe(req *kmsg.ConsumerGroupDescribeRequest) []part {
	req.Groups = firstOf(req.Groups, func(id *string) string { return *id })
	parts := make([]part, len(req.Groups))
	for i, id := range req.Groups {
		one := *req
		one.Groups = req.Groups[i : i+1]
		parts[i] = part{id, &one, func(err *kerr.Error) kmsg.Response {
			resp := one.ResponseKind().(*kmsg.ConsumerGroupDescribeResponse)
			g := kmsg.NewConsumerGroupDescribeResponseGroup()
			g.Group, g.ErrorCode = id, err.Code
			resp.Groups = append(resp.Groups, g)
			return resp
		}}
	}
	return parts
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
