package recordtext

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// A Reader reads records out of text that has a given format.
type Reader struct {
	scanner *Scanner
	parts   []part
	number  int64 // of the record being read, from 1
}

// NewReader returns a Reader of records in this format, whose fields have at
// most limit bytes each. A format that does not end in text gets delimiter as
// its end, unless the length of its last field is known. It fails for a format
// that cannot be read: two fields with nothing between them, a field twice, or
// %o, which brokers choose.
func (f *Format) NewReader(r io.Reader, delimiter []byte, limit int) (*Reader, error) {
	parts := append([]part(nil), f.parts...)
	if len(parts) == 0 {
		return nil, errors.New("an empty format reads nothing; try %s\\n")
	}
	seen := make(map[byte]bool)
	for i, p := range parts {
		if p.token == 0 {
			continue
		}
		if p.token == 'o' {
			return nil, errors.New("%o cannot be read: the broker chooses offsets")
		}
		if seen[p.token] {
			return nil, fmt.Errorf("%%%c occurs twice", p.token)
		}
		seen[p.token] = true
		if sized(p.token, seen) {
			continue
		}
		if i+1 == len(parts) {
			if len(delimiter) == 0 {
				return nil, fmt.Errorf("%%%c has no end: put text behind it", p.token)
			}
			parts = append(parts, part{text: delimiter})
		} else if parts[i+1].token != 0 {
			return nil, fmt.Errorf("%%%c and %%%c need text between them, or their lengths before them", p.token, parts[i+1].token)
		}
	}
	return &Reader{scanner: NewScanner(r, limit), parts: parts}, nil
}

// sized tells whether a field's length is known before it is read.
func sized(token byte, seen map[byte]bool) bool {
	switch token {
	case 'R':
		return true
	case 'k':
		return seen['K']
	case 's':
		return seen['S'] || seen['R']
	}
	return false
}

// lengths holds the field lengths that a record announced.
type lengths struct {
	key, value       int64
	hasKey, hasValue bool
}

// Number is the number of the record that was read last, from 1.
func (rd *Reader) Number() int64 { return rd.number }

// Read reads the next record into r. It returns io.EOF at the end, and an
// error that names the field if the input does not have the format. The last
// record may lack the text that ends it.
func (rd *Reader) Read(r *Record) error {
	if end, err := rd.scanner.AtEOF(); err != nil {
		return err
	} else if end {
		return io.EOF
	}
	rd.number++
	*r = Record{}
	var announced lengths
	for i := 0; i < len(rd.parts); i++ {
		p := rd.parts[i]
		if p.token == 0 {
			if err := rd.text(p.text, i == len(rd.parts)-1); err != nil {
				return err
			}
			continue
		}
		field, null, delimited, err := rd.field(p.token, i, &announced)
		if err != nil {
			return fmt.Errorf("%%%c: %w", p.token, err)
		}
		if delimited {
			i++ // the text was stepped over
		}
		if err := set(r, p.token, field, null, &announced); err != nil {
			return fmt.Errorf("%%%c: %w", p.token, err)
		}
	}
	return nil
}

// text steps over text that must come now. At the end of a record the end of
// the input does as well.
func (rd *Reader) text(want []byte, last bool) error {
	if last {
		if end, err := rd.scanner.AtEOF(); err != nil || end {
			return err
		}
	}
	got, err := rd.scanner.Next(len(want))
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the input ends where the format has %q", want)
	} else if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%q where the format has %q", got, want)
	}
	return nil
}

// field reads one field: by its length if that is known, else up to the text
// that follows.
func (rd *Reader) field(token byte, i int, announced *lengths) (field []byte, null, delimited bool, err error) {
	size := int64(-2)
	switch {
	case token == 'R':
		size = 4
	case token == 'k' && announced.hasKey:
		size = announced.key
	case token == 's' && announced.hasValue:
		size = announced.value
	}
	if size == -1 {
		return nil, true, false, nil
	}
	if size >= 0 {
		if size > int64(rd.scanner.limit) {
			return nil, false, false, ErrTooLong
		}
		field, err = rd.scanner.Next(int(size))
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return field, false, false, err
	}
	field, found, err := rd.scanner.Until(rd.parts[i+1].text)
	if err != nil {
		return nil, false, false, err
	}
	if !found && i+2 < len(rd.parts) {
		return nil, false, false, fmt.Errorf("the input ends before %q", rd.parts[i+1].text)
	}
	return field, false, true, nil
}

// set stores a field in the record or in the announced lengths.
func set(r *Record, token byte, field []byte, null bool, announced *lengths) (err error) {
	switch token {
	case 't':
		r.Topic = string(field)
	case 'p':
		var n int64
		n, err = strconv.ParseInt(string(field), 10, 32)
		r.Partition = int32(n)
	case 'T':
		r.Timestamp, err = strconv.ParseInt(string(field), 10, 64)
	case 'k':
		r.Key = orNull(field, null)
	case 's':
		r.Value = orNull(field, null)
	case 'K':
		announced.hasKey = true
		announced.key, err = parseLength(string(field))
	case 'S':
		announced.hasValue = true
		announced.value, err = parseLength(string(field))
	case 'R':
		announced.hasValue = true
		announced.value = int64(int32(binary.BigEndian.Uint32(field)))
		if announced.value < -1 {
			err = fmt.Errorf("length %d", announced.value)
		}
	case 'h':
		r.Headers, err = parseHeaders(field)
	}
	return err
}

func orNull(field []byte, null bool) []byte {
	if null {
		return nil
	}
	return field
}

func parseLength(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 32)
	if err == nil && n < -1 {
		err = fmt.Errorf("length %d", n)
	}
	return n, err
}

// parseHeaders reads "a=b,c=d"; neither a comma nor an equals sign can be part
// of a name, nor a comma of a value.
func parseHeaders(field []byte) ([]Header, error) {
	if len(field) == 0 {
		return nil, nil
	}
	var headers []Header
	for pair := range bytes.SplitSeq(field, []byte(",")) {
		name, value, found := bytes.Cut(pair, []byte("="))
		if !found {
			return nil, fmt.Errorf("header %q is not of the form name=value", pair)
		}
		headers = append(headers, Header{Key: string(name), Value: value[:len(value):len(value)]})
	}
	return headers, nil
}
