package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ConsumerGroupHeartbeat (68), versions 0–1 (KIP-848).
//
//	1    member ids come from the client; regular expressions

func consumerGroupHeartbeatGroup(req *kmsg.ConsumerGroupHeartbeatRequest) string { return req.Group }

func consumerGroupHeartbeatFailed(req *kmsg.ConsumerGroupHeartbeatRequest, err *kerr.Error) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.ConsumerGroupHeartbeatResponse)
	resp.ErrorCode = err.Code
	return resp
}
