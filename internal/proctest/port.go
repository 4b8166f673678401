package proctest

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
)

// The ports that FreeAddress chooses from. They are below those that systems
// give to connections: a client that connects again and again to such a port
// while nobody listens is connected to itself one day, and the port is taken.
const lowestPort, highestPort = 20_000, 31_999

// FreeAddress is a loopback address with a port that nobody listens at, which
// a process that is killed and started again can keep.
func FreeAddress() (string, error) {
	var err error
	for range 1000 {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(lowestPort+rand.IntN(highestPort-lowestPort+1)))
		var listener net.Listener
		if listener, err = net.Listen("tcp", address); err == nil {
			return address, listener.Close()
		}
	}
	return "", errors.Join(errors.New("no port is free"), err)
}
