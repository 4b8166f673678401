package groupdiff

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// sequence is a series of requests about one group, sent to both brokers.
type sequence struct {
	t     *testing.T
	pair  *pair
	group string
	kind  groupKind
	notes []string    // what matters for how answers are compared
	open  []*exchange // not answered by both
	log   []string
	over  string // why the rest is not compared
}

// groupKind says how a group is described.
type groupKind int

const (
	classicGroup groupKind = iota
	consumerGroup
	eitherGroup // of both protocols
)

// exchange is a request and both answers.
type exchange struct {
	label  string
	client string
	calls  [2]*call
}

// sequences counts groups.
var sequences int

// sequence begins one, of a new group. The function that it returns ends it.
func (p *pair) sequence(t *testing.T, kind groupKind) (q *sequence, end func()) {
	t.Helper()
	sequences++
	q = &sequence{t: t, pair: p, group: fmt.Sprintf("group-%d", sequences), kind: kind}
	for _, s := range p.sides {
		s.exact = false
	}
	return q, func() {
		if q.over == "" {
			q.describe()
			q.ask("what is committed", func(*side) kmsg.Request { return fetchAll(8, q.group) })
		}
		for _, s := range p.sides {
			s.disconnect()
		}
		if t.Failed() {
			t.Logf("the sequence:\n%s", strings.Join(q.log, "\n"))
		}
	}
}

// do sends a request as a client and compares what is answered now: to this
// request, and to those that waited. build is called for each of the brokers.
func (q *sequence) do(name, what string, version int16, build func(c *client) kmsg.Request) {
	q.t.Helper()
	if q.over != "" {
		return
	}
	if q.waits(name) {
		q.t.Fatalf("%s waits for an answer and cannot send anything", name)
	}
	x := &exchange{client: name}
	for i, s := range q.pair.sides {
		c, err := s.client(name)
		if err != nil {
			q.t.Fatalf("%s: %v", s.name, err)
		}
		req := build(c)
		req.SetVersion(version)
		q.pair.asked[[2]int16{req.Key(), version}] = true
		x.label = strings.TrimSpace(fmt.Sprintf("%s v%d %s", kmsg.NameForKey(req.Key()), version, what))
		if x.calls[i], err = c.wire.send(req); err == nil && mayWait(req) {
			err = s.arrived(c)
		}
		if err != nil {
			q.t.Fatalf("%s: %s: %v", s.name, x.label, err)
		}
	}
	q.pair.requests++
	q.log = append(q.log, fmt.Sprintf("%s sends %s", name, x.label))
	q.open = append(q.open, x)
	q.settle(x)
	q.describe()
}

func mayWait(req kmsg.Request) bool {
	switch req.(type) {
	case *kmsg.JoinGroupRequest, *kmsg.SyncGroupRequest:
		return true
	}
	return false
}

// waits says whether a request of the client is not answered.
func (q *sequence) waits(client string) bool {
	return slices.ContainsFunc(q.open, func(x *exchange) bool { return x.client == client })
}

// How long answers are waited for. Where both brokers are as one thinks, none of
// this passes but now and then the last.
const (
	otherWithin = 2 * time.Second      // the other has answered
	bothWithin  = 5 * time.Millisecond // neither has, and neither needs to
)

// settle waits until both brokers have answered what they will answer now, and
// compares.
func (q *sequence) settle(newest *exchange) {
	q.t.Helper()
	for i, s := range q.pair.sides {
		state := ""
		if slices.ContainsFunc(q.open, func(x *exchange) bool { return mayWait(x.calls[i].req) }) {
			state = q.state(s)
		}
		for _, x := range q.open {
			if mustBeAnswered(x.calls[i].req, state) {
				within(x.calls[i], answerWithin)
			}
		}
	}
	if slices.Contains(q.open, newest) && !newest.calls[0].answered() && !newest.calls[1].answered() {
		select {
		case <-newest.calls[0].done:
		case <-newest.calls[1].done:
		case <-time.After(bothWithin):
		}
	}
	for _, x := range q.open {
		if x.calls[0].answered() != x.calls[1].answered() {
			q.awaitOther(x)
		}
	}
	waiting := q.open
	q.open = nil
	for _, x := range waiting {
		if !x.calls[0].answered() && !x.calls[1].answered() {
			q.open = append(q.open, x)
			continue
		}
		q.compare(x)
	}
}

// awaitOther waits for the second answer, unless it is known not to come.
func (q *sequence) awaitOther(x *exchange) {
	q.t.Helper()
	d := otherWithin
	if q.pair.explained(q.oneAnswer(x)) != nil {
		d = bothWithin
	}
	within(x.calls[0], d)
	within(x.calls[1], d)
}

// oneAnswer is the difference that only one has answered.
func (q *sequence) oneAnswer(x *exchange) difference {
	what := [2]string{"waits", "waits"}
	for i, c := range x.calls {
		if c.answered() {
			what[i] = "answers"
		}
	}
	return difference{q.noted(x.label) + ".answered", what[0], what[1]}
}

// noted is a label with the notes of now.
func (q *sequence) noted(label string) string {
	for _, note := range q.notes {
		label += " [" + note + "]"
	}
	return label
}

func within(c *call, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-c.done:
	case <-timer.C:
	}
}

