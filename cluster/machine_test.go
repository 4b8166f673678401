package cluster

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/fanfold/fanfold/cluster/configs"
)

func TestMachineStopsAtWhatItDoesNotKnow(t *testing.T) {
	for _, test := range []struct {
		name    string
		command []byte
		want    error
	}{
		{"kind of tomorrow", []byte{200, 1, 5}, ErrUnknownCommand},
		{"version of tomorrow", []byte{byte(kindDeleteTopic), commandVersion + 1}, ErrUnknownCommand},
		{"nothing", nil, ErrCorruptCommand},
		{"zeros", make([]byte, 20), ErrCorruptCommand},
		{"short", Encode(&DeleteTopic{})[:5], ErrCorruptCommand},
		{"long", append(Encode(&DeleteTopic{}), 1), ErrCorruptCommand},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newTestCluster(t, 1)
			snapshot := c.Snapshot()
			before := c.Image()
			if err := c.Apply(10, test.command).Err; !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			if err := c.Apply(11, Encode(&AllocateProducerIDs{Node: 1, Count: 1})).Err; !errors.Is(err, test.want) {
				t.Errorf("the next command got %v", err)
			}
			if c.Image() != before {
				t.Error("the image changed")
			}
			if err := c.Restore(snapshot); err != nil {
				t.Fatal(err)
			}
			if err := c.Apply(10, Encode(&AllocateProducerIDs{Node: 1, Count: 1})).Err; err != nil {
				t.Errorf("after a restore: %v", err)
			}
		})
	}
}

func TestMachineRefusesAnOldIndex(t *testing.T) {
	c := newTestCluster(t, 1)
	if err := c.Apply(c.index, Encode(&AllocateProducerIDs{Node: 1, Count: 1})).Err; err == nil {
		t.Error("the same index is applied twice")
	}
}

// model is the naive metadata that machines are held to.
type model struct {
	topics     map[string]*modelTopic
	deleted    map[TopicID]map[int32]bool
	dynamic    map[int32]map[string]string
	nodes      map[int32]uint64
	producerID int64
}

type modelTopic struct {
	id         TopicID
	partitions [][]int32
	configs    map[string]string
}

// run is a random log, applied to a machine and to the model.
type run struct {
	t     *rapid.T
	m     *Machine
	model model
	log   [][]byte
	ids   uint32
}

func newRun(t *rapid.T) *run {
	r := &run{t: t, m: NewMachine(), model: model{
		topics: map[string]*modelTopic{}, deleted: map[TopicID]map[int32]bool{},
		dynamic: map[int32]map[string]string{}, nodes: map[int32]uint64{},
	}}
	r.apply(&BootstrapCluster{ClusterID: "c", TimeMs: 1})
	r.registerNode()
	return r
}

func (r *run) apply(c Command) Result {
	r.log = append(r.log, Encode(c))
	return r.m.Apply(uint64(len(r.log)), r.log[len(r.log)-1])
}

func (r *run) must(c Command, err error) Result {
	if err != nil {
		r.t.Fatalf("make %T: %v", c, err)
	}
	if err := r.m.Image().Validate(c); err != nil {
		r.t.Fatalf("validate %T: %v", c, err)
	}
	result := r.apply(c)
	if result.Err != nil {
		r.t.Fatalf("apply %+v: %v", c, result.Err)
	}
	return result
}

func (r *run) registerNode() {
	id := rapid.Int32Range(1, 4).Draw(r.t, "node")
	n := r.must(&RegisterNode{Node: testNode(id, "")}, nil).Node
	r.model.nodes[id]++
	if n.Incarnation != r.model.nodes[id] {
		r.t.Fatalf("node %d has incarnation %d, want %d", id, n.Incarnation, r.model.nodes[id])
	}
}

func (r *run) createTopic() {
	r.ids++
	spec := TopicSpec{
		Name:              rapid.StringMatching(`[ab._]{1,3}`).Draw(r.t, "name"),
		Partitions:        rapid.Int32Range(1, 5).Draw(r.t, "partitions"),
		ReplicationFactor: int16(rapid.IntRange(1, len(r.model.nodes)).Draw(r.t, "factor")),
		Configs:           rapid.SampledFrom([]map[string]string{nil, {"segment.ms": "5"}}).Draw(r.t, "configs"),
	}
	c, err := NewCreateTopic(r.m.Image(), TopicID(binary.BigEndian.AppendUint32(make([]byte, 12), r.ids)), 1, spec, Defaults{})
	taken := spec.Name == "." || spec.Name == ".."
	for name := range r.model.topics {
		taken = taken || foldName(name) == foldName(spec.Name)
	}
	if taken {
		if err == nil {
			r.t.Fatalf("topic %q was created beside %v", spec.Name, slices.Collect(maps.Keys(r.model.topics)))
		}
		return
	}
	r.must(c, err)
	r.model.topics[spec.Name] = &modelTopic{c.ID, c.Assignment, maps.Clone(spec.Configs)}
}

