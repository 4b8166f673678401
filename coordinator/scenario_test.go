package coordinator

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fanfold/fanfold/coordinator/stored"
)

// TestScenarios plays the files in testdata: paragraphs of commands, a line of
// dashes, and what the machine does. FANFOLD_REWRITE=1 writes the latter anew.
//
// A command is a verb, who does it, and options as name=value:
//
//	join a v=9 group=g instance=i session=10s rebalance=60s protocols=range:t,sticky:t+u
//	sync a assign=a:x,b:y         a leads; what members get
//	heartbeat a gen=3
//	leave a b                     or instance=i
//	commit a t-0=5 t-1=6          "-" commits without being a member
//	fetch t-0 t-1                 all, where none is named
//	forget t-0                    OffsetDelete
//	describe, list, delete        groups
//	advance 5s                    lets time pass
//	topics t=3 u=1                topics and their partitions
//	failover                      another node replays the log and leads
//
// and for groups of the consumer protocol
//
//	beat a join topics=t+u regex=.* instance=i rack=r assignor=range timeout=60s
//	beat a has                    says that it has what it was told
//	beat a                        or epoch=-1, or topics=…, to change that
//	show                          ConsumerGroupDescribe
//
// Member ids are the client's name and a number; who is its name alone.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := newStage(t).play(string(content))
			if got == string(content) {
				return
			}
			if os.Getenv("FANFOLD_REWRITE") != "" {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			t.Errorf("%s\n%s", file, firstDifference(got, string(content)))
		})
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d is\n%s\ninstead of\n%s\n(FANFOLD_REWRITE=1 writes it anew)", i+1, g[i], w[i])
		}
	}
	return fmt.Sprintf("%d lines instead of %d", len(g), len(w))
}

// stage is a machine that a scenario plays on.
type stage struct {
	t       *testing.T
	cfg     Config
	topics  fakeTopics
	m       *Machine
	now     time.Time
	log     []Record
	members map[string]*stageMember
	out     strings.Builder
}

// stageMember is what a client remembers.
type stageMember struct {
	id         string
	generation int32
	instanceID *string
	group      string
	owned      []kmsg.ConsumerGroupHeartbeatRequestTopic // with the consumer protocol: what it was told to have
}

// stageVerbs do the commands.
var stageVerbs = map[string]func(s *stage, c command){
	"advance":   (*stage).advance,
	"commit":    (*stage).commit,
	"delete":    (*stage).delete,
	"describe":  (*stage).describe,
	"failover":  (*stage).failover,
	"fetch":     (*stage).fetch,
	"forget":    (*stage).forget,
	"heartbeat": (*stage).heartbeat,
	"join":      (*stage).join,
	"leave":     (*stage).leave,
	"list":      (*stage).list,
	"sync":      (*stage).sync,
	"topics":    (*stage).setTopics,
}

// command is a line of a scenario.
type command struct {
	t       *testing.T
	line    string
	args    []string // without "="
	options map[string]string
	order   []string // the options' names
}

func newStage(t *testing.T) *stage {
	s := &stage{
		t:       t,
		cfg:     testConfig(),
		topics:  fakeTopics{"t": fakeTopic("t", 4, 0), "u": fakeTopic("u", 2, 1)},
		now:     time.UnixMilli(1_700_000_000_000),
		members: map[string]*stageMember{},
	}
	s.m = New(s.cfg, s.topics)
	s.apply(s.m.Activate(s.now))
	return s
}

// play gives the scenario as it comes out.
func (s *stage) play(content string) string {
	var b strings.Builder
	for i, paragraph := range strings.Split(strings.TrimRight(content, "\n"), "\n\n") {
		if i > 0 {
			b.WriteString("\n")
		}
		commands, _, dashes := strings.Cut(paragraph+"\n", "----\n")
		b.WriteString(commands)
		s.out.Reset()
		did := false
		for line := range strings.Lines(commands) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
				s.do(line)
				did = true
			}
		}
		if did || dashes {
			b.WriteString("----\n" + s.out.String())
		}
	}
	return b.String()
}

