package driver

import (
	"path/filepath"
	"reflect"
	"testing"
)

func TestRecordsFile(t *testing.T) {
	want := []Record{
		{Partition: 1, Offset: 5, Timestamp: 7, Key: []byte("k"), Value: []byte("v")},
		{Partition: 1, Offset: 6, Key: nil, Value: []byte{}},
		{Partition: 2, Offset: 0, Timestamp: -1, Headers: []Header{{"", nil}, {"a", []byte{}}, {"ab", []byte("=;-")}, {"abc", []byte("\t\n")}}},
	}
	path := filepath.Join(t.TempDir(), "records")
	if err := WriteRecords(path, want, true); err != nil {
		t.Fatal(err)
	}
	got, err := ReadRecords(path, true)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func FuzzParseRecord(f *testing.F) {
	for _, line := range []string{"0\t1\t2\t-\tdg==\t", "0\t1\t2\t\t-\tYQ===-;=YQ==", "\t\t\t\t\t", "0\t0\t0\t-\t-\tYQ"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		r, err := parseRecord(line, true)
		if err != nil {
			return
		}
		again, err := parseRecord(r.String(), true)
		if err != nil || !reflect.DeepEqual(r, again) {
			t.Errorf("%q became %+v, then %+v, %v", line, r, again, err)
		}
	})
}
