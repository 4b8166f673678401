package cluster

import (
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/fanfold/fanfold/protocol"
)

// MaxTopicName is how long a topic's name may be in bytes, so that a
// directory's name has room for it and the partition's number.
const MaxTopicName = 249

// ValidateTopicName returns INVALID_TOPIC_EXCEPTION unless the name is one that
// Kafka allows: 1 to 249 of a-z, A-Z, 0-9, '.', '_' and '-', but not "." and
// "..".
func ValidateTopicName(name string) error { return nameError(name) }

func nameError(name string) error {
	switch {
	case name == "":
		return protocol.Errorf(kerr.InvalidTopicException, "a topic's name may not be empty")
	case name == "." || name == "..":
		return protocol.Errorf(kerr.InvalidTopicException, "a topic's name may not be %q", name)
	case len(name) > MaxTopicName:
		return protocol.Errorf(kerr.InvalidTopicException,
			"a topic's name of %d characters is longer than %d: %q…", len(name), MaxTopicName, name[:32])
	}
	for at := range len(name) {
		if !legalInName(name[at]) {
			return protocol.Errorf(kerr.InvalidTopicException,
				"topic name %q has an illegal character at %d: letters and digits of ASCII, '.', '_' and '-' are legal", name, at)
		}
	}
	return nil
}

func legalInName(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return true
	default:
		return c == '.' || c == '_' || c == '-'
	}
}

// foldName maps names that collide to one.
func foldName(name string) string { return strings.ReplaceAll(name, ".", "_") }