func (s *stage) do(line string) {
	words := strings.Fields(line)
	c := command{t: s.t, line: line, options: map[string]string{}}
	for _, word := range words[1:] {
		name, value, ok := strings.Cut(word, "=")
		if !ok {
			c.args = append(c.args, word)
			continue
		}
		c.options[name] = value
		c.order = append(c.order, name)
	}
	verb := stageVerbs[words[0]]
	if verb == nil {
		s.t.Fatalf("%q is not a command", line)
	}
	verb(s, c)
}

func (c command) who() string {
	if len(c.args) == 0 {
		c.t.Fatalf("%q does not say who", c.line)
	}
	return c.args[0]
}

func (c command) option(name, otherwise string) string {
	if value, ok := c.options[name]; ok {
		return value
	}
	return otherwise
}

func (c command) number(name string, otherwise int) int {
	value, ok := c.options[name]
	if !ok {
		return otherwise
	}
	n, err := strconv.Atoi(value)
	if err != nil {
		c.t.Fatalf("%q: %v", c.line, err)
	}
	return n
}

func (c command) millis(name, otherwise string) int32 {
	d, err := time.ParseDuration(c.option(name, otherwise))
	if err != nil {
		c.t.Fatalf("%q: %v", c.line, err)
	}
	return asMillis(d)
}

func (c command) instance() *string {
	if value, ok := c.options["instance"]; ok {
		return &value
	}
	return nil
}

// member is what a client remembers, with what the command says instead.
func (s *stage) member(c command) *stageMember {
	m := s.members[c.who()]
	if m == nil {
		m = &stageMember{generation: -1, group: "g"}
		s.members[c.who()] = m
	}
	if id := c.instance(); id != nil {
		m.instanceID = id
	}
	m.group = c.option("group", m.group)
	return m
}

func (m *stageMember) number(c command) int32 { return int32(c.number("gen", int(m.generation))) }

func (s *stage) printf(format string, args ...any) {
	fmt.Fprintf(&s.out, format+"\n", args...)
}

// send steps a request. show prints the answer, whenever it comes.
func (s *stage) send(who string, body kmsg.Request, show func(kmsg.Response)) {
	s.apply(s.m.Step(s.now, &Request{Body: body, Client: Client{ID: who, Host: "/127.0.0.1"}, Token: show}))
}

func (s *stage) apply(out Effects) {
	for _, n := range out.Notes {
		s.printf("  (%s %s)", n.Group, n.Text)
	}
	for _, r := range out.Records {
		s.log = append(s.log, Record{bytes.Clone(r.Key), bytes.Clone(r.Value)})
		s.showRecord(r)
	}
	for _, a := range slices.Clone(out.Answers) {
		a.Token.(func(kmsg.Response))(a.Response)
	}
}

func (s *stage) showRecord(r Record) {
	key, err := stored.ParseKey(r.Key)
	if err != nil {
		s.t.Fatal(err)
	}
	switch k := key.(type) {
	case stored.OffsetCommitKey:
		what := "gone"
		if v, err := stored.ParseOffsetCommitValue(r.Value); err == nil {
			what = fmt.Sprint(v.Offset)
		}
		s.printf("  record: offset of %s for %s-%d: %s", k.Group, k.Topic, k.Partition, what)
	case stored.GroupMetadataKey:
		v, err := stored.ParseGroupMetadataValue(r.Value)
		if err != nil {
			s.printf("  record: group %s: gone", k.Group)
			return
		}
		s.printf("  record: group %s: generation %d%s", k.Group, v.Generation, showMembers(v))
	default:
		s.printf("  record: %s", showConsumerRecord(key, r.Value))
	}
}

func showMembers(v stored.GroupMetadataValue) string {
	if len(v.Members) == 0 {
		return ", empty"
	}
	text := fmt.Sprintf(", %s, led by %s:", *v.Protocol, *v.Leader)
	for _, member := range v.Members {
		text += fmt.Sprintf(" %s=%s", member.ID, member.Assignment)
	}
	return text
}

