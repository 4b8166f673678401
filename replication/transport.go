package replication

import (
	"errors"
	"io"

	"github.com/hashicorp/raft"
)

// errNoPeers answers whatever a group of one voter would send.
var errNoPeers = errors.New("group has no other replicas")

// loneTransport is the transport of a group of one voter: it has nobody to
// send to. Its consumer channel is how an election is asked for.
type loneTransport struct {
	id       raft.ServerID
	addr     raft.ServerAddress
	consumer chan raft.RPC
}

var _ raft.WithPreVote = (*loneTransport)(nil)

func newLoneTransport(id raft.ServerID) *loneTransport {
	return &loneTransport{id: id, addr: raft.ServerAddress(id), consumer: make(chan raft.RPC, 1)}
}

// stand makes the group's raft stand for election at once: it is what a leader
// that hands over would send (raft.md, "Time").
func (t *loneTransport) stand() {
	rpc := raft.RPC{
		Command: &raft.TimeoutNowRequest{RPCHeader: raft.RPCHeader{
			ProtocolVersion: raft.ProtocolVersionMax,
			ID:              []byte(t.id),
			Addr:            []byte(t.addr),
		}},
		RespChan: make(chan raft.RPCResponse, 1),
	}
	select {
	case t.consumer <- rpc:
	default: // one is under way
	}
}

func (t *loneTransport) Consumer() <-chan raft.RPC     { return t.consumer }
func (t *loneTransport) LocalAddr() raft.ServerAddress { return t.addr }

func (t *loneTransport) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, raft.ErrPipelineReplicationNotSupported
}

func (t *loneTransport) AppendEntries(raft.ServerID, raft.ServerAddress, *raft.AppendEntriesRequest, *raft.AppendEntriesResponse) error {
	return errNoPeers
}

func (t *loneTransport) RequestVote(raft.ServerID, raft.ServerAddress, *raft.RequestVoteRequest, *raft.RequestVoteResponse) error {
	return errNoPeers
}

func (t *loneTransport) RequestPreVote(raft.ServerID, raft.ServerAddress, *raft.RequestPreVoteRequest, *raft.RequestPreVoteResponse) error {
	return errNoPeers
}

func (t *loneTransport) InstallSnapshot(raft.ServerID, raft.ServerAddress, *raft.InstallSnapshotRequest, *raft.InstallSnapshotResponse, io.Reader) error {
	return errNoPeers
}

func (t *loneTransport) TimeoutNow(raft.ServerID, raft.ServerAddress, *raft.TimeoutNowRequest, *raft.TimeoutNowResponse) error {
	return errNoPeers
}

func (t *loneTransport) EncodePeer(_ raft.ServerID, addr raft.ServerAddress) []byte {
	return []byte(addr)
}
func (t *loneTransport) DecodePeer(b []byte) raft.ServerAddress { return raft.ServerAddress(b) }
func (t *loneTransport) SetHeartbeatHandler(func(raft.RPC))     {}
