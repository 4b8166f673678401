package broker

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/fanfold/fanfold/internal/vfs"
)

// FormatVersion is the version of the data directory's format that this
// program writes; a directory of a higher one is refused.
const FormatVersion = 1

// dataDir is what the file "fanfold.json" says of a data directory. It is JSON
// so that people can read it, and carries a checksum since a node id that
// changed by itself would vote twice.
type dataDir struct {
	Format int      `json:"format"`
	NodeID int32    `json:"node.id"`
	ID     [16]byte `json:"-"`
	IDHex  string   `json:"directory.id"`
	Sum    string   `json:"crc32c"`
}

func (d dataDir) checksum() string {
	text := fmt.Sprintf("%d %d %s", d.Format, d.NodeID, d.IDHex)
	return fmt.Sprintf("%08x", crc32.Checksum([]byte(text), crc32.MakeTable(crc32.Castagnoli)))
}

const (
	dataDirFile  = "fanfold.json"
	lockFileName = "lock"
)

// openDataDir locks the directory, and reads or makes its description. The lock
// is returned also with an error, where it was taken.
func openDataDir(dir string, nodeID int32) (io.Closer, dataDir, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, dataDir{}, dirError(dir, err)
	}
	lock, err := vfs.OS.Lock(filepath.Join(dir, lockFileName))
	if err != nil {
		return nil, dataDir{}, dirError(dir, err)
	}
	d, err := readDataDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		d, err = makeDataDir(dir, nodeID)
	}
	if err == nil && d.NodeID != nodeID {
		err = fmt.Errorf("data directory %s belongs to node %d, this is node %d: set node.id=%d, or choose another directory with --data-dir", dir, d.NodeID, nodeID, d.NodeID)
	}
	return lock, d, err
}

func readDataDir(dir string) (dataDir, error) {
	path := filepath.Join(dir, dataDirFile)
	b, err := vfs.ReadFile(vfs.OS, path, 1<<16)
	if err != nil {
		return dataDir{}, err
	}
	return parseDataDir(path, b)
}

func parseDataDir(path string, b []byte) (dataDir, error) {
	var d dataDir
	if err := json.Unmarshal(b, &d); err != nil {
		return d, fmt.Errorf("%s is damaged: %w; restore it from a copy, it names this node", path, err)
	}
	if d.Format > FormatVersion {
		return d, fmt.Errorf("%s: the data directory has format %d, this program knows formats up to %d: use a newer fanfold", path, d.Format, FormatVersion)
	}
	if id, err := hex.DecodeString(d.IDHex); err != nil || len(id) != len(d.ID) || d.Sum != d.checksum() {
		return d, fmt.Errorf("%s is damaged: its checksum is wrong; restore it from a copy, it names this node", path)
	} else {
		copy(d.ID[:], id)
	}
	return d, nil
}

// makeDataDir describes a new directory. One that holds something else is
// refused: a wrong path must not fill somebody's home.
func makeDataDir(dir string, nodeID int32) (dataDir, error) {
	names, err := vfs.OS.List(dir)
	if err != nil {
		return dataDir{}, dirError(dir, err)
	}
	for _, name := range names {
		if name != lockFileName && name != dataDirFile+".tmp" && name != "lost+found" {
			return dataDir{}, fmt.Errorf("data directory %s is not empty and not Fanfold's (it holds %q, and no %s): choose another with --data-dir", dir, name, dataDirFile)
		}
	}
	d := dataDir{Format: FormatVersion, NodeID: nodeID}
	_, _ = rand.Read(d.ID[:]) // never fails
	d.IDHex = hex.EncodeToString(d.ID[:])
	d.Sum = d.checksum()
	b, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return d, err
	}
	if err := vfs.WriteFileAtomic(vfs.OS, dir, filepath.Join(dir, dataDirFile), append(bytes.TrimSpace(b), '\n')); err != nil {
		return d, dirError(dir, err)
	}
	return d, vfs.OS.SyncDir(filepath.Dir(dir))
}
