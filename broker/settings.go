package broker

import (
	"time"

	"github.com/fanfold/fanfold/cluster/configs"
)

// ConfigOf is a Server's configuration as a node's settings say it.
func ConfigOf(s configs.Settings) Config {
	c := Config{
		MaxConnections:      int(s.MaxConnections),
		MaxConnectionsPerIP: int(s.MaxConnectionsPerIP),
		IdleTimeout:         time.Duration(s.ConnectionsMaxIdleMillis) * time.Millisecond,
		MaxRequestBytes:     int(s.SocketRequestMaxBytes),
		SendBufferBytes:     int(s.SocketSendBufferBytes),
		MaxQueuedBytes:      s.QueuedMaxRequestBytes,
		MaxFetchSessions:    int(s.FetchSessionCacheSlots),
	}
	for i, address := range s.Listeners {
		name := DefaultListener
		if i > 0 {
			name += string(rune('0' + i))
		}
		c.Listeners = append(c.Listeners, ListenerConfig{Name: name, Address: address})
	}
	return c
}
