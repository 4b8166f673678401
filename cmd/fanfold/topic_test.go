package main

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestTopicLife(t *testing.T) {
	newBroker(t)
	out := succeed(t, "", "topic", "create", "orders", "clicks", "-p", "4", "-r", "1", "-c", "retention.ms=7d", "-c", "segment.bytes=256MiB")
	want(t, out, "created orders: 4 partitions, 1 replica\n", "created clicks: 4 partitions")
	fail(t, exitFailed, `topic "orders" exists already; --if-not-exists lets it be`, "", "topic", "create", "orders")
	want(t, succeed(t, "", "topic", "create", "orders", "fresh", "--if-not-exists"), "orders exists already", "created fresh: 3 partitions")
	want(t, succeed(t, "", "topic", "create", "maybe", "--validate-only", "-p", "2"), "maybe would be created: 2 partitions")

	list := decode[[]listedTopic](t, succeed(t, "", "topic", "list", "-o", "json"))
	if len(list) != 3 || list[0].Name != "clicks" || list[0].Partitions != 4 || list[0].Replicas != 1 || list[0].ID == "" {
		t.Errorf("%+v", list)
	}
	if got := succeed(t, "", "topic", "list", "o*"); got != "NAME    PARTITIONS  REPLICAS  STATUS\norders           4         1  ok\n" {
		t.Errorf("list is\n%s", got)
	}
	if got := succeed(t, "", "topic", "list", "none*", "-o", "json"); got != "[]\n" {
		t.Errorf("an empty list is %q", got)
	}

	succeed(t, "a\nb\nc\n", "produce", "orders", "-p", "2")
	out = succeed(t, "", "topic", "describe", "orders")
	want(t, out, "PARTITION  LEADER  EPOCH  REPLICAS  ISR  OFFLINE  START  END", "retention.ms   604800000 (7d)      topic", "segment.bytes  268435456 (256MiB)  topic", "durability  ")
	d := decode[[]describedTopic](t, succeed(t, "", "topic", "describe", "orders", "-o", "json"))[0]
	if p := d.Partitions[2]; len(d.Partitions) != 4 || p.End == nil || *p.End != 3 || *p.Start != 0 || p.Size == nil || *p.Size == 0 {
		t.Errorf("%+v", d.Partitions)
	}
	if len(d.Configs) != 2 || d.Configs[0].Source != "topic" {
		t.Errorf("%+v", d.Configs)
	}
	if all := decode[[]describedTopic](t, succeed(t, "", "topic", "describe", "orders", "--all", "-o", "json"))[0]; len(all.Configs) < 10 {
		t.Errorf("--all shows %d configs", len(all.Configs))
	}
	fail(t, exitFailed, `topic "nowhere" does not exist; create it with: fanfold topic create nowhere`, "", "topic", "describe", "nowhere")

	out = succeed(t, "", "topic", "alter", "orders", "-c", "retention.ms=30d", "--delete-config", "segment.bytes", "-p", "6")
	want(t, out, "CONFIG         BEFORE              AFTER\n", "partitions     4                   6\n", "retention.ms   604800000 (7d)      2592000000 (30d)\n", "segment.bytes  268435456 (256MiB)  104857600 (100MiB)\n")
	fail(t, exitFailed, "cannot have fewer", "", "topic", "alter", "orders", "-p", "2")
	fail(t, exitFailed, "does not exist", "", "topic", "alter", "nowhere", "-p", "2")
	altered := decode[alteredTopic](t, succeed(t, "", "topic", "alter", "orders", "-c", "retention.ms=1d", "--validate-only", "-o", "json"))
	if altered.Applied || len(altered.Changes) != 1 || altered.Changes[0] != (topicChanged{"retention.ms", "2592000000", "86400000"}) {
		t.Errorf("%+v", altered)
	}
	if d := decode[[]describedTopic](t, succeed(t, "", "topic", "describe", "orders", "-o", "json"))[0]; len(d.Partitions) != 6 || *d.Configs[0].Value != "2592000000" {
		t.Errorf("after alter: %+v", d)
	}

	want(t, succeed(t, "", "topic", "delete", "orders", "clicks"), "deleted clicks\ndeleted orders\n")
	fail(t, exitFailed, `topic "orders" does not exist; --if-exists`, "", "topic", "delete", "orders")
	want(t, succeed(t, "", "topic", "delete", "orders", "--if-exists"), "orders does not exist")
}

