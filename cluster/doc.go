// Package cluster holds the cluster's metadata as a state machine: nodes,
// topics, their partitions and configs, and blocks of producer ids. It is pure:
// no I/O, no clock, no goroutine, no randomness.
//
// A [Machine] turns commands into images. An [Image] is immutable, so readers
// take [Machine.Image] without a lock and may keep it; sorted maps that share
// structure (tree) make the next image cost O(log n), whatever the cluster
// holds.
//
//	client's request ──New…(image, …)──▶ Command ──Encode──▶ log ──Apply──▶ Image
//	                   validates, places,                     decodes, checks
//	                   fills in defaults                      for races
//
// # Not obvious
//
//   - Rules that a release may change are applied before a command is proposed
//     ([Image.Validate] and the New… functions): which configs are known, which
//     values are taken, where replicas go. Apply must not look at them. A
//     command that was accepted once is met again after an upgrade, and by
//     nodes of another release; were it refused there, acknowledged topics
//     would be gone from some nodes. Apply decides by the image and the command
//     alone.
//   - A command of an unknown kind or version stops the machine
//     ([ErrUnknownCommand]): skipping it would make this node's image another
//     than its peers'.
//   - A replica is a node and an incarnation. The number is the machine's to
//     give, and no pair is given twice for one partition.
//   - A deleted topic stays known by id until all its nodes have said that its
//     files are gone, so that a node which was down meanwhile learns of it.
//
// # Commands and snapshots as bytes
//
//	command   kind (1 byte) │ version (1 byte) │ body
//	snapshot  "FFMD" │ version (1 byte) │ body │ CRC-32C of all before (4 bytes, big endian)
//
// In bodies, integers are varints (signed ones zig-zag), texts and lists are
// led by their length, maps are lists sorted by key, ids are their 16 bytes.
// Kinds and versions are never used again for something else. The same image
// always gives the same snapshot.
package cluster
