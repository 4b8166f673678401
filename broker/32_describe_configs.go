package broker

import (
	"context"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fanfold/fanfold/cluster"
	"github.com/fanfold/fanfold/cluster/configs"
	"github.com/fanfold/fanfold/protocol"
)

// DescribeConfigs (32), versions 1–4.
//
//	1    synonyms and sources
//	2    the client waits out a throttle
//	3    types and documentation
//	4    flexible

func (c *conn) describeConfigs(_ context.Context, req *kmsg.DescribeConfigsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.DescribeConfigsResponse)
	req.Resources = firstOf(req.Resources, func(r *kmsg.DescribeConfigsRequestResource) configResource {
		return configResource{r.ResourceType, r.ResourceName}
	})
	resp.Resources = make([]kmsg.DescribeConfigsResponseResource, len(req.Resources))
	for i := range req.Resources {
		asked, out := &req.Resources[i], &resp.Resources[i]
		out.ResourceType, out.ResourceName = asked.ResourceType, asked.ResourceName
		out.Configs = []kmsg.DescribeConfigsResponseResourceConfig{}
		entries, err := c.srv.describedConfigs(asked)
		fillError(&out.ErrorCode, &out.ErrorMessage, err)
		for k := range entries {
			if len(asked.ConfigNames) == 0 || slices.Contains(asked.ConfigNames, entries[k].Name) {
				out.Configs = append(out.Configs, describedConfig(&entries[k], req))
			}
		}
	}
	return resp
}

// describedConfigs are all configs of the resource.
func (s *Server) describedConfigs(asked *kmsg.DescribeConfigsRequestResource) ([]configs.Entry, error) {
	layers := s.node.Configs()
	switch asked.ResourceType {
	case kmsg.ConfigResourceTypeTopic:
		if err := cluster.ValidateTopicName(asked.ResourceName); err != nil {
			return nil, err
		}
		t, err := topicByName(s.node.Image(), asked.ResourceName)
		if err != nil {
			return nil, err
		}
		return configs.DescribeTopic(layers, t.Configs), nil
	case kmsg.ConfigResourceTypeBroker:
		if asked.ResourceName == "" {
			return configs.DescribeBrokerDefaults(layers.DynamicDefault), nil
		}
		if err := s.isThisBroker(asked.ResourceName); err != nil {
			return nil, err
		}
		return configs.DescribeBroker(layers), nil
	case kmsg.ConfigResourceTypeGroupConfig:
		if asked.ResourceName == "" {
			return nil, protocol.Errorf(kerr.InvalidRequest, "a group's name is not empty")
		}
		return configs.DescribeGroup(layers, s.node.Image().GroupConfigs(asked.ResourceName)), nil
	case kmsg.ConfigResourceTypeBrokerLogger:
		return nil, s.isThisBroker(asked.ResourceName)
	}
	return nil, protocol.Errorf(kerr.InvalidRequest, "resources of type %d have no configs here", asked.ResourceType)
}

// isThisBroker refuses the configs of other nodes: each answers for itself.
func (s *Server) isThisBroker(name string) error {
	id, err := strconv.ParseInt(name, 10, 32)
	switch {
	case err != nil, name != brokerName(int32(id)): // "007" would be one more name
		return protocol.Errorf(kerr.InvalidRequest, "%q is no broker's id", clip(name))
	case int32(id) != s.node.NodeID():
		return protocol.Errorf(kerr.InvalidRequest, "this is broker %d, not %d: ask that one", s.node.NodeID(), id)
	}
	return nil
}

func describedConfig(e *configs.Entry, req *kmsg.DescribeConfigsRequest) kmsg.DescribeConfigsResponseResourceConfig {
	out := kmsg.NewDescribeConfigsResponseResourceConfig()
	out.Name, out.Value = e.Name, e.Value
	out.ReadOnly, out.IsSensitive = e.ReadOnly, e.Sensitive
	out.Source = kmsg.ConfigSource(e.Source)
	out.IsDefault = e.Source == configs.Default
	out.ConfigType = kmsg.ConfigType(e.Type)
	if req.IncludeSynonyms {
		for _, o := range e.Synonyms {
			synonym := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
			synonym.Name, synonym.Source = o.Name, kmsg.ConfigSource(o.Source)
			if !e.Sensitive {
				synonym.Value = &o.Value
			}
			out.ConfigSynonyms = append(out.ConfigSynonyms, synonym)
		}
	}
	if req.IncludeDocumentation {
		out.Documentation = &e.Doc
	}
	return out
}
