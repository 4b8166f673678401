package recordtext

import (
	"bufio"
	"bytes"
	"container/list"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// openFiles is how many files a Builder keeps open at a time.
const openFiles = 64

// A Builder writes files out of records (see the package's comment for their
// form). It never writes outside its directory, not through a symbolic link
// either.
type Builder struct {
	root   *os.Root
	files  map[string]*built
	recent *list.List // of *built that are open, the most recent in front
	last   map[int32]int64
	bytes  int64

	madeDir string // the directory that was made last
}

// built is the state of one file.
type built struct {
	key       string
	partition int32
	size      int64
	crc       uint32
	records   int64
	marked    bool // its first record said where the file begins
	ended     bool // its last record came, and was right

	file    *os.File
	writer  *bufio.Writer
	element *list.Element
}

// NewBuilder returns a Builder in dir, which it creates if need be. It refuses
// a directory that is not empty: nothing that exists is overwritten.
func NewBuilder(dir string) (*Builder, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	if len(entries) > 0 {
		return nil, fmt.Errorf("%s is not empty; name a new directory", dir)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &Builder{root: root, files: make(map[string]*built), recent: list.New(), last: make(map[int32]int64)}, nil
}

// Add writes one record. It fails for a record without a key, for a key that
// is no path inside the directory, for a file whose records lie in more than
// one partition (they have no order then), for offsets that do not rise within
// their partition, and for a file whose end does not match its content.
func (b *Builder) Add(r *Record) error {
	if err := b.add(r); err != nil {
		return fmt.Errorf("partition %d, offset %d: %w", r.Partition, r.Offset, err)
	}
	return nil
}

func (b *Builder) add(r *Record) error {
	if last, seen := b.last[r.Partition]; seen && r.Offset <= last {
		return fmt.Errorf("comes after offset %d", last)
	}
	b.last[r.Partition] = r.Offset
	if r.Key == nil {
		return errors.New("no key, which would be the path of a file")
	}
	key := string(r.Key)
	f := b.files[key]
	if f == nil {
		if err := checkPath(key); err != nil {
			return err
		}
		f = &built{key: key, partition: r.Partition}
		b.files[key] = f
	}
	if f.partition != r.Partition {
		return fmt.Errorf("%q is in partition %d too: its lines have no order", key, f.partition)
	}
	begin, end := marks(r.Headers)
	if err := b.open(f, begin); err != nil {
		return err
	}
	if f.ended {
		return fmt.Errorf("%q goes on after its end", key)
	}
	if f.records > 0 {
		if err := b.write(f, newline); err != nil {
			return err
		}
	}
	f.records++
	if err := b.write(f, r.Value); err != nil {
		return err
	}
	if end == nil {
		return nil
	}
	if got := endMark(f.size, f.crc); !bytes.Equal(got, end) {
		return fmt.Errorf("%q does not match what was sent: size and CRC-32C are %s, should be %s", key, got, end)
	}
	f.ended = true
	return nil
}

// marks finds the headers of a first and a last record.
func marks(headers []Header) (begin bool, end []byte) {
	for _, h := range headers {
		switch h.Key {
		case BeginHeader:
			begin = true
		case EndHeader:
			end = h.Value
		}
	}
	return begin, end
}

// checkPath refuses keys that are not plain relative paths with slashes.
func checkPath(key string) error {
	local := filepath.FromSlash(key)
	if key == "" || key == "." || strings.ContainsRune(key, 0) || path.Clean(key) != key || !filepath.IsLocal(local) || filepath.ToSlash(local) != key {
		return fmt.Errorf("key %q is not the path of a file below the directory", key)
	}
	return nil
}

// open makes f ready to be written to: the file is created for its first
// record, emptied for a record that begins it anew, else appended to.
func (b *Builder) open(f *built, begin bool) error {
	again := f.records > 0 && begin
	if again {
		if err := b.close(f); err != nil {
			return err
		}
		b.bytes -= f.size
		f.size, f.crc, f.records, f.ended = 0, 0, 0, false
	}
	if f.file != nil {
		b.recent.MoveToFront(f.element)
		return nil
	}
	for b.recent.Len() >= openFiles {
		if err := b.close(b.recent.Back().Value.(*built)); err != nil {
			return err
		}
	}
	flags := os.O_WRONLY | os.O_APPEND
	if f.records == 0 {
		f.marked = begin
		flags |= os.O_CREATE | os.O_EXCL
		if again {
			flags = os.O_WRONLY | os.O_TRUNC
		}
		if dir := path.Dir(f.key); dir != b.madeDir && dir != "." {
			if err := b.root.MkdirAll(filepath.FromSlash(dir), 0o777); err != nil {
				return err
			}
			b.madeDir = dir
		}
	}
	file, err := b.root.OpenFile(filepath.FromSlash(f.key), flags, 0o666)
	if err != nil {
		return err
	}
	f.file, f.writer = file, bufio.NewWriterSize(file, 32<<10)
	f.element = b.recent.PushFront(f)
	return nil
}

func (b *Builder) write(f *built, data []byte) error {
	f.size += int64(len(data))
	b.bytes += int64(len(data))
	f.crc = crc32.Update(f.crc, castagnoli, data)
	_, err := f.writer.Write(data)
	return err
}

// close flushes and closes the file if it is open.
func (b *Builder) close(f *built) error {
	if f.file == nil {
		return nil
	}
	err := errors.Join(f.writer.Flush(), f.file.Close())
	b.recent.Remove(f.element)
	f.file, f.writer, f.element = nil, nil, nil
	return err
}

// Files is the number of files written, and Bytes their size together.
func (b *Builder) Files() int   { return len(b.files) }
func (b *Builder) Bytes() int64 { return b.bytes }

// Close writes out what is buffered. Its error names a file that was begun by
// a marked record and whose end is missing, if there is one.
func (b *Builder) Close() error {
	var errs []error
	for b.recent.Len() > 0 {
		errs = append(errs, b.close(b.recent.Front().Value.(*built)))
	}
	errs = append(errs, b.root.Close())
	incomplete, first := 0, ""
	for _, f := range b.files {
		if f.marked && !f.ended {
			incomplete++
			if first == "" || f.key < first {
				first = f.key
			}
		}
	}
	if incomplete > 0 {
		errs = append(errs, fmt.Errorf("%d of %d files are incomplete, the first is %q: their last records are missing", incomplete, len(b.files), first))
	}
	return errors.Join(errs...)
}
