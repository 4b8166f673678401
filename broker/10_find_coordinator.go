package broker

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fanfold/fanfold/protocol"
)

// FindCoordinator (10), versions 0–6.
//
//	1    other coordinators than a group's; throttle time; error messages
//	2    the client waits out a throttle
//	3    flexible
//	4    several keys (KIP-699)
//	5    TRANSACTION_ABORTABLE (KIP-890)
//	6    coordinators of share groups' state (KIP-932)
//
// There are no transactions yet. UNSUPPORTED_VERSION ends a transactional
// producer with a clear error: after any that may pass it would ask again until
// its time is up.

// What a key names.
const (
	groupCoordinator       int8 = 0
	transactionCoordinator int8 = 1
	shareCoordinator       int8 = 2
)

// findCoordinatorManyVersion is the first that asks for several keys.
const findCoordinatorManyVersion = 4

func (c *conn) findCoordinator(ctx context.Context, req *kmsg.FindCoordinatorRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.FindCoordinatorResponse)
	if req.Version < findCoordinatorManyVersion {
		one := c.coordinator(ctx, req.CoordinatorType, req.CoordinatorKey)
		resp.ErrorCode, resp.ErrorMessage = one.ErrorCode, one.ErrorMessage
		resp.NodeID, resp.Host, resp.Port = one.NodeID, one.Host, one.Port
		return resp
	}
	keys := firstOf(req.CoordinatorKeys, func(key *string) string { return *key })
	resp.Coordinators = make([]kmsg.FindCoordinatorResponseCoordinator, 0, len(keys))
	for _, key := range keys {
		resp.Coordinators = append(resp.Coordinators, c.coordinator(ctx, req.CoordinatorType, key))
	}
	return resp
}

func (c *conn) coordinator(ctx context.Context, kind int8, key string) kmsg.FindCoordinatorResponseCoordinator {
	out := kmsg.NewFindCoordinatorResponseCoordinator()
	out.Key, out.NodeID, out.Port = key, -1, -1
	switch kind {
	case groupCoordinator:
	case transactionCoordinator:
		fillError(&out.ErrorCode, &out.ErrorMessage, protocol.Errorf(kerr.UnsupportedVersion, "transactions are not supported yet"))
		return out
	case shareCoordinator:
		fillError(&out.ErrorCode, &out.ErrorMessage, protocol.Errorf(kerr.UnsupportedVersion, "share groups are not supported yet"))
		return out
	default:
		fillError(&out.ErrorCode, &out.ErrorMessage, protocol.Errorf(kerr.InvalidRequest, "coordinators of type %d are not known", kind))
		return out
	}
	ctx, cancel := context.WithTimeout(ctx, readyWait)
	defer cancel()
	node, err := c.srv.groups.coordinatorOf(ctx, key)
	if err == nil {
		var ok bool
		if out.Host, out.Port, ok = address(node, c.listener); ok {
			out.NodeID = node.ID
			return out
		}
		err = protocol.Errorf(kerr.CoordinatorNotAvailable, "node %d has no listener %s", node.ID, c.listener)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = protocol.Errorf(kerr.CoordinatorNotAvailable, "%s is being created", offsetsTopic)
	}
	fillError(&out.ErrorCode, &out.ErrorMessage, err)
	return out
}
