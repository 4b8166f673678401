package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// endsWithin sees that the broker closes the connection in time.
func (c *rawConn) endsWithin(d time.Duration) {
	c.t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(d))
	var b [4096]byte
	for {
		if _, err := c.Read(b[:]); errors.Is(err, os.ErrDeadlineExceeded) {
			c.t.Errorf("the connection is open after %v", d)
			return
		} else if err != nil {
			return
		}
	}
}

// TestHostileSlowClients has clients that send slowly, not at all, or do not
// read. FANFOLD_HOSTILE=full waits for the time-outs that no setting changes.
func TestHostileSlowClients(t *testing.T) {
	v := newVictim(t, "--set", "connections.max.idle.ms=1s")
	t.Run("idle", func(t *testing.T) {
		c := v.on(t).dial()
		c.proves()
		c.endsWithin(5 * time.Second)
	})
	t.Run("half of a large frame does not hold others up", func(t *testing.T) {
		v := v.on(t)
		for range 2 {
			c := v.dial()
			c.proves() // who is not known yet gets less
			c.send(append(binary.BigEndian.AppendUint32(nil, 40<<20), frame(0, 9, nil)[4:]...))
		}
		pause(t.Context(), 200*time.Millisecond) // they have what they can get
		v.served()
		// A large request gets its room when others turn out to be stalled.
		v.createTopic("large", 1)
		client := v.client(kgo.DefaultProduceTopic("large"), kgo.ProducerBatchCompression(kgo.NoCompression()))
		began := time.Now()
		if err := client.ProduceSync(t.Context(), &kgo.Record{Value: make([]byte, 500_000)}).FirstErr(); err != nil {
			t.Error(err)
		}
		t.Logf("a large request passes after %d ms", time.Since(began).Milliseconds())
	})
	if !hostileFull() {
		return
	}
	slow := map[string]*rawConn{}
	for name, start := range map[string]func(c *rawConn){
		"nothing at all":  func(*rawConn) {},
		"half a length":   func(c *rawConn) { c.send([]byte{0, 0}) },
		"half a frame":    func(c *rawConn) { c.send(frame(18, 0, nil)[:12]) },
		"a byte a second": func(c *rawConn) { go c.trickle(frame(3, 9, make([]byte, 1000))) },
		"reads no answer": func(c *rawConn) { go c.floodMetadata() },
	} {
		slow[name] = v.dial()
		start(slow[name])
	}
	pause(t.Context(), 45*time.Second) // 30 from the last byte, length and header apart
	v.served()
	for name, c := range slow {
		t.Run(name, func(t *testing.T) { (&rawConn{c.Conn, t}).endsWithin(time.Second) })
	}
}

func (c *rawConn) trickle(b []byte) {
	for i := range b {
		if _, err := c.Write(b[i : i+1]); err != nil || !pause(c.t.Context(), time.Second) {
			return
		}
	}
}

func (c *rawConn) floodMetadata() {
	b := requestFrame(filled(3, 1))
	for {
		_ = c.SetWriteDeadline(time.Now().Add(time.Minute))
		if _, err := c.Write(b); err != nil {
			return
		}
	}
}

// TestHostileReaders asks for large answers and reads none of them.
func TestHostileReaders(t *testing.T) {
	v := newVictim(t)
	v.createTopic("large", 1)
	v.createTopic("w", 100)
	client := v.client(kgo.DefaultProduceTopic("large"), kgo.ProducerBatchMaxBytes(1_000_000), kgo.ProducerBatchCompression(kgo.NoCompression()))
	for range 200 {
		client.Produce(t.Context(), &kgo.Record{Value: make([]byte, 500_000)}, nil)
	}
	if err := client.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	fetch := func(topic string, partitions int, wait, minBytes int32) []byte {
		req := kmsg.NewPtrFetchRequest()
		req.Version, req.MaxWaitMillis, req.MinBytes, req.MaxBytes = 4, wait, minBytes, 1<<30
		rt := kmsg.NewFetchRequestTopic()
		rt.Topic = topic
		for i := range partitions {
			rp := kmsg.NewFetchRequestTopicPartition()
			rp.Partition, rp.PartitionMaxBytes = int32(i%100), 1<<30
			rt.Partitions = append(rt.Partitions, rp)
		}
		req.Topics = append(req.Topics, rt)
		return requestFrame(req)
	}
	all := func(conns, requests int, input []byte) {
		for range conns {
			c := v.dial()
			go func() {
				for range requests {
					c.send(input)
				}
			}()
		}
		pause(t.Context(), time.Duration(quickOr(700, 2000))*time.Millisecond)
		v.served()
	}
	v.bounded("large fetches that nobody reads", 64<<20, func() { all(20, 2000, fetch("large", 1, 0, 1)) })
	v.bounded("metadata that nobody reads", 64<<20, func() { all(20, 2000, requestFrame(&kmsg.MetadataRequest{Version: 1})) })
	v.bounded("fetches of many partitions that wait", 96<<20, func() {
		all(quickOr(4, 40), 300, fetch("w", 2000, 60_000, 1<<30))
	})
}

