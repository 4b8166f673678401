package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// LeaveGroup (13), versions 0–5.
//
//	1    throttle time
//	2    the client waits out a throttle
//	3    several members, also by their instance ids (KIP-345)
//	4    flexible
//	5    a reason (KIP-800)

func leaveGroupGroup(req *kmsg.LeaveGroupRequest) string { return req.Group }

func leaveGroupFailed(req *kmsg.LeaveGroupRequest, err *kerr.Error) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.LeaveGroupResponse)
	resp.ErrorCode = err.Code
	return resp
}
