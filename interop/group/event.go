package group

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// What can happen to a member.
const (
	Assigned  = "assigned"  // Partitions were added to the member's, in Generation
	Revoked   = "revoked"   // the member gave Partitions up and committed what it had handled
	Lost      = "lost"      // Partitions were taken: the member was thrown out of the group
	Handled   = "record"    // Number, of Partition, at Offset
	Committed = "committed" // Offsets, acknowledged by the broker
	Described = "described" // State, Members, Assignments, Listed, Assignor and Offsets, or Error, by the client's own admin API
	Left      = "left"      // the member has left the group in order
	Killed    = "killed"    // written by the test, once the process has ended
)

// Event is one line of the log.
type Event struct {
	Event      string `json:"event"`
	Member     string `json:"member"`
	Generation int32  `json:"generation,omitempty"` // or the member's epoch (KIP-848); 0: not shown

	Partitions []int32 `json:"partitions,omitempty"`

	Partition int32 `json:"partition,omitempty"`
	Offset    int64 `json:"offset,omitempty"`
	Number    int64 `json:"number,omitempty"`

	Offsets map[int32]int64 `json:"offsets,omitempty"` // by partition: the next to be read

	State       string `json:"state,omitempty"`
	Members     int    `json:"members,omitempty"`
	Assignments int    `json:"assignments,omitempty"` // partitions that the members have
	Listed      bool   `json:"listed,omitempty"`      // the group is in the list of groups
	Assignor    string `json:"assignor,omitempty"`    // where the client shows it
	Error       string `json:"error,omitempty"`
}

// Line is the event as a line of the log.
func (e Event) Line() []byte {
	line, err := json.Marshal(e)
	if err != nil {
		panic(fmt.Sprintf("marshal %+v: %v", e, err)) // nothing in it can fail
	}
	return append(line, '\n')
}

// Log reads a log of events that grows.
type Log struct {
	file *os.File
	rest []byte // of a line that is not complete
}

// OpenLog opens the log at path from its beginning.
func OpenLog(path string) (*Log, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open log of a group: %w", err)
	}
	return &Log{file: file}, nil
}

// Read returns the events that came since the last call.
func (l *Log) Read() ([]Event, error) {
	content, err := io.ReadAll(l.file)
	if err != nil {
		return nil, fmt.Errorf("read log of a group: %w", err)
	}
	content = append(l.rest, content...)
	end := bytes.LastIndexByte(content, '\n') + 1
	l.rest = bytes.Clone(content[end:])
	var events []Event
	for line := range bytes.Lines(content[:end]) {
		var e Event
		if err := json.Unmarshal(line, &e); err != nil {
			return events, errors.Join(fmt.Errorf("a line of the log of a group is no event: %q", line), err)
		}
		events = append(events, e)
	}
	return events, nil
}

// Close closes the file.
func (l *Log) Close() error { return l.file.Close() }
