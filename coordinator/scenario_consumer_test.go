package coordinator

import (
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fanfold/fanfold/coordinator/stored"
)

func init() {
	stageVerbs["beat"] = (*stage).beat
	stageVerbs["show"] = (*stage).show
}

func (s *stage) beat(c command) {
	m := s.member(c)
	joins := slices.Contains(c.args[1:], "join")
	if m.id == "" {
		m.id = c.who()
	}
	if joins {
		m.generation = 0
		m.owned = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	}
	body := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	body.Version = int16(c.number("v", 1))
	body.Group, body.MemberID, body.InstanceID = m.group, c.option("id", m.id), m.instanceID
	body.MemberEpoch = int32(c.number("epoch", int(m.generation)))
	optional := func(name string) *string {
		if value, ok := c.options[name]; ok {
			return &value
		}
		return nil
	}
	body.RackID, body.SubscribedTopicRegex, body.ServerAssignor = optional("rack"), optional("regex"), optional("assignor")
	if names, ok := c.options["topics"]; ok {
		body.SubscribedTopicNames = strings.Split(names, "+")
	}
	if joins {
		body.RebalanceTimeoutMillis = c.millis("timeout", "60s")
	}
	if joins || slices.Contains(c.args[1:], "has") {
		body.Topics = m.owned
	}
	s.send(c.who(), body, func(r kmsg.Response) {
		resp := r.(*kmsg.ConsumerGroupHeartbeatResponse)
		if resp.ErrorCode != 0 {
			s.printf("%s heartbeats: %s (%s)", c.who(), result(resp.ErrorCode, ""), *resp.ErrorMessage)
			return
		}
		m.generation = resp.MemberEpoch
		told := ""
		if resp.Assignment != nil {
			m.owned = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
			for _, t := range resp.Assignment.Topics {
				m.owned = append(m.owned, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: t.TopicID, Partitions: t.Partitions})
				told += " " + showPartitions(t.TopicID, t.Partitions)
			}
			told = ", has" + orNothing(told)
		}
		s.printf("%s heartbeats: epoch %d%s", c.who(), resp.MemberEpoch, told)
	})
}

func orNothing(told string) string {
	if told = strings.TrimSpace(told); told == "" {
		return " nothing"
	}
	return " " + told
}

// showPartitions names a topic by what its id begins with.
func showPartitions(id [16]byte, partitions []int32) string {
	return fmt.Sprintf("%s%v", strings.TrimRight(string(id[:15]), "\x00"), partitions)
}

func (s *stage) show(c command) {
	body := kmsg.NewPtrConsumerGroupDescribeRequest()
	body.Version = 1
	body.Groups = []string{c.option("group", "g")}
	s.send("admin", body, func(r kmsg.Response) {
		g := r.(*kmsg.ConsumerGroupDescribeResponse).Groups[0]
		s.printf("%s: %s", g.Group, result(g.ErrorCode, "%s, epoch %d, target %d by %s", g.State, g.Epoch, g.AssignmentEpoch, g.AssignorName))
		for _, m := range g.Members {
			kind := map[int8]string{0: ", classic", 1: ""}[m.MemberType]
			s.printf("  %s at %d%s: has%s, shall have%s", m.MemberID, m.MemberEpoch, kind,
				orNothing(assignment(m.Assignment)), orNothing(assignment(m.TargetAssignment)))
		}
	})
}

// showConsumerRecord shows a record of a consumer group.
func showConsumerRecord(key any, value []byte) string {
	what, show := "", func() string { return "" }
	switch k := key.(type) {
	case stored.ConsumerGroupMetadataKey:
		what, show = "epoch of "+k.Group, func() string {
			v, err := stored.ParseConsumerGroupMetadataValue(value)
			return orError(err, "%d", v.Epoch)
		}
	case stored.ConsumerGroupMemberMetadataKey:
		what, show = "member "+k.Member+" of "+k.Group, func() string {
			v, err := stored.ParseConsumerGroupMemberMetadataValue(value)
			return orError(err, "topics %v", v.SubscribedTopicNames)
		}
	case stored.ConsumerGroupTargetAssignmentMetadataKey:
		what, show = "target epoch of "+k.Group, func() string {
			v, err := stored.ParseConsumerGroupTargetAssignmentMetadataValue(value)
			return orError(err, "%d", v.AssignmentEpoch)
		}
	case stored.ConsumerGroupTargetAssignmentMemberKey:
		what, show = "target of "+k.Member+" of "+k.Group, func() string {
			v, err := stored.ParseConsumerGroupTargetAssignmentMemberValue(value)
			return orError(err, "%s", showStored(v.TopicPartitions))
		}
	case stored.ConsumerGroupCurrentMemberAssignmentKey:
		what, show = "assignment of "+k.Member+" of "+k.Group, func() string {
			v, err := stored.ParseConsumerGroupCurrentMemberAssignmentValue(value)
			return orError(err, "epoch %d, %s, gives up %s", v.MemberEpoch, showStored(v.AssignedPartitions), showStored(v.PartitionsPendingRevocation))
		}
	case stored.ConsumerGroupRegularExpressionKey:
		what, show = "regular expression "+k.Regex+" of "+k.Group, func() string {
			v, err := stored.ParseConsumerGroupRegularExpressionValue(value)
			return orError(err, "topics %v", v.Topics)
		}
	}
	if value == nil {
		return what + ": gone"
	}
	return what + ": " + show()
}

func orError(err error, format string, args ...any) string {
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf(format, args...)
}

func showStored(topics []stored.TopicPartitions) string {
	var out []string
	for _, t := range topics {
		out = append(out, showPartitions(t.TopicID, t.Partitions))
	}
	if out == nil {
		return "nothing"
	}
	return strings.Join(out, " ")
}
