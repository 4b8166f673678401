package interop

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// An answer becomes a tree of maps, lists and texts in which what may differ
// from broker to broker (ids, ports, clocks) has a name instead.

// where is the topic and partition that a part of an answer is about.
type where struct {
	topic     string
	partition int32
}

func (s *side) tree(v reflect.Value, at where) any {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return "nil"
		}
		return s.tree(v.Elem(), at)
	case reflect.Struct:
		return s.structTree(v, at)
	case reflect.Slice:
		if v.Type().Elem().Kind() != reflect.Struct {
			if v.IsNil() {
				return "nil"
			}
			return fmt.Sprint(v.Interface())
		}
		return s.sliceTree(v, at)
	default:
		return fmt.Sprint(v.Interface())
	}
}

func (s *side) structTree(v reflect.Value, at where) map[string]any {
	at = s.whereIn(v, at)
	fields := map[string]any{}
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		switch name {
		case "Version", "ThrottleMillis", "UnknownTags":
			continue
		}
		fields[name] = s.field(name, v.Field(i), at)
	}
	return fields
}

func (s *side) whereIn(v reflect.Value, at where) where {
	for _, name := range []string{"Topic", "Name"} {
		if f := v.FieldByName(name); f.IsValid() {
			for f.Kind() == reflect.Pointer && !f.IsNil() {
				f = f.Elem()
			}
			if f.Kind() == reflect.String && f.String() != "" {
				at.topic = f.String()
			}
		}
	}
	if f := v.FieldByName("TopicID"); f.IsValid() {
		if id := f.Interface().([16]byte); id != [16]byte{} {
			at.topic = s.idTopics[id]
		}
	}
	if f := v.FieldByName("Partition"); f.IsValid() && f.CanInt() {
		at.partition = int32(f.Int())
	}
	return at
}

// field is a part of an answer whose name may say what kind of value it has.
func (s *side) field(name string, f reflect.Value, at where) any {
	switch name {
	case "ErrorCode":
		return codeName(int16(f.Int()))
	case "ErrorMessage", "Documentation":
		if f.Kind() == reflect.Pointer && !f.IsNil() {
			if name == "ErrorMessage" {
				s.messages = append(s.messages, f.Elem().String())
			}
			return "a text"
		}
		return "nil"
	case "TopicID":
		return s.idName(f.Interface().([16]byte))
	case "ClusterID":
		if f = reflect.Indirect(f); !f.IsValid() {
			return "nil"
		}
		if f.String() == s.cluster {
			return "the cluster's id"
		}
		return f.String()
	case "Port":
		return "a port"
	case "Dir":
		return "a directory"
	case "TotalBytes", "UsableBytes", "Size":
		return sizeName(f.Int())
	case "LeaderEpoch", "Epoch", "LastFetchedEpoch":
		return s.epochName(at.topic, at.partition, int32(f.Int()))
	case "ProducerID":
		return s.producerName(f.Int())
	case "SessionID":
		return s.sessionName(int32(f.Int()))
	case "MemberEpoch", "AssignmentEpoch":
		return s.memberEpochName(int32(f.Int()))
	case "MemberID", "LeaderID":
		if f = reflect.Indirect(f); !f.IsValid() {
			return "nil"
		}
		return s.memberName(f.String())
	case "Timestamp", "LogAppendTime", "LastTimestamp":
		return timeName(f.Int())
	case "RecordBatches":
		return s.describeBatches(at.topic, at.partition, f.Bytes())
	}
	return s.tree(f, at)
}

// keyFields are what elements of a list are recognised by, first come.
var keyFields = []string{"Topic", "Name", "ResourceName", "ApiKey", "Partition", "NodeID", "Dir", "Feature", "ProducerID", "TopicID", "BatchIndex", "RelativeOffset", "Key", "Group", "MemberID"}

// sliceTree turns a list into a map by its elements' names: their order says
// nothing. The second of one name is another element.
func (s *side) sliceTree(v reflect.Value, at where) map[string]any {
	m := map[string]any{}
	for i := range v.Len() {
		e := v.Index(i)
		key := fmt.Sprint(i)
		for _, name := range keyFields {
			f := reflect.Indirect(e).FieldByName(name)
			if !f.IsValid() || (f.Kind() == reflect.Pointer && f.IsNil()) || (f.IsZero() && f.Kind() != reflect.Int32 && f.Kind() != reflect.Int16) {
				continue
			}
			key = fmt.Sprint(s.field(name, reflect.Indirect(f), at))
			for _, kind := range []string{"ResourceType", "Type"} {
				if t := reflect.Indirect(e).FieldByName(kind); t.IsValid() {
					key = fmt.Sprint(t.Interface()) + " " + key
				}
			}
			break
		}
		for n := 2; m["["+key+"]"] != nil; n++ {
			key = strings.SplitN(key, "#", 2)[0] + fmt.Sprintf("#%d", n)
		}
		m["["+key+"]"] = s.tree(e, at)
	}
	return m
}

