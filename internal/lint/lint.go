package lint

import (
	"bytes"
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Problem is a broken house rule.
type Problem struct {
	File string // slash-separated, from the root
	Line int    // from 1
	Text string // what is wrong and what to do
}

// String is the problem as editors read it: file:line: text.
func (p Problem) String() string { return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Text) }

// Check returns the problems of all Go files in the tree root, by file and
// line. Its errors are those of reading and parsing.
func Check(root string) ([]Problem, error) {
	c := checker{fset: token.NewFileSet(), packages: map[string]*packageSeen{}}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && file != root && skipDir(d.Name()) {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(file, ".go") {
			return nil
		}
		src, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("read source: %w", err)
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return fmt.Errorf("locate source: %w", err)
		}
		return c.file(filepath.ToSlash(rel), src)
	})
	if err != nil {
		return nil, err
	}
	c.packageDocs()
	slices.SortFunc(c.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return c.problems, nil
}

// skipDir reports whether the go tool, too, looks into no such directory.
func skipDir(name string) bool {
	return name == "testdata" || name == "vendor" || name == "node_modules" ||
		strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")
}

type checker struct {
	fset     *token.FileSet
	problems []Problem
	packages map[string]*packageSeen // by directory
}

// packageSeen is what is known of a package that is no test.
type packageSeen struct {
	name       string
	first      string // its first file
	documented bool
}

// source is one parsed file.
type source struct {
	name string // from the root
	dir  string // from the root, "." for the root itself
	test bool
	ast  *ast.File
}

func (c *checker) report(file string, line int, format string, args ...any) {
	c.problems = append(c.problems, Problem{File: file, Line: line, Text: fmt.Sprintf(format, args...)})
}

func (c *checker) file(name string, src []byte) error {
	f, err := parser.ParseFile(c.fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return fmt.Errorf("parse source: %w", err)
	}
	s := source{name: name, dir: path.Dir(name), test: strings.HasSuffix(name, "_test.go"), ast: f}
	if n := bytes.Count(src, []byte("\n")); n > maxLines && !s.test {
		c.report(name, maxLines+1, "the file has %d lines, more than %d: a file tells one story", n, maxLines)
	}
	c.seePackage(s)
	c.imports(s)
	c.comments(s)
	if s.test {
		c.sleeps(s)
	}
	return nil
}

func (c *checker) line(pos token.Pos) int { return c.fset.Position(pos).Line }

func (c *checker) seePackage(s source) {
	name := s.ast.Name.Name
	base := strings.TrimSuffix(name, "_test")
	if slices.Contains(namelessNames, base) || slices.Contains(namelessNames, path.Base(s.dir)) {
		c.report(s.name, c.line(s.ast.Name.Pos()), "package %s: the name does not say what the package is for", name)
	}
	if s.test {
		return
	}
	p := c.packages[s.dir]
	if p == nil {
		p = &packageSeen{name: name, first: s.name}
		c.packages[s.dir] = p
	}
	want := "Package " + name
	if name == "main" {
		want = "Command " + path.Base(s.dir)
	}
	text := s.ast.Doc.Text()
	p.documented = p.documented || strings.HasPrefix(text, want+" ") || strings.HasPrefix(text, want+"\n")
}

func (c *checker) packageDocs() {
	for dir, p := range c.packages {
		if p.documented {
			continue
		}
		start := "Package " + p.name
		if p.name == "main" {
			start = "Command " + path.Base(dir)
		}
		c.report(p.first, 1, "no file of the package has a package comment that starts with %q", start)
	}
}

func (c *checker) imports(s source) {
	r, known := ruleFor(s.dir)
	if !known {
		c.report(s.name, 1, "package %s has no rule for its imports: add it to rules in internal/lint/rules.go", s.dir)
	}
	for _, spec := range s.ast.Imports {
		line := c.line(spec.Pos())
		to, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue // the parser lets none through
		}
		if why, ok := banned[to]; ok {
			c.report(s.name, line, "%s", why)
		}
		if known && holds(module, to) {
			inner := strings.TrimPrefix(strings.TrimPrefix(to, module), "/")
			if !r.allows(inner) {
				c.report(s.name, line, "%s may not import %s: imports point down (internal/lint/rules.go)", s.dir, inner)
			}
		}
		c.confined(s, line, to)
	}
}

func (c *checker) confined(s source, line int, to string) {
	for _, m := range confined {
		if !strings.HasPrefix(to, m.path) || (s.test && !m.testsToo) {
			continue
		}
		if !slices.ContainsFunc(m.trees, func(tree string) bool { return holds(tree, s.dir) }) {
			c.report(s.name, line, "%s may not import %s: %s", s.dir, to, m.why)
		}
	}
}

var laterNote = regexp.MustCompile(`\b(TODO|FIXME|XXX)\b`)

func (c *checker) comments(s source) {
	for _, group := range s.ast.Comments {
		for _, comment := range group.List {
			for i, text := range strings.Split(comment.Text, "\n") {
				if note := laterNote.FindString(text); note != "" {
					c.report(s.name, c.line(comment.Pos())+i, "a comment says %s: do it, or open an issue", note)
				}
			}
		}
	}
}

// sleeps reports each use of time.Sleep in a test that does not run in virtual
// time: in a synctest bubble a sleep moves the clock and waits for nothing.
func (c *checker) sleeps(s source) {
	if slices.ContainsFunc(s.ast.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == `"testing/synctest"` }) {
		return
	}
	local := ""
	for _, spec := range s.ast.Imports {
		if spec.Path.Value == `"time"` {
			local = "time"
			if spec.Name != nil {
				local = spec.Name.Name
			}
		}
	}
	if local == "" {
		return
	}
	ast.Inspect(s.ast, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok || sel.Sel.Name != "Sleep" {
			return true
		}
		if pkg, ok := sel.X.(*ast.Ident); ok && pkg.Name == local {
			c.report(s.name, c.line(sel.Pos()), "a test sleeps: use testing/synctest, a channel, or polling with a deadline")
		}
		return true
	})
}
