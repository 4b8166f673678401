package lint_test

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const repository = "../.."

func readText(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository, filepath.FromSlash(path)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// sources is the text of the Go files below a directory that are no tests.
func sources(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(filepath.Join(repository, dir), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		all.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// found is the set of what a pattern's first group matches.
func found(text, pattern string) map[string]bool {
	set := map[string]bool{}
	for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		set[match[1]] = true
	}
	return set
}

// TestMetricsAreDocumented holds the list in docs/operations.md against the
// names in the code, both ways.
func TestMetricsAreDocumented(t *testing.T) {
	code := found(sources(t, "broker"), `"(fanfold_[a-z0-9_]+)"`)
	documented := found(readText(t, "docs/operations.md"), "`(fanfold_[a-z0-9_]+)`")
	if len(code) == 0 {
		t.Fatal("no metric found in the code")
	}
	for name := range code {
		if !documented[name] {
			t.Errorf("docs/operations.md does not name the metric %s", name)
		}
	}
	for name := range documented {
		if !code[name] {
			t.Errorf("docs/operations.md names %s, which is no metric of the broker", name)
		}
	}
}

var documents = []string{
	"README.md", "CONTRIBUTING.md", "CHANGELOG.md",
	"docs/architecture.md", "docs/operations.md", "docs/format.md", "docs/configuration.md",
}

// TestDocumentedCommandsExist checks each `fanfold VERB --flag` of the
// documents: verbs are commands, flags are flags of some verb.
func TestDocumentedCommandsExist(t *testing.T) {
	code := sources(t, "cmd/fanfold")
	verbs := found(code, `Use:\s+"([a-z]+)`)
	verbs["help"] = true
	flags := found(code, `"([a-z][a-z-]+)"`) // among other texts
	flags["help"] = true
	// What comes behind a pipe or a comment sign is another command's.
	command := regexp.MustCompile("(?:^|[` |(])(?:fanfold|go run \\./cmd/fanfold) ([a-z][^`\n|#]*)")
	for _, document := range documents {
		for _, match := range command.FindAllStringSubmatch(codeOf(readText(t, document)), -1) {
			words := strings.Fields(match[1])
			if !verbs[words[0]] {
				t.Errorf("%s: %q: there is no verb %q", document, match[0], words[0])
			}
			for flag := range found(match[1], `(?:^|\s)--([a-z-]+)`) {
				if !flags[flag] {
					t.Errorf("%s: %q: there is no flag --%s", document, match[0], flag)
				}
			}
		}
	}
}

// codeOf keeps of a document what stands in code blocks, and what stands in
// backticks elsewhere, each on a line of its own.
func codeOf(text string) string {
	var kept strings.Builder
	inBlock := false
	inline := regexp.MustCompile("`([^`\n]+)`")
	for line := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(line, "```"):
			inBlock = !inBlock
		case inBlock:
			kept.WriteString(line)
		default:
			for _, match := range inline.FindAllStringSubmatch(line, -1) {
				kept.WriteString("`" + match[1] + "`\n")
			}
		}
	}
	return kept.String()
}

// TestDocumentedSettingsExist checks names of settings in backticks against
// the generated page of all of them.
func TestDocumentedSettingsExist(t *testing.T) {
	page := readText(t, "docs/configuration.md")
	known := found(page, "`([a-z]+(?:\\.[a-z]+)+)`")
	for _, document := range documents {
		if document == "docs/format.md" {
			continue // its dotted names are files and fields
		}
		for name := range found(readText(t, document), "`([a-z]+(?:\\.[a-z]+)+)(?:=[^`]*)?`") {
			last := name[strings.LastIndex(name, ".")+1:]
			if known[name] || slices.Contains([]string{"go", "md", "mod", "log", "json", "sh", "db", "properties", "yml"}, last) {
				continue
			}
			if name != "transactional.id" { // a client's
				t.Errorf("%s: there is no setting %s", document, name)
			}
		}
	}
}

// TestLinksOfDocuments checks that relative links lead to files that exist and
// to headings that they have.
func TestLinksOfDocuments(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, document := range documents {
		for _, match := range link.FindAllStringSubmatch(readText(t, document), -1) {
			if strings.Contains(match[1], "://") {
				continue
			}
			path, fragment, _ := strings.Cut(match[1], "#")
			target := document
			if path != "" {
				target = filepath.ToSlash(filepath.Join(filepath.Dir(document), path))
			}
			if _, err := os.Stat(filepath.Join(repository, target)); err != nil {
				t.Errorf("%s: link %s: %v", document, match[1], err)
				continue
			}
			if fragment != "" && !headings(readText(t, target))[fragment] {
				t.Errorf("%s: link %s: no such heading; there are %q", document, match[1], slices.Sorted(maps.Keys(headings(readText(t, target)))))
			}
		}
	}
}

// headings are the anchors of a document's headings.
func headings(text string) map[string]bool {
	anchors := map[string]bool{}
	for title := range found(text, `(?m)^#+ (.*)$`) {
		title = strings.ToLower(strings.ReplaceAll(title, " ", "-"))
		anchors[regexp.MustCompile(`[^a-z0-9_-]`).ReplaceAllString(title, "")] = true
	}
	return anchors
}