// descriptors is how many files and sockets the broker has open.
func (v *victim) descriptors() int {
	v.t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", v.PID()))
	if err != nil {
		v.t.Fatal(err)
	}
	return len(entries)
}

// TestHostileConnections opens very many connections that send nothing, or
// garbage: 1,000, or 10,000 with FANFOLD_HOSTILE=full.
func TestHostileConnections(t *testing.T) {
	n := quickOr(1000, 10_000)
	v := newVictim(t, "--set", fmt.Sprintf("max.connections=%d", n*8/10), "--set", fmt.Sprintf("max.connections.per.ip=%d", n*4/10))
	before := v.descriptors()
	var conns []net.Conn
	closeAll := func() {
		for _, c := range conns {
			c.Close()
		}
		conns = nil
	}
	t.Cleanup(closeAll)
	open := func(ip byte, count int, input []byte) {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, ip)}, Timeout: answeredWithin}
		for range count {
			c, err := dialer.Dial("tcp", v.address)
			if err != nil {
				t.Fatalf("after %d connections: %v", len(conns), err)
			}
			conns = append(conns, c)
			if input != nil {
				_, _ = c.Write(input)
			}
		}
	}
	v.bounded(fmt.Sprintf("%d connections", n), int64(n)*20<<10+16<<20, func() {
		for ip := byte(2); ip < 7; ip++ {
			open(ip, n/5, nil)
		}
		v.served()
		held := v.descriptors() - before
		// Those that had to go for others are closed behind their backs.
		for deadline := time.Now().Add(answeredWithin); held > n*8/10+50 && time.Now().Before(deadline); {
			pause(t.Context(), 20*time.Millisecond)
			held = v.descriptors() - before
		}
		t.Logf("%d connections are open, the broker holds %d; %d MiB resident", n, held, v.memory("VmRSS")>>20)
		if held > n*8/10+50 {
			t.Errorf("%d connections are held, max.connections is %d", held, n*8/10)
		}
		// One address alone, beyond its share: refused, while others connect.
		open(7, n/2, []byte{0, 0})
		v.served()
		c := v.dial()
		c.proves()
		c.Close()
	})
	closeAll()
	v.bounded(fmt.Sprintf("%d connections with garbage", n), int64(n)*20<<10+16<<20, func() {
		for i := range n {
			open(byte(2+i%5), 1, []byte("GET / HTTP/1.1\r\n\r\n"))
		}
		v.served()
	})
	closeAll()
	for deadline := time.Now().Add(answeredWithin); v.descriptors() > before+20; {
		if time.Now().After(deadline) {
			t.Fatalf("%d descriptors are open, %d were before", v.descriptors(), before)
		}
		pause(t.Context(), 20*time.Millisecond)
	}
}

// TestHostilePipeline sends thousands of requests without reading an answer,
// then reads all of them.
func TestHostilePipeline(t *testing.T) {
	v := newVictim(t)
	n := quickOr(5000, 50_000)
	v.bounded(fmt.Sprintf("%d requests at once", n), 32<<20, func() {
		c := v.dial()
		var sent sync.WaitGroup
		sent.Go(func() {
			b := requestFrame(kmsg.NewPtrApiVersionsRequest())
			for range n {
				c.send(b)
			}
		})
		pause(t.Context(), 300*time.Millisecond)
		v.served()
		for i := range n {
			if _, err := c.receive(); err != nil {
				t.Fatalf("answer %d: %v", i, err)
			}
		}
		sent.Wait()
	})
}

