package recordtext

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// tokens are the letters that may follow a per cent sign.
const tokens = "tpoTkKsSRh"

// A part is a token or, where token is 0, text.
type part struct {
	token byte
	text  []byte
}

// A Format is a parsed format string. It is immutable.
type Format struct {
	parts    []part
	nullText string
}

// Parse reads a format string. The error says what is wrong and where.
func Parse(layout string) (*Format, error) {
	f := &Format{}
	var text []byte
	flush := func() {
		if len(text) > 0 {
			f.parts, text = append(f.parts, part{text: text}), nil
		}
	}
	for i := 0; i < len(layout); {
		switch layout[i] {
		case '\\':
			b, n, err := escape(layout[i:])
			if err != nil {
				return nil, fmt.Errorf("format %q at byte %d: %w", layout, i, err)
			}
			text, i = append(text, b), i+n
		case '%':
			if i+1 == len(layout) {
				return nil, fmt.Errorf("format %q ends in a single %%; write %%%% for a per cent sign", layout)
			}
			c := layout[i+1]
			switch {
			case c == '%':
				text = append(text, '%')
			case strings.IndexByte(tokens, c) >= 0:
				flush()
				f.parts = append(f.parts, part{token: c})
			default:
				return nil, fmt.Errorf("format %q at byte %d: unknown token %q; tokens are %%t %%p %%o %%T %%k %%K %%s %%S %%R %%h %%%%", layout, i, layout[i:i+2])
			}
			i += 2
		default:
			text, i = append(text, layout[i]), i+1
		}
	}
	flush()
	return f, nil
}

// WithNull returns a Format that writes text where a key, a value or a
// header's value is null, and nothing otherwise.
func (f *Format) WithNull(text string) *Format {
	return &Format{parts: f.parts, nullText: text}
}

// Uses tells whether the format has the token %c.
func (f *Format) Uses(c byte) bool {
	for _, p := range f.parts {
		if p.token == c {
			return true
		}
	}
	return false
}

// Unescape reads text with the escapes of a format string: \n, \t, \x1f, \0.
func Unescape(s string) ([]byte, error) {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); {
		if s[i] != '\\' {
			out, i = append(out, s[i]), i+1
			continue
		}
		b, n, err := escape(s[i:])
		if err != nil {
			return nil, fmt.Errorf("%q at byte %d: %w", s, i, err)
		}
		out, i = append(out, b), i+n
	}
	return out, nil
}

// escape reads the escape that s starts with and returns its byte and length.
func escape(s string) (b byte, length int, err error) {
	if len(s) < 2 {
		return 0, 0, fmt.Errorf(`a \ at the end; write \\ for a backslash`)
	}
	switch c := s[1]; c {
	case 'n':
		return '\n', 2, nil
	case 'r':
		return '\r', 2, nil
	case 't':
		return '\t', 2, nil
	case '\\':
		return '\\', 2, nil
	case 'x':
		return digits(s, 2, 2, 16)
	case '0', '1', '2', '3', '4', '5', '6', '7':
		return digits(s, 1, 3, 8)
	default:
		return 0, 0, fmt.Errorf(`unknown escape %q; there are \n \r \t \\ \0 \xNN and \NNN`, s[:2])
	}
}

// digits reads up to most digits of a base from s[from:] as one byte.
func digits(s string, from, most, base int) (b byte, length int, err error) {
	end := from
	for end < len(s) && end < from+most {
		if _, err := strconv.ParseUint(s[end:end+1], base, 8); err != nil {
			break
		}
		end++
	}
	n, err := strconv.ParseUint(s[from:end], base, 8)
	if err != nil {
		return 0, 0, fmt.Errorf("%q is no byte", s[:end])
	}
	return byte(n), end, nil
}

// Append appends the record as the format says and returns the longer slice.
func (f *Format) Append(dst []byte, r *Record) []byte {
	for i := range f.parts {
		p := &f.parts[i]
		switch p.token {
		case 0:
			dst = append(dst, p.text...)
		case 't':
			dst = append(dst, r.Topic...)
		case 'p':
			dst = strconv.AppendInt(dst, int64(r.Partition), 10)
		case 'o':
			dst = strconv.AppendInt(dst, r.Offset, 10)
		case 'T':
			dst = strconv.AppendInt(dst, r.Timestamp, 10)
		case 'k':
			dst = f.appendBytes(dst, r.Key)
		case 'K':
			dst = strconv.AppendInt(dst, length(r.Key), 10)
		case 's':
			dst = f.appendBytes(dst, r.Value)
		case 'S':
			dst = strconv.AppendInt(dst, length(r.Value), 10)
		case 'R':
			dst = binary.BigEndian.AppendUint32(dst, uint32(length(r.Value)))
		case 'h':
			dst = f.appendHeaders(dst, r.Headers)
		}
	}
	return dst
}

// length is a field's length, −1 for null.
func length(field []byte) int64 {
	if field == nil {
		return -1
	}
	return int64(len(field))
}

func (f *Format) appendBytes(dst, field []byte) []byte {
	if field == nil {
		return append(dst, f.nullText...)
	}
	return append(dst, field...)
}

func (f *Format) appendHeaders(dst []byte, headers []Header) []byte {
	for i, h := range headers {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(append(dst, h.Key...), '=')
		dst = f.appendBytes(dst, h.Value)
	}
	return dst
}
