package replication

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"
	"sync"

	"github.com/fanfold/fanfold/internal/vfs"
)

// The vote file holds the terms and votes of all partition groups of a node.
//
//	header   "FFVOTES" and the format version            8 bytes
//	         length of the header and the first frame    uint64
//	         CRC-32C of the two                          uint32
//	frame    its own position in the file                uint64
//	         length of its records                       uint32
//	         CRC-32C of the two and the records          uint32
//	         records
//	record   topic id                                    16 bytes
//	         partition                                   int32
//	         current term                                uint64
//	         term of the last vote                       uint64
//	         length of the candidate, itself             uint16, bytes
//
// All numbers are big-endian. The last record of a group counts; one with
// flagForget instead of a term forgets the group.
//
// A frame is what was written at once. It is written only when the one before
// it is synced, so a whole frame proves that all before it was durable: damage
// in front of one, or within the length that the header names, is an error, for
// a forgotten vote may be given twice. A damaged end behind which nothing whole
// follows was torn by a crash before anybody was told of it; it is cut. Opening
// and closing rewrite the file into one frame, so that a file at rest shows any
// damage.
const (
	votesMagic       = "FFVOTES"
	votesVersion     = 1
	votesHeaderBytes = 8 + 8 + 4
	frameHeadBytes   = 8 + 4 + 4
	voteFixedBytes   = 16 + 4 + 8 + 8 + 2
	voteMaxCandidate = 1 << 10
	votesMaxBytes    = 1 << 30
	flagForget       = ^uint64(0)

	// votesCompactFactor: the file is rewritten when it holds this many times
	// more records than there are groups (and votesCompactMin more).
	votesCompactFactor = 4
	votesCompactMin    = 4096
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// GroupID names a partition's Raft group.
type GroupID struct {
	Topic     [16]byte
	Partition int32
}

func (id GroupID) String() string { return fmt.Sprintf("%x-%d", id.Topic, id.Partition) }

// vote is what Raft asks to be remembered of one group.
type vote struct {
	term      uint64
	votedTerm uint64
	candidate string
}

// VoteFile is the stable store of all partition groups of a node: append-only,
// checksummed, group-committed. Safe for concurrent use.
type VoteFile struct {
	fs   vfs.FS
	dir  string
	path string

	compactMin int // votesCompactMin, unless a test wants less

	mu struct {
		sync.Mutex
		cond    *sync.Cond
		file    vfs.File
		size    int64 // where the next record goes
		records int   // in the file, dead ones too
		votes   map[GroupID]vote
		frames  int    // appended since the file was rewritten
		pending []byte // the next frame: room for its head, and records
		queued  uint64 // sequence of the newest record in pending
		synced  uint64 // sequence up to which records are durable
		busy    bool   // somebody writes and syncs
		err     error  // sticky: after a failed write or sync
	}
}

// OpenVotes opens the vote file in dir, or makes an empty one.
func OpenVotes(fsys vfs.FS, dir string) (*VoteFile, error) {
	v := &VoteFile{fs: fsys, dir: dir, path: filepath.Join(dir, "votes"), compactMin: votesCompactMin}
	v.mu.cond = sync.NewCond(&v.mu)
	v.mu.votes = map[GroupID]vote{}
	data, err := vfs.ReadFile(fsys, v.path, votesMaxBytes)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return v, v.rewrite()
	case err != nil:
		return nil, fmt.Errorf("read votes: %w", err)
	}
	if err := v.load(data); err != nil {
		return nil, fmt.Errorf("read votes: %w", err)
	}
	// What was read may not be durable yet (after kill -9), and a torn tail
	// must not come back: a fresh copy is both.
	if err := v.rewrite(); err != nil {
		return nil, err
	}
	return v, nil
}

// load fills the map from the file's bytes.
func (v *VoteFile) load(data []byte) error {
	if len(data) < votesHeaderBytes || string(data[:7]) != votesMagic {
		return fmt.Errorf("%s: not a vote file", v.path)
	}
	if data[7] != votesVersion {
		return fmt.Errorf("%s: format version %d, this program knows %d: use a newer fanfold", v.path, data[7], votesVersion)
	}
	if crc32.Checksum(data[:16], castagnoli) != binary.BigEndian.Uint32(data[16:]) {
		return fmt.Errorf("%s: damaged at byte 0: header's checksum is wrong", v.path)
	}
	whole := binary.BigEndian.Uint64(data[8:])
	if whole > uint64(len(data)) {
		return fmt.Errorf("%s: damaged at byte %d: file is shorter than the %d bytes written at once", v.path, len(data), whole)
	}
	for pos := votesHeaderBytes; pos < len(data); {
		records, err := decodeFrame(data, pos)
		if err == nil {
			err = v.loadRecords(records)
		} else if uint64(pos) >= whole && !laterFrame(data, pos) {
			break // torn: never acknowledged
		}
		if err != nil {
			return fmt.Errorf("%s: damaged at byte %d: %w; restore the file, or replace this node", v.path, pos, err)
		}
		pos += frameHeadBytes + len(records)
	}
	return nil
}