// drawTopic picks a topic that exists.
func (r *run) drawTopic() (string, *modelTopic) {
	names := slices.Sorted(maps.Keys(r.model.topics))
	if len(names) == 0 {
		r.t.Skip("there is no topic")
	}
	name := rapid.SampledFrom(names).Draw(r.t, "topic")
	return name, r.model.topics[name]
}

func (r *run) deleteTopic() {
	name, topic := r.drawTopic()
	r.must(&DeleteTopic{ID: topic.id}, nil)
	pending := map[int32]bool{}
	for _, replicas := range topic.partitions {
		for _, id := range replicas {
			pending[id] = true
		}
	}
	r.model.deleted[topic.id] = pending
	delete(r.model.topics, name)
}

func (r *run) purge() {
	ids := slices.SortedFunc(maps.Keys(r.model.deleted), compareTopicIDs)
	if len(ids) == 0 {
		r.t.Skip("nothing is deleted")
	}
	id, node := rapid.SampledFrom(ids).Draw(r.t, "deleted"), rapid.Int32Range(1, 4).Draw(r.t, "by")
	r.must(&TopicPurged{ID: id, Node: node}, nil)
	delete(r.model.deleted[id], node)
	if len(r.model.deleted[id]) == 0 {
		delete(r.model.deleted, id)
	}
}

func (r *run) createPartitions() {
	name, topic := r.drawTopic()
	count := len(topic.partitions) + rapid.IntRange(1, 3).Draw(r.t, "more")
	c, err := NewCreatePartitions(r.m.Image(), r.m.Image().Topic(name), int32(count), nil, Limits{})
	r.must(c, err)
	topic.partitions = append(slices.Clone(topic.partitions), c.Assignment...)
}

func (r *run) alterConfigs() {
	name, topic := r.drawTopic()
	op := ConfigOp{
		Name:  rapid.SampledFrom([]string{"segment.ms", "retention.ms"}).Draw(r.t, "config"),
		Kind:  rapid.SampledFrom([]ConfigOpKind{ConfigSet, ConfigDelete}).Draw(r.t, "kind"),
		Value: fmt.Sprint(rapid.IntRange(1, 9).Draw(r.t, "value")),
	}
	replace := rapid.Bool().Draw(r.t, "replace")
	c, err := NewAlterTopicConfigs(r.m.Image(), r.m.Image().Topic(name), replace, []ConfigOp{op}, configs.BrokerConfig{})
	r.must(c, err)
	topic.configs = modelAlter(topic.configs, replace, op)
}

func (r *run) alterBroker() {
	node := rapid.SampledFrom(append([]int32{AllNodes}, slices.Sorted(maps.Keys(r.model.nodes))...)).Draw(r.t, "node")
	op := ConfigOp{
		Name:  rapid.SampledFrom([]string{"log.roll.ms", "log.retention.ms"}).Draw(r.t, "config"),
		Kind:  rapid.SampledFrom([]ConfigOpKind{ConfigSet, ConfigDelete}).Draw(r.t, "kind"),
		Value: fmt.Sprint(rapid.IntRange(1, 9).Draw(r.t, "value")),
	}
	replace := rapid.Bool().Draw(r.t, "replace")
	c, err := NewAlterBrokerConfigs(r.m.Image(), node, replace, []ConfigOp{op})
	r.must(c, err)
	r.model.dynamic[node] = modelAlter(r.model.dynamic[node], replace, op)
}

func modelAlter(have map[string]string, replace bool, op ConfigOp) map[string]string {
	after := map[string]string{}
	for k, v := range have {
		if !replace {
			after[k] = v
		}
	}
	if op.Kind == ConfigSet {
		after[op.Name] = op.Value
	} else {
		delete(after, op.Name)
	}
	return after
}

