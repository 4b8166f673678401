// Package interop runs other people's Kafka clients against a broker and
// checks, byte for byte, that what one of them wrote is what another reads.
//
// It is a module of its own so that the clients it needs (sarama, kafka-go)
// never become dependencies of Fanfold. The clients are small programs under
// clients/, one a client library, with the same verbs (see package driver);
// the tests in this folder start a broker, run them, and compare.
//
// The broker is Fanfold, or Apache Kafka with INTEROP_BROKER=kafka: a check
// that holds for Apache Kafka and for Fanfold alike tests the protocol and not
// our reading of it. README.md says how to run it; run.sh does everything.
//
// Environment:
//
//	INTEROP_BROKER   fanfold (default) or kafka
//	FANFOLD_BIN      the fanfold binary; built from ../cmd/fanfold when empty;
//	                 none, with another broker, leaves fanfold out
//	FANFOLD_INTEROP  quick (default: part of Go's source tree) or full
package interop
