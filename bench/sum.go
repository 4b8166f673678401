package bench

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"time"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Sum says which records passed, in whatever order: how many, and the sum of
// their values' CRC-32C spread over 64 bits. Two sets of records with the same
// Sum are the same but by a chance of one in 2^32 or less.
type Sum struct {
	Records int64
	Hash    uint64
}

// Add counts a record with this value.
func (s *Sum) Add(value []byte) {
	s.Records++
	s.Hash += uint64(crc32.Checksum(value, castagnoli)) * 0x9e3779b97f4a7c15
}

// Join adds the records of another Sum.
func (s *Sum) Join(o Sum) {
	s.Records += o.Records
	s.Hash += o.Hash
}

func (s Sum) String() string { return fmt.Sprintf("%d records, checksum %016x", s.Records, s.Hash) }

// MarshalJSON writes the hash as text: it does not fit in a JSON number.
func (s Sum) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Records int64  `json:"records"`
		Hash    string `json:"checksum"`
	}{s.Records, fmt.Sprintf("%016x", s.Hash)})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (s *Sum) UnmarshalJSON(text []byte) error {
	var v struct {
		Records int64  `json:"records"`
		Hash    string `json:"checksum"`
	}
	if err := json.Unmarshal(text, &v); err != nil {
		return err
	}
	s.Records = v.Records
	_, err := fmt.Sscanf(v.Hash, "%x", &s.Hash)
	return err
}

// headBytes is what a record's value begins with: the time it was due, in
// nanoseconds since 1970, then its client (2 bytes) and number (6 bytes).
const headBytes = 16

// filler holds the rest of the values: a window of it that moves from record
// to record. It is the same in every process.
type filler []byte

// fillerBytes is beyond what codecs look back for repetitions in a batch.
const fillerBytes = 8 << 20

// newFiller makes bytes that do not compress, or text as applications log it,
// which lz4 and zstd shrink to about a third and a fifth.
func newFiller(text bool) filler {
	random := rand.New(rand.NewPCG(20, 26))
	f := make(filler, 0, fillerBytes+1024)
	if !text {
		for len(f) < fillerBytes {
			f = binary.LittleEndian.AppendUint64(f, random.Uint64())
		}
		return f
	}
	levels := []string{"debug", "info", "info", "info", "warn", "error"}
	paths := []string{"/cart", "/cart/items", "/checkout", "/login", "/products", "/products/reviews", "/search"}
	agents := []string{"Mozilla/5.0 (X11; Linux x86_64)", "Mozilla/5.0 (Macintosh)", "curl/8.14", "okhttp/5.1"}
	at := int64(1_790_000_000_000)
	for len(f) < fillerBytes {
		at += random.Int64N(40)
		f = fmt.Appendf(f, `{"time":%d,"level":%q,"session":"%016x","user":%d,"path":"%s/%d","status":%d,"bytes":%d,"micros":%d,"agent":%q}`+"\n",
			at, levels[random.IntN(len(levels))], random.Uint64(), random.IntN(2_000_000), paths[random.IntN(len(paths))], random.IntN(50_000),
			[]int{200, 200, 200, 304, 404, 500}[random.IntN(6)], random.IntN(100_000), random.IntN(900_000), agents[random.IntN(len(agents))])
	}
	return f
}

// write fills value, of headBytes or more.
func (f filler) write(value []byte, due time.Time, client int, number int64) {
	stamp(value, due, client, number)
	rest := value[headBytes:]
	for at := int(uint64(number) * 1031 % uint64(len(f))); len(rest) > 0; at = 0 {
		rest = rest[copy(rest, f[at:]):]
	}
}

// stamp writes the head of a value whose rest stays as it is.
func stamp(value []byte, due time.Time, client int, number int64) {
	binary.BigEndian.PutUint64(value, uint64(due.UnixNano()))
	binary.BigEndian.PutUint64(value[8:], uint64(client)<<48|uint64(number))
}

// dueOf is when the record with this value was due; ok is false where the
// value was not written by this package.
func dueOf(value []byte) (due time.Time, ok bool) {
	if len(value) < headBytes {
		return time.Time{}, false
	}
	return time.Unix(0, int64(binary.BigEndian.Uint64(value))), true
}
