package interop

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// fetchPart is a partition of a Fetch request.
type fetchPart struct {
	topic     string
	id        *[16]byte // in place of the topic's newest
	partition int32
	offset    int64
	maxBytes  int32 // 0: 1 MiB; -1: 0
	epoch     *int32
	lastEpoch *int32
}

func (s *side) fetchRequest(version int16, parts ...fetchPart) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version = version
	req.ReplicaID, req.MaxWaitMillis, req.MinBytes, req.MaxBytes = -1, 0, 0, 10<<20
	req.SessionID, req.SessionEpoch = 0, -1
	req.ReplicaState.ID, req.ReplicaState.Epoch = -1, -1
	for _, part := range parts {
		if n := len(req.Topics); n == 0 || req.Topics[n-1].Topic != part.topic {
			t := kmsg.NewFetchRequestTopic()
			t.Topic, t.TopicID = part.topic, s.ids[part.topic]
			if part.id != nil {
				t.TopicID = *part.id
			}
			req.Topics = append(req.Topics, t)
		}
		t := &req.Topics[len(req.Topics)-1]
		rp := kmsg.NewFetchRequestTopicPartition()
		rp.Partition, rp.FetchOffset, rp.LogStartOffset = part.partition, part.offset, -1
		rp.CurrentLeaderEpoch, rp.LastFetchedEpoch = -1, -1
		switch part.maxBytes {
		case 0:
			rp.PartitionMaxBytes = 1 << 20
		case -1:
			rp.PartitionMaxBytes = 0
		default:
			rp.PartitionMaxBytes = part.maxBytes
		}
		if part.epoch != nil {
			rp.CurrentLeaderEpoch = s.epoch(part.topic, part.partition, *part.epoch)
		}
		if part.lastEpoch != nil {
			rp.LastFetchedEpoch = s.epoch(part.topic, part.partition, *part.lastEpoch)
		}
		t.Partitions = append(t.Partitions, rp)
	}
	return req
}

