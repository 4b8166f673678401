package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// commitFor commits offsets of a group without members: topic t, by partition.
func commitFor(t *testing.T, cluster *kfake.Cluster, group string, offsets map[int32]int64) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	var all kadm.Offsets
	for p, at := range offsets {
		all.AddOffset("t", p, at, -1)
	}
	if err := kadm.NewClient(cl).CommitAllOffsets(t.Context(), group, all); err != nil {
		t.Fatal(err)
	}
}

func describeOne(t *testing.T, group string, flags ...string) groupState {
	t.Helper()
	return decode[[]groupState](t, succeed(t, "", append([]string{"group", "describe", group, "-o", "json"}, flags...)...))[0]
}

func TestGroupLife(t *testing.T) {
	cluster := newBroker(t, kfake.SeedTopics(2, "t"))
	seed(t, cluster, numbered("t", 0, 5)...)
	seed(t, cluster, numbered("t", 1, 3)...)
	commitFor(t, cluster, "readers", map[int32]int64{0: 2, 1: 3})

	list := decode[[]listedGroup](t, succeed(t, "", "group", "list", "-o", "json"))
	if len(list) != 1 || list[0].Name != "readers" || list[0].State != "Empty" {
		t.Errorf("%+v", list)
	}
	want(t, succeed(t, "", "group", "list", "read*"), "NAME     TYPE", "readers  ", "Empty")
	if out := succeed(t, "", "group", "list", "none*", "-o", "json"); out != "[]\n" {
		t.Errorf("an empty list is %q", out)
	}

	g := describeOne(t, "readers")
	if g.Lag != 3 || g.LagMillis == nil || len(g.Partitions) != 2 || *g.Partitions[0].Lag != 3 || *g.Partitions[1].Lag != 0 || *g.Partitions[1].LagMillis != 0 {
		t.Errorf("%+v", g)
	}
	// The oldest unread record is the one at offset 2.
	age := time.Since(time.UnixMilli(1700000002000)).Milliseconds()
	if got := *g.Partitions[0].LagMillis; got > age || got < age-60_000 {
		t.Errorf("time lag %d, want %d", got, age)
	}
	if g := describeOne(t, "readers", "--no-time-lag"); g.Partitions[0].LagMillis != nil || *g.Partitions[0].Lag != 3 {
		t.Errorf("%+v", g)
	}
	want(t, succeed(t, "", "group", "describe", "readers"), "readers\n  state        Empty\n", "coordinator  0 (127.0.0.1:", "members      0\n",
		"lag          3 records on 1 partition, the oldest ", "TOPIC  PARTITION  COMMITTED  START  END  LAG  TIME LAG  MEMBER  NOTE\n")

	fail(t, exitFailed, `group "readers" has committed nothing for topic "u"`, "", "group", "delete-offsets", "readers", "--topic", "u")
	if out := succeed(t, "", "group", "delete-offsets", "readers", "--topic", "t:1"); out != "DELETED OF TOPIC  PARTITION  OFFSET\nt                         1       3\n" {
		t.Errorf("delete-offsets says\n%s", out)
	}
	if g := describeOne(t, "readers"); len(g.Partitions) != 1 || g.Partitions[0].Partition != 0 {
		t.Errorf("%+v", g.Partitions)
	}

	want(t, succeed(t, "", "group", "delete", "readers"), "deleted readers\n")
	fail(t, exitFailed, `group "readers" does not exist; --if-exists lets that be`, "", "group", "delete", "readers")
	want(t, succeed(t, "", "group", "delete", "readers", "--if-exists"), "readers does not exist\n")
	fail(t, exitFailed, `group "readers" does not exist (all groups: fanfold group list)`, "", "group", "describe", "readers")
	fail(t, exitFailed, `group "readers" does not exist`, "", "group", "delete-offsets", "readers", "--topic", "t")
}

