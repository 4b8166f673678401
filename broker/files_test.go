package broker

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Partitions that the process has no file descriptors for are refused, in
// words, before they are made.
func TestPartitionsNeedFiles(t *testing.T) {
	node := newTestNode(t)
	c := dial(t, testServer(t, node, Config{MaxOpenFiles: 100}))
	create := func(name string, partitions int32, validateOnly bool) kmsg.CreateTopicsResponseTopic {
		req := kmsg.NewPtrCreateTopicsRequest()
		req.TimeoutMillis, req.ValidateOnly = 10_000, validateOnly
		asked := kmsg.NewCreateTopicsRequestTopic()
		asked.Topic, asked.NumPartitions, asked.ReplicationFactor = name, partitions, 1
		req.Topics = append(req.Topics, asked)
		return ask[*kmsg.CreateTopicsResponse](c, 7, req).Topics[0]
	}
	for _, validateOnly := range []bool{true, false} {
		refused := create("wide", 19, validateOnly)
		wantCode(t, "19 partitions", refused.ErrorCode, kerr.PolicyViolation)
		if refused.ErrorMessage == nil || !contains(*refused.ErrorMessage, "76 open files", "100 in all", "ulimit -n") {
			t.Errorf("it says %q", deref(refused.ErrorMessage))
		}
	}
	if made := create("fits", 17, false); made.ErrorCode != 0 {
		t.Fatalf("17 partitions: %v %s", kerr.ErrorForCode(made.ErrorCode), deref(made.ErrorMessage))
	}
	grow := kmsg.NewPtrCreatePartitionsRequest()
	grow.TimeoutMillis = 10_000
	asked := kmsg.NewCreatePartitionsRequestTopic()
	asked.Topic, asked.Count = "fits", 19
	grow.Topics = append(grow.Topics, asked)
	answer := ask[*kmsg.CreatePartitionsResponse](c, 3, grow).Topics[0]
	wantCode(t, "two more", answer.ErrorCode, kerr.PolicyViolation)
}

func contains(s string, parts ...string) bool {
	for _, p := range parts {
		if !strings.Contains(s, p) {
			return false
		}
	}
	return true
}

func deref(s *string) string {
	if s == nil {
		return "nothing"
	}
	return *s
}
