package broker

import (
	"bytes"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fanfold/fanfold/cluster"
)

var rewrite = flag.Bool("rewrite", false, "write the transcripts in testdata anew")

// TestFetchSessions plays the transcripts in testdata/sessions: each command
// is followed by what it led to. -rewrite writes them anew.
//
//	topic NAME PARTITIONS        creates a topic
//	delete NAME                  deletes it
//	produce NAME-P VALUE…        appends a batch
//	trim NAME-P OFFSET           moves the log start
//	fetch [v=N] session=N epoch=N [max=BYTES] [NAME-P@OFFSET…] [forget NAME-P…]
//	sessions                     counts them
//	age SECONDS                  lets time pass
func TestFetchSessions(t *testing.T) {
	files, err := filepath.Glob("testdata/sessions/*.txt")
	must(t, err)
	if len(files) == 0 {
		t.Fatal("there are no transcripts")
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			must(t, err)
			got := playSessions(t, want)
			if *rewrite {
				must(t, os.WriteFile(file, got, 0o644))
			} else if !bytes.Equal(got, want) {
				t.Errorf("%s differs; played, it is:\n%s", file, got)
			}
		})
	}
}

// sessionPlay carries out a transcript's commands.
type sessionPlay struct {
	t    *testing.T
	node *testNode
	srv  *Server
	c    *testClient
	now  time.Time
	ids  []int32 // session numbers of the transcript, from 1, stand for these
}

func playSessions(t *testing.T, transcript []byte) []byte {
	p := &sessionPlay{t: t, node: newTestNode(t), now: time.Unix(1_700_000_000, 0), ids: []int32{0}}
	cfg := Config{MaxFetchSessions: 2}
	p.srv = testServer(t, p.node, cfg)
	p.srv.sessions.mu.Lock()
	p.srv.sessions.now = func() time.Time { return p.now }
	p.srv.sessions.mu.Unlock()
	p.c = dial(t, p.srv)
	var out bytes.Buffer
	for line := range strings.Lines(string(transcript)) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "\t"): // an earlier outcome
		case line == "" || strings.HasPrefix(line, "#"):
			fmt.Fprintln(&out, line)
		default:
			fmt.Fprintln(&out, line)
			for answer := range strings.Lines(p.play(strings.Fields(line))) {
				fmt.Fprint(&out, "\t", answer)
			}
		}
	}
	return out.Bytes()
}

func (p *sessionPlay) play(words []string) string {
	switch words[0] {
	case "topic":
		p.node.topic(words[1], int32(p.number(words[2])), nil)
	case "delete":
		p.node.mustPropose(&cluster.DeleteTopic{ID: p.node.Image().Topic(words[1]).ID, TimeMs: 1})
	case "produce":
		topic, number := p.partition(words[1])
		p.node.replica(topic, number).produce(p.t, words[2:]...)
	case "trim":
		topic, number := p.partition(words[1])
		p.node.replica(topic, number).DeleteRecords(int64(p.number(words[2])), func(int64, error) {})
	case "age":
		p.now = p.now.Add(time.Duration(p.number(words[1])) * time.Second)
	case "sessions":
		n, partitions, evicted := p.srv.sessions.counts()
		return fmt.Sprintf("%d sessions, %d partitions, %d evicted\n", n, partitions, evicted)
	case "fetch":
		return p.fetch(words[1:])
	default:
		p.t.Fatalf("no such command: %q", words)
	}
	return ""
}

func (p *sessionPlay) number(s string) int {
	n, err := strconv.Atoi(s)
	must(p.t, err)
	return n
}

func (p *sessionPlay) partition(s string) (topic string, number int32) {
	at := strings.LastIndexByte(s, '-')
	return s[:at], int32(p.number(s[at+1:]))
}