func TestGroupListFilters(t *testing.T) {
	cluster := newBroker(t, kfake.SeedTopics(1, "t"))
	commitFor(t, cluster, "idle", map[int32]int64{0: 0})
	stop := startMember(t, "consume", "t", "--group", "busy")
	defer stop()
	modern := startMember(t, "consume", "t", "--group", "modern", "--group-protocol", "consumer")
	defer modern()
	awaitGroup(t, "busy", func(g groupState) bool { return g.State == "Stable" })
	awaitGroup(t, "modern", func(g groupState) bool { return g.State == "Stable" })
	for args, names := range map[string]string{
		"":                              "busy idle modern",
		"--state empty":                 "idle",
		"--state Stable,empty":          "busy idle modern",
		"--state stable --type classic": "busy",
		"--type consumer":               "modern",
		"--type share":                  "",
	} {
		var got []string
		for _, g := range decode[[]listedGroup](t, succeed(t, "", append([]string{"group", "list", "-o", "json"}, strings.Fields(args)...)...)) {
			got = append(got, g.Name)
		}
		if strings.Join(got, " ") != names {
			t.Errorf("group list %s gives %q, want %q", args, got, names)
		}
	}
	want(t, succeed(t, "", "__complete", "group", "describe", ""), "busy\n", "idle\n", "modern\n")
}

// TestGroupListOfOldBroker stands for a broker that knows no filters.
func TestGroupListOfOldBroker(t *testing.T) {
	cluster := newBroker(t, kfake.SeedTopics(1, "t"))
	cluster.ControlKey(int16(kmsg.ListGroups), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		resp := req.ResponseKind().(*kmsg.ListGroupsResponse)
		for _, state := range []string{"Stable", "Empty"} {
			g := kmsg.NewListGroupsResponseGroup()
			g.Group, g.GroupState = "is-"+state, state
			resp.Groups = append(resp.Groups, g)
		}
		return resp, nil, true
	})
	list := decode[[]listedGroup](t, succeed(t, "", "group", "list", "--state", "empty", "--type", "classic", "-o", "json"))
	if len(list) != 1 || list[0].Name != "is-Empty" {
		t.Errorf("%+v", list)
	}
	if list := decode[[]listedGroup](t, succeed(t, "", "group", "list", "--type", "consumer", "-o", "json")); len(list) != 0 {
		t.Errorf("%+v", list)
	}
}

func TestGroupDescribeNotes(t *testing.T) {
	cluster := newBroker(t, kfake.SeedTopics(4, "t"))
	seed(t, cluster, numbered("t", 0, 5)...)
	seed(t, cluster, numbered("t", 1, 5)...)
	commitFor(t, cluster, "g", map[int32]int64{0: 9, 1: 1, 3: 0})
	deleteBefore(t, cluster, 1, 3)
	g := describeOne(t, "g")
	for i, want := range []struct {
		lag  int64
		note string
	}{{0, "committed beyond the log's end"}, {4, "2 records deleted unread"}, {0, ""}} {
		if p := g.Partitions[i]; *p.Lag != want.lag || p.Note != want.note {
			t.Errorf("%+v, want %+v", p, want)
		}
	}
}

// deleteBefore moves the start of a partition of topic t.
func deleteBefore(t *testing.T, cluster *kfake.Cluster, partition int32, offset int64) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	var to kadm.Offsets
	to.AddOffset("t", partition, offset, -1)
	if _, err := kadm.NewClient(cl).DeleteRecords(t.Context(), to); err != nil {
		t.Fatal(err)
	}
}

func TestGroupWithMembersIsLeftAlone(t *testing.T) {
	cluster := newBroker(t, kfake.SeedTopics(1, "t"))
	seed(t, cluster, numbered("t", 0, 5)...)
	for _, protocol := range []string{"classic", "consumer"} {
		t.Run(protocol, func(t *testing.T) {
			stop := startMember(t, "consume", "t", "--group", protocol, "--group-protocol", protocol)
			defer stop()
			awaitGroup(t, protocol, func(g groupState) bool {
				return len(g.Partitions) == 1 && *g.Partitions[0].End == 5 && g.Lag == 0 && g.Partitions[0].Lag != nil
			})
			g := describeOne(t, protocol)
			if g.Type != protocol || len(g.Members) != 1 || g.Members[0].ClientID != "fanfold" || g.Members[0].Host == "" || g.Partitions[0].Member != g.Members[0].ID ||
				partitionsText(g.Members[0].Assigned) != "t:0" || g.Assignor == "" {
				t.Errorf("%+v", g)
			}
			want(t, succeed(t, "", "group", "describe", protocol), "  MEMBER  ", "  t:0\n", "lag          none\n")
			fail(t, exitFailed, "has active members; stop them first (who they are: fanfold group describe "+protocol+")", "", "group", "delete", protocol)
			fail(t, exitFailed, "is Stable and has 1 member, who would go on from where they are; stop them first", "",
				"group", "reset-offsets", protocol, "--topic", "t", "--to-earliest", "--execute")
			r := fanfold(t, "", "group", "reset-offsets", protocol, "--topic", "t", "--to-earliest")
			if r.status != exitOK || !strings.Contains(r.stderr, "--execute would be refused") || !strings.Contains(r.stdout, "-5") {
				t.Errorf("%+v", r)
			}
			fail(t, exitFailed, "stop them first", "", "group", "delete-offsets", protocol, "--topic", "t")
		})
	}
}

