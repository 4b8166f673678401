package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/fanfold/fanfold/internal/recordtext"
	"github.com/fanfold/fanfold/internal/units"
)

// A sink is where records go.
type sink interface {
	write(*kgo.Record) error
	flush() error
	// close ends the sink. complete tells whether all records came.
	close(complete bool) error
}

const outputBufferBytes = 64 << 10

func (a *app) newSink(plan *consumePlan, quiet bool) (sink, error) {
	if plan.rebuild != "" {
		builder, err := recordtext.NewBuilder(plan.rebuild)
		if err != nil {
			return nil, fmt.Errorf("--rebuild: %w", err)
		}
		return &fileSink{app: a, builder: builder, asJSON: plan.asJSON, quiet: quiet}, nil
	}
	out := bufio.NewWriterSize(a.stdout, outputBufferBytes)
	if plan.asJSON {
		encoder := json.NewEncoder(out)
		encoder.SetEscapeHTML(false)
		return &jsonSink{out, encoder}, nil
	}
	return &textSink{out: out, format: plan.format}, nil
}

// note writes a line to standard error.
func (a *app) note(line string) { fmt.Fprintln(a.stderr, line) }

// textSink writes records in a format.
type textSink struct {
	out    *bufio.Writer
	format *recordtext.Format
	line   []byte
	record recordtext.Record
}

func (s *textSink) write(r *kgo.Record) error {
	textRecord(&s.record, r)
	s.line = s.format.Append(s.line[:0], &s.record)
	_, err := s.out.Write(s.line)
	return err
}

func (s *textSink) flush() error     { return s.out.Flush() }
func (s *textSink) close(bool) error { return s.out.Flush() }

// textRecord sets t to r.
func textRecord(t *recordtext.Record, r *kgo.Record) {
	t.Topic, t.Partition, t.Offset, t.Timestamp = r.Topic, r.Partition, r.Offset, r.Timestamp.UnixMilli()
	t.Key, t.Value, t.Headers = r.Key, r.Value, t.Headers[:0]
	for _, h := range r.Headers {
		t.Headers = append(t.Headers, recordtext.Header{Key: h.Key, Value: h.Value})
	}
}

// jsonSink writes an object a line.
type jsonSink struct {
	out     *bufio.Writer
	encoder *json.Encoder
}

// jsonRecord is a record in JSON. An encoding is "base64" where the text
// beside it is that, and absent where it is the bytes as UTF-8.
type jsonRecord struct {
	Topic         string       `json:"topic"`
	Partition     int32        `json:"partition"`
	Offset        int64        `json:"offset"`
	Timestamp     int64        `json:"timestamp"` // ms since 1970
	TimestampType string       `json:"timestamp_type"`
	Key           *string      `json:"key"`
	KeyEncoding   string       `json:"key_encoding,omitempty"`
	Value         *string      `json:"value"`
	ValueEncoding string       `json:"value_encoding,omitempty"`
	Headers       []jsonHeader `json:"headers,omitempty"`
}

type jsonHeader struct {
	Key           string  `json:"key"`
	Value         *string `json:"value"`
	ValueEncoding string  `json:"value_encoding,omitempty"`
}

func (s *jsonSink) write(r *kgo.Record) error {
	j := jsonRecord{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Timestamp: r.Timestamp.UnixMilli(), TimestampType: "create"}
	if r.Attrs.TimestampType() == 1 {
		j.TimestampType = "append"
	}
	j.Key, j.KeyEncoding = jsonText(r.Key)
	j.Value, j.ValueEncoding = jsonText(r.Value)
	for _, h := range r.Headers {
		header := jsonHeader{Key: h.Key}
		header.Value, header.ValueEncoding = jsonText(h.Value)
		j.Headers = append(j.Headers, header)
	}
	return s.encoder.Encode(&j)
}

func jsonText(b []byte) (text *string, encoding string) {
	if b == nil {
		return nil, ""
	}
	s := string(b)
	if !utf8.ValidString(s) {
		s, encoding = base64.StdEncoding.EncodeToString(b), "base64"
	}
	return &s, encoding
}

func (s *jsonSink) flush() error     { return s.out.Flush() }
func (s *jsonSink) close(bool) error { return s.out.Flush() }

// fileSink writes files.
type fileSink struct {
	app     *app
	builder *recordtext.Builder
	asJSON  bool
	quiet   bool
	records int64
	record  recordtext.Record
}

func (s *fileSink) write(r *kgo.Record) error {
	textRecord(&s.record, r)
	s.records++
	return s.builder.Add(&s.record)
}

func (s *fileSink) flush() error { return nil }

// rebuildSummary is what consume --rebuild -o json tells.
type rebuildSummary struct {
	Files   int   `json:"files"`
	Bytes   int64 `json:"bytes"`
	Records int64 `json:"records"`
}

func (s *fileSink) close(complete bool) error {
	err := s.builder.Close()
	if !complete || err != nil {
		return err
	}
	if s.asJSON {
		return s.app.writeJSON(rebuildSummary{s.builder.Files(), s.builder.Bytes(), s.records})
	}
	if !s.quiet {
		s.app.note(fmt.Sprintf("rebuilt %s (%s) from %s", plural(int64(s.builder.Files()), "file"), units.FormatBytes(s.builder.Bytes()), plural(s.records, "record")))
	}
	return nil
}
