package configs

import (
	"maps"
	"slices"
	"strconv"
)

// Source says where a value comes from, with its number in DescribeConfigs.
type Source int8

// The sources, strongest first.
const (
	DynamicTopic         Source = 1 // the topic's own override
	DynamicBroker        Source = 2 // set for the node at run time
	DynamicDefaultBroker Source = 3 // set for all nodes at run time
	StaticBroker         Source = 4 // what the node was started with
	Default              Source = 5 // the table's default
	DynamicGroup         Source = 8 // the group's own override
)

// String returns Kafka's name of the source.
func (s Source) String() string {
	switch s {
	case DynamicTopic:
		return "DYNAMIC_TOPIC_CONFIG"
	case DynamicBroker:
		return "DYNAMIC_BROKER_CONFIG"
	case DynamicDefaultBroker:
		return "DYNAMIC_DEFAULT_BROKER_CONFIG"
	case StaticBroker:
		return "STATIC_BROKER_CONFIG"
	case Default:
		return "DEFAULT_CONFIG"
	case DynamicGroup:
		return "GROUP_CONFIG"
	default:
		return "Source(" + strconv.Itoa(int(s)) + ")"
	}
}

// BrokerConfig is what a node's configs were given, in their layers. Each map
// holds what was set, as text, under the config's name; nil is empty.
type BrokerConfig struct {
	// Dynamic was set for this node at run time.
	Dynamic map[string]string
	// DynamicDefault was set for all nodes at run time.
	DynamicDefault map[string]string
	// Static is what the node was started with.
	Static map[string]string
}

// Origin is one place in which a config has a value.
type Origin struct {
	Name   string // of the config set, which may be another spelling
	Value  string // as text, in that config's unit
	Source Source
}

// chain returns all origins of a config's value on this node, the one that
// counts first: layer by layer, and in each by the order of spellings.
func (b BrokerConfig) chain(d *Definition) []Origin {
	spellings := d.Synonyms
	if len(spellings) == 0 && d.Kind == Broker {
		spellings = []string{d.Name}
	}
	var origins []Origin
	layers := [...]struct {
		set    map[string]string
		source Source
	}{{b.Dynamic, DynamicBroker}, {b.DynamicDefault, DynamicDefaultBroker}, {b.Static, StaticBroker}}
	for _, layer := range layers {
		for _, name := range spellings {
			if value, ok := layer.set[name]; ok {
				origins = append(origins, Origin{name, value, layer.source})
			}
		}
	}
	for _, name := range spellings {
		if s := brokerByName[name]; !s.NoDefault {
			origins = append(origins, Origin{name, s.Default, Default})
		}
	}
	return origins
}

// Governing returns the value that the config has on this node and where it
// comes from, in the config's own unit. For a topic config it is what topics
// have that do not override it. What is not taken counts as not set.
func (b BrokerConfig) Governing(d *Definition) Origin {
	for _, o := range b.chain(d) {
		value, err := convert(d, o)
		if err == nil {
			_, err = Parse(d, value)
		}
		if err == nil {
			return Origin{o.Name, value, o.Source}
		}
	}
	return Origin{d.Name, d.Default, Default}
}

// governingValue is Governing's value, parsed; nil where there is none.
func (b BrokerConfig) governingValue(d *Definition) any {
	o := b.Governing(d)
	if o.Source == Default && o.Value == "" && d.NoDefault {
		return nil
	}
	v, err := Parse(d, o.Value)
	if err != nil { // the table's own default
		panic("configs: " + err.Error())
	}
	return v
}

// convert returns an origin's value in the unit of the config that it governs.
func convert(d *Definition, o Origin) (string, error) {
	spelling, ok := brokerByName[o.Name]
	if !ok {
		spelling = d
	}
	v, err := Parse(spelling, o.Value)
	if err != nil {
		return "", err
	}
	hours, isInt := v.(int32)
	if !isInt || spelling.Unit == d.Unit || hours < 0 {
		return Format(v), nil
	}
	switch spelling.Unit {
	case Hours:
		return strconv.FormatInt(int64(hours)*60*60*1000, 10), nil
	case Minutes:
		return strconv.FormatInt(int64(hours)*60*1000, 10), nil
	default:
		return Format(v), nil
	}
}

// ValidateAll returns the first error by the alphabet among configs of a kind,
// nil if all are known and their values taken.
func ValidateAll(kind Kind, set map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(set)) {
		if err := Validate(kind, name, set[name]); err != nil {
			return err
		}
	}
	return nil
}
