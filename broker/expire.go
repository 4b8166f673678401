package broker

import "time"

// expireInterval is how often produces are looked at that wait for too long.
// Their time-outs are of seconds, so that none needs a timer of its own.
const expireInterval = 250 * time.Millisecond

// runExpire answers produces whose time-out has passed, until the server
// closes.
func (s *Server) runExpire() {
	ticker := time.NewTicker(expireInterval)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			if s.produces.Load() > 0 {
				s.expireProduces(now)
			}
		case <-s.stopped:
			return
		}
	}
}

func (s *Server) expireProduces(now time.Time) {
	s.mu.Lock()
	conns := make([]*conn, 0, len(s.mu.conns))
	for c := range s.mu.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	for _, c := range conns {
		c.expireProduces(now)
	}
}

func (c *conn) expireProduces(now time.Time) {
	c.mu.Lock()
	for k := c.mu.first; k != nil; k = k.next {
		if k.produce != nil && !k.done && k.produce.expire(now) {
			k.done = true
			c.mu.done++
		}
	}
	write := c.claimWriter()
	c.mu.Unlock()
	if write {
		c.srv.wg.Go(c.writeDone)
	}
}
