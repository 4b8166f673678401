package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fanfold/fanfold/protocol"
)

// DescribeCluster (60), versions 0–2.
//
//	1    the type of endpoint (KIP-919)
//	2    fenced brokers (KIP-1073)

// Types of endpoints in DescribeCluster.
const (
	endpointBrokers     = 1
	endpointControllers = 2
)

func (c *conn) describeCluster(_ context.Context, req *kmsg.DescribeClusterRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.DescribeClusterResponse)
	s := c.srv
	resp.ClusterID, resp.ControllerID = s.node.ClusterID(), -1
	resp.EndpointType = endpointBrokers
	resp.ClusterAuthorizedOperations = noOperations
	if req.Version >= 1 && req.EndpointType != endpointBrokers {
		resp.EndpointType = req.EndpointType
		err := protocol.Errorf(kerr.MismatchedEndpointType, "this is a broker's endpoint")
		if req.EndpointType != endpointControllers {
			err = protocol.Errorf(kerr.UnsupportedEndpointType, "endpoint type %d is not known", req.EndpointType)
		}
		fillError(&resp.ErrorCode, &resp.ErrorMessage, err)
		return resp
	}
	resp.ControllerID = s.node.NodeID()
	if req.IncludeClusterAuthorizedOperations {
		resp.ClusterAuthorizedOperations = clusterOperations
	}
	for _, n := range s.node.Image().Nodes() {
		if host, port, ok := address(n, c.listener); ok {
			resp.Brokers = append(resp.Brokers, kmsg.DescribeClusterResponseBroker{
				NodeID: n.ID, Host: host, Port: port, Rack: textPtr(n.Rack),
			})
		}
	}
	return resp
}