func TestSomeTopicsOfSeveralFail(t *testing.T) {
	newBroker(t, kfake.SeedTopics(1, "here"))
	r := fanfold(t, "", "topic", "describe", "here", "gone", "lost")
	if r.status != exitFailed || strings.Count(r.stderr, "fanfold: topic") != 2 || !strings.HasPrefix(r.stdout, "here\n") {
		t.Errorf("%+v", r)
	}
	r = fanfold(t, "", "topic", "create", "here", "new", "-o", "json")
	if r.status != exitFailed || !strings.Contains(r.stdout, `"new"`) || strings.Contains(r.stdout, `"here"`) {
		t.Errorf("%+v", r)
	}
}

// TestDescribeWithoutLogDirs stands for brokers that lack or refuse a request.
func TestDescribeWithoutLogDirs(t *testing.T) {
	cluster := newBroker(t, kfake.SeedTopics(1, "t"))
	cluster.ControlKey(int16(kmsg.DescribeLogDirs), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		resp := req.ResponseKind().(*kmsg.DescribeLogDirsResponse)
		resp.ErrorCode = 31 // CLUSTER_AUTHORIZATION_FAILED
		return resp, nil, true
	})
	d := decode[[]describedTopic](t, succeed(t, "", "topic", "describe", "t", "-o", "json"))[0]
	if d.Partitions[0].Size != nil {
		t.Errorf("size %d", *d.Partitions[0].Size)
	}
	want(t, succeed(t, "", "topic", "describe", "t"), "SIZE\n", "-\n")
}

func TestAlterThatIsRefused(t *testing.T) {
	cluster := newBroker(t, kfake.SeedTopics(1, "t"))
	message := "unknown config retention.mss; did you mean retention.ms"
	for _, message := range []*string{nil, &message} {
		cluster.ControlKey(int16(kmsg.IncrementalAlterConfigs), func(req kmsg.Request) (kmsg.Response, error, bool) {
			resp := req.ResponseKind().(*kmsg.IncrementalAlterConfigsResponse)
			resource := kmsg.NewIncrementalAlterConfigsResponseResource()
			resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeTopic, "t"
			resource.ErrorCode, resource.ErrorMessage = kerr.InvalidConfig.Code, message
			resp.Resources = append(resp.Resources, resource)
			return resp, nil, true
		})
		text := "refuses a config's name or value (INVALID_CONFIG)"
		if message != nil {
			text = *message + " (INVALID_CONFIG)"
		}
		fail(t, exitFailed, text, "", "topic", "alter", "t", "-c", "retention.mss=1")
	}
}

func TestDurabilityText(t *testing.T) {
	for _, c := range []struct{ messages, ms, want string }{
		{"1", "9223372036854775807", "every acknowledgement is fsynced (flush.messages=1)"},
		{"9223372036854775807", "9223372036854775807", "relaxed: acknowledged before it is fsynced, whenever"},
		{"1000", "1000", "relaxed: acknowledged before it is fsynced, after 1,000 records (flush.messages=1000) or after 1s (flush.ms=1000)"},
		{"", "", "unknown"},
	} {
		configs := []kadm.Config{{Key: "flush.messages", Value: &c.messages}, {Key: "flush.ms", Value: &c.ms}}
		if got := durabilityOf(configs).Text; !strings.HasPrefix(got, c.want) {
			t.Errorf("flush.messages=%s flush.ms=%s: %q, want %q", c.messages, c.ms, got, c.want)
		}
	}
}

func TestDeleteAsksOnATerminal(t *testing.T) {
	newBroker(t, kfake.SeedTopics(1, "t"))
	for answer, deleted := range map[string]bool{"": false, "n\n": false, "Yes\n": true} {
		var stdout, stderr strings.Builder
		a := newApp(strings.NewReader(answer), &stdout, &stderr)
		a.inTerminal = true
		root := newRoot(a)
		root.SetArgs([]string{"topic", "delete", "t"})
		status := a.exit(root.ExecuteContext(t.Context()))
		if (status == exitOK) != deleted || !strings.Contains(stderr.String(), "Delete t and all records in it? [y/N]") {
			t.Errorf("answer %q: status %d, stderr %q", answer, status, stderr.String())
		}
		if deleted {
			succeed(t, "", "topic", "create", "t", "--if-not-exists")
		}
	}
}