func TestResetOffsetsTargets(t *testing.T) {
	cluster := newBroker(t, kfake.SeedTopics(3, "t"))
	for p := range int32(3) {
		seed(t, cluster, numbered("t", p, 10)...)
	}
	deleteBefore(t, cluster, 1, 2)
	commitFor(t, cluster, "g", map[int32]int64{0: 4, 1: 6})
	for _, c := range []struct {
		args  string
		after string // by partition
		notes string
	}{
		{"--topic t --to-earliest", "0 2 0", ""},
		{"--topic t --to-latest", "10 10 10", ""},
		{"--topic t --to-current", "4 6 -", "nothing committed, left alone"},
		{"--all-topics --to-earliest", "0 2", ""},
		{"--topic t:0,1 --to-offset 1", "1 2", "1 is before the log's start"},
		{"--topic t:2 --to-offset 99", "10", "99 is beyond the log's end"},
		{"--topic t:0-1 --shift-by -3", "1 3", ""},
		{"--topic t:0-1 --shift-by -5", "0 2", "-1 is before the log's start; 1 is before the log's start"},
		{"--topic t --shift-by 9223372036854775807", "10 10 -", "9223372036854775807 is beyond the log's end; 9223372036854775807 is beyond the log's end; nothing committed, left alone"},
		{"--topic t --to-datetime 2023-11-14T22:13:28Z", "8 8 8", ""},
		{"--topic t --to-datetime @1700000004500", "5 5 5", ""},
		{"--topic t --by-duration 1h", "10 10 10", ""},
		{"--topic t --by-duration P9999W", "0 2 0", ""},
	} {
		args := append([]string{"group", "reset-offsets", "g", "-o", "json"}, strings.Fields(c.args)...)
		got := decode[resetResult](t, succeed(t, "", args...))
		var after, notes []string
		for _, p := range got.Partitions {
			after = append(after, orDash(p.After))
			if p.Note != "" {
				notes = append(notes, p.Note)
			}
		}
		if strings.Join(after, " ") != c.after || strings.Join(notes, "; ") != c.notes || got.Executed {
			t.Errorf("%s gives %q, notes %q", c.args, after, notes)
		}
	}
	if g := describeOne(t, "g"); *g.Partitions[0].Committed != 4 || *g.Partitions[1].Committed != 6 {
		t.Errorf("a dry run changed %+v", g.Partitions)
	}
}

func TestResetOffsetsExecute(t *testing.T) {
	cluster := newBroker(t, kfake.SeedTopics(2, "t"))
	seed(t, cluster, numbered("t", 0, 10)...)
	commitFor(t, cluster, "g", map[int32]int64{0: 4})

	r := fanfold(t, "", "group", "reset-offsets", "g", "--topic", "t", "--to-offset", "1")
	if r.stdout != "TOPIC  PARTITION  BEFORE  AFTER  CHANGE  LAG AFTER  NOTE\n"+
		"t              0       4      1      -3          9\n"+
		"t              1       -      0       -          0  1 is beyond the log's end\n" || r.stderr != "nothing was changed; --execute does it\n" {
		t.Errorf("%+v", r)
	}
	r = fanfold(t, "", "group", "reset-offsets", "g", "--topic", "t", "--to-offset", "1", "--execute")
	if r.status != exitOK || r.stderr != "" {
		t.Errorf("%+v", r)
	}
	if g := describeOne(t, "g"); len(g.Partitions) != 2 || *g.Partitions[0].Committed != 1 || *g.Partitions[1].Committed != 0 {
		t.Errorf("%+v", g.Partitions)
	}
	if got := succeed(t, "", "consume", "t", "--group", "g", "-e", "-D", ""); got != "123456789" {
		t.Errorf("read %q after the reset", got)
	}

	r = fanfold(t, "", "group", "reset-offsets", "new", "--topic", "t", "--to-latest")
	if r.status != exitOK || !strings.Contains(r.stderr, `group "new" does not exist: --execute creates it`) {
		t.Errorf("%+v", r)
	}
	succeed(t, "", "group", "reset-offsets", "new", "--topic", "t", "--to-latest", "--execute")
	if got := succeed(t, "", "consume", "t", "--group", "new", "-e"); got != "" {
		t.Errorf("a group at the end read %q", got)
	}
	fail(t, exitFailed, "has committed nothing; name what to set with --topic", "", "group", "reset-offsets", "newer", "--all-topics", "--to-latest")
	fail(t, exitFailed, `topic "nowhere" does not exist`, "", "group", "reset-offsets", "g", "--topic", "nowhere", "--to-latest")
	fail(t, exitFailed, `topic "t" has 2 partitions, numbered from 0, and no partition 7`, "", "group", "reset-offsets", "g", "--topic", "t:0,7", "--to-latest")
}

