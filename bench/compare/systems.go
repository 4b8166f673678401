//go:build linux

package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// Names of the systems.
const (
	fanfold         = "fanfold"
	kafka           = "kafka"
	kafkaSynced     = "kafka-synced"
	jetstream       = "jetstream"
	jetstreamSynced = "jetstream-synced"
	floor           = "floor"
)

// allSystems are in the order that results show them in.
func allSystems(tree, work string) []system {
	cache := cacheDir()
	return []system{
		&goProgram{id: fanfold, text: "Fanfold", tree: tree, path: "./cmd/fanfold", binary: filepath.Join(work, "fanfold"),
			args: func(dir, address string) []string {
				return []string{"serve", "--data-dir", dir, "--listen", address, "--http-listen", "127.0.0.1:0", "--peer-listen", "127.0.0.1:0",
					"--set", "group.initial.rebalance.delay.ms=0"}
			}},
		&goProgram{id: floor, text: "the floor", tree: tree, path: "./bench/floor", binary: filepath.Join(work, "floor"),
			args: func(dir, address string) []string { return []string{"-data-dir", dir, "-listen", address} }},
		&kafkaServer{id: kafka, text: "Kafka unsynced", cache: cache},
		&kafkaServer{id: kafkaSynced, text: "Kafka synced", cache: cache, synced: true},
		&natsServer{id: jetstreamSynced, text: "JetStream synced", cache: cache, synced: true},
		&natsServer{id: jetstream, text: "JetStream unsynced", cache: cache},
	}
}

func cacheDir() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	return filepath.Join(dir, "fanfold")
}

// goProgram is built from the source tree.
type goProgram struct {
	id, text           string
	tree, path, binary string
	args               func(dir, address string) []string
}

func (g *goProgram) name() string  { return g.id }
func (g *goProgram) title() string { return g.text }

func (g *goProgram) install(ctx context.Context) (string, error) {
	if _, err := os.Stat(g.binary); err != nil {
		build := exec.CommandContext(ctx, "go", "build", "-o", g.binary, g.path)
		build.Dir = g.tree
		if err := quietly(build); err != nil {
			return "", err
		}
	}
	return treeVersion(ctx, g.tree), nil
}

// treeVersion is the commit, and whether anything is changed in what is built.
func treeVersion(ctx context.Context, tree string) string {
	git := func(args ...string) string {
		cmd := exec.CommandContext(ctx, "git", args...)
		cmd.Dir = tree
		out, err := cmd.Output()
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(out))
	}
	commit := git("rev-parse", "--short=12", "HEAD")
	if commit == "" {
		return "unknown commit"
	}
	if git("status", "--porcelain", "--untracked-files=no", "--", "*.go", "go.mod") != "" {
		commit += " with changes"
	}
	return commit
}

func (g *goProgram) prepare(context.Context, string, int) error { return nil }

func (g *goProgram) command(dir string, port int) *exec.Cmd {
	return exec.Command(g.binary, g.args(filepath.Join(dir, "data"), fmt.Sprintf("127.0.0.1:%d", port))...)
}

func (g *goProgram) answers(ctx context.Context, address string) error {
	return kafkaAnswers(ctx, address)
}

// quietly runs a command and returns what it printed only with its failure.
func quietly(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return nil
}

// kafkaServer is Apache Kafka, broker and controller in one process.
type kafkaServer struct {
	id, text string
	cache    string
	synced   bool
	java     string
}

const kafkaVersion = "4.4.0"

//go:embed pom.xml
var kafkaPOM []byte

// kafkaProperties has Kafka's defaults but for what one node needs.
const kafkaProperties = `process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:%[2]d
listeners=PLAINTEXT://127.0.0.1:%[1]d,CONTROLLER://127.0.0.1:%[2]d
advertised.listeners=PLAINTEXT://127.0.0.1:%[1]d
controller.listener.names=CONTROLLER
log.dirs=%[3]s
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
`

const kafkaLogging = `status=error
rootLogger.level=warn
rootLogger.appenderRef.out.ref=out
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d %p %m%n
`

func (k *kafkaServer) name() string  { return k.id }
func (k *kafkaServer) title() string { return k.text }
func (k *kafkaServer) lib() string   { return filepath.Join(k.cache, "kafka-"+kafkaVersion, "lib") }

func (k *kafkaServer) install(ctx context.Context) (string, error) {
	home, version, err := newestJDK(ctx)
	if err != nil {
		return "", err
	}
	k.java = filepath.Join(home, "bin", "java")
	done := filepath.Join(filepath.Dir(k.lib()), "done")
	if _, err := os.Stat(done); err != nil {
		if err := os.MkdirAll(k.lib(), 0o755); err != nil {
			return "", err
		}
		pom := filepath.Join(filepath.Dir(k.lib()), "pom.xml")
		if err := os.WriteFile(pom, kafkaPOM, 0o644); err != nil {
			return "", err
		}
		if err := quietly(exec.CommandContext(ctx, "mvn", "-q", "-B", "-f", pom, "dependency:copy-dependencies",
			"-DincludeScope=runtime", "-DoutputDirectory="+k.lib())); err != nil {
			return "", fmt.Errorf("fetch Apache Kafka: %w", err)
		}
		if err := os.WriteFile(done, nil, 0o644); err != nil {
			return "", err
		}
	}
	return kafkaVersion + " on Java " + version, nil
}

