package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fanfold/fanfold/cluster"
	"github.com/fanfold/fanfold/protocol"
)

// IncrementalAlterConfigs (44), versions 0–1 (KIP-339). What a request does not
// name stays as it is.
//
//	1    flexible

func (c *conn) incrementalAlterConfigs(ctx context.Context, req *kmsg.IncrementalAlterConfigsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.IncrementalAlterConfigsResponse)
	change := newConfigChange(c.srv, false, req.ValidateOnly)
	for i := range req.Resources {
		change.name(req.Resources[i].ResourceType, req.Resources[i].ResourceName)
	}
	for i := range req.Resources {
		asked := &req.Resources[i]
		if change.answered(asked.ResourceType, asked.ResourceName) {
			continue
		}
		out := kmsg.NewIncrementalAlterConfigsResponseResource()
		out.ResourceType, out.ResourceName = asked.ResourceType, asked.ResourceName
		ops, err := incrementalOps(asked.Configs)
		if err == nil {
			err = change.apply(ctx, asked.ResourceType, asked.ResourceName, ops)
		}
		fillError(&out.ErrorCode, &out.ErrorMessage, err)
		resp.Resources = append(resp.Resources, out)
	}
	return resp
}

func incrementalOps(asked []kmsg.IncrementalAlterConfigsRequestResourceConfig) ([]cluster.ConfigOp, error) {
	ops := make([]cluster.ConfigOp, 0, len(asked))
	for _, a := range asked {
		op := cluster.ConfigOp{Kind: cluster.ConfigOpKind(a.Op), Name: a.Name}
		switch {
		case op.Kind < cluster.ConfigSet || op.Kind > cluster.ConfigSubtract:
			return nil, protocol.Errorf(kerr.InvalidRequest, "operation %d on config %q is not known", a.Op, clip(a.Name))
		case a.Value != nil:
			op.Value = *a.Value
		case op.Kind != cluster.ConfigDelete:
			return nil, protocol.Errorf(kerr.InvalidRequest, "config %q has no value", clip(a.Name))
		}
		ops = append(ops, op)
	}
	return ops, nil
}
