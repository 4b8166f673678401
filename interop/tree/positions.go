package tree

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// Line names one record of the tree.
type Line struct {
	File   int32 // index in Tree.Files
	Record int32 // from 0
}

// Positions checks a topic's records against the tree as they are read, and
// keeps where each was found. Partitions start at offset 0.
type Positions struct {
	tree       *Tree
	partitions map[int32]*column
	home       []int32 // partition of each file, -1 until seen
	offsets    [][]int64
}

// column is one partition as read so far.
type column struct {
	lines   []Line // by offset
	file    int32  // whose records are loaded, -1 at first
	records [][]byte
}

// NewPositions expects the tree's records, none of them twice.
func NewPositions(t *Tree) *Positions {
	p := &Positions{
		tree:       t,
		partitions: map[int32]*column{},
		home:       slices.Repeat([]int32{-1}, len(t.Files)),
		offsets:    make([][]int64, len(t.Files)),
	}
	return p
}

// Add takes the next record of a partition. Its error names partition, offset
// and file: a hole, an unknown key, a file in two partitions, a record that is
// twice there, out of order, or not the file's.
func (p *Positions) Add(partition int32, offset int64, key, value []byte) error {
	col := p.partitions[partition]
	if col == nil {
		col = &column{file: -1}
		p.partitions[partition] = col
	}
	fail := func(format string, args ...any) error {
		return fmt.Errorf("partition %d offset %d file %q: %s", partition, offset, key, fmt.Sprintf(format, args...))
	}
	if int64(len(col.lines)) != offset {
		return fail("offset %d was next", len(col.lines))
	}
	index, ok := p.tree.Index(string(key))
	if !ok {
		return fail("no such file was written")
	}
	if p.home[index] == -1 {
		p.home[index] = partition
	}
	if p.home[index] != partition {
		return fail("earlier records of the file are in partition %d", p.home[index])
	}
	if err := p.load(col, index); err != nil {
		return err
	}
	next := len(p.offsets[index])
	switch {
	case next == len(col.records):
		return fail("all %d records of the file came before this one", next)
	case !bytes.Equal(value, col.records[next]):
		return fail("record %d of the file is %.80q, not %.80q", next, col.records[next], value)
	}
	p.offsets[index] = append(p.offsets[index], offset)
	col.lines = append(col.lines, Line{int32(index), int32(next)})
	return nil
}

func (p *Positions) load(col *column, index int) error {
	if col.file == int32(index) {
		return nil
	}
	name := p.tree.Files[index]
	content, err := os.ReadFile(filepath.Join(p.tree.Root, filepath.FromSlash(name)))
	if err != nil {
		return err
	}
	col.file, col.records = int32(index), bytes.Split(content, []byte{'\n'})
	return nil
}

// Complete reports the first file of which records are missing.
func (p *Positions) Complete() error {
	for i, name := range p.tree.Files {
		if len(p.offsets[i]) != p.tree.Lines[i] {
			return fmt.Errorf("file %s: %d of %d records are there (partition %d, last offset %s)",
				name, len(p.offsets[i]), p.tree.Lines[i], p.home[i], p.last(i))
		}
	}
	return nil
}

func (p *Positions) last(file int) string {
	if n := len(p.offsets[file]); n > 0 {
		return fmt.Sprint(p.offsets[file][n-1])
	}
	return "none"
}

// Where names the partition and offset of a file's record, for messages.
func (p *Positions) Where(file string, record int) string {
	i, ok := p.tree.Index(file)
	if !ok || record >= len(p.offsets[i]) {
		return "at no known offset"
	}
	return fmt.Sprintf("partition %d offset %d", p.home[i], p.offsets[i][record])
}

// At returns the record at a partition's offset.
func (p *Positions) At(partition int32, offset int64) (Line, bool) {
	col := p.partitions[partition]
	if col == nil || offset < 0 || offset >= int64(len(col.lines)) {
		return Line{}, false
	}
	return col.lines[offset], true
}
