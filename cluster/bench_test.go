package cluster

import (
	"encoding/binary"
	"fmt"
	"testing"
)

// grownMachine holds so many topics of ten partitions with three replicas.
func grownMachine(b *testing.B, topics int) (*Machine, uint64) {
	m, index := NewMachine(), uint64(0)
	apply := func(c Command) {
		index++
		if err := m.Apply(index, Encode(c)).Err; err != nil {
			b.Fatal(err)
		}
	}
	apply(&BootstrapCluster{ClusterID: "c"})
	for id := range int32(5) {
		apply(&RegisterNode{Node: testNode(id+1, fmt.Sprint(id))})
	}
	for n := range topics {
		apply(benchTopic(b, m, n, 10))
	}
	return m, index
}

func benchTopic(b *testing.B, m *Machine, n, partitions int) *CreateTopic {
	spec := TopicSpec{Name: fmt.Sprintf("topic-%d", n), Partitions: int32(partitions), ReplicationFactor: 3}
	id := TopicID(binary.BigEndian.AppendUint64([]byte("12345678"), uint64(n)))
	c, err := NewCreateTopic(m.Image(), id, 1, spec, Defaults{})
	if err != nil {
		b.Fatal(err)
	}
	return c
}

func BenchmarkCreateTopic(b *testing.B) {
	for _, topics := range []int{100, 10_000} {
		for _, partitions := range []int{1, 1000} {
			b.Run(fmt.Sprintf("topics=%d/partitions=%d", topics, partitions), func(b *testing.B) {
				m, index := grownMachine(b, topics)
				b.ReportAllocs()
				for b.Loop() {
					c := benchTopic(b, m, topics, partitions)
					m.Apply(index+1, Encode(c))
					m.Apply(index+2, Encode(&DeleteTopic{ID: c.ID}))
					for _, n := range m.Image().Nodes() {
						m.Apply(m.Image().Index()+1, Encode(&TopicPurged{ID: c.ID, Node: n.ID}))
					}
					index = m.Image().Index()
				}
			})
		}
	}
}

func BenchmarkSnapshot(b *testing.B) {
	m, _ := grownMachine(b, 10_000)
	b.Run("topics=10000/encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			b.SetBytes(int64(len(m.Snapshot())))
		}
	})
	snapshot := m.Snapshot()
	b.Run("topics=10000/restore", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(snapshot)))
		for b.Loop() {
			if err := NewMachine().Restore(snapshot); err != nil {
				b.Fatal(err)
			}
		}
	})
}
