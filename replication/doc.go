// Package replication is the only importer of hashicorp/raft. It turns a
// [log.Log] into a Raft log, a vote file into its stable store and a small
// manifest into its snapshots, and runs one Raft group for each partition
// replica ([Group]) and one for the cluster's metadata ([MetadataGroup]).
//
// A partition's state machine is the [Machine] that the caller gives. What it
// proposes reaches it again in the order of the log:
//
//	Propose → queue → raft → store.StoreLogs (write, sync) → Stored
//	                                  └→ majority → Apply → Applied
//
// Where the group has one voter, its own durable log is the majority: Apply is
// called from the store itself, right behind the sync, and raft's later
// delivery of the same entries is skipped by index. With more voters Apply is
// called when raft says so. The path is the same otherwise.
//
// Invariants:
//
//   - The Machine's Stored, Apply and Applied are called in the order of the
//     log, each index once a Raft instance, from one goroutine at a time.
//   - An entry reaches Apply only when it is durable on a majority (topics
//     with flush.messages above 1 have relaxed exactly this).
//   - The store never returns an error into raft where raft would panic or go
//     on with a wrong last index: it marks the replica failed, ends raft's own
//     goroutine with runtime.Goexit, and the group's owner goroutine starts a
//     new instance over a re-verified log, with backoff.
//   - What was validated in one term is never appended in another: the store
//     writes a void entry in its place.
//   - A replica whose directory is missing, but whose votes are known, is not
//     started: it would vote as if it remembered.
//
// Goroutines: one owner for each Group (run), which joins raft's own three of
// each instance, the one that starts it, and timers that flush; one owner for a
// MetadataGroup likewise; one ticker for a Node.
//
// What raft may end with Goexit, because a store failed, never runs on the
// owner: a failed instance is a flag (Group.fail) that the owner looks at first,
// and whatever it waits for it gives up when the instance's channel broken is
// closed.
//
// Lock order: Group.applyMu, the machine's own mutex, Group.mu.
package replication
