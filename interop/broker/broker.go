// Package broker starts the broker under test as a process of its own, on a
// port and a data directory that it keeps over restarts: Fanfold, or Apache
// Kafka in one process as the reference.
package broker

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Kind is a broker program.
type Kind interface {
	// Prepare is called once, before the first start.
	Prepare(ctx context.Context, dir string, port int) error
	// Command is the broker in the foreground.
	Command(dir string, port int) *exec.Cmd
	// With is the same program with these settings, which have the same names
	// for all.
	With(settings map[string]string) Kind
}

// Broker is a running broker. It is used by one goroutine at a time.
type Broker struct {
	Addr string // host:port for Kafka clients

	kind Kind
	dir  string
	port int
	cmd  *exec.Cmd
	gone chan struct{} // closed when cmd has ended; err is its outcome
	err  error
}

// readyWithin is how long a broker may take from start to its first answers.
const readyWithin = time.Minute

// Start prepares dir, which must exist, and starts a broker that answers
// clients on a free port of the loopback address.
func Start(ctx context.Context, kind Kind, dir string) (*Broker, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	b := &Broker{Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), kind: kind, dir: dir, port: port}
	if err := kind.Prepare(ctx, dir, port); err != nil {
		return nil, fmt.Errorf("prepare broker: %w", err)
	}
	return b, b.Restart(ctx)
}

// Restart starts the broker again after Kill or Stop, on the same data.
func (b *Broker) Restart(ctx context.Context) error {
	log, err := os.OpenFile(b.logPath(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	b.cmd = b.kind.Command(b.dir, b.port)
	b.cmd.Stdout, b.cmd.Stderr = log, log
	if err := b.cmd.Start(); err != nil {
		return fmt.Errorf("start broker: %w", err)
	}
	b.gone = make(chan struct{})
	go func(cmd *exec.Cmd, gone chan struct{}) {
		b.err = cmd.Wait()
		close(gone)
	}(b.cmd, b.gone)
	if err := b.ready(ctx); err != nil {
		return fmt.Errorf("broker on %s: %w; its log ends:\n%s", b.Addr, err, b.LogTail())
	}
	return nil
}

// ready waits until the broker answers ApiVersions and Metadata with itself.
func (b *Broker) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addr), kgo.RetryTimeout(time.Millisecond))
	if err != nil {
		return err
	}
	defer cl.Close()
	for {
		meta, err := kadm.NewClient(cl).BrokerMetadata(ctx)
		if err == nil && len(meta.Brokers) > 0 && meta.Controller >= 0 {
			return nil
		}
		select {
		case <-b.gone:
			return fmt.Errorf("it ended: %v", b.err)
		case <-ctx.Done():
			return fmt.Errorf("not ready within %v: %w", readyWithin, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Kill ends the broker as kill -9 does.
func (b *Broker) Kill() error {
	if err := b.cmd.Process.Kill(); err != nil {
		return fmt.Errorf("kill broker: %w", err)
	}
	<-b.gone
	return nil
}

// Stop ends the broker in an orderly way; one that does not end within half a
// minute is killed, and that is an error.
func (b *Broker) Stop() error {
	select {
	case <-b.gone:
		return fmt.Errorf("the broker ended by itself: %v; its log ends:\n%s", b.err, b.LogTail())
	default:
	}
	if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop broker: %w", err)
	}
	select {
	case <-b.gone:
		return nil
	case <-time.After(30 * time.Second):
		return fmt.Errorf("the broker did not stop within 30 s (then killed: %v)", b.Kill())
	}
}

func (b *Broker) logPath() string { return filepath.Join(b.dir, "broker.log") }

// LogTail is the end of what the broker printed.
func (b *Broker) LogTail() string {
	content, err := os.ReadFile(b.logPath())
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(bytes.TrimRight(content, "\n"), []byte{'\n'})
	return string(bytes.Join(lines[max(0, len(lines)-30):], []byte{'\n'}))
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
