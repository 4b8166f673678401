package record

import "fmt"

// Kind says what is wrong with a batch, as Kafka's error codes tell apart.
type Kind int8

// The kinds, each with the error code that a client gets for it.
const (
	Corrupt          Kind = iota + 1 // CORRUPT_MESSAGE: bytes, size, CRC
	InvalidRecord                    // INVALID_RECORD: whole, but what it says is wrong
	UnsupportedCodec                 // UNSUPPORTED_COMPRESSION_TYPE
	TooLarge                         // MESSAGE_TOO_LARGE: decompresses to more than the limit
)

// String gives the kind in words.
func (k Kind) String() string {
	switch k {
	case Corrupt:
		return "corrupt batch"
	case InvalidRecord:
		return "invalid batch"
	case UnsupportedCodec:
		return "unsupported compression"
	case TooLarge:
		return "batch too large"
	}
	return fmt.Sprintf("kind %d", int8(k))
}

// Error is what is wrong with a batch. Match it with errors.As.
type Error struct {
	Kind Kind
	Text string // names the field and the values
}

// Error gives the kind and the text.
func (e *Error) Error() string { return e.Kind.String() + ": " + e.Text }

func corrupt(format string, args ...any) error {
	return &Error{Kind: Corrupt, Text: fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) error {
	return &Error{Kind: InvalidRecord, Text: fmt.Sprintf(format, args...)}
}

func unsupported(codec Codec) error {
	return &Error{Kind: UnsupportedCodec, Text: fmt.Sprintf("codec %d of the attributes is unknown", int8(codec))}
}

func tooLarge(format string, args ...any) error {
	return &Error{Kind: TooLarge, Text: fmt.Sprintf(format, args...)}
}