// TestHostileTopics asks for topics beyond all limits.
func TestHostileTopics(t *testing.T) {
	v := newVictim(t, "--set", "max.topics=50", "--set", "max.partitions=200")
	c := v.dial()
	create := func(name string, partitions int32, pairs ...string) (message string, code error) {
		t.Helper()
		req := kmsg.NewPtrCreateTopicsRequest()
		req.Version, req.TimeoutMillis = 4, 10_000
		rt := kmsg.NewCreateTopicsRequestTopic()
		rt.Topic, rt.NumPartitions, rt.ReplicationFactor = name, partitions, 1
		for i := 0; i < len(pairs); i += 2 {
			rt.Configs = append(rt.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: pairs[i], Value: &pairs[i+1]})
		}
		req.Topics = append(req.Topics, rt)
		resp := c.answer(req).(*kmsg.CreateTopicsResponse)
		if m := resp.Topics[0].ErrorMessage; m != nil {
			message = *m
		}
		return message, kerr.ErrorForCode(resp.Topics[0].ErrorCode)
	}
	for _, r := range []struct {
		name       string
		partitions int32
		pairs      []string
		code       error
		text       string
	}{
		{strings.Repeat("n", 249), 1, nil, nil, ""},
		{strings.Repeat("n", 250), 1, nil, kerr.InvalidTopicException, "250 characters is longer than 249"},
		{strings.Repeat("n", 30_000), 1, nil, kerr.InvalidTopicException, "30000 characters"},
		{"", 1, nil, kerr.InvalidTopicException, "empty"},
		{"..", 1, nil, kerr.InvalidTopicException, `".."`},
		{"../../etc", 1, nil, kerr.InvalidTopicException, "illegal character"},
		{"a b", 1, nil, kerr.InvalidTopicException, "illegal character"},
		{"a\x00b", 1, nil, kerr.InvalidTopicException, "illegal character"},
		{"ünï", 1, nil, kerr.InvalidTopicException, "illegal character"},
		{"\xff\xfe", 1, nil, kerr.InvalidTopicException, "illegal character"},
		{"million", 1_000_000, nil, kerr.PolicyViolation, "1000000 partitions"},
		{"most", 1<<31 - 1, nil, kerr.PolicyViolation, "2147483647 partitions"},
		{"some", 201, nil, kerr.PolicyViolation, "max.partitions"},
		{"none", 0, nil, kerr.InvalidPartitions, ""},
		{"negative", -5, nil, kerr.InvalidPartitions, ""},
		{"compacted", 1, []string{"cleanup.policy", "compacted"}, kerr.InvalidConfig, "delete, compact"},
		{"both", 1, []string{"cleanup.policy", "compact,erase"}, kerr.InvalidConfig, "delete, compact"},
		{"unclean", 1, []string{"unclean.leader.election.enable", "true"}, kerr.InvalidConfig, "unclean.leader.election.enable"},
		{"misspelt", 1, []string{"retention.mss", "5"}, kerr.InvalidConfig, "retention.ms"},
		{"no-number", 1, []string{"retention.ms", "soon"}, kerr.InvalidConfig, "retention.ms"},
	} {
		message, code := create(r.name, r.partitions, r.pairs...)
		if !errors.Is(code, r.code) || !strings.Contains(message, r.text) {
			t.Errorf("%.40q of %d partitions %q: %v %q, want %v and %q", r.name, r.partitions, r.pairs, code, message, r.code, r.text)
		} else if r.code != nil {
			t.Logf("%.20q %q: %v: %s", r.name, r.pairs, code, message)
		}
	}
	v.served()
	t.Run("configs", func(t *testing.T) { v.on(t).hostileConfigs() })
	t.Run("a flood of new names", func(t *testing.T) {
		v := v.on(t)
		created, refused := 0, 0
		for i := range 120 {
			req := kmsg.NewPtrMetadataRequest()
			req.Version, req.AllowAutoTopicCreation = 4, true
			rt := kmsg.NewMetadataRequestTopic()
			rt.Topic = kmsg.StringPtr(fmt.Sprint("flood-", i))
			req.Topics = append(req.Topics, rt)
			resp := c.answer(req).(*kmsg.MetadataResponse)
			switch code := kerr.ErrorForCode(resp.Topics[0].ErrorCode); {
			case code == nil:
				created++
			case errors.Is(code, kerr.PolicyViolation):
				refused++
			default:
				t.Fatalf("topic %d: %v", i, code)
			}
		}
		t.Logf("%d topics are created, %d refused", created, refused)
		if created+2 != 50 {
			t.Errorf("%d topics are created beside 2, max.topics is 50", created)
		}
		v.served()
	})
}

