package cluster

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
)

func setConfig(name, value string) []ConfigOp {
	return []ConfigOp{{Kind: ConfigSet, Name: name, Value: value}}
}

func TestAlterGroupConfigs(t *testing.T) {
	c := newTestCluster(t, 1)
	for _, test := range []struct {
		name, group string
		ops         []ConfigOp
		code        *kerr.Error
		words       string
	}{
		{"no name", "", setConfig("consumer.session.timeout.ms", "9000"), kerr.InvalidRequest, "1 to 32767 bytes"},
		{"a long name", strings.Repeat("g", 100_000), setConfig("consumer.session.timeout.ms", "9000"), kerr.InvalidRequest, "1 to 32767 bytes"},
		{"unknown", "g", setConfig("consumer.session.timeout", "9000"), kerr.InvalidConfig, `did you mean "consumer.session.timeout.ms"`},
		{"of topics", "g", setConfig("retention.ms", "9000"), kerr.InvalidConfig, "unknown group config"},
		{"bad", "g", setConfig("consumer.session.timeout.ms", "0"), kerr.InvalidConfig, "at least 1"},
		{"append", "g", []ConfigOp{{Kind: ConfigAppend, Name: "consumer.session.timeout.ms", Value: "1"}}, kerr.InvalidConfig, "only lists"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := NewAlterGroupConfigs(c.Image(), test.group, false, test.ops)
			wantError(t, err, test.code, test.words)
		})
	}
	alter := func(group string, replace bool, ops []ConfigOp) {
		t.Helper()
		cmd, err := NewAlterGroupConfigs(c.Image(), group, replace, ops)
		if err != nil {
			t.Fatal(err)
		}
		c.must(cmd)
	}
	alter("a", false, setConfig("consumer.session.timeout.ms", "9000"))
	alter("a", false, setConfig("consumer.heartbeat.interval.ms", "900"))
	alter("b", false, setConfig("consumer.heartbeat.interval.ms", "800"))
	before := c.Image()
	if got := before.GroupConfigs("a"); len(got) != 2 || got["consumer.session.timeout.ms"] != "9000" {
		t.Errorf("a has %v", got)
	}
	alter("a", true, setConfig("consumer.heartbeat.interval.ms", "700"))
	if got := c.Image().GroupConfigs("a"); len(got) != 1 || got["consumer.heartbeat.interval.ms"] != "700" {
		t.Errorf("a has %v after it was replaced", got)
	}
	if got := before.GroupConfigs("a"); len(got) != 2 {
		t.Errorf("the image of before has changed: %v", got)
	}
	alter("b", false, []ConfigOp{{Kind: ConfigDelete, Name: "consumer.heartbeat.interval.ms"}})
	if got := c.Image().GroupsWithConfigs(); !slices.Equal(got, []string{"a"}) {
		t.Errorf("groups with configs: %v", got)
	}
	restored := NewMachine()
	if err := restored.Restore(c.Snapshot()); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(restored.Snapshot(), c.Snapshot()) || restored.Image().GroupConfigs("a")["consumer.heartbeat.interval.ms"] != "700" {
		t.Error("a snapshot loses the configs of groups")
	}
}

// TestSnapshotOfVersion1: it ends before the configs of groups.
func TestSnapshotOfVersion1(t *testing.T) {
	c := newTestCluster(t, 2)
	c.create(TopicSpec{Name: "t", Partitions: 3, ReplicationFactor: 1})
	now := c.Snapshot()
	old := bytes.Clone(now[:len(now)-checksumBytes-1]) // without the count of groups, 0
	old[len(snapshotMagic)] = 1
	old = binary.BigEndian.AppendUint32(old, crc32.Checksum(old, castagnoli))
	restored := NewMachine()
	if err := restored.Restore(old); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(restored.Snapshot(), now) {
		t.Error("the image is another")
	}
}