// result is an error's name, or else.
func result(code int16, format string, args ...any) string {
	if code != 0 {
		return kerr.TypedErrorForCode(code).Message
	}
	return fmt.Sprintf(format, args...)
}

func text(s *string) string {
	if s == nil {
		return "none"
	}
	return *s
}

func (s *stage) join(c command) {
	m := s.member(c)
	body := kmsg.NewPtrJoinGroupRequest()
	body.Version = int16(c.number("v", 9))
	body.Group, body.MemberID, body.InstanceID = m.group, c.option("id", m.id), m.instanceID
	body.SessionTimeoutMillis = c.millis("session", "10s")
	body.RebalanceTimeoutMillis = c.millis("rebalance", "60s")
	body.ProtocolType = c.option("type", "consumer")
	for protocol := range strings.SplitSeq(c.option("protocols", "range:t"), ",") {
		name, topics, _ := strings.Cut(protocol, ":")
		metadata := kmsg.NewConsumerMemberMetadata()
		metadata.Topics = strings.Split(topics, "+")
		p := kmsg.NewJoinGroupRequestProtocol()
		p.Name, p.Metadata = name, metadata.AppendTo(nil)
		body.Protocols = append(body.Protocols, p)
	}
	s.send(c.who(), body, func(r kmsg.Response) {
		resp := r.(*kmsg.JoinGroupResponse)
		switch resp.ErrorCode {
		case 0:
			m.id, m.generation = resp.MemberID, resp.Generation
		case kerr.MemberIDRequired.Code:
			m.id = resp.MemberID
		case kerr.UnknownMemberID.Code:
			m.id, m.generation = "", -1
		}
		members := ""
		for _, other := range resp.Members {
			members += " " + other.MemberID
		}
		if members != "" {
			members = ", members" + members
		}
		if resp.SkipAssignment {
			members += ", skips the assignment"
		}
		s.printf("%s joins: %s", c.who(), result(resp.ErrorCode, "generation %d, %s, led by %s%s", resp.Generation, text(resp.Protocol), resp.LeaderID, members))
	})
}

func (s *stage) sync(c command) {
	m := s.member(c)
	body := kmsg.NewPtrSyncGroupRequest()
	body.Version = int16(c.number("v", 5))
	body.Group, body.MemberID, body.InstanceID = m.group, c.option("id", m.id), m.instanceID
	body.Generation = m.number(c)
	if name, ok := c.options["protocol"]; ok {
		body.Protocol = &name
	}
	if name, ok := c.options["type"]; ok {
		body.ProtocolType = &name
	}
	if assign, ok := c.options["assign"]; ok {
		for pair := range strings.SplitSeq(assign, ",") {
			who, what, _ := strings.Cut(pair, ":")
			a := kmsg.NewSyncGroupRequestGroupAssignment()
			a.MemberID, a.MemberAssignment = who, []byte(what)
			if other := s.members[who]; other != nil {
				a.MemberID = other.id
			}
			body.GroupAssignment = append(body.GroupAssignment, a)
		}
	}
	s.send(c.who(), body, func(r kmsg.Response) {
		resp := r.(*kmsg.SyncGroupResponse)
		s.printf("%s syncs: %s", c.who(), result(resp.ErrorCode, "%q", resp.MemberAssignment))
	})
}

func (s *stage) heartbeat(c command) {
	m := s.member(c)
	body := kmsg.NewPtrHeartbeatRequest()
	body.Version = 4
	body.Group, body.MemberID, body.InstanceID = m.group, c.option("id", m.id), m.instanceID
	body.Generation = m.number(c)
	s.send(c.who(), body, func(r kmsg.Response) {
		s.printf("%s heartbeats: %s", c.who(), result(r.(*kmsg.HeartbeatResponse).ErrorCode, "ok"))
	})
}

