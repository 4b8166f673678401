// Package record is Kafka's record batch, version 2, on the wire and on disk
// alike: its header, its checksum, the checks a broker makes before it takes a
// batch, and a bounded stream of the records inside.
//
// A batch, all integers big endian:
//
//	 0        8        12       16   17       21     23        27
//	┌────────┬────────┬────────┬────┬────────┬──────┬─────────┬────────┐
//	│ base   │ batch  │ leader │ 2  │ CRC-   │ attr │ last    │ base   │
//	│ offset │ length │ epoch  │    │ 32C    │      │ offset Δ│ time   │
//	└────────┴────────┴────────┴────┴────────┴──────┴─────────┴────────┘
//	 35       43       51       53       57       61
//	┌────────┬────────┬────────┬────────┬────────┬─────────────────────┐
//	│ max    │ prod.  │ prod.  │ base   │ record │ records, compressed │
//	│ time   │ id     │ epoch  │ seq.   │ count  │ together as by attr │
//	└────────┴────────┴────────┴────────┴────────┴─────────────────────┘
//
// Batch length counts what follows it (49 bytes of header and the records).
// The CRC (Castagnoli) covers everything from the attributes on, so that a
// broker may write base offset and leader epoch without touching it.
//
// Attributes: bits 0–2 codec, 3 timestamp type (1 = log append time), 4
// transactional, 5 control batch, 6 the base time is a delete horizon.
//
// A record: a varint of its length, then attributes (int8), timestamp Δ
// (varlong), offset Δ, key, value and headers; keys and values are a varint
// length (−1 = null) and bytes, headers a varint count of key and value.
// Varints are zigzag encoded.
//
// The package starts no goroutines. Its decoders are pooled, and what they
// hold at once is one window or block of the codec, one chunk and one record.
package record
