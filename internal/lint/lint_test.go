package lint_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fanfold/fanfold/internal/lint"
)

func TestTree(t *testing.T) {
	problems, err := lint.Check(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Error(p)
	}
}

// note is built so that this file's own comments and text hold none.
const note = "TO" + "DO"

func TestRulesFindWhatBreaksThem(t *testing.T) {
	const doc = "// Package x is documented.\npackage x\n"
	imports := func(path string) string { return doc + "import _ \"" + path + "\"\n" }
	const us = "github.com/fanfold/fanfold/"
	for name, test := range map[string]struct {
		file, src string
		want      string // file:line: and a part of the text; empty for no problem
	}{
		"down":                   {"broker/a.go", imports(us + "partition"), ""},
		"down to a subpackage":   {"log/a.go", imports(us + "protocol/record"), ""},
		"within the tree":        {"protocol/record/a.go", imports(us + "protocol"), ""},
		"internal":               {"cluster/configs/a.go", imports(us + "internal/vfs"), ""},
		"all from the top":       {"cmd/x/a.go", "// Command x runs.\npackage main\nimport _ \"" + us + "broker\"\n", ""},
		"up":                     {"partition/a.go", imports(us + "broker"), "partition/a.go:3: partition may not import broker"},
		"up from a subpackage":   {"protocol/record/a.go", imports(us + "log"), "protocol/record/a.go:3: protocol/record may not import log"},
		"sideways":               {"partition/a.go", imports(us + "replication"), "may not import replication"},
		"log sees no protocol":   {"log/a.go", imports(us + "protocol"), "log may not import protocol"},
		"in a test":              {"partition/a_test.go", imports(us + "broker"), "partition/a_test.go:3: partition may not"},
		"internal goes nowhere":  {"internal/vfs/a.go", imports(us + "log"), "internal/vfs may not import log"},
		"simtest sees all":       {"internal/simtest/a.go", imports(us + "broker"), ""},
		"a package without rule": {"elsewhere/a.go", doc, "elsewhere/a.go:1: package elsewhere has no rule"},
		"raft at home":           {"replication/a.go", imports("github.com/hashicorp/raft"), ""},
		"raft elsewhere":         {"broker/a_test.go", imports("github.com/hashicorp/raft-boltdb/v2"), "only replication"},
		"a client in the broker": {"broker/a.go", imports("github.com/twmb/franz-go/pkg/kgo"), "a broker is no client"},
		"a client in its test":   {"broker/a_test.go", imports("github.com/twmb/franz-go/pkg/kgo"), ""},
		"flags":                  {"broker/a.go", imports("github.com/spf13/viper"), "end in cmd"},
		"standard log":           {"broker/a.go", imports("log"), "broker/a.go:3: the standard library's log"},
		"our log, slog":          {"broker/a.go", doc + "import (\n_ \"log/slog\"\n_ \"" + us + "log\"\n)\n", ""},
		"math/rand":              {"log/a.go", imports("math/rand"), "use math/rand/v2"},
		"math/rand/v2":           {"log/a.go", imports("math/rand/v2"), ""},
		"package name":           {"log/util/a.go", "// Package util is.\npackage util\n", "log/util/a.go:2: package util: the name"},
		"test package name":      {"log/types/a_test.go", "package types_test\n", "package types_test: the name"},
		"no comment":             {"log/a.go", "package x\n", `log/a.go:1: no file of the package has a package comment that starts with "Package x"`},
		"detached comment":       {"log/a.go", "// Package x is.\n\npackage x\n", "no file of the package"},
		"wrong comment":          {"log/a.go", "// Package xylophone is.\npackage x\n", "no file of the package"},
		"command comment":        {"cmd/x/a.go", "// Package main is.\npackage main\n", `starts with "Command x"`},
		"tests need none":        {"log/a_test.go", "package x\n", ""},
		"long":                   {"log/a.go", doc + strings.Repeat("\n", 799), "log/a.go:801: the file has 801 lines"},
		"not too long":           {"log/a.go", doc + strings.Repeat("\n", 798), ""},
		"long test":              {"log/a_test.go", doc + strings.Repeat("\n", 2000), ""},
		"note":                   {"log/a.go", doc + "/* one\n" + note + ": two */\n", "log/a.go:4: a comment says " + note},
		"no note":                {"log/a.go", doc + "// m" + note + "s\nvar s = \"" + note + "\"\n", ""},
		"sleep":                  {"log/a_test.go", doc + "import \"time\"\nfunc f() { time.Sleep(1) }\n", "log/a_test.go:4: a test sleeps"},
		"renamed sleep":          {"log/a_test.go", doc + "import t \"time\"\nvar f = t.Sleep\n", "log/a_test.go:4: a test sleeps"},
		"sleep in virtual time":  {"log/a_test.go", doc + "import (\n\"time\"\n\"testing/synctest\"\n)\nfunc f() { synctest.Test(nil, nil); time.Sleep(1) }\n", ""},
		"another sleep":          {"log/a_test.go", doc + "import \"time\"\nvar _ = time.Now\nvar f = clock.Sleep\n", ""},
		"sleep in no test":       {"log/a.go", doc + "import \"time\"\nvar f = time.Sleep\n", ""},
		"test data":              {"log/testdata/a.go", "package util\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			file := filepath.Join(root, filepath.FromSlash(test.file))
			if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(test.src), 0o640); err != nil {
				t.Fatal(err)
			}
			problems, err := lint.Check(root)
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case test.want == "" && len(problems) > 0:
				t.Errorf("found %q", problems)
			case test.want != "" && !slices.ContainsFunc(problems, func(p lint.Problem) bool {
				return strings.Contains(p.String(), test.want)
			}):
				t.Errorf("found %q, want %q", problems, test.want)
			case len(problems) > 1:
				t.Errorf("found %q, want one", problems)
			}
		})
	}
}

func TestPackageIsDocumentedInAnyOfItsFiles(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "log")
	if err := os.Mkdir(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	for name, src := range map[string]string{
		"a.go": "package log\n", "doc.go": "// Package log is.\npackage log\n", "z.go": "package log\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(src), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	problems, err := lint.Check(root)
	if err != nil || len(problems) > 0 {
		t.Errorf("found %q, %v", problems, err)
	}
}

func TestUnparsableSourceIsAnError(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "a.go"), []byte("package"), 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := lint.Check(root); err == nil {
		t.Error("no error")
	}
}
