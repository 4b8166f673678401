package interop

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	ofTopic  = kmsg.ConfigResourceTypeTopic
	ofBroker = kmsg.ConfigResourceTypeBroker
)

func describeConfigs(kind kmsg.ConfigResourceType, name string, keys []string, synonyms, documentation bool) func(*side, int16) kmsg.Request {
	return func(*side, int16) kmsg.Request {
		req := kmsg.NewPtrDescribeConfigsRequest()
		r := kmsg.NewDescribeConfigsRequestResource()
		r.ResourceType, r.ResourceName, r.ConfigNames = kind, name, keys
		req.Resources = append(req.Resources, r)
		req.IncludeSynonyms, req.IncludeDocumentation = synonyms, documentation
		return req
	}
}

func describeConfigsArea(p *pair) {
	p.topic("dc", 1)
	p.topic("dc-set", 1, "retention.ms=1000", "max.message.bytes=5000", "compression.type=zstd", "segment.bytes=2000000", "flush.messages=7", "message.timestamp.type=LogAppendTime")
	p.each("topic", 1, 4, describeConfigs(ofTopic, "dc", nil, true, false))
	p.each("topic with configs", 1, 4, describeConfigs(ofTopic, "dc-set", nil, true, false))
	p.each("documented", 3, 4, describeConfigs(ofTopic, "dc-set", []string{"retention.ms"}, false, true))
	p.each("some keys", 1, 4, describeConfigs(ofTopic, "dc-set", []string{"retention.ms", "unknown", "segment.bytes"}, false, false))
	p.each("no keys", 1, 4, describeConfigs(ofTopic, "dc-set", []string{}, true, false))
	p.each("unknown topic", 1, 4, describeConfigs(ofTopic, "unknown", nil, true, false))
	p.each("illegal topic", 1, 4, describeConfigs(ofTopic, "a b", nil, true, false))
	p.each("empty topic", 1, 4, describeConfigs(ofTopic, "", nil, true, false))
	p.each("broker", 1, 4, describeConfigs(ofBroker, "1", nil, true, false))
	p.each("broker defaults", 1, 4, describeConfigs(ofBroker, "", nil, true, false))
	p.each("another broker", 1, 4, describeConfigs(ofBroker, "9", nil, true, false))
	p.each("no broker", 1, 4, describeConfigs(ofBroker, "x", nil, true, false))
	p.each("loggers of another broker", 1, 4, describeConfigs(kmsg.ConfigResourceTypeBrokerLogger, "9", nil, true, false))
	p.each("unknown type", 1, 4, describeConfigs(99, "x", nil, true, false))
	p.each("nothing", 1, 4, func(*side, int16) kmsg.Request { return kmsg.NewPtrDescribeConfigsRequest() })
	p.each("twice", 1, 4, func(s *side, v int16) kmsg.Request {
		req := describeConfigs(ofTopic, "dc-set", []string{"retention.ms"}, false, false)(s, v).(*kmsg.DescribeConfigsRequest)
		req.Resources = append(req.Resources, req.Resources[0])
		return req
	})
}

// change is one config of a request that changes configs; op is of
// IncrementalAlterConfigs.
type change struct {
	op    kmsg.IncrementalAlterConfigOp
	name  string
	value string // "nil": none
}

const (
	opSet      = kmsg.IncrementalAlterConfigOpSet
	opDelete   = kmsg.IncrementalAlterConfigOpDelete
	opAppend   = kmsg.IncrementalAlterConfigOpAppend
	opSubtract = kmsg.IncrementalAlterConfigOpSubtract
)

func (c change) text() *string {
	if c.value == "nil" {
		return nil
	}
	return &c.value
}

func incremental(kind kmsg.ConfigResourceType, name string, validate bool, changes ...change) kmsg.Request {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.ValidateOnly = validate
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kind, name
	for _, c := range changes {
		kv := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		kv.Name, kv.Op, kv.Value = c.name, c.op, c.text()
		r.Configs = append(r.Configs, kv)
	}
	req.Resources = append(req.Resources, r)
	return req
}

