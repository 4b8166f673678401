//go:build !linux

package log

import "github.com/fanfold/fanfold/internal/vfs"

// wholeFromDefault is never reached: there is no sync of a whole file system.
const wholeFromDefault = -1

// writebackError has nothing to tell where there is no sync of a whole file
// system.
func writebackError(vfs.File) error { return nil }
