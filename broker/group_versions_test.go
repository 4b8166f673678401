package broker

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// groupSample is a request of each key of group coordinators, for the group
// "sample", which has no members; nil for other keys.
func groupSample(key, version int16, id [16]byte) kmsg.Request {
	switch key {
	case 8:
		r := commitOf("sample", 1)
		r.Topics[0].Topic, r.Topics[0].TopicID = "sample", id
		return r
	case 9:
		r := fetchOf("sample")
		r.Groups[0].Topics[0].Topic, r.Groups[0].Topics[0].TopicID = "sample", id
		r.Group, r.Topics = "sample", []kmsg.OffsetFetchRequestTopic{{Topic: "sample", Partitions: []int32{0, 1}}}
		return r
	case 10:
		r := kmsg.NewPtrFindCoordinatorRequest()
		r.CoordinatorKey, r.CoordinatorKeys = "sample", []string{"sample"}
		return r
	case 11:
		return joinOf(fmt.Sprintf("sample-%d", version), "") // the first member has nobody to wait for
	case 12:
		r := kmsg.NewPtrHeartbeatRequest()
		r.Group, r.MemberID = "sample", "nobody"
		return r
	case 13:
		r := kmsg.NewPtrLeaveGroupRequest()
		r.Group, r.MemberID = "sample", "nobody"
		r.Members = []kmsg.LeaveGroupRequestMember{{MemberID: "nobody"}}
		return r
	case 14:
		r := kmsg.NewPtrSyncGroupRequest()
		r.Group, r.MemberID = "sample", "nobody"
		return r
	case 15:
		r := kmsg.NewPtrDescribeGroupsRequest()
		r.Groups = []string{"nothing"}
		return r
	case 16:
		return kmsg.NewPtrListGroupsRequest()
	case 42:
		r := kmsg.NewPtrDeleteGroupsRequest()
		r.Groups = []string{"nothing"}
		return r
	case 47:
		r := kmsg.NewPtrOffsetDeleteRequest()
		r.Group = "nothing"
		return r
	case 68:
		r := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		r.Group, r.MemberID, r.RebalanceTimeoutMillis = "nothing", "nobody", 30_000
		r.MemberEpoch = 5
		return r
	case 69:
		r := kmsg.NewPtrConsumerGroupDescribeRequest()
		r.Groups = []string{"nothing"}
		return r
	}
	return nil
}

// groupErrors are the codes that a group's sample is answered with.
func groupErrors(resp kmsg.Response) (codes []int16) {
	switch r := resp.(type) {
	case *kmsg.OffsetCommitResponse:
		for _, t := range r.Topics {
			codes = append(codes, t.Partitions[0].ErrorCode)
		}
	case *kmsg.OffsetFetchResponse:
		codes = append(codes, r.ErrorCode)
		for _, t := range r.Topics {
			codes = append(codes, t.Partitions[0].ErrorCode)
		}
		for _, g := range r.Groups {
			codes = append(codes, g.ErrorCode, g.Topics[0].Partitions[0].ErrorCode)
		}
	case *kmsg.FindCoordinatorResponse:
		codes = append(codes, r.ErrorCode)
		for _, c := range r.Coordinators {
			codes = append(codes, c.ErrorCode)
		}
	case *kmsg.JoinGroupResponse:
		codes = append(codes, r.ErrorCode)
	case *kmsg.HeartbeatResponse:
		codes = append(codes, r.ErrorCode)
	case *kmsg.LeaveGroupResponse:
		if len(r.Members) == 0 {
			codes = append(codes, r.ErrorCode)
		}
		for _, m := range r.Members {
			codes = append(codes, m.ErrorCode)
		}
	case *kmsg.SyncGroupResponse:
		codes = append(codes, r.ErrorCode)
	case *kmsg.DescribeGroupsResponse:
		for _, g := range r.Groups {
			codes = append(codes, g.ErrorCode)
		}
	case *kmsg.ListGroupsResponse:
		codes = append(codes, r.ErrorCode)
	case *kmsg.DeleteGroupsResponse:
		for _, g := range r.Groups {
			codes = append(codes, g.ErrorCode)
		}
	case *kmsg.OffsetDeleteResponse:
		codes = append(codes, r.ErrorCode)
	case *kmsg.ConsumerGroupHeartbeatResponse:
		codes = append(codes, r.ErrorCode)
	case *kmsg.ConsumerGroupDescribeResponse:
		for _, g := range r.Groups {
			codes = append(codes, g.ErrorCode)
		}
	}
	return codes
}

// groupSampleError is what a sample is answered with: there is no such member,
// or no such group.
func groupSampleError(key, version int16) int16 {
	switch key {
	case 11:
		if version >= 4 {
			return kerr.MemberIDRequired.Code
		}
	case 12, 13, 14:
		return kerr.UnknownMemberID.Code
	case 15:
		if version >= 6 {
			return kerr.GroupIDNotFound.Code
		}
	case 42, 47, 68, 69:
		return kerr.GroupIDNotFound.Code
	}
	return 0
}

// A group is in one piece when it is described with the operations allowed on
// it, which are asked for.
func TestOperationsOfGroups(t *testing.T) {
	s, _ := groupBroker(t)
	c := dial(t, s)
	findGroup(t, c, "g")
	wantCode(t, "commit", commit(c, "g", 1), nil)
	for _, include := range []bool{false, true} {
		req := kmsg.NewPtrDescribeGroupsRequest()
		req.Version, req.Groups, req.IncludeAuthorizedOperations = 5, []string{"g"}, include
		want := noOperations
		if include {
			want = groupOperations
		}
		g := c.ask(req).(*kmsg.DescribeGroupsResponse).Groups[0]
		if g.AuthorizedOperations != want || g.State != "Empty" {
			t.Errorf("include %v: %+v", include, g)
		}
	}
}
