package protocol

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/fanfold/fanfold/protocol/record"
)

// Error is an error with the code that a Kafka client gets for it, and a text
// for those responses that have room for one.
type Error struct {
	Code    *kerr.Error
	Message string
}

// Errorf makes an Error of code, its message formatted as by fmt.Sprintf.
func Errorf(code *kerr.Error, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Error gives "CODE_NAME: message".
func (e *Error) Error() string { return e.Code.Message + ": " + e.Message }

// Unwrap gives the code, so that errors.Is finds it.
func (e *Error) Unwrap() error { return e.Code }

// ErrorOf is the code and the message that a client gets for err: those of an
// *Error, *kerr.Error or *record.Error that it wraps, REQUEST_TIMED_OUT for a
// passed deadline, and UNKNOWN_SERVER_ERROR with err's text for any other. nil
// is 0 and "".
func ErrorOf(err error) (code int16, message string) {
	if err == nil {
		return 0, ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code.Code, e.Message
	}
	var coded *kerr.Error
	if errors.As(err, &coded) {
		return coded.Code, textBeside(err, coded)
	}
	var bad *record.Error
	if errors.As(err, &bad) {
		return recordCode(bad.Kind).Code, bad.Text
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return kerr.RequestTimedOut.Code, err.Error()
	}
	return kerr.UnknownServerError.Code, err.Error()
}

// textBeside is err's own text, or the code's description where err says no
// more than the code.
func textBeside(err error, coded *kerr.Error) string {
	if text := err.Error(); text != coded.Error() {
		return text
	}
	return coded.Description
}

func recordCode(kind record.Kind) *kerr.Error {
	switch kind {
	case record.InvalidRecord:
		return kerr.InvalidRecord
	case record.UnsupportedCodec:
		return kerr.UnsupportedCompressionType
	case record.TooLarge:
		return kerr.MessageTooLarge
	default:
		return kerr.CorruptMessage
	}
}
