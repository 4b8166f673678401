package protocol

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/fanfold/fanfold/protocol/record"
)

func TestErrorOf(t *testing.T) {
	cases := []struct {
		err     error
		code    int16
		message string
	}{
		{nil, 0, ""},
		{Errorf(kerr.InvalidTopicException, "name %q", "a/b"), 17, `name "a/b"`},
		{fmt.Errorf("create topic: %w", Errorf(kerr.InvalidConfig, "retention.ms is 7d")), 40, "retention.ms is 7d"},
		{kerr.NotLeaderForPartition, 6, kerr.NotLeaderForPartition.Description},
		{fmt.Errorf("append batch: %w", kerr.NotLeaderForPartition), 6, "append batch: " + kerr.NotLeaderForPartition.Error()},
		{&record.Error{Kind: record.Corrupt, Text: "CRC"}, 2, "CRC"},
		{&record.Error{Kind: record.InvalidRecord, Text: "count"}, 87, "count"},
		{&record.Error{Kind: record.UnsupportedCodec, Text: "codec 5"}, 76, "codec 5"},
		{&record.Error{Kind: record.TooLarge, Text: "bomb"}, 10, "bomb"},
		{fmt.Errorf("wait: %w", context.DeadlineExceeded), 7, "wait: context deadline exceeded"},
		{errors.New("disk"), -1, "disk"},
	}
	for _, c := range cases {
		if code, message := ErrorOf(c.err); code != c.code || message != c.message {
			t.Errorf("ErrorOf(%v) = %d, %q; want %d, %q", c.err, code, message, c.code, c.message)
		}
	}
	err := error(Errorf(kerr.InvalidConfig, "x is %d", 1))
	if err.Error() != "INVALID_CONFIG: x is 1" || !errors.Is(err, kerr.InvalidConfig) {
		t.Errorf("%v does not name or wrap its code", err)
	}
}