func altered(kind kmsg.ConfigResourceType, name string, validate bool, changes ...change) kmsg.Request {
	req := kmsg.NewPtrAlterConfigsRequest()
	req.ValidateOnly = validate
	r := kmsg.NewAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kind, name
	for _, c := range changes {
		kv := kmsg.NewAlterConfigsRequestResourceConfig()
		kv.Name, kv.Value = c.name, c.text()
		r.Configs = append(r.Configs, kv)
	}
	req.Resources = append(req.Resources, r)
	return req
}

// configCase is a request that changes configs.
type configCase struct {
	label   string
	kind    kmsg.ConfigResourceType
	name    string // "ac" is a topic of all cases together, "ac-own" one of its own
	changes []change
}

var configCases = []configCase{
	{"set", ofTopic, "ac", []change{{opSet, "retention.ms", "1000"}, {opSet, "max.message.bytes", "3000"}}},
	{"set another", ofTopic, "ac", []change{{opSet, "flush.messages", "9"}}},
	{"set the default", ofTopic, "ac", []change{{opSet, "segment.bytes", "1073741824"}}},
	{"nothing", ofTopic, "ac", nil},
	{"delete", ofTopic, "ac", []change{{opDelete, "retention.ms", "nil"}}},
	{"delete with value", ofTopic, "ac", []change{{opDelete, "max.message.bytes", "77"}}},
	{"delete what is not set", ofTopic, "ac", []change{{opDelete, "index.interval.bytes", "nil"}}},
	{"append", ofTopic, "ac", []change{{opAppend, "cleanup.policy", "delete"}}},
	{"subtract", ofTopic, "ac-own", []change{{opSubtract, "cleanup.policy", "delete"}}},
	{"append to no list", ofTopic, "ac", []change{{opAppend, "retention.ms", "1"}}},
	{"subtract from no list", ofTopic, "ac", []change{{opSubtract, "retention.ms", "1"}}},
	{"append junk", ofTopic, "ac", []change{{opAppend, "cleanup.policy", "junk"}}},
	{"unknown name", ofTopic, "ac", []change{{opSet, "retention.mss", "1"}}},
	{"delete unknown name", ofTopic, "ac-own", []change{{opDelete, "retention.mss", "nil"}}},
	{"empty name", ofTopic, "ac", []change{{opSet, "", "1"}}},
	{"wrong type", ofTopic, "ac", []change{{opSet, "retention.ms", "soon"}}},
	{"blanks", ofTopic, "ac", []change{{opSet, "retention.ms", " 4000 "}}},
	{"out of range", ofTopic, "ac", []change{{opSet, "max.message.bytes", "-1"}}},
	{"not in list", ofTopic, "ac", []change{{opSet, "message.timestamp.type", "Never"}}},
	{"boolean in capitals", ofTopic, "ac-own", []change{{opSet, "preallocate", "TRUE"}}},
	{"no value", ofTopic, "ac", []change{{opSet, "retention.ms", "nil"}}},
	{"append no value", ofTopic, "ac", []change{{opAppend, "cleanup.policy", "nil"}}},
	{"empty value", ofTopic, "ac", []change{{opSet, "retention.ms", ""}}},
	{"twice", ofTopic, "ac", []change{{opSet, "retention.ms", "1"}, {opSet, "retention.ms", "2"}}},
	{"one right, one wrong", ofTopic, "ac", []change{{opSet, "retention.ms", "123"}, {opSet, "segment.ms", "x"}}},
	{"unknown operation", ofTopic, "ac", []change{{9, "retention.ms", "1"}}},
	{"compact", ofTopic, "ac-own", []change{{opSet, "cleanup.policy", "compact"}}},
	{"set cleanup.policy", ofTopic, "ac", []change{{opSet, "cleanup.policy", "delete"}}},
	{"unknown topic", ofTopic, "unknown", []change{{opSet, "retention.ms", "1"}}},
	{"illegal topic", ofTopic, "a b", []change{{opSet, "retention.ms", "1"}}},
	{"empty topic", ofTopic, "", []change{{opSet, "retention.ms", "1"}}},
	{"unknown type", 99, "ac", []change{{opSet, "retention.ms", "1"}}},
	{"broker", ofBroker, "1", []change{{opSet, "log.retention.ms", "500000000"}}},
	{"all brokers", ofBroker, "", []change{{opSet, "log.flush.interval.ms", "60000"}}},
	{"broker's read-only name", ofBroker, "1", []change{{opSet, "num.partitions", "4"}}},
	{"all brokers' read-only name", ofBroker, "", []change{{opSet, "auto.create.topics.enable", "false"}}},
	{"broker's wrong type", ofBroker, "1", []change{{opSet, "log.retention.ms", "x"}}},
	{"another broker", ofBroker, "9", []change{{opSet, "log.retention.ms", "500000000"}}},
	{"no broker", ofBroker, "x", []change{{opSet, "log.retention.ms", "500000000"}}},
	{"broker, delete", ofBroker, "1", []change{{opDelete, "log.retention.ms", "nil"}}},
	{"all brokers, delete", ofBroker, "", []change{{opDelete, "log.flush.interval.ms", "nil"}}},
	{"broker's unknown name", ofBroker, "1", []change{{opSet, "log.retention.mss", "1"}}},
}

