package driver

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/fanfold/fanfold/interop/tree"
)

// Line is one record of a tree: the file's number in the list, the record's in
// the file, and what to write.
type Line struct {
	File, Record int
	Key, Value   []byte
}

// Lines yields a tree's records in order.
type Lines struct {
	root  string
	names []string
	count int
	err   error
}

func openLines(root, list string) (*Lines, error) {
	content, err := os.ReadFile(list)
	if err != nil {
		return nil, err
	}
	return &Lines{root: root, names: strings.Split(strings.TrimSuffix(string(content), "\n"), "\n")}, nil
}

// All ranges over every record; it ends early where a file cannot be read,
// which the program reports. The values are not used again.
func (l *Lines) All(yield func(Line) bool) {
	for file, name := range l.names {
		content, err := os.ReadFile(filepath.Join(l.root, filepath.FromSlash(name)))
		if err != nil {
			l.err = err
			return
		}
		key, record := []byte(name), 0
		for value := range tree.Records(content) {
			if !yield(Line{file, record, key, value}) {
				return
			}
			record++
			l.count++
		}
	}
}

// Acks is the log of acknowledged records. Its methods may be called from
// several goroutines.
type Acks struct {
	mu struct {
		sync.Mutex
		out   *bufio.Writer
		count int
		err   error
	}
	file *os.File
}

func createAcks(path string) (*Acks, error) {
	if path == "" {
		path = os.DevNull
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	a := &Acks{file: f}
	a.mu.out = bufio.NewWriterSize(f, 1<<16)
	return a, nil
}

// Add notes that a record was acknowledged.
func (a *Acks) Add(partition int32, offset int64, file, record int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mu.count++
	if _, err := fmt.Fprintln(a.mu.out, partition, offset, file, record); err != nil {
		a.mu.err = err
	}
}

func (a *Acks) close() (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.mu.err != nil {
		return a.mu.count, a.mu.err
	}
	if err := a.mu.out.Flush(); err != nil {
		return a.mu.count, err
	}
	return a.mu.count, a.file.Close()
}

// rebuild writes files from their records.
type rebuild struct {
	dir string
	mu  struct {
		sync.Mutex
		partitions map[int32]*open
		written    map[string]bool
	}
}

// open is the file that a partition's records belong to just now. Only the
// goroutine that reads the partition uses it.
type open struct {
	key     []byte
	content []byte
	next    int64
	count   int
}

func newRebuild(dir string) *rebuild {
	r := &rebuild{dir: dir}
	r.mu.partitions = map[int32]*open{}
	r.mu.written = map[string]bool{}
	return r
}

func (r *rebuild) partition(p int32) *open {
	r.mu.Lock()
	defer r.mu.Unlock()
	o := r.mu.partitions[p]
	if o == nil {
		o = &open{}
		r.mu.partitions[p] = o
	}
	return o
}

func (r *rebuild) add(rec Record) error {
	o := r.partition(rec.Partition)
	if rec.Offset != o.next {
		return fmt.Errorf("partition %d offset %d file %q: offset %d was next", rec.Partition, rec.Offset, rec.Key, o.next)
	}
	o.next++
	o.count++
	if o.key != nil && bytes.Equal(o.key, rec.Key) {
		o.content = append(append(o.content, '\n'), rec.Value...)
		return nil
	}
	if err := r.flush(o); err != nil {
		return fmt.Errorf("partition %d offset %d: %w", rec.Partition, rec.Offset, err)
	}
	o.key = append([]byte{}, rec.Key...)
	o.content = append(o.content[:0], rec.Value...)
	return nil
}

// flush writes the open file out; a file met before goes on with a newline.
func (r *rebuild) flush(o *open) error {
	if o.key == nil {
		return nil
	}
	name := string(o.key)
	if !filepath.IsLocal(filepath.FromSlash(name)) {
		return fmt.Errorf("the key %q is no path below a folder", name)
	}
	r.mu.Lock()
	again := r.mu.written[name]
	r.mu.written[name] = true
	r.mu.Unlock()
	path := filepath.Join(r.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	if again {
		o.content = append([]byte{'\n'}, o.content...)
	}
	if _, err := f.Write(o.content); err != nil {
		return fmt.Errorf("write %s: %w (close: %w)", path, err, f.Close())
	}
	return f.Close()
}

func (r *rebuild) close() (int, error) {
	r.mu.Lock()
	partitions := r.mu.partitions
	r.mu.Unlock()
	count := 0
	for _, o := range partitions {
		if err := r.flush(o); err != nil {
			return count, err
		}
		count += o.count
	}
	return count, nil
}
