package recordtext

import (
	"bytes"
	"errors"
	"io"
)

// blockBytes is the size of the blocks that a Scanner reads ahead, and
// minReadBytes the room below which it takes a new one.
const (
	blockBytes   = 256 << 10
	minReadBytes = 4 << 10
)

// ErrTooLong is returned for a piece of input longer than the limit.
var ErrTooLong = errors.New("longer than the limit")

// A Scanner cuts a stream into pieces. The pieces alias its read-ahead blocks,
// which are never written again: they stay valid for as long as they are kept,
// and a block is freed with the last piece of it.
type Scanner struct {
	source io.Reader
	limit  int
	block  []byte // what was read; [at:len] is not handed out yet
	at     int
	err    error // of source, sticky
}

// NewScanner returns a Scanner of r whose pieces have at most limit bytes.
func NewScanner(r io.Reader, limit int) *Scanner {
	return &Scanner{source: r, limit: limit}
}

// Reset makes the Scanner read r from its beginning, and forgets what was left
// of the source before. Pieces handed out stay valid.
func (s *Scanner) Reset(r io.Reader) {
	s.source, s.err = r, nil
	s.block, s.at = s.block[len(s.block):], 0
}

// Until returns what comes before the next delimiter, and steps over it. At
// the end of the input it returns what is left, with found false; the piece is
// then empty if the input ended behind a delimiter or was empty. The error is
// ErrTooLong or the source's.
func (s *Scanner) Until(delimiter []byte) (piece []byte, found bool, err error) {
	searched := 0
	for {
		rest := s.block[s.at:]
		if i := bytes.Index(rest[searched:], delimiter); i >= 0 {
			if searched+i > s.limit {
				return nil, false, ErrTooLong
			}
			piece = s.take(searched + i)
			s.at += len(delimiter)
			return piece, true, nil
		}
		searched = max(0, len(rest)-len(delimiter)+1)
		if searched > s.limit {
			return nil, false, ErrTooLong
		}
		if err := s.fill(); err == io.EOF {
			if n := len(s.block) - s.at; n <= s.limit {
				return s.take(n), false, nil
			}
			return nil, false, ErrTooLong
		} else if err != nil {
			return nil, false, err
		}
	}
}

// Next returns the next n bytes, or io.ErrUnexpectedEOF (io.EOF if not one
// byte is left and n is above 0).
func (s *Scanner) Next(n int) ([]byte, error) {
	if n > s.limit {
		return nil, ErrTooLong
	}
	for len(s.block)-s.at < n {
		if err := s.fill(); err == io.EOF && len(s.block) > s.at {
			return nil, io.ErrUnexpectedEOF
		} else if err != nil {
			return nil, err
		}
	}
	return s.take(n), nil
}

// AtEOF tells whether the input has ended; it may read to find out.
func (s *Scanner) AtEOF() (bool, error) {
	for s.at == len(s.block) {
		if err := s.fill(); err == io.EOF {
			return true, nil
		} else if err != nil {
			return false, err
		}
	}
	return false, nil
}

func (s *Scanner) take(n int) []byte {
	piece := s.block[s.at : s.at+n : s.at+n]
	s.at += n
	return piece
}

// fill reads more, into a new block once the current one is full.
func (s *Scanner) fill() error {
	if s.err != nil {
		return s.err
	}
	if cap(s.block)-len(s.block) < minReadBytes {
		rest := s.block[s.at:]
		block := make([]byte, len(rest), max(blockBytes, 2*len(rest)+minReadBytes))
		copy(block, rest)
		s.block, s.at = block, 0
	}
	n, err := s.source.Read(s.block[len(s.block):cap(s.block)])
	s.block = s.block[:len(s.block)+n]
	if n > 0 {
		s.err = err
		return nil
	}
	if err == nil {
		return nil
	}
	s.err = err
	return err
}
