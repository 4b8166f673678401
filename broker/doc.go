// Package broker is the joint between Kafka's clients and the parts below: it
// listens, reads requests, finds their handlers and writes their answers. It
// also holds the node: what the metadata places here is opened, changed and
// closed by it.
//
// # A connection
//
// A reader goroutine takes one frame after another off the socket. A frame's
// key and version are known before its body is read: they bound its size, and
// its bytes are counted against the node's budget first. It is then read into a
// pooled buffer, which the batches of a Produce never leave.
//
// Each request becomes a call, in line for its answer. A Produce hands its
// batches to the partitions in the order read and is completed by the last of
// them; a Fetch is answered from what is there, or waits as watches on its
// partitions and a timer; everything else runs one after another on a goroutine
// that the connection has while there is something to run. Whoever completes a
// call whose turn has come writes: the reader before it waits for more, a
// worker itself, a partition's goroutine by starting one. Answers that are done
// together leave together; stored records leave by sendfile.
//
// # Who owns what
//
//   - The server owns all goroutines and waits for them in Close: one for each
//     listener, one for produces that time out, one reader for each connection,
//     and writers and queues while they have something to do.
//   - A frame belongs to its call; that of a Produce to its partitions and its
//     answer together, and the last of them frees it.
//   - A call is finished once: by the writer, at the end of its connection, or
//     by its completer where the connection ended before.
//
// # Locks
//
// Server.mu is taken before conn.mu. A partition's locks may be held when it
// calls a sink or a waiter, so nothing of a partition is called under conn.mu.
// A fetch session's lock is taken before the cache's.
package broker
