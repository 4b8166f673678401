// Package protocol is Kafka's wire protocol as a broker needs it: frames and
// headers of requests and responses, errors with Kafka's codes, and decoding
// whose memory stays within a small factor of the bytes received.
//
// The messages themselves are those of franz-go's kmsg. Two things stand
// before and beside it:
//
//   - kmsg bounds an array by one element a byte, so that a malformed request
//     takes hundreds of times its size. Check walks a body against a table of
//     the requests' schemas first, without allocating, and Decode calls it.
//   - Produce requests and responses and Fetch responses are the hot path, and
//     are read and written here in place: records are never copied.
//
// The package starts no goroutines and does no I/O.
package protocol
