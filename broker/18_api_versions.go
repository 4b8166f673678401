package broker

import (
	"context"
	"regexp"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fanfold/fanfold/protocol"
)

// ApiVersions (18), versions 0–5.
//
//	1    throttle time
//	2    the client waits out a throttle
//	3    flexible (but for the answer's header); the client's software (KIP-511)
//	4    features with a minimum of 0
//	5    which cluster and node the client expects (KIP-1242)

// softwareName is what KIP-511 takes for a client's name and version.
var softwareName = regexp.MustCompile(`^[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?$`)

func (c *conn) apiVersions(_ context.Context, req *kmsg.ApiVersionsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.ApiVersionsResponse)
	resp.ErrorCode, _ = protocol.ErrorOf(c.checkApiVersions(req))
	resp.FinalizedFeaturesEpoch = -1
	if resp.ErrorCode != 0 {
		return resp
	}
	resp.ApiKeys = make([]kmsg.ApiVersionsResponseApiKey, 0, len(apis))
	for _, a := range apis {
		resp.ApiKeys = append(resp.ApiKeys, kmsg.ApiVersionsResponseApiKey{ApiKey: a.key, MinVersion: a.listedMin, MaxVersion: a.max})
	}
	group := kmsg.NewApiVersionsResponseSupportedFeature()
	group.Name, group.MinVersion, group.MaxVersion = groupVersion, 0, 1
	if req.Version < 4 {
		group.MinVersion = 1 // its parsers refuse a 0
	}
	resp.SupportedFeatures = append(resp.SupportedFeatures, group)
	final := kmsg.NewApiVersionsResponseFinalizedFeature()
	final.Name, final.MinVersionLevel, final.MaxVersionLevel = groupVersion, 1, 1
	resp.FinalizedFeatures = append(resp.FinalizedFeatures, final)
	resp.FinalizedFeaturesEpoch = 1
	return resp
}

// groupVersion is the feature whose level 1 has the consumer protocol of
// KIP-848.
const groupVersion = "group.version"

func (c *conn) checkApiVersions(req *kmsg.ApiVersionsRequest) error {
	if req.Version >= 3 && (!softwareName.MatchString(req.ClientSoftwareName) || !softwareName.MatchString(req.ClientSoftwareVersion)) {
		return protocol.Errorf(kerr.InvalidRequest, "a client's name and version are letters, digits, '-' and '.'")
	}
	if req.Version < 5 {
		return nil
	}
	node := c.srv.node
	switch {
	case (req.ClusterID == nil) != (req.NodeID == -1):
		return protocol.Errorf(kerr.InvalidRequest, "cluster and node are both named, or neither")
	case req.ClusterID == nil:
		return nil
	case *req.ClusterID != node.ClusterID() || req.NodeID != node.NodeID():
		return protocol.Errorf(kerr.RebootstrapRequired, "this is node %d of cluster %s", node.NodeID(), node.ClusterID())
	}
	return nil
}
