package recordtext

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
)

func TestFormatTokens(t *testing.T) {
	record := &Record{
		Topic: "orders", Partition: 3, Offset: 42, Timestamp: 1700000000123,
		Key: []byte("k1"), Value: []byte("v\x00\xff"),
		Headers: []Header{{"a", []byte("1")}, {"b", nil}, {"c", []byte{}}},
	}
	null := &Record{Topic: "t"}
	for _, c := range []struct {
		layout string
		record *Record
		want   string
	}{
		{`%t [%p] @ %o\n`, record, "orders [3] @ 42\n"},
		{`%k=%s`, record, "k1=v\x00\xff"},
		{`%K %S`, record, "2 3"},
		{`%T`, record, "1700000000123"},
		{`%h`, record, "a=1,b=,c="},
		{`%R`, record, "\x00\x00\x00\x03"},
		{`100%% \x41\x4\101\0\\\t\r`, record, "100% A\x04A\x00\\\t\r"},
		{"é\n", record, "é\n"},
		{``, record, ""},
		{`%k|%s|%K|%S|%h|`, null, "||-1|-1||"},
		{`%R`, null, "\xff\xff\xff\xff"},
	} {
		f, err := Parse(c.layout)
		if err != nil {
			t.Errorf("Parse(%q): %v", c.layout, err)
			continue
		}
		if got := string(f.Append(nil, c.record)); got != c.want {
			t.Errorf("%q gives %q, want %q", c.layout, got, c.want)
		}
	}
	f, err := Parse(`%k %s %h`)
	if err != nil {
		t.Fatal(err)
	}
	null.Headers = []Header{{"h", nil}}
	if got := string(f.WithNull("NULL").Append(nil, null)); got != "NULL NULL h=NULL" {
		t.Errorf("nulls written as %q", got)
	}
	if !f.Uses('k') || f.Uses('p') {
		t.Error("Uses is wrong")
	}
}

