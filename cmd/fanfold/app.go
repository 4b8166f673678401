package main

import (
	"encoding/json"
	"io"
	"os"
	"time"

	"golang.org/x/term"
)

// app is what the verbs share: the standard streams and the client flags.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer

	inTerminal, outTerminal, errTerminal bool
	outStyle, errStyle                   style

	brokers []string
	timeout time.Duration
}

func newApp(stdin io.Reader, stdout, stderr io.Writer) *app {
	a := &app{
		stdin: stdin, stdout: closableOutput{stdout}, stderr: stderr,
		inTerminal: isTerminal(stdin), outTerminal: isTerminal(stdout), errTerminal: isTerminal(stderr),
	}
	colour := os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	a.outStyle = style(colour && a.outTerminal)
	a.errStyle = style(colour && a.errTerminal)
	return a
}

// isTerminal tells whether a stream is a file that is a terminal.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// writeJSON writes v to standard output, indented.
func (a *app) writeJSON(v any) error {
	out := json.NewEncoder(a.stdout)
	out.SetIndent("", "  ")
	out.SetEscapeHTML(false)
	return out.Encode(v)
}

// style colours text, or not.
type style bool

func (s style) sgr(code, text string) string {
	if !s || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s style) heading(text string) string { return s.sgr("1", text) }
func (s style) alert(text string) string   { return s.sgr("1;31", text) }
