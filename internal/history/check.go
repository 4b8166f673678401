package history

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Options configure [Check]. The zero value allows a log's start to move, and
// keeps 1,000 anomalies.
type Options struct {
	// KeepsAll says that nothing is deleted: a log's start is 0.
	KeepsAll bool

	// MaxAnomalies is how many are kept in the report; zero means 1,000.
	MaxAnomalies int
}

// Check reads the histories of one run, each from its beginning, and returns
// what is wrong with them together. Its errors are those of reading.
func Check(opts Options, histories ...io.Reader) (*Report, error) {
	if opts.MaxAnomalies == 0 {
		opts.MaxAnomalies = 1000
	}
	c := &checker{
		opts:       opts,
		report:     Report{Counts: map[AnomalyKind]int64{}},
		partitions: map[partitionKey]*partition{},
	}
	if err := merge(histories, c.op); err != nil {
		return nil, err
	}
	c.finish()
	return &c.report, nil
}

// merge calls visit with the operations of all histories by their End.
func merge(histories []io.Reader, visit func(*Op)) error {
	type source struct {
		r    *Reader
		next Op
	}
	var sources []*source
	advance := func(s *source) (bool, error) {
		err := s.r.Next(&s.next)
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("read history: %w", err)
		}
		return true, nil
	}
	for _, h := range histories {
		s := &source{r: NewReader(h)}
		more, err := advance(s)
		if err != nil {
			return err
		}
		if more {
			sources = append(sources, s)
		}
	}
	for len(sources) > 0 {
		first := 0
		for i, s := range sources {
			if s.next.End < sources[first].next.End {
				first = i
			}
		}
		s := sources[first]
		visit(&s.next)
		more, err := advance(s)
		if err != nil {
			return err
		}
		if !more {
			sources = slices.Delete(sources, first, first+1)
		}
	}
	return nil
}

// valueState is what is known of a value that was sent or read.
type valueState uint8

const (
	valueSent valueState = 1 << iota
	valueAcked
	valueRefused
	valueUnknown
	valuePlaced    // an offset is known
	valueTwice     // two are
	valueMayRepeat // a producer sent it that is not idempotent
	valueRead
)

// cell is an offset of a partition: its value and two flags; zero if nothing
// is known of it.
type cell uint64

const (
	cellRead  cell = 1 << 63
	cellAcked cell = 1 << 62
)

func (c cell) value() Value { return Value(c &^ (cellRead | cellAcked)) }

type partitionKey struct {
	topic     string
	partition int32
}

type partition struct {
	partitionKey
	cells      table[cell]
	ends       frontier
	starts     frontier
	positions  map[uint32]int64 // where each reader is
	gaps       []gap
	unplaced   []Value   // acknowledged without an offset
	overridden []reading // of another value than the cell has
	final      bool
	finalStart int64
	finalEnd   int64
}

// gap is what a reader went over: offsets from, up to below to.
type gap struct {
	client   uint32
	from, to int64
}

type reading struct {
	client uint32
	offset int64
	value  Value
}

type checker struct {
	opts       Options
	report     Report
	partitions map[partitionKey]*partition
	recent     *partition
	values     table[valueState]
	repeats    map[Value][]place // of values placed twice
}

type place struct {
	partition *partition
	offset    int64
}

func (c *checker) add(p *partition, a Anomaly) {
	c.report.Counts[a.Kind]++
	if len(c.report.Anomalies) < c.opts.MaxAnomalies {
		a.Topic, a.Partition = p.topic, p.partition
		c.report.Anomalies = append(c.report.Anomalies, a)
	}
}

func (c *checker) partition(op *Op) *partition {
	key := partitionKey{op.Topic, op.Partition}
	if c.recent != nil && c.recent.partitionKey == key {
		return c.recent
	}
	p := c.partitions[key]
	if p == nil {
		p = &partition{partitionKey: key, positions: map[uint32]int64{}}
		c.partitions[key] = p
	}
	c.recent = p
	return p
}

func (c *checker) op(op *Op) {
	c.report.Ops++
	p := c.partition(op)
	if op.Kind == Produce {
		c.produce(p, op)
		return
	}
	if op.Outcome != OK {
		return // a question without an answer says nothing
	}
	switch op.Kind {
	case Fetch:
		c.fetch(p, op)
	case Seek:
		p.positions[op.Client] = op.Offset
	case End:
		c.end(p, op, op.Offset)
	case Start:
		c.start(p, op)
	case Final:
		p.final = true
		p.finalStart, p.finalEnd = op.Offset, op.To
		c.start(p, op)
		c.end(p, op, op.To)
	}
}

