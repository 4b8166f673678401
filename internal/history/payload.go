package history

import (
	"encoding/binary"
	"hash/crc32"
)

// MinPayloadBytes is the length of the shortest payload.
const MinPayloadBytes = 12

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// AppendPayload appends a record's bytes, size but at least MinPayloadBytes:
// v, a checksum, and filling that follows from v and does not compress.
func AppendPayload(dst []byte, v Value, size int) []byte {
	start := len(dst)
	dst = binary.BigEndian.AppendUint64(dst, uint64(v))
	dst = append(dst, 0, 0, 0, 0)
	for state := uint64(v); len(dst)-start < size; {
		state += 0x9e3779b97f4a7c15
		mixed := (state ^ state>>30) * 0xbf58476d1ce4e5b9
		dst = binary.LittleEndian.AppendUint64(dst, mixed^mixed>>27)
	}
	dst = dst[:start+max(size, MinPayloadBytes)]
	binary.BigEndian.PutUint32(dst[start+8:], payloadSum(dst[start:]))
	return dst
}

// ParsePayload returns the value that a record's bytes were made from, or zero
// if any of them is not as it was.
func ParsePayload(b []byte) Value {
	if len(b) < MinPayloadBytes || binary.BigEndian.Uint32(b[8:]) != payloadSum(b) {
		return 0
	}
	if v := Value(binary.BigEndian.Uint64(b)); v.valid() {
		return v
	}
	return 0
}

func payloadSum(b []byte) uint32 {
	sum := crc32.Update(uint32(len(b)), castagnoli, b[:8])
	return crc32.Update(sum, castagnoli, b[MinPayloadBytes:])
}
