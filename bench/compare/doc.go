//go:build linux

// Command compare measures Fanfold beside Apache Kafka, NATS JetStream and the
// floor (bench/floor) on one machine, in one run: a number without its rival
// from the same minutes says little on a machine that others share.
//
//	go run ./bench/compare                                    everything, in some 40 minutes
//	go run ./bench/compare -workloads produce-1k -runs 3      one workload
//	go run ./bench/compare -quick -systems fanfold,floor -out /tmp/quick   does everything work? two minutes
//	go run ./bench/compare -list                              the workloads and their targets
//	go run ./bench/compare -report                            only writes RESULTS.md again
//
// For each workload every system is started on the loopback address, warmed up
// with the workload itself (all but where the start is what is measured), and
// then the systems take turns: the order rotates from round to round. Between
// turns the topic is deleted and the file systems are synced, so that one
// system's unwritten pages are not another's burden. CPU time, memory and bytes
// written are the server process's own, from /proc, in the time that counts.
// Every run is verified: what the clients had acknowledged, by count and
// checksum, is what is read back; a run that fails this fails as a whole.
//
// Fanfold and the floor are built from the source tree. Apache Kafka's jars
// come from Maven Central, the JetStream server from its Go module; both are
// kept in the user's cache. What cannot be fetched or run is left out, and the
// results say so.
package main
