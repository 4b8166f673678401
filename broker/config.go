package broker

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// DefaultListener is the listener whose address a client is given where the
// listener that it came through has none registered.
const DefaultListener = "KAFKA"

// ListenerConfig is one address that Kafka clients connect to.
type ListenerConfig struct {
	Name    string // zero: DefaultListener
	Address string // host:port; port 0 takes a free one
}

// Config is what a Server needs besides its Node. A zero limit stands for its
// default.
type Config struct {
	// Listeners are where Kafka clients connect; there must be one.
	Listeners []ListenerConfig

	// MaxConnections bounds all connections together (max.connections);
	// zero: 10,000.
	MaxConnections int
	// MaxConnectionsPerIP bounds the connections from one address
	// (max.connections.per.ip); zero: 4,000.
	MaxConnectionsPerIP int
	// IdleTimeout closes a connection on which nothing was asked and nothing
	// is waited for (connections.max.idle.ms); zero: 10 minutes, below zero:
	// never.
	IdleTimeout time.Duration
	// FirstRequestTimeout closes a connection that has not sent one valid
	// request; zero: 30 seconds.
	FirstRequestTimeout time.Duration
	// FrameTimeout is how long a request may take to arrive once it has
	// begun, beside one second for each MinReceiveRate bytes; zero: 30
	// seconds.
	FrameTimeout time.Duration
	// MinReceiveRate is in bytes a second; zero: 256 KiB.
	MinReceiveRate int64
	// WriteTimeout closes a connection whose client has not read anything of
	// an answer for so long; zero: 30 seconds.
	WriteTimeout time.Duration
	// DrainTimeout is how long Close lets what was begun come to its end;
	// zero: 3 seconds.
	DrainTimeout time.Duration

	// MaxRequestBytes bounds a request (socket.request.max.bytes); zero:
	// 100 MiB.
	MaxRequestBytes int
	// SendBufferBytes is the size of a connection's send buffer
	// (socket.send.buffer.bytes); zero: 100 KiB, below zero: the operating
	// system's choice.
	SendBufferBytes int
	// MaxOtherRequestBytes bounds requests that carry no records; zero:
	// 16 MiB. It is never above MaxRequestBytes.
	MaxOtherRequestBytes int
	// MaxQueuedBytes bounds the bytes of all requests in flight
	// (queued.max.request.bytes); zero: 12 MiB.
	MaxQueuedBytes int64
	// MaxPipelined bounds the requests of one connection that are not
	// answered; more are not read from it; zero: 256.
	MaxPipelined int
	// MaxFetchSessions bounds the fetch sessions kept
	// (max.incremental.fetch.session.cache.slots); zero: 1,000.
	MaxFetchSessions int
	// MaxWaitingPartitions bounds the partitions that all waiting fetches
	// watch; a fetch above that is answered without waiting; zero: 100,000.
	MaxWaitingPartitions int
	// MaxOpenFiles is how many files the process may have open, of which new
	// partitions must leave enough; zero: what the system says, below zero:
	// not looked at.
	MaxOpenFiles int

	// Logger is where the broker logs; nil: nowhere.
	Logger *slog.Logger
	// Registerer is where the broker's metrics are registered; nil: they are
	// counted and not shown.
	Registerer prometheus.Registerer
}

// firstFrameBytes bounds a frame of which not even the key and version are
// known as ones that are served: it is read only to be answered politely.
const firstFrameBytes = 64 << 10

func (c Config) withDefaults() Config {
	c.MaxConnections = orDefault(c.MaxConnections, 10_000)
	c.MaxConnectionsPerIP = orDefault(c.MaxConnectionsPerIP, 4_000)
	c.IdleTimeout = orDefault(c.IdleTimeout, 10*time.Minute)
	c.FirstRequestTimeout = orDefault(c.FirstRequestTimeout, 30*time.Second)
	c.FrameTimeout = orDefault(c.FrameTimeout, 30*time.Second)
	c.MinReceiveRate = orDefault(c.MinReceiveRate, 256<<10)
	c.WriteTimeout = orDefault(c.WriteTimeout, 30*time.Second)
	c.DrainTimeout = orDefault(c.DrainTimeout, 3*time.Second)
	c.MaxRequestBytes = orDefault(c.MaxRequestBytes, 100<<20)
	c.SendBufferBytes = orDefault(c.SendBufferBytes, 100<<10)
	c.MaxOtherRequestBytes = min(orDefault(c.MaxOtherRequestBytes, 16<<20), c.MaxRequestBytes)
	c.MaxQueuedBytes = orDefault(c.MaxQueuedBytes, 12<<20)
	c.MaxPipelined = orDefault(c.MaxPipelined, 256)
	c.MaxFetchSessions = orDefault(c.MaxFetchSessions, 1_000)
	c.MaxWaitingPartitions = orDefault(c.MaxWaitingPartitions, 100_000)
	c.MaxOpenFiles = orDefault(c.MaxOpenFiles, openFiles())
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	for i, l := range c.Listeners {
		if l.Name == "" {
			c.Listeners[i].Name = DefaultListener
		}
	}
	return c
}

func orDefault[T int | int64 | time.Duration](v, fallback T) T {
	if v == 0 {
		return fallback
	}
	return v
}

func (c Config) validate() error {
	if len(c.Listeners) == 0 {
		return fmt.Errorf("validate broker config: no listener")
	}
	for _, l := range []struct {
		name  string
		value int64
	}{
		{"max.connections", int64(c.MaxConnections)},
		{"max.connections.per.ip", int64(c.MaxConnectionsPerIP)},
		{"first request time-out", int64(c.FirstRequestTimeout)},
		{"frame time-out", int64(c.FrameTimeout)},
		{"receive rate", c.MinReceiveRate},
		{"write time-out", int64(c.WriteTimeout)},
		{"drain time-out", int64(c.DrainTimeout)},
		{"socket.request.max.bytes", int64(c.MaxRequestBytes)},
		{"queued.max.request.bytes", c.MaxQueuedBytes},
		{"pipelined requests", int64(c.MaxPipelined)},
		{"waiting partitions", int64(c.MaxWaitingPartitions)},
		{"max.incremental.fetch.session.cache.slots", int64(c.MaxFetchSessions)},
	} {
		if l.value < 0 {
			return fmt.Errorf("validate broker config: %s is negative", l.name)
		}
	}
	return nil
}
