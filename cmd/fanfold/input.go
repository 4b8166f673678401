package main

import (
	"context"
	"io"
)

// input is a reader whose Read returns when ctx ends, though the read of the
// source beneath it may go on: a terminal or a silent pipe cannot be
// interrupted. One goroutine reads ahead of Read; it ends with the source, or,
// after ctx ended, once the source has answered its last read.
type input struct {
	ctx    context.Context
	chunks chan chunk
	rest   []byte
	err    error
}

type chunk struct {
	data []byte
	err  error
}

const inputChunkBytes = 64 << 10

// newInput starts to read. The caller ends ctx when it reads no more.
func newInput(ctx context.Context, source io.Reader) *input {
	in := &input{ctx: ctx, chunks: make(chan chunk, 1)}
	go in.pump(source)
	return in
}

func (in *input) Read(p []byte) (int, error) {
	for len(in.rest) == 0 {
		if in.err != nil {
			return 0, in.err
		}
		select {
		case c := <-in.chunks:
			in.rest, in.err = c.data, c.err
		case <-in.ctx.Done():
			return 0, context.Cause(in.ctx)
		}
	}
	n := copy(p, in.rest)
	in.rest = in.rest[n:]
	return n, nil
}

func (in *input) pump(source io.Reader) {
	for {
		buffer := make([]byte, inputChunkBytes)
		n, err := source.Read(buffer)
		select {
		case in.chunks <- chunk{buffer[:n], err}:
		case <-in.ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}
