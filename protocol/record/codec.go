package record

import "fmt"

// minRecordBytes is the smallest record: null key and value, no headers.
const minRecordBytes = 7

// Codec is how the records of a batch are compressed, as the low three bits of
// its attributes say.
type Codec int8

// The codecs, with Kafka's numbers.
const (
	None   Codec = 0
	Gzip   Codec = 1
	Snappy Codec = 2
	LZ4    Codec = 3
	Zstd   Codec = 4
)

var codecNames = [...]string{None: "none", Gzip: "gzip", Snappy: "snappy", LZ4: "lz4", Zstd: "zstd"}

// Known says whether records of this codec can be read.
func (c Codec) Known() bool { return c >= None && c <= Zstd }

// String gives Kafka's name.
func (c Codec) String() string {
	if !c.Known() {
		return fmt.Sprintf("codec %d", int8(c))
	}
	return codecNames[c]
}

// ParseCodec finds a codec by Kafka's name ("uncompressed" is "none" too).
func ParseCodec(name string) (Codec, error) {
	if name == "uncompressed" {
		return None, nil
	}
	for c, known := range codecNames {
		if name == known {
			return Codec(c), nil
		}
	}
	return None, fmt.Errorf("parse codec: %q is none of none, gzip, snappy, lz4, zstd", name)
}
