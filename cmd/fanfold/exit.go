package main

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// errOutputClosed is the end of whoever reads standard output, as head does.
// It ends a verb quietly and is no failure.
var errOutputClosed = errors.New("standard output is closed")

// A usageError is a command that was written wrongly.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error {
	return &usageError{text: fmt.Sprintf(format, args...)}
}

// exit reports err, if it needs to be, and returns the exit status.
func (a *app) exit(err error) int {
	var usage *usageError
	switch {
	case err == nil, errors.Is(err, errOutputClosed):
		return exitOK
	case errors.As(err, &usage):
		a.complain(err)
		return exitUsage
	default:
		a.complain(err)
		return exitFailed
	}
}

// complain writes one line on standard error.
func (a *app) complain(err error) {
	text := strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; ")
	fmt.Fprintf(a.stderr, "%s %s\n", a.errStyle.alert("fanfold:"), text)
}

// withUsage makes what args refuses a usage error that shows the right form.
func withUsage(args cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		if err := args(cmd, given); err != nil {
			return usagef("%s: %s; write: %s", cmd.CommandPath(), argsProblem(err, given), cmd.UseLine())
		}
		return nil
	}
}

func argsProblem(err error, given []string) string {
	if len(given) == 0 {
		return "an argument is missing"
	}
	return err.Error()
}

// closableOutput is standard output whose reader may go away.
type closableOutput struct{ io.Writer }

func (w closableOutput) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	if err != nil && isClosedPipe(err) {
		err = errOutputClosed
	}
	return n, err
}

func isClosedPipe(err error) bool {
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe) {
		return true
	}
	// ERROR_BROKEN_PIPE and ERROR_NO_DATA.
	return runtime.GOOS == "windows" && (errors.Is(err, syscall.Errno(109)) || errors.Is(err, syscall.Errno(232)))
}
