package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fanfold/fanfold/cluster"
	"github.com/fanfold/fanfold/protocol"
)

// AlterConfigs (33), versions 0–2. What a request does not name goes back to
// its default: IncrementalAlterConfigs (44) is what clients should use.
//
//	1    the client waits out a throttle
//	2    flexible

func (c *conn) alterConfigs(ctx context.Context, req *kmsg.AlterConfigsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.AlterConfigsResponse)
	change := newConfigChange(c.srv, true, req.ValidateOnly)
	for i := range req.Resources {
		asked := &req.Resources[i]
		out := kmsg.NewAlterConfigsResponseResource()
		out.ResourceType, out.ResourceName = asked.ResourceType, asked.ResourceName
		ops := make([]cluster.ConfigOp, 0, len(asked.Configs))
		for _, kv := range asked.Configs {
			op := cluster.ConfigOp{Kind: cluster.ConfigDelete, Name: kv.Name}
			if kv.Value != nil {
				op.Kind, op.Value = cluster.ConfigSet, *kv.Value
			}
			ops = append(ops, op)
		}
		err := change.apply(ctx, asked.ResourceType, asked.ResourceName, ops)
		fillError(&out.ErrorCode, &out.ErrorMessage, err)
		resp.Resources = append(resp.Resources, out)
	}
	return resp
}

// configChange carries out the parts of a request that changes configs.
type configChange struct {
	srv          *Server
	replace      bool
	validateOnly bool
	seen         map[configResource]bool
}

type configResource struct {
	kind kmsg.ConfigResourceType
	name string
}

func newConfigChange(s *Server, replace, validateOnly bool) *configChange {
	return &configChange{srv: s, replace: replace, validateOnly: validateOnly, seen: map[configResource]bool{}}
}

// apply changes one resource's configs, or says why it will not.
func (cc *configChange) apply(ctx context.Context, kind kmsg.ConfigResourceType, name string, ops []cluster.ConfigOp) error {
	if r := (configResource{kind, name}); cc.seen[r] {
		return protocol.Errorf(kerr.InvalidRequest, "%s %q is named twice in the request", kind, clip(name))
	} else {
		cc.seen[r] = true
	}
	named := make(map[string]bool, len(ops))
	for _, op := range ops {
		if named[op.Name] {
			return protocol.Errorf(kerr.InvalidRequest, "config %q is named twice", clip(op.Name))
		}
		named[op.Name] = true
	}
	cmd, err := cc.command(kind, name, ops)
	if err != nil || cc.validateOnly {
		return err
	}
	_, err = cc.srv.node.Propose(ctx, cmd)
	return err
}

func (cc *configChange) command(kind kmsg.ConfigResourceType, name string, ops []cluster.ConfigOp) (cluster.Command, error) {
	s := cc.srv
	image := s.node.Image()
	switch kind {
	case kmsg.ConfigResourceTypeTopic:
		t, err := topicByName(image, name)
		if err != nil {
			return nil, err
		}
		return orNone(cluster.NewAlterTopicConfigs(image, t, cc.replace, ops, s.node.Configs()))
	case kmsg.ConfigResourceTypeBroker:
		node := cluster.AllNodes
		if name != "" {
			if err := s.isThisBroker(name); err != nil {
				return nil, err
			}
			node = s.node.NodeID()
		}
		return orNone(cluster.NewAlterBrokerConfigs(image, node, cc.replace, ops))
	}
	return nil, protocol.Errorf(kerr.InvalidRequest, "resources of type %d have no configs here", kind)
}

// orNone is the command, without a nil of its own type where there is an error.
func orNone[C cluster.Command](cmd C, err error) (cluster.Command, error) {
	if err != nil {
		return nil, err
	}
	return cmd, nil
}
