package replication

import "github.com/fanfold/fanfold/log"

// Machine is the state machine of a partition replica. Attach, Restore, Stored,
// Apply and Applied are called from one goroutine at a time, and in the order
// of the log; Snapshot, Dropped, SteppedDown and Failed may be called beside
// them. None may block for long.
type Machine interface {
	// Attach gives the log that is read from now on. It is called before the
	// first entry of each Raft instance is applied.
	Attach(l *log.Log)

	// Restore replaces the state by what Snapshot returned, or by the empty
	// state of a new replica where state is nil. It returns the index up to
	// which the state has applied entries.
	Restore(state []byte) (applied uint64, err error)

	// Snapshot returns the state as of the newest applied index.
	Snapshot() []byte

	// Stored says that a proposal of this replica is durable in its own log.
	Stored(e log.EntryInfo, request any)

	// Apply says that an entry is committed. request is the proposal's where
	// this replica proposed it, nil otherwise.
	Apply(e log.EntryInfo, request any)

	// Applied ends a run of Stored and Apply calls: what they changed may be
	// shown.
	Applied()

	// LeaderStart is the command that opens this replica's term as leader. When
	// it is applied its request is not nil where this replica still leads in
	// that term, and nil where it is of the past or another's.
	LeaderStart() (kind log.Kind, payload []byte)

	// Dropped says that a proposal is not in the log, or that this replica
	// cannot say any more whether it will stay there.
	Dropped(request any, err error)

	// SteppedDown says that this replica does not lead any more. What it had
	// proposed is Dropped then.
	SteppedDown()

	// Failed says that the replica can write no more, until the next Attach.
	Failed(err error)
}
