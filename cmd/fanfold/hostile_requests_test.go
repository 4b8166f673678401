package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A filled request has every field of its version set, with two elements in
// each array.
func filled(key, version int16) kmsg.Request {
	req := kmsg.RequestForKey(key)
	fill(reflect.ValueOf(req).Elem())
	req.SetVersion(version)
	return req
}

func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			switch name := v.Type().Field(i).Name; name {
			case "UnknownTags", "SessionID", "SessionEpoch", "Version":
			default:
				fill(v.Field(i))
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(v.Index(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i))
		}
	case reflect.String:
		v.SetString("ab")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(1)
	case reflect.Uint8:
		v.SetUint(1)
	}
}

// eachVersion calls f for each key and version that the broker lists and
// serves.
func (v *victim) eachVersion(f func(key, version int16)) {
	for _, k := range v.apiKeys() {
		for version := max(k.MinVersion, map[int16]int16{0: 3}[k.ApiKey]); version <= k.MaxVersion; version++ {
			f(k.ApiKey, version)
		}
	}
}

// TestHostileBodies sends bodies that are cut short, followed by something,
// and spoiled. FANFOLD_HOSTILE=full does so at every byte of every version.
func TestHostileBodies(t *testing.T) {
	v := newVictim(t)
	t.Run("whole", func(t *testing.T) {
		v := v.on(t)
		v.eachVersion(func(key, version int16) {
			req := filled(key, version)
			c := v.dial()
			if c.answer(req); version >= 0 {
				c.proves()
			}
			c.Close()
		})
	})
	t.Run("cut short", func(t *testing.T) {
		v := v.on(t)
		v.eachVersion(func(key, version int16) {
			body := filled(key, version).AppendTo(nil)
			for _, at := range positions(len(body), quickOr(3, len(body))) {
				c := v.dial()
				c.send(frame(key, version, body[:at]))
				c.closed()
			}
		})
	})
	t.Run("followed by something", func(t *testing.T) {
		v := v.on(t)
		v.eachVersion(func(key, version int16) {
			c := v.dial()
			// It is ignored, as Kafka does, and librdkafka counts on.
			c.send(frame(key, version, append(filled(key, version).AppendTo(nil), "behind"...)))
			if _, err := c.decode(filled(key, version)); err != nil {
				t.Errorf("key %d version %d: %v", key, version, err)
			}
			c.proves()
			c.Close()
		})
	})
	v.served()
	t.Run("spoiled", func(t *testing.T) {
		v := v.on(t)
		spoils := [][]byte{
			{0x7f, 0xff, 0xff, 0xff},       // the largest count
			{0xff, 0xff, 0xff, 0xff, 0x0f}, // the largest compact count
			{0x80, 0x00, 0x00, 0x00},       // the lowest
			{0xff, 0x7f},
			{0x00, 0x0f, 0x42, 0x40}, // a million
		}
		v.bounded("spoiled bodies", 48<<20, func() {
			v.eachVersion(func(key, version int16) {
				body := filled(key, version).AppendTo(nil)
				for _, at := range positions(len(body), quickOr(2, len(body))) {
					for _, spoil := range spoils {
						spoiled := append([]byte(nil), body...)
						copy(spoiled[at:], spoil)
						c := v.dial()
						c.send(frame(key, version, spoiled))
						// Some spoil no count, and are answered, or want no answer
						// at all: the next request is.
						c.send(requestFrame(kmsg.NewPtrApiVersionsRequest()))
						if _, err := c.receive(); errors.Is(err, os.ErrDeadlineExceeded) {
							t.Errorf("key %d version %d with %x at %d: neither answered nor closed", key, version, spoil, at)
						}
						c.Close()
					}
				}
			})
		})
	})
	v.served()
}

// positions are n of the bytes of a body, spread over it.
func positions(length, n int) []int {
	var at []int
	for i := range min(n, length) {
		at = append(at, i*length/min(n, length))
	}
	return at
}

