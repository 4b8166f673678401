package cluster

import (
	"cmp"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/fanfold/fanfold/protocol"
)

// Place chooses the replicas of so many new partitions, the preferred leader
// first: leaders and replicas go where there are fewest, and the replicas of a
// partition to as many racks as there are. The same image gives the same
// answer. INVALID_REPLICATION_FACTOR where there are too few nodes.
func Place(i *Image, partitions, replicationFactor int) ([][]int32, error) {
	if replicationFactor < 1 {
		return nil, protocol.Errorf(kerr.InvalidReplicationFactor, "replication factor %d is not positive", replicationFactor)
	}
	if replicationFactor > len(i.nodes) {
		return nil, protocol.Errorf(kerr.InvalidReplicationFactor,
			"replication factor %d needs as many nodes, the cluster has %d", replicationFactor, len(i.nodes))
	}
	p := newPlacer(i)
	assignment := make([][]int32, partitions)
	room := make([]int32, partitions*replicationFactor)
	for n := range assignment {
		assignment[n], room = room[:0:replicationFactor], room[replicationFactor:]
		assignment[n] = p.place(assignment[n], replicationFactor)
	}
	return assignment, nil
}

type placer struct {
	nodes []candidate
	turn  int // which node is taken first among equals
}

type candidate struct {
	id                int32
	rack              string
	replicas, leaders int
	taken             bool // by the partition at hand
	turn              int
}

func newPlacer(i *Image) *placer {
	p := &placer{nodes: make([]candidate, len(i.nodes))}
	for at, n := range i.nodes {
		p.nodes[at] = candidate{id: n.ID, rack: n.Rack, replicas: n.replicas, leaders: n.leaders}
	}
	return p
}

// place appends the replicas of one partition.
func (p *placer) place(replicas []int32, factor int) []int32 {
	for at := range p.nodes {
		p.nodes[at].taken = false
		p.nodes[at].turn = (at + p.turn) % len(p.nodes)
	}
	p.turn++
	for len(replicas) < factor {
		first := len(replicas) == 0
		best := p.best(first)
		best.taken = true
		best.replicas++
		if first {
			best.leaders++
		}
		replicas = append(replicas, best.id)
	}
	return replicas
}

func (p *placer) best(leader bool) *candidate {
	var best *candidate
	for at := range p.nodes {
		c := &p.nodes[at]
		if !c.taken && (best == nil || p.compare(c, best, leader) < 0) {
			best = c
		}
	}
	return best
}

func (p *placer) compare(a, b *candidate, leader bool) int {
	if leader {
		return cmp.Or(cmp.Compare(a.leaders, b.leaders), cmp.Compare(a.replicas, b.replicas), cmp.Compare(a.turn, b.turn))
	}
	return cmp.Or(
		cmp.Compare(p.inRack(a), p.inRack(b)),
		cmp.Compare(a.replicas, b.replicas),
		cmp.Compare(a.turn, b.turn))
}

// inRack counts the partition's replicas that stand in the node's rack. A node
// without a rack stands alone.
func (p *placer) inRack(c *candidate) int {
	if c.rack == "" {
		return 0
	}
	n := 0
	for at := range p.nodes {
		if p.nodes[at].taken && p.nodes[at].rack == c.rack {
			n++
		}
	}
	return n
}

// assignmentError returns why the replicas of new partitions cannot be as
// given: INVALID_REPLICA_ASSIGNMENT.
func (i *Image) assignmentError(assignment [][]int32) error {
	for p, replicas := range assignment {
		if len(replicas) == 0 {
			return protocol.Errorf(kerr.InvalidReplicaAssignment, "partition %d of the assignment has no replicas", p)
		}
		if len(replicas) != len(assignment[0]) {
			return protocol.Errorf(kerr.InvalidReplicaAssignment,
				"partition %d of the assignment has %d replicas, the first has %d", p, len(replicas), len(assignment[0]))
		}
		for at, id := range replicas {
			if i.Node(id) == nil {
				return protocol.Errorf(kerr.InvalidReplicaAssignment,
					"partition %d of the assignment names node %d, which is not registered", p, id)
			}
			if slices.Contains(replicas[:at], id) {
				return protocol.Errorf(kerr.InvalidReplicaAssignment,
					"partition %d of the assignment names node %d twice", p, id)
			}
		}
	}
	return nil
}
