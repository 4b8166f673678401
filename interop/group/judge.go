package group

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Judge follows the members of one group on one topic. It is used by one
// goroutine.
type Judge struct {
	// BrokerKilled says that commits may have failed: then what was handled may
	// be handled again (rule 5), but not what was committed.
	BrokerKilled bool

	parts      []partition
	generation map[string]int32 // by member
	gone       map[string]bool  // killed, or thrown out of the group
	left       map[string]bool
	described  []Event
	repeated   int
}

// partition is what is known of one partition.
type partition struct {
	owner     string           // "": none
	at        int64            // what the owner handles next; -1: it has not begun
	handlers  []string         // by offset: who handled the record first
	committed int64            // the highest
	claims    map[int32]string // by generation
}

// NewJudge follows a topic of that many partitions.
func NewJudge(partitions int) *Judge {
	j := &Judge{
		parts: make([]partition, partitions), generation: map[string]int32{},
		gone: map[string]bool{}, left: map[string]bool{},
	}
	for i := range j.parts {
		j.parts[i] = partition{at: -1, claims: map[int32]string{}}
	}
	return j
}

// Add takes the next event. Its error names what must not be.
func (j *Judge) Add(e Event) error {
	switch e.Event {
	case Assigned:
		return j.assigned(e)
	case Revoked, Lost:
		return j.given(e)
	case Handled:
		return j.handled(e)
	case Committed:
		return j.commits(e)
	case Described:
		j.described = append(j.described, e)
	case Left:
		j.left[e.Member] = true
		j.release(e.Member)
	case Killed:
		j.gone[e.Member] = true
		j.release(e.Member)
	default:
		return fmt.Errorf("member %s: no event is called %q", e.Member, e.Event)
	}
	return nil
}

func (j *Judge) partition(e Event, id int32) (*partition, error) {
	if id < 0 || int(id) >= len(j.parts) {
		return nil, fmt.Errorf("member %s, %s: the topic has no partition %d", e.Member, e.Event, id)
	}
	return &j.parts[id], nil
}

func (j *Judge) assigned(e Event) error {
	if before := j.generation[e.Member]; e.Generation != 0 && e.Generation < before {
		return fmt.Errorf("member %s: generation %d after %d", e.Member, e.Generation, before)
	}
	j.generation[e.Member] = max(j.generation[e.Member], e.Generation)
	for _, id := range e.Partitions {
		p, err := j.partition(e, id)
		if err != nil {
			return err
		}
		if p.owner != "" && p.owner != e.Member {
			return fmt.Errorf("partition %d was given to %s (generation %d), and %s has it", id, e.Member, e.Generation, p.owner)
		}
		if other := p.claims[e.Generation]; e.Generation != 0 && other != "" && other != e.Member {
			return fmt.Errorf("partition %d was given to %s and to %s in generation %d", id, other, e.Member, e.Generation)
		}
		p.owner, p.at = e.Member, -1
		p.claims[e.Generation] = e.Member
	}
	return nil
}

func (j *Judge) given(e Event) error {
	if e.Event == Lost {
		j.gone[e.Member] = true
	}
	for _, id := range e.Partitions {
		p, err := j.partition(e, id)
		if err != nil {
			return err
		}
		// One that was thrown out may learn of it after the next owner.
		if p.owner == e.Member {
			p.owner, p.at = "", -1
		} else if e.Event == Revoked {
			return fmt.Errorf("member %s gave partition %d up, which %q has", e.Member, id, p.owner)
		}
	}
	return nil
}

func (j *Judge) release(member string) {
	for i := range j.parts {
		if p := &j.parts[i]; p.owner == member {
			p.owner, p.at = "", -1
		}
	}
}

func (j *Judge) handled(e Event) error {
	p, err := j.partition(e, e.Partition)
	if err != nil {
		return err
	}
	if p.owner != e.Member {
		return fmt.Errorf("partition %d offset %d was handled by %s, and %q has the partition", e.Partition, e.Offset, e.Member, p.owner)
	}
	if want := e.Offset*int64(len(j.parts)) + int64(e.Partition); e.Number != want {
		return fmt.Errorf("partition %d offset %d holds record %d, not %d", e.Partition, e.Offset, e.Number, want)
	}
	end := int64(len(p.handlers))
	switch {
	case p.at >= 0 && e.Offset != p.at:
		return fmt.Errorf("partition %d: %s handled offset %d, and %d was next", e.Partition, e.Member, e.Offset, p.at)
	case e.Offset > end:
		return fmt.Errorf("partition %d: %s began at offset %d, and none from %d on was handled", e.Partition, e.Member, e.Offset, end)
	case e.Offset < p.committed:
		return fmt.Errorf("partition %d: %s handled offset %d again, and %d was committed", e.Partition, e.Member, e.Offset, p.committed)
	}
	p.at = e.Offset + 1
	if e.Offset == end {
		p.handlers = append(p.handlers, e.Member)
		return nil
	}
	j.repeated++
	if first := p.handlers[e.Offset]; !j.gone[first] && !j.BrokerKilled {
		return fmt.Errorf("partition %d offset %d: handled again by %s; %s, which was not killed, had handled it", e.Partition, e.Offset, e.Member, first)
	}
	return nil
}

func (j *Judge) commits(e Event) error {
	var errs []error
	for _, id := range slices.Sorted(maps.Keys(e.Offsets)) {
		p, err := j.partition(e, id)
		if err != nil {
			return err
		}
		offset := e.Offsets[id]
		switch {
		case p.owner != e.Member:
			err = fmt.Errorf("partition %d: %s committed offset %d, and %q has the partition", id, e.Member, offset, p.owner)
		case offset < p.committed:
			err = fmt.Errorf("partition %d: %s committed offset %d after %d", id, e.Member, offset, p.committed)
		case offset > int64(len(p.handlers)):
			err = fmt.Errorf("partition %d: %s committed offset %d, and %d are handled", id, e.Member, offset, len(p.handlers))
		}
		p.committed = max(p.committed, offset)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// SharedBy tells whether these members have all partitions among them, each of
// them at least one.
func (j *Judge) SharedBy(members ...string) bool {
	has := map[string]bool{}
	for _, p := range j.parts {
		if !slices.Contains(members, p.owner) {
			return false
		}
		has[p.owner] = true
	}
	return len(has) == len(members)
}

// Working tells whether every partition's owner has handled one of its records
// since it became the owner.
func (j *Judge) Working() bool {
	return !slices.ContainsFunc(j.parts, func(p partition) bool { return p.at < 0 })
}

// Ends are how many records of each partition are handled.
func (j *Judge) Ends() []int64 {
	ends := make([]int64, len(j.parts))
	for i, p := range j.parts {
		ends[i] = int64(len(p.handlers))
	}
	return ends
}

// Commits are the offsets of each partition that members have said to be
// committed.
func (j *Judge) Commits() []int64 {
	commits := make([]int64, len(j.parts))
	for i, p := range j.parts {
		commits[i] = p.committed
	}
	return commits
}

// Repeated is how many times a record was handled that had been before.
func (j *Judge) Repeated() int { return j.repeated }

// HasLeft tells whether the member has left in order.
func (j *Judge) HasLeft(member string) bool { return j.left[member] }

// Descriptions are those that members printed, in order.
func (j *Judge) Descriptions() []Event { return j.described }

// Owners are the members that have the partitions, for messages.
func (j *Judge) Owners() []string {
	owners := make([]string, len(j.parts))
	for i, p := range j.parts {
		owners[i] = p.owner
	}
	return owners
}
