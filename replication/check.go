package replication

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/fanfold/fanfold/internal/vfs"
)

// CheckManifest reads the snapshot manifest in a replica's directory and says
// what is wrong with it; a replica may have none yet. It changes nothing.
func CheckManifest(fsys vfs.FS, dir string) error {
	s := &snapshotStore{fs: fsys, dir: dir}
	_, _, err := s.load()
	return err
}

// CheckVotes reads the vote file in a data directory and says what is wrong
// with it. It changes nothing.
func CheckVotes(fsys vfs.FS, dir string) error {
	v := &VoteFile{fs: fsys, dir: dir, path: filepath.Join(dir, "votes")}
	v.mu.votes = map[GroupID]vote{}
	data, err := vfs.ReadFile(fsys, v.path, votesMaxBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is missing: this node would not know how it has voted", v.path)
	}
	if err != nil {
		return fmt.Errorf("read votes: %w", err)
	}
	return v.load(data)
}
