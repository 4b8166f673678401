package coordinator

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Machine is the state of one partition of __consumer_offsets. It is not safe
// for concurrent use.
type Machine struct {
	cfg    Config
	topics Topics
	groups map[string]*group
	names  names // of the topics that have committed offsets
	timers timers
	active bool

	consumers consumers // what all consumer groups share

	out Effects

	expiring []string       // groups that are still to be looked at in this round of expiry
	deleted  []deletedTopic // topics that were deleted and may have offsets yet
	commit   []commitTopic  // of the request that is handled

	rebalances uint64 // of classic groups, that completed
	expired    uint64 // offsets
}

// New makes an empty machine, as of an empty partition. topics are those known
// now.
func New(cfg Config, topics Topics) *Machine {
	return &Machine{cfg: cfg, topics: topics, groups: map[string]*group{}}
}

// Step handles an event. What it returns is valid until the next call. Requests
// may be stepped only while the machine is active.
func (m *Machine) Step(now time.Time, e Event) Effects {
	m.begin()
	m.timers.run(now)
	switch e := e.(type) {
	case *Request:
		m.request(now, e)
	case TopicsChanged:
		m.topicsChanged(now, e.Topics)
	case Tick:
	default:
		panic(fmt.Sprintf("coordinator: an event of type %T", e))
	}
	return m.out
}

// Activate starts the members' timers, as the node has become the partition's
// leader and all committed records are replayed. Until then no request may be
// stepped. Topics should be the newest.
func (m *Machine) Activate(now time.Time) Effects {
	m.begin()
	m.active = true
	m.consumers.reset()
	for _, id := range m.ids() {
		g := m.groups[id]
		if g.classic != nil {
			m.activateClassic(now, g)
		}
		if g.consumer != nil {
			m.consumerActivate(now, g)
		}
	}
	m.timers.set(timerKey{kind: offsetsTimer}, now.Add(m.cfg.OffsetsCheckInterval), m.expireOffsets)
	return m.out
}

// Deactivate stops all timers, as the node is not the leader any more, and
// answers the requests that wait with NOT_COORDINATOR. The machine can go on
// with Replay where all that it returned was committed; else it is to be thrown
// away.
func (m *Machine) Deactivate() Effects {
	m.begin()
	m.active = false
	m.timers = timers{}
	m.expiring, m.deleted = nil, nil
	for _, id := range m.ids() {
		if g := m.groups[id]; g.classic != nil {
			m.deactivateClassic(g)
		}
	}
	return m.out
}

// Deadline is when to call Step with a Tick at the latest; ok is false where
// nothing is due ever.
func (m *Machine) Deadline() (at time.Time, ok bool) { return m.timers.next() }

func (m *Machine) begin() {
	clear(m.out.Records)
	clear(m.out.Answers)
	clear(m.out.Notes)
	m.out = Effects{m.out.Records[:0], m.out.Answers[:0], m.out.Notes[:0]}
}

// ids are those of all groups, in order.
func (m *Machine) ids() []string { return slices.Sorted(maps.Keys(m.groups)) }

// request hands a request to what handles it.
func (m *Machine) request(now time.Time, req *Request) {
	switch body := req.Body.(type) {
	case *kmsg.HeartbeatRequest:
		m.classicHeartbeat(now, req, body)
	case *kmsg.OffsetCommitRequest:
		m.commitOffsets(now, req, body)
	case *kmsg.OffsetFetchRequest:
		m.fetchOffsets(req, body)
	case *kmsg.ConsumerGroupHeartbeatRequest:
		m.consumerHeartbeat(now, req, body)
	case *kmsg.JoinGroupRequest:
		m.classicJoin(now, req, body)
	case *kmsg.SyncGroupRequest:
		m.classicSync(now, req, body)
	case *kmsg.LeaveGroupRequest:
		m.classicLeave(now, req, body)
	case *kmsg.OffsetDeleteRequest:
		m.deleteOffsets(req, body)
	case *kmsg.ListGroupsRequest:
		m.listGroups(req, body)
	case *kmsg.DescribeGroupsRequest:
		m.describeGroups(req, body)
	case *kmsg.ConsumerGroupDescribeRequest:
		m.consumerDescribe(req, body)
	case *kmsg.DeleteGroupsRequest:
		m.deleteGroups(req, body)
	default:
		panic(fmt.Sprintf("coordinator: a request of type %T", req.Body))
	}
}

// topicsChanged takes the newest topics. What followers know of them changes
// nothing: the leader's records say what follows.
func (m *Machine) topicsChanged(now time.Time, topics Topics) {
	before := m.topics
	m.topics = topics
	if !m.active {
		return
	}
	m.noteDeleted(now, before)
	m.consumerTopicsChanged(now)
}

// record adds to what the step appends.
func (m *Machine) record(key, value []byte) {
	m.out.Records = append(m.out.Records, Record{key, value})
}

// answer answers a request.
func (m *Machine) answer(token any, resp kmsg.Response) {
	m.out.Answers = append(m.out.Answers, Answer{token, resp})
}

// note says what happened.
func (m *Machine) note(g *group, format string, args ...any) {
	m.out.Notes = append(m.out.Notes, Note{g.id, fmt.Sprintf(format, args...)})
}

// message is what a response says beside an error code; nil for none.
func message(code int16, format string, args ...any) *string {
	if code == 0 {
		return nil
	}
	text := kerr.TypedErrorForCode(code).Message + ": " + fmt.Sprintf(format, args...)
	return &text
}