func (v *victim) hostileConfigs() {
	t := v.t
	c := v.dial()
	describe := kmsg.NewPtrDescribeConfigsRequest()
	describe.Version = 1
	for _, r := range []struct {
		kind kmsg.ConfigResourceType
		name string
	}{{kmsg.ConfigResourceTypeTopic, "no-such"}, {kmsg.ConfigResourceTypeBroker, "77"}, {kmsg.ConfigResourceTypeBroker, "x"}, {99, "y"}} {
		rr := kmsg.NewDescribeConfigsRequestResource()
		rr.ResourceType, rr.ResourceName = r.kind, r.name
		describe.Resources = append(describe.Resources, rr)
	}
	resp := c.answer(describe).(*kmsg.DescribeConfigsResponse)
	for i, r := range resp.Resources {
		if r.ErrorCode == 0 || r.ErrorMessage == nil || *r.ErrorMessage == "" || len(r.Configs) > 0 {
			t.Errorf("describing %q: %+v", r.ResourceName, r)
		} else {
			t.Logf("describing %q: %v: %s", describe.Resources[i].ResourceName, kerr.ErrorForCode(r.ErrorCode), *r.ErrorMessage)
		}
	}
	for name, text := range map[string]string{
		"retention.mss": `did you mean "retention.ms"`, "no.such.thing.at.all": "no.such.thing.at.all", "cleanup.policy": "not one of delete, compact",
	} {
		alter := kmsg.NewPtrIncrementalAlterConfigsRequest()
		rr := kmsg.NewIncrementalAlterConfigsRequestResource()
		rr.ResourceType, rr.ResourceName = kmsg.ConfigResourceTypeTopic, "neighbour"
		rc := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		rc.Name, rc.Value = name, kmsg.StringPtr("compress")
		rr.Configs = append(rr.Configs, rc)
		alter.Resources = append(alter.Resources, rr)
		altered := c.answer(alter).(*kmsg.IncrementalAlterConfigsResponse).Resources[0]
		if altered.ErrorCode != kerr.InvalidConfig.Code || altered.ErrorMessage == nil || !strings.Contains(*altered.ErrorMessage, text) {
			t.Errorf("altering %s: %+v", name, altered)
		}
	}
}

// TestHostileTransactions sees that transactional producers, which are not
// served yet, stop at once.
func TestHostileTransactions(t *testing.T) {
	v := newVictim(t)
	c := v.dial()
	for version := int16(0); version <= 5; version++ {
		req := kmsg.NewPtrInitProducerIDRequest()
		req.Version, req.TransactionalID, req.TransactionTimeoutMillis = version, kmsg.StringPtr("tx"), 1000
		resp := c.answer(req).(*kmsg.InitProducerIDResponse)
		if err := kerr.ErrorForCode(resp.ErrorCode); err == nil || kerr.IsRetriable(err) {
			t.Errorf("version %d is answered by %v", version, err)
		}
	}
	began := time.Now()
	client := v.client(kgo.TransactionalID("tx"), kgo.DefaultProduceTopic("neighbour"))
	err := client.BeginTransaction()
	if err == nil {
		err = client.ProduceSync(t.Context(), kgo.StringRecord("x")).FirstErr()
	}
	if took := time.Since(began); err == nil || took > 5*time.Second {
		t.Errorf("kgo ends with %v after %v", err, took)
	}
	t.Logf("kgo: %v after %d ms", err, time.Since(began).Milliseconds())
}

// TestHostileBudget has many clients send requests of the largest size at once.
func TestHostileBudget(t *testing.T) {
	v := newVictim(t)
	v.createTopic("wide", 8, "max.message.bytes", "20000000")
	n := quickOr(12, 60)
	value := make([]byte, 8<<20)
	v.bounded(fmt.Sprintf("%d clients of %d MiB each", n, len(value)>>20), 160<<20, func() {
		var running sync.WaitGroup
		for i := range n {
			client := v.client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchMaxBytes(10_000_000), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedBytes(20<<20))
			running.Go(func() {
				for range quickOr(1, 4) {
					if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "wide", Partition: int32(i % 8), Value: value}).FirstErr(); err != nil {
						t.Errorf("client %d: %v", i, err)
					}
				}
			})
		}
		running.Wait()
	})
	v.served()
}

// A failed produce that wants no answer is told by the connection's end.
func TestHostileProduceWithoutAnswer(t *testing.T) {
	v := newVictim(t)
	for version := int16(3); version <= 13; version++ {
		req := filled(0, version).(*kmsg.ProduceRequest)
		req.Acks, req.TransactionID = 0, nil
		c := v.dial()
		c.send(requestFrame(req))
		c.closed()
	}
}
