// Package bench puts load on brokers that speak Kafka's protocol and measures
// what comes of it: [Produce] writes, [Consume] reads, [Latency] follows each
// record from the moment it was due to the moment a reader has it, alone or
// while others write, and [Exchange] has many connections wait for each
// record's acknowledgement.
//
// Times are counted from when a record was due by the schedule, not from when
// the client came to send it: a broker that stalls is charged for all that had
// to wait meanwhile (no coordinated omission). Every record carries the time it
// was due and a number of its own, and every run adds up a checksum over what
// was acknowledged and what was read ([Sum]), so that a fast broker that loses
// or changes records is found out.
//
// Each call owns its clients and goroutines and has ended them when it
// returns. Clients are franz-go's, with its defaults but for what a [Load]
// sets; [Exchange] writes its requests itself, because a client library's own
// work would outweigh the broker's there.
package bench
