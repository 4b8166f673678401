// Package vfs is the file system as the log, the vote file and the snapshot
// stores see it: the operating system's ([OS]), one in memory that can crash
// and loses what was not synced ([Mem]), and one that injects errors
// ([Errors]).
//
// The contract that all three keep, and that callers rely on:
//
//   - A write is durable only after Sync of its file returned nil.
//   - A created, renamed or removed name is durable only after SyncDir of its
//     directory returned nil (and, for a new directory, of its parent).
//   - After a Sync that failed nothing is known of the writes before it: the
//     file is not to be trusted again, even if a later Sync succeeds.
//   - Rename replaces the target atomically.
//
// The package starts no goroutines.
package vfs
