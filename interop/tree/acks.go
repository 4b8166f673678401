package tree

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
)

// CheckAcks reads a client program's log of acknowledged records, lines of
// "partition offset file record" (file by its number in the list, all from 0),
// and checks each against where the record was found. It returns how many
// there are. A last line without a newline (the program died) is left out.
func (p *Positions) CheckAcks(path string) (int, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 1<<20)
	for n := 0; ; n++ {
		line, err := in.ReadSlice('\n')
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, fmt.Errorf("read %s: %w", path, err)
		}
		if err := p.checkAck(line); err != nil {
			return n, fmt.Errorf("acknowledgement %d of %s: %w", n, path, err)
		}
	}
}

func (p *Positions) checkAck(line []byte) error {
	fields := bytes.Fields(line)
	if len(fields) != 4 {
		return fmt.Errorf("not four numbers: %q", line)
	}
	var v [4]int64
	for i, f := range fields {
		n, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			return err
		}
		v[i] = n
	}
	want := Line{int32(v[2]), int32(v[3])}
	if v[2] < 0 || v[2] >= int64(len(p.tree.Files)) {
		return fmt.Errorf("no file has number %d", v[2])
	}
	name := p.tree.Files[want.File]
	found, ok := p.At(int32(v[0]), v[1])
	if !ok {
		return fmt.Errorf("partition %d offset %d file %s record %d was acknowledged and is lost",
			v[0], v[1], name, want.Record)
	}
	if found != want {
		return fmt.Errorf("partition %d offset %d was acknowledged for file %s record %d, and holds file %s record %d",
			v[0], v[1], name, want.Record, p.tree.Files[found.File], found.Record)
	}
	return nil
}