// TestHostileAmplifiers sends well-formed requests of minimal elements whose
// decoded form or answer is far larger than they are.
func TestHostileAmplifiers(t *testing.T) {
	v := newVictim(t)
	v.createTopic("w", 100)
	size := quickOr(256<<10, 15<<20)
	for _, a := range amplifiers(size) {
		t.Run(a.name, func(t *testing.T) {
			v := v.on(t)
			input := frame(a.key, a.version, a.body)
			most := int64(len(input))*8 + 96<<20
			v.bounded(fmt.Sprintf("%d KiB of %s", len(input)>>10, a.name), most, func() {
				c := v.dial()
				c.send(input)
				answer, err := c.receive()
				if errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("neither answered nor closed within %v", answeredWithin)
				}
				t.Logf("answered by %d KiB, %v", len(answer)>>10, err)
				c.Close()
			})
			v.served()
		})
	}
	t.Run("many at once, of which nobody reads the answer", func(t *testing.T) {
		v := v.on(t)
		a := amplifiers(size)[0]
		v.bounded("many at once", 160<<20, func() {
			for range quickOr(4, 20) {
				c := v.dial()
				go c.send(frame(a.key, a.version, a.body))
			}
			pause(t.Context(), time.Second)
			v.served()
		})
	})
}

// maxHostileElements is just below what the broker takes of one request.
const maxHostileElements = 199_000

type amplifier struct {
	name         string
	key, version int16
	body         []byte
}

