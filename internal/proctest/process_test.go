package proctest_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fanfold/fanfold/internal/proctest"
)

// program says what it was started with and waits for a line of input, or for
// ever.
func program() {
	fmt.Fprintln(os.Stderr, "a complaint")
	fmt.Println("started", os.Args[1:], os.Getenv("GIVEN"), os.Getenv("DROPPED_ONE"))
	if len(os.Args) > 1 && os.Args[1] == "hang" {
		select {}
	}
	if bufio.NewScanner(os.Stdin).Scan() {
		os.Exit(3)
	}
}

func TestMain(m *testing.M) {
	proctest.Main(program)
	goleak.VerifyTestMain(m)
}

func start(t *testing.T, opts proctest.Options) *proctest.Process {
	t.Helper()
	p, err := proctest.Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestProcessEndsWithItsStatus(t *testing.T) {
	t.Setenv("DROPPED_ONE", "x")
	var complaints strings.Builder
	p := start(t, proctest.Options{Args: []string{"a", "b"}, Env: []string{"GIVEN=y"}, Drop: "DROPPED_", Stdin: strings.NewReader("go\n"), Stderr: &complaints})
	status, err := p.Wait(within(t, time.Minute))
	if status != 3 || err != nil || p.Stdout() != "started [a b] y \n" || p.Stderr() != "a complaint\n" || complaints.String() != p.Stderr() {
		t.Errorf("status %d, %v, stdout %q, stderr %q, copied %q", status, err, p.Stdout(), p.Stderr(), complaints.String())
	}
	if p = start(t, proctest.Options{}); p.PID() <= 0 {
		t.Error("no process id")
	}
	if status, err := p.Wait(within(t, time.Minute)); status != 0 || err != nil || p.Running() {
		t.Errorf("status %d, %v", status, err)
	}
}

func TestProcessIsKilled(t *testing.T) {
	p := start(t, proctest.Options{Args: []string{"hang"}})
	if err := p.Await(within(t, time.Minute), func(out string) bool { return strings.Contains(out, "started") }); err != nil {
		t.Fatal(err)
	}
	if !p.Running() {
		t.Error("has ended by itself")
	}
	p.Kill()
	p.Kill()
	if status, err := p.Wait(within(t, time.Minute)); status == 0 || err != nil || p.Running() {
		t.Errorf("status %d, %v", status, err)
	}
	if err := p.Await(t.Context(), func(string) bool { return false }); err == nil || !strings.Contains(err.Error(), "a complaint") {
		t.Errorf("waiting for a dead process: %v", err)
	}
}

func TestProcessIsTerminated(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no SIGTERM")
	}
	p := start(t, proctest.Options{Args: []string{"hang"}})
	if err := p.Terminate(); err != nil {
		t.Fatal(err)
	}
	if status, err := p.Wait(within(t, time.Minute)); status != -1 || err != nil {
		t.Errorf("status %d, %v", status, err)
	}
}

func TestProcessOutlivesNoDeadline(t *testing.T) {
	p := start(t, proctest.Options{Args: []string{"hang"}, Limit: 10 * time.Millisecond})
	status, err := p.Wait(within(t, time.Minute))
	if status != proctest.ExitLimit || err != nil || !strings.Contains(p.Stderr(), "ends itself after 10ms") {
		t.Errorf("status %d, %v, %q", status, err, p.Stderr())
	}
	p = start(t, proctest.Options{Args: []string{"hang"}})
	if _, err := p.Wait(within(t, 10*time.Millisecond)); !errors.Is(err, context.DeadlineExceeded) || p.Running() {
		t.Errorf("%v, running %v", err, p.Running())
	}
}

func TestFreeAddress(t *testing.T) {
	address, err := proctest.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
}
