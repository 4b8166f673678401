package interop

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fanfold/fanfold/interop/broker"
	"github.com/fanfold/fanfold/interop/tree"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// topicPartitions is how many partitions the trees' topics have.
const topicPartitions = 8

// suite is what all tests share.
var suite struct {
	work   string // what setup.sh installed
	kind   broker.Kind
	broker *broker.Broker
	full   bool
}

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	if suite.work, err = filepath.Abs(".work"); err != nil {
		return 1, err
	}
	if _, err := os.Stat(filepath.Join(suite.work, "bin")); err != nil {
		return 1, fmt.Errorf("the client programs are not there: run ./setup.sh first (%w)", err)
	}
	suite.full = os.Getenv("FANFOLD_INTEROP") == "full"
	if suite.kind, err = brokerKind(); err != nil {
		return 1, err
	}
	dir, err := os.MkdirTemp("", "interop-broker-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	started := time.Now()
	if suite.broker, err = broker.Start(context.Background(), suite.kind, dir); err != nil {
		return 1, err
	}
	fmt.Printf("interop: %T on %s, ready in %v\n", suite.kind, suite.broker.Addr, time.Since(started).Round(time.Millisecond))
	code = m.Run()
	return code, suite.broker.Stop()
}

func brokerKind() (broker.Kind, error) {
	switch name := os.Getenv("INTEROP_BROKER"); name {
	case "", "fanfold":
		bin, err := fanfoldBinary()
		return broker.Fanfold{Binary: bin}, err
	case "kafka":
		kind, err := kafkaKind()
		return kind, err
	default:
		return nil, fmt.Errorf("INTEROP_BROKER is %q, neither fanfold nor kafka", name)
	}
}

// kafkaKind is Apache Kafka as setup.sh --kafka has put it there.
func kafkaKind() (kafka broker.Kafka, err error) {
	lib, err := kafkaJars("kafka-4.4.0")
	if err != nil {
		return kafka, err
	}
	jdk, err := jdk()
	if err != nil {
		return kafka, err
	}
	log4j2, err := filepath.Abs("broker/kafka/log4j2.properties")
	return broker.Kafka{Java: filepath.Join(jdk, "bin", "java"), Log4j2: log4j2, Lib: lib}, err
}

// kafkaJars is where setup.sh --kafka puts jars.
func kafkaJars(name string) (lib string, err error) {
	cache, err := os.UserCacheDir()
	return filepath.Join(cache, "fanfold", name, "lib"), err
}

func jdk() (string, error) {
	home, err := os.ReadFile(".work/jdk")
	return strings.TrimSpace(string(home)), err
}

// fanfoldBinary is FANFOLD_BIN, or built from this repository once.
var fanfoldBinary = sync.OnceValues(func() (string, error) {
	if bin := os.Getenv("FANFOLD_BIN"); bin != "" {
		return filepath.Abs(bin)
	}
	bin, err := filepath.Abs(".work/bin/fanfold")
	if err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-o", bin, "./cmd/fanfold")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build fanfold: %w\n%s", err, out)
	}
	return bin, nil
})

// goSource is Go's own source tree: all of it with limit 0, else a copy of
// that many files of it.
func goSource(t *testing.T, limit int) *tree.Tree {
	t.Helper()
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	tr, err := tree.Load(filepath.Join(strings.TrimSpace(string(goroot)), "src"), limit)
	if err != nil {
		t.Fatal(err)
	}
	if limit > 0 {
		dir := t.TempDir()
		if err := tr.Copy(dir); err != nil {
			t.Fatal(err)
		}
		tr.Root = dir
	}
	t.Logf("input: %d files, %d records, %.1f MB", len(tr.Files), tr.Records(), float64(tr.Bytes)/1e6)
	return tr
}

// listed writes the tree's list of files for the programs.
func listed(t *testing.T, tr *tree.Tree) string {
	t.Helper()
	list := filepath.Join(t.TempDir(), "files")
	if err := tr.WriteList(list); err != nil {
		t.Fatal(err)
	}
	return list
}

func admin(t *testing.T, b *broker.Broker) *kadm.Client {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return kadm.NewClient(cl)
}

// newTopic creates a topic that takes records of up to 2 MiB (a line of Go's
// source is 1.4 MB long) and keeps them, and deletes it after the test.
func newTopic(t *testing.T, b *broker.Broker, name string, partitions int32) string {
	t.Helper()
	adm := admin(t, b)
	configs := map[string]*string{
		"max.message.bytes": kadm.StringPtr("2162688"),
		"retention.ms":      kadm.StringPtr("-1"), // some records have timestamps of long ago
	}
	if _, err := adm.CreateTopic(t.Context(), partitions, 1, configs, name); err != nil {
		t.Fatalf("create topic %s: %v", name, err)
	}
	settled(t, adm, name)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if _, err := adm.DeleteTopic(ctx, name); err != nil {
			t.Errorf("delete topic %s: %v", name, err)
		}
	})
	return name
}

// settled waits until every partition of a new topic answers: Apache Kafka's
// brokers learn of it a moment after its creation was answered.
func settled(t *testing.T, adm *kadm.Client, topic string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		ends, err := adm.ListEndOffsets(ctx, topic)
		if err = errors.Join(err, ends.Error()); err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("topic %s is not ready: %v", topic, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
