// Package group judges what the members of a consumer group did, whatever
// client they are: each prints a line of JSON for everything that happens to
// it, all of a group into one file, and a Judge reads the file as it grows.
//
// The file is opened for appending by all members, and a line is one write, so
// its order is the order in which things happened. A member prints that it gave
// partitions up before its client tells the broker, and that it was given some
// after the broker has told its client. So a partition that two members print
// as theirs was given to both.
//
// The records are numbered: record n is in partition n modulo the number of
// partitions, at offset n divided by it. What must hold:
//
//  1. A partition has one owner at a time, and one in a generation; a member's
//     generation never falls. (Clients that do not show the generation leave it
//     out.)
//  2. Records are handled by the partition's owner alone, each as it was
//     written, in order and without a hole.
//  3. A new owner begins at what was committed or after it, and never after
//     what was handled: nothing is lost.
//  4. Only the owner commits; what is committed was handled and never falls.
//  5. A record is handled again only where the member that handled it was
//     killed, or thrown out of the group, before it had committed.
package group
