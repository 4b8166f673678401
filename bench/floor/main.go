//go:build linux

// Command floor is the least that a broker which syncs what it acknowledges
// can do on this kernel and disk, to measure real ones against: it reads
// Kafka's Produce requests, takes the CRC-32C of each batch, writes it to its
// partition's file, syncs that file together with what else came meanwhile,
// and answers; Fetch is answered by bare sendfile. It checks and keeps nothing
// else: no producers' sequences, no configuration, no recovery, no limits. It
// trusts its clients and must listen on loopback only.
//
// Goroutines: one for each connection reads and writes to files, one for each
// connection sends its answers in order, one for each partition syncs. All of
// them end with the process.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "`HOST:PORT` to serve Kafka clients on")
	dir := flag.String("data-dir", "floor-data", "where the files are")
	nosync := flag.Bool("no-sync", false, "acknowledge without syncing")
	flag.Parse()
	if err := run(*listen, *dir, !*nosync); err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
}

func run(listen, dir string, sync bool) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { l.Close() })
	s := newServer(l.Addr().(*net.TCPAddr), dir, sync)
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		go s.serve(conn.(*net.TCPConn))
	}
}
