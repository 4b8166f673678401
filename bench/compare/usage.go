//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fanfold/fanfold/bench"
)

// usage is what a process has used so far.
type usage struct {
	at           time.Time
	cpu          time.Duration // user and system
	resident     int64         // bytes
	peak         int64         // bytes, since the last resetPeak
	writtenBytes int64         // made dirty for storage
}

// tick is 1/USER_HZ, which is 100 on all that Linux runs Go on.
const tick = 10 * time.Millisecond

// usageOf reads /proc.
func usageOf(pid int) (usage, error) {
	u := usage{at: time.Now()}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, err
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return u, fmt.Errorf("/proc/%d/stat is %q", pid, stat)
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	u.cpu = time.Duration(user+system) * tick
	var err3, err4 error
	u.resident, err3 = procField(pid, "status", "VmRSS:")
	u.peak, err4 = procField(pid, "status", "VmHWM:")
	u.resident, u.peak = u.resident<<10, u.peak<<10
	var err5 error
	u.writtenBytes, err5 = procField(pid, "io", "write_bytes:")
	return u, errors.Join(err1, err2, err3, err4, err5)
}

func procField(pid int, file, name string) (int64, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(content)) {
		if value, ok := strings.CutPrefix(line, name); ok {
			return strconv.ParseInt(strings.Fields(value)[0], 10, 64)
		}
	}
	return 0, fmt.Errorf("/proc/%d/%s has no %s", pid, file, name)
}

// resetPeak has the peak of the resident memory begin anew.
func resetPeak(pid int) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
}

// span is what a server, and this process with the clients, used in the time
// that counts.
type span struct {
	pid                      int
	before, after            usage
	clientBefore, clientDone usage
	err                      error
}

// watch measures a server while a load runs.
func watch(pid int) (*span, bench.Watch) {
	s := &span{pid: pid}
	return s, bench.Watch{Begin: s.begin, End: s.end}
}

func (s *span) begin() {
	var err1, err2 error
	err := resetPeak(s.pid)
	s.clientBefore, err1 = usageOf(os.Getpid())
	s.before, err2 = usageOf(s.pid)
	s.err = errors.Join(err, err1, err2)
}

func (s *span) end() {
	var err1, err2 error
	s.after, err1 = usageOf(s.pid)
	s.clientDone, err2 = usageOf(os.Getpid())
	s.err = errors.Join(s.err, err1, err2)
}

const mib = 1 << 20

// into adds what was used to a sample; bytes is what the clients wrote or read
// meanwhile, and may be 0.
func (s *span) into(m sample, bytes int64) {
	cpu := (s.after.cpu - s.before.cpu).Seconds()
	took := s.after.at.Sub(s.before.at).Seconds()
	m[cpuCores] = cpu / took
	m[clientCores] = (s.clientDone.cpu - s.clientBefore.cpu).Seconds() / took
	m[peakMiB] = float64(s.after.peak) / mib
	m[residentMiB] = float64(s.after.resident) / mib
	if bytes > 0 {
		m[cpuPerGB] = cpu / (float64(bytes) / 1e9)
		m[writtenRatio] = float64(s.after.writtenBytes-s.before.writtenBytes) / float64(bytes)
	}
}

// evict drops a directory's files from the page cache.
func evict(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // deleted meanwhile
		}
		if err != nil {
			return err
		}
		defer f.Close()
		if err := f.Sync(); err != nil {
			return err
		}
		return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	})
}