func (r *run) allocate() {
	got := r.must(&AllocateProducerIDs{Node: slices.Min(slices.Collect(maps.Keys(r.model.nodes))), Count: ProducerIDBlockSize}, nil)
	if got.ProducerIDs.First != r.model.producerID {
		r.t.Fatalf("the block begins at %d, want %d", got.ProducerIDs.First, r.model.producerID)
	}
	r.model.producerID += ProducerIDBlockSize
}

// restart replaces the machine by one restored from its snapshot.
func (r *run) restart() {
	restored := NewMachine()
	if err := restored.Restore(r.m.Snapshot()); err != nil {
		r.t.Fatal(err)
	}
	r.m = restored
}

// check compares the image with the model, and with those of a replayed log.
func (r *run) check(*rapid.T) {
	i := r.m.Image()
	if i.NumTopics() != len(r.model.topics) || i.NextProducerID() != r.model.producerID {
		r.t.Fatalf("%d topics, next producer id %d; want %d, %d", i.NumTopics(), i.NextProducerID(), len(r.model.topics), r.model.producerID)
	}
	partitions, replicas := 0, map[int32]int{}
	for topic := range i.Topics() {
		want := r.model.topics[topic.Name]
		if want == nil || topic.ID != want.id || i.TopicByID(topic.ID) != topic || i.Topic(topic.Name) != topic ||
			!maps.Equal(topic.Configs, want.configs) || len(topic.Partitions) != len(want.partitions) {
			r.t.Fatalf("topic %+v, want %+v", topic, want)
		}
		for p, meta := range topic.Partitions {
			for at, replica := range meta.Replicas {
				replicas[replica.Node]++
				if replica.Node != want.partitions[p][at] || replica.Incarnation != 1 {
					r.t.Fatalf("partition %d of %s is on %v, want %v", p, topic.Name, meta.Replicas, want.partitions[p])
				}
			}
		}
		partitions += len(topic.Partitions)
	}
	for _, n := range i.Nodes() {
		if n.Replicas() != replicas[n.ID] {
			r.t.Fatalf("node %d counts %d replicas, has %d", n.ID, n.Replicas(), replicas[n.ID])
		}
	}
	deleted := map[TopicID]map[int32]bool{}
	for d := range i.DeletedTopics() {
		deleted[d.ID] = map[int32]bool{}
		for _, id := range d.Pending {
			deleted[d.ID][id] = true
		}
	}
	if i.NumPartitions() != partitions || !reflect.DeepEqual(deleted, r.model.deleted) {
		r.t.Fatalf("%d partitions, deleted %v; want %d, %v", i.NumPartitions(), deleted, partitions, r.model.deleted)
	}
	for node, want := range r.model.dynamic {
		if got := i.dynamic(node); !maps.Equal(got, want) {
			r.t.Fatalf("node %d has configs %v, want %v", node, got, want)
		}
	}
}

func TestMachineAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newRun(t)
		t.Repeat(map[string]func(*rapid.T){
			"":                 r.check,
			"registerNode":     func(*rapid.T) { r.registerNode() },
			"createTopic":      func(*rapid.T) { r.createTopic() },
			"deleteTopic":      func(*rapid.T) { r.deleteTopic() },
			"purge":            func(*rapid.T) { r.purge() },
			"createPartitions": func(*rapid.T) { r.createPartitions() },
			"alterConfigs":     func(*rapid.T) { r.alterConfigs() },
			"alterBroker":      func(*rapid.T) { r.alterBroker() },
			"allocate":         func(*rapid.T) { r.allocate() },
			"restart":          func(*rapid.T) { r.restart() },
		})
		replayed := NewMachine()
		for at, command := range r.log {
			if err := replayed.Apply(uint64(at+1), command).Err; err != nil {
				t.Fatalf("replay of command %d: %v", at+1, err)
			}
		}
		if !bytes.Equal(replayed.Snapshot(), r.m.Snapshot()) {
			t.Fatal("the same commands made another snapshot")
		}
	})
}

