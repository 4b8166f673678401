package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/broker"
	"github.com/fanfold/fanfold/cluster"
	"github.com/fanfold/fanfold/cluster/configs"
	"github.com/fanfold/fanfold/internal/units"
)

// stopWithin is how long a clean stop may take before connections are cut.
const stopWithin = 3 * time.Second

func newServe(a *app) *cobra.Command {
	var flags settingsFlags
	logLevel := choice("warn", "debug", "info", "error")
	logFormat := choice("text", "json")
	cmd := &cobra.Command{
		Use:   "serve [flags]",
		Short: "Run a broker",
		Long: `Runs a broker until it is told to stop (Ctrl-C or SIGTERM). Without any flag it
serves Kafka clients on 127.0.0.1:9092 and stores everything in ./fanfold-data.
Every acknowledged record is synced to disk; a topic may relax that with
flush.messages and flush.ms.

All settings, with units and defaults, are shown by: fanfold config show`,
		Example: `  fanfold serve
  fanfold serve --data-dir /var/lib/fanfold --listen 0.0.0.0:9092 --advertise kafka.example:9092
  fanfold serve --config /etc/fanfold/server.properties --set num.partitions=8
  fanfold serve --set log.retention.hours=24 --set log.segment.bytes=256MiB`,
		Args:              withUsage(cobra.NoArgs),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags.add(cmd.Flags())
	addChoice(cmd, logLevel, "log-level", "", "how much is logged to standard error")
	addChoice(cmd, logFormat, "log-format", "", "how it is written")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		began := time.Now()
		s, err := flags.load(cmd)
		if err != nil {
			return err
		}
		return a.serve(cmd.Context(), s, a.newLogger(logLevel.value, logFormat.value), began)
	}
	return cmd
}

// newLogger is the broker's log, on standard error.
func (a *app) newLogger(level, format string) *slog.Logger {
	var l slog.Level
	_ = l.UnmarshalText([]byte(level)) // one of the choices
	options := &slog.HandlerOptions{Level: l}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(a.stderr, options))
	}
	return slog.New(slog.NewTextHandler(a.stderr, options))
}

// running is a broker and what belongs to it.
type running struct {
	settings configs.Settings
	server   *broker.Server
	node     *broker.LocalNode
	http     *broker.HTTPServer
	logger   *slog.Logger
}

func (a *app) serve(ctx context.Context, s settings, logger *slog.Logger, began time.Time) error {
	static := configs.BrokerConfig{Static: s.static}
	effective, err := configs.EffectiveBroker(static)
	if err != nil {
		return usagef("%v", err)
	}
	slog.SetDefault(logger)
	r := &running{settings: effective, logger: logger}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := r.start(ctx, s); err != nil {
		r.stop()
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			return nil // told to stop while it started
		}
		return err
	}
	a.warnOpen(r)
	a.banner(r, began)
	<-ctx.Done()
	logger.Info("stopping")
	return r.stop()
}

// start binds the addresses, opens the data directory and begins to serve.
func (r *running) start(ctx context.Context, s settings) error {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	config := broker.ConfigOf(r.settings)
	config.Logger, config.Registerer = r.logger, registry
	var err error
	if r.server, err = broker.Listen(ctx, config); err != nil {
		return listenError(err, "--listen")
	}
	if r.settings.HTTPListen != "" {
		if r.http, err = broker.ListenHTTP(ctx, r.settings.HTTPListen, registry, r.logger); err != nil {
			return listenError(err, "--http-listen")
		}
	}
	listeners, err := r.advertised()
	if err != nil {
		return err
	}
	r.node, err = broker.OpenNode(ctx, broker.NodeOptions{
		DataDir: r.settings.DataDir, NodeID: r.settings.NodeID, Rack: r.settings.Rack,
		Version: readVersion().Version, Listeners: listeners, Static: s.static,
		Logger: r.logger, Registerer: registry,
	})
	if err != nil {
		return err
	}
	if os.Getenv("GOMEMLIMIT") == "" && r.settings.MemoryLimitBytes > 0 {
		go r.limitMemory(ctx)
	}
	r.server.Serve(r.node)
	if r.http != nil {
		r.http.Serve(r.node)
	}
	return r.node.WaitAllReady(ctx)
}

// What partitions and connections need is no garbage, beside memory.limit.bytes.
const (
	replicaMemory    = 56 << 10
	connectionMemory = 16 << 10
)

// limitMemory sets the garbage collector's limit, until ctx ends.
func (r *running) limitMemory(ctx context.Context) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		debug.SetMemoryLimit(r.settings.MemoryLimitBytes +
			int64(r.node.Replicas())*replicaMemory + int64(r.server.Connections())*connectionMemory)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// advertised are the addresses that clients are told of, with the ports that
