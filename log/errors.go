package log

import (
	"errors"
	"fmt"
	"io"
)

// Sentinels, returned bare: replication compares them by identity.
var (
	// ErrNotFound says that the log holds no entry of that index.
	ErrNotFound = errors.New("log: entry not found")

	// ErrOffsetOutOfRange says that an offset is below StartOffset or above
	// EndOffset.
	ErrOffsetOutOfRange = errors.New("log: offset out of range")

	// ErrClosed is returned by every call after Close or Abort.
	ErrClosed = errors.New("log: closed")
)

// CorruptionError is damage in what was once durable. Match it with errors.As.
type CorruptionError struct {
	File   string // path of the damaged file
	Pos    int64  // bytes from its start; −1 where the file as a whole is meant
	Offset int64  // log offset of what is damaged, −1 where it has none
	Cause  error
}

// Error names file, position, offset and cause.
func (e *CorruptionError) Error() string {
	text := "corrupt " + e.File
	if e.Pos >= 0 {
		text += fmt.Sprintf(" at byte %d", e.Pos)
	}
	if e.Offset >= 0 {
		text += fmt.Sprintf(" (offset %d)", e.Offset)
	}
	return text + ": " + e.Cause.Error()
}

// Unwrap returns the cause.
func (e *CorruptionError) Unwrap() error { return e.Cause }

// FailedError is what every write returns once one write or sync failed: it
// wraps the first failure. The log is read-only from then on; what was not
// durable at that time never becomes so through this Log. Its owner closes it
// and opens it again.
type FailedError struct {
	Cause error
}

// Error gives the cause.
func (e *FailedError) Error() string { return "log failed: " + e.Cause.Error() }

// Unwrap returns the cause.
func (e *FailedError) Unwrap() error { return e.Cause }

// errViolation marks what a scan finds wrong in a file's bytes, as opposed to
// a file that cannot be read.
type errViolation struct{ cause error }

func (e *errViolation) Error() string { return e.cause.Error() }
func (e *errViolation) Unwrap() error { return e.cause }

func violation(format string, args ...any) error {
	return &errViolation{fmt.Errorf(format, args...)}
}

// violationOf returns what is wrong in the bytes, or nil where err is another
// failure.
func violationOf(err error) error {
	if err == nil {
		return nil
	}
	var v *errViolation
	if errors.As(err, &v) {
		return v.cause
	}
	return nil
}

// corruptIf turns a violation, and the end of a file before the bytes that it
// should have, into a CorruptionError, and leaves other errors.
func corruptIf(err error, file string, pos, offset int64) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = violation("the file ends too early: %w", err)
	}
	if cause := violationOf(err); cause != nil {
		return &CorruptionError{File: file, Pos: pos, Offset: offset, Cause: cause}
	}
	return err
}
