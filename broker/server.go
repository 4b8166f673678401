package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Server accepts clients' connections and answers their requests.
type Server struct {
	cfg       Config
	log       *slog.Logger
	metrics   *metrics
	hostile   *rateLog
	budget    *budget
	small     *budget // the reserve for small requests
	sessions  *sessionCache
	groups    *groups
	listeners []net.Listener
	node      Node
	effective atomic.Pointer[cachedSettings]

	produces atomic.Int64 // that are not answered
	watched  atomic.Int64 // partitions, by fetches that wait

	ctx     context.Context // ends when Close has cut what was left
	cancel  context.CancelFunc
	stopped chan struct{}  // closed when Close begins
	stop    sync.Once      // closes it
	wg      sync.WaitGroup // all goroutines

	mu struct {
		sync.Mutex
		conns   map[*conn]struct{}
		perIP   map[netip.Addr]int
		fresh   *conn // the oldest that sent nothing valid yet; a ring
		closing bool
	}
}

// Listen binds the listeners. Nothing is accepted before Serve.
func Listen(ctx context.Context, cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	s := newServer(cfg)
	for _, l := range cfg.Listeners {
		var lc net.ListenConfig
		ln, err := lc.Listen(ctx, "tcp", l.Address)
		if err != nil {
			for _, open := range s.listeners {
				_ = open.Close() // the error that matters is err
			}
			return nil, fmt.Errorf("listen for Kafka clients: %w", err)
		}
		s.listeners = append(s.listeners, ln)
	}
	return s, nil
}

func newServer(cfg Config) *Server {
	s := &Server{
		cfg:      cfg,
		log:      cfg.Logger,
		hostile:  newRateLog(cfg.Logger),
		budget:   newBudget(cfg.MaxQueuedBytes),
		small:    newBudget(max(cfg.MaxQueuedBytes/reserveShare, smallRequestBytes)),
		sessions: newSessionCache(cfg.MaxFetchSessions),
	}
	s.metrics = newMetrics(cfg.Registerer, s)
	s.groups = newGroups(s)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.stopped = make(chan struct{})
	s.mu.conns = make(map[*conn]struct{})
	s.mu.perIP = make(map[netip.Addr]int)
	return s
}

// Addr is the address of the listener of that name, nil if there is none.
func (s *Server) Addr(listener string) net.Addr {
	for i, l := range s.cfg.Listeners {
		if l.Name == listener {
			return s.listeners[i].Addr()
		}
	}
	return nil
}

// Serve begins to accept connections and to answer for the node. It returns at
// once.
func (s *Server) Serve(node Node) {
	s.node = node
	s.wg.Go(s.runExpire)
	s.wg.Go(s.groups.run)
	for i, ln := range s.listeners {
		s.wg.Go(func() { s.accept(ln, s.cfg.Listeners[i].Name) })
	}
}

// Close stops accepting, answers what was begun (waiting fetches at once) for
// as long as the drain time-out and ctx allow, and closes all connections.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	s.mu.closing = true
	s.stop.Do(func() { close(s.stopped) })
	for c := range s.mu.conns {
		c.stopReading()
	}
	s.mu.Unlock()
	var errs []error
	for _, ln := range s.listeners {
		if err := ln.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, fmt.Errorf("close listener: %w", err))
		}
	}
	s.cutAt(ctx)
	return errors.Join(errs...)
}

// cutAt waits for all goroutines, and aborts all connections when ctx ends
// first.
func (s *Server) cutAt(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for c := range s.mu.conns {
			c.abort()
		}
	})
	defer stop()
	s.wg.Wait()
	s.cancel()
}

// accept takes connections from one listener until it closes.
func (s *Server) accept(ln net.Listener, name string) {
	const longest = time.Second
	pause := time.Duration(0)
	for {
		nc, err := ln.Accept()
		switch {
		case err == nil:
			pause = 0
			s.admit(nc, name)
		case errors.Is(err, net.ErrClosed):
			return
		default:
			// Too many open files, most likely: it may pass.
			pause = min(max(2*pause, 5*time.Millisecond), longest)
			s.hostile.log(name, fmt.Sprintf("accept: %v", err))
			if !s.sleep(pause) {
				return
			}
		}
	}
}

func (s *Server) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.stopped:
		return false
	}
}

// admit serves a connection if the limits have room for it. Where they have
// not, the connection that has been silent from its start for longest has to
// go.
func (s *Server) admit(nc net.Conn, listener string) {
	c := newConn(s, nc, listener)
	s.mu.Lock()
	refusal := s.refusal(c)
	if refusal == "" {
		s.mu.conns[c] = struct{}{}
		s.mu.perIP[c.ip]++
		s.pushFresh(c)
		s.metrics.connections.Inc()
		s.wg.Go(c.serve)
	}
	s.mu.Unlock()
	if refusal != "" {
		c.cancel()
		_ = nc.Close()
		s.metrics.refused.Inc()
		s.hostile.log(nc.RemoteAddr().String(), refusal)
	}
}

// refusal is why a connection is not served. Callers hold mu.
func (s *Server) refusal(c *conn) string {
	if s.mu.closing {
		return "the broker stops"
	}
	if s.mu.perIP[c.ip] >= s.cfg.MaxConnectionsPerIP {
		return "connection refused: its address has as many as max.connections.per.ip allows"
	}
	if len(s.mu.conns) < s.cfg.MaxConnections {
		return ""
	}
	silent := s.mu.fresh
	if silent == nil {
		return "connection refused: there are as many as max.connections allows"
	}
	s.hostile.log(silent.nc.RemoteAddr().String(), "closed for another: it sent no request, and max.connections is reached")
	s.detach(silent)
	s.wg.Go(silent.abort)
	return ""
}

// Connections is how many are open.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.mu.conns)
}

// forget takes a connection off the books.
func (s *Server) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.detach(c)
}

// detach is forget for callers that hold mu.
func (s *Server) detach(c *conn) {
	if _, ok := s.mu.conns[c]; !ok {
		return
	}
	delete(s.mu.conns, c)
	if s.mu.perIP[c.ip]--; s.mu.perIP[c.ip] == 0 {
		delete(s.mu.perIP, c.ip)
	}
	s.dropFresh(c)
	s.metrics.connections.Dec()
}

// proven notes that a connection sent a valid request.
func (s *Server) proven(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropFresh(c)
}

// pushFresh adds a connection behind the last of the ring.
func (s *Server) pushFresh(c *conn) {
	first := s.mu.fresh
	if first == nil {
		s.mu.fresh, c.freshPrev, c.freshNext = c, c, c
		return
	}
	last := first.freshPrev
	c.freshPrev, c.freshNext = last, first
	last.freshNext, first.freshPrev = c, c
}

func (s *Server) dropFresh(c *conn) {
	if c.freshNext == nil {
		return
	}
	if c.freshNext == c {
		s.mu.fresh = nil
	} else {
		c.freshPrev.freshNext, c.freshNext.freshPrev = c.freshNext, c.freshPrev
		if s.mu.fresh == c {
			s.mu.fresh = c.freshNext
		}
	}
	c.freshPrev, c.freshNext = nil, nil
}