func fetchArea(p *pair) {
	p.topic("fe", 3, "retention.ms=-1")
	for n := range 6 {
		p.produce(fmt.Sprintf("batch %d", n), 9, -1, "fe", 0, simple(strings.Repeat("v", 100), "b", "c"))
	}
	p.produce("other partition", 9, -1, "fe", 1, simple(strings.Repeat("w", 500)))
	p.produce("zstd", 9, -1, "fe", 1, made(batch{values: []string{"z"}, codec: 4}))
	fetch := func(label string, low int16, change func(*kmsg.FetchRequest), parts ...fetchPart) {
		p.t.Helper()
		p.each(label, low, 18, func(s *side, v int16) kmsg.Request {
			req := s.fetchRequest(v, parts...)
			if change != nil {
				change(req)
			}
			return req
		})
	}
	at := func(offset int64) fetchPart { return fetchPart{topic: "fe", offset: offset} }
	other := fetchPart{topic: "fe", partition: 1}
	fetch("from 0", 4, nil, at(0))
	fetch("into a batch", 4, nil, at(4))
	fetch("last", 4, nil, at(17))
	fetch("end", 4, nil, at(18))
	fetch("beyond the end", 4, nil, at(19))
	fetch("far beyond", 4, nil, at(1<<40))
	fetch("negative", 4, nil, at(-1))
	fetch("very negative", 4, nil, at(-1<<60))
	fetch("empty", 4, nil, fetchPart{topic: "fe", partition: 2})
	fetch("empty, beyond", 4, nil, fetchPart{topic: "fe", partition: 2, offset: 1})
	fetch("unknown partition", 4, nil, fetchPart{topic: "fe", partition: 9})
	fetch("negative partition", 4, nil, fetchPart{topic: "fe", partition: -1})
	fetch("unknown topic", 4, nil, fetchPart{topic: "unknown", id: &[16]byte{7, 7}})
	fetch("no id", 13, nil, fetchPart{topic: "nothing", id: &[16]byte{}})
	p.ask("illegal topic", 12, func(s *side) kmsg.Request { return s.fetchRequest(12, fetchPart{topic: "a b"}) })
	fetch("several", 4, nil, at(0), other, fetchPart{topic: "fe", partition: 2}, fetchPart{topic: "fe", partition: 9})
	fetch("a partition twice", 4, nil, at(0), at(15))
	fetch("zstd", 4, nil, fetchPart{topic: "fe", partition: 1, offset: 1})
	for _, limit := range []int32{-1, 1, 100, 185, 186, 187, 372, 373, 400, 1000} {
		fetch(fmt.Sprintf("partition limit %d", limit), 4, nil, fetchPart{topic: "fe", maxBytes: limit}, other)
		fetch(fmt.Sprintf("limit %d", limit), 4, func(r *kmsg.FetchRequest) { r.MaxBytes = max(0, limit) }, at(0), other)
	}
	fetch("negative limit", 4, func(r *kmsg.FetchRequest) { r.MaxBytes = -5 }, at(0))
	fetch("negative partition limit", 4, nil, fetchPart{topic: "fe", maxBytes: -77})
	fetch("minimum reached", 4, func(r *kmsg.FetchRequest) { r.MinBytes, r.MaxWaitMillis = 100, 10_000 }, at(0))
	fetch("minimum not reached", 4, func(r *kmsg.FetchRequest) { r.MinBytes, r.MaxWaitMillis = 1<<20, 30 }, at(15))
	fetch("minimum of an empty one", 4, func(r *kmsg.FetchRequest) { r.MinBytes, r.MaxWaitMillis = 1, 30 }, at(18))
	fetch("errors do not wait", 4, func(r *kmsg.FetchRequest) { r.MinBytes, r.MaxWaitMillis = 1<<20, 15_000 }, at(99), fetchPart{topic: "fe", partition: 2})
	fetch("negative wait", 4, func(r *kmsg.FetchRequest) { r.MinBytes, r.MaxWaitMillis = 1<<20, -1 }, at(18))
	fetch("read committed", 4, func(r *kmsg.FetchRequest) { r.IsolationLevel = 1 }, at(0))
	fetch("unknown isolation", 4, func(r *kmsg.FetchRequest) { r.IsolationLevel = 7 }, at(0))
	fetch("nothing", 4, nil)
	for _, above := range []int32{0, 1, 100} {
		fetch(fmt.Sprintf("leader epoch +%d", above), 9, nil, fetchPart{topic: "fe", epoch: &above})
		fetch(fmt.Sprintf("last epoch +%d", above), 12, nil, fetchPart{topic: "fe", offset: 3, lastEpoch: &above})
	}
	fetch("another cluster", 12, func(r *kmsg.FetchRequest) { other := "other"; r.ClusterID = &other }, at(15))
	fetch("a rack", 11, func(r *kmsg.FetchRequest) { r.Rack = "r1" }, at(15))
	fetch("a follower", 4, func(r *kmsg.FetchRequest) { r.ReplicaID, r.ReplicaState.ID, r.ReplicaState.Epoch = 2, 2, 1 }, at(15))

	p.topic("fe-again", 1, "retention.ms=-1")
	p.produce("before", 9, -1, "fe-again", 0, simple("old"))
	old := map[*side][16]byte{p.kafka: p.kafka.ids["fe-again"], p.fanfold: p.fanfold.ids["fe-again"]}
	p.ask("delete", 5, func(*side) kmsg.Request {
		req := kmsg.NewPtrDeleteTopicsRequest()
		req.TopicNames, req.TimeoutMillis = []string{"fe-again"}, 10_000
		return req
	})
	gone := func(s *side) fetchPart {
		id := old[s]
		return fetchPart{topic: "fe-again", id: &id}
	}
	p.ask("unknown by now", 12, func(*side) kmsg.Request { return metadataRequest(false, "fe-again") })
	p.each("deleted", 4, 18, func(s *side, v int16) kmsg.Request { return s.fetchRequest(v, gone(s)) })
	p.topic("fe-again", 1, "retention.ms=-1")
	p.each("old id", 13, 18, func(s *side, v int16) kmsg.Request { return s.fetchRequest(v, gone(s)) })
	p.each("re-created", 4, 18, func(s *side, v int16) kmsg.Request { return s.fetchRequest(v, fetchPart{topic: "fe-again"}) })
	p.ask("produce to the old id", 13, func(s *side) kmsg.Request {
		req := s.produceRequest(-1, "fe-again", 0, simple("lost"))
		req.Topics[0].TopicID = old[s]
		return req
	})
	p.produce("new", 13, -1, "fe-again", 0, simple("new"))
	p.contents("new", "fe-again", 0)
}

