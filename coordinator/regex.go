package coordinator

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"time"

	"github.com/fanfold/fanfold/coordinator/stored"
)

// Topics that were made are looked for at once, but not more often than this.
const regexInterval = time.Second

// Limits on what a regular expression may cost: to compile it, and to keep it.
const (
	maxRegexBytes = 16 << 10
	maxRegexSize  = 20_000 // instructions, roughly
	maxCompiled   = 1_000
)

// topicRegex is a compiled regular expression with what it matches.
type topicRegex struct {
	re       *regexp.Regexp
	internal bool // it may match internal topics: it begins with two underscores

	topics     []string // in order
	generation int64    // of the topics; -1: not resolved yet
}

// groupRegex is a regular expression that a group's members subscribe to.
type groupRegex struct {
	members  int
	resolved bool
	topics   []string // in order
	at       time.Time
}

// compileRegex compiles a member's regular expression: RE2's syntax, matching
// whole names. Internal topics are matched only by what says so: a consumer of
// everything would read its own commits, for ever.
func compileRegex(text string) (*topicRegex, error) {
	if len(text) > maxRegexBytes {
		return nil, fmt.Errorf("it has more than %d bytes", maxRegexBytes)
	}
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, err
	}
	if regexSize(parsed) > maxRegexSize {
		return nil, fmt.Errorf("it is too complex")
	}
	// Printed again, no quoting that is left open can take in what is added.
	re, err := regexp.Compile(`\A(?:` + parsed.String() + `)\z`)
	if err != nil {
		return nil, err
	}
	own, err := regexp.Compile(parsed.String())
	if err != nil {
		return nil, err
	}
	prefix, _ := own.LiteralPrefix()
	return &topicRegex{re: re, internal: strings.HasPrefix(prefix, "__"), generation: -1}, nil
}

// regexSize is about how many instructions a regular expression has.
func regexSize(re *syntax.Regexp) int {
	size := 1 + len(re.Rune)
	for _, sub := range re.Sub {
		size += regexSize(sub)
	}
	if re.Op == syntax.OpRepeat {
		size *= max(re.Min, re.Max, 1)
	}
	return min(size, maxRegexSize+1)
}

// compiledRegex is a regular expression, compiled of late or now.
func (m *Machine) compiledRegex(text string) (*topicRegex, error) {
	if m.consumers.compiled == nil {
		m.consumers.reset()
	}
	if r := m.consumers.compiled[text]; r != nil {
		return r, nil
	}
	r, err := compileRegex(text)
	if err != nil {
		return nil, err
	}
	if len(m.consumers.compiled) >= maxCompiled {
		clear(m.consumers.compiled)
	}
	m.consumers.compiled[text] = r
	return r, nil
}

// matches are the topics that a regular expression matches now. One that does
// not compile, as a later version's in a record, matches none.
func (m *Machine) matches(text string) []string {
	r, err := m.compiledRegex(text)
	if err != nil {
		return nil
	}
	if r.generation == m.consumers.generation {
		return r.topics
	}
	var topics []string
	for name := range m.topics.Names {
		if !r.re.MatchString(name) {
			continue
		}
		if t, ok := m.topics.Topic(name); !ok || t.Internal && !r.internal {
			continue
		}
		topics = append(topics, name)
	}
	slices.Sort(topics)
	if !slices.Equal(topics, r.topics) {
		r.topics = topics
	}
	r.generation = m.consumers.generation
	return r.topics
}

// enterRegex counts a member that subscribes to a regular expression.
func (m *Machine) enterRegex(g *group, text string) {
	c := g.consumer
	if c.regexes == nil {
		c.regexes = map[string]*groupRegex{}
	}
	r := c.regexes[text]
	if r == nil {
		r = &groupRegex{}
		c.regexes[text] = r
	}
	r.members++
	if m.consumers.regexGroups == nil {
		m.consumers.reset()
	}
	m.consumers.regexGroups[g] = struct{}{}
}

// tidyRegexes resolves a group's regular expressions that are new, and forgets
// those that no member subscribes to any more.
func (m *Machine) tidyRegexes(now time.Time, g *group) {
	c := g.consumer
	if len(c.regexes) == 0 {
		return
	}
	for _, text := range sortedKeys(c.regexes) {
		switch r := c.regexes[text]; {
		case r.members == 0:
			if r.resolved {
				m.setMatches(g, r, nil)
				m.record(stored.ConsumerGroupRegularExpressionKey{Group: g.id, Regex: text}.Append(nil), nil)
			}
			delete(c.regexes, text)
		case !r.resolved:
			m.resolve(now, g, text)
			m.setRegexTimer(now, g)
		}
	}
	if len(c.regexes) == 0 {
		delete(m.consumers.regexGroups, g)
		m.timers.stop(timerKey{kind: regexTimer, group: g.id})
	}
}

// setMatches changes what a regular expression has resolved to.
func (m *Machine) setMatches(g *group, r *groupRegex, topics []string) {
	// First those that come: what stays is not forgotten in between.
	for _, name := range topics {
		m.subscribe(g, name)
	}
	for _, name := range r.topics {
		m.unsubscribe(g, name)
	}
	r.topics = topics
}

// resolve looks which topics a regular expression matches, and says whether
// they are others than before.
func (m *Machine) resolve(now time.Time, g *group, text string) bool {
	r := g.consumer.regexes[text]
	topics := m.matches(text)
	changed := !r.resolved || !slices.Equal(topics, r.topics)
	r.at = now
	if !changed {
		return false
	}
	m.setMatches(g, r, topics)
	r.resolved = true
	m.record(
		stored.ConsumerGroupRegularExpressionKey{Group: g.id, Regex: text}.Append(nil),
		stored.ConsumerGroupRegularExpressionValue{
			Topics:          topics,
			Version:         m.consumers.generation,
			TimestampMillis: now.UnixMilli(),
		}.Append(nil),
	)
	return true
}

// setRegexTimer sets when a group's regular expressions are resolved again
// without a reason.
func (m *Machine) setRegexTimer(now time.Time, g *group) {
	if m.cfg.RegexRefresh <= 0 {
		return
	}
	m.timers.set(timerKey{kind: regexTimer, group: g.id}, now.Add(m.cfg.RegexRefresh), func(now time.Time) {
		m.resolveAll(now, g)
	})
}

// resolveSoon resolves a group's regular expressions now, or as soon as may be.
func (m *Machine) resolveSoon(now time.Time, g *group) {
	last := time.Time{}
	for _, r := range g.consumer.regexes {
		if r.at.After(last) {
			last = r.at
		}
	}
	if at := last.Add(regexInterval); at.After(now) {
		m.timers.set(timerKey{kind: regexTimer, group: g.id}, at, func(now time.Time) {
			m.resolveAll(now, g)
		})
		return
	}
	m.resolveAll(now, g)
}

// resolveAll resolves all of a group's regular expressions again.
func (m *Machine) resolveAll(now time.Time, g *group) {
	changed := false
	for _, text := range sortedKeys(g.consumer.regexes) {
		changed = m.resolve(now, g, text) || changed
	}
	if changed {
		m.newEpoch(now, g, "its regular expressions match other topics")
	}
	m.setRegexTimer(now, g)
}
