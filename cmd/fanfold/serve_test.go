package main

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/fanfold/fanfold/internal/proctest"
)

// refused runs `fanfold serve`, which must exit with a status and say each text
// in one line.
func refused(t *testing.T, status int, args []string, texts ...string) {
	t.Helper()
	args = append([]string{"serve", "--http-listen", "off"}, args...)
	r := runProgram(t, nil, args...)
	if r.status != status {
		t.Errorf("fanfold %q: status %d, want %d; stderr %q", args, r.status, status, r.stderr)
	}
	if !strings.HasPrefix(r.stderr, "fanfold: ") || strings.Count(r.stderr, "\n") != 1 {
		t.Errorf("fanfold %q: stderr %q is not one line of the program", args, r.stderr)
	}
	if r.stdout != "" {
		t.Errorf("fanfold %q: stdout %q", args, r.stdout)
	}
	want(t, r.stderr, texts...)
}

func TestServeSaysWhereEverythingIs(t *testing.T) {
	s := newServer(t, "--http-listen", "127.0.0.1:0")
	s.start()
	out := s.Stdout()
	want(t, out, "is ready after ", "Kafka clients    "+s.address+"\n", "data directory   "+s.dataDir+"\n",
		"an acknowledged record is on disk", "http://127.0.0.1:", "produce greetings --brokers "+s.address, "consume greetings --from beginning --brokers "+s.address)
	if text := s.Stderr(); text != "" {
		t.Errorf("standard error is not quiet: %s", text)
	}
	// The two commands work as they stand there.
	succeed(t, "hello, log\n", "produce", "greetings", "--brokers", s.address)
	if got := succeed(t, "", "consume", "greetings", "--from", "beginning", "--brokers", s.address, "-e"); got != "hello, log\n" {
		t.Errorf("consumed %q", got)
	}
	s.stop()
	s.args = append(s.args, "--set", "log.flush.interval.messages=1000", "--set", "log.flush.interval.ms=1s")
	s.start()
	want(t, s.Stdout(), "relaxed: up to 1000 acknowledged records may be lost with the machine", "synced every 1s")
}

func TestServeWarnsWhereOthersCanConnect(t *testing.T) {
	s := newServer(t)
	_, port, err := net.SplitHostPort(s.address)
	if err != nil {
		t.Fatal(err)
	}
	s.args = []string{"--advertise", s.address}
	s.address = "0.0.0.0:" + port
	s.start()
	s.Kill() // then all that it wrote was read
	want(t, s.Stderr(), "warning:", "from other machines", "no authentication")
}

func TestServeRefusesSecondProcess(t *testing.T) {
	s := newServer(t)
	s.start()
	refused(t, exitFailed, []string{"--data-dir", s.dataDir, "--listen", "127.0.0.1:0"}, s.dataDir, "used by another process", "--data-dir")
	s.Kill()
	s.start() // the lock ends with its process
	s.stop()
}

func TestServeRefusesPortInUse(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	address := listener.Addr().String()
	dir := filepath.Join(t.TempDir(), "data")
	refused(t, exitFailed, []string{"--data-dir", dir, "--listen", address}, address, "address already in use", "--listen")
	refused(t, exitFailed, []string{"--data-dir", dir, "--listen", "127.0.0.1:0", "--http-listen", address}, address, "address already in use", "--http-listen")
	refused(t, exitFailed, []string{"--data-dir", dir, "--listen", "no-such-host.invalid:9092"}, "no-such-host.invalid", "--listen")
	if _, err := os.Stat(dir); err == nil {
		t.Errorf("%s was made by a process that could not listen", dir)
	}
}

func TestServeRefusesDataDirectory(t *testing.T) {
	root := t.TempDir()
	at := func(name string) []string {
		return []string{"--listen", "127.0.0.1:0", "--data-dir", filepath.Join(root, name)}
	}
	t.Run("that is a file", func(t *testing.T) {
		writeFile(t, filepath.Join(root, "file"), "x")
		refused(t, exitFailed, at("file"), filepath.Join(root, "file"), "not a directory")
		refused(t, exitFailed, at("file/below"), filepath.Join(root, "file"), "not a directory")
	})
	t.Run("of something else", func(t *testing.T) {
		writeFile(t, filepath.Join(root, "home", "letter.txt"), "dear")
		refused(t, exitFailed, at("home"), filepath.Join(root, "home"), "is not empty and not Fanfold's", `"letter.txt"`, "--data-dir")
	})
	t.Run("without permission", func(t *testing.T) {
		if os.Geteuid() == 0 || runtime.GOOS == "windows" {
			t.Skip("nothing is forbidden to root")
		}
		dir := filepath.Join(root, "locked")
		if err := os.Mkdir(dir, 0o500); err != nil {
			t.Fatal(err)
		}
		refused(t, exitFailed, at("locked"), dir, "no permission", "--data-dir")
		refused(t, exitFailed, at("locked/below"), dir, "no permission", "--data-dir")
	})
	t.Run("of a newer format, another node, damaged", func(t *testing.T) {
		s := newServer(t)
		s.start()
		s.stop()
		file := filepath.Join(s.dataDir, "fanfold.json")
		good, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		args := []string{"--listen", "127.0.0.1:0", "--data-dir", s.dataDir}
		newer, format := newerFormat(t, good)
		writeFile(t, file, newer)
		refused(t, exitFailed, args, file, fmt.Sprintf("format %d", format), fmt.Sprintf("up to %d", format-1), "use a newer fanfold")
		writeFile(t, file, strings.Replace(string(good), `"node.id": 1`, `"node.id": 2`, 1))
		refused(t, exitFailed, args, file, "damaged", "checksum")
		writeFile(t, file, string(good[:len(good)/2]))
		refused(t, exitFailed, args, file, "damaged")
		writeFile(t, file, "")
		refused(t, exitFailed, args, file, "damaged")
		writeFile(t, file, string(good))
		refused(t, exitFailed, append(args, "--node-id", "2"), s.dataDir, "belongs to node 1", "this is node 2", "node.id=1")
		s.start()
	})
}