func (p *sessionPlay) fetch(words []string) string {
	req := kmsg.NewPtrFetchRequest()
	req.SetVersion(12)
	req.MaxBytes = 1 << 20
	forget := false
	for _, w := range words {
		name, value, named := strings.Cut(w, "=")
		switch {
		case named && name == "v":
			req.SetVersion(int16(p.number(value)))
		case named && name == "session":
			if n := p.number(value); n < len(p.ids) {
				req.SessionID = p.ids[n]
			} else {
				req.SessionID = math.MaxInt32 // one that there is not
			}
		case named && name == "epoch":
			req.SessionEpoch = int32(p.number(value))
		case named && name == "max":
			req.MaxBytes = int32(p.number(value))
		case w == "forget":
			forget = true
		case forget:
			topic, number := p.partition(w)
			req.ForgottenTopics = append(req.ForgottenTopics, kmsg.FetchRequestForgottenTopic{
				Topic: topic, TopicID: p.topicID(topic), Partitions: []int32{number},
			})
		default:
			where, offset, _ := strings.Cut(w, "@")
			topic, number := p.partition(where)
			fp := kmsg.NewFetchRequestTopicPartition()
			fp.Partition, fp.FetchOffset, fp.PartitionMaxBytes = number, int64(p.number(offset)), 1<<20
			req.Topics = append(req.Topics, kmsg.FetchRequestTopic{
				Topic: topic, TopicID: p.topicID(topic), Partitions: []kmsg.FetchRequestTopicPartition{fp},
			})
		}
	}
	return p.describe(p.c.receive(req, p.c.send(req)).(*kmsg.FetchResponse))
}

func (p *sessionPlay) topicID(topic string) [16]byte {
	if t := p.node.Image().Topic(topic); t != nil {
		return t.ID
	}
	return [16]byte{9}
}

func (p *sessionPlay) describe(resp *kmsg.FetchResponse) string {
	var b strings.Builder
	known := -1
	for n, id := range p.ids {
		if id == resp.SessionID {
			known = n
		}
	}
	if known < 0 {
		known = len(p.ids)
		p.ids = append(p.ids, resp.SessionID)
	}
	fmt.Fprintf(&b, "session %d", known)
	if err := kerr.TypedErrorForCode(resp.ErrorCode); err != nil {
		fmt.Fprintf(&b, " %s", err.Message)
	}
	fmt.Fprintln(&b)
	for _, t := range resp.Topics {
		name := t.Topic
		for topic := range p.node.Image().Topics() {
			if resp.Version >= 13 && topic.ID == t.TopicID {
				name = topic.Name
			}
		}
		for _, fp := range t.Partitions {
			fmt.Fprintf(&b, "%s-%d %d–%d", name, fp.Partition, fp.LogStartOffset, fp.HighWatermark)
			if err := kerr.TypedErrorForCode(fp.ErrorCode); err != nil {
				fmt.Fprintf(&b, " %s", err.Message)
			}
			fmt.Fprintln(&b, strings.TrimRight(" "+strings.Join(valuesOf(p.t, fp.RecordBatches), " "), " "))
		}
	}
	return b.String()
}

// Epochs go from the largest to 1: 0 would open a session.
func TestSessionEpochsWrap(t *testing.T) {
	node := newTestNode(t)
	node.topic("t", 1, nil)
	s := testServer(t, node, Config{})
	c := dial(t, s)
	open := fetchRequest(12, node, "t", 0)
	open.MaxWaitMillis, open.SessionEpoch = 0, 0
	id := c.receive(open, c.send(open)).(*kmsg.FetchResponse).SessionID
	session := s.sessions.get(id)
	session.mu.Lock()
	session.mu.epoch = math.MaxInt32
	session.mu.Unlock()
	for _, epoch := range []int32{math.MaxInt32, 1} {
		next := kmsg.NewPtrFetchRequest()
		next.SetVersion(12)
		next.SessionID, next.SessionEpoch = id, epoch
		if resp := c.receive(next, c.send(next)).(*kmsg.FetchResponse); resp.ErrorCode != 0 {
			t.Fatalf("epoch %d is answered %v", epoch, kerr.ErrorForCode(resp.ErrorCode))
		}
	}
}

// All sessions together remember a bounded number of partitions.
func TestSessionsAreBoundedByTheirPartitions(t *testing.T) {
	cache := newSessionCache(1000)
	open := func(partitions int) int32 {
		f := &fetchCall{version: 12}
		for n := range partitions {
			f.addItem(sessionKey{name: "t", number: int32(n)}, fetchParams{}, nil)
		}
		return cache.open(f)
	}
	if open(maxSessionPartitions+1) != 0 {
		t.Error("a session of too many partitions is opened")
	}
	large := open(maxSessionPartitions)
	if large == 0 {
		t.Fatal("the largest session is not opened")
	}
	if open(1) != 0 {
		t.Error("another session is opened beside the largest")
	}
	if cache.resize(cache.get(large), maxSessionPartitions+1) {
		t.Error("the largest session grows")
	}
	cache.remove(large)
	if open(1) == 0 {
		t.Error("no session is opened once there is room")
	}
}