func (c *checker) produce(p *partition, op *Op) {
	state := c.values.at(uint64(op.Value))
	*state |= valueSent
	if !op.Idempotent {
		*state |= valueMayRepeat
	}
	switch op.Outcome {
	case Refused:
		*state |= valueRefused
	case Unknown:
		*state |= valueUnknown
	case OK:
		*state |= valueAcked
		if op.Offset < 0 {
			p.unplaced = append(p.unplaced, op.Value)
			return
		}
		if op.Start != 0 {
			if end := p.ends.before(op.Start); op.Offset < end {
				c.add(p, Anomaly{
					Kind: OffsetReused, Offset: op.Offset, Value: op.Value, Client: op.Client,
					Text: fmt.Sprintf("the log ended at %d before it was sent", end),
				})
			}
		}
		p.ends.raise(op.End, op.Offset+1)
		c.observe(p, op, cellAcked)
	}
}

func (c *checker) fetch(p *partition, op *Op) {
	position, known := p.positions[op.Client]
	switch {
	case known && op.Offset < position:
		c.add(p, Anomaly{
			Kind: ReaderBack, Offset: op.Offset, Value: op.Value, Client: op.Client,
			Text: fmt.Sprintf("client %d was at %d", op.Client, position),
		})
	case known && op.Offset > position:
		p.gaps = append(p.gaps, gap{client: op.Client, from: position, to: op.Offset})
	}
	p.positions[op.Client] = op.Offset + 1
	if op.Value == 0 {
		c.add(p, Anomaly{
			Kind: Phantom, Offset: op.Offset, Client: op.Client,
			Text: fmt.Sprintf("client %d read bytes that are no intact record of this test", op.Client),
		})
		*p.cells.at(uint64(op.Offset)) |= cellRead
		return
	}
	c.observe(p, op, cellRead)
}

// observe notes that op shows its value at its offset.
func (c *checker) observe(p *partition, op *Op, how cell) {
	at := p.cells.at(uint64(op.Offset))
	had := at.value()
	*at |= how
	state := c.values.at(uint64(op.Value))
	if how == cellRead {
		*state |= valueRead
	}
	switch had {
	case op.Value:
		return
	case 0:
		*at |= cell(op.Value)
	default:
		c.add(p, Anomaly{
			Kind: Disagreement, Offset: op.Offset, Value: op.Value, Client: op.Client,
			Text: fmt.Sprintf("client %d has this value, another was shown %v", op.Client, had),
		})
		p.overridden = append(p.overridden, reading{op.Client, op.Offset, op.Value})
		return
	}
	if *state&valuePlaced != 0 {
		*state |= valueTwice
	}
	*state |= valuePlaced
}

// end notes that op was shown the log's end at offset.
func (c *checker) end(p *partition, op *Op, offset int64) {
	if op.Start != 0 {
		if end := p.ends.before(op.Start); offset < end {
			c.add(p, Anomaly{
				Kind: EndBack, Offset: offset, Client: op.Client,
				Text: fmt.Sprintf("client %d was shown this end, it had been at %d", op.Client, end),
			})
		}
	}
	p.ends.raise(op.End, offset)
}

func (c *checker) start(p *partition, op *Op) {
	if op.Start != 0 {
		if start := p.starts.before(op.Start); op.Offset < start {
			c.add(p, Anomaly{
				Kind: StartBack, Offset: op.Offset, Client: op.Client,
				Text: fmt.Sprintf("client %d was shown this start, it had been at %d", op.Client, start),
			})
		}
	}
	if c.opts.KeepsAll && op.Offset != 0 {
		c.add(p, Anomaly{
			Kind: StartMoved, Offset: op.Offset, Client: op.Client,
			Text: fmt.Sprintf("client %d was shown this start of a log that keeps all", op.Client),
		})
	}
	p.starts.raise(op.End, op.Offset)
}

// finish checks what only the whole history shows.
func (c *checker) finish() {
	sorted := make([]*partition, 0, len(c.partitions))
	for _, p := range c.partitions {
		sorted = append(sorted, p)
	}
	slices.SortFunc(sorted, func(a, b *partition) int {
		if n := strings.Compare(a.topic, b.topic); n != 0 {
			return n
		}
		return int(a.partition) - int(b.partition)
	})
	c.repeats = map[Value][]place{}
	for _, p := range sorted {
		c.finishPartition(p)
	}
	for _, p := range sorted {
		c.finishGaps(p)
		c.finishUnplaced(p)
	}
	c.finishRepeats()
	c.countValues()
}