var javaVersion = regexp.MustCompile(`version "((\d+)[^"]*)"`)

// newestJDK looks where systems keep them; 17 is the oldest that serves.
func newestJDK(ctx context.Context) (home, version string, err error) {
	homes, _ := filepath.Glob("/usr/lib/jvm/*") // a pattern without fault
	if env := os.Getenv("JAVA_HOME"); env != "" {
		homes = append(homes, env)
	}
	if path, err := exec.LookPath("java"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			homes = append(homes, filepath.Dir(filepath.Dir(path)))
		}
	}
	best := 16
	for _, dir := range homes {
		out, err := exec.CommandContext(ctx, filepath.Join(dir, "bin", "java"), "-version").CombinedOutput()
		m := javaVersion.FindStringSubmatch(string(out))
		if err != nil || m == nil {
			continue
		}
		if major, _ := strconv.Atoi(m[2]); major > best {
			best, home, version = major, dir, m[1]
		}
	}
	if home == "" {
		return "", "", errors.New("no Java of version 17 or newer in JAVA_HOME, /usr/lib/jvm or the path")
	}
	return home, version, nil
}

func (k *kafkaServer) prepare(ctx context.Context, dir string, port int) error {
	controller, err := freePort()
	if err != nil {
		return err
	}
	properties := fmt.Sprintf(kafkaProperties, port, controller, filepath.Join(dir, "data"))
	if k.synced {
		properties += "log.flush.interval.messages=1\n"
	}
	if err := errors.Join(
		os.WriteFile(filepath.Join(dir, "server.properties"), []byte(properties), 0o644),
		os.WriteFile(filepath.Join(dir, "log4j2.properties"), []byte(kafkaLogging), 0o644),
	); err != nil {
		return err
	}
	return quietly(k.run(ctx, dir, nil, "kafka.tools.StorageTool", "format", "-t", "ZmFuZm9sZC1jb21wYXJlMQ", "-c", filepath.Join(dir, "server.properties")))
}

// The flags are those of Kafka's own start script.
func (k *kafkaServer) command(dir string, _ int) *exec.Cmd {
	flags := []string{
		"-Xms1G", "-Xmx1G", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20",
		"-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent", "-Djava.awt.headless=true",
	}
	return k.run(context.Background(), dir, flags, "kafka.Kafka", filepath.Join(dir, "server.properties"))
}

func (k *kafkaServer) run(ctx context.Context, dir string, flags []string, class string, args ...string) *exec.Cmd {
	argv := append(flags, "-cp", filepath.Join(k.lib(), "*"), "-Dlog4j2.configurationFile="+filepath.Join(dir, "log4j2.properties"), class)
	return exec.CommandContext(ctx, k.java, append(argv, args...)...)
}

func (k *kafkaServer) answers(ctx context.Context, address string) error {
	return kafkaAnswers(ctx, address)
}

// natsServer is the NATS server with JetStream.
type natsServer struct {
	id, text string
	cache    string
	synced   bool
}

const natsVersion = "v2.15.2"

func (n *natsServer) name() string  { return n.id }
func (n *natsServer) title() string { return n.text }
func (n *natsServer) binary() string {
	return filepath.Join(n.cache, "nats-"+natsVersion, "nats-server")
}

func (n *natsServer) install(ctx context.Context) (string, error) {
	if _, err := os.Stat(n.binary()); err != nil {
		install := exec.CommandContext(ctx, "go", "install", "github.com/nats-io/nats-server/v2@"+natsVersion)
		install.Env = append(os.Environ(), "GOBIN="+filepath.Dir(n.binary()), "GOFLAGS=")
		install.Dir = os.TempDir()
		if err := quietly(install); err != nil {
			return "", fmt.Errorf("fetch the NATS server: %w", err)
		}
	}
	return natsVersion, nil
}

func (n *natsServer) prepare(_ context.Context, dir string, port int) error {
	interval := "2m" // the default
	if n.synced {
		interval = "always"
	}
	config := fmt.Sprintf("listen: \"127.0.0.1:%d\"\njetstream { store_dir: %q, sync_interval: %q }\n", port, filepath.Join(dir, "data"), interval)
	return os.WriteFile(filepath.Join(dir, "nats.conf"), []byte(config), 0o644)
}

func (n *natsServer) command(dir string, _ int) *exec.Cmd {
	return exec.Command(n.binary(), "-c", filepath.Join(dir, "nats.conf"))
}

func (n *natsServer) answers(ctx context.Context, address string) error {
	c, err := dialNATS(ctx, address)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.request("$JS.API.INFO", nil)
	return err
}
