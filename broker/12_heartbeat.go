package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Heartbeat (12), versions 0–4.
//
//	1    throttle time
//	2    the client waits out a throttle
//	3    static members (KIP-345)
//	4    flexible

func heartbeatGroup(req *kmsg.HeartbeatRequest) string { return req.Group }

func heartbeatFailed(req *kmsg.HeartbeatRequest, err *kerr.Error) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.HeartbeatResponse)
	resp.ErrorCode = err.Code
	return resp
}
