//go:build linux

package main

import (
	"fmt"
	"path/filepath"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func (s *server) metadata(req *kmsg.MetadataRequest, resp *kmsg.MetadataResponse) {
	b := kmsg.NewMetadataResponseBroker()
	b.NodeID, b.Host, b.Port = 1, s.host, s.port
	resp.Brokers, resp.ControllerID = []kmsg.MetadataResponseBroker{b}, 1
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for _, t := range req.Topics {
		names = append(names, *t.Topic)
	}
	if req.Topics == nil {
		for name := range s.topics {
			names = append(names, name)
		}
	}
	for _, name := range names {
		t := kmsg.NewMetadataResponseTopic()
		t.Topic = kmsg.StringPtr(name)
		partitions, ok := s.topics[name]
		if !ok {
			t.ErrorCode = kerr.UnknownTopicOrPartition.Code
		}
		for i := range partitions {
			p := kmsg.NewMetadataResponseTopicPartition()
			p.Partition, p.Leader, p.Replicas, p.ISR = int32(i), 1, []int32{1}, []int32{1}
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
}

func (s *server) listOffsets(req *kmsg.ListOffsetsRequest, resp *kmsg.ListOffsetsResponse) {
	for _, t := range req.Topics {
		out := kmsg.NewListOffsetsResponseTopic()
		out.Topic = t.Topic
		for _, want := range t.Partitions {
			o := kmsg.NewListOffsetsResponseTopicPartition()
			o.Partition = want.Partition
			if p := s.partition(t.Topic, int(want.Partition)); p == nil {
				o.ErrorCode = kerr.UnknownTopicOrPartition.Code
			} else if o.Offset = 0; want.Timestamp == -1 {
				_, _, o.Offset = p.read(1<<62, 0)
			}
			out.Partitions = append(out.Partitions, o)
		}
		resp.Topics = append(resp.Topics, out)
	}
}

func (s *server) createTopics(req *kmsg.CreateTopicsRequest, resp *kmsg.CreateTopicsResponse) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range req.Topics {
		out := kmsg.NewCreateTopicsResponseTopic()
		out.Topic = t.Topic
		if _, ok := s.topics[t.Topic]; ok {
			out.ErrorCode = kerr.TopicAlreadyExists.Code
			resp.Topics = append(resp.Topics, out)
			continue
		}
		partitions := make([]*partition, max(t.NumPartitions, 1))
		for i := range partitions {
			s.files++
			p, err := openPartition(filepath.Join(s.dir, fmt.Sprintf("%d.log", s.files)), s.sync, s.news)
			if err != nil {
				out.ErrorCode, out.ErrorMessage = kerr.KafkaStorageError.Code, kmsg.StringPtr(err.Error())
				break
			}
			partitions[i] = p
		}
		if out.ErrorCode == 0 {
			s.topics[t.Topic] = partitions
		}
		resp.Topics = append(resp.Topics, out)
	}
}

func (s *server) deleteTopics(req *kmsg.DeleteTopicsRequest, resp *kmsg.DeleteTopicsResponse) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range req.TopicNames {
		out := kmsg.NewDeleteTopicsResponseTopic()
		out.Topic = kmsg.StringPtr(name)
		partitions, ok := s.topics[name]
		if !ok {
			out.ErrorCode = kerr.UnknownTopicOrPartition.Code
		}
		for _, p := range partitions {
			p.remove()
		}
		delete(s.topics, name)
		resp.Topics = append(resp.Topics, out)
	}
}
