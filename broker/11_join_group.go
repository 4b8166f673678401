package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// JoinGroup (11), versions 0–9. It is answered when all members have joined.
//
//	1    a rebalance time-out of its own
//	2    throttle time
//	3    the client waits out a throttle
//	4    a member without an id gets one and joins again (KIP-394)
//	5    static members (KIP-345)
//	6    flexible
//	7    the protocol's type is answered
//	8    a reason (KIP-800)
//	9    the leader may skip the assignment (KIP-814)

func joinGroupGroup(req *kmsg.JoinGroupRequest) string { return req.Group }

func joinGroupFailed(req *kmsg.JoinGroupRequest, err *kerr.Error) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.JoinGroupResponse)
	resp.ErrorCode, resp.Generation, resp.MemberID = err.Code, -1, req.MemberID
	if req.Version < 7 {
		resp.Protocol = kmsg.StringPtr("")
	}
	return resp
}
