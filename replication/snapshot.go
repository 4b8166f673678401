package replication

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/hashicorp/raft"

	"github.com/fanfold/fanfold/internal/vfs"
)

// The snapshot manifest of a replica is one file, replaced atomically:
//
//	"FFSNAP" and the format version (uint16)    8 bytes
//	CRC-32C of all that follows                 uint32
//	last index, last term                       uint64 × 2
//	index of the configuration                  uint64
//	length of the configuration, itself (raft's msgpack)   uint32, bytes
//	length of the machine's state, itself                  uint32, bytes
//
// All numbers are big-endian. Records are not in it: they are in the segments.
const (
	manifestName     = "manifest"
	manifestMagic    = "FFSNAP"
	manifestVersion  = 1
	manifestHead     = 8 + 4
	manifestMaxBytes = 1 << 30
)

type manifest struct {
	index, term, configIndex uint64
	configuration            []byte
	state                    []byte
}

func (m manifest) encode() []byte {
	b := append([]byte(manifestMagic), 0, manifestVersion, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint64(b, m.index)
	b = binary.BigEndian.AppendUint64(b, m.term)
	b = binary.BigEndian.AppendUint64(b, m.configIndex)
	for _, part := range [][]byte{m.configuration, m.state} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(part)))
		b = append(b, part...)
	}
	binary.BigEndian.PutUint32(b[8:], crc32.Checksum(b[manifestHead:], castagnoli))
	return b
}

func decodeManifest(b []byte) (manifest, error) {
	var m manifest
	if len(b) < manifestHead+24 || string(b[:6]) != manifestMagic {
		return m, errors.New("not a snapshot manifest")
	}
	if v := binary.BigEndian.Uint16(b[6:]); v != manifestVersion {
		return m, fmt.Errorf("format version %d, this program knows %d: use a newer fanfold", v, manifestVersion)
	}
	if crc32.Checksum(b[manifestHead:], castagnoli) != binary.BigEndian.Uint32(b[8:]) {
		return m, errors.New("checksum is wrong")
	}
	b = b[manifestHead:]
	m.index = binary.BigEndian.Uint64(b)
	m.term = binary.BigEndian.Uint64(b[8:])
	m.configIndex = binary.BigEndian.Uint64(b[16:])
	b = b[24:]
	for _, part := range []*[]byte{&m.configuration, &m.state} {
		if len(b) < 4 || uint64(len(b)-4) < uint64(binary.BigEndian.Uint32(b)) {
			return m, errors.New("is cut short")
		}
		n := binary.BigEndian.Uint32(b)
		*part, b = b[4:4+n], b[4+n:]
	}
	if len(b) > 0 {
		return m, fmt.Errorf("%d bytes too many", len(b))
	}
	return m, nil
}

// snapshotStore is a replica's raft.SnapshotStore: the newest manifest.
type snapshotStore struct {
	fs    vfs.FS
	dir   string
	saved func(index uint64)
}

func (s *snapshotStore) path() string { return filepath.Join(s.dir, manifestName) }

// load returns the manifest, and false where there is none yet.
func (s *snapshotStore) load() (manifest, bool, error) {
	b, err := vfs.ReadFile(s.fs, s.path(), manifestMaxBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return manifest{}, false, nil
	}
	if err != nil {
		return manifest{}, false, fmt.Errorf("read snapshot: %w", err)
	}
	m, err := decodeManifest(b)
	if err != nil {
		return manifest{}, false, fmt.Errorf("read snapshot: %s: %w", s.path(), err)
	}
	return m, true, nil
}

func (m manifest) meta() *raft.SnapshotMeta {
	return &raft.SnapshotMeta{
		Version:            raft.SnapshotVersionMax,
		ID:                 fmt.Sprintf("%d-%d", m.term, m.index),
		Index:              m.index,
		Term:               m.term,
		Configuration:      raft.DecodeConfiguration(m.configuration),
		ConfigurationIndex: m.configIndex,
		Size:               int64(len(m.state)),
	}
}

func (s *snapshotStore) List() ([]*raft.SnapshotMeta, error) {
	m, ok, err := s.load()
	if err != nil || !ok {
		return nil, err
	}
	return []*raft.SnapshotMeta{m.meta()}, nil
}

func (s *snapshotStore) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	m, ok, err := s.load()
	if err != nil {
		return nil, nil, err
	}
	if meta := m.meta; ok && meta().ID == id {
		return meta(), io.NopCloser(bytes.NewReader(m.state)), nil
	}
	return nil, nil, fmt.Errorf("snapshot %s: %w", id, fs.ErrNotExist)
}

func (s *snapshotStore) Create(_ raft.SnapshotVersion, index, term uint64, configuration raft.Configuration, configurationIndex uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	return &snapshotSink{store: s, m: manifest{
		index: index, term: term, configIndex: configurationIndex,
		configuration: raft.EncodeConfiguration(configuration),
	}}, nil
}

// snapshotSink gathers a machine's state and writes the manifest on Close.
type snapshotSink struct {
	store *snapshotStore
	m     manifest
}

func (s *snapshotSink) ID() string    { return s.m.meta().ID }
func (s *snapshotSink) Cancel() error { return nil }

func (s *snapshotSink) Write(p []byte) (int, error) {
	if len(s.m.state)+len(p) > manifestMaxBytes/2 {
		return 0, fmt.Errorf("snapshot state of more than %d bytes", manifestMaxBytes/2)
	}
	s.m.state = append(s.m.state, p...)
	return len(p), nil
}

func (s *snapshotSink) Close() error {
	if err := vfs.WriteFileAtomic(s.store.fs, s.store.dir, s.store.path(), s.m.encode()); err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	s.store.saved(s.m.index)
	return nil
}