func TestResetOffsetsByFile(t *testing.T) {
	cluster := newBroker(t, kfake.SeedTopics(3, "t"))
	for p := range int32(3) {
		seed(t, cluster, numbered("t", p, 10)...)
	}
	commitFor(t, cluster, "g", map[int32]int64{0: 4, 2: 6})
	saved := succeed(t, "", "group", "reset-offsets", "g", "--all-topics", "--export")
	if saved != "t,0,4\nt,2,6\n" {
		t.Fatalf("exported %q", saved)
	}
	succeed(t, "", "group", "reset-offsets", "g", "--topic", "t", "--to-latest", "--execute")
	file := filepath.Join(t.TempDir(), "saved.csv")
	if err := os.WriteFile(file, []byte(saved), 0o600); err != nil {
		t.Fatal(err)
	}
	succeed(t, "", "group", "reset-offsets", "g", "--from-file", file, "--execute")
	if out := succeed(t, "", "group", "reset-offsets", "g", "--all-topics", "--export"); out != "t,0,4\nt,1,10\nt,2,6\n" {
		t.Errorf("after the file: %q", out)
	}
	got := decode[resetResult](t, succeed(t, "other,t,0,1\ng,\"t\",1,3\n", "group", "reset-offsets", "g", "--from-file", "-", "-o", "json"))
	if len(got.Partitions) != 1 || got.Partitions[0].Partition != 1 || *got.Partitions[0].After != 3 {
		t.Errorf("%+v", got)
	}
	for text, why := range map[string]string{
		"t,0\n":              "line 1: it has 2 fields, not topic,partition,offset",
		"t,0,1\nt,-1,1\n":    `line 2: "-1" is no partition`,
		"t,0,x\n":            `line 1: "x" is no offset`,
		"t,0,1\nt,1,1\nt,0,": "line 3: ",
		"t,0,1\nt,0,2\n":     `line 2: topic "t", partition 0 comes twice`,
		"other,t,0,1\n":      `there is no line topic,partition,offset for group "g"`,
		"t,\"0,1\n":          "parse error",
		"t,9,1\n":            `and no partition 9`,
	} {
		r := fanfold(t, text, "group", "reset-offsets", "g", "--from-file", "-")
		if r.status != exitFailed || !strings.Contains(r.stderr, why) {
			t.Errorf("%q: %+v, want %q", text, r, why)
		}
	}
	fail(t, exitFailed, "no such file", "", "group", "reset-offsets", "g", "--from-file", file+"x")
}

func TestGroupWrongUsage(t *testing.T) {
	for _, c := range []struct{ args, text string }{
		{"group bogus", "see: fanfold group --help"},
		{"group list [a", "a [ is not closed"},
		{"group list --state odd", "it is one of Empty, Stable"},
		{"group list --type odd", "it is one of classic, consumer"},
		{"group describe", "an argument is missing; write: fanfold group describe NAME..."},
		{"group delete-offsets g", "say which offsets to delete"},
		{"group delete-offsets g --topic t:x", `"x" is no list of partitions`},
		{"group reset-offsets g --topic t", "say where to move the offsets: one of --to-earliest"},
		{"group reset-offsets g --to-latest", "say which offsets to move: --topic"},
		{"group reset-offsets g --topic t --to-latest --to-earliest", "exclude each other"},
		{"group reset-offsets g --topic t --all-topics --to-latest", "--topic and --all-topics exclude each other"},
		{"group reset-offsets g --topic t --from-file x", "leave out --topic"},
		{"group reset-offsets g --topic t --to-latest --execute --dry-run", "exclude each other"},
		{"group reset-offsets g --topic t --export -o json", "exclude each other"},
		{"group reset-offsets g --topic t --to-offset -1", "--to-offset must be 0 or more"},
		{"group reset-offsets g --topic t --to-datetime soon", "no point in time"},
		{"group reset-offsets g --topic t --by-duration soon", `"soon" is no duration`},
		{"group reset-offsets g --topic :1 --to-latest", "names no topic"},
		{"group reset-offsets g --topic t --topic t:1 --to-latest", `--topic names "t" twice`},
		{"group reset-offsets g --topic t:5-2 --to-latest", "is no list of partitions"},
		{"consume t --group g -p 1", "--group and --partition exclude each other"},
		{"consume t --group g --rebuild x", "--group and --rebuild exclude each other"},
		{"consume t --group-protocol consumer", "--group-protocol is for --group"},
		{"consume t --group g --assignor uniform", "--assignor uniform is for --group-protocol consumer"},
		{"consume t --group g --group-protocol consumer --assignor roundrobin", "consumer has uniform and range"},
	} {
		fail(t, exitUsage, c.text, "", strings.Fields(c.args)...)
	}
}

