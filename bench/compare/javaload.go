//go:build linux

package main

import (
	"bufio"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/fanfold/fanfold/bench"
)

//go:embed java/ProduceLoad.java
var javaLoad []byte

// javaWarmup is how long Java's client writes before what counts: it starts
// cold each time.
const javaWarmup = 5 * time.Second

// produceJava has Java's own client write with its defaults.
func produceJava(t *turn) (measured, error) {
	source := filepath.Join(t.server.dir, "ProduceLoad.java")
	if err := os.WriteFile(source, javaLoad, 0o644); err != nil {
		return measured{}, err
	}
	lib := &kafkaServer{cache: cacheDir()}
	if _, err := lib.install(t.ctx); err != nil {
		return measured{}, err
	}
	cmd := exec.CommandContext(t.ctx, lib.java, "-Xmx512m", "-cp", filepath.Join(lib.lib(), "*"), source,
		t.server.address, t.topic, "1024", fmt.Sprint(max(t.settings.warmup, javaWarmup).Milliseconds()), fmt.Sprint(t.settings.duration.Milliseconds()))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return measured{}, err
	}
	if err := cmd.Start(); err != nil {
		return measured{}, err
	}
	s, w := watch(t.server.pid())
	var last string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		switch last = lines.Text(); last {
		case "begin":
			w.Begin()
		case "end":
			w.End()
		}
	}
	if err := cmd.Wait(); err != nil {
		return measured{}, fmt.Errorf("run Java's client: %w\n%s", err, stderr.String())
	}
	var r bench.Result
	if err := json.Unmarshal([]byte(last), &r); err != nil {
		return measured{}, fmt.Errorf("read Java's client's result %q: %w", last, err)
	}
	if r.Acked == nil {
		return measured{}, errors.New("no checksum from Java's client")
	}
	m, err := t.produced(r, s)
	delete(m.Values, clientCores) // they are another process's
	return m, err
}
