package vfs_test

import (
	"context"
	"errors"
	"io/fs"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/fanfold/fanfold/internal/vfs"
)

func TestErrorsFailsTheNthCall(t *testing.T) {
	e := vfs.NewErrors(newMem(t), vfs.FirstOf(
		vfs.Fail(vfs.OpSync, 2, syscall.EIO),
		vfs.FailFrom(vfs.OpRead, 3, syscall.EIO),
	))
	f := create(t, e, "/d/f", "abc")
	must(t, f.Sync())
	err := f.Sync()
	wantErr(t, err, syscall.EIO)
	var pe *fs.PathError
	if !errors.As(err, &pe) || pe.Op != "sync" || pe.Path != "/d/f" {
		t.Errorf("the error is %#v", err)
	}
	must(t, f.Sync())
	b := make([]byte, 1)
	for i := range 5 {
		_, err := f.ReadAt(b, 0)
		if i < 2 {
			must(t, err)
		} else {
			wantErr(t, err, syscall.EIO)
		}
	}
	if n := e.Count(vfs.OpSync); n != 3 {
		t.Errorf("counted %d syncs", n)
	}
}

func TestErrorsShowsEveryCall(t *testing.T) {
	var ops []vfs.Op
	m := newMem(t)
	e := vfs.NewErrors(m, func(op vfs.Op) error {
		ops = append(ops, op)
		return syscall.EIO
	})
	file := func(do func(f vfs.File) error) func() error {
		return func() error {
			quiet := vfs.NewErrors(m, func(op vfs.Op) error {
				if op.Kind == vfs.OpOpen {
					return nil
				}
				ops = append(ops, op)
				return syscall.EIO
			})
			f, err := quiet.OpenReadWrite("/d/f")
			must(t, err)
			return do(f)
		}
	}
	create(t, m, "/d/f", "0123456789")
	for _, call := range []struct {
		op vfs.Op
		do func() error
	}{
		{vfs.Op{Kind: vfs.OpCreate, Path: "/d/g"}, func() error { _, err := e.Create("/d/g"); return err }},
		{vfs.Op{Kind: vfs.OpOpen, Path: "/d/f"}, func() error { _, err := e.Open("/d/f"); return err }},
		{vfs.Op{Kind: vfs.OpOpen, Path: "/d/f"}, func() error { _, err := e.OpenReadWrite("/d/f"); return err }},
		{vfs.Op{Kind: vfs.OpRemove, Path: "/d/f", Grow: -10}, func() error { return e.Remove("/d/f") }},
		{vfs.Op{Kind: vfs.OpRemoveAll, Path: "/d", Grow: -10}, func() error { return e.RemoveAll("/d") }},
		{vfs.Op{Kind: vfs.OpRename, Path: "/d/g", New: "/d/f", Grow: -10}, func() error { return e.Rename("/d/g", "/d/f") }},
		{vfs.Op{Kind: vfs.OpMkdirAll, Path: "/e"}, func() error { return e.MkdirAll("/e") }},
		{vfs.Op{Kind: vfs.OpSyncDir, Path: "/d"}, func() error { return e.SyncDir("/d") }},
		{vfs.Op{Kind: vfs.OpSyncFS, Path: "/d"}, func() error { return e.SyncFS("/d") }},
		{vfs.Op{Kind: vfs.OpList, Path: "/d"}, func() error { _, err := e.List("/d"); return err }},
		{vfs.Op{Kind: vfs.OpStat, Path: "/d"}, func() error { _, err := e.Stat("/d"); return err }},
		{vfs.Op{Kind: vfs.OpLock, Path: "/d/L"}, func() error { _, err := e.Lock("/d/L"); return err }},
		{
			vfs.Op{Kind: vfs.OpRead, Path: "/d/f", Off: 2, Len: 3},
			file(func(f vfs.File) error { _, err := f.ReadAt(make([]byte, 3), 2); return err }),
		},
		{
			vfs.Op{Kind: vfs.OpWrite, Path: "/d/f", Off: 8, Len: 3, Grow: 1},
			file(func(f vfs.File) error { _, err := f.WriteAt(make([]byte, 3), 8); return err }),
		},
		{
			vfs.Op{Kind: vfs.OpWrite, Path: "/d/f", Off: 0, Len: 3},
			file(func(f vfs.File) error { _, err := f.WritevAt([][]byte{{1}, {2, 3}}, 0); return err }),
		},
		{
			vfs.Op{Kind: vfs.OpTruncate, Path: "/d/f", Off: 4, Grow: -6},
			file(func(f vfs.File) error { return f.Truncate(4) }),
		},
		{vfs.Op{Kind: vfs.OpSync, Path: "/d/f"}, file(vfs.File.Sync)},
		{vfs.Op{Kind: vfs.OpSize, Path: "/d/f"}, file(func(f vfs.File) error { _, err := f.Size(); return err })},
		{vfs.Op{Kind: vfs.OpClose, Path: "/d/f"}, file(vfs.File.Close)},
	} {
		ops = nil
		wantErr(t, call.do(), syscall.EIO)
		if len(ops) != 1 {
			t.Fatalf("%v: the hook saw %d calls", call.op.Kind, len(ops))
		}
		got := ops[0]
		got.N, got.Seq = 0, 0
		if got != call.op {
			t.Errorf("the hook saw %+v, want %+v", got, call.op)
		}
	}
	wantList(t, m, "/", "d")
	wantList(t, m, "/d", "f")
	wantContent(t, m, "/d/f", "0123456789")
}