func TestFormatErrorsNameThePlace(t *testing.T) {
	for layout, want := range map[string]string{
		`%s%`:    "single %",
		`ab%q`:   `at byte 2: unknown token "%q"`,
		`a\`:     `write \\ for a backslash`,
		`\q`:     "unknown escape",
		`\xzz`:   "is no byte",
		`x\777y`: "is no byte",
	} {
		if _, err := Parse(layout); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q) = %v, want an error with %q", layout, err, want)
		}
	}
	if _, err := Unescape(`a\z`); err == nil {
		t.Error("Unescape took an unknown escape")
	}
}

// readAll reads every record of the input in a format.
func readAll(layout, input string, limit int) ([]Record, error) {
	f, err := Parse(layout)
	if err != nil {
		return nil, err
	}
	rd, err := f.NewReader(strings.NewReader(input), []byte("\n"), limit)
	if err != nil {
		return nil, err
	}
	var records []Record
	for {
		var r Record
		if err := rd.Read(&r); err == io.EOF {
			return records, nil
		} else if err != nil {
			return records, fmt.Errorf("record %d: %w", rd.Number(), err)
		}
		records = append(records, r)
	}
}

func TestReader(t *testing.T) {
	kv := func(k, v string) Record { return Record{Key: []byte(k), Value: []byte(v)} }
	for _, c := range []struct {
		layout, input string
		want          []Record
	}{
		{`%s`, "a\nb\n", []Record{{Value: []byte("a")}, {Value: []byte("b")}}},
		{`%s\n`, "a\n\nb", []Record{{Value: []byte("a")}, {Value: []byte{}}, {Value: []byte("b")}}},
		{`%k:%s\n`, "a:b:c\nd:\n", []Record{kv("a", "b:c"), kv("d", "")}},
		{`%k\t%s||`, "a\tb||c\td||", []Record{kv("a", "b"), kv("c", "d")}},
		{`%K %k%R%s`, "1 x\x00\x00\x00\x02\n\n-1 \xff\xff\xff\xff", []Record{kv("x", "\n\n"), {}}},
		{`<%p %T> %h %s\n`, "<3 17> a=1,b= v\n", []Record{{Partition: 3, Timestamp: 17, Value: []byte("v"), Headers: []Header{{"a", []byte("1")}, {"b", []byte{}}}}}},
		{`%s\n`, "", nil},
	} {
		got, err := readAll(c.layout, c.input, 100)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q from %q: %v, %v; want %v", c.layout, c.input, got, err, c.want)
		}
	}
}

func TestReaderErrorsNameRecordAndField(t *testing.T) {
	for _, c := range []struct{ layout, input, want string }{
		{`%k:%s\n`, "a:b\nnokey\n", `record 2: %k: the input ends before ":"`},
		{`%p %s\n`, "x y\n", `record 1: %p`},
		{`%R%s`, "\x00\x00\x00\x09ab", "unexpected EOF"},
		{`%R%s`, "\x00\x00", "unexpected EOF"},
		{`%R%s`, "\x7f\xff\xff\xffab", "longer than the limit"},
		{`%R%s`, "\xff\xff\xff\xfe", "length -2"},
		{`%K %k`, "-7 ", "length -7"},
		{`>%s\n`, "<a\n", `"<" where the format has ">"`},
		{`%s\n`, "ok\n" + strings.Repeat("x", 200), "record 2: %s: longer than the limit"},
		{`%h %s\n`, "x y\n", "not of the form"},
		{`%o %s\n`, "", "broker chooses"},
		{`%k%s\n`, "", "text between"},
		{`%s %s\n`, "", "twice"},
		{``, "", "empty format"},
	} {
		if _, err := readAll(c.layout, c.input, 100); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q from %q: %v, want an error with %q", c.layout, c.input, err, c.want)
		}
	}
}

func TestScannerKeepsPiecesValidAndReadsInAnySteps(t *testing.T) {
	var input bytes.Buffer
	var want []string
	for i := range 3000 {
		line := strings.Repeat(string(rune('a'+i%26)), i%700)
		want = append(want, line)
		input.WriteString(line + "\r\n")
	}
	for _, r := range []io.Reader{bytes.NewReader(input.Bytes()), &smallReads{r: bytes.NewReader(input.Bytes())}} {
		s := NewScanner(r, 700)
		var pieces [][]byte
		for {
			piece, found, err := s.Until([]byte("\r\n"))
			if err != nil {
				t.Fatal(err)
			}
			if !found {
				break
			}
			pieces = append(pieces, piece)
		}
		if len(pieces) != len(want) {
			t.Fatalf("%d pieces, want %d", len(pieces), len(want))
		}
		for i, p := range pieces {
			if string(p) != want[i] {
				t.Fatalf("piece %d is %q, want %q", i, p, want[i])
			}
		}
	}
}

// smallReads returns 1 to 7 bytes a call.
type smallReads struct {
	r io.Reader
	n int
}

func (s *smallReads) Read(p []byte) (int, error) {
	s.n = s.n%7 + 1
	return s.r.Read(p[:min(s.n, len(p))])
}

func TestScannerLimit(t *testing.T) {
	s := NewScanner(strings.NewReader("12345\n123456\n"), 5)
	if p, found, err := s.Until(newline); string(p) != "12345" || !found || err != nil {
		t.Fatalf("%q, %v, %v", p, found, err)
	}
	if _, _, err := s.Until(newline); !errors.Is(err, ErrTooLong) {
		t.Fatalf("got %v, want ErrTooLong", err)
	}
	if _, err := s.Next(6); !errors.Is(err, ErrTooLong) {
		t.Fatalf("got %v, want ErrTooLong", err)
	}
}

func TestScannerStopsReadingBeyondTheLimit(t *testing.T) {
	endless := &countingReader{}
	if _, _, err := NewScanner(endless, 1000).Until(newline); !errors.Is(err, ErrTooLong) {
		t.Fatalf("got %v, want ErrTooLong", err)
	}
	if endless.n > 2*blockBytes {
		t.Errorf("read %d bytes of an endless line with a limit of 1000", endless.n)
	}
}

// countingReader is an endless line.
type countingReader struct{ n int }

func (c *countingReader) Read(p []byte) (int, error) {
	clear(p)
	c.n += len(p)
	return len(p), nil
}

func FuzzParseFormat(f *testing.F) {
	for _, s := range []string{`%s\n`, `%t [%p] %o %k %K %S %R %T %h %%`, `\x41\0\777`, `%`, `\`, "é%s"} {
		f.Add(s)
	}
	record := &Record{Topic: "t", Key: []byte("k"), Headers: []Header{{"a", nil}}}
	f.Fuzz(func(t *testing.T, layout string) {
		format, err := Parse(layout)
		if err != nil {
			return
		}
		if n := len(format.Append(nil, record)); n > 24*len(layout) {
			t.Fatalf("%d bytes from a layout of %d", n, len(layout))
		}
	})
}

func FuzzReader(f *testing.F) {
	f.Add(`%s\n`, "a\nb")
	f.Add(`%k:%s\n`, "a:b\nc:d\n")
	f.Add(`%K %k%R%s`, "1 x\x00\x00\x00\x02ab")
	f.Add(`%p %T %h %s;`, "1 2 a=b v;")
	f.Fuzz(func(t *testing.T, layout, input string) {
		records, _ := readAll(layout, input, 1<<16)
		size := 0
		for _, r := range records {
			size += len(r.Key) + len(r.Value)
		}
		if size > len(input) || len(records) > len(input) {
			t.Fatalf("%d records of %d bytes from an input of %d", len(records), size, len(input))
		}
	})
}

func FuzzBinaryRoundTrip(f *testing.F) {
	f.Add([]byte("key"), []byte("value\n"), true)
	f.Add([]byte{}, []byte{0, 255}, false)
	format, err := Parse(`%K,%k%R%s`)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, key, value []byte, null bool) {
		want := Record{Key: append([]byte{}, key...), Value: append([]byte{}, value...)}
		if null {
			want.Value = nil
		}
		text := format.Append(format.Append(nil, &want), &want)
		got, err := readAll(`%K,%k%R%s`, string(text), 1<<20)
		if err != nil || len(got) != 2 || !reflect.DeepEqual(got[0], want) || !reflect.DeepEqual(got[1], want) {
			t.Fatalf("%v, %v; want %v twice", got, err, want)
		}
	})
}
