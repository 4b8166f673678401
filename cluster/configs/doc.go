// Package configs is the table of all settings: Kafka's configs of topics and
// brokers under Kafka's names, and the few that are Fanfold's own.
//
// A [Definition] says everything about a config once: type, unit, default,
// allowed values, the broker configs that govern a topic config's default, and
// when it can change. Parsing, validation, DescribeConfigs, the command line's
// help and docs/configuration.md all come from it.
//
// Two rules keep the table honest. A name is here only if something in Fanfold
// obeys it, and a value is accepted only if Fanfold does what Kafka would do
// with it; any other value is refused with the reason. So "preallocate" takes
// false and nothing else.
//
// Values stand in layers, the first that has one wins: the topic's own
// override, the node's dynamic config, the cluster's dynamic default, what the
// node was started with (flag, environment, file), the default of the table.
//
// The package has no state, starts no goroutines and does no I/O.
package configs
