package stored

import "fmt"

// Error says what of a record's key or value cannot be read.
type Error struct {
	Record string // "GroupMetadata value"
	Field  string // "members[3].subscription"; "" where it is not one field
	Byte   int    // where in the key or value
	Text   string
}

// Error gives "parse GroupMetadata value: members[3].subscription at byte 74: 9
// bytes are needed, 3 are left".
func (e *Error) Error() string {
	if e.Field == "" {
		return fmt.Sprintf("parse %s: %s", e.Record, e.Text)
	}
	return fmt.Sprintf("parse %s: %s at byte %d: %s", e.Record, e.Field, e.Byte, e.Text)
}

// UnknownTypeError says that a key is of a type that this package does not
// read: of share or streams groups, or of a Kafka to come.
type UnknownTypeError struct{ Type int16 }

// Error names the type.
func (e *UnknownTypeError) Error() string {
	return fmt.Sprintf("a key of type %d is not known", e.Type)
}
