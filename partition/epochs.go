package partition

import (
	"cmp"
	"slices"
)

// epochStart is where a leader epoch begins. As in Kafka only the newest of a
// row of epochs may hold no record, so that restarts do not lengthen the table.
type epochStart struct {
	epoch  int32
	offset int64
}

// appendEpoch adds an epoch. Epochs and offsets only grow in a log; those that
// begin where this one does hold nothing.
func appendEpoch(epochs []epochStart, e epochStart) []epochStart {
	if n := len(epochs); n > 0 && epochs[n-1].epoch >= e.epoch {
		return epochs
	}
	n := len(epochs)
	for n > 0 && epochs[n-1].offset >= e.offset {
		n--
	}
	return append(epochs[:n], e)
}

// trimEpochs drops what lies below the log start; the epoch there begins at it.
func trimEpochs(epochs []epochStart, logStart int64) []epochStart {
	n := 0
	for n < len(epochs) && epochs[n].offset <= logStart {
		n++
	}
	if n == 0 {
		return epochs
	}
	kept := slices.Delete(epochs, 0, n-1)
	kept[0].offset = logStart
	return kept
}

// epochAt is the epoch of the record at offset, −1 if unknown.
func (p *Partition) epochAt(offset int64) int32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	epoch := int32(-1)
	for _, e := range p.mu.epochs {
		if e.offset > offset {
			break
		}
		epoch = e.epoch
	}
	return epoch
}

// EpochEndOffset is the largest epoch that is not above leaderEpoch, and where
// it ends; −1 and −1 for an epoch that has not begun here (KIP-101, KIP-279).
func (p *Partition) EpochEndOffset(currentLeaderEpoch, leaderEpoch int32) (epoch int32, endOffset int64, err error) {
	if err := p.checkEpoch(currentLeaderEpoch); err != nil {
		return -1, -1, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if leaderEpoch < 0 {
		return -1, -1, nil
	}
	next, found := slices.BinarySearchFunc(p.mu.epochs, leaderEpoch, func(e epochStart, want int32) int {
		return cmp.Compare(e.epoch, want)
	})
	if found {
		next++
	}
	switch {
	case next == len(p.mu.epochs) && !found:
		return -1, -1, nil
	case next == len(p.mu.epochs):
		return leaderEpoch, p.EndOffset(), nil
	case next == 0:
		return leaderEpoch, p.mu.epochs[0].offset, nil
	default:
		return p.mu.epochs[next-1].epoch, p.mu.epochs[next].offset, nil
	}
}
