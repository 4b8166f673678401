package broker

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ListConfigResources (74), versions 0–1 (KIP-1142).
//
//	0    client metrics subscriptions alone, of which there are none here
//	1    any type of resource

func (c *conn) listConfigResources(_ context.Context, req *kmsg.ListConfigResourcesRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.ListConfigResourcesResponse)
	if req.Version == 0 {
		return resp
	}
	known := []kmsg.ConfigResourceType{
		kmsg.ConfigResourceTypeTopic, kmsg.ConfigResourceTypeBroker, kmsg.ConfigResourceTypeBrokerLogger,
		kmsg.ConfigResourceTypeClientMetrics, kmsg.ConfigResourceTypeGroupConfig,
	}
	for _, kind := range req.ResourceTypes {
		if !slices.Contains(known, kmsg.ConfigResourceType(kind)) {
			resp.ErrorCode = kerr.UnsupportedVersion.Code
			return resp
		}
	}
	wanted := func(kind kmsg.ConfigResourceType) bool {
		return len(req.ResourceTypes) == 0 || slices.Contains(req.ResourceTypes, int8(kind))
	}
	add := func(kind kmsg.ConfigResourceType, name string) {
		resp.ConfigResources = append(resp.ConfigResources, kmsg.ListConfigResourcesResponseConfigResource{Name: name, Type: int8(kind)})
	}
	image := c.srv.node.Image()
	if wanted(kmsg.ConfigResourceTypeTopic) {
		for t := range image.Topics() {
			add(kmsg.ConfigResourceTypeTopic, t.Name)
		}
	}
	if wanted(kmsg.ConfigResourceTypeGroupConfig) {
		for _, name := range image.GroupsWithConfigs() {
			add(kmsg.ConfigResourceTypeGroupConfig, name)
		}
	}
	for _, n := range image.Nodes() {
		if wanted(kmsg.ConfigResourceTypeBroker) {
			add(kmsg.ConfigResourceTypeBroker, brokerName(n.ID))
		}
	}
	return resp
}
