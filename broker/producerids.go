package broker

import (
	"context"
	"sync"

	"github.com/fanfold/fanfold/cluster"
)

// producerIDs gives out producer ids from blocks that the metadata gave this
// node. What is left of a block when the process ends is never used: ids are
// given out once in the life of a cluster.
type producerIDs struct {
	node *LocalNode

	mu struct {
		sync.Mutex
		next, end int64
	}
}

// AllocateProducerID gives out a producer id that nobody had.
func (n *LocalNode) AllocateProducerID(ctx context.Context) (int64, error) {
	p := &n.ids
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.next == p.mu.end {
		result, err := n.Propose(ctx, &cluster.AllocateProducerIDs{Node: n.opts.NodeID, Count: cluster.ProducerIDBlockSize})
		if err != nil {
			return -1, err
		}
		p.mu.next = result.ProducerIDs.First
		p.mu.end = result.ProducerIDs.First + int64(result.ProducerIDs.Count)
	}
	id := p.mu.next
	p.mu.next++
	return id, nil
}