func TestSnapshotNamesItsDamage(t *testing.T) {
	c := newTestCluster(t, 3)
	spec := topicSpec("t")
	spec.Partitions, spec.Configs = 4, map[string]string{"segment.ms": "5"}
	c.must(&DeleteTopic{ID: c.create(topicSpec("gone")).ID})
	c.create(spec)
	c.must(&AlterBrokerConfigs{Node: 2, Ops: []ConfigOp{{Name: "log.roll.ms", Value: "5"}}})
	snapshot := c.Snapshot()
	fresh := NewMachine()
	for at := range snapshot {
		flipped := bytes.Clone(snapshot)
		flipped[at] ^= 1 << (at % 8)
		if err := fresh.Restore(flipped); !errors.Is(err, ErrCorruptSnapshot) {
			t.Errorf("a flipped bit in byte %d: %v", at, err)
		}
		if err := fresh.Restore(snapshot[:at]); !errors.Is(err, ErrCorruptSnapshot) {
			t.Errorf("cut at %d: %v", at, err)
		}
	}
	if fresh.Image().ClusterID() != "" {
		t.Error("a damaged snapshot changed the machine")
	}
	newer := bytes.Clone(snapshot[:len(snapshot)-checksumBytes])
	newer[len(snapshotMagic)]++
	newer = binary.BigEndian.AppendUint32(newer, crc32.Checksum(newer, castagnoli))
	if err := fresh.Restore(newer); !errors.Is(err, ErrUnknownSnapshot) {
		t.Errorf("a newer version: %v", err)
	}
	if err := fresh.Restore(snapshot); err != nil || !reflect.DeepEqual(fresh.Image().Nodes(), c.Image().Nodes()) ||
		!bytes.Equal(fresh.Snapshot(), snapshot) {
		t.Errorf("the restored image differs: %v", err)
	}
}

func seedCommands() []Command {
	return []Command{
		&BootstrapCluster{ClusterID: "c", FeatureLevel: 1, TimeMs: -1},
		&RegisterNode{Node: testNode(1, "r")},
		&CreateTopic{Name: "t", ID: TopicID{1}, Assignment: [][]int32{{1, 2}, {2, 1}}, Configs: map[string]string{"a": "b"}, Limits: Limits{1, 2}},
		&DeleteTopic{ID: TopicID{1}, TimeMs: 5},
		&TopicPurged{ID: TopicID{1}, Node: 3},
		&CreatePartitions{ID: TopicID{1}, From: 1, Assignment: [][]int32{{1}}},
		&AlterTopicConfigs{ID: TopicID{1}, Replace: true, Ops: []ConfigOp{{ConfigAppend, "a", "b", "c"}}},
		&AlterBrokerConfigs{Node: AllNodes, Ops: []ConfigOp{{ConfigSet, "a", "b", ""}}},
		&AllocateProducerIDs{Node: 1, Count: 1000},
	}
}

func TestCommandsComeBackAsTheyWere(t *testing.T) {
	for _, want := range seedCommands() {
		got, err := Decode(Encode(want))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v\nwant %+v", got, err, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, c := range seedCommands() {
		f.Add(Encode(c))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Decode(b)
		if err != nil {
			if !errors.Is(err, ErrCorruptCommand) && !errors.Is(err, ErrUnknownCommand) {
				t.Errorf("got %v", err)
			}
			return
		}
		again, err := Decode(Encode(c))
		if err != nil || !reflect.DeepEqual(again, c) {
			t.Errorf("%+v comes back as %+v, %v", c, again, err)
		}
		m := newTestCluster(&testing.T{}, 2)
		verdict := m.Apply(100, b).Err
		if m.Image().Index() != 100 {
			t.Errorf("after %+v, %v, the index is %d", c, verdict, m.Image().Index())
		}
		if err := NewMachine().Restore(m.Snapshot()); err != nil {
			t.Errorf("after %+v the snapshot is refused: %v", c, err)
		}
	})
}

// FuzzRestore puts the right checksum under whatever comes, so that more than
// the checksum is tried.
func FuzzRestore(f *testing.F) {
	c := newTestCluster(&testing.T{}, 2)
	c.must(&DeleteTopic{ID: c.create(topicSpec("gone")).ID})
	c.create(topicSpec("t"))
	snapshot := c.Snapshot()
	f.Add(snapshot[:len(snapshot)-checksumBytes])
	f.Add(NewMachine().Snapshot()[:5])
	f.Fuzz(func(t *testing.T, body []byte) {
		b := binary.BigEndian.AppendUint32(bytes.Clone(body), crc32.Checksum(body, castagnoli))
		m := NewMachine()
		if err := m.Restore(b); err != nil {
			return
		}
		again := NewMachine()
		if err := again.Restore(m.Snapshot()); err != nil {
			t.Fatalf("what was restored is refused: %v", err)
		}
		if !bytes.Equal(again.Snapshot(), m.Snapshot()) {
			t.Error("the second snapshot differs")
		}
	})
}