// newerFormat is a data directory's description with the next format, and the
// checksum that belongs to it.
func newerFormat(t *testing.T, description []byte) (newer string, format int) {
	t.Helper()
	d := decode[map[string]any](t, string(description))
	present, ok := d["format"].(float64)
	if !ok {
		t.Fatalf("no format in %s", description)
	}
	format = int(present) + 1
	d["format"] = format
	sum := crc32.Checksum(fmt.Appendf(nil, "%d %v %v", format, d["node.id"], d["directory.id"]), crc32.MakeTable(crc32.Castagnoli))
	d["crc32c"] = fmt.Sprintf("%08x", sum)
	changed, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return string(changed), format
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestServeRefusesSettings(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		writeFile(t, path, content)
		return path
	}
	for _, c := range []struct {
		name  string
		args  []string
		texts []string
	}{
		{"unknown key", []string{"--set", "log.retention.mss=1"}, []string{"--set", "log.retention.mss", "log.retention.ms"}},
		{"wrong type", []string{"--set", "num.partitions=many"}, []string{"--set", "num.partitions", "many", "whole number"}},
		{"wrong unit", []string{"--set", "log.segment.bytes=7d"}, []string{"--set", "log.segment.bytes", "7d"}},
		{"unit of another kind", []string{"--set", "log.retention.ms=5GiB"}, []string{"log.retention.ms", "5GiB"}},
		{"out of range", []string{"--set", "log.segment.bytes=1"}, []string{"log.segment.bytes", "1048576"}},
		{"not a boolean", []string{"--set", "auto.create.topics.enable=maybe"}, []string{"auto.create.topics.enable", "maybe"}},
		{"no value", []string{"--set", "num.partitions"}, []string{"--set num.partitions", "NAME=VALUE"}},
		{"address without port", []string{"--listen", "localhost"}, []string{"--listen", "localhost"}},
		{"properties, unknown key", []string{"--config", file("a.properties", "num.partition=3\n")}, []string{filepath.Join(dir, "a.properties"), "num.partition", "num.partitions"}},
		{"properties, wrong type", []string{"--config", file("b.properties", "# parts\nnum.partitions=x\n")}, []string{filepath.Join(dir, "b.properties"), "num.partitions", `"x"`}},
		{"properties, no assignment", []string{"--config", file("c.properties", "num.partitions\n")}, []string{filepath.Join(dir, "c.properties"), "line 1"}},
		{"yaml, unknown key", []string{"--config", file("a.yaml", "log:\n  retention:\n    hour: 3\n")}, []string{filepath.Join(dir, "a.yaml"), "log.retention.hour", "log.retention.hours"}},
		{"yaml, no yaml", []string{"--config", file("b.yaml", "a: [\n")}, []string{filepath.Join(dir, "b.yaml")}},
		{"json, wrong unit", []string{"--config", file("a.json", `{"log.retention.ms": "3 parsecs"}`)}, []string{filepath.Join(dir, "a.json"), "log.retention.ms", "parsecs"}},
		{"toml, unknown key", []string{"--config", file("a.toml", "listener = \"127.0.0.1:0\"\n")}, []string{filepath.Join(dir, "a.toml"), "listener", "listeners"}},
		{"unknown ending", []string{"--config", file("a.ini", "x=1")}, []string{filepath.Join(dir, "a.ini"), ".properties"}},
		{"no file", []string{"--config", filepath.Join(dir, "missing.yaml")}, []string{filepath.Join(dir, "missing.yaml"), "does not exist"}},
		{"a directory", []string{"--config", dir}, []string{dir}},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := append([]string{"serve", "--data-dir", filepath.Join(dir, "data")}, c.args...)
			fail(t, exitUsage, c.texts[0], "", args...)
			want(t, fanfold(t, "", args...).stderr, c.texts...)
		})
	}
	t.Run("environment", func(t *testing.T) {
		t.Setenv("FANFOLD_NUM_PARTITIONS", "few")
		fail(t, exitUsage, "FANFOLD_NUM_PARTITIONS", "", "serve", "--data-dir", filepath.Join(dir, "data"))
	})
	if _, err := os.Stat(filepath.Join(dir, "data")); err == nil {
		t.Error("a data directory was made in spite of wrong settings")
	}
}

