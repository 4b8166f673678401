package main

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Limits of reading the oldest unread records: one of each partition is wanted,
// and a broker gives the batch that it is in.
const (
	timeLagWithin         = 10 * time.Second
	timeLagPartitionBytes = 1 << 10
	timeLagFetchBytes     = 4 << 20
)

// fillTimeLag adds how old the oldest unread record of each partition is, and
// of all. It reads one record of each partition that has a lag, several
// partitions with each request and one request a broker at a time. A partition
// that does not give its record in time is left without.
func (s *groupState) fillTimeLag(ctx context.Context, a *app) error {
	unread := make(map[partitionOf]*groupPartition)
	r := ranges{pending: make(map[partitionOf]*offsetRange)}
	for i := range s.Partitions {
		p := &s.Partitions[i]
		if p.Committed == nil || p.Lag == nil || *p.Lag == 0 || p.Start == nil || *p.Start == *p.End {
			continue
		}
		at := partitionOf{p.Topic, p.Partition}
		unread[at], r.pending[at] = p, &offsetRange{max(*p.Committed, *p.Start), *p.End}
	}
	if len(unread) > 0 {
		if err := a.readFirst(ctx, &r, func(at partitionOf, record *kgo.Record) {
			age := max(time.Since(record.Timestamp).Milliseconds(), 0)
			unread[at].LagMillis = &age
		}); err != nil {
			return err
		}
	}
	for i := range s.Partitions {
		if age := s.Partitions[i].LagMillis; age != nil && (s.LagMillis == nil || *age > *s.LagMillis) {
			s.LagMillis = age
		}
	}
	return nil
}

// readFirst reads the first record of each range.
func (a *app) readFirst(ctx context.Context, r *ranges, got func(partitionOf, *kgo.Record)) error {
	c, err := a.connect(ctx,
		kgo.ConsumePartitions(r.offsets()),
		kgo.FetchMaxBytes(timeLagFetchBytes),
		kgo.FetchMaxPartitionBytes(timeLagPartitionBytes),
		kgo.FetchMaxWait(100*time.Millisecond),
		kgo.KeepControlRecords(), // where nothing else is left
	)
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, min(a.timeout, timeLagWithin))
	defer cancel()
	for !r.done() {
		fetches := c.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil
		}
		fetches.EachPartition(func(f kgo.FetchTopicPartition) {
			at := partitionOf{f.Topic, f.Partition}
			wanted := r.pending[at]
			if wanted == nil {
				return
			}
			found := f.Err != nil
			for _, record := range f.Records {
				if record.Offset >= wanted.from {
					got(at, record)
					found = true
					break
				}
			}
			if found {
				delete(r.pending, at)
				c.PauseFetchPartitions(map[string][]int32{f.Topic: {f.Partition}})
			}
		})
	}
	return nil
}
