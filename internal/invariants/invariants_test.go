package invariants_test

import (
	"testing"

	"github.com/fanfold/fanfold/internal/invariants"
)

func TestCheck(t *testing.T) {
	defer func() {
		var want any
		if invariants.Enabled {
			want = "invariant violated: offset 3 of t-1 fell"
		}
		if got := recover(); got != want {
			t.Errorf("panicked with %v, want %v", got, want)
		}
	}()
	invariants.Check(true, "never")
	invariants.Check(false, "offset %d of %s fell", 3, "t-1")
}

func TestCheckAllocatesNothing(t *testing.T) {
	if invariants.Enabled {
		t.Skip("checks are on")
	}
	offset, name := int64(0), t.Name()
	if n := testing.AllocsPerRun(100, func() {
		offset += 1000
		invariants.Check(offset < 0, "offset %d of %s fell", offset, name)
	}); n != 0 {
		t.Errorf("a check that is off allocates %v times", n)
	}
}
