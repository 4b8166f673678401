package configs

// Entry is one config as DescribeConfigs (v1–4) shows it.
type Entry struct {
	*Definition
	// Value is nil where the config has none and where it is sensitive.
	Value *string
	// Source is where Value comes from. The wire's IsDefault (v0) is Source ==
	// Default.
	Source Source
	// Synonyms are all places that hold a value for it, the one that counts
	// first. Values of sensitive configs are left out of them.
	Synonyms []Origin
	// ReadOnly configs cannot be changed at run time.
	ReadOnly bool
}

// DescribeTopic returns every topic config of a topic with these overrides, by
// name.
func DescribeTopic(broker BrokerConfig, overrides map[string]string) []Entry {
	return describe(Topic, DynamicTopic, broker, overrides)
}

// DescribeGroup returns every config of a group with these overrides, by name.
func DescribeGroup(broker BrokerConfig, overrides map[string]string) []Entry {
	return describe(Group, DynamicGroup, broker, overrides)
}

func describe(kind Kind, own Source, broker BrokerConfig, overrides map[string]string) []Entry {
	defs := All(kind)
	entries := make([]Entry, len(defs))
	for i, d := range defs {
		e := Entry{Definition: d, Synonyms: broker.chain(d)}
		o := broker.Governing(d)
		if text, ok := overrides[d.Name]; ok {
			if v, err := Parse(d, text); err == nil {
				o = Origin{d.Name, Format(v), own}
				e.Synonyms = append([]Origin{o}, e.Synonyms...)
			}
		}
		e.show(o)
		entries[i] = e
	}
	return entries
}

// DescribeBroker returns every config of the node, by name. A config that has
// several spellings shows under each what was set under that name; Synonyms
// tells which of them counts.
func DescribeBroker(b BrokerConfig) []Entry {
	defs := All(Broker)
	entries := make([]Entry, len(defs))
	for i, d := range defs {
		e := Entry{Definition: d, Synonyms: b.chain(d), ReadOnly: d.Mode == ReadOnly, Source: Default}
		for _, o := range e.Synonyms {
			if o.Name == d.Name {
				e.show(o)
				break
			}
		}
		entries[i] = e.hidden()
	}
	return entries
}

// DescribeBrokerDefaults returns the configs that were set for all nodes at run
// time, by name: what DescribeConfigs answers for the broker named "".
func DescribeBrokerDefaults(dynamicDefault map[string]string) []Entry {
	var entries []Entry
	for _, e := range DescribeBroker(BrokerConfig{DynamicDefault: dynamicDefault}) {
		if e.Source != DynamicDefaultBroker {
			continue
		}
		n := 0
		for _, o := range e.Synonyms {
			if o.Source == DynamicDefaultBroker {
				e.Synonyms[n] = o
				n++
			}
		}
		e.Synonyms = e.Synonyms[:n]
		entries = append(entries, e)
	}
	return entries
}

func (e *Entry) show(o Origin) {
	value := o.Value
	e.Value, e.Source = &value, o.Source
	*e = e.hidden()
}

// hidden returns the entry without the values of a sensitive config.
func (e Entry) hidden() Entry {
	if !e.Sensitive {
		return e
	}
	e.Value = nil
	for i := range e.Synonyms {
		e.Synonyms[i].Value = ""
	}
	return e
}