// were really bound.
func (r *running) advertised() ([]cluster.Listener, error) {
	bound := r.server.Addr(broker.DefaultListener)
	_, port, err := net.SplitHostPort(bound.String())
	if err != nil {
		return nil, err
	}
	host, advertisedPort, err := net.SplitHostPort(r.settings.AdvertisedListeners[0])
	if err != nil {
		return nil, usagef("advertised.listeners: %v", err)
	}
	if advertisedPort == "0" {
		advertisedPort = port
	}
	if host == "" || net.ParseIP(host).IsUnspecified() {
		if host, err = os.Hostname(); err != nil {
			return nil, fmt.Errorf("find this host's name: %w; set --advertise", err)
		}
	}
	number, err := strconv.ParseInt(advertisedPort, 10, 32)
	if err != nil {
		return nil, usagef("advertised.listeners: port %q: %v", advertisedPort, err)
	}
	return []cluster.Listener{{Name: broker.DefaultListener, Host: host, Port: int32(number)}}, nil
}

// stop ends everything cleanly, clients first.
func (r *running) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	var errs []error
	if r.server != nil {
		errs = append(errs, r.server.Close(ctx))
	}
	if r.http != nil {
		errs = append(errs, r.http.Close(ctx))
	}
	if r.node != nil {
		errs = append(errs, r.node.Close())
	}
	return errors.Join(errs...)
}

// listenError says what to do where an address cannot be bound.
func listenError(err error, flag string) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%w; stop the process that uses it, or choose another with %s", err, flag)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%w; ports below 1024 need privileges: choose another with %s", err, flag)
	}
	return fmt.Errorf("%w; choose another with %s", err, flag)
}

// warnOpen says that a listener is reached from elsewhere, without
// authentication.
func (a *app) warnOpen(r *running) {
	for _, address := range r.settings.Listeners {
		host, _, err := net.SplitHostPort(address)
		if ip := net.ParseIP(host); err == nil && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			fmt.Fprintf(a.stderr, "%s clients reach %s from other machines, and there is no authentication: whoever connects can read and write everything\n",
				a.errStyle.alert("warning:"), address)
		}
	}
}

// banner says where everything is, and what to type next.
func (a *app) banner(r *running, began time.Time) {
	self := commandName(os.Args[0])
	address := r.server.Addr(broker.DefaultListener).String()
	dir, err := filepath.Abs(r.settings.DataDir)
	if err != nil {
		dir = r.settings.DataDir
	}
	out := &strings.Builder{}
	fmt.Fprintf(out, "%s is ready after %d ms.\n\n", a.outStyle.heading("Fanfold "+readVersion().Version), time.Since(began).Milliseconds())
	fmt.Fprintf(out, "  Kafka clients    %s\n", address)
	fmt.Fprintf(out, "  data directory   %s\n", dir)
	fmt.Fprintf(out, "  durability       %s\n", r.durability())
	if r.http != nil {
		fmt.Fprintf(out, "  metrics, health  http://%s/metrics  /healthz  /readyz\n", r.http.Addr())
	}
	brokers := ""
	if address != "127.0.0.1:9092" {
		brokers = " --brokers " + address
	}
	fmt.Fprintf(out, "\nIn another terminal:\n\n")
	fmt.Fprintf(out, "  echo 'hello, log' | %s produce greetings%s\n", self, brokers)
	fmt.Fprintf(out, "  %s consume greetings --from beginning%s\n\n", self, brokers)
	fmt.Fprintf(out, "Ctrl-C stops it.\n")
	_, _ = fmt.Fprint(a.stdout, out.String()) // a closed standard output stops no broker
}

// durability says when topics that set nothing else are synced.
func (r *running) durability() string {
	def, err := configs.Find(configs.Topic, "flush.messages")
	if err != nil {
		return err.Error()
	}
	messages := r.node.Configs().Governing(def).Value
	if messages == "1" {
		return "synced: an acknowledged record is on disk (flush.messages=1)"
	}
	def, err = configs.Find(configs.Topic, "flush.ms")
	if err != nil {
		return err.Error()
	}
	interval := r.node.Configs().Governing(def).Value
	text := fmt.Sprintf("relaxed: up to %s acknowledged records may be lost with the machine (flush.messages", messages)
	if ms, err := strconv.ParseInt(interval, 10, 64); err == nil && ms < 1<<40 {
		text += ", synced every " + units.FormatMillis(ms)
	}
	return text + ")"
}

// commandName is how this program was started, as one would type it again.
func commandName(arg0 string) string {
	if strings.Contains(arg0, string(filepath.Separator)+"go-build") {
		return "go run ./cmd/fanfold"
	}
	if filepath.Base(arg0) == arg0 {
		return arg0
	}
	if rel, err := filepath.Rel(".", arg0); err == nil && !strings.HasPrefix(rel, "..") {
		return "." + string(filepath.Separator) + rel
	}
	return arg0
}
