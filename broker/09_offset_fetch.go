package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// OffsetFetch (9), versions 1–10.
//
//	2    all partitions; an error for all
//	3    throttle time
//	4    the client waits out a throttle
//	5    leader epochs
//	6    flexible
//	7    stable offsets alone (KIP-447)
//	8    several groups (KIP-709)
//	9    members of KIP-848: STALE_MEMBER_EPOCH
//	10   topic ids for names

// offsetFetchManyVersion is the first that asks about several groups.
const offsetFetchManyVersion = 8

func splitOffsetFetch(req *kmsg.OffsetFetchRequest) []part {
	if req.Version < offsetFetchManyVersion {
		return []part{{req.Group, req, func(err *kerr.Error) kmsg.Response { return offsetFetchFailed(req, err) }}}
	}
	req.Groups = firstOf(req.Groups, func(g *kmsg.OffsetFetchRequestGroup) string { return g.Group })
	parts := make([]part, len(req.Groups))
	for i := range req.Groups {
		one := *req
		one.Groups = req.Groups[i : i+1]
		parts[i] = part{one.Groups[0].Group, &one, func(err *kerr.Error) kmsg.Response { return offsetFetchFailed(&one, err) }}
	}
	return parts
}

func joinOffsetFetch(req *kmsg.OffsetFetchRequest, all []kmsg.Response) kmsg.Response {
	if req.Version < offsetFetchManyVersion {
		return all[0]
	}
	resp := req.ResponseKind().(*kmsg.OffsetFetchResponse)
	for _, one := range all {
		resp.Groups = append(resp.Groups, one.(*kmsg.OffsetFetchResponse).Groups...)
	}
	return resp
}

// offsetFetchFailed answers for one group.
func offsetFetchFailed(req *kmsg.OffsetFetchRequest, err *kerr.Error) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.OffsetFetchResponse)
	if req.Version >= offsetFetchManyVersion {
		g := kmsg.NewOffsetFetchResponseGroup()
		g.Group, g.ErrorCode = req.Groups[0].Group, err.Code
		resp.Groups = append(resp.Groups, g)
		return resp
	}
	resp.ErrorCode = err.Code
	if req.Version >= 2 {
		return resp
	}
	for _, asked := range req.Topics {
		t := kmsg.OffsetFetchResponseTopic{Topic: asked.Topic}
		for _, number := range asked.Partitions {
			p := kmsg.NewOffsetFetchResponseTopicPartition()
			p.Partition, p.Offset, p.Metadata, p.ErrorCode = number, -1, kmsg.StringPtr(""), err.Code
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}
