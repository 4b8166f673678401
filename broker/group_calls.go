package broker

import (
	"bytes"
	"net/netip"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fanfold/fanfold/coordinator"
	"github.com/fanfold/fanfold/protocol"
)

// Requests to group coordinators wait without a goroutine: some of them, such
// as JoinGroup, for minutes. They are handed to the machine on the reader's
// goroutine, so that a connection's requests take effect in their order, and
// are answered by whoever takes the step that answers them.

// groupStart is what api.start is for requests to group coordinators.
type groupStart = func(*conn, *call, *frame, []byte) error

// ofGroup makes the start function of a request about one group. failed makes
// the answer that has this error for all that was asked.
func ofGroup[R kmsg.Request](group func(R) string, failed func(R, *kerr.Error) kmsg.Response) groupStart {
	return func(c *conn, k *call, f *frame, body []byte) error {
		req, err := decodeKept[R](k, f, body)
		if err != nil {
			return err
		}
		t := &groupCall{conn: c, call: k, failed: func(err *kerr.Error) kmsg.Response { return failed(req, err) }}
		c.push(k)
		c.srv.groups.submit(group(req), &coordinator.Request{Body: req, Client: c.groupClient(k), Token: t})
		t.submitted()
		return nil
	}
}

// part is a request about one group, out of one about several.
type part struct {
	group  string
	body   kmsg.Request
	failed func(*kerr.Error) kmsg.Response
}

// splitGroups makes a part of each group that a request lists by its id. one is
// the request about those alone; failed answers it with an error.
func splitGroups[R kmsg.Request](ids []string, one func(ids []string) R, failed func(one R, id string, code int16) kmsg.Response) []part {
	ids = firstOf(ids, func(id *string) string { return *id })
	parts := make([]part, len(ids))
	for i, id := range ids {
		req := one(ids[i : i+1])
		parts[i] = part{id, req, func(err *kerr.Error) kmsg.Response { return failed(req, id, err.Code) }}
	}
	return parts
}

// ofGroups makes the start function of a request about several groups, which
// may be in several partitions: split takes it apart, and join makes one answer
// of those to the parts, in their order.
func ofGroups[R kmsg.Request](split func(R) []part, join func(R, []kmsg.Response) kmsg.Response) groupStart {
	return func(c *conn, k *call, f *frame, body []byte) error {
		req, err := decodeKept[R](k, f, body)
		if err != nil {
			return err
		}
		parts := split(req)
		t := &groupCall{conn: c, call: k}
		g := newGathering(len(parts), func(all []kmsg.Response) { t.answered(join(req, all)) })
		c.push(k)
		for i, p := range parts {
			c.srv.groups.submit(p.group, &coordinator.Request{Body: p.body, Client: c.groupClient(k), Token: &gathered{g, i, p.failed}})
		}
		g.done() // for the case of no parts
		t.submitted()
		return nil
	}
}

// decodeKept decodes a request of which bytes may be kept. What it was granted
// of the budget is given back, since it may wait for long: what a coordinator
// keeps of requests has bounds of its own.
func decodeKept[R kmsg.Request](k *call, f *frame, body []byte) (R, error) {
	req, err := protocol.Decode(k.header.Key, k.header.Version, bytes.Clone(body))
	f.free()
	if err != nil {
		k.finish()
		var none R
		return none, badInputf("%v", err)
	}
	k.conn.srv.releaseBytes(k.granted)
	k.granted = 0
	return req.(R), nil
}

// groupClient is who asks, as DescribeGroups shows it.
func (c *conn) groupClient(k *call) coordinator.Client {
	return coordinator.Client{ID: k.header.ClientID, Host: hostOf(c.ip)}
}

// hostOf is an address as Java writes one.
func hostOf(ip netip.Addr) string {
	if !ip.IsValid() {
		return "/"
	}
	return "/" + ip.String()
}

// groupCall is a call that a coordinator answers.
type groupCall struct {
	conn   *conn
	call   *call
	failed func(*kerr.Error) kmsg.Response
	state  atomic.Int32
}

// States of a groupCall.
const (
	groupCallSubmitting int32 = iota // the reader hands it over
	groupCallEarly                   // it was answered meanwhile
	groupCallWaiting                 // the reader has gone on
)

func (t *groupCall) answered(resp kmsg.Response) {
	t.call.answer = message{resp}
	if !t.state.CompareAndSwap(groupCallSubmitting, groupCallEarly) {
		t.conn.complete(t.call, byCallback)
	}
}

func (t *groupCall) refused(err *kerr.Error) { t.answered(t.failed(err)) }

// submitted ends the reader's part. What was answered already it sends itself.
func (t *groupCall) submitted() {
	if !t.state.CompareAndSwap(groupCallSubmitting, groupCallWaiting) {
		t.conn.complete(t.call, byReader)
	}
}

// gathering waits for the answers to all parts of a request.
type gathering struct {
	left atomic.Int32 // answers, and the one who asks
	all  []kmsg.Response
	then func([]kmsg.Response)
}

func newGathering(parts int, then func([]kmsg.Response)) *gathering {
	g := &gathering{all: make([]kmsg.Response, parts), then: then}
	g.left.Store(int32(parts) + 1)
	return g
}

func (g *gathering) done() {
	if g.left.Add(-1) == 0 {
		g.then(g.all)
	}
}

// gathered takes the answer to one part.
type gathered struct {
	*gathering
	at     int
	failed func(*kerr.Error) kmsg.Response
}

func (p *gathered) answered(resp kmsg.Response) {
	p.all[p.at] = resp
	p.done()
}

func (p *gathered) refused(err *kerr.Error) { p.answered(p.failed(err)) }

// everyGroup makes the start function of a request about all groups.
func everyGroup[R kmsg.Request](body func(R) kmsg.Request, join func(R, []kmsg.Response) kmsg.Response) groupStart {
	return func(c *conn, k *call, f *frame, raw []byte) error {
		req, err := decodeKept[R](k, f, raw)
		if err != nil {
			return err
		}
		shards := c.srv.groups.all()
		t := &groupCall{conn: c, call: k}
		g := newGathering(len(shards), func(all []kmsg.Response) { t.answered(join(req, all)) })
		c.push(k)
		for i, s := range shards {
			s.submit(&coordinator.Request{Body: body(req), Client: c.groupClient(k), Token: &gathered{g, i, func(err *kerr.Error) kmsg.Response {
				return nil // of what is led elsewhere, others tell
			}}})
		}
		g.done()
		t.submitted()
		return nil
	}
}
