package stored

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

// A record that ends early, or goes on, is an error that names it.
func TestBrokenRecords(t *testing.T) {
	for name, b := range goldenBytes(t) {
		for n := range b {
			if _, err := parse(name, b[:n]); !isError(err) {
				t.Errorf("%s: of %d bytes, the first %d give %v", name, len(b), n, err)
			}
		}
		if _, err := parse(name, append(bytes.Clone(b), 0)); !isError(err) {
			t.Errorf("%s: with a byte more: %v", name, err)
		}
	}
}

func isError(err error) bool {
	var e *Error
	return errors.As(err, &e)
}

func TestErrors(t *testing.T) {
	cut := classicValue(3).Append(nil)
	cut = cut[:len(cut)-20]
	epochs := ConsumerGroupCurrentMemberAssignmentValue{
		AssignedPartitions: []TopicPartitions{{Partitions: []int32{1}, AssignmentEpochs: []int32{1, 2}}},
	}
	tags := ConsumerGroupMetadataValue{Epoch: 1}.Append(nil)
	tags = tags[:len(tags)-1]
	for _, c := range []struct {
		name  string
		bytes []byte
		want  string
	}{
		{"GroupMetadataValue", cut, "parse GroupMetadata value: members[1].clientHost at byte "},
		{"GroupMetadataValue", []byte{0, 5}, "parse GroupMetadata value: version 5 is not known, 0 to 4 are"},
		{"GroupMetadataValue", []byte{0xff, 0xff}, "version -1 is not known"},
		{"OffsetCommitValue", nil, "parse OffsetCommit value: version at byte 0: 2 bytes are needed, 0 are left"},
		{"GroupMetadataValue", []byte{0, 3, 0xff, 0xff}, "protocolType at byte 4: it is null"},
		{"GroupMetadataValue", []byte{0, 3, 0x80, 0}, "protocolType at byte 4: a string's length is -32768"},
		{"ConsumerGroupCurrentMemberAssignmentValue", epochs.Append(nil), "assignedPartitions[0].assignmentEpochs at byte 37: there are 2 for 1 partitions"},
		{"ConsumerGroupMetadataValue", append(bytes.Clone(tags), 2, 1, 0, 1, 0), "tag 1 comes after 1"},
		{"ConsumerGroupMetadataValue", append(bytes.Clone(tags), 1, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0), "tag 0 has 9 bytes, 8 were read"},
		{"ConsumerGroupMetadataValue", append(bytes.Clone(tags), 1, 3, 9, 0), "tag 3 has 9 bytes, 1 are left"},
		{"ConsumerGroupMetadataValue", append(bytes.Clone(tags), 0x80, 0x80, 0x80, 0x80, 0x10), "a number has more than 32 bits"},
		{"key", []byte{0}, "parse key: type at byte 0"},
		{"key", []byte{0, 5, 0, 1, 'g'}, "parse ConsumerGroupMemberMetadata key: member at byte 5"},
		{"key", []byte{0, 11, 0, 0}, "a key of type 11 is not known"},
	} {
		if _, err := parse(c.name, c.bytes); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s of %x: %v, want %q", c.name, c.bytes, err, c.want)
		}
	}
	var unknown *UnknownTypeError
	if _, err := ParseKey([]byte{0, 4}); !errors.As(err, &unknown) || unknown.Type != 4 {
		t.Errorf("a key of type 4: %v", err)
	}
}

// Tagged fields of a Kafka to come are left out.
func TestUnknownTags(t *testing.T) {
	b := ConsumerGroupMetadataValue{Epoch: 1}.Append(nil)
	b = append(b[:len(b)-1], 2, 0, 8, 0, 0, 0, 0, 0, 0, 0, 7, 5, 3, 'n', 'e', 'w')
	v, err := ParseConsumerGroupMetadataValue(b)
	if want := (ConsumerGroupMetadataValue{1, 7}); err != nil || v != want {
		t.Errorf("%+v, %v", v, err)
	}
}

