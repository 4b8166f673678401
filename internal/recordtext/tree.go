package recordtext

import (
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
)

// The headers that mark a file's first and last record. BeginHeader's value is
// empty, EndHeader's is the file's size in bytes, a space, and its CRC-32C as
// eight hexadecimal digits.
const (
	BeginHeader = "fanfold.file.begin"
	EndHeader   = "fanfold.file.end"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A File is a file to be sent: where it is, and the key of its records.
type File struct {
	Path string
	Key  string
}

// Tree lists the regular files below dir in lexical order, with their paths
// relative to dir as keys. What is neither a regular file nor a directory
// (symbolic links, sockets, devices) is not followed: skipped, if not nil, is
// called with its path.
func Tree(dir string, skipped func(path string)) iter.Seq2[File, error] {
	return func(yield func(File, error) bool) {
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if entry.IsDir() {
				return nil
			}
			if !entry.Type().IsRegular() {
				if skipped != nil {
					skipped(path)
				}
				return nil
			}
			relative, err := filepath.Rel(dir, path)
			if err != nil {
				return err
			}
			if !yield(File{Path: path, Key: filepath.ToSlash(relative)}, nil) {
				return fs.SkipAll
			}
			return nil
		})
		if err != nil {
			yield(File{}, fmt.Errorf("walk %s: %w", dir, err))
		}
	}
}

// FileKey is the key for a file that was named on its own: its path relative
// to the working directory if it is below that, else its absolute path without
// the leading slash, in both cases with slashes.
func FileKey(path string) (string, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if wd, err := os.Getwd(); err == nil {
		if relative, err := filepath.Rel(wd, absolute); err == nil && filepath.IsLocal(relative) {
			return filepath.ToSlash(relative), nil
		}
	}
	volume := filepath.VolumeName(absolute)
	slashed := strings.TrimLeft(filepath.ToSlash(absolute[len(volume):]), "/")
	if volume != "" {
		slashed = strings.Trim(strings.ReplaceAll(filepath.ToSlash(volume), ":", ""), "/") + "/" + slashed
	}
	return slashed, nil
}

// A FileReader turns the content of files into records.
type FileReader struct {
	scanner *Scanner
	line    int64
}

// NewFileReader returns a reader of lines of at most limit bytes.
func NewFileReader(limit int) *FileReader {
	return &FileReader{scanner: NewScanner(nil, limit)}
}

// Line is the number, from 1, of the line that was read last.
func (fr *FileReader) Line() int64 { return fr.line }

// Records yields the records of one file, read from content, under a key. The
// record and its headers are the callee's; their bytes are never written
// again. An error is ErrTooLong or content's, and the last thing yielded.
func (fr *FileReader) Records(key []byte, content io.Reader) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		fr.scanner.Reset(content)
		fr.line = 0
		var size int64
		var crc uint32
		for {
			fr.line++
			value, found, err := fr.scanner.Until(newline)
			if err != nil {
				yield(Record{}, err)
				return
			}
			size += int64(len(value))
			crc = crc32.Update(crc, castagnoli, value)
			record := Record{Key: key, Value: value}
			if fr.line == 1 {
				record.Headers = append(record.Headers, Header{Key: BeginHeader, Value: []byte{}})
			}
			if !found {
				record.Headers = append(record.Headers, Header{Key: EndHeader, Value: endMark(size, crc)})
				yield(record, nil)
				return
			}
			size++
			crc = crc32.Update(crc, castagnoli, newline)
			if !yield(record, nil) {
				return
			}
		}
	}
}

var newline = []byte{'\n'}

func endMark(size int64, crc uint32) []byte {
	return fmt.Appendf(nil, "%d %08x", size, crc)
}
