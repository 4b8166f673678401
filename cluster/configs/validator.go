package configs

import (
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
)

// Validator limits a config's values beyond their type.
type Validator struct {
	// Text says what is allowed, as it goes on from "must be a whole number
	// of bytes, ".
	Text string
	// Check returns why a parsed value is refused; nil allows all.
	Check func(value any) error
}

func number(value any) float64 {
	switch v := value.(type) {
	case int32:
		return float64(v)
	case int16:
		return float64(v)
	case int64:
		return float64(v)
	case float64:
		return v
	default:
		panic(fmt.Sprintf("configs: a range for a value of type %T", value))
	}
}

// atLeast allows numbers from low on.
func atLeast(low int64) Validator {
	return Validator{
		Text: fmt.Sprintf("at least %d", low),
		Check: func(v any) error {
			if number(v) < float64(low) {
				return fmt.Errorf("it is below %d", low)
			}
			return nil
		},
	}
}

// atLeastOrNone allows numbers from low on and -1, which means what the text
// says.
func atLeastOrNone(low int64, none string) Validator {
	return Validator{
		Text: fmt.Sprintf("at least %d, or -1: %s", low, none),
		Check: func(v any) error {
			if n := number(v); n != -1 && n < float64(low) {
				return fmt.Errorf("it is below %d and not -1", low)
			}
			return nil
		},
	}
}

// between allows numbers from low to high.
func between(low, high float64) Validator {
	text := func(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
	return Validator{
		Text: "from " + text(low) + " to " + text(high),
		Check: func(v any) error {
			if n := number(v); math.IsNaN(n) || n < low || n > high {
				return fmt.Errorf("it is not from %s to %s", text(low), text(high))
			}
			return nil
		},
	}
}

// oneOf allows the texts named.
func oneOf(allowed ...string) Validator {
	return Validator{
		Text: "one of " + strings.Join(allowed, ", "),
		Check: func(v any) error {
			if !slices.Contains(allowed, v.(string)) {
				return fmt.Errorf("it is not one of %s", strings.Join(allowed, ", "))
			}
			return nil
		},
	}
}

// listOf allows lists of the texts named, each once at most, that are not empty.
func listOf(allowed ...string) Validator {
	return Validator{
		Text: "a list of " + strings.Join(allowed, ", "),
		Check: func(v any) error {
			items := v.([]string)
			for i, item := range items {
				if !slices.Contains(allowed, item) {
					return fmt.Errorf("%q is not one of %s", clip(item), strings.Join(allowed, ", "))
				}
				if slices.Contains(items[:i], item) {
					return fmt.Errorf("it names %s twice", item)
				}
			}
			if len(items) == 0 {
				return fmt.Errorf("it is empty")
			}
			return nil
		},
	}
}

// only allows one value, given as the config's text, and tells why.
func only(allowed, reason string) Validator {
	shown := allowed
	if shown == "" {
		shown = "empty"
	}
	return Validator{
		Text: "only " + shown + ": " + reason,
		Check: func(v any) error {
			if Format(v) != allowed {
				return fmt.Errorf("only %s is supported: %s", shown, reason)
			}
			return nil
		},
	}
}

// gzipLevel is Java's range of Deflater levels.
var gzipLevel = Validator{
	Text: "from 1 to 9, or -1: the encoder's default",
	Check: func(v any) error {
		if n := number(v); n != -1 && (n < 1 || n > 9) {
			return fmt.Errorf("it is not from 1 to 9 and not -1")
		}
		return nil
	},
}

// cleanupPolicy allows deletion, compaction, or both.
var cleanupPolicy = Validator{
	Text: "delete, compact, or both",
	Check: func(v any) error {
		for _, item := range v.([]string) {
			switch item {
			case "delete", "compact":
			default:
				return fmt.Errorf("%q is not one of delete, compact", clip(item))
			}
		}
		if len(v.([]string)) == 0 {
			return fmt.Errorf("an empty policy keeps records for ever, which Fanfold says with retention.ms=-1 and retention.bytes=-1")
		}
		return nil
	},
}

// hostPortOrOff allows an address, or off or nothing.
var hostPortOrOff = Validator{Text: "host:port, or off", Check: func(v any) error {
	if v.(string) == "" || v.(string) == "off" {
		return nil
	}
	return checkAddress(v.(string))
}}

// addresses allows Kafka's lists of listeners: host:port, or NAME://host:port.
var addresses = Validator{Text: "host:port or PLAINTEXT://host:port", Check: func(v any) error {
	for _, item := range v.([]string) {
		name, address, named := strings.Cut(item, "://")
		if !named {
			address = item
		} else if name != "PLAINTEXT" {
			return fmt.Errorf("the listener %q is of a kind that is not built yet: PLAINTEXT is", clip(name))
		}
		if err := checkAddress(address); err != nil {
			return err
		}
	}
	return nil
}}

// oneDirectory allows a single path.
var oneDirectory = Validator{Text: "one directory", Check: func(v any) error {
	switch path := v.(string); {
	case path == "":
		return errors.New("it is empty")
	case strings.Contains(path, ","):
		return errors.New("a node has one data directory")
	default:
		return nil
	}
}}

func checkAddress(address string) error {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%q is no host:port", clip(address))
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("port %q is not from 0 to 65535", clip(port))
	} else if strconv.FormatUint(n, 10) != port {
		return fmt.Errorf("port %q is written oddly", clip(port))
	}
	return nil
}

// clip bounds how much of a caller's text a message repeats.
func clip(s string) string {
	if len(s) > maxShown {
		return s[:maxShown] + "…"
	}
	return s
}
