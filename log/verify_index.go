package log

import (
	"errors"
	"fmt"

	"github.com/fanfold/fanfold/internal/vfs"
	"github.com/fanfold/fanfold/protocol/record"
)

// indexScan compares a segment's index with its batches as they go by.
type indexScan struct {
	in     *inspector
	name   string
	file   vfs.File // nil where there is none
	idx    index
	number int // of the next entry
	next   indexEntry
	more   bool
	torn   bool // an entry that is not good was met

	settled bool // the indexes in it are of no more use
	buf     [indexEntryBytes]byte
}

func (in *inspector) openIndex(start segmentStart) (*indexScan, error) {
	x := &indexScan{in: in, name: start.name(indexSuffix), settled: in.state.isSettled(start.base)}
	f, err := in.fs.Open(in.path(x.name))
	if isNotExist(err) {
		return x, in.cache(x.name, -1, start.base, errors.New("missing; built anew at the next start"))
	}
	if err != nil {
		return nil, err
	}
	x.file = f
	x.idx = index{file: f, base: start.base}
	if err := x.step(); err != nil {
		x.close()
		return nil, err
	}
	return x, nil
}

func (x *indexScan) close() {
	if x.file != nil {
		_ = x.file.Close() // it was read only
	}
}

// step reads the next entry that is good.
func (x *indexScan) step() error {
	size, err := x.file.Size()
	if err != nil {
		return err
	}
	for x.more = false; ; x.number++ {
		pos := int64(x.number) * indexEntryBytes
		if pos >= size {
			return nil
		}
		if size-pos < indexEntryBytes {
			x.number++
			return x.bad(pos, -1, fmt.Errorf("%d bytes are too few for an index entry", size-pos))
		}
		e, err := x.idx.read(x.number, x.buf[:])
		if violationOf(err) != nil {
			if err := x.bad(pos, -1, err); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		x.next, x.more = e, true
		x.number++
		return x.in.indexItem(x, pos, &e)
	}
}

func (x *indexScan) bad(pos, offset int64, cause error) error {
	x.torn = true
	return x.in.cache(x.name, pos, offset, cause)
}

// batch looks at the entries up to the batch h, entry index, at pos.
func (x *indexScan) batch(s *segmentScan, h *record.Header, pos int64, index uint64) error {
	for x.more && x.next.epoch != footerEpoch && int64(x.next.pos) <= pos {
		want, _ := (&segment{segmentStart: s.start}).entryAt(&s.at, index, h.LeaderEpoch)
		if x.settled {
			want.index = x.next.index
		}
		if x.next != want {
			if err := x.bad(int64(x.number-1)*indexEntryBytes, h.BaseOffset, fmt.Errorf("entry %d says %v, the batch there %v", x.number-1, x.next, want)); err != nil {
				return err
			}
		}
		if err := x.step(); err != nil {
			return err
		}
	}
	return nil
}

// ended looks at what is behind the last batch: the entry that seals the index.
func (x *indexScan) ended(s *segmentScan) error {
	if x.file == nil {
		return nil
	}
	if s.next != nil {
		s.at.offset = s.next.base
		want, _ := (&segment{segmentStart: s.start}).entryAt(&s.at, s.next.firstIndex, footerEpoch)
		if !x.more || x.next != want {
			return x.bad(int64(x.number)*indexEntryBytes, -1, errors.New("the entry that ends the index of a sealed segment is missing"))
		}
		if err := x.step(); err != nil {
			return err
		}
	}
	if x.more {
		return x.bad(int64(x.number-1)*indexEntryBytes, -1, errors.New("entries follow the last batch"))
	}
	return nil
}
