package proctest

import "syscall"

// endWithParent makes the kernel end a process when its parent ends.
func endWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
