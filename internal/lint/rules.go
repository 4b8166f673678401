package lint

import (
	"slices"
	"strings"
)

// module is the path of the main module; the packages below interop have a
// module of their own, whose path begins with it too.
const module = "github.com/fanfold/fanfold"

// maxLines is how long a file may be that is no test.
const maxLines = 800

// rule is what the packages of one tree may import of this module.
type rule struct {
	tree    string   // path in the module; the packages below it are subject too
	imports []string // trees; a tree may always import itself
	any     bool     // all but what imports it
}

// rules are looked up by the longest tree that holds the package.
var rules = []rule{
	{tree: "cmd", any: true},
	{tree: "interop", any: true},
	{tree: "broker", imports: []string{
		"coordinator", "cluster", "replication", "partition", "log", "protocol", "internal",
	}},
	{tree: "coordinator", imports: []string{"protocol", "internal"}},
	{tree: "cluster", imports: []string{"protocol", "internal"}},
	{tree: "replication", imports: []string{"log", "protocol", "internal"}},
	{tree: "partition", imports: []string{"log", "protocol", "internal"}},
	{tree: "log", imports: []string{"protocol/record", "internal"}},
	{tree: "protocol", imports: []string{"internal"}},
	{tree: "client", imports: []string{"internal"}},
	{tree: "bench", imports: []string{"client", "internal"}},
	{tree: "internal", imports: []string{}},
	{tree: "internal/simtest", any: true},
}

// confined names the modules that only some trees import, tests included
// unless testsToo is false.
var confined = []struct {
	path     string // an import path, and what begins with it
	trees    []string
	testsToo bool
	why      string
}{
	{
		path:     "github.com/hashicorp/raft",
		trees:    []string{"replication"},
		testsToo: true,
		why:      "only replication knows the Raft library",
	},
	{
		path:     "github.com/spf13/",
		trees:    []string{"cmd", "interop"},
		testsToo: true,
		why:      "flags and configuration files end in cmd",
	},
	{
		path:  "github.com/twmb/franz-go/pkg/kgo",
		trees: []string{"cmd", "client", "bench", "interop", "internal"},
		why:   "a broker is no client",
	},
	{
		path:  "github.com/twmb/franz-go/pkg/kadm",
		trees: []string{"cmd", "client", "bench", "interop", "internal"},
		why:   "a broker is no client",
	},
}

// banned are packages that nothing imports.
var banned = map[string]string{
	"log":       "the standard library's log is banned: use log/slog",
	"math/rand": "math/rand is banned: use math/rand/v2",
}

// namelessNames say nothing of what a package is for.
var namelessNames = []string{
	"base", "common", "helper", "helpers", "misc", "shared", "types", "util", "utils",
}

// holds reports whether the package or directory path is tree or below it.
func holds(tree, path string) bool {
	return path == tree || strings.HasPrefix(path, tree+"/")
}

// ruleFor returns the rule of the package at path in the module.
func ruleFor(path string) (rule, bool) {
	var found rule
	for _, r := range rules {
		if holds(r.tree, path) && len(r.tree) > len(found.tree) {
			found = r
		}
	}
	return found, found.tree != ""
}

// allows reports whether a package under the rule may import the one at path.
func (r rule) allows(path string) bool {
	if r.any || holds(r.tree, path) {
		return true
	}
	return slices.ContainsFunc(r.imports, func(tree string) bool { return holds(tree, path) })
}
