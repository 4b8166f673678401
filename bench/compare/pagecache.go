//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// mostFree is how much memory the page cache leaves free when it is filled.
const mostFree = 512 << 20

// pageCache fills the machine's page cache with a file that nobody needs, as it
// is full on any server that has run for a day. Without that, who writes takes
// free memory, and on a virtual machine the first use of a free page is a fault
// that the host handles, seconds of CPU time for a gigabyte: which system pays
// for it would be chance.
type pageCache struct {
	file   *os.File // all holes: reading it takes memory and no disk
	at     int64    // of what is read next: what was read first is dropped first
	size   int64
	buffer []byte
}

func newPageCache(dir string) (*pageCache, error) {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return nil, fmt.Errorf("read the size of the memory: %w", err)
	}
	f, err := os.Create(filepath.Join(dir, "page-cache"))
	if err != nil {
		return nil, err
	}
	size := int64(info.Totalram) * int64(info.Unit)
	if err := f.Truncate(size); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &pageCache{file: f, size: size, buffer: make([]byte, 1<<20)}, nil
}

// fill takes the free memory.
func (p *pageCache) fill() error {
	for read := int64(0); read < p.size; read += int64(len(p.buffer)) {
		var info unix.Sysinfo_t
		if err := unix.Sysinfo(&info); err != nil {
			return err
		}
		if int64(info.Freeram)*int64(info.Unit) <= mostFree {
			return nil
		}
		n, err := p.file.ReadAt(p.buffer, p.at)
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("fill the page cache: %w", err)
		}
		if p.at += int64(n); p.at >= p.size {
			p.at = 0
		}
	}
	return nil
}

func (p *pageCache) close() error { return p.file.Close() }
