package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// SyncGroup (14), versions 0–5. It is answered when the leader has sent the
// assignment, and that is stored.
//
//	1    throttle time
//	2    the client waits out a throttle
//	3    static members (KIP-345)
//	4    flexible
//	5    protocol type and name are checked and answered (KIP-559)

func syncGroupGroup(req *kmsg.SyncGroupRequest) string { return req.Group }

func syncGroupFailed(req *kmsg.SyncGroupRequest, err *kerr.Error) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.SyncGroupResponse)
	resp.ErrorCode = err.Code
	return resp
}
