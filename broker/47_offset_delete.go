package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// OffsetDelete (47), version 0 (KIP-496).

func offsetDeleteGroup(req *kmsg.OffsetDeleteRequest) string { return req.Group }

func offsetDeleteFailed(req *kmsg.OffsetDeleteRequest, err *kerr.Error) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.OffsetDeleteResponse)
	resp.ErrorCode = err.Code
	return resp
}
