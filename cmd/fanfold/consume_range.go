package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A position is a place in a log that is not known as an offset yet.
type position struct {
	kind positionKind
	n    int64 // an offset, a number of records, or milliseconds since 1970
}

type positionKind int

const (
	atBeginning positionKind = iota
	atEnd
	atOffset
	beforeEnd
	atTime
)

// parsePosition reads a position (see the help of consume).
func parsePosition(s string, now time.Time) (position, error) {
	switch s {
	case "beginning", "earliest", "start":
		return position{kind: atBeginning}, nil
	case "end", "latest":
		return position{kind: atEnd}, nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		if n < 0 {
			return position{beforeEnd, -n}, nil
		}
		return position{atOffset, n}, nil
	}
	t, err := parseTime(s, now)
	if err != nil {
		return position{}, fmt.Errorf("%q is no position; write beginning, end, an offset, -N for the last N, or a time such as 2026-01-31T12:00:00Z or -1h", s)
	}
	return position{atTime, t.UnixMilli()}, nil
}

// ranges are the offsets still to be read.
type ranges struct {
	pending map[partitionOf]*offsetRange
}

// offsetRange is [from, to) in one partition; to is −1 where there is no end.
type offsetRange struct{ from, to int64 }

func (r *ranges) done() bool { return len(r.pending) == 0 }

// offsets are the offsets to fetch from.
func (r *ranges) offsets() map[string]map[int32]kgo.Offset {
	all := make(map[string]map[int32]kgo.Offset)
	for p, o := range r.pending {
		if all[p.topic] == nil {
			all[p.topic] = make(map[int32]kgo.Offset)
		}
		all[p.topic][p.partition] = kgo.NewOffset().At(o.from)
	}
	return all
}

// topics are the topics with something left to read.
func (r *ranges) topics() []string {
	var topics []string
	for p := range r.pending {
		if !slices.Contains(topics, p.topic) {
			topics = append(topics, p.topic)
		}
	}
	return topics
}

// bounds are where the positions of a plan are in each of its partitions.
type bounds struct {
	partitions []partitionOf
	// from is never before the log's start; to is −1 where there is no end.
	from, to func(partitionOf) (int64, error)
}

// findBounds turns positions into offsets.
func findBounds(ctx context.Context, c *client, plan *consumePlan, committed bool) (*bounds, error) {
	partitions, err := selectPartitions(ctx, c, plan)
	if err != nil {
		return nil, err
	}
	look := func(list func(context.Context, ...string) (kadm.ListedOffsets, error)) (kadm.ListedOffsets, error) {
		listed, err := list(ctx, plan.topics...)
		return listed, c.explain(ctx, "list offsets", err)
	}
	starts, err := look(c.admin.ListStartOffsets)
	if err != nil {
		return nil, err
	}
	listEnds := c.admin.ListEndOffsets
	if committed {
		listEnds = c.admin.ListCommittedOffsets
	}
	ends, err := look(listEnds)
	if err != nil {
		return nil, err
	}
	from, err := resolver(ctx, c, plan.topics, plan.from, starts, ends)
	if err != nil {
		return nil, err
	}
	b := &bounds{partitions: partitions, to: func(partitionOf) (int64, error) { return -1, nil }}
	b.from = func(p partitionOf) (int64, error) {
		offset, err := from(p)
		if log, ok := starts.Lookup(p.topic, p.partition); ok && log.Err == nil {
			offset = max(offset, log.Offset)
		}
		return offset, err
	}
	if plan.to != nil {
		b.to, err = resolver(ctx, c, plan.topics, *plan.to, starts, ends)
	}
	return b, err
}

// ranges are what lies between the bounds.
func (b *bounds) ranges() (*ranges, error) {
	r := &ranges{pending: make(map[partitionOf]*offsetRange)}
	for _, p := range b.partitions {
		start, err := b.from(p)
		if err != nil {
			return nil, err
		}
		end, err := b.to(p)
		if err != nil {
			return nil, err
		}
		if end < 0 || start < end {
			r.pending[p] = &offsetRange{start, end}
		}
	}
	return r, nil
}

// selectPartitions are the partitions to read; each topic must have those that
// were asked for.
func selectPartitions(ctx context.Context, c *client, plan *consumePlan) ([]partitionOf, error) {
	details, err := c.admin.ListTopicsWithInternal(ctx, plan.topics...)
	if err != nil {
		return nil, c.explain(ctx, "look for topics", err)
	}
	var selected []partitionOf
	for _, name := range plan.topics {
		t, ok := details[name]
		if !ok || t.Err != nil {
			return nil, topicError(name, cmp.Or(t.Err, errNoSuchTopic), "")
		}
		for _, p := range plan.partitions {
			if _, ok := t.Partitions[p]; !ok {
				return nil, fmt.Errorf("topic %q has %s, numbered from 0, and no partition %d", name, plural(int64(len(t.Partitions)), "partition"), p)
			}
		}
		for p := range t.Partitions {
			if plan.partitions == nil || slices.Contains(plan.partitions, p) {
				selected = append(selected, partitionOf{name, p})
			}
		}
	}
	return selected, nil
}

// resolver finds the offset of a position in any partition.
func resolver(ctx context.Context, c *client, topics []string, at position, starts, ends kadm.ListedOffsets) (func(partitionOf) (int64, error), error) {
	switch at.kind {
	case atBeginning:
		return func(p partitionOf) (int64, error) { return lookupOffset(starts, p) }, nil
	case atEnd:
		return func(p partitionOf) (int64, error) { return lookupOffset(ends, p) }, nil
	case beforeEnd:
		return func(p partitionOf) (int64, error) {
			end, err := lookupOffset(ends, p)
			return max(0, end-at.n), err
		}, nil
	case atTime:
		times, err := c.admin.ListOffsetsAfterMilli(ctx, at.n, topics...)
		if err != nil {
			return nil, c.explain(ctx, "list offsets", err)
		}
		return func(p partitionOf) (int64, error) { return lookupOffset(times, p) }, nil
	}
	return func(partitionOf) (int64, error) { return at.n, nil }, nil
}

func lookupOffset(offsets kadm.ListedOffsets, p partitionOf) (int64, error) {
	o, ok := offsets.Lookup(p.topic, p.partition)
	if !ok {
		return 0, fmt.Errorf("topic %q, partition %d: the broker does not tell its offsets", p.topic, p.partition)
	}
	if o.Err != nil {
		return 0, fmt.Errorf("topic %q, partition %d: %s", p.topic, p.partition, protocolText(o.Err, ""))
	}
	return o.Offset, nil
}
