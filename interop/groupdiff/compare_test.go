package groupdiff

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// An answer becomes a tree of maps and texts, in which what a broker is free to
// choose has a name instead.

// answerTree is what a broker answered.
func (s *side) answerTree(resp kmsg.Response, err error) any {
	if err != nil {
		return map[string]any{"error": err.Error()}
	}
	return s.tree("", reflect.ValueOf(resp).Elem())
}

func (s *side) tree(name string, v reflect.Value) any {
	switch name {
	case "ErrorCode":
		return codeName(int16(v.Int()))
	case "TopicID":
		return s.topicName(v.Interface().([16]byte))
	case "MemberID", "LeaderID":
		if v.Kind() != reflect.Pointer {
			return s.memberName(v.String())
		}
	case "NodeID":
		return sign(v.Int(), "a node")
	case "Port":
		return sign(v.Int(), "a port")
	case "ClientHost":
		return hostPort.ReplaceAllString(v.String(), ":port")
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return "nil"
		}
		return s.tree(name, v.Elem())
	case reflect.Struct:
		return s.structTree(v)
	case reflect.Slice:
		return s.sliceTree(name, v)
	case reflect.String:
		return fmt.Sprintf("%q", v.String())
	default:
		return fmt.Sprint(v.Interface())
	}
}

var hostPort = regexp.MustCompile(`:\d+$`)

func sign(n int64, positive string) string {
	if n < 0 {
		return fmt.Sprint(n)
	}
	return positive
}

func (s *side) structTree(v reflect.Value) map[string]any {
	fields := map[string]any{}
	for i := range v.NumField() {
		switch name := v.Type().Field(i).Name; name {
		case "Version", "ThrottleMillis", "UnknownTags", "ErrorMessage", "Host":
		default:
			fields[name] = s.tree(name, v.Field(i))
		}
	}
	return fields
}

// keyFields are what elements of a list are recognised by.
var keyFields = []string{"MemberID", "TopicID", "Topic", "Partition", "Group", "Key"}

// sliceTree turns a list into a map by its elements' names: their order says
// nothing. Partitions that are assigned count by their number alone, but where
// the sequence says that they must be the same.
func (s *side) sliceTree(name string, v reflect.Value) any {
	switch v.Type().Elem().Kind() {
	case reflect.Uint8:
		return fmt.Sprintf("%q", v.Bytes())
	case reflect.Struct:
	default:
		if name == "Partitions" && !s.exact {
			return fmt.Sprintf("%d partitions", v.Len())
		}
		if name == "Partitions" {
			return fmt.Sprint(slices.Sorted(slices.Values(v.Interface().([]int32))))
		}
		return fmt.Sprintf("%q", v.Interface())
	}
	m := map[string]any{}
	for i := range v.Len() {
		e := v.Index(i)
		key := fmt.Sprint(i)
		for _, field := range keyFields {
			if f := e.FieldByName(field); f.IsValid() && (!f.IsZero() || field == "Partition") {
				key = fmt.Sprint(s.tree(field, f))
				break
			}
		}
		for n, base := 2, key; m["["+key+"]"] != nil; n++ {
			key = fmt.Sprintf("%s#%d", base, n)
		}
		m["["+key+"]"] = s.tree("", e)
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

func (s *side) topicName(id [16]byte) string {
	if id == ([16]byte{}) {
		return "no id"
	}
	if name, ok := s.topicNames[id]; ok {
		return name + "'s id"
	}
	return fmt.Sprintf("id %x", id)
}

// memberName is the name of a member id: who got it, and the how-maniest it is.
func (s *side) memberName(id string) string {
	if id == "" {
		return "nobody"
	}
	if name, ok := s.members[id]; ok {
		return name
	}
	// Brokers begin an id with the client's, or with the instance id.
	name, _, _ := strings.Cut(id, "-")
	return "an id of " + name
}

// difference is one place in which two answers are not the same.
type difference struct{ path, kfake, fanfold string }

func (d difference) String() string {
	return fmt.Sprintf("%s: kfake %s, Fanfold %s", d.path, d.kfake, d.fanfold)
}

const absent = "(absent)"

// differences compares two trees. What stands beside different error codes
// differs with them, and is not compared.
func differences(path string, kfake, fanfold any) []difference {
	k, isMap := kfake.(map[string]any)
	f, isMap2 := fanfold.(map[string]any)
	if !isMap || !isMap2 {
		if a, b := flat(kfake), flat(fanfold); a != b {
			return []difference{{path, a, b}}
		}
		return nil
	}
	if a, b := k["ErrorCode"], f["ErrorCode"]; a != b {
		return []difference{{path + ".ErrorCode", fmt.Sprint(a), fmt.Sprint(b)}}
	}
	names := maps.Clone(k)
	maps.Copy(names, f)
	var list []difference
	for _, name := range slices.Sorted(maps.Keys(names)) {
		at := path + "." + name
		if strings.HasPrefix(name, "[") {
			at = path + name
		}
		switch a, b := k[name], f[name]; {
		case b == nil:
			list = append(list, difference{at, flat(a), absent})
		case a == nil:
			list = append(list, difference{at, absent, flat(b)})
		default:
			list = append(list, differences(at, a, b)...)
		}
	}
	return list
}

// flat is a tree as one line.
func flat(v any) string {
	m, ok := v.(map[string]any)
	if !ok {
		return fmt.Sprint(v)
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, name+":"+flat(m[name]))
	}
	return "{" + strings.Join(parts, " ") + "}"
}

// known explains a difference that is meant to be. Its texts are regular
// expressions that fit the whole; an empty one fits everything, as does no fits.
type known struct {
	path    string // the request, what it is about, and the place in the answer
	kfake   string
	fanfold string
	fits    func(difference) bool
	why     string // with who is right
	parts   bool   // what the two do after it cannot be compared: the sequence ends
	mayBe   bool   // random sequences alone see it, and not every time
}

type matcher struct {
	known
	path, kfake, fanfold *regexp.Regexp
	used                 int
}

func matchers(list []known) []*matcher {
	whole := func(expr string) *regexp.Regexp {
		if expr == "" {
			expr = `.*`
		}
		return regexp.MustCompile(`(?s)^(?:` + expr + `)$`)
	}
	out := make([]*matcher, len(list))
	for i, k := range list {
		out[i] = &matcher{known: k, path: whole(k.path), kfake: whole(k.kfake), fanfold: whole(k.fanfold)}
	}
	return out
}

func (p *pair) explained(d difference) *matcher {
	for _, m := range p.known {
		if m.path.MatchString(d.path) && m.kfake.MatchString(d.kfake) && m.fanfold.MatchString(d.fanfold) && (m.fits == nil || m.fits(d)) {
			return m
		}
	}
	return nil
}
