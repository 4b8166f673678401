//go:build !linux

package proctest

import "syscall"

// endWithParent is nothing where no kernel does it: a process ends at its limit.
func endWithParent() *syscall.SysProcAttr { return nil }
