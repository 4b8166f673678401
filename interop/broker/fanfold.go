package broker

import (
	"context"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
)

// Fanfold runs Binary, as a user would: no setting but its places, and those
// that a test is about.
type Fanfold struct {
	Binary   string
	Settings map[string]string
}

func (f Fanfold) Prepare(context.Context, string, int) error { return nil }

func (f Fanfold) Command(dir string, port int) *exec.Cmd {
	args := []string{
		"serve",
		"--data-dir", filepath.Join(dir, "data"),
		"--listen", fmt.Sprintf("127.0.0.1:%d", port),
		"--http-listen", "127.0.0.1:0",
		"--peer-listen", "127.0.0.1:0",
	}
	for _, name := range slices.Sorted(maps.Keys(f.Settings)) {
		args = append(args, "--set", name+"="+f.Settings[name])
	}
	return exec.Command(f.Binary, args...)
}

func (f Fanfold) With(settings map[string]string) Kind {
	f.Settings = settings
	return f
}
