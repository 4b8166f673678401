//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// system is a server program with its settings.
type system interface {
	name() string  // in results
	title() string // for people
	// install fetches or builds what is needed and returns its version.
	install(ctx context.Context) (version string, err error)
	// prepare is called once before the first start on a directory.
	prepare(ctx context.Context, dir string, port int) error
	command(dir string, port int) *exec.Cmd
	// answers tells whether the server at an address does its work.
	answers(ctx context.Context, address string) error
}

// server is a system's process. It is used by one goroutine at a time.
type server struct {
	system
	dir     string
	port    int
	address string
	cmd     *exec.Cmd
	gone    chan struct{} // closed when the process has ended, by exit
	exit    error
}

// readyWithin is how long a server may take to answer; a JVM that recovers
// 10 GiB needs some.
const readyWithin = 5 * time.Minute

// newServer prepares a directory and a port.
func newServer(ctx context.Context, s system, dir string) (*server, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if err := s.prepare(ctx, dir, port); err != nil {
		return nil, fmt.Errorf("prepare %s: %w", s.name(), err)
	}
	return &server{system: s, dir: dir, port: port, address: net.JoinHostPort("127.0.0.1", strconv.Itoa(port))}, nil
}

// launch starts the process and does not wait for anything.
func (s *server) launch() error {
	log, err := os.OpenFile(filepath.Join(s.dir, "server.out"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd = s.command(s.dir, s.port)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", s.name(), err)
	}
	gone := make(chan struct{})
	s.gone = gone
	go func(cmd *exec.Cmd) {
		s.exit = cmd.Wait()
		close(gone)
	}(s.cmd)
	return nil
}

// start starts the process and waits until it answers.
func (s *server) start(ctx context.Context) error {
	if err := s.launch(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	for {
		err := s.answers(ctx, s.address)
		if err == nil {
			return nil
		}
		select {
		case <-s.gone:
			return fmt.Errorf("%s ended: %v; its output ends:\n%s", s.name(), s.exit, s.tail())
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w; its output ends:\n%s", s.name(), err, s.tail())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *server) pid() int { return s.cmd.Process.Pid }

// running tells whether the process was started and has not ended.
func (s *server) running() bool {
	if s.cmd == nil {
		return false
	}
	select {
	case <-s.gone:
		return false
	default:
		return true
	}
}

// stop ends the process in an orderly way.
func (s *server) stop() error {
	if !s.running() {
		return nil
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-s.gone:
		return nil
	case <-time.After(time.Minute):
		return errors.Join(fmt.Errorf("%s did not stop within a minute", s.name()), s.kill())
	}
}

// kill ends the process as kill -9 does.
func (s *server) kill() error {
	if !s.running() {
		return nil
	}
	err := s.cmd.Process.Kill()
	<-s.gone
	return err
}

// tail is the end of what the process printed.
func (s *server) tail() []byte {
	out, err := os.ReadFile(filepath.Join(s.dir, "server.out"))
	if err != nil {
		return []byte(err.Error())
	}
	lines := bytes.Split(bytes.TrimSpace(out), []byte{'\n'})
	return bytes.Join(lines[max(0, len(lines)-25):], []byte{'\n'})
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// kafkaAnswers asks for the metadata of a broker that speaks Kafka's protocol.
func kafkaAnswers(ctx context.Context, address string) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.RetryTimeout(time.Millisecond))
	if err != nil {
		return err
	}
	defer cl.Close()
	meta, err := kadm.NewClient(cl).BrokerMetadata(ctx)
	if err == nil && (len(meta.Brokers) == 0 || meta.Controller < 0) {
		err = errors.New("no controller yet")
	}
	return err
}

// createTopic makes a topic and waits until all of it has leaders.
func createTopic(ctx context.Context, address, topic string, partitions int) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(address))
	if err != nil {
		return err
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	configs := map[string]*string{"file.delete.delay.ms": kadm.StringPtr("1000")}
	if _, err := admin.CreateTopic(ctx, int32(partitions), 1, configs, topic); err != nil {
		return fmt.Errorf("create topic %s: %w", topic, err)
	}
	for {
		ends, err := admin.ListEndOffsets(ctx, topic) // which only a leader answers
		if err == nil {
			err = ends.Error()
		}
		if err == nil && len(ends[topic]) == partitions {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("topic %s has no leaders: %w", topic, errors.Join(ctx.Err(), err))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func deleteTopic(ctx context.Context, address, topic string) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(address))
	if err != nil {
		return err
	}
	defer cl.Close()
	_, err = kadm.NewClient(cl).DeleteTopic(ctx, topic)
	if err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) {
		return fmt.Errorf("delete topic %s: %w", topic, err)
	}
	return nil
}
