package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fanfold/fanfold/protocol"
)

// InitProducerId (22), versions 0–5.
//
//	1    the client waits out a throttle
//	2    flexible
//	3    the producer's id and epoch so far (KIP-360)
//	4    PRODUCER_FENCED
//	5    TRANSACTION_ABORTABLE (KIP-890)
//
// A producer without a transactional id gets a new id each time, as in Kafka:
// it bumps its epoch itself and asks again when it has used up all epochs.
// There are no transactions yet. Clients see that FindCoordinator is not listed
// and fail before they come here; one that comes all the same gets
// UNSUPPORTED_VERSION, after which none tries again.

func (c *conn) initProducerID(ctx context.Context, req *kmsg.InitProducerIDRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.InitProducerIDResponse)
	resp.ProducerID, resp.ProducerEpoch = -1, -1
	id, err := c.srv.newProducerID(ctx, req)
	if err != nil {
		c.srv.log.Info("no producer id given", "peer", c.nc.RemoteAddr().String(), "cause", err)
		resp.ErrorCode, _ = protocol.ErrorOf(err)
		return resp
	}
	resp.ProducerID, resp.ProducerEpoch = id, 0
	return resp
}

func (s *Server) newProducerID(ctx context.Context, req *kmsg.InitProducerIDRequest) (int64, error) {
	switch {
	case req.TransactionalID != nil && *req.TransactionalID == "":
		return -1, protocol.Errorf(kerr.InvalidRequest, "the transactional id is empty")
	case req.TransactionalID != nil:
		return -1, protocol.Errorf(kerr.UnsupportedVersion, "transactions are not supported yet")
	case (req.ProducerID == -1) != (req.ProducerEpoch == -1):
		return -1, protocol.Errorf(kerr.InvalidRequest, "producer id %d comes with epoch %d", req.ProducerID, req.ProducerEpoch)
	}
	ctx, cancel := context.WithTimeout(ctx, readyWait)
	defer cancel()
	id, err := s.node.AllocateProducerID(ctx)
	if err != nil {
		// Clients try again after this one.
		return -1, protocol.Errorf(kerr.CoordinatorLoadInProgress, "allocate producer id: %v", err)
	}
	return id, nil
}
