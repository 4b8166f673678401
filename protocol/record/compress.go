package record

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// LevelRange is the lowest and highest compression level of a codec, with
// Kafka's bounds (KIP-780); both are 0 where a codec has no levels.
func (c Codec) LevelRange() (lowest, highest int) {
	switch c {
	case Gzip:
		return 1, 9
	case LZ4:
		return 1, 17
	case Zstd:
		return -131072, 22
	}
	return 0, 0
}

// defaultLZ4Level is Kafka's, which stands for the fast compressor.
const defaultLZ4Level = 9

func checkLevel(codec Codec, level int) error {
	if !codec.Known() {
		return unsupported(codec)
	}
	if lowest, highest := codec.LevelRange(); level != 0 && (level < lowest || level > highest) &&
		(codec != Gzip || level != -1) {
		return fmt.Errorf("%v level %d is not within %d and %d", codec, level, lowest, highest)
	}
	return nil
}

// encoder is what the codecs' writers have in common.
type encoder interface {
	io.WriteCloser
	Reset(io.Writer)
}

// compressor appends what is written to it, compressed, to out.
type compressor struct {
	out     []byte
	encoder encoder // nil: as it is
	pool    *sync.Pool
}

type encoderKey struct {
	codec Codec
	level int
}

// encoderPools has a *sync.Pool of compressors for each encoderKey in use.
var encoderPools sync.Map

// newCompressor appends to dst. The level has been checked.
func newCompressor(codec Codec, level int, dst []byte) *compressor {
	key := encoderKey{codec, level}
	pool, ok := encoderPools.Load(key)
	if !ok {
		pool, _ = encoderPools.LoadOrStore(key, &sync.Pool{New: func() any {
			return &compressor{encoder: newEncoder(codec, level)}
		}})
	}
	c := pool.(*sync.Pool).Get().(*compressor)
	c.pool, c.out = pool.(*sync.Pool), dst
	if c.encoder != nil {
		c.encoder.Reset((*appender)(c))
	}
	return c
}

func (c *compressor) Write(p []byte) (int, error) {
	if c.encoder == nil {
		c.out = append(c.out, p...)
		return len(p), nil
	}
	return c.encoder.Write(p)
}

// finish ends the stream and gives dst with it appended.
func (c *compressor) finish() ([]byte, error) {
	if c.encoder == nil {
		return c.out, nil
	}
	err := c.encoder.Close()
	return c.out, err
}

func (c *compressor) release() {
	c.out = nil
	c.pool.Put(c)
}

// appender is the compressor's output side.
type appender compressor

func (a *appender) Write(p []byte) (int, error) {
	a.out = append(a.out, p...)
	return len(p), nil
}

func newEncoder(codec Codec, level int) encoder {
	var w encoder
	var err error
	switch codec {
	case None:
		return nil
	case Gzip:
		if level == 0 {
			level = gzip.DefaultCompression
		}
		w, err = gzip.NewWriterLevel(nil, level)
	case Snappy:
		w = new(xerialWriter)
	case LZ4:
		w, err = newLZ4Writer(level)
	case Zstd:
		if level == 0 {
			level = 3
		}
		w, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true),
			zstd.WithWindowSize(1<<20), zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)))
	}
	if err != nil {
		panic(fmt.Sprintf("%v encoder refuses checked level %d: %v", codec, level, err))
	}
	return w
}

// newLZ4Writer writes independent blocks of 64 KiB, which is what Kafka's
// reader in Java asks for.
func newLZ4Writer(level int) (encoder, error) {
	w := lz4.NewWriter(nil)
	chosen := lz4.Fast
	if level != 0 && level != defaultLZ4Level {
		chosen = lz4.CompressionLevel(1 << (8 + min(level, 9)))
	}
	err := w.Apply(lz4.ConcurrencyOption(1), lz4.BlockSizeOption(lz4.Block64Kb),
		lz4.ChecksumOption(false), lz4.CompressionLevelOption(chosen))
	return w, err
}

// xerialBlockBytes is the chunk size of Java's library.
const xerialBlockBytes = 32 << 10

// xerialWriter writes snappy as Java's library does: in chunks.
type xerialWriter struct {
	dst     io.Writer
	pending []byte
	chunk   []byte
	started bool
}

func (w *xerialWriter) Reset(dst io.Writer) {
	w.dst, w.pending, w.started = dst, w.pending[:0], false
}

func (w *xerialWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		part := p[:min(len(p), xerialBlockBytes-len(w.pending))]
		w.pending = append(w.pending, part...)
		p = p[len(part):]
		if len(w.pending) == xerialBlockBytes {
			if err := w.flush(); err != nil {
				return n - len(p), err
			}
		}
	}
	return n, nil
}

func (w *xerialWriter) flush() error {
	if cap(w.chunk) == 0 {
		w.chunk = make([]byte, xerialHeaderBytes+4+s2.MaxEncodedLen(xerialBlockBytes))
	}
	head := w.chunk[:0]
	if !w.started {
		head = append(head, xerialMagic...)
		head = append(head, 0, 0, 0, 1, 0, 0, 0, 1)
		w.started = true
	}
	at := len(head)
	block := s2.EncodeSnappy(w.chunk[at+4:cap(w.chunk)], w.pending)
	w.pending = w.pending[:0]
	head = binary.BigEndian.AppendUint32(head, uint32(len(block)))
	_, err := w.dst.Write(head[:len(head)+len(block)])
	return err
}

// Close writes what is pending.
func (w *xerialWriter) Close() error {
	if len(w.pending) == 0 && w.started {
		return nil
	}
	return w.flush()
}