func (s *stage) leave(c command) {
	body := kmsg.NewPtrLeaveGroupRequest()
	body.Version = int16(c.number("v", 5))
	body.Group = c.option("group", "g")
	for _, who := range c.args {
		member := kmsg.NewLeaveGroupRequestMember()
		member.MemberID = who
		if m := s.members[who]; m != nil {
			member.MemberID, member.InstanceID = m.id, m.instanceID
			body.Group = m.group
		}
		body.Members = append(body.Members, member)
		body.MemberID = member.MemberID
	}
	if id := c.instance(); id != nil {
		body.Members = append(body.Members, kmsg.LeaveGroupRequestMember{InstanceID: id})
	}
	s.send("admin", body, func(r kmsg.Response) {
		resp := r.(*kmsg.LeaveGroupResponse)
		line := result(resp.ErrorCode, "ok")
		for _, member := range resp.Members {
			line += fmt.Sprintf(" %s=%s", strings.Trim(member.MemberID+"/"+text(member.InstanceID), "/"), result(member.ErrorCode, "ok"))
		}
		s.printf("leave: %s", line)
	})
}

// partition splits "t-0".
func (c command) partition(word string) (string, int32) {
	i := strings.LastIndexByte(word, '-')
	n, err := strconv.Atoi(word[i+1:])
	if err != nil || i < 0 {
		c.t.Fatalf("%q: %q is not a partition", c.line, word)
	}
	return word[:i], int32(n)
}

func (s *stage) commit(c command) {
	body := kmsg.NewPtrOffsetCommitRequest()
	body.Version = int16(c.number("v", 9))
	body.Group = c.option("group", "g")
	body.RetentionTimeMillis = int64(c.millis("retention", "-1ms"))
	if c.who() != "-" {
		m := s.member(c)
		body.Group, body.MemberID, body.InstanceID = m.group, c.option("id", m.id), m.instanceID
		body.Generation = m.number(c)
	} else {
		body.Generation = int32(c.number("gen", -1))
	}
	for _, word := range c.order {
		if !strings.Contains(word, "-") {
			continue
		}
		topic, partition := c.partition(word)
		t := kmsg.NewOffsetCommitRequestTopic()
		t.Topic, t.TopicID = topic, s.topics[topic].ID
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset = partition, int64(c.number(word, 0))
		if metadata, ok := c.options["metadata"]; ok {
			p.Metadata = &metadata
		}
		t.Partitions = append(t.Partitions, p)
		body.Topics = append(body.Topics, t)
	}
	s.send(c.who(), body, func(r kmsg.Response) {
		line := ""
		for _, t := range r.(*kmsg.OffsetCommitResponse).Topics {
			for _, p := range t.Partitions {
				line += fmt.Sprintf(" %s-%d=%s", t.Topic, p.Partition, result(p.ErrorCode, "ok"))
			}
		}
		s.printf("%s commits:%s", c.who(), line)
	})
}

func (s *stage) fetch(c command) {
	body := kmsg.NewPtrOffsetFetchRequest()
	body.Version = int16(c.number("v", 9))
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = c.option("group", "g")
	if c.option("member", "") != "" {
		m := s.members[c.option("member", "")]
		g.MemberID, g.MemberEpoch = &m.id, m.number(c)
	}
	for _, word := range c.args {
		topic, partition := c.partition(word)
		t := kmsg.NewOffsetFetchRequestGroupTopic()
		t.Topic, t.TopicID, t.Partitions = topic, s.topics[topic].ID, []int32{partition}
		g.Topics = append(g.Topics, t)
		body.Topics = append(body.Topics, kmsg.OffsetFetchRequestTopic{Topic: topic, Partitions: t.Partitions})
	}
	body.Group, body.Groups = g.Group, append(body.Groups, g)
	s.send("admin", body, func(r kmsg.Response) {
		resp := r.(*kmsg.OffsetFetchResponse)
		line := result(resp.ErrorCode, "")
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				line += fmt.Sprintf(" %s-%d=%s", t.Topic, p.Partition, result(p.ErrorCode, "%d", p.Offset))
			}
		}
		for _, g := range resp.Groups {
			line += result(g.ErrorCode, "")
			for _, t := range g.Topics {
				for _, p := range t.Partitions {
					line += fmt.Sprintf(" %s-%d=%s", t.Topic, p.Partition, result(p.ErrorCode, "%d", p.Offset))
				}
			}
		}
		s.printf("fetch:%s", line)
	})
}

