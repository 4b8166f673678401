package proctest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// limitVariable is set for a process that Start started, to its Limit.
const limitVariable = "PROCTEST_LIMIT"

// ExitLimit is the exit status of a process that reached its Limit.
const ExitLimit = 99

// Main runs program and ends the process, if Start started it; otherwise it
// returns at once. program may end the process itself.
func Main(program func()) {
	limit, ok := os.LookupEnv(limitVariable)
	if !ok {
		return
	}
	d, err := time.ParseDuration(limit)
	if err != nil {
		fmt.Fprintf(os.Stderr, "proctest: %s: %v\n", limitVariable, err)
		os.Exit(ExitLimit)
	}
	time.AfterFunc(d, func() {
		fmt.Fprintf(os.Stderr, "proctest: process %d ends itself after %s\n", os.Getpid(), limit)
		os.Exit(ExitLimit)
	})
	program()
	os.Exit(0)
}

// Options say what Start starts.
type Options struct {
	Args   []string      // without the program's name
	Env    []string      // NAME=VALUE, beside those of this process
	Drop   string        // prefix of the variables that the process does not get; empty: it gets all
	Dir    string        // working directory; empty: the present one
	Limit  time.Duration // the process ends itself after it; zero means two minutes
	Stdin  io.Reader     // nil: empty
	Stderr io.Writer     // gets a copy of standard error; may be nil
}

// Process is a running or ended process.
type Process struct {
	cmd            *exec.Cmd
	stdout, stderr output
	done           chan struct{}
}

// Start starts this test binary as the program given to Main. The caller calls
// Kill or Wait in the end.
func Start(opts Options) (*Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if opts.Limit == 0 {
		opts.Limit = 2 * time.Minute
	}
	p := &Process{cmd: exec.Command(self, opts.Args...), done: make(chan struct{})}
	p.stdout.changed, p.stderr.changed = make(chan struct{}), make(chan struct{})
	p.stderr.next = opts.Stderr
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = opts.Stdin, &p.stdout, &p.stderr
	p.cmd.Dir = opts.Dir
	p.cmd.SysProcAttr = endWithParent()
	p.cmd.WaitDelay = 5 * time.Second
	for _, pair := range os.Environ() {
		if opts.Drop == "" || !strings.HasPrefix(pair, opts.Drop) {
			p.cmd.Env = append(p.cmd.Env, pair)
		}
	}
	p.cmd.Env = append(append(p.cmd.Env, opts.Env...), limitVariable+"="+opts.Limit.String())
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", self, err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // what it would say is in ProcessState
	}()
	return p, nil
}

// PID is the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended and its output was read.
func (p *Process) Done() <-chan struct{} { return p.done }

// Running tells whether the process has not ended yet.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Kill ends the process by SIGKILL (TerminateProcess on Windows), if it runs,
// and waits for its end.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // an error is a process that has ended
	<-p.done
}

// Terminate asks the process to stop, by SIGTERM. Windows has none.
func (p *Process) Terminate() error { return p.cmd.Process.Signal(syscall.SIGTERM) }

// Wait waits for the end and returns the exit status, -1 after a signal. It
// kills a process that still runs when ctx ends, and returns ctx's error.
func (p *Process) Wait(ctx context.Context) (status int, err error) {
	select {
	case <-p.done:
	case <-ctx.Done():
		p.Kill()
		err = ctx.Err()
	}
	return p.cmd.ProcessState.ExitCode(), err
}

// Stdout is what the process has written to standard output so far.
func (p *Process) Stdout() string { return p.stdout.String() }

// Stderr is what the process has written to standard error so far.
func (p *Process) Stderr() string { return p.stderr.String() }

// Await waits until enough says that standard output is. It fails when the
// process ends before or ctx does.
func (p *Process) Await(ctx context.Context, enough func(stdout string) bool) error {
	for {
		text, changed := p.stdout.watch()
		if enough(text) {
			return nil
		}
		select {
		case <-changed:
		case <-p.done:
			if enough(p.Stdout()) {
				return nil
			}
			return fmt.Errorf("process %d has ended: %s; standard error: %s", p.PID(), p.cmd.ProcessState, tail(p.Stderr()))
		case <-ctx.Done():
			return fmt.Errorf("process %d has not written what was expected: %w; standard output: %q; standard error: %s", p.PID(), ctx.Err(), p.Stdout(), tail(p.Stderr()))
		}
	}
}

// tail is the end of a long text.
func tail(text string) string {
	const most = 8 << 10
	if len(text) > most {
		return "…" + text[len(text)-most:]
	}
	return text
}

// output gathers what a process writes, and tells of each change.
type output struct {
	next io.Writer

	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{} // closed and replaced at each write
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Write(b)
	close(o.changed)
	o.changed = make(chan struct{})
	if o.next != nil {
		return o.next.Write(b)
	}
	return len(b), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func (o *output) watch() (text string, changed <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String(), o.changed
}
