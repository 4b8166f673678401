package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/fanfold/fanfold/internal/units"
)

// planReset finds the partitions to move, and where to.
func planReset(ctx context.Context, c *client, plan *resetPlan, committed map[partitionOf]kadm.Offset) ([]resetPartition, error) {
	partitions, err := resetPartitions(ctx, c, plan, committed)
	if err != nil {
		return nil, err
	}
	topics := make(map[string]bool)
	for _, p := range partitions {
		topics[p.topic] = true
	}
	names := slices.Sorted(maps.Keys(topics))
	starts, ends, err := listLogs(ctx, c, names)
	if err != nil {
		return nil, err
	}
	wanted, err := wantedOffset(ctx, c, plan, names, starts, ends, committed)
	if err != nil {
		return nil, err
	}
	rows := make([]resetPartition, 0, len(partitions))
	for _, p := range partitions {
		row := resetPartition{Topic: p.topic, Partition: p.partition}
		if row.Start, err = lookupOffset(starts, p); err != nil {
			return nil, err
		}
		if row.End, err = lookupOffset(ends, p); err != nil {
			return nil, err
		}
		if o, ok := committed[p]; ok {
			row.Before, row.commit = &o.At, o
		}
		to, err := wanted(p)
		switch {
		case errors.Is(err, errNothingCommitted):
			row.Note = "nothing committed, left alone"
		case err != nil:
			return nil, err
		default:
			row.moveTo(to)
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// moveTo sets After, within the log.
func (r *resetPartition) moveTo(offset int64) {
	after := min(max(offset, r.Start), r.End)
	switch {
	case offset < r.Start:
		r.Note = fmt.Sprintf("%d is before the log's start", offset)
	case offset > r.End:
		r.Note = fmt.Sprintf("%d is beyond the log's end", offset)
	}
	r.After = &after
}

// resetPartitions are the partitions to move, in order.
func resetPartitions(ctx context.Context, c *client, plan *resetPlan, committed map[partitionOf]kadm.Offset) ([]partitionOf, error) {
	var partitions []partitionOf
	switch {
	case plan.target == toSaved:
		specs := make(map[string][]int32)
		for p := range plan.saved {
			specs[p.topic] = append(specs[p.topic], p.partition)
		}
		var list []topicSpec
		for topic, numbers := range specs {
			list = append(list, topicSpec{topic, numbers})
		}
		var err error
		if partitions, err = selectTopics(ctx, c, list); err != nil {
			return nil, fmt.Errorf("%s: %w", plan.file, err)
		}
	case len(plan.topics) > 0:
		return selectTopics(ctx, c, plan.topics)
	default:
		if partitions = slices.Collect(maps.Keys(committed)); len(partitions) == 0 {
			return nil, fmt.Errorf("group %q has committed nothing; name what to set with --topic TOPIC[:PARTITIONS]", plan.group)
		}
	}
	slices.SortFunc(partitions, comparePartitions)
	return partitions, nil
}

// errNothingCommitted says that an offset that is not there cannot be moved.
var errNothingCommitted = errors.New("nothing committed")

// wantedOffset says where a partition's offset shall go, be it in the log or
// not.
func wantedOffset(ctx context.Context, c *client, plan *resetPlan, topics []string, starts, ends kadm.ListedOffsets, committed map[partitionOf]kadm.Offset) (func(partitionOf) (int64, error), error) {
	switch plan.target {
	case toSaved:
		return func(p partitionOf) (int64, error) { return plan.saved[p], nil }, nil
	case toPosition:
		return resolver(ctx, c, topics, plan.at, starts, ends)
	}
	return func(p partitionOf) (int64, error) {
		o, ok := committed[p]
		if !ok {
			return 0, errNothingCommitted
		}
		if plan.shift > 0 && o.At > math.MaxInt64-plan.shift {
			return math.MaxInt64, nil
		}
		return o.At + plan.shift, nil
	}, nil
}

// savedOffsetsLimit is the most offsets that a file may hold.
const savedOffsetsLimit = 5_000_000

// readOffsets reads a file of lines topic,partition,offset, or
// group,topic,partition,offset where those of other groups are left out.
func (a *app) readOffsets(ctx context.Context, file, group string) (map[partitionOf]int64, error) {
	reading, stop := context.WithCancel(ctx)
	defer stop()
	var in io.Reader
	if file == "-" {
		in = newInput(reading, a.stdin)
	} else {
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("--from-file: %w", err)
		}
		defer f.Close()
		in = f
	}
	saved, err := parseOffsets(in, group)
	if ctx.Err() != nil {
		return nil, errInterrupted
	}
	if err != nil {
		return nil, fmt.Errorf("--from-file %s: %w", file, err)
	}
	if len(saved) == 0 {
		return nil, fmt.Errorf("--from-file %s: there is no line topic,partition,offset for group %q", file, group)
	}
	return saved, nil
}

func parseOffsets(in io.Reader, group string) (map[partitionOf]int64, error) {
	saved := make(map[partitionOf]int64)
	lines := csv.NewReader(in)
	lines.FieldsPerRecord, lines.ReuseRecord, lines.TrimLeadingSpace = -1, true, true
	for {
		fields, err := lines.Read()
		if errors.Is(err, io.EOF) {
			return saved, nil
		}
		if err != nil {
			return nil, err
		}
		number, _ := lines.FieldPos(0)
		if len(fields) == 4 {
			if fields[0] != group {
				continue
			}
			fields = fields[1:]
		}
		p, offset, err := parseOffsetLine(fields)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		if _, twice := saved[p]; twice {
			return nil, fmt.Errorf("line %d: topic %q, partition %d comes twice", number, p.topic, p.partition)
		}
		if len(saved) == savedOffsetsLimit {
			return nil, fmt.Errorf("line %d: there are more than %d", number, savedOffsetsLimit)
		}
		saved[p] = offset
	}
}

func parseOffsetLine(fields []string) (p partitionOf, offset int64, err error) {
	if len(fields) != 3 {
		return p, 0, fmt.Errorf("it has %s, not topic,partition,offset", plural(int64(len(fields)), "field"))
	}
	partition, err := strconv.ParseInt(strings.TrimSpace(fields[1]), 10, 32)
	if err != nil || partition < 0 {
		return p, 0, fmt.Errorf("%q is no partition", fields[1])
	}
	if offset, err = strconv.ParseInt(strings.TrimSpace(fields[2]), 10, 64); err != nil || offset < 0 {
		return p, 0, fmt.Errorf("%q is no offset", fields[2])
	}
	return partitionOf{strings.Clone(fields[0]), int32(partition)}, offset, nil
}

// writeOffsets writes the offsets after the move, as readOffsets takes them.
func (a *app) writeOffsets(rows []resetPartition) error {
	out := csv.NewWriter(a.stdout)
	for i := range rows {
		if row := &rows[i]; row.After != nil {
			// The error stays, and Flush gives it.
			_ = out.Write([]string{row.Topic, strconv.Itoa(int(row.Partition)), strconv.FormatInt(*row.After, 10)})
		}
	}
	out.Flush()
	return out.Error()
}

// parsePeriod reads a duration as units has them, 90m or 1d12h, or as ISO 8601
// does, PT1H30M or P1DT12H, which Kafka's tools take.
func parsePeriod(s string) (time.Duration, error) {
	text := s
	if rest, iso := strings.CutPrefix(strings.ToUpper(s), "P"); iso {
		days, clock, timed := strings.Cut(rest, "T")
		if timed && clock == "" || rest == "" || strings.Trim(days, "0123456789WD") != "" || strings.Trim(clock, "0123456789.HMS") != "" {
			return 0, fmt.Errorf("%q is no duration; write for example 90m, 1d, or PT1H30M", s)
		}
		text = strings.ToLower(days + clock)
	}
	d, err := units.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is no duration; write for example 90m, 1d, or PT1H30M", s)
	}
	return d, nil
}
