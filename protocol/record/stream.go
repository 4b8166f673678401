package record

import (
	"errors"
	"io"
	"sync"
)

const (
	// streamChunkBytes is how much is decompressed at a time, at least.
	streamChunkBytes = 32 << 10
	// maxPooledBytes is the largest buffer that a pool keeps.
	maxPooledBytes = 1 << 20
)

// stream is the decompressed bytes of a batch, a window of which is in memory:
// one chunk, or one record where that is larger. Uncompressed batches are
// windows as they are, without a copy.
type stream struct {
	src   decompressor // nil: window is all there is
	own   []byte       // the buffer that window is in, where src fills it
	buf   []byte       // bytes not taken yet
	taken int          // bytes taken
	read  int          // bytes that src gave
	limit int          // most that src may give
	eof   bool
}

var streamPool = sync.Pool{New: func() any { return new(stream) }}

// openStream streams the records of a batch that fills b. close it.
func openStream(h *Header, b []byte, limits Limits) (*stream, error) {
	payload := b[HeaderBytes:]
	s := streamPool.Get().(*stream)
	s.limit = limits.maxDecompressed()
	s.src, s.buf, s.taken, s.read, s.eof = nil, payload, 0, 0, true
	if h.Codec() == None || h.Records == 0 && len(payload) == 0 {
		return s, nil
	}
	src, err := newDecompressor(h.Codec())
	if err != nil {
		s.close()
		return nil, err
	}
	s.src, s.buf, s.eof = src, s.own[:0], false
	if err := src.open(payload, s.limit); err != nil {
		s.close()
		return nil, decompressError(h.Codec(), err)
	}
	return s, nil
}

func (s *stream) close() {
	if s.src != nil {
		s.src.release()
	}
	s.src, s.buf = nil, nil
	if cap(s.own) > maxPooledBytes {
		s.own = nil
	}
	streamPool.Put(s)
}

// decompressError keeps an *Error and says of any other what failed.
func decompressError(codec Codec, err error) error {
	var e *Error
	if errors.As(err, &e) {
		return err
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return invalid("records do not decompress as %v: %v", codec, err)
}

// need makes n bytes available in buf, or fewer where the stream ends first.
// The memory that it takes grows with the bytes that come, not with n.
func (s *stream) need(codec Codec, n int) error {
	for len(s.buf) < n && !s.eof {
		if err := s.fill(n); err != nil {
			return decompressError(codec, err)
		}
	}
	return nil
}

// fill reads once into the buffer, which it makes room in.
func (s *stream) fill(n int) error {
	if len(s.buf) == cap(s.buf) {
		size := max(streamChunkBytes, min(2*len(s.buf), n))
		if size > cap(s.own) {
			s.own = make([]byte, size)
		}
		s.own = s.own[:cap(s.own)]
		s.buf = s.own[:copy(s.own, s.buf)]
	}
	room := s.buf[len(s.buf):cap(s.buf)]
	if left := s.limit - s.read; len(room) > left {
		room = room[:left+1] // one more, to see that there is more
	}
	got, err := s.src.Read(room)
	s.buf = s.buf[:len(s.buf)+got]
	if s.read += got; s.read > s.limit {
		return tooLarge("records decompress to more than the limit of %d bytes", s.limit)
	}
	if err == io.EOF {
		s.eof = true
		return nil
	}
	return err
}

// take steps over n bytes that are in buf.
func (s *stream) take(n int) {
	s.buf = s.buf[n:]
	s.taken += n
}
