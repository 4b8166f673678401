package replication

import (
	"log/slog"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// quiet is a logger that says nothing.
var quiet = slog.New(slog.DiscardHandler)