func (v *VoteFile) loadRecords(b []byte) error {
	for len(b) > 0 {
		id, vt, n, err := decodeVote(b)
		if err != nil {
			return err
		}
		if vt.term == flagForget {
			delete(v.mu.votes, id)
		} else {
			v.mu.votes[id] = vt
		}
		b = b[n:]
	}
	return nil
}

// sealFrame fills in the head of the frame b that is to stand at pos.
func sealFrame(b []byte, pos int64) {
	binary.BigEndian.PutUint64(b, uint64(pos))
	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-frameHeadBytes))
	binary.BigEndian.PutUint32(b[12:], frameSum(b))
}

func frameSum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[:12], castagnoli), castagnoli, b[frameHeadBytes:])
}

// decodeFrame returns the records of the frame at pos of the file's bytes.
func decodeFrame(data []byte, pos int) ([]byte, error) {
	b := data[pos:]
	if len(b) < frameHeadBytes {
		return nil, errors.New("frame is cut short")
	}
	if at := binary.BigEndian.Uint64(b); at != uint64(pos) {
		return nil, fmt.Errorf("frame says that it stands at byte %d", at)
	}
	n := binary.BigEndian.Uint32(b[8:])
	if uint64(n) > uint64(len(b)-frameHeadBytes) {
		return nil, fmt.Errorf("frame of %d bytes is cut short", n)
	}
	b = b[:frameHeadBytes+int(n)]
	if frameSum(b) != binary.BigEndian.Uint32(b[12:]) {
		return nil, errors.New("frame's checksum is wrong")
	}
	return b[frameHeadBytes:], nil
}

// laterFrame tells whether a whole frame stands anywhere behind pos.
func laterFrame(data []byte, pos int) bool {
	for i := pos + 1; i+frameHeadBytes <= len(data); i++ {
		if _, err := decodeFrame(data, i); err == nil {
			return true
		}
	}
	return false
}

func appendVote(b []byte, id GroupID, vt vote) []byte {
	b = append(b, id.Topic[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(id.Partition))
	b = binary.BigEndian.AppendUint64(b, vt.term)
	b = binary.BigEndian.AppendUint64(b, vt.votedTerm)
	b = binary.BigEndian.AppendUint16(b, uint16(len(vt.candidate)))
	return append(b, vt.candidate...)
}

// decodeVote reads one record from the head of b and returns its length.
func decodeVote(b []byte) (id GroupID, vt vote, n int, err error) {
	if len(b) < voteFixedBytes {
		return id, vt, 0, errors.New("record is cut short")
	}
	candidate := int(binary.BigEndian.Uint16(b[36:]))
	n = voteFixedBytes + candidate
	if candidate > voteMaxCandidate || len(b) < n {
		return id, vt, 0, fmt.Errorf("candidate of %d bytes is cut short", candidate)
	}
	copy(id.Topic[:], b)
	id.Partition = int32(binary.BigEndian.Uint32(b[16:]))
	vt.term = binary.BigEndian.Uint64(b[20:])
	vt.votedTerm = binary.BigEndian.Uint64(b[28:])
	vt.candidate = string(b[voteFixedBytes:n])
	return id, vt, n, nil
}

// rewrite replaces the file by one with only the last record of each group.
// The caller holds no lock on Open, and is the busy writer otherwise.
func (v *VoteFile) rewrite() error {
	b := append([]byte(votesMagic), votesVersion)
	b = append(b, make([]byte, votesHeaderBytes+frameHeadBytes-len(b))...)
	for id, vt := range v.mu.votes {
		b = appendVote(b, id, vt)
	}
	sealFrame(b[votesHeaderBytes:], votesHeaderBytes)
	binary.BigEndian.PutUint64(b[8:], uint64(len(b)))
	binary.BigEndian.PutUint32(b[16:], crc32.Checksum(b[:16], castagnoli))
	if err := vfs.WriteFileAtomic(v.fs, v.dir, v.path, b); err != nil {
		return fmt.Errorf("rewrite votes: %w", err)
	}
	f, err := v.fs.OpenReadWrite(v.path)
	if err != nil {
		return fmt.Errorf("rewrite votes: %w", err)
	}
	if v.mu.file != nil {
		v.mu.file.Close()
	}
	v.mu.file, v.mu.size, v.mu.records, v.mu.frames = f, int64(len(b)), len(v.mu.votes), 0
	return nil
}

// get returns what is remembered of a group, and whether anything is.
func (v *VoteFile) get(id GroupID) (vote, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	vt, ok := v.mu.votes[id]
	return vt, ok
}

// set makes a group's term and vote durable. A value that is durable already
// costs nothing.
func (v *VoteFile) set(id GroupID, vt vote) error {
	if len(vt.candidate) > voteMaxCandidate {
		return fmt.Errorf("write vote: candidate of %d bytes", len(vt.candidate))
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if old, ok := v.mu.votes[id]; ok && old == vt {
		if v.mu.err != nil {
			return v.mu.err
		}
		return v.awaitLocked(v.mu.queued) // it may be under way
	}
	return v.appendLocked(id, vt)
}

// Forget drops what is remembered of a group whose replica was deleted.
func (v *VoteFile) Forget(id GroupID) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, ok := v.mu.votes[id]; !ok {
		return v.mu.err
	}
	return v.appendLocked(id, vote{term: flagForget})
}

// appendLocked queues a record and waits until it is durable.
func (v *VoteFile) appendLocked(id GroupID, vt vote) error {
	if v.mu.err != nil {
		return v.mu.err
	}
	if vt.term == flagForget {
		delete(v.mu.votes, id)
	} else {
		v.mu.votes[id] = vt
	}
	if len(v.mu.pending) == 0 {
		v.mu.pending = make([]byte, frameHeadBytes, 8*(frameHeadBytes+voteFixedBytes))
	}
	v.mu.pending = appendVote(v.mu.pending, id, vt)
	v.mu.records++
	v.mu.queued++
	return v.awaitLocked(v.mu.queued)
}

// awaitLocked waits until all up to a record is durable. One of those who wait
// writes and syncs for all that gathered.
func (v *VoteFile) awaitLocked(record uint64) error {
	for v.mu.synced < record && v.mu.err == nil {
		if v.mu.busy {
			v.mu.cond.Wait()
			continue
		}
		v.flushLocked()
	}
	if v.mu.synced >= record {
		return nil
	}
	return v.mu.err
}

// flushLocked writes and syncs all that is pending, as one frame, releasing
// the lock while it does.
func (v *VoteFile) flushLocked() {
	frame, upTo, at, f := v.mu.pending, v.mu.queued, v.mu.size, v.mu.file
	v.mu.pending, v.mu.busy = nil, true
	compact := v.mu.records > v.compactMin+votesCompactFactor*len(v.mu.votes)
	var err error
	if compact {
		err = v.rewrite() // the map is read under the lock; rare and short
	} else {
		v.mu.Unlock()
		sealFrame(frame, at)
		if _, err = f.WriteAt(frame, at); err == nil {
			err = f.Sync()
		}
		v.mu.Lock()
		v.mu.size = at + int64(len(frame))
		v.mu.frames++
	}
	v.mu.busy = false
	if err != nil {
		v.mu.err = fmt.Errorf("write votes: %w", err)
	} else {
		v.mu.synced = upTo
	}
	v.mu.cond.Broadcast()
}

// failure is the error that closed the file to writers, or nil.
func (v *VoteFile) failure() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.mu.err
}

