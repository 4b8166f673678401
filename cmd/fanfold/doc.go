// Command fanfold is the broker and its command line in one binary.
//
// run is the whole program but for signals and the process: it builds the tree
// of verbs, runs one, and turns its error into the exit status and one line on
// standard error. One file holds one verb; newRoot names them all. The client
// verbs speak Kafka's protocol to any broker (client.go) and hold nothing of
// the server.
//
// Exit status: 0, or 1 where the work failed, or 2 where the command was
// written wrongly (an unknown verb, flag or value): see exit.go.
//
// Goroutines: reading standard input runs in one that ends with the input, or
// with the process where the input never ends; a progress line's ends at stop.
package main