// state is the group's, as one broker describes it.
func (q *sequence) state(s *side) string {
	q.t.Helper()
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Version, req.Groups = 5, []string{q.group}
	resp, err := s.control.ask(req)
	if err != nil {
		q.t.Fatalf("%s: %v", s.name, err)
	}
	return resp.(*kmsg.DescribeGroupsResponse).Groups[0].State
}

// mustBeAnswered says whether a request cannot wait in a group of this state.
func mustBeAnswered(req kmsg.Request, state string) bool {
	switch req.(type) {
	case *kmsg.JoinGroupRequest:
		return state == "CompletingRebalance" || state == "Stable" || state == "Empty"
	case *kmsg.SyncGroupRequest:
		return state == "PreparingRebalance" || state == "Stable" || state == "Empty"
	}
	return true
}

// compare compares an exchange that at least one of the two has answered.
func (q *sequence) compare(x *exchange) {
	q.t.Helper()
	if x.calls[0].answered() != x.calls[1].answered() {
		d := q.oneAnswer(x)
		d.path = ".answered"
		q.report(x.label, []difference{d})
		q.over = "one of them has not answered"
		return
	}
	var trees [2]any
	for i, s := range q.pair.sides {
		c := x.calls[i]
		if c.err == nil {
			s.clients[x.client].learn(c.req, c.resp)
		}
		trees[i] = s.answerTree(c.resp, c.err)
	}
	q.log = append(q.log, fmt.Sprintf("  %s gets %s: %s", x.client, x.label, flat(trees[1])))
	q.report(x.label, differences("", trees[0], trees[1]))
}

// report looks whether differences are meant to be.
func (q *sequence) report(label string, list []difference) {
	q.t.Helper()
	for _, d := range list {
		d.path = q.noted(label) + d.path
		m := q.pair.explained(d)
		if m == nil {
			q.t.Errorf("%s", d)
			q.log = append(q.log, "  NOT MEANT: "+d.String())
			q.over = "a difference that is not meant"
			continue
		}
		m.used++
		q.pair.meant++
		q.log = append(q.log, fmt.Sprintf("  meant: %s (%s)", d, m.why))
		if m.parts {
			q.over = m.why
		}
	}
}

// note says what matters for the answers from now on, or does not any more.
func (q *sequence) note(text string, on bool) {
	q.notes = slices.DeleteFunc(q.notes, func(s string) bool { return s == text })
	if on {
		q.notes = append(q.notes, text)
	}
}

// ask sends a request of no member and compares.
func (q *sequence) ask(what string, build func(s *side) kmsg.Request) {
	q.t.Helper()
	if q.over != "" {
		return
	}
	q.pair.requests++
	var trees [2]any
	for i, s := range q.pair.sides {
		req := build(s)
		q.pair.asked[[2]int16{req.Key(), req.GetVersion()}] = true
		resp, err := s.control.ask(req)
		if list, ok := resp.(*kmsg.ListGroupsResponse); ok {
			list.Groups = slices.DeleteFunc(list.Groups, func(g kmsg.ListGroupsResponseGroup) bool { return g.Group != q.group })
		}
		trees[i] = s.answerTree(resp, err)
	}
	q.log = append(q.log, fmt.Sprintf("  %s: %s", what, flat(trees[1])))
	q.report(what, differences("", trees[0], trees[1]))
}

// describe compares what is known of the whole group.
func (q *sequence) describe() {
	q.t.Helper()
	if q.kind != consumerGroup {
		what := "the group"
		if q.kind == eitherGroup {
			what = "the classic group"
		}
		q.ask(what, func(*side) kmsg.Request {
			req := kmsg.NewPtrDescribeGroupsRequest()
			req.Version, req.Groups = 6, []string{q.group}
			return req
		})
	}
	if q.kind != classicGroup {
		q.ask("the consumer group", func(*side) kmsg.Request {
			req := kmsg.NewPtrConsumerGroupDescribeRequest()
			req.Version, req.Groups = 1, []string{q.group}
			return req
		})
	}
}

// list compares what ListGroups says of the group.
func (q *sequence) list(what string, version int16, states, types []string) {
	q.t.Helper()
	q.ask(fmt.Sprintf("ListGroups v%d %s", version, what), func(*side) kmsg.Request {
		req := kmsg.NewPtrListGroupsRequest()
		req.Version, req.StatesFilter, req.TypesFilter = version, states, types
		return req
	})
}

// fetchAll asks for all offsets of a group.
func fetchAll(version int16, group string) *kmsg.OffsetFetchRequest {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Version, req.Group = version, group
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group, g.Topics = group, nil
	req.Groups = append(req.Groups, g)
	return req
}

// disjoint sees that no partition has two owners on either side: KIP-848.
func (q *sequence) disjoint() {
	q.t.Helper()
	for _, s := range q.pair.sides {
		owner := map[string]string{}
		for name, c := range s.clients {
			for _, t := range c.owned {
				for _, p := range t.Partitions {
					at := fmt.Sprintf("%s-%d", s.topicNames[t.TopicID], p)
					if other := owner[at]; other != "" {
						q.fail(errors.New(s.name + ": " + at + " is both " + name + "'s and " + other + "'s"))
					}
					owner[at] = name
				}
			}
		}
	}
}

func (q *sequence) fail(err error) {
	q.t.Helper()
	q.t.Error(err)
	q.over = err.Error()
}
