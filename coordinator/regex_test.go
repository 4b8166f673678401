package coordinator

import (
	"slices"
	"strings"
	"testing"
)

func TestRegexMatchesWholeNames(t *testing.T) {
	m := New(testConfig(), fakeTopics{
		"a": {Name: "a"}, "ab": {Name: "ab"}, "b": {Name: "b"}, "a.b": {Name: "a.b"},
		"__consumer_offsets": {Name: "__consumer_offsets", Internal: true},
	})
	for _, c := range []struct {
		regex string
		want  []string
	}{
		{"a", []string{"a"}},
		{"a|b", []string{"a", "b"}},
		{"a.*", []string{"a", "a.b", "ab"}},
		{`a\.b`, []string{"a.b"}},
		{`\Qa.b`, []string{"a.b"}}, // a quotation that is left open
		{"(?i)A", []string{"a"}},
		{"(?m)^a$", []string{"a"}},
		{".*", []string{"a", "a.b", "ab", "b"}},
		{"__.*", []string{"__consumer_offsets"}},
		{"__consumer_offsets", []string{"__consumer_offsets"}},
		{"", nil},
	} {
		if _, err := m.compiledRegex(c.regex); err != nil {
			t.Errorf("%q: %v", c.regex, err)
		}
		if got := m.matches(c.regex); !slices.Equal(got, c.want) {
			t.Errorf("%q: got %v, want %v", c.regex, got, c.want)
		}
	}
}

func TestRegexIsRefused(t *testing.T) {
	for _, regex := range []string{"(", "a)|(b", "[", "*", `\1`, "(?=a)", strings.Repeat("a", maxRegexBytes+1), "((a{30}){30}){30}", "(a{999}b{999}){20}"} {
		if _, err := compileRegex(regex); err == nil {
			t.Errorf("%.40q is taken", regex)
		}
	}
}

// FuzzRegex compiles any text: what is taken matches whole names only.
func FuzzRegex(f *testing.F) {
	for _, s := range []string{"a|b", `\Qa`, "(?i)x{1,3}", "(a{30}){30}", "a)|(b", "^$"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := compileRegex(text)
		if err != nil {
			return
		}
		for _, name := range []string{"", "a", "ab", "\n", "a\nb"} {
			if loc := r.re.FindStringIndex(name); loc != nil && (loc[0] != 0 || loc[1] != len(name)) {
				t.Errorf("%q matches a part of %q", text, name)
			}
		}
	})
}
