package driver

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Record is a record with everything a client can give or get. Key, Value and
// a header's Value are null when nil.
type Record struct {
	Partition int32
	Offset    int64
	Timestamp int64 // milliseconds
	Key       []byte
	Value     []byte
	Headers   []Header
}

// Header is a record's header.
type Header struct {
	Name  string
	Value []byte
}

// collected gathers records from several goroutines.
type collected struct {
	mu      sync.Mutex
	records []Record
}

func (c *collected) add(r Record) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	r.Key, r.Value = bytes.Clone(r.Key), bytes.Clone(r.Value)
	c.records = append(c.records, r)
	return nil
}

// String is the record as a line of a records file, offset first.
func (r Record) String() string {
	return fmt.Sprint(r.Offset, "\t", r.line())
}

func (r Record) line() string {
	headers := make([]string, len(r.Headers))
	for i, h := range r.Headers {
		headers[i] = encode([]byte(h.Name)) + "=" + encode(h.Value)
	}
	return fmt.Sprintf("%d\t%d\t%s\t%s\t%s", r.Partition, r.Timestamp, encode(r.Key), encode(r.Value), strings.Join(headers, ";"))
}

// Base64 with padding holds "=" and never "-" or ";".
func encode(b []byte) string {
	if b == nil {
		return "-"
	}
	return base64.StdEncoding.EncodeToString(b)
}

func decode(s string) ([]byte, error) {
	if s == "-" {
		return nil, nil
	}
	b, err := base64.StdEncoding.DecodeString(s)
	if b == nil {
		b = []byte{}
	}
	return b, err
}

// WriteRecords writes a records file, ordered by partition and offset where
// offsets are to be in it, as they come otherwise.
func WriteRecords(path string, records []Record, offsets bool) error {
	var b bytes.Buffer
	if offsets {
		slices.SortFunc(records, func(a, b Record) int {
			return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
		})
	}
	for _, r := range records {
		if offsets {
			b.WriteString(r.String())
		} else {
			b.WriteString(r.line())
		}
		b.WriteByte('\n')
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

// ReadRecords reads a records file, with offsets or without.
func ReadRecords(path string, offsets bool) ([]Record, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	in := bufio.NewReader(f)
	var records []Record
	for {
		line, err := in.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return records, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		r, err := parseRecord(strings.TrimSuffix(line, "\n"), offsets)
		if err != nil {
			return nil, fmt.Errorf("record %d of %s: %w", len(records), path, err)
		}
		records = append(records, r)
	}
}

func parseRecord(line string, offsets bool) (r Record, err error) {
	fields := strings.Split(line, "\t")
	if offsets {
		if r.Offset, err = strconv.ParseInt(fields[0], 10, 64); err != nil {
			return r, err
		}
		fields = fields[1:]
	}
	if len(fields) != 5 {
		return r, fmt.Errorf("%d fields", len(fields))
	}
	partition, err := strconv.ParseInt(fields[0], 10, 32)
	if err != nil {
		return r, err
	}
	r.Partition = int32(partition)
	if r.Timestamp, err = strconv.ParseInt(fields[1], 10, 64); err != nil {
		return r, err
	}
	if r.Key, err = decode(fields[2]); err != nil {
		return r, err
	}
	if r.Value, err = decode(fields[3]); err != nil {
		return r, err
	}
	r.Headers, err = parseHeaders(fields[4])
	return r, err
}

func parseHeaders(field string) (headers []Header, err error) {
	if field == "" {
		return nil, nil
	}
	for pair := range strings.SplitSeq(field, ";") {
		name, value, ok := cutPair(pair)
		if !ok {
			return nil, fmt.Errorf("header %q", pair)
		}
		n, err := decode(name)
		if err != nil {
			return nil, err
		}
		v, err := decode(value)
		if err != nil {
			return nil, err
		}
		headers = append(headers, Header{string(n), v})
	}
	return headers, nil
}

// cutPair cuts at the "=" between name and value: the name's own padding ends
// where its length is a multiple of four.
func cutPair(pair string) (name, value string, ok bool) {
	for i := 0; i < len(pair); i += 4 {
		if pair[i] == '=' {
			return pair[:i], pair[i+1:], true
		}
	}
	return "", "", false
}
