package protocol

import "github.com/twmb/franz-go/pkg/kerr"

// ProduceResponse answers a Produce request.
type ProduceResponse struct {
	Topics         []ProduceResponseTopic
	ThrottleMillis int32
	Endpoints      []NodeEndpoint // of the leaders named; from version 10 on
}

// ProduceResponseTopic is named as the request did: by Name up to version 12,
// by ID from 13 on.
type ProduceResponseTopic struct {
	Name       string
	ID         [16]byte
	Partitions []ProduceResponsePartition
}

// ProduceResponsePartition is what became of one partition's records. Fields
// that a version does not have are left out.
type ProduceResponsePartition struct {
	Index          int32
	Code           int16  // error code, 0 for none
	Message        string // "" is null; from version 8 on
	BaseOffset     int64  // of the first record, −1 with an error
	LogAppendTime  int64  // milliseconds since 1970 if the broker stamped the records, else −1
	LogStartOffset int64  // −1 with an error; from version 5 on
	RecordErrors   []RecordError
	CurrentLeader  *CurrentLeader // nil: not said; from version 10 on
}

// RecordError says why one record made the broker refuse its batch (KIP-467).
type RecordError struct {
	BatchIndex int32  // of the record in its batch
	Message    string // "" is null
}

// AppendProduceResponse appends the whole frame that answers the request of
// header h, versions 0 to 13. It allocates nothing but what dst lacks.
func AppendProduceResponse(dst []byte, h Header, r *ProduceResponse) ([]byte, error) {
	if h.Version < 0 || h.Version > produceMaxVersion {
		return dst, unsupportedVersion(keyProduce, h.Version)
	}
	h.Key = keyProduce
	a := appender{b: beginFrame(dst, h), flexible: h.Version >= produceFlexible}
	a.count(len(r.Topics))
	for i := range r.Topics {
		a.produceTopic(h.Version, &r.Topics[i])
	}
	if h.Version >= 1 {
		a.int32(r.ThrottleMillis)
	}
	if h.Version >= produceLeaders {
		a.nodeEndpoints(r.Endpoints)
	} else {
		a.noTags()
	}
	return endFrame(a.b, len(dst))
}

func (a *appender) produceTopic(version int16, t *ProduceResponseTopic) {
	if version >= produceTopicIDs {
		a.uuid(t.ID)
	} else {
		a.string(t.Name)
	}
	a.count(len(t.Partitions))
	for i := range t.Partitions {
		a.producePartition(version, &t.Partitions[i])
	}
	a.noTags()
}

func (a *appender) producePartition(version int16, p *ProduceResponsePartition) {
	a.int32(p.Index)
	a.int16(p.Code)
	a.int64(p.BaseOffset)
	if version >= 2 {
		a.int64(p.LogAppendTime)
	}
	if version >= 5 {
		a.int64(p.LogStartOffset)
	}
	if version >= 8 {
		a.count(len(p.RecordErrors))
		for _, e := range p.RecordErrors {
			a.int32(e.BatchIndex)
			a.nullableString(clip(e.Message))
			a.noTags()
		}
		a.nullableString(clip(p.Message))
	}
	if version >= produceLeaders && p.CurrentLeader != nil {
		a.uvarint(1)
		a.currentLeader(0, p.CurrentLeader)
		return
	}
	a.noTags()
}

// AppendUnsupportedProduce appends the frame that answers a Produce request of
// version 0, 1 or 2, which are listed (or librdkafka would not compress) and
// not served: they carry message sets of before Kafka 0.11. Every partition
// gets UNSUPPORTED_VERSION, in the shape of the request's version. answer is
// false, and nothing appended, for acks=0, whose client reads no answer: close
// its connection, as for an error.
func AppendUnsupportedProduce(dst []byte, h Header, body []byte) (frame []byte, answer bool, err error) {
	if h.Version < 0 || h.Version >= produceMinVersion {
		return dst, false, unsupportedVersion(keyProduce, h.Version)
	}
	var req ProduceRequest
	if err := parseProduce(h.Version, body, &req); err != nil {
		return dst, false, err
	}
	if req.Acks == 0 {
		return dst, false, nil
	}
	var resp ProduceResponse
	for _, t := range req.Topics {
		topic := ProduceResponseTopic{Name: t.Name}
		for _, p := range t.Partitions {
			topic.Partitions = append(topic.Partitions, ProduceResponsePartition{
				Index: p.Index, Code: kerr.UnsupportedVersion.Code, BaseOffset: -1, LogAppendTime: -1, LogStartOffset: -1,
			})
		}
		resp.Topics = append(resp.Topics, topic)
	}
	frame, err = AppendProduceResponse(dst, h, &resp)
	return frame, err == nil, err
}