// Close closes the file; everything that was acknowledged is durable already.
// It is rewritten into one frame first, which shows any damage to it.
func (v *VoteFile) Close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	for v.mu.busy {
		v.mu.cond.Wait()
	}
	if v.mu.err == nil {
		if v.mu.frames > 0 {
			// Where this fails the file stays as it was, whole as well.
			_ = v.rewrite()
		}
		v.mu.err = errVotesClosed
	}
	return v.mu.file.Close()
}

var errVotesClosed = errors.New("vote file is closed")

// errNotFound has the text that hashicorp/raft compares with, bare.
var errNotFound = errors.New("not found")

// stableStore is one group's raft.StableStore in the vote file. The term of a
// vote is written together with its candidate: raft sets them one behind the
// other and has not voted before the second.
type stableStore struct {
	votes     *VoteFile
	id        GroupID
	fail      func(error) // marks the replica failed; does not return
	votedTerm uint64      // set, not yet written; raft's main goroutine only
}

var (
	keyCurrentTerm  = "CurrentTerm"
	keyLastVoteTerm = "LastVoteTerm"
	keyLastVoteCand = "LastVoteCand"
)

func (s *stableStore) Set(key, val []byte) error {
	if string(key) != keyLastVoteCand {
		return fmt.Errorf("stable store has no key %q", key)
	}
	vt, _ := s.votes.get(s.id)
	vt.votedTerm, vt.candidate = s.votedTerm, string(val)
	return s.write(vt)
}

func (s *stableStore) Get(key []byte) ([]byte, error) {
	vt, ok := s.votes.get(s.id)
	if string(key) != keyLastVoteCand || !ok || vt.candidate == "" {
		return nil, errNotFound
	}
	return []byte(vt.candidate), nil
}

func (s *stableStore) SetUint64(key []byte, val uint64) error {
	switch string(key) {
	case keyCurrentTerm:
		vt, _ := s.votes.get(s.id)
		vt.term = val
		return s.write(vt)
	case keyLastVoteTerm:
		s.votedTerm = val
		return nil
	default:
		return fmt.Errorf("stable store has no key %q", key)
	}
}

func (s *stableStore) GetUint64(key []byte) (uint64, error) {
	vt, ok := s.votes.get(s.id)
	if !ok {
		return 0, errNotFound
	}
	switch string(key) {
	case keyCurrentTerm:
		return vt.term, nil
	case keyLastVoteTerm:
		return vt.votedTerm, nil
	default:
		return 0, errNotFound
	}
}

// write makes vt durable, or fails the replica: raft panics on an error here.
func (s *stableStore) write(vt vote) error {
	if err := s.votes.set(s.id, vt); err != nil {
		s.fail(err)
		return err
	}
	return nil
}
