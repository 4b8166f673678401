// Package assign decides which member of a group reads which partition: the
// server-side assignors of KIP-848, "uniform" and "range". It is pure: a [Spec]
// goes in, an assignment comes out, and the same spec gives the same assignment.
//
// Both keep to this, the first before the second and so on:
//
//  1. A partition goes to exactly one of the members that subscribe to its
//     topic, and to none where nobody does.
//  2. Balance. With uniform, no partition can be moved, not even by a chain of
//     moves, so that the numbers of partitions become more even; where all
//     members subscribe to the same topics, they differ by one at most. With
//     range this holds for each topic by itself, and topics with as many
//     partitions and the same subscribers are co-partitioned: who reads
//     partition 3 of one reads partition 3 of all.
//  3. Stickiness. A member keeps what it has unless 1 or 2 demand otherwise.
//  4. Racks. What has to move goes to a member in a rack with a replica of it,
//     where there is one with room, and what is badly placed moves first.
//     Nothing moves for its rack alone: a move costs more than the traffic that
//     it saves for as long as groups change.
package assign