func TestShortWrites(t *testing.T) {
	short := func(op vfs.Op) error {
		if op.Kind == vfs.OpWrite {
			return &vfs.ShortWrite{N: 4, Err: syscall.EIO}
		}
		return nil
	}
	e := vfs.NewErrors(newMem(t), short)
	f := create(t, e, "/d/f", "")
	n, err := f.WriteAt([]byte("abcdef"), 0)
	wantErr(t, err, syscall.EIO)
	m, err := f.WritevAt([][]byte{[]byte("123"), []byte("456"), []byte("789")}, 4)
	wantErr(t, err, syscall.EIO)
	if n != 4 || m != 4 {
		t.Errorf("wrote %d and %d bytes, want 4", n, m)
	}
	wantContent(t, e, "/d/f", "abcd1234")
}

func TestDiskBudget(t *testing.T) {
	budget := vfs.NewDiskBudget(10)
	e := vfs.NewErrors(newMem(t), budget.Inject)
	f := create(t, e, "/d/f", "12345678")
	writeAt(t, f, "overwritten"[:8], 0)
	n, err := f.WriteAt([]byte("abcd"), 6)
	must(t, err)
	if n != 4 || budget.Left() != 0 {
		t.Fatalf("wrote %d, left %d", n, budget.Left())
	}
	_, err = f.WriteAt([]byte("x"), 10)
	wantErr(t, err, syscall.ENOSPC)
	wantErr(t, f.Truncate(11), syscall.ENOSPC)
	must(t, f.Sync())

	budget.Add(2)
	n, err = f.WriteAt([]byte("wxyz"), 9)
	wantErr(t, err, syscall.ENOSPC)
	if n != 3 || budget.Left() != 0 {
		t.Fatalf("wrote %d, left %d", n, budget.Left())
	}
	wantContent(t, e, "/d/f", "overwrabcwxy")

	must(t, f.Truncate(2))
	if budget.Left() != 10 {
		t.Errorf("left %d after a truncation", budget.Left())
	}
	must(t, create(t, e, "/d/g", "seven77").Close())
	must(t, e.Rename("/d/g", "/d/f"))
	if budget.Left() != 5 {
		t.Errorf("left %d after a file was replaced", budget.Left())
	}
	must(t, e.RemoveAll("/d"))
	if budget.Left() != 12 {
		t.Errorf("left %d after all was removed", budget.Left())
	}
}

func TestGateHoldsASync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := vfs.NewGate(func(op vfs.Op) bool { return op.Kind == vfs.OpSync })
		e := vfs.NewErrors(newMem(t), gate.Inject)
		f := create(t, e, "/d/f", "x")
		done := make(chan error, 2)
		go func() { done <- f.Sync() }()
		go func() { done <- f.Sync() }()
		must(t, gate.WaitHeld(t.Context(), 2))
		writeAt(t, f, "y", 1)
		synctest.Wait()
		select {
		case <-done:
			t.Fatal("a sync passed the closed gate")
		default:
		}
		gate.Open()
		must(t, <-done)
		must(t, <-done)
		must(t, f.Sync())

		gate.Shut()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		wantErr(t, gate.WaitHeld(ctx, 1), context.Canceled)
		go func() { done <- f.Sync() }()
		must(t, gate.WaitHeld(t.Context(), 1))
		gate.Open()
		must(t, <-done)
	})
}
