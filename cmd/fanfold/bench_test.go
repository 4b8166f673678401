package main

import (
	"strings"
	"testing"
)

func TestBench(t *testing.T) {
	newBroker(t)
	quick := []string{"--duration", "200ms", "--warmup", "50ms", "-r", "1", "-p", "2"}
	out := succeed(t, "", append([]string{"bench", "produce", "--rate", "2000", "--record-bytes", "100", "-z", "lz4", "--text"}, quick...)...)
	want(t, out, "produce: records of 100", "2,000 records/s", "compression lz4", "verified: ", "due to acknowledged")

	got := decode[benchReport](t, succeed(t, "", append([]string{"bench", "produce", "--one-by-one", "--clients", "3", "-o", "json"}, quick...)...))
	if r := got.Result; r == nil || r.Records == 0 || *r.Read != *r.Acked || r.Ack == nil || got.Error != "" {
		t.Errorf("%+v", got)
	}
	got = decode[benchReport](t, succeed(t, "", append([]string{"bench", "latency", "--rate", "500", "--readers", "2", "-o", "json"}, quick...)...))
	if r := got.Result; r == nil || r.EndToEnd == nil || r.EndToEnd.Count == 0 || *r.Read != *r.Acked {
		t.Errorf("%+v", got)
	}
	got = decode[benchReport](t, succeed(t, "", append([]string{"bench", "mixed", "--rate", "500", "--behind-rate", "1000", "-o", "json"}, quick...)...))
	if r := got.Result; r == nil || r.EndToEnd == nil || len(r.Background) != 1 || r.Background[0].Records == 0 {
		t.Errorf("%+v", got)
	}
	got = decode[benchReport](t, succeed(t, "", "bench", "consume", "--fill", "100KiB", "--readers", "2", "-r", "1", "-o", "json"))
	if r := got.Result; r == nil || *r.Read != *r.Acked || r.Records != 2*r.Acked.Records || r.Acked.Records < 100 {
		t.Errorf("%+v", got)
	}
	if list := succeed(t, "", "topic", "list", "-o", "json"); list != "[]\n" {
		t.Errorf("topics are left behind: %s", list)
	}
}

func TestBenchOnATopicThatExists(t *testing.T) {
	newBroker(t)
	succeed(t, "", "topic", "create", "mine", "-p", "2", "-r", "1")
	succeed(t, "", "bench", "produce", "--topic", "mine", "--rate", "1000", "--duration", "100ms", "--warmup", "0s")
	want(t, succeed(t, "", "bench", "consume", "--topic", "mine"), "read: ", "records/s")
	if list := succeed(t, "", "topic", "list", "-o", "json"); !strings.Contains(list, `"mine"`) {
		t.Error("a topic that was there before was deleted")
	}
	fail(t, exitFailed, `topic "nowhere" does not exist`, "", "bench", "consume", "--topic", "nowhere")
}

func TestBenchWrongUsage(t *testing.T) {
	for _, c := range []struct {
		text string
		args []string
	}{
		{"--record-bytes must be at least 16", []string{"produce", "--record-bytes", "15"}},
		{"--clients must be at least 1", []string{"produce", "--clients", "0"}},
		{"--rate must be above 0", []string{"latency", "--rate", "0"}},
		{"a rate must not be negative", []string{"produce", "--rate", "-1"}},
		{"--duration must be above 0", []string{"produce", "--duration", "0s"}},
		{"--keep is for the topic made for the run", []string{"produce", "--topic", "t", "--keep"}},
		{"--verify needs a topic made for the run", []string{"produce", "--topic", "t", "--verify"}},
		{"--one-by-one excludes", []string{"produce", "--one-by-one", "--rate", "5"}},
		{"--fill", []string{"consume", "--fill", "much"}},
		{"there is no verb", []string{"produc"}},
	} {
		fail(t, exitUsage, c.text, "", append([]string{"bench"}, c.args...)...)
	}
}