func (c *checker) finishPartition(p *partition) {
	last := map[uint32]uint64{} // the highest seq of each producer so far
	p.cells.all(func(i uint64, at *cell) bool {
		v, offset := at.value(), int64(i)
		if v == 0 {
			return true
		}
		state := *c.values.at(uint64(v))
		if *at&cellRead != 0 {
			c.checkRead(p, offset, v, state)
		} else {
			c.checkUnread(p, offset, v)
		}
		if state&valueMayRepeat != 0 || state&valueSent == 0 {
			return true
		}
		if state&valueTwice != 0 {
			c.repeats[v] = append(c.repeats[v], place{p, offset})
			return true
		}
		before := last[v.Producer()]
		if v.Seq() < before {
			c.add(p, Anomaly{
				Kind: Reordered, Offset: offset, Value: v,
				Text: fmt.Sprintf("behind record %d of the same producer", before),
			})
		}
		last[v.Producer()] = max(before, v.Seq())
		return true
	})
	for _, r := range p.overridden {
		c.checkRead(p, r.offset, r.value, *c.values.at(uint64(r.value)))
	}
}

// checkRead checks that a record that was read could be there.
func (c *checker) checkRead(p *partition, offset int64, v Value, state valueState) {
	switch {
	case state&valueSent == 0:
		c.add(p, Anomaly{Kind: Phantom, Offset: offset, Value: v, Text: "nobody sent it"})
	case state&(valueRefused|valueAcked|valueUnknown) == valueRefused:
		c.add(p, Anomaly{Kind: RefusedRead, Offset: offset, Value: v, Text: "its producer was told that it was not written"})
	}
}

// checkUnread checks that a record may be absent that was acknowledged and
// never read.
func (c *checker) checkUnread(p *partition, offset int64, v Value) {
	if !p.final || offset < p.finalStart {
		return
	}
	text := fmt.Sprintf("acknowledged, and not read from the log that ends at %d", p.finalEnd)
	if offset >= p.finalEnd {
		text = fmt.Sprintf("acknowledged, and the log ends at %d", p.finalEnd)
	}
	c.add(p, Anomaly{Kind: Lost, Offset: offset, Value: v, Text: text})
}

// finishGaps looks for acknowledged records in what readers went over, and
// reports the first of each gap.
func (c *checker) finishGaps(p *partition) {
	if len(p.gaps) == 0 {
		return
	}
	var acked []int64
	p.cells.all(func(i uint64, at *cell) bool {
		if *at&cellAcked != 0 {
			acked = append(acked, int64(i))
		}
		return true
	})
	start := p.starts.last()
	for _, g := range p.gaps {
		i, _ := slices.BinarySearch(acked, max(g.from, start))
		if i == len(acked) || acked[i] >= g.to {
			continue
		}
		c.add(p, Anomaly{
			Kind: Skipped, Offset: acked[i], Value: p.cells.at(uint64(acked[i])).value(), Client: g.client,
			Text: fmt.Sprintf("client %d went from %d to %d", g.client, g.from, g.to),
		})
	}
}

// finishUnplaced checks the records that were acknowledged without an offset,
// where nothing was deleted.
func (c *checker) finishUnplaced(p *partition) {
	if !p.final || p.finalStart != 0 {
		return
	}
	for _, v := range p.unplaced {
		if *c.values.at(uint64(v))&valueRead == 0 {
			c.add(p, Anomaly{Kind: Lost, Offset: -1, Value: v, Text: "acknowledged without an offset, and not read"})
		}
	}
}

func (c *checker) finishRepeats() {
	values := make([]Value, 0, len(c.repeats))
	for v := range c.repeats {
		values = append(values, v)
	}
	slices.Sort(values)
	for _, v := range values {
		first := c.repeats[v][0]
		for _, at := range c.repeats[v][1:] {
			c.add(at.partition, Anomaly{
				Kind: Duplicate, Offset: at.offset, Value: v,
				Text: fmt.Sprintf("also in %s-%d at offset %d", first.partition.topic, first.partition.partition, first.offset),
			})
		}
	}
}

func (c *checker) countValues() {
	c.values.all(func(_ uint64, state *valueState) bool {
		if *state&valueRead != 0 {
			c.report.Read++
		}
		if *state&valueSent == 0 {
			return true
		}
		c.report.Sent++
		switch {
		case *state&valueAcked != 0:
			c.report.Acked++
		case *state&(valueRefused|valueUnknown) == valueRefused:
			c.report.Refused++
		default:
			c.report.Unknown++
		}
		return true
	})
}