// fetchIn fetches in the session that Fetch is in.
func (p *pair) fetchIn(label string, version int16, epoch int32, forget []fetchPart, parts ...fetchPart) {
	p.t.Helper()
	p.do(label, version, func(s *side) (kmsg.Response, error) {
		req := s.fetchRequest(version, parts...)
		req.SessionID, req.SessionEpoch = s.session, epoch
		for _, f := range forget {
			t := kmsg.NewFetchRequestForgottenTopic()
			t.Topic, t.TopicID, t.Partitions = f.topic, s.ids[f.topic], []int32{f.partition}
			if f.id != nil {
				t.TopicID = *f.id
			}
			req.ForgottenTopics = append(req.ForgottenTopics, t)
		}
		resp, err := s.wire.ask(req)
		if err == nil && epoch == 0 {
			s.session = resp.(*kmsg.FetchResponse).SessionID
		}
		return resp, err
	}, false)
}

func fetchSessionsArea(p *pair) {
	p.topic("fs", 3, "retention.ms=-1")
	p.topic("fs-other", 1, "retention.ms=-1")
	part := func(n int32, offset int64) fetchPart {
		return fetchPart{topic: "fs", partition: n, offset: offset}
	}
	for _, v := range []int16{7, 8, 11, 12, 13, 16, 18} {
		p.kafka.session, p.fanfold.session = 0, 0
		grow := func(label string, n int32) {
			p.t.Helper()
			p.produce(label, 9, -1, "fs", n, simple("x"))
		}
		end := map[int32]int64{}
		for n := range int32(3) {
			grow("fill", n)
			resp, _ := p.ask("end", 7, func(*side) kmsg.Request { return listOffsetsRequest(7, "fs", n, -1, -1) })
			end[n] = resp.(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0].Offset
		}
		p.fetchIn("full", v, 0, nil, part(0, end[0]-1), part(1, end[1]), part(2, end[2]))
		p.fetchIn("no news, records unread", v, 1, nil)
		p.fetchIn("moved on", v, 2, nil, part(0, end[0]))
		p.fetchIn("no news", v, 3, nil)
		grow("news", 1)
		p.fetchIn("news", v, 4, nil)
		p.fetchIn("the same news", v, 5, nil)
		p.fetchIn("read", v, 6, nil, part(1, end[1]+1))
		p.fetchIn("wrong epoch", v, 6, nil)
		p.fetchIn("epoch ahead", v, 9, nil)
		p.fetchIn("goes on", v, 7, nil)
		p.fetchIn("added", v, 8, nil, fetchPart{topic: "fs-other"})
		p.fetchIn("added unknown", v, 9, nil, part(9, 0))
		p.fetchIn("unknown still", v, 10, nil)
		p.fetchIn("forget unknown", v, 11, []fetchPart{part(9, 0)})
		p.fetchIn("out of range", v, 12, nil, part(2, 1_000_000))
		p.fetchIn("out of range still", v, 13, nil)
		p.fetchIn("in range again", v, 14, nil, part(2, end[2]))
		p.fetchIn("forget", v, 15, []fetchPart{part(0, 0)})
		grow("forgotten", 0)
		p.fetchIn("forgotten", v, 16, nil)
		p.fetchIn("forget and add", v, 17, []fetchPart{part(1, 0)}, part(1, end[1]))
		p.fetchIn("forget what is not there", v, 18, []fetchPart{part(7, 0)})
		p.fetchIn("after it", v, 19, nil)
		p.fetchIn("new session in place of it", v, 0, nil, part(0, end[0]), part(1, end[1]))
		p.fetchIn("in the new session", v, 1, nil)
		p.fetchIn("forget all", v, 2, []fetchPart{part(0, 0), part(1, 0)})
		p.fetchIn("after forgetting all", v, 3, nil)
		p.fetchIn("third session", v, 0, nil, part(0, end[0]))
		other := int16(12)
		if v == 12 {
			other = 13
		}
		p.fetchIn(fmt.Sprintf("in version %d", other), other, 1, nil)
		p.fetchIn("after another version", v, 1, nil)
		p.fetchIn("close", v, -1, nil, part(0, end[0]))
		p.fetchIn("closed", v, 2, nil)
		p.kafka.session, p.fanfold.session = 12345, 12345
		p.fetchIn("unknown session", v, 1, nil)
		p.fetchIn("close unknown session", v, -1, nil)
		p.kafka.session, p.fanfold.session = 0, 0
		p.fetchIn("no session, epoch 1", v, 1, nil)
		p.fetchIn("no session, negative epoch", v, -2, nil)
		p.fetchIn("session of nothing", v, 0, nil)
		p.fetchIn("session with an unknown topic", v, 0, nil, fetchPart{topic: "unknown", id: &[16]byte{5}}, part(0, end[0]))
		p.fetchIn("unknown topic still", v, 1, nil)
		p.fetchIn("forget unknown topic", v, 2, []fetchPart{{topic: "unknown", id: &[16]byte{5}}})
		p.fetchIn("then", v, 3, nil)
	}
	// A topic that goes away and comes back under a session.
	for _, v := range []int16{12, 13, 18} {
		topic := fmt.Sprintf("fs-again-%d", v)
		p.kafka.session, p.fanfold.session = 0, 0
		p.topic(topic, 1, "retention.ms=-1")
		p.produce("again", 9, -1, topic, 0, simple("old"))
		p.fetchIn("again: full", v, 0, nil, fetchPart{topic: topic, offset: 1})
		p.ask("again: delete", 5, func(*side) kmsg.Request {
			req := kmsg.NewPtrDeleteTopicsRequest()
			req.TopicNames, req.TimeoutMillis = []string{topic}, 10_000
			return req
		})
		p.ask("again: unknown by now", 12, func(*side) kmsg.Request { return metadataRequest(false, topic) })
		p.fetchIn("again: deleted", v, 1, nil)
		p.fetchIn("again: deleted still", v, 2, nil)
		p.topic(topic, 1, "retention.ms=-1")
		p.produce("again", 9, -1, topic, 0, simple("new"))
		p.fetchIn("again: re-created", v, 3, nil)
		p.fetchIn("again: from 0", v, 4, nil, fetchPart{topic: topic})
		p.fetchIn("again: after it", v, 5, nil)
	}
}

