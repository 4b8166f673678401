package replication

import (
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/fanfold/fanfold/log"
)

// Kinds of journal entries that are Raft's own or this package's; those from 16
// on are the [Machine]'s commands. The numbers are on disk: they never change
// their meaning.
const (
	KindBatch                  = log.KindBatch // a record batch, in the segments
	KindNoop          log.Kind = 1             // raft.LogNoop
	KindConfiguration log.Kind = 2             // raft.LogConfiguration
	KindBarrier       log.Kind = 3             // raft.LogBarrier
	KindVoid          log.Kind = 4             // a proposal that lost its term
)

// raftType is the Raft type that an entry of kind k has.
func raftType(k log.Kind) raft.LogType {
	switch k {
	case KindNoop:
		return raft.LogNoop
	case KindConfiguration:
		return raft.LogConfiguration
	case KindBarrier:
		return raft.LogBarrier
	default:
		return raft.LogCommand
	}
}

// kindOf is the kind under which l is stored. Commands carry theirs in the
// first byte of Extensions.
func kindOf(l *raft.Log) (log.Kind, error) {
	switch l.Type {
	case raft.LogNoop:
		return KindNoop, nil
	case raft.LogConfiguration:
		return KindConfiguration, nil
	case raft.LogBarrier:
		return KindBarrier, nil
	case raft.LogCommand:
		if len(l.Extensions) == 0 {
			return 0, fmt.Errorf("raft command at index %d has no kind", l.Index)
		}
		return log.Kind(l.Extensions[0]), nil
	default:
		return 0, fmt.Errorf("raft log type %d at index %d is not known", l.Type, l.Index)
	}
}
