package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
)

const (
	snapshotMagic   = "FFMD"
	snapshotVersion = 1
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
	if v := body[len(snapshotMagic)]; v != snapshotVersion {
		return nil, fmt.Errorf("%w: version %d, known is %d", ErrUnknownSnapshot, v, snapshotVersion)
	}
	r := &reader{buf: body[len(snapshotMagic)+1:]}
	i := r.image()
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorruptSnapshot, err)
	}
	return i, nil
}

func (r *reader) image() *Image {
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
	for range r.count(21) {
		if t := r.topic(); r.err == nil {
			r.placeTopic(i, t)
		}
	}
	for range r.count(20) {
		t := &DeletedTopic{Name: r.string(), ID: r.id(), Partitions: r.int32(), Pending: r.nodes(), DeletedMs: r.int()}
		if r.err == nil {
			i.deleted = i.deleted.with(t.ID, t)
		}
	}
	return i
}

// placeTopic adds a topic of a snapshot, whose parts have to fit together.
func (r *reader) placeTopic(i *Image, t *Topic) {
	switch {
	case i.Topic(t.Name) != nil || i.TopicByID(t.ID) != nil:
		r.fail(fmt.Errorf("topic %q is there twice", t.Name))
	case len(t.Partitions) == 0:
		r.fail(fmt.Errorf("topic %q has no partitions", t.Name))
	default:
		i.addTopic(t)
	}
}
