package log

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"

	"github.com/fanfold/fanfold/internal/vfs"
)

// The mark file has two slots, at markSlotBytes from each other, written in
// turn; the valid one with the higher sequence counts. A slot, big endian:
//
//	0          8       10     12   16         24        32     40      48      56     64         72
//	┌──────────┬───────┬──────┬────┬──────────┬─────────┬──────┬───────┬───────┬──────┬──────────┬ …
//	│ FANFMARK │ form. │ flags│ 0  │ sequence │ segment │ pos. │ off-  │ index │ term │ largest  │
//	│          │ vers. │      │    │          │ base    │      │ set   │       │      │ time     │
//	└──────────┴───────┴──────┴────┴──────────┴─────────┴──────┴───────┴───────┴──────┴──────────┴ …
//	72         80         88         96     100
//	┬──────────┬──────────┬──────────┬──────┐
//	│ its base │ journal  │ journal  │ CRC- │
//	│ offset   │ generat. │ bytes    │ 32C  │
//	┴──────────┴──────────┴──────────┴──────┘
//
// Flag 1 is a clean stop: nothing was written after what the mark says.
const (
	markMagic     = "FANFMARK"
	markVersion   = 1
	markBytes     = 100
	markSlotBytes = 4096
	markFlagClean = 1
)

// mark says what was durable when it was written.
type mark struct {
	seq          uint64
	clean        bool
	at           point
	generation   uint64 // of the journal
	journalBytes int64  // of it that were synced
}

func (m *mark) append(b []byte) []byte {
	start := len(b)
	be := binary.BigEndian
	b = append(b, markMagic...)
	b = be.AppendUint16(b, markVersion)
	var flags uint16
	if m.clean {
		flags |= markFlagClean
	}
	b = be.AppendUint16(b, flags)
	b = append(b, 0, 0, 0, 0)
	for _, v := range [...]uint64{
		m.seq, uint64(m.at.base), uint64(m.at.pos), uint64(m.at.offset), m.at.index, m.at.term,
		uint64(m.at.maxTime), uint64(m.at.maxTimeOffset), m.generation, uint64(m.journalBytes),
	} {
		b = be.AppendUint64(b, v)
	}
	return be.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
}

// parseMark reads the slot at the start of b.
func parseMark(b []byte) (mark, error) {
	be := binary.BigEndian
	switch {
	case len(b) < markBytes:
		return mark{}, violation("mark slot of %d bytes is too short", len(b))
	case string(b[:8]) != markMagic:
		return mark{}, violation("mark slot does not begin with %s", markMagic)
	case be.Uint32(b[markBytes-4:]) != crc32.Checksum(b[:markBytes-4], castagnoli):
		return mark{}, violation("mark slot: wrong CRC")
	case be.Uint16(b[8:]) != markVersion:
		return mark{}, fmt.Errorf("mark has format version %d, this program reads version %d", be.Uint16(b[8:]), markVersion)
	}
	u := func(i int) uint64 { return be.Uint64(b[16+8*i:]) }
	m := mark{
		clean: be.Uint16(b[10:])&markFlagClean != 0, seq: u(0),
		at: point{
			base: int64(u(1)), pos: int64(u(2)), offset: int64(u(3)), index: u(4), term: u(5),
			maxTime: int64(u(6)), maxTimeOffset: int64(u(7)),
		},
		generation: u(8), journalBytes: int64(u(9)),
	}
	if m.at.base < 0 || m.at.pos < 0 || m.at.offset < m.at.base || m.journalBytes < 0 {
		return m, violation("mark slot: segment %d, position %d, offset %d", m.at.base, m.at.pos, m.at.offset)
	}
	return m, nil
}

// readMark reads the newest valid slot; problems says why the others are not.
// ok is false where there is none.
func readMark(f vfs.File) (m mark, ok bool, problems [2]error, err error) {
	for i := range problems {
		var b [markBytes]byte
		n, err := f.ReadAt(b[:], int64(i)*markSlotBytes)
		if err != nil && !errors.Is(err, io.EOF) {
			return m, false, problems, fmt.Errorf("read mark: %w", err)
		}
		slot, err := parseMark(b[:n])
		if violationOf(err) != nil {
			problems[i] = err
			continue
		}
		if err != nil {
			return m, false, problems, err
		}
		if !ok || slot.seq > m.seq {
			m, ok = slot, true
		}
	}
	return m, ok, problems, nil
}

// openMark opens the mark of a directory, creating it if it is missing.
func openMark(fsys vfs.FS, dir string) (vfs.File, error) {
	path := filepath.Join(dir, markName)
	f, err := fsys.OpenReadWrite(path)
	if isNotExist(err) {
		return fsys.Create(path)
	}
	return f, err
}

// markWriter writes the mark. Its fields but file are guarded by Log.markMu.
type markWriter struct {
	file vfs.File
	last mark // as written
	buf  []byte
}

// says reports whether the newest slot says what m does, a clean stop aside.
func (w *markWriter) says(m mark) bool {
	return w.last.at == m.at && w.last.generation == m.generation && w.last.journalBytes == m.journalBytes
}

// write writes the next slot, not synced.
func (w *markWriter) write(m mark) error {
	m.seq = w.last.seq + 1
	w.buf = m.append(w.buf[:0])
	if _, err := w.file.WriteAt(w.buf, int64(m.seq%2)*markSlotBytes); err != nil {
		return fmt.Errorf("write mark: %w", err)
	}
	w.last = m
	return nil
}

// writeBoth writes both slots, each synced: no older claim is left.
func (w *markWriter) writeBoth(m mark) error {
	for range 2 {
		if err := w.write(m); err != nil {
			return err
		}
		if err := w.file.Sync(); err != nil {
			return fmt.Errorf("sync mark: %w", err)
		}
	}
	return nil
}
