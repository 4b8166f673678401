package group

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func assigned(member string, generation int32, partitions ...int32) Event {
	return Event{Event: Assigned, Member: member, Generation: generation, Partitions: partitions}
}

func revoked(member string, partitions ...int32) Event {
	return Event{Event: Revoked, Member: member, Partitions: partitions}
}

// handled is a record of a topic of two partitions.
func handled(member string, partition int32, offset int64) Event {
	return Event{Event: Handled, Member: member, Partition: partition, Offset: offset, Number: offset*2 + int64(partition)}
}

func committed(member string, partition int32, offset int64) Event {
	return Event{Event: Committed, Member: member, Offsets: map[int32]int64{partition: offset}}
}

func killed(member string) Event { return Event{Event: Killed, Member: member} }

func TestJudge(t *testing.T) {
	for name, c := range map[string]struct {
		events []Event
		wrong  string // in the error of the last event; "": there is none
	}{
		"a partition goes from one to another": {[]Event{
			assigned("a", 1, 0, 1), handled("a", 0, 0), committed("a", 0, 1), revoked("a", 0),
			assigned("b", 2, 0), handled("b", 0, 1),
		}, ""},
		"what a killed member did not commit is handled again": {[]Event{
			assigned("a", 1, 0), handled("a", 0, 0), committed("a", 0, 1), handled("a", 0, 1), killed("a"),
			assigned("b", 2, 0), handled("b", 0, 1), handled("b", 0, 2),
		}, ""},
		"a member that is alive did not commit": {[]Event{
			assigned("a", 1, 0), handled("a", 0, 0), revoked("a", 0), assigned("b", 2, 0), handled("b", 0, 0),
		}, "was not killed"},
		"two owners": {[]Event{assigned("a", 1, 0), assigned("b", 2, 0)}, "a has it"},
		"two owners in a generation": {[]Event{
			assigned("a", 1, 0), revoked("a", 0), assigned("b", 1, 0),
		}, "in generation 1"},
		"a generation that falls": {[]Event{assigned("a", 2, 0), assigned("a", 1, 1)}, "generation 1 after 2"},
		"one that learns late that it was thrown out": {[]Event{
			assigned("a", 1, 0), killed("a"), assigned("b", 2, 0), {Event: Lost, Member: "a", Partitions: []int32{0}}, handled("b", 0, 0),
		}, ""},
		"a partition that another has is given up": {[]Event{assigned("a", 1, 0), revoked("b", 0)}, "gave partition 0 up"},
		"a stranger handles":                       {[]Event{assigned("a", 1, 0), handled("b", 0, 0)}, "handled by b"},
		"a hole":                                   {[]Event{assigned("a", 1, 0), handled("a", 0, 0), handled("a", 0, 2)}, "1 was next"},
		"a hole between owners": {[]Event{
			assigned("a", 1, 0), handled("a", 0, 0), revoked("a", 0), assigned("b", 2, 0), handled("b", 0, 2),
		}, "none from 1 on"},
		"committed, and handled again": {[]Event{
			assigned("a", 1, 0), handled("a", 0, 0), committed("a", 0, 1), killed("a"), assigned("b", 2, 0), handled("b", 0, 0),
		}, "1 was committed"},
		"another record":           {[]Event{assigned("a", 1, 0), {Event: Handled, Member: "a", Number: 7}}, "holds record 7"},
		"a stranger commits":       {[]Event{assigned("a", 1, 0), handled("a", 0, 0), committed("b", 0, 1)}, "b committed"},
		"a commit of the unknown":  {[]Event{assigned("a", 1, 0), committed("a", 0, 1)}, "0 are handled"},
		"a commit that falls":      {[]Event{assigned("a", 1, 0), handled("a", 0, 0), committed("a", 0, 1), committed("a", 0, 0)}, "after 1"},
		"a partition out of range": {[]Event{assigned("a", 1, 2)}, "no partition 2"},
		"an event out of range":    {[]Event{{Event: "slept"}}, "slept"},
	} {
		t.Run(name, func(t *testing.T) {
			j, err := NewJudge(2), error(nil)
			for i, e := range c.events {
				if err = j.Add(e); err != nil && (c.wrong == "" || i < len(c.events)-1) {
					t.Fatalf("event %d: %v", i, err)
				}
			}
			if c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)) {
				t.Errorf("got %v, want an error with %q", err, c.wrong)
			}
		})
	}
}

func TestSharedBy(t *testing.T) {
	j := NewJudge(2)
	for _, e := range []Event{assigned("a", 1, 0), assigned("b", 1, 1), handled("a", 0, 0)} {
		if err := j.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	if !j.SharedBy("a", "b") || j.SharedBy("a") || j.SharedBy("a", "b", "c") || j.Working() {
		t.Errorf("owners %v", j.Owners())
	}
	if err := j.Add(handled("b", 1, 0)); err != nil || !j.Working() || !slices.Equal(j.Ends(), []int64{1, 1}) {
		t.Errorf("ends %v, error %v", j.Ends(), err)
	}
	if err := j.Add(Event{Event: Left, Member: "a"}); err != nil || !j.HasLeft("a") || j.SharedBy("a", "b") {
		t.Errorf("owners %v, error %v", j.Owners(), err)
	}
}

// TestBrokerKilled: what was not committed may be handled again, what was may not.
func TestBrokerKilled(t *testing.T) {
	j := NewJudge(2)
	j.BrokerKilled = true
	for _, e := range []Event{
		assigned("a", 1, 0), handled("a", 0, 0), committed("a", 0, 1), handled("a", 0, 1), revoked("a", 0),
		assigned("b", 2, 0), handled("b", 0, 1), revoked("b", 0), assigned("a", 3, 0),
	} {
		if err := j.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Add(handled("a", 0, 0)); err == nil {
		t.Error("what was committed was handled again")
	}
}

// TestLog: events come once each, as lines are completed.
func TestLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	write := func(content []byte) {
		t.Helper()
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	log, err := OpenLog(path)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	read := func(want ...Event) {
		t.Helper()
		got, err := log.Read()
		if err != nil || !slices.EqualFunc(got, want, func(a, b Event) bool { return string(a.Line()) == string(b.Line()) }) {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
	first, second := assigned("a", 3, 0, 1), committed("a", 1, 12)
	line := second.Line()
	read()
	write(append(first.Line(), line[:10]...))
	read(first)
	write(line[10:])
	read(second)
	write([]byte("listening for transport\n"))
	if _, err := log.Read(); err == nil {
		t.Error("a line that is no event was taken")
	}
}
