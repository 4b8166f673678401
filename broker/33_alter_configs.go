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
		change.name(req.Resources[i].ResourceType, req.Resources[i].ResourceName)
	}
	for i := range req.Resources {
		asked := &req.Resources[i]
		if change.answered(asked.ResourceType, asked.ResourceName) {
			continue
		}
		out := kmsg.NewAlterConfigsResponseResource()
		out.ResourceType, out.ResourceName = asked.ResourceType, asked.ResourceName
		ops, err := wholeOps(asked.Configs)
		if err == nil {
			err = change.apply(ctx, asked.ResourceType, asked.ResourceName, ops)
		}
		fillError(&out.ErrorCode, &out.ErrorMessage, err)
		resp.Resources = append(resp.Resources, out)
	}
	return resp
}

func wholeOps(asked []kmsg.AlterConfigsRequestResourceConfig) ([]cluster.ConfigOp, error) {
	ops := make([]cluster.ConfigOp, 0, len(asked))
	for _, kv := range asked {
		if kv.Value == nil {
			return nil, protocol.Errorf(kerr.InvalidRequest, "config %q has no value: to reset it, leave it out", clip(kv.Name))
		}
		ops = append(ops, cluster.ConfigOp{Kind: cluster.ConfigSet, Name: kv.Name, Value: *kv.Value})
	}
	return ops, nil
}

// configChange carries out the parts of a request that changes configs.
type configChange struct {
	srv          *Server
	replace      bool
	validateOnly bool
	times        map[configResource]int // named in the request; below zero: answered
}

type configResource struct {
	kind kmsg.ConfigResourceType
	name string
}

func newConfigChange(s *Server, replace, validateOnly bool) *configChange {
	return &configChange{srv: s, replace: replace, validateOnly: validateOnly, times: map[configResource]int{}}
}

// name counts a resource that the request names.
func (cc *configChange) name(kind kmsg.ConfigResourceType, name string) {
	cc.times[configResource{kind, name}]++
}

// answered tells whether the resource was answered, where it was named first.
func (cc *configChange) answered(kind kmsg.ConfigResourceType, name string) bool {
	r := configResource{kind, name}
	if cc.times[r] < 0 {
		return true
	}
	cc.times[r] = -cc.times[r]
	return false
}

// apply changes one resource's configs, or says why it will not.
func (cc *configChange) apply(ctx context.Context, kind kmsg.ConfigResourceType, name string, ops []cluster.ConfigOp) error {
	if cc.times[configResource{kind, name}] < -1 {
		return protocol.Errorf(kerr.InvalidRequest, "%s %q is named twice in the request", kind, clip(name))
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
		if name == "" {
			return nil, protocol.Errorf(kerr.InvalidRequest, "there are no configs for all topics: what brokers set is their default")
		}
		if err := cluster.ValidateTopicName(name); err != nil {
			return nil, err
		}
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
	case kmsg.ConfigResourceTypeGroupConfig:
		return orNone(cluster.NewAlterGroupConfigs(image, name, cc.replace, ops))
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
