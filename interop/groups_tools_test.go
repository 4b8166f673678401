package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/fanfold/fanfold/interop/broker"
	"github.com/twmb/franz-go/pkg/kadm"
)

// kafkaTools are Apache Kafka's own command-line tools, as its scripts start
// them.
type kafkaTools struct {
	t    *testing.T
	b    *broker.Broker
	java []string
}

// The tools' classes.
const (
	consoleProducer = "org.apache.kafka.tools.ConsoleProducer"
	consoleConsumer = "org.apache.kafka.tools.consumer.ConsoleConsumer"
	consumerGroups  = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
	listGroups      = "org.apache.kafka.tools.GroupsCommand"
	offsetFormatter = "org.apache.kafka.tools.consumer.OffsetsMessageFormatter"
)

// testTools consumes as a group with Kafka's console consumer, by both
// protocols, and looks at it, resets and deletes it with Kafka's other tools.
func testTools(t *testing.T) {
	if !suite.full {
		t.Skip("needs Apache Kafka's tools: in full runs only (run.sh --full)")
	}
	kafka, err := referenceKind()
	if err != nil {
		t.Skipf("no Apache Kafka: %v", err)
	}
	lib, err := kafkaJars("kafka-tools-4.3.1")
	if err != nil {
		t.Fatal(err)
	}
	k := &kafkaTools{t: t, b: brokerOf(t, suite.kind.With(withoutDelay)), java: []string{
		kafka.Java, "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", filepath.Join(lib, "*"),
		"-Dlog4j2.configurationFile=" + kafka.Log4j2,
	}}
	const group = "of-tools"
	topic := newTopic(t, k.b, "tools", 1)
	k.run("one\ntwo\nthree\nfour\n", consoleProducer, "--topic", topic)

	got := k.run("", consoleConsumer, "--topic", topic, "--group", group, "--from-beginning", "--max-messages", "4")
	k.want(got, `(?m)^one\ntwo\nthree\nfour$`)
	k.want(k.run("", consumerGroups, "--describe", "--group", group), group+` +`+topic+` +0 +4 +4 +0 `)
	k.want(k.run("", consumerGroups, "--describe", "--group", group, "--state"), group+` .*\bEmpty +.*0`)
	k.want(k.run("", listGroups, "--list"), `(?m)^`+group+` +Classic +consumer`)

	reset := k.run("", consumerGroups, "--reset-offsets", "--group", group, "--topic", topic, "--shift-by", "-2", "--execute")
	k.want(reset, group+` +`+topic+` +0 +2`)
	// What had a classic member goes on with one of the new protocol.
	got = k.run("", consoleConsumer, "--topic", topic, "--group", group, "--max-messages", "2", "--command-property", "group.protocol=consumer")
	k.want(got, `(?m)^three\nfour$`)
	k.want(k.run("", listGroups, "--list"), `(?m)^`+group+` +Consumer +consumer`)
	k.want(k.run("", consumerGroups, "--describe", "--group", group), group+` +`+topic+` +0 +4 +4 +0 `)

	records := k.run("", consoleConsumer, "--topic", "__consumer_offsets", "--from-beginning", "--max-messages", k.count("__consumer_offsets"),
		"--formatter", offsetFormatter)
	k.want(records, `"group":"`+group+`","topic":"`+topic+`","partition":0\}.*"offset":2,`)
	k.want(records, `"group":"`+group+`","topic":"`+topic+`","partition":0\}.*"offset":4,`)

	k.want(k.run("", consumerGroups, "--delete-offsets", "--group", group, "--topic", topic), `Request succeed`)
	k.want(k.run("", consumerGroups, "--delete", "--group", group), `(?i)deletion of requested consumer groups .*'`+group+`'.* was successful`)
	if list := k.run("", consumerGroups, "--list"); strings.Contains(list, group) {
		t.Errorf("after its deletion the group is listed:\n%s", list)
	}
}

// run returns what a tool printed.
func (k *kafkaTools) run(stdin, class string, args ...string) string {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(k.t.Context(), programTime)
	defer cancel()
	argv := append(append(k.java[1:len(k.java):len(k.java)], class, "--bootstrap-server", k.b.Addr), args...)
	cmd := exec.CommandContext(ctx, k.java[0], argv...)
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &out
	if err := cmd.Run(); err != nil {
		k.t.Fatalf("%s: %v\n%s", short(class, args), err, out.String())
	}
	return out.String()
}

// count is how many records a topic holds.
func (k *kafkaTools) count(topic string) string {
	k.t.Helper()
	ends, err := admin(k.t, k.b).ListEndOffsets(k.t.Context(), topic)
	if err = errors.Join(err, ends.Error()); err != nil {
		k.t.Fatal(err)
	}
	count := int64(0)
	ends.Each(func(end kadm.ListedOffset) { count += end.Offset })
	return strconv.FormatInt(count, 10)
}

func short(class string, args []string) string {
	return fmt.Sprint(class[strings.LastIndexByte(class, '.')+1:], " ", strings.Join(args, " "))
}

func (k *kafkaTools) want(output, expr string) {
	k.t.Helper()
	if !regexp.MustCompile(expr).MatchString(output) {
		k.t.Errorf("no %s in:\n%s", expr, output)
	}
}