func codeName(code int16) string {
	if code == 0 {
		return "NONE"
	}
	if e := kerr.TypedErrorForCode(code); e != nil {
		return e.Message
	}
	return fmt.Sprint("error ", code)
}

func sizeName(n int64) string {
	if n > 0 {
		return "bytes"
	}
	return fmt.Sprint(n)
}

// timeName hides clocks: a time near the present is "now".
func timeName(ms int64) string {
	if d := time.Since(time.UnixMilli(ms)); ms > 0 && d.Abs() < 30*time.Minute {
		return "now"
	}
	return fmt.Sprint(ms)
}

func (s *side) idName(id [16]byte) string {
	if id == ([16]byte{}) {
		return "no id"
	}
	if name, ok := s.idNames[id]; ok {
		return name
	}
	return "a new id"
}

func (s *side) producerName(id int64) string {
	if name, ok := s.producerNames[id]; ok {
		return name
	}
	if id >= 0 {
		return "another producer"
	}
	return fmt.Sprint(id)
}

func (s *side) sessionName(id int32) string {
	switch id {
	case 0:
		return "no session"
	case s.session:
		return "the session"
	}
	return "a new session"
}

// epochName is a leader epoch, counted from the one in which its partition
// began: Apache Kafka counts from 0, Fanfold's are Raft's terms.
func (s *side) epochName(topic string, partition, epoch int32) string {
	if epoch == -1 {
		return "-1"
	}
	first, known := s.epochs[where{topic, partition}]
	if !known {
		return "an epoch"
	}
	return fmt.Sprintf("first%+d", epoch-first)
}

// difference is one place in which two answers are not the same.
type difference struct{ path, kafka, fanfold string }

func (d difference) String() string {
	return fmt.Sprintf("%s: Kafka %s, Fanfold %s", d.path, d.kafka, d.fanfold)
}

// differences compares two trees.
func differences(path string, kafka, fanfold any) []difference {
	k, isMap := kafka.(map[string]any)
	f, isMap2 := fanfold.(map[string]any)
	if !isMap || !isMap2 {
		if kt, ft := flat(kafka), flat(fanfold); kt != ft {
			return []difference{{path, kt, ft}}
		}
		return nil
	}
	if kc, fc := k["ErrorCode"], f["ErrorCode"]; kc != fc {
		// What stands beside different errors differs with them.
		return []difference{{path + ".ErrorCode", fmt.Sprint(kc), fmt.Sprint(fc)}}
	}
	names := map[string]bool{}
	for n := range k {
		names[n] = true
	}
	for n := range f {
		names[n] = true
	}
	var list []difference
	for _, n := range slices.Sorted(mapKeys(names)) {
		kv, inKafka := k[n]
		fv, inFanfold := f[n]
		at := path + n
		if !strings.HasPrefix(n, "[") {
			at = path + "." + n
		}
		switch {
		case !inFanfold:
			list = append(list, difference{at, flat(kv), absent})
		case !inKafka:
			list = append(list, difference{at, absent, flat(fv)})
		default:
			list = append(list, differences(at, kv, fv)...)
		}
	}
	return list
}

const absent = "(absent)"

func mapKeys(m map[string]bool) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// flat is a tree as one line.
func flat(v any) string {
	switch v := v.(type) {
	case map[string]any:
		var parts []string
		for k, e := range v {
			parts = append(parts, k+":"+flat(e))
		}
		sort.Strings(parts)
		return "{" + strings.Join(parts, " ") + "}"
	case []any:
		var parts []string
		for _, e := range v {
			parts = append(parts, flat(e))
		}
		return "[" + strings.Join(parts, " | ") + "]"
	}
	return fmt.Sprint(v)
}

// expectation explains a difference that is meant to be. Its texts are regular
// expressions; an empty one fits everything.
type expectation struct {
	path    string // what was asked, and the place in the answer
	kafka   string
	fanfold string
	why     string
	mayBe   bool // not every time
}

// matcher is an expectation ready for use.
type matcher struct {
	expectation
	path, kafka, fanfold *regexp.Regexp
	used                 int
}

func matchers(list []expectation) []*matcher {
	whole := func(expr string) *regexp.Regexp {
		if expr == "" {
			expr = `(?s).*`
		}
		return regexp.MustCompile(`^(?:` + expr + `)$`)
	}
	out := make([]*matcher, len(list))
	for i, e := range list {
		out[i] = &matcher{expectation: e, path: whole(e.path), kafka: whole(e.kafka), fanfold: whole(e.fanfold)}
	}
	return out
}

// explained finds why a difference is meant to be.
func (p *pair) explained(d difference) *matcher {
	for _, m := range p.expected {
		if m.path.MatchString(d.path) && m.kafka.MatchString(d.kafka) && m.fanfold.MatchString(d.fanfold) {
			return m
		}
	}
	return nil
}

// answerTree is what a broker did, as a tree.
func (s *side) answerTree(resp kmsg.Response, err error) any {
	if err != nil {
		return err.Error()
	}
	if resp == nil {
		return "nothing"
	}
	return s.tree(reflect.ValueOf(resp).Elem(), where{})
}