func (s *stage) forget(c command) {
	body := kmsg.NewPtrOffsetDeleteRequest()
	body.Group = c.option("group", "g")
	for _, word := range c.args {
		topic, partition := c.partition(word)
		body.Topics = append(body.Topics, kmsg.OffsetDeleteRequestTopic{
			Topic: topic, Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: partition}},
		})
	}
	s.send("admin", body, func(r kmsg.Response) {
		resp := r.(*kmsg.OffsetDeleteResponse)
		line := result(resp.ErrorCode, "ok")
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				line += fmt.Sprintf(" %s-%d=%s", t.Topic, p.Partition, result(p.ErrorCode, "ok"))
			}
		}
		s.printf("forget: %s", line)
	})
}

func (s *stage) describe(c command) {
	body := kmsg.NewPtrDescribeGroupsRequest()
	body.Version = int16(c.number("v", 6))
	body.Groups = []string{c.option("group", "g")}
	s.send("admin", body, func(r kmsg.Response) {
		g := r.(*kmsg.DescribeGroupsResponse).Groups[0]
		s.printf("%s: %s", g.Group, result(g.ErrorCode, "%s, type %q, protocol %q", g.State, g.ProtocolType, g.Protocol))
		for _, m := range g.Members {
			s.printf("  %s of %s%s, instance %s: %d bytes, %q", m.MemberID, m.ClientID, m.ClientHost, text(m.InstanceID), len(m.ProtocolMetadata), m.MemberAssignment)
		}
	})
}

func (s *stage) list(c command) {
	body := kmsg.NewPtrListGroupsRequest()
	body.Version = int16(c.number("v", 5))
	if state, ok := c.options["state"]; ok {
		body.StatesFilter = []string{state}
	}
	if kind, ok := c.options["type"]; ok {
		body.TypesFilter = []string{kind}
	}
	s.send("admin", body, func(r kmsg.Response) {
		line := ""
		for _, g := range r.(*kmsg.ListGroupsResponse).Groups {
			line += fmt.Sprintf(" %s=%s/%s/%s", g.Group, g.GroupType, g.GroupState, g.ProtocolType)
		}
		s.printf("list:%s", line)
	})
}

func (s *stage) delete(c command) {
	body := kmsg.NewPtrDeleteGroupsRequest()
	body.Version = 3
	body.Groups = []string{c.option("group", "g")}
	s.send("admin", body, func(r kmsg.Response) {
		g := r.(*kmsg.DeleteGroupsResponse).Groups[0]
		s.printf("delete %s: %s", g.Group, result(g.ErrorCode, "ok"))
	})
}

func (s *stage) advance(c command) {
	d, err := time.ParseDuration(c.who())
	if err != nil {
		s.t.Fatalf("%q: %v", c.line, err)
	}
	start, until := s.now, s.now.Add(d)
	for {
		at, ok := s.m.Deadline()
		if !ok || at.After(until) {
			s.now = until
			return
		}
		s.now = at
		before := s.out.Len()
		s.printf("after %v:", at.Sub(start))
		header := s.out.Len()
		s.apply(s.m.Step(s.now, Tick{}))
		if s.out.Len() == header {
			kept := s.out.String()[:before]
			s.out.Reset()
			s.out.WriteString(kept)
		}
	}
}

func (s *stage) setTopics(c command) {
	topics := fakeTopics{}
	for i, name := range c.order {
		number := i
		if t, ok := s.topics[name]; ok {
			number = int(t.ID[15]) - 1
		} else {
			number += 100
		}
		topics[name] = fakeTopic(name, c.number(name, 1), number)
	}
	s.topics = topics
	s.apply(s.m.Step(s.now, TopicsChanged{topics}))
}

func (s *stage) failover(command) {
	s.apply(s.m.Deactivate())
	s.m = New(s.cfg, s.topics)
	for _, r := range s.log {
		if err := s.m.Replay(r.Key, r.Value, s.now); err != nil {
			s.t.Fatal(err)
		}
	}
	s.apply(s.m.Activate(s.now))
}
