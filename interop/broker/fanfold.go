package broker

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
)

// Fanfold runs Binary, as a user would: no setting but its places.
type Fanfold struct {
	Binary string
}

func (f Fanfold) Prepare(context.Context, string, int) error { return nil }

func (f Fanfold) Command(dir string, port int) *exec.Cmd {
	return exec.Command(f.Binary, "serve",
		"--data-dir", filepath.Join(dir, "data"),
		"--listen", fmt.Sprintf("127.0.0.1:%d", port),
		"--http-listen", "127.0.0.1:0",
		"--peer-listen", "127.0.0.1:0")
}