// A few bytes that promise many elements cost no memory.
func TestPromisesCostNothing(t *testing.T) {
	promise := binary.AppendUvarint(nil, math.MaxInt32)
	for name, b := range map[string][]byte{
		"GroupMetadataValue/v3":                     append(GroupMetadataValue{}.Append(nil)[:20], 0x7f, 0xff, 0xff, 0xff),
		"ConsumerGroupTargetAssignmentMemberValue":  append([]byte{0, 0}, promise...),
		"ConsumerGroupRegularExpressionValue":       append([]byte{0, 0}, promise...),
		"ConsumerGroupCurrentMemberAssignmentValue": append(make([]byte, 11), promise...),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := parse(name, b)
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; err == nil || used > 64<<10 {
			t.Errorf("%s: %v, %d bytes allocated", name, err, used)
		}
	}
}

func TestStringTooLong(t *testing.T) {
	GroupMetadataKey{strings.Repeat("g", MaxStringBytes)}.Append(nil)
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	GroupMetadataKey{strings.Repeat("g", MaxStringBytes+1)}.Append(nil)
}

// Parsed values do not share memory with their input.
func TestInputIsNotKept(t *testing.T) {
	b := classicValue(3).Append(nil)
	v, err := ParseGroupMetadataValue(b)
	clear(b)
	if err != nil || !reflect.DeepEqual(v, classicValue(3)) {
		t.Errorf("%+v, %v", v, err)
	}
}

func FuzzParseKey(f *testing.F) {
	for name, b := range goldenBytes(f) {
		if strings.Contains(name, "Key") {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := ParseKey(b)
		if err != nil {
			return
		}
		w := k.(appender).Append(nil)
		if b[1] == typeLegacyOffsetCommit {
			w[1] = typeLegacyOffsetCommit
		}
		if !bytes.Equal(w, b) {
			t.Fatalf("%x is read as %+v and written as %x", b, k, w)
		}
	})
}

// What is read from any bytes is written, and read again, as the same.
func FuzzParseValue(f *testing.F) {
	names := []string{
		"OffsetCommitValue", "GroupMetadataValue", "ConsumerGroupMetadataValue", "ConsumerGroupMemberMetadataValue",
		"ConsumerGroupTargetAssignmentMetadataValue", "ConsumerGroupTargetAssignmentMemberValue",
		"ConsumerGroupCurrentMemberAssignmentValue", "ConsumerGroupRegularExpressionValue",
	}
	golden := goldenBytes(f)
	for i, name := range names {
		for of, b := range golden {
			if strings.HasPrefix(of, name+"/") {
				f.Add(byte(i), b)
			}
		}
	}
	f.Fuzz(func(t *testing.T, which byte, b []byte) {
		name := names[int(which)%len(names)]
		v, err := parse(name, b)
		if err != nil {
			if !isError(err) {
				t.Fatalf("%s: %T", name, err)
			}
			return
		}
		w := v.(appender).Append(nil)
		again, err := parse(name, w)
		if err != nil || !reflect.DeepEqual(again, v) {
			t.Fatalf("%s: %x is read as %+v, written as %x, and read as %+v, %v", name, b, v, w, again, err)
		}
	})
}

func BenchmarkOffsetCommit(b *testing.B) {
	k := OffsetCommitKey{"readers-of-orders", "orders", 7}
	v := OffsetCommitValue{4000000001, 12, "", 1790000000123, -1, topic1}
	key, value := k.Append(nil), v.Append(nil)
	b.Run("append", func(b *testing.B) {
		b.ReportAllocs()
		var dst []byte
		for b.Loop() {
			dst = v.Append(k.Append(dst[:0]))
		}
	})
	b.Run("parse", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := ParseKey(key); err != nil {
				b.Fatal(err)
			}
			if _, err := ParseOffsetCommitValue(value); err != nil {
				b.Fatal(err)
			}
		}
	})
}