func (s *side) epochRequest(topic string, partition, current, epoch int32) *kmsg.OffsetForLeaderEpochRequest {
	req := kmsg.NewPtrOffsetForLeaderEpochRequest()
	req.ReplicaID = -1
	part := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
	part.Partition, part.CurrentLeaderEpoch, part.LeaderEpoch = partition, -1, s.epoch(topic, partition, epoch)
	if current >= 0 {
		part.CurrentLeaderEpoch = s.epoch(topic, partition, current)
	}
	req.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: topic, Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{part}}}
	return req
}

func offsetForLeaderEpochArea(p *pair) {
	p.topic("ole", 2)
	p.produce("some", 9, -1, "ole", 0, simple("a", "b", "c"))
	for _, c := range []struct {
		label          string
		topic          string
		partition      int32
		current, epoch int32
	}{
		{"current", "ole", 0, -1, 0}, {"current, said", "ole", 0, 0, 0}, {"next", "ole", 0, -1, 1}, {"far ahead", "ole", 0, -1, 100},
		{"of none", "ole", 1, -1, 0}, {"next of none", "ole", 1, -1, 1}, {"leader ahead", "ole", 0, 1, 0},
		{"unknown partition", "ole", 8, -1, 0}, {"negative partition", "ole", -1, -1, 0}, {"unknown topic", "unknown", 0, -1, 0}, {"illegal topic", "a b", 0, -1, 0},
	} {
		p.each(c.label, 2, 4, func(s *side, _ int16) kmsg.Request { return s.epochRequest(c.topic, c.partition, c.current, c.epoch) })
	}
	p.each("no epoch", 2, 4, func(s *side, _ int16) kmsg.Request {
		req := s.epochRequest("ole", 0, -1, 0)
		req.Topics[0].Partitions[0].LeaderEpoch = -1
		return req
	})
	p.each("a follower", 3, 4, func(s *side, _ int16) kmsg.Request {
		req := s.epochRequest("ole", 0, -1, 0)
		req.ReplicaID = 2
		return req
	})
}
