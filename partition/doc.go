// Package partition is one replica's state over its log: high watermark,
// leader epochs, producer state and waiting fetches. It checks what clients
// produce, proposes it to the replica's Raft group through the interface
// [Proposer], and is told by the group what was committed ([Partition.Apply]).
//
// Invariants:
//
//   - A record is readable only below the high watermark, and the high
//     watermark only grows.
//   - What was acknowledged with acks=all is committed; what was acknowledged
//     with acks=1 is durable in the leader's log.
//   - Offsets are assigned by the leader's log, never by this package: they
//     are learnt when the group says that an entry was stored.
//   - Producer state follows the log: what is in it came from an applied entry
//     or is speculative (proposed in this term), and what is speculative is
//     dropped when the term ends.
//
// The package starts no goroutines: callers' goroutines and the group's run it.
package partition