var alteredKeys = []string{"retention.ms", "max.message.bytes", "segment.bytes", "segment.ms", "cleanup.policy", "preallocate", "message.timestamp.type", "flush.messages", "index.interval.bytes", "flush.ms"}

var alteredBrokerKeys = []string{"log.retention.ms", "log.flush.interval.ms", "num.partitions", "auto.create.topics.enable"}

func alterConfigsArea(p *pair) {
	for _, api := range []struct {
		name  string
		high  int16
		build func(kmsg.ConfigResourceType, string, bool, ...change) kmsg.Request
	}{{"incremental", 1, incremental}, {"whole", 2, altered}} {
		topic := "ac-" + api.name
		p.topic(topic, 1)
		for n, c := range configCases {
			name, described := c.name, topic
			switch name {
			case "ac":
				name = topic
			case "ac-own":
				name = fmt.Sprintf("%s-%d", topic, n)
				described = name
				p.topic(name, 1)
			}
			label := fmt.Sprintf("%s: %s", api.name, c.label)
			if api.name == "whole" && c.label == "all brokers" {
				continue // Kafka refuses it: min.insync.replicas, which it has set itself, would be reset
			}
			p.each(label+", validated", 0, api.high, func(*side, int16) kmsg.Request { return api.build(c.kind, name, true, c.changes...) })
			p.each(label, api.high, api.high, func(*side, int16) kmsg.Request { return api.build(c.kind, name, false, c.changes...) })
			p.each(label+", then", 4, 4, describeConfigs(ofTopic, described, alteredKeys, true, false))
			if c.kind == ofBroker {
				p.each(label+", then the broker", 4, 4, describeConfigs(ofBroker, "1", alteredBrokerKeys, true, false))
				p.each(label+", then all brokers", 4, 4, describeConfigs(ofBroker, "", alteredBrokerKeys, true, false))
			}
		}
		reset := []change{{opDelete, "log.retention.ms", "nil"}, {opDelete, "log.flush.interval.ms", "nil"}}
		p.each(api.name+": reset broker", 1, 1, func(*side, int16) kmsg.Request { return incremental(ofBroker, "1", false, reset...) })
		p.each(api.name+": reset all brokers", 1, 1, func(*side, int16) kmsg.Request { return incremental(ofBroker, "", false, reset...) })
		p.each(api.name+": after all", 4, 4, describeConfigs(ofTopic, topic, alteredKeys, true, false))
	}
	// AlterConfigs with a resource named twice is not tried: Kafka never answers it.
	set := []change{{opSet, "retention.ms", "4444"}}
	p.each("two resources, one twice", 1, 1, func(*side, int16) kmsg.Request {
		req := incremental(ofTopic, "ac-incremental", false, set...).(*kmsg.IncrementalAlterConfigsRequest)
		unknown := incremental(ofTopic, "unknown", false, set...).(*kmsg.IncrementalAlterConfigsRequest)
		req.Resources = append(req.Resources, req.Resources[0], unknown.Resources[0])
		return req
	})
	p.each("after it", 4, 4, describeConfigs(ofTopic, "ac-incremental", alteredKeys, true, false))
}
