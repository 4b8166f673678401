// Package coordinator is the group coordinator of one partition of
// __consumer_offsets as a pure state machine: [Machine.Step] takes an event and
// the time, and returns what to append and what to answer. It reads no clock,
// starts no goroutine and does no I/O.
//
// A machine is used in two ways:
//
//   - Every replica of the partition replays the records that are committed, in
//     their order ([Machine.Replay]). So each has the groups' state already when
//     it becomes leader: [Machine.Activate] starts the members' timers.
//   - The leader steps. A step changes the state at once and returns the records
//     that say so; what it answers may be sent only when these, and all records
//     of the steps before, are committed. If they cannot be (the leadership is
//     lost), the machine is thrown away and replayed anew from the log: nobody
//     was told of what it knew beyond that.
//
// Invariants, which the tests state again:
//
//   - In a group, a partition has at most one owner in an epoch. It goes to its
//     new owner only once the old one has given it up or is gone.
//   - Generations and member epochs only grow.
//   - A committed offset changes only by a commit, a deletion or its expiry.
//   - Replaying the records of all steps gives the durable state that the steps
//     gave.
//   - No request waits for ever: each that is not answered has a timer.
//   - What a client sends is bounded by [Config] before it is kept.
//
// The formats of the records are in coordinator/stored, the assignors of
// KIP-848 in coordinator/assign.
package coordinator
