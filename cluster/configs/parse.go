package configs

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ValueError says that a config does not take a value.
type ValueError struct {
	Definition *Definition
	Value      string
	Err        error // why
}

func (e *ValueError) Error() string {
	value := strconv.Quote(clip(e.Value))
	if e.Definition.Sensitive {
		value = "of the given text"
	}
	return fmt.Sprintf("invalid value %s for %s: %v; it must be %s",
		value, e.Definition.Name, e.Err, e.Definition.Constraint())
}

func (e *ValueError) Unwrap() error { return e.Err }

// maxValueBytes bounds a value as Kafka's strings do.
const maxValueBytes = 32767

var errTooLong = errors.New("it is longer than 32767 bytes")

// Parse reads a config's value as Kafka does and validates it: the result is of
// the Go type that [Type] names. The error is a [*ValueError].
func Parse(d *Definition, text string) (any, error) {
	var v any
	err := errTooLong
	if len(text) <= maxValueBytes {
		v, err = parseType(d.Type, text)
	}
	if err == nil && d.Valid.Check != nil {
		err = d.Valid.Check(v)
	}
	if err != nil {
		return nil, &ValueError{Definition: d, Value: text, Err: err}
	}
	return v, nil
}

// Validate returns why the named config does not take the value: an
// [*UnknownError] or a [*ValueError].
func Validate(kind Kind, name, text string) error {
	d, err := Find(kind, name)
	if err != nil {
		return err
	}
	_, err = Parse(d, text)
	return err
}

func parseType(t Type, text string) (any, error) {
	trimmed := strings.TrimSpace(text)
	switch t {
	case Boolean:
		switch strings.ToLower(trimmed) {
		case "true":
			return true, nil
		case "false":
			return false, nil
		}
		return nil, errors.New("it is neither true nor false")
	case Int:
		n, err := parseInteger(trimmed, 32)
		return int32(n), err
	case Short:
		n, err := parseInteger(trimmed, 16)
		return int16(n), err
	case Long:
		n, err := parseInteger(trimmed, 64)
		return n, err
	case Double:
		f, err := strconv.ParseFloat(trimmed, 64)
		if err != nil {
			return nil, errors.New("it is not a number")
		}
		return f, nil
	case List:
		return splitList(text), nil
	default:
		return trimmed, nil
	}
}

func parseInteger(text string, bits int) (int64, error) {
	n, err := strconv.ParseInt(text, 10, bits)
	if errors.Is(err, strconv.ErrRange) {
		return 0, fmt.Errorf("it does not fit %d bits", bits)
	}
	if err != nil {
		return 0, errors.New("it is not a whole number")
	}
	return n, nil
}

// splitList splits at commas, without the blanks around them.
func splitList(text string) []string {
	if strings.TrimSpace(text) == "" {
		return nil
	}
	items := strings.Split(text, ",")
	for i := range items {
		items[i] = strings.TrimSpace(items[i])
	}
	return items
}

// Format writes a parsed value as Kafka does.
func Format(value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case bool:
		return strconv.FormatBool(v)
	case int16:
		return strconv.FormatInt(int64(v), 10)
	case int32:
		return strconv.FormatInt(int64(v), 10)
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case []string:
		return strings.Join(v, ",")
	case string:
		return v
	default:
		panic(fmt.Sprintf("configs: a value of type %T", value))
	}
}
