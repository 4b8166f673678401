package replication

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/fanfold/fanfold/internal/vfs"
)

// crashModes are all that a crash may leave.
var crashModes = []vfs.CrashMode{vfs.DropAll, vfs.KeepAll, vfs.Random}

func newMem(t testing.TB) *vfs.Mem {
	t.Helper()
	mem := vfs.NewMem(vfs.MemOptions{SectorBytes: 64})
	if err := mem.MkdirAll("/node"); err != nil {
		t.Fatal(err)
	}
	if err := mem.SyncDir("/"); err != nil {
		t.Fatal(err)
	}
	return mem
}

func openVotes(t testing.TB, fsys vfs.FS) *VoteFile {
	t.Helper()
	v, err := OpenVotes(fsys, "/node")
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func testGroup(n int) GroupID { return GroupID{Topic: [16]byte{byte(n), 7}, Partition: int32(n)} }

// testVote is the vote of a term; equal terms have equal votes.
func testVote(term uint64) vote {
	vt := vote{term: term}
	if term%2 == 0 {
		vt.votedTerm, vt.candidate = term, fmt.Sprintf("node-%d", term%5)
	}
	return vt
}

// voteCrash is a file system as a crash left it, and what was acknowledged
// before.
type voteCrash struct {
	at    string
	fs    *vfs.Mem
	acked map[GroupID]uint64
}

// verify opens what the crash left: no acknowledged term is gone, none was
// invented, and the file goes on.
func (c voteCrash) verify(t *testing.T, asked map[GroupID]uint64) {
	t.Helper()
	v, err := OpenVotes(c.fs, "/node")
	if err != nil {
		t.Fatalf("%s: %v", c.at, err)
	}
	for id, term := range c.acked {
		if vt, _ := v.get(id); vt.term < term {
			t.Fatalf("%s: group %v has term %d after the crash, %d was acknowledged", c.at, id, vt.term, term)
		}
	}
	for id, vt := range v.mu.votes {
		if vt != testVote(vt.term) || vt.term > asked[id] {
			t.Fatalf("%s: group %v has %+v, which was never set", c.at, id, vt)
		}
		if err := v.set(id, testVote(vt.term+1)); err != nil {
			t.Fatalf("%s: %v", c.at, err)
		}
	}
	if err := v.Close(); err != nil {
		t.Fatalf("%s: %v", c.at, err)
	}
}

// The process ends, or power is lost, before each single operation of a run
// with rewrites in it: what was acknowledged is remembered.
func TestVotesCrashAtEveryOperation(t *testing.T) {
	mem := newMem(t)
	acked, asked := map[GroupID]uint64{}, map[GroupID]uint64{}
	var crashes []voteCrash
	watched := vfs.NewErrors(mem, func(op vfs.Op) error {
		for i, mode := range crashModes {
			rng := rand.New(rand.NewPCG(uint64(op.Seq), uint64(i)))
			crashes = append(crashes, voteCrash{
				at: fmt.Sprintf("%v before operation %d (%v %s)", mode, op.Seq, op.Kind, op.Path),
				fs: mem.CrashClone(mode, rng), acked: maps.Clone(acked),
			})
		}
		return nil
	})
	v := openVotes(t, watched)
	v.compactMin = 5
	for i := range 60 {
		id := testGroup(i % 4)
		asked[id]++
		if err := v.set(id, testVote(asked[id])); err != nil {
			t.Fatal(err)
		}
		acked[id] = asked[id]
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	if renames := watched.Count(vfs.OpRename); renames < 3 {
		t.Fatalf("%d renames: the file was not rewritten under way", renames)
	}
	for _, c := range crashes {
		c.verify(t, asked)
	}
}

// Many groups vote at once, so that frames span sectors, and power is lost at
// any sync: torn frames are cut, what was acknowledged stays.
func TestVotesCrashUnderLoad(t *testing.T) {
	mem := newMem(t)
	var mu sync.Mutex // of what follows
	acked, asked := map[GroupID]uint64{}, map[GroupID]uint64{}
	var crashes []voteCrash
	watched := vfs.NewErrors(mem, func(op vfs.Op) error {
		if op.Kind != vfs.OpSync && op.Kind != vfs.OpSyncDir {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		if len(crashes) < 400 {
			rng := rand.New(rand.NewPCG(uint64(op.Seq), 5))
			crashes = append(crashes, voteCrash{
				at: fmt.Sprintf("before operation %d (%v %s)", op.Seq, op.Kind, op.Path),
				fs: mem.CrashClone(vfs.Random, rng), acked: maps.Clone(acked),
			})
		}
		return nil
	})
	v := openVotes(t, watched)
	v.compactMin = 50
	var wg sync.WaitGroup
	for g := range 24 {
		wg.Go(func() {
			id := testGroup(g)
			for term := uint64(1); term <= 20; term++ {
				mu.Lock()
				asked[id] = term
				mu.Unlock()
				if err := v.set(id, testVote(term)); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				acked[id] = term
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range crashes {
		c.verify(t, asked)
	}
}

// What gathers while one sync runs goes with the next, and a group that sets
// again what it has set pays nothing.
func TestVotesGroupCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := vfs.NewGate(func(op vfs.Op) bool { return op.Kind == vfs.OpSync })
		gate.Open()
		fsys := vfs.NewErrors(newMem(t), gate.Inject)
		v := openVotes(t, fsys)
		before := fsys.Count(vfs.OpSync)
		gate.Shut()
		const groups = 64
		var wg sync.WaitGroup
		for g := range groups {
			wg.Go(func() {
				if err := v.set(testGroup(g), testVote(2)); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if v.mu.queued != groups {
			t.Fatalf("%d records are queued, want %d", v.mu.queued, groups)
		}
		same := make(chan error, 1)
		go func() { same <- v.set(testGroup(0), testVote(2)) }()
		synctest.Wait()
		select {
		case err := <-same:
			t.Fatalf("an equal value was acknowledged (%v) before the first was durable", err)
		default:
		}
		gate.Open()
		wg.Wait()
		if err := <-same; err != nil {
			t.Fatal(err)
		}
		if syncs := fsys.Count(vfs.OpSync) - before; syncs != 2 {
			t.Errorf("%d groups cost %d syncs, want 2", groups, syncs)
		}
		for g := range groups {
			if err := v.set(testGroup(g), testVote(2)); err != nil {
				t.Fatal(err)
			}
		}
		if syncs := fsys.Count(vfs.OpSync) - before; syncs != 2 {
			t.Errorf("equal values cost %d syncs", syncs-2)
		}
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// voteFileBytes makes a vote file of some frames; rest: it was closed.
func voteFileBytes(t testing.TB, rest bool) (data []byte, lastFrame int) {
	t.Helper()
	mem := newMem(t)
	v := openVotes(t, mem)
	for i := range 6 {
		lastFrame = int(v.mu.size)
		if err := v.set(testGroup(i%4), testVote(uint64(i+1))); err != nil {
			t.Fatal(err)
		}
	}
	if rest {
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
	}
	data, err := vfs.ReadFile(mem, v.path, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return data, lastFrame
}

func loadVotes(data []byte) (map[GroupID]vote, error) {
	v := &VoteFile{path: "votes"}
	v.mu.votes = map[GroupID]vote{}
	err := v.load(data)
	return v.mu.votes, err
}

func TestVotesDamageAtRest(t *testing.T) {
	data, _ := voteFileBytes(t, true)
	if _, err := loadVotes(data); err != nil {
		t.Fatal(err)
	}
	for i := range data {
		for bit := range 8 {
			bad := bytes.Clone(data)
			bad[i] ^= 1 << bit
			if _, err := loadVotes(bad); err == nil {
				t.Fatalf("bit %d of byte %d is flipped: not noticed", bit, i)
			}
		}
		if _, err := loadVotes(data[:i]); err == nil {
			t.Fatalf("cut to %d of %d bytes: not noticed", i, len(data))
		}
	}
}

// After a crash only the last frame may be taken for a torn one.
func TestVotesDamageAfterCrash(t *testing.T) {
	data, last := voteFileBytes(t, false)
	whole, err := loadVotes(data)
	if err != nil {
		t.Fatal(err)
	}
	torn, err := loadVotes(data[:last])
	if err != nil {
		t.Fatal(err)
	}
	for i := range data {
		bad := bytes.Clone(data)
		bad[i] ^= 0x40
		switch got, err := loadVotes(bad); {
		case err == nil && i < last:
			t.Fatalf("byte %d is damaged: not noticed", i)
		case err == nil && !maps.Equal(got, whole) && !maps.Equal(got, torn):
			t.Fatalf("byte %d is damaged: votes are %v", i, got)
		}
		if i >= last {
			if got, err := loadVotes(data[:i]); err != nil || !maps.Equal(got, torn) {
				t.Fatalf("torn at byte %d: %v, %v", i, got, err)
			}
		}
	}
}

func TestVotesRefuses(t *testing.T) {
	data, _ := voteFileBytes(t, true)
	newer := bytes.Clone(data)
	newer[7]++
	for name, b := range map[string][]byte{"empty": nil, "newer version": newer, "other file": []byte("FFSNAP..................")} {
		if _, err := loadVotes(b); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	v := openVotes(t, newMem(t))
	defer v.Close()
	if err := v.set(testGroup(1), vote{candidate: string(make([]byte, voteMaxCandidate+1))}); err == nil {
		t.Error("a candidate of too many bytes was taken")
	}
}

func TestVotesForget(t *testing.T) {
	mem := newMem(t)
	v := openVotes(t, mem)
	for g := range 3 {
		if err := v.set(testGroup(g), testVote(4)); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.Forget(testGroup(1)); err != nil {
		t.Fatal(err)
	}
	if err := v.Forget(testGroup(9)); err != nil {
		t.Fatal(err)
	}
	v = openVotes(t, mem.Crash(vfs.DropAll, nil))
	defer v.Close()
	want := map[GroupID]vote{testGroup(0): testVote(4), testGroup(2): testVote(4)}
	if !maps.Equal(v.mu.votes, want) {
		t.Errorf("votes are %v, want %v", v.mu.votes, want)
	}
}

// Each operation of a run fails in turn: what was acknowledged is on disk, the
// file takes nothing more, and works again once it is opened anew.
func TestVotesErrors(t *testing.T) {
	for _, cause := range []error{syscall.ENOSPC, syscall.EIO, &vfs.ShortWrite{N: 11, Err: syscall.ENOSPC}} {
		for n := int64(1); ; n++ {
			mem := newMem(t)
			failed := false
			fsys := vfs.NewErrors(mem, func(op vfs.Op) error {
				_, short := cause.(*vfs.ShortWrite)
				if op.Seq != n || op.Kind == vfs.OpClose || (short && op.Kind != vfs.OpWrite) {
					return nil
				}
				failed = true
				return cause
			})
			v, err := OpenVotes(fsys, "/node")
			if err != nil {
				continue
			}
			v.compactMin = 2
			acked, asked := map[GroupID]uint64{}, map[GroupID]uint64{}
			broken := false
			for i := range 24 {
				id := testGroup(i % 2)
				asked[id]++
				switch err := v.set(id, testVote(asked[id])); {
				case err == nil && broken:
					t.Fatalf("operation %d: a vote was taken after a failed one", n)
				case err == nil:
					acked[id] = asked[id]
				default:
					broken = true
				}
			}
			if broken != (v.failure() != nil) {
				t.Fatalf("operation %d: failure is %v", n, v.failure())
			}
			v.Close()
			c := voteCrash{at: fmt.Sprintf("%v at operation %d", cause, n), acked: acked}
			for _, mode := range crashModes {
				c.fs = mem.CrashClone(mode, rand.New(rand.NewPCG(uint64(n), 1)))
				c.verify(t, asked)
			}
			if !failed && n > 200 {
				break
			}
		}
	}
}

func TestNodeRevivesVotes(t *testing.T) {
	full := false
	mem := newMem(t)
	fsys := vfs.NewErrors(mem, func(op vfs.Op) error {
		if full && (op.Kind == vfs.OpWrite || op.Kind == vfs.OpSync) {
			return syscall.ENOSPC
		}
		return nil
	})
	n, err := OpenNode(NodeConfig{FS: fsys, Dir: "/node", Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	id := testGroup(3)
	if err := n.Votes().set(id, testVote(2)); err != nil {
		t.Fatal(err)
	}
	full = true
	if err := n.Votes().set(id, testVote(3)); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("full disk: %v", err)
	}
	if err := n.reviveVotes(); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("full disk: revived, %v", err)
	}
	full = false
	if err := n.Votes().set(id, testVote(4)); err == nil {
		t.Fatal("a failed file took a vote before it was opened again")
	}
	if err := n.reviveVotes(); err != nil {
		t.Fatal(err)
	}
	if vt, _ := n.Votes().get(id); vt.term < 2 {
		t.Errorf("term %d after reviving", vt.term)
	}
	if err := n.Votes().set(id, testVote(6)); err != nil {
		t.Fatal(err)
	}
	after := openVotes(t, mem.CrashClone(vfs.DropAll, nil))
	defer after.Close()
	if vt, _ := after.get(id); vt != testVote(6) {
		t.Errorf("vote %+v after a crash", vt)
	}
}

func TestStableStore(t *testing.T) {
	v := openVotes(t, newMem(t))
	defer v.Close()
	s := &stableStore{votes: v, id: testGroup(1), fail: func(err error) { t.Fatal(err) }}
	// raft compares this text.
	for _, key := range []string{keyCurrentTerm, keyLastVoteTerm} {
		if _, err := s.GetUint64([]byte(key)); err == nil || err.Error() != "not found" {
			t.Errorf("%s of a new group: %v", key, err)
		}
	}
	if _, err := s.Get([]byte(keyLastVoteCand)); err == nil || err.Error() != "not found" {
		t.Errorf("candidate of a new group: %v", err)
	}
	if err := s.SetUint64([]byte(keyCurrentTerm), 7); err != nil {
		t.Fatal(err)
	}
	if err := s.SetUint64([]byte(keyLastVoteTerm), 7); err != nil {
		t.Fatal(err)
	}
	if term, err := s.GetUint64([]byte(keyLastVoteTerm)); term != 0 || err != nil {
		t.Errorf("a vote without its candidate is seen: %d, %v", term, err)
	}
	if err := s.Set([]byte(keyLastVoteCand), []byte("1-a")); err != nil {
		t.Fatal(err)
	}
	if vt, ok := v.get(s.id); !ok || vt != (vote{term: 7, votedTerm: 7, candidate: "1-a"}) {
		t.Errorf("vote is %+v", vt)
	}
	if err := s.Set([]byte("other"), nil); err == nil {
		t.Error("an unknown key was set")
	}
}

func FuzzVotesLoad(f *testing.F) {
	rest, _ := voteFileBytes(f, true)
	crashed, last := voteFileBytes(f, false)
	f.Add(rest)
	f.Add(crashed)
	f.Add(crashed[:last+9])
	f.Add([]byte(votesMagic))
	f.Fuzz(func(t *testing.T, data []byte) {
		votes, err := loadVotes(data)
		if err != nil {
			return
		}
		v := &VoteFile{fs: newMem(t), dir: "/node", path: "/node/votes"}
		v.mu.votes = votes
		if err := v.rewrite(); err != nil {
			t.Fatal(err)
		}
		again, err := vfs.ReadFile(v.fs, v.path, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := loadVotes(again); err != nil || !maps.Equal(got, votes) {
			t.Fatalf("%v became %v, %v", votes, got, err)
		}
	})
}

func FuzzDecodeVote(f *testing.F) {
	f.Add(appendVote(nil, testGroup(1), testVote(2)))
	f.Add(binary.BigEndian.AppendUint64(make([]byte, 30), 5))
	f.Fuzz(func(t *testing.T, b []byte) {
		id, vt, n, err := decodeVote(b)
		if err != nil {
			return
		}
		if again := appendVote(nil, id, vt); !bytes.Equal(again, b[:n]) {
			t.Fatalf("%x became %x", b[:n], again)
		}
	})
}
