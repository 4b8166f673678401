package broker

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// Kafka runs Apache Kafka, broker and controller in one process, from a folder
// of jars.
type Kafka struct {
	Java   string // the java command
	Lib    string // folder of the jars
	Log4j2 string // a log4j2 configuration file

	Settings map[string]string
}

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
group.consumer.min.session.timeout.ms=1000
group.consumer.min.heartbeat.interval.ms=100
`

func (k Kafka) With(settings map[string]string) Kind {
	k.Settings = settings
	return k
}

func (k Kafka) Prepare(ctx context.Context, dir string, port int) error {
	controller, err := freePort()
	if err != nil {
		return err
	}
	properties := fmt.Sprintf(kafkaProperties, port, controller, filepath.Join(dir, "data"))
	for _, name := range slices.Sorted(maps.Keys(k.Settings)) {
		properties += name + "=" + k.Settings[name] + "\n"
	}
	if err := os.WriteFile(k.properties(dir), []byte(properties), 0o644); err != nil {
		return err
	}
	format := k.java(ctx, "kafka.tools.StorageTool", "format", "-t", "ZmFuZm9sZC1pbnRlcm9wAQ", "-c", k.properties(dir))
	if out, err := format.CombinedOutput(); err != nil {
		return fmt.Errorf("format Kafka's storage: %w\n%s", err, out)
	}
	return nil
}

func (k Kafka) Command(dir string, _ int) *exec.Cmd {
	return k.java(context.Background(), "kafka.Kafka", k.properties(dir))
}

func (k Kafka) properties(dir string) string { return filepath.Join(dir, "server.properties") }

func (k Kafka) java(ctx context.Context, main string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, k.Java, append([]string{
		"-Xmx512m", "-XX:+UseG1GC", "-cp", filepath.Join(k.Lib, "*"),
		"-Dlog4j2.configurationFile=" + k.Log4j2, main,
	}, args...)...)
}
