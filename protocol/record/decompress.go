package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// decompressor streams the decompressed bytes of one payload. release returns
// it to its pool.
type decompressor interface {
	io.Reader
	open(payload []byte, maxBytes int) error
	release()
}

func newDecompressor(codec Codec) (decompressor, error) {
	switch codec {
	case Gzip:
		return gzipPool.Get().(*gzipReader), nil
	case Snappy:
		return snappyPool.Get().(*snappyReader), nil
	case LZ4:
		return lz4Pool.Get().(*lz4Reader), nil
	case Zstd:
		return zstdPool.Get().(*zstdReader), nil
	}
	return nil, unsupported(codec)
}

var gzipPool = sync.Pool{New: func() any { return new(gzipReader) }}

type gzipReader struct {
	src bytes.Reader
	gzip.Reader
}

func (r *gzipReader) open(payload []byte, _ int) error {
	r.src.Reset(payload)
	return r.Reset(&r.src)
}

func (r *gzipReader) release() {
	r.src.Reset(nil)
	gzipPool.Put(r)
}

var lz4Pool = sync.Pool{New: func() any {
	return &lz4Reader{Reader: lz4.NewReader(nil)} // one goroutine: the caller's
}}

type lz4Reader struct {
	src bytes.Reader
	*lz4.Reader
}

const lz4FrameMagic = 0x184D2204

func (r *lz4Reader) open(payload []byte, _ int) error {
	if len(payload) < 4 || binary.LittleEndian.Uint32(payload) != lz4FrameMagic {
		return errors.New("no lz4 frame")
	}
	r.src.Reset(payload)
	r.Reset(&r.src)
	return nil
}

func (r *lz4Reader) release() {
	r.src.Reset(nil)
	r.Reset(nil)
	lz4Pool.Put(r)
}

// maxZstdWindow is the largest window that is streamed: what zstd's levels up
// to 19 use. Frames with a larger one are decoded in one piece, of at most
// maxWholeZstd bytes.
const (
	maxZstdWindow = 8 << 20
	maxWholeZstd  = 64 << 20
)

var zstdPool = sync.Pool{New: func() any {
	stream, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxZstdWindow))
	if err != nil {
		panic(fmt.Sprintf("zstd decoder refuses its options: %v", err))
	}
	return &zstdReader{stream: stream}
}}

// zstdReader streams zstd frames; those with a window too large to be kept in
// a pool it decodes in one piece.
type zstdReader struct {
	src    bytes.Reader
	stream *zstd.Decoder
	whole  []byte // what is left of a payload decoded in one piece
	inOne  bool
}

func (r *zstdReader) open(payload []byte, maxBytes int) error {
	window, content, err := scanZstd(payload)
	if err != nil {
		return err
	}
	if content > uint64(maxBytes) {
		return tooLarge("zstd frames of %d bytes decompressed, the limit is %d", content, maxBytes)
	}
	if r.inOne = window > maxZstdWindow; r.inOne {
		if content > maxWholeZstd {
			return tooLarge("its zstd window is larger than %d bytes, so that it is decompressed in one piece, and that is one of %d: the limit is %d", maxZstdWindow, content, maxWholeZstd)
		}
		r.whole, err = decodeWholeZstd(payload, min(maxBytes, maxWholeZstd))
		return err
	}
	r.src.Reset(payload)
	return r.stream.Reset(&r.src)
}

func (r *zstdReader) Read(p []byte) (int, error) {
	if !r.inOne {
		return r.stream.Read(p)
	}
	if len(r.whole) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.whole)
	r.whole = r.whole[n:]
	return n, nil
}

func (r *zstdReader) release() {
	r.src.Reset(nil)
	r.whole = nil
	_ = r.stream.Reset(nil) // drops the source; fails on a closed decoder only, and this one never is
	zstdPool.Put(r)
}

// scanZstd walks the frames of a payload without decoding them. It gives the
// largest window and the sum of the content sizes that the frames announce:
// what a decoder would allocate on their word.
func scanZstd(payload []byte) (window, content uint64, err error) {
	var h zstd.Header
	for len(payload) > 0 {
		if err := h.Decode(payload); err != nil {
			return 0, 0, err
		}
		if h.Skippable {
			n := uint64(h.HeaderSize) + uint64(h.SkippableSize)
			if n > uint64(len(payload)) {
				return 0, 0, io.ErrUnexpectedEOF
			}
			payload = payload[n:]
			continue
		}
		if h.HasFCS {
			if content += h.FrameContentSize; content < h.FrameContentSize {
				return 0, 0, errors.New("content sizes overflow")
			}
		}
		if h.SingleSegment {
			window = max(window, h.FrameContentSize)
		}
		window = max(window, h.WindowSize)
		if payload, err = skipZstdFrame(payload, &h); err != nil {
			return 0, 0, err
		}
	}
	return window, content, nil
}