// amplifiers are requests of about size bytes.
func amplifiers(size int) []amplifier {
	var list []amplifier
	// repeat makes an array of one element, again and again, between a head
	// and a tail, and counts it as the version does.
	repeat := func(name string, key, version int16, head, tail []byte, flexible bool, element func(i int) []byte) {
		var elements []byte
		n := 0
		for ; len(elements) < size && n < maxHostileElements; n++ {
			elements = append(elements, element(n)...)
		}
		body := append([]byte(nil), head...)
		if flexible {
			body = binary.AppendUvarint(body, uint64(n+1))
		} else {
			body = binary.BigEndian.AppendUint32(body, uint32(n))
		}
		list = append(list, amplifier{fmt.Sprintf("%s v%d, %s", kmsg.NameForKey(key), version, name), key, version, append(append(body, elements...), tail...)})
	}
	text := func(s string) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...) }
	cat := func(parts ...any) []byte {
		var b []byte
		for _, p := range parts {
			switch p := p.(type) {
			case []byte:
				b = append(b, p...)
			case string:
				b = append(b, text(p)...)
			case int8:
				b = append(b, byte(p))
			case int16:
				b = binary.BigEndian.AppendUint16(b, uint16(p))
			case int32:
				b = binary.BigEndian.AppendUint32(b, uint32(p))
			case int64:
				b = binary.BigEndian.AppendUint64(b, uint64(p))
			default:
				panic(p)
			}
		}
		return b
	}
	fetch := cat(int32(-1), int32(0), int32(0), int32(1<<20), int8(0))
	session := cat(fetch, int32(0), int32(0))
	one := int32(1)
	long := strings.Repeat("n", 20_000)
	repeat("partitions of no topic", 1, 4, cat(fetch, one, "x"), nil, false, func(i int) []byte { return cat(int32(i), int64(0), int32(1)) })
	repeat("partitions of a topic", 1, 4, cat(fetch, one, "w"), nil, false, func(i int) []byte { return cat(int32(i%100), int64(0), int32(1)) })
	repeat("topics", 1, 4, fetch, nil, false, func(int) []byte { return cat("x", int32(0)) })
	repeat("a session of a long name", 1, 7, cat(session, one, long), cat(int32(0)), false, func(i int) []byte { return cat(int32(i), int64(0), int64(0), int32(1)) })
	repeat("a session of many partitions", 1, 7, cat(session, one, "w"), cat(int32(0)), false, func(i int) []byte { return cat(int32(i), int64(0), int64(0), int32(1)) })
	repeat("forgotten topics", 1, 7, cat(session, int32(0)), nil, false, func(int) []byte { return cat("x", int32(0)) })
	repeat("partitions", 2, 1, cat(int32(-1), one, "w"), nil, false, func(i int) []byte { return cat(int32(i%100), int64(-1)) })
	repeat("partitions, of no topic", 2, 1, cat(int32(-1), one, "x"), nil, false, func(i int) []byte { return cat(int32(i), int64(-1)) })
	repeat("one topic", 3, 1, nil, nil, false, func(int) []byte { return cat("w") })
	repeat("no topic", 3, 4, nil, cat(int8(0)), false, func(i int) []byte { return cat(fmt.Sprint(i)) })
	repeat("illegal topics", 3, 1, nil, nil, false, func(int) []byte { return cat("/") })
	repeat("one topic", 3, 9, nil, []byte{0, 0, 0, 0}, true, func(int) []byte { return []byte{2, 'w', 0} })
	repeat("topics to validate", 19, 2, nil, cat(int32(1000), int8(1)), false, func(i int) []byte {
		return cat(fmt.Sprint("v", i), int32(1), int16(1), int32(0), int32(0))
	})
	repeat("topics to validate", 19, 5, nil, cat(int32(1000), int8(1), int8(0)), true, func(i int) []byte {
		name := fmt.Sprint("v", i)
		return append(append([]byte{byte(len(name) + 1)}, name...), cat(int32(1), int16(1), int8(1), int8(1), int8(0))...)
	})
	repeat("assignments", 19, 2, cat(one, "v", int32(-1), int16(-1)), cat(int32(0), int32(1000), int8(1)), false, func(i int) []byte { return cat(int32(i), int32(0)) })
	repeat("topics", 20, 1, nil, cat(int32(1000)), false, func(int) []byte { return cat("x") })
	repeat("partitions", 21, 0, cat(one, "w"), cat(int32(1000)), false, func(i int) []byte { return cat(int32(i%100), int64(0)) })
	repeat("partitions", 23, 2, cat(one, "w"), nil, false, func(i int) []byte { return cat(int32(i%100), int32(0), int32(0)) })
	repeat("one topic", 32, 1, nil, cat(int8(1)), false, func(int) []byte { return cat(int8(2), "w", int32(-1)) })
	repeat("one topic, documented", 32, 3, nil, cat(int8(1), int8(1)), false, func(int) []byte { return cat(int8(2), "w", int32(-1)) })
	repeat("one broker", 32, 1, nil, cat(int8(1)), false, func(int) []byte { return cat(int8(4), "1", int32(-1)) })
	repeat("names", 32, 1, cat(one, int8(2), "w"), cat(int8(1)), false, func(int) []byte { return cat("x") })
	repeat("no topic", 33, 0, nil, cat(int8(1)), false, func(int) []byte { return cat(int8(2), "x", int32(0)) })
	repeat("names", 33, 0, cat(one, int8(2), "w"), cat(int8(1)), false, func(i int) []byte { return cat(fmt.Sprint(i), "") })
	repeat("one topic", 35, 1, nil, nil, false, func(int) []byte {
		b := cat("w", int32(100))
		for p := range int32(100) {
			b = cat(b, p)
		}
		return b
	})
	repeat("topics", 37, 0, nil, cat(int32(1000), int8(1)), false, func(int) []byte { return cat("x", int32(1), int32(0)) })
	repeat("one topic", 44, 0, nil, cat(int8(1)), false, func(int) []byte { return cat(int8(2), "w", int32(0)) })
	repeat("partitions", 61, 0, []byte{2, 2, 'w'}, []byte{0, 0}, true, func(i int) []byte { return cat(int32(i % 100)) })
	repeat("topics", 75, 0, nil, cat(int32(2000), int8(-1), int8(0)), true, func(i int) []byte {
		name := fmt.Sprint(i)
		return append(append([]byte{byte(len(name) + 1)}, name...), 0)
	})
	repeat("partitions of no topic", 0, 3, cat(int16(-1), int16(-1), int32(1000), one, "x"), nil, false, func(i int) []byte { return cat(int32(i), int32(-1)) })
	repeat("partitions of a topic", 0, 3, cat(int16(-1), int16(-1), int32(1000), one, "w"), nil, false, func(i int) []byte { return cat(int32(i%100), int32(-1)) })
	repeat("unknown tagged fields", 3, 9, []byte{0, 0, 0, 0}, nil, true, func(i int) []byte { return append(binary.AppendUvarint(nil, uint64(i+100)), 0) })
	random := rand.New(rand.NewPCG(1, 2))
	repeat("noise in unknown tagged fields", 18, 3, []byte{2, 'a', 2, 'b', 2}, nil, true, func(i int) []byte {
		b := append(binary.AppendUvarint(nil, uint64(i+100)), 100)
		for range 100 {
			b = append(b, byte(random.Uint32()))
		}
		return b
	})
	return list
}