// shown is what config show says of a setting.
func shown(t *testing.T, name string, args ...string) shownConfig {
	t.Helper()
	for _, c := range decode[[]shownConfig](t, succeed(t, "", append([]string{"config", "show", "-o", "json"}, args...)...)) {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("config show %q has no %s", args, name)
	return shownConfig{}
}

func TestSettingsComeFromFlagEnvironmentFileDefault(t *testing.T) {
	file := filepath.Join(t.TempDir(), "server.properties")
	writeFile(t, file, "# a comment\nnum.partitions = 3\nlog.retention.ms=7d\n")
	expect := func(value, origin string, args ...string) {
		t.Helper()
		if c := shown(t, "num.partitions", args...); c.Value != value || c.Origin != origin {
			t.Errorf("%q: %q from %q, want %q from %q", args, c.Value, c.Origin, value, origin)
		}
	}
	expect("1", "default")
	expect("3", "file "+file, "--config", file)
	t.Setenv("FANFOLD_NUM_PARTITIONS", "4")
	expect("4", "environment FANFOLD_NUM_PARTITIONS", "--config", file)
	expect("5", "flag --set", "--config", file, "--set", "num.partitions=5")
	if c := shown(t, "log.retention.ms", "--config", file); c.Value != "604800000" {
		t.Errorf("7d is %q ms", c.Value)
	}
	if c := shown(t, "listeners", "--set", "listeners=127.0.0.1:1", "--listen", "127.0.0.1:2"); !strings.HasSuffix(c.Value, "127.0.0.1:2") || c.Origin != "flag --listen" {
		t.Errorf("%+v", c)
	}
	out := succeed(t, "", "config", "show", "--changed", "--config", file)
	want(t, out, "SETTING", "num.partitions", "environment FANFOLD_NUM_PARTITIONS", "log.retention.ms", "file "+file)
	if strings.Contains(out, "default") {
		t.Errorf("--changed shows defaults:\n%s", out)
	}
}

func TestSettingsFileFormats(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"a.properties": "num.partitions=6\nlog.segment.bytes=64MiB\nlisteners=PLAINTEXT://127.0.0.1:7777\nauto.create.topics.enable=false\n",
		"plain":        "! a comment\nnum.partitions = 6\nlog.segment.bytes = 64 MiB\nlisteners = 127.0.0.1:7777\nauto.create.topics.enable = false\n",
		"a.yaml":       "num.partitions: 6\nlog:\n  segment:\n    bytes: 64MiB\nlisteners: [\"127.0.0.1:7777\"]\nauto.create.topics.enable: false\n",
		"b.yml":        "num:\n  partitions: 6\nlog.segment.bytes: 67108864\nlisteners: 127.0.0.1:7777\nauto: {create: {topics: {enable: false}}}\n",
		"a.json":       `{"num.partitions": 6, "log": {"segment.bytes": 67108864}, "listeners": ["127.0.0.1:7777"], "log.roll.ms": 9223372036854775807, "auto.create.topics.enable": false}`,
		"a.toml":       "\"num.partitions\" = 6\nlisteners = \"127.0.0.1:7777\"\n[log.segment]\nbytes = 67108864\n[auto.create.topics]\nenable = false\n",
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(dir, name)
			writeFile(t, file, content)
			for setting, value := range map[string]string{
				"num.partitions": "6", "log.segment.bytes": "67108864", "auto.create.topics.enable": "false",
			} {
				if c := shown(t, setting, "--config", file); c.Value != value || c.Origin != "file "+file {
					t.Errorf("%s: %q from %q", setting, c.Value, c.Origin)
				}
			}
			if c := shown(t, "listeners", "--config", file); !strings.HasSuffix(c.Value, "127.0.0.1:7777") {
				t.Errorf("listeners: %q", c.Value)
			}
		})
	}
}

func TestServeTakesSettingsFromFileAndEnvironment(t *testing.T) {
	root := keptDir(t)
	address, err := proctest.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(root, "server.properties")
	writeFile(t, file, "listeners=PLAINTEXT://"+address+"\nhttp.listen=off\nnum.partitions=5\nlog.dirs=elsewhere\n")
	p := startProgram(t, proctest.Options{
		Args: []string{"serve", "--config", file}, Env: []string{"FANFOLD_LOG_DIRS=" + filepath.Join(root, "data")}, Dir: root,
	})
	s := &server{Process: p, t: t, root: root, dataDir: filepath.Join(root, "data"), address: address}
	s.awaitReady()
	want(t, s.Stdout(), "Kafka clients    "+address, "data directory   "+filepath.Join(root, "data"))
	succeed(t, "x\n", "produce", "made", "--brokers", address)
	want(t, succeed(t, "", "topic", "list", "--brokers", address), "made  ", "5")
	s.stop()
}