// skipZstdFrame steps over a frame from block to block (RFC 8878, 3.1.1.2).
func skipZstdFrame(payload []byte, h *zstd.Header) ([]byte, error) {
	payload = payload[h.HeaderSize:]
	for last := false; !last; {
		if len(payload) < 3 {
			return nil, io.ErrUnexpectedEOF
		}
		block := uint32(payload[0]) | uint32(payload[1])<<8 | uint32(payload[2])<<16
		last = block&1 != 0
		size := int(block >> 3)
		if kind := block >> 1 & 3; kind == 1 { // one byte, repeated
			size = 1
		}
		if len(payload) < 3+size {
			return nil, io.ErrUnexpectedEOF
		}
		payload = payload[3+size:]
	}
	if h.HasCheckSum {
		if len(payload) < 4 {
			return nil, io.ErrUnexpectedEOF
		}
		payload = payload[4:]
	}
	return payload, nil
}

// decodeWholeZstd decodes without a window beside the output, which grows as
// the blocks come. Such frames are rare: a decoder is made for each.
func decodeWholeZstd(payload []byte, maxBytes int) ([]byte, error) {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(1<<31), zstd.WithDecoderMaxMemory(uint64(maxBytes)))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	out, err := d.DecodeAll(payload, nil)
	if errors.Is(err, zstd.ErrWindowSizeExceeded) {
		return nil, tooLarge("its zstd window is larger than the limit of %d decompressed bytes", maxBytes)
	}
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		return nil, tooLarge("decompresses to more than the limit of %d bytes", maxBytes)
	}
	return out, err
}

var snappyPool = sync.Pool{New: func() any { return new(snappyReader) }}

// xerialHeader begins the chunked stream that Java's library writes: magic,
// version, lowest compatible version. Chunks follow, each with its length.
const (
	xerialMagic       = "\x82SNAPPY\x00"
	xerialHeaderBytes = len(xerialMagic) + 8
)

// snappyReader reads a chunked stream chunk by chunk, or a bare block, which
// cannot be decoded but in one piece.
type snappyReader struct {
	payload  []byte // what is not decoded yet
	chunked  bool
	scratch  []byte
	chunk    []byte // what is decoded and not read yet, in scratch
	maxBytes int
}

func (r *snappyReader) open(payload []byte, maxBytes int) error {
	r.payload, r.maxBytes, r.chunk = payload, maxBytes, nil
	if r.chunked = isXerial(payload); r.chunked {
		r.payload = payload[xerialHeaderBytes:]
	}
	return nil
}

func isXerial(payload []byte) bool {
	return len(payload) >= xerialHeaderBytes && string(payload[:len(xerialMagic)]) == xerialMagic
}

func (r *snappyReader) Read(p []byte) (int, error) {
	for len(r.chunk) == 0 {
		if len(r.payload) == 0 {
			return 0, io.EOF
		}
		if err := r.decodeNext(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.chunk)
	r.chunk = r.chunk[n:]
	return n, nil
}

func (r *snappyReader) decodeNext() error {
	block := r.payload
	if !r.chunked {
		r.payload = nil
		return r.decodeBlock(block)
	}
	if isXerial(block) { // streams may be strung together
		r.payload = block[xerialHeaderBytes:]
		return nil
	}
	if len(block) < 4 {
		return io.ErrUnexpectedEOF
	}
	size := binary.BigEndian.Uint32(block)
	if uint64(size) > uint64(len(block)-4) {
		return fmt.Errorf("snappy chunk of %d bytes, %d are left", size, len(block)-4)
	}
	r.payload = block[4+size:]
	return r.decodeBlock(block[4 : 4+size])
}

func (r *snappyReader) decodeBlock(block []byte) error {
	n, err := s2.DecodedLen(block)
	if err != nil {
		return err
	}
	// No element of snappy's makes more than 64 bytes of 3.
	if n > 22*len(block)+64 {
		return fmt.Errorf("snappy block of %d bytes claims to hold %d", len(block), n)
	}
	if n > r.maxBytes {
		return tooLarge("snappy block of %d bytes decompressed, the limit is %d", n, r.maxBytes)
	}
	if cap(r.scratch) < n {
		r.scratch = make([]byte, n)
	}
	r.chunk, err = s2.Decode(r.scratch[:n], block)
	return err
}

func (r *snappyReader) release() {
	r.payload, r.chunk = nil, nil
	if cap(r.scratch) > maxPooledBytes {
		r.scratch = nil
	}
	snappyPool.Put(r)
}