func TestGroupVerbsWithoutBroker(t *testing.T) {
	for _, args := range [][]string{
		{"group", "list"},
		{"group", "describe", "g"},
		{"group", "delete", "g"},
		{"group", "delete-offsets", "g", "--topic", "t"},
		{"group", "reset-offsets", "g", "--topic", "t", "--to-latest"},
		{"consume", "t", "--group", "g"},
	} {
		fail(t, exitFailed, "no broker at 127.0.0.1:1: connection refused", "", append(args, "--brokers", "127.0.0.1:1")...)
	}
}

func TestNumbersText(t *testing.T) {
	for want, numbers := range map[string][]int32{"": nil, "4": {4}, "0-3,7": {0, 1, 2, 3, 7}, "1,3,5-6": {1, 3, 5, 6}} {
		if got := numbersText(numbers); got != want {
			t.Errorf("%v is %q, want %q", numbers, got, want)
		}
		if want == "" {
			continue
		}
		if back, ok := parsePartitions(want); !ok || !slices.Equal(back, numbers) {
			t.Errorf("%q is %v", want, back)
		}
	}
}

func FuzzParsePartitions(f *testing.F) {
	for _, s := range []string{"0", "0,2-5", "5-2", "-1", "1,,2", "0-999999999", " 3 , 1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		list, ok := parsePartitions(s)
		if !ok {
			return
		}
		if back, ok := parsePartitions(numbersText(list)); !ok || !slices.Equal(back, list) {
			t.Fatalf("%q is %v, and back %v", s, list, back)
		}
	})
}

func FuzzParseOffsets(f *testing.F) {
	for _, s := range []string{"t,0,1\n", "\"t\",0,1\r\ng,t,1,2\n", "t,0\n", "t,-1,1", "\"", "a,b,c,d,e\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		saved, err := parseOffsets(bytes.NewReader(file), "g")
		if err != nil {
			return
		}
		for p, offset := range saved {
			if p.partition < 0 || offset < 0 {
				t.Fatalf("%q: %+v at %d", file, p, offset)
			}
		}
	})
}

func FuzzParsePeriod(f *testing.F) {
	for _, s := range []string{"90m", "1d12h", "PT1H30M", "P1DT12H", "P1W", "PT", "P", "-1h", "pt1.5s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if d, err := parsePeriod(s); err == nil && d < 0 {
			t.Fatalf("%q is %s", s, d)
		}
	})
}

func TestLagText(t *testing.T) {
	n := func(n int64) *int64 { return &n }
	for want, g := range map[string]groupState{
		"-":    {},
		"none": {Partitions: []groupPartition{{Lag: n(0)}}},
		"5 records on 2 partitions, the oldest 2s old; not known of 1 partition": {
			Lag: 5, LagMillis: n(2000), Partitions: []groupPartition{{Lag: n(3)}, {Lag: n(2)}, {Lag: n(0)}, {}},
		},
		"none; not known of 1 partition": {Partitions: []groupPartition{{}}},
	} {
		if got := lagText(&g); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestAgeText(t *testing.T) {
	for ms, want := range map[int64]string{850: "850ms", 134_000: "2m14s", 8_000_000: "2h13m", 300_000_000: "3d11h"} {
		if got := ageText(ms); got != want {
			t.Errorf("%d ms is %q, want %q", ms, got, want)
		}
	}
}
