package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strings"
)

const (
	snapshotMagic   = "FFMD"
	snapshotVersion = 2 // 1 had no configs of groups
	checksumBytes   = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Errors of [Machine.Restore].
var (
	// ErrCorruptSnapshot: the bytes are no snapshot, or a damaged one.
	ErrCorruptSnapshot = errors.New("corrupt metadata snapshot")
	// ErrUnknownSnapshot: the snapshot is of a newer release.
	ErrUnknownSnapshot = errors.New("metadata snapshot of a newer release")
)

// Snapshot returns the image as bytes; the same image gives the same bytes.
func (i *Image) Snapshot() []byte {
	w := &writer{buf: make([]byte, 0, 256+64*i.NumTopics()+8*i.partitions)}
	w.buf = append(w.buf, snapshotMagic...)
	w.byte(snapshotVersion)
	w.string(i.clusterID)
	w.int(i.createdMs)
	w.uint(i.index)
	w.uint(uint64(i.featureLevel))
	w.int(i.nextProducerID)
	w.count(len(i.nodes))
	for _, n := range i.nodes {
		w.node(n)
	}
	w.stringMap(i.brokerDefaults)
	w.count(len(i.brokerConfigs))
	for _, id := range slices.Sorted(maps.Keys(i.brokerConfigs)) {
		w.int(int64(id))
		w.stringMap(i.brokerConfigs[id])
	}
	w.count(i.topics.len())
	for _, t := range i.topics.all() {
		w.topic(t)
	}
	w.count(i.deleted.len())
	for _, t := range i.deleted.all() {
		w.string(t.Name)
		w.id(t.ID)
		w.int(int64(t.Partitions))
		w.nodes(t.Pending)
		w.int(t.DeletedMs)
	}
	w.count(len(i.groupConfigs))
	for _, group := range i.GroupsWithConfigs() {
		w.string(group)
		w.stringMap(i.groupConfigs[group])
	}
	return binary.BigEndian.AppendUint32(w.buf, crc32.Checksum(w.buf, castagnoli))
}

func (w *writer) topic(t *Topic) {
	w.string(t.Name)
	w.id(t.ID)
	w.bool(t.Internal)
	w.int(t.CreatedMs)
	w.uint(t.ConfigVersion)
	w.stringMap(t.Configs)
	w.count(len(t.Partitions))
	for _, p := range t.Partitions {
		w.count(len(p.Replicas))
		for _, r := range p.Replicas {
			w.int(int64(r.Node))
			w.uint(r.Incarnation)
		}
	}
}

func (r *reader) topic() *Topic {
	t := &Topic{Name: r.string(), ID: r.id(), Internal: r.bool(), CreatedMs: r.int(), ConfigVersion: r.uint()}
	t.Configs = r.stringMap()
	t.Partitions = make([]PartitionMeta, r.count(3))
	for p := range t.Partitions {
		replicas := make([]Replica, r.count(2))
		for i := range replicas {
			replicas[i] = Replica{Node: r.int32(), Incarnation: r.uint()}
		}
		t.Partitions[p].Replicas = replicas
		if len(replicas) == 0 {
			r.fail(fmt.Errorf("partition %d of topic %q has no replica", p, t.Name))
		}
	}
	if len(t.Partitions) == 0 {
		r.fail(fmt.Errorf("topic %q has no partitions", t.Name))
	}
	return t
}

func decodeSnapshot(b []byte) (*Image, error) {
	if len(b) < len(snapshotMagic)+1+checksumBytes || string(b[:len(snapshotMagic)]) != snapshotMagic {
		return nil, fmt.Errorf("%w: %d bytes that do not begin as one", ErrCorruptSnapshot, len(b))
	}
	body, sum := b[:len(b)-checksumBytes], binary.BigEndian.Uint32(b[len(b)-checksumBytes:])
	if got := crc32.Checksum(body, castagnoli); got != sum {
		return nil, fmt.Errorf("%w: its checksum is %08x, that of its bytes %08x", ErrCorruptSnapshot, sum, got)
	}
	version := body[len(snapshotMagic)]
	if version == 0 || version > snapshotVersion {
		return nil, fmt.Errorf("%w: version %d, known is %d", ErrUnknownSnapshot, version, snapshotVersion)
	}
	r := &reader{buf: body[len(snapshotMagic)+1:]}
	i := r.image(version)
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorruptSnapshot, err)
	}
	return i, nil
}

func (r *reader) image(version byte) *Image {
	i := emptyImage()
	i.clusterID, i.createdMs, i.index = r.string(), r.int(), r.uint()
	i.featureLevel, i.nextProducerID = r.uint16(), r.int()
	for range r.count(25) {
		n := r.node()
		if len(i.nodes) > 0 && n.ID <= i.nodes[len(i.nodes)-1].ID {
			r.fail(fmt.Errorf("node %d is out of order", n.ID))
		}
		i.nodes = append(i.nodes, &n)
	}
	i.brokerDefaults = r.stringMap()
	for range r.count(2) {
		if i.brokerConfigs == nil {
			i.brokerConfigs = make(map[int32]map[string]string)
		}
		id := r.int32()
		i.brokerConfigs[id] = r.stringMap()
	}
	r.topics(i)
	for range r.count(20) {
		t := &DeletedTopic{Name: r.string(), ID: r.id(), Partitions: r.int32(), Pending: r.nodes(), DeletedMs: r.int()}
		if r.err == nil {
			i.deleted = i.deleted.with(t.ID, t)
		}
	}
	if version >= 2 {
		r.groupConfigs(i)
	}
	return i
}

func (r *reader) groupConfigs(i *Image) {
	for range r.count(2) {
		if i.groupConfigs == nil {
			i.groupConfigs = make(map[string]map[string]string)
		}
		group := r.string()
		i.groupConfigs[group] = r.stringMap()
	}
}

// topics reads the image's topics, which have to come by ascending name, and
// all that is derived from them.
func (r *reader) topics(i *Image) {
	var names, folded []*treeNode[string, *Topic]
	var ids []*treeNode[TopicID, *Topic]
	for range r.count(21) {
		t := r.topic()
		if r.err == nil && len(names) > 0 && t.Name <= names[len(names)-1].key {
			r.fail(fmt.Errorf("topic %q is out of order", t.Name))
		}
		if r.err != nil {
			return
		}
		names = append(names, &treeNode[string, *Topic]{key: t.Name, value: t})
		folded = append(folded, &treeNode[string, *Topic]{key: foldName(t.Name), value: t})
		ids = append(ids, &treeNode[TopicID, *Topic]{key: t.ID, value: t})
		i.tally(t.Partitions, 1)
	}
	i.topics = treeOf(strings.Compare, names)
	i.folded = sortedTree(r, strings.Compare, folded)
	i.topicIDs = sortedTree(r, compareTopicIDs, ids)
}

// sortedTree returns the tree of entries in any order, of which no two may
// have the same key.
func sortedTree[K any](r *reader, compare func(K, K) int, entries []*treeNode[K, *Topic]) tree[K, *Topic] {
	slices.SortFunc(entries, func(a, b *treeNode[K, *Topic]) int { return compare(a.key, b.key) })
	for at := 1; at < len(entries); at++ {
		if compare(entries[at-1].key, entries[at].key) == 0 {
			r.fail(fmt.Errorf("topics %q and %q collide", entries[at-1].value.Name, entries[at].value.Name))
		}
	}
	return treeOf(compare, entries)
}
