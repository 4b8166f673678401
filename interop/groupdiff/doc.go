// Package groupdiff holds the differential test of consumer groups: it sends
// the same sequences of requests to Fanfold and to franz-go's kfake, an
// independent reading of Apache Kafka's coordinator, and compares all answers.
//
// Sequences are written by hand, for what every coordinator has to get right,
// and made at random from a seed that is printed. Each member has a connection
// of its own. Ids that brokers choose are compared by the role they play, and
// who gets which partition by how many.
//
// The two are meant to differ in places: known_test.go names each of them, with
// its reason. A difference that is not there fails the test, and so does one
// that is there and is not seen.
package groupdiff
