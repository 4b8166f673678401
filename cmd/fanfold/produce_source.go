package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/fanfold/fanfold/internal/recordtext"
)

// A recordSource says where records come from and what is the same in all.
type recordSource struct {
	format       *recordtext.Format // nil: lines
	delimiter    []byte
	keyDelimiter []byte
	key          []byte // nil: none given
	headers      []kgo.RecordHeader
	partition    int32
	null         bool
	timestamp    time.Time // zero: now

	tree  string
	files []string

	sent    int // files read to their ends
	skipped []string
}

// place is where in the input a record came from, for messages.
type place struct {
	file string // "" is standard input
	line int64
	unit string // line or record
}

func (p place) String() string {
	if p.file == "" {
		return fmt.Sprintf("%s %d", p.unit, p.line)
	}
	return fmt.Sprintf("%s, line %d", p.file, p.line)
}

// parseHeader reads name=value.
func parseHeader(s string) (kgo.RecordHeader, error) {
	name, value, found := strings.Cut(s, "=")
	if !found || name == "" {
		return kgo.RecordHeader{}, usagef("header %q is not of the form name=value", s)
	}
	return kgo.RecordHeader{Key: name, Value: []byte(value)}, nil
}

// fromDisk tells whether the records are the lines of files.
func (s *recordSource) fromDisk() bool { return s.tree != "" || len(s.files) > 0 }

// records yields every record with its place. An error is the last thing.
func (s *recordSource) records(ctx context.Context, stdin io.Reader, limit int) iter.Seq2[*kgo.Record, error] {
	return func(yield func(*kgo.Record, error) bool) {
		switch {
		case s.fromDisk():
			s.fromFiles(limit, yield)
		case s.format != nil:
			s.fromFormat(newInput(ctx, stdin), limit, yield)
		default:
			s.fromLines(newInput(ctx, stdin), limit, yield)
		}
	}
}

// fromLines reads a record a line.
func (s *recordSource) fromLines(r io.Reader, limit int, yield func(*kgo.Record, error) bool) {
	scanner := recordtext.NewScanner(r, limit)
	for line := int64(1); ; line++ {
		value, found, err := scanner.Until(s.delimiter)
		at := place{line: line, unit: "line"}
		if err != nil {
			yield(nil, &inputError{at, err})
			return
		}
		if !found && len(value) == 0 {
			return
		}
		key := s.key
		if len(s.keyDelimiter) > 0 {
			if before, after, split := bytes.Cut(value, s.keyDelimiter); split {
				key, value = before[:len(before):len(before)], after
			}
		}
		if !yield(s.record(at, key, value), nil) || !found {
			return
		}
	}
}

// fromFormat reads records in a format.
func (s *recordSource) fromFormat(r io.Reader, limit int, yield func(*kgo.Record, error) bool) {
	reader, err := s.format.NewReader(r, s.delimiter, limit)
	if err != nil {
		yield(nil, err)
		return
	}
	for {
		var text recordtext.Record
		err := reader.Read(&text)
		if err == io.EOF {
			return
		}
		at := place{line: reader.Number(), unit: "record"}
		if err != nil {
			yield(nil, &inputError{at, err})
			return
		}
		record := s.record(at, text.Key, text.Value)
		if s.format.Uses('p') {
			record.Partition = text.Partition
		}
		if s.format.Uses('T') {
			record.Timestamp = time.UnixMilli(text.Timestamp)
		}
		if len(text.Headers) > 0 {
			record.Headers = append(clientHeaders(text.Headers), s.headers...)
		}
		if !yield(record, nil) {
			return
		}
	}
}

// fromFiles reads the lines of files.
func (s *recordSource) fromFiles(limit int, yield func(*kgo.Record, error) bool) {
	reader := recordtext.NewFileReader(limit)
	for file, err := range s.list() {
		if err != nil {
			yield(nil, err)
			return
		}
		more, err := s.fromFile(reader, file, yield)
		if err != nil {
			yield(nil, err)
			return
		}
		if !more {
			return
		}
		s.sent++
	}
}

// list yields the files to send.
func (s *recordSource) list() iter.Seq2[recordtext.File, error] {
	if s.tree != "" {
		return recordtext.Tree(s.tree, func(path string) { s.skipped = append(s.skipped, path) })
	}
	return func(yield func(recordtext.File, error) bool) {
		for _, path := range s.files {
			key, err := recordtext.FileKey(path)
			if !yield(recordtext.File{Path: path, Key: key}, err) || err != nil {
				return
			}
		}
	}
}

// fromFile yields the records of one file, and returns whether to go on.
func (s *recordSource) fromFile(reader *recordtext.FileReader, file recordtext.File, yield func(*kgo.Record, error) bool) (more bool, err error) {
	content, err := os.Open(file.Path)
	if err != nil {
		return false, err
	}
	defer content.Close()
	for text, err := range reader.Records([]byte(file.Key), content) {
		at := place{file: file.Path, line: reader.Line()}
		if err != nil {
			return false, &inputError{at, err}
		}
		record := s.record(at, text.Key, text.Value)
		if len(text.Headers) > 0 {
			record.Headers = append(clientHeaders(text.Headers), s.headers...)
		}
		if !yield(record, nil) {
			return false, nil
		}
	}
	return true, nil
}

func clientHeaders(headers []recordtext.Header) []kgo.RecordHeader {
	out := make([]kgo.RecordHeader, len(headers))
	for i, h := range headers {
		out[i] = kgo.RecordHeader{Key: h.Key, Value: h.Value}
	}
	return out
}

type placeKey struct{}

// placed is a context that only carries a record's place to its promise.
type placed struct {
	context.Context
	place place
}

func (p *placed) Value(key any) any {
	if key == (placeKey{}) {
		return p.place
	}
	return p.Context.Value(key)
}

// record makes a record of a key and a value.
func (s *recordSource) record(at place, key, value []byte) *kgo.Record {
	if s.null {
		if len(key) == 0 {
			key = nil
		}
		if len(value) == 0 {
			value = nil
		}
	}
	return &kgo.Record{
		Key: key, Value: value, Headers: s.headers, Partition: max(0, s.partition), Timestamp: s.timestamp,
		Context: &placed{context.Background(), at},
	}
}

// inputError is input that cannot be a record, and where it is.
type inputError struct {
	place place
	err   error
}

func (e *inputError) Error() string { return e.place.String() + ": " + e.err.Error() }
func (e *inputError) Unwrap() error { return e.err }

// isTooLong tells whether input was longer than a record may be.
func isTooLong(err error) bool { return errors.Is(err, recordtext.ErrTooLong) }
