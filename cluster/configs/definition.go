package configs

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/fanfold/fanfold/internal/spelling"
)

// Kind is what a config belongs to.
type Kind int8

// The kinds of configs.
const (
	Topic Kind = iota + 1
	Broker
	Group
)

// String returns the kind's name as it stands in messages.
func (k Kind) String() string {
	switch k {
	case Topic:
		return "topic"
	case Broker:
		return "broker"
	case Group:
		return "group"
	default:
		return "Kind(" + strconv.Itoa(int(k)) + ")"
	}
}

// Type is a config's type with its number in DescribeConfigs (KIP-569).
type Type int8

// The types of configs. Parsed values of them are of the Go type named here.
const (
	Boolean  Type = 1 // bool
	String   Type = 2 // string
	Int      Type = 3 // int32
	Short    Type = 4 // int16
	Long     Type = 5 // int64
	Double   Type = 6 // float64
	List     Type = 7 // []string
	Class    Type = 8 // string
	Password Type = 9 // string
)

var typeNames = [...]string{
	Boolean: "boolean", String: "string", Int: "int", Short: "short", Long: "long",
	Double: "double", List: "list", Class: "class", Password: "password",
}

// String returns Kafka's name of the type in small letters.
func (t Type) String() string {
	if t < Boolean || t > Password {
		return "Type(" + strconv.Itoa(int(t)) + ")"
	}
	return typeNames[t]
}

// Unit is what a number counts; empty where it counts nothing.
type Unit string

// The units of configs.
const (
	NoUnit       Unit = ""
	Bytes        Unit = "bytes"
	Milliseconds Unit = "milliseconds"
	Minutes      Unit = "minutes"
	Hours        Unit = "hours"
	Days         Unit = "days"
	Records      Unit = "records"
)

// Mode says when a broker config can change (Kafka's "update mode").
type Mode int8

// The modes. Topic and group configs are always dynamic.
const (
	ReadOnly    Mode = iota // at a restart
	PerBroker               // at run time, for each node by itself
	ClusterWide             // at run time, for one node or for all
)

// String returns Kafka's name of the mode.
func (m Mode) String() string {
	return [...]string{"read-only", "per-broker", "cluster-wide"}[m]
}

// Definition is everything there is to know about one config.
type Definition struct {
	Name string
	Kind Kind
	Type Type
	Unit Unit
	// Default is the default value as text. It is meaningless where NoDefault
	// is set: Kafka's null.
	Default   string
	NoDefault bool
	// Doc explains the config in one or two sentences.
	Doc string
	// Valid limits the values, beyond what the type does. Its zero value
	// allows all.
	Valid Validator
	// Synonyms, of a topic or group config, are the broker configs that govern
	// its default; of a broker config, itself and its other spellings. The first
	// that has a value wins.
	Synonyms []string
	// Mode says when a broker config can change.
	Mode Mode
	// Sensitive values are never shown.
	Sensitive bool
	// Group is the heading under which the documentation lists it.
	Group string
	// Own marks the configs that Kafka does not have.
	Own bool
}

// CanSet reports why the config cannot be changed at run time, for one node or
// (allNodes) for the whole cluster; nil if it can.
func (d *Definition) CanSet(allNodes bool) error {
	switch {
	case d.Kind != Broker || d.Mode == ClusterWide:
		return nil
	case d.Mode == PerBroker && !allNodes:
		return nil
	case d.Mode == PerBroker:
		return fmt.Errorf("%s can be set for one broker at a time only", d.Name)
	default:
		return fmt.Errorf("%s is read-only: set it in the configuration file, the environment or a flag and restart", d.Name)
	}
}

// Constraint describes what values the config takes, for people: type, unit
// and allowed values.
func (d *Definition) Constraint() string {
	var b strings.Builder
	switch d.Type {
	case Boolean:
		b.WriteString("true or false")
	case Int, Short, Long:
		b.WriteString("a whole number")
	case Double:
		b.WriteString("a number")
	case List:
		b.WriteString("a list separated by commas")
	default:
		b.WriteString("a text")
	}
	if d.Unit != NoUnit {
		b.WriteString(" of " + string(d.Unit))
	}
	if d.Valid.Text != "" {
		b.WriteString(", " + d.Valid.Text)
	}
	return b.String()
}

var (
	topicByName  = index(topicDefinitions)
	brokerByName = index(brokerDefinitions)
	groupByName  = index(groupDefinitions)
)

func index(defs []Definition) map[string]*Definition {
	m := make(map[string]*Definition, len(defs))
	for i := range defs {
		m[defs[i].Name] = &defs[i]
	}
	return m
}

func byName(kind Kind) map[string]*Definition {
	switch kind {
	case Topic:
		return topicByName
	case Group:
		return groupByName
	default:
		return brokerByName
	}
}

// All returns the definitions of a kind by ascending name. They are shared:
// callers must not change them.
func All(kind Kind) []*Definition {
	defs := make([]*Definition, 0, len(byName(kind)))
	for _, d := range byName(kind) {
		defs = append(defs, d)
	}
	slices.SortFunc(defs, func(a, b *Definition) int { return strings.Compare(a.Name, b.Name) })
	return defs
}

// Lookup returns the definition of that name, nil if there is none.
func Lookup(kind Kind, name string) *Definition { return byName(kind)[name] }

// Find is Lookup with an [*UnknownError] where there is none.
func Find(kind Kind, name string) (*Definition, error) {
	if d := Lookup(kind, name); d != nil {
		return d, nil
	}
	return nil, &UnknownError{Kind: kind, Name: name, Nearest: Nearest(kind, name)}
}

// UnknownError says that there is no config of that name.
type UnknownError struct {
	Kind    Kind
	Name    string
	Nearest string // the known name most like it
}

func (e *UnknownError) Error() string {
	name := e.Name
	if len(name) > maxShown {
		name = name[:maxShown] + "…"
	}
	return fmt.Sprintf("unknown %s config %q; did you mean %q?", e.Kind, name, e.Nearest)
}

// maxShown bounds how many bytes of a caller's text an error message repeats.
const maxShown = 200

// Nearest returns the known name with the least edit distance to the given
// one, the first by alphabet among equals.
func Nearest(kind Kind, name string) string {
	best, bestDistance := "", math.MaxInt
	if len(name) > maxShown {
		name = name[:maxShown]
	}
	name = strings.ToLower(strings.ReplaceAll(name, "_", "."))
	for _, d := range All(kind) {
		if distance := spelling.Distance(name, d.Name); distance < bestDistance {
			best, bestDistance = d.Name, distance
		}
	}
	return best
}
