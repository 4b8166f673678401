package replication

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/fanfold/fanfold/internal/vfs"
)

func testManifest(index uint64) manifest {
	conf := raft.Configuration{Servers: []raft.Server{{Suffrage: raft.Voter, ID: "1-1", Address: "1-1"}}}
	return manifest{
		index: index, term: 3, configIndex: 1,
		configuration: raft.EncodeConfiguration(conf),
		state:         fmt.Appendf(nil, "state as of %d", index),
	}
}

func TestManifestRoundTrip(t *testing.T) {
	for _, m := range []manifest{testManifest(7), {configuration: []byte{}, state: []byte{}}} {
		got, err := decodeManifest(m.encode())
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%+v became %+v, %v", m, got, err)
		}
	}
}

func TestManifestDamage(t *testing.T) {
	data := testManifest(7).encode()
	for i := range data {
		for bit := range 8 {
			bad := bytes.Clone(data)
			bad[i] ^= 1 << bit
			if _, err := decodeManifest(bad); err == nil {
				t.Fatalf("bit %d of byte %d is flipped: not noticed", bit, i)
			}
		}
		if _, err := decodeManifest(data[:i]); err == nil {
			t.Fatalf("cut to %d of %d bytes: not noticed", i, len(data))
		}
	}
	if _, err := decodeManifest(append(bytes.Clone(data), 0)); err == nil {
		t.Error("a byte too many: not noticed")
	}
}

// writeManifest goes the way that raft goes.
func writeManifest(s *snapshotStore, m manifest) error {
	sink, err := s.Create(1, m.index, m.term, raft.DecodeConfiguration(m.configuration), m.configIndex, nil)
	if err != nil {
		return err
	}
	if err := (fsmSnapshot(m.state)).Persist(sink); err != nil {
		return err
	}
	return sink.Close()
}

// A crash at any operation of a replacement leaves the old manifest or the new
// one, and the new one once it was said to be there.
func TestManifestCrash(t *testing.T) {
	mem := newMem(t)
	saved := uint64(0)
	type crash struct {
		fs    *vfs.Mem
		saved uint64
	}
	var crashes []crash
	fsys := vfs.NewErrors(mem, func(op vfs.Op) error {
		for i, mode := range crashModes {
			crashes = append(crashes, crash{mem.CrashClone(mode, rand.New(rand.NewPCG(uint64(op.Seq), uint64(i)))), saved})
		}
		return nil
	})
	s := &snapshotStore{fs: fsys, dir: "/node", saved: func(index uint64) { saved = index }}
	for index := uint64(1); index <= 6; index++ {
		if err := writeManifest(s, testManifest(index)); err != nil {
			t.Fatal(err)
		}
	}
	for i, c := range crashes {
		after := &snapshotStore{fs: c.fs, dir: "/node", saved: func(uint64) {}}
		m, found, err := after.load()
		if err != nil || found != (m.index > 0) || m.index < c.saved || m.index > c.saved+1 {
			t.Fatalf("crash %d: %+v, %v, %v; %d was saved", i, m, found, err, c.saved)
		}
		if found && !reflect.DeepEqual(m, testManifest(m.index)) {
			t.Fatalf("crash %d: %+v", i, m)
		}
		if err := writeManifest(after, testManifest(9)); err != nil {
			t.Fatalf("crash %d: %v", i, err)
		}
	}
}

func TestSnapshotStore(t *testing.T) {
	s := &snapshotStore{fs: newMem(t), dir: "/node", saved: func(uint64) {}}
	if list, err := s.List(); len(list) != 0 || err != nil {
		t.Fatalf("of nothing: %v, %v", list, err)
	}
	if _, _, err := s.Open("3-7"); err == nil {
		t.Error("a snapshot that is not there was opened")
	}
	m := testManifest(7)
	if err := writeManifest(s, m); err != nil {
		t.Fatal(err)
	}
	list, err := s.List()
	if err != nil || len(list) != 1 || list[0].Index != 7 || list[0].Term != 3 || list[0].ConfigurationIndex != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	meta, r, err := s.Open(list[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	// raft compares the size.
	if state, err := io.ReadAll(r); err != nil || !bytes.Equal(state, m.state) || meta.Size != int64(len(state)) {
		t.Errorf("%q of %d bytes, %v", state, meta.Size, err)
	}
}

func FuzzDecodeManifest(f *testing.F) {
	f.Add(testManifest(7).encode())
	f.Add(manifest{}.encode())
	f.Add([]byte(manifestMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeManifest(b)
		if err != nil {
			return
		}
		if again := m.encode(); !bytes.Equal(again, b) {
			t.Fatalf("%x became %x", b, again)
		}
	})
}
