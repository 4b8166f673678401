package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/fanfold/fanfold/internal/units"
)

// connectTimeout is how long the first answer of a broker is waited for.
const connectTimeout = 5 * time.Second

// A client is a connection to brokers, and the reason why the last of its
// attempts to connect failed, which explains a request that was never answered.
type client struct {
	*kgo.Client
	admin   *kadm.Client
	app     *app
	dialing struct {
		sync.Mutex
		address string
		err     error      // nil after a success
		early   []net.Conn // made before the first answer
		ready   bool       // a broker has answered
		givenUp bool       // none has in time
	}
}

// connect returns a client that a broker has answered, or an error that names
// the addresses and says what to do.
func (a *app) connect(ctx context.Context, opts ...kgo.Opt) (*client, error) {
	c := &client{app: a}
	base := []kgo.Opt{
		kgo.SeedBrokers(a.brokers...),
		kgo.ClientID("fanfold"),
		kgo.SoftwareNameAndVersion("fanfold", softwareVersion()),
		kgo.Dialer(c.dial),
		kgo.RetryTimeout(a.timeout),
		kgo.RequestTimeoutOverhead(max(min(a.timeout, 10*time.Second), 100*time.Millisecond)),
		kgo.MetadataMinAge(250 * time.Millisecond),
	}
	if err := c.ping(ctx, base); err != nil {
		return nil, err
	}
	// A broker that closes a connection before the first answer is, from here
	// on, one that stops or starts.
	cl, err := kgo.NewClient(append(append(base, kgo.AlwaysRetryEOF()), opts...)...)
	if err != nil {
		return nil, usagef("%s", err)
	}
	c.Client, c.admin = cl, kadm.NewClient(cl)
	return c, nil
}

// ping waits for a broker's first answer, on connections of its own.
func (c *client) ping(ctx context.Context, opts []kgo.Opt) error {
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return usagef("%s", err)
	}
	defer cl.Close()
	pinging, cancel := context.WithTimeout(ctx, min(connectTimeout, c.app.timeout))
	defer cancel()
	stop := context.AfterFunc(pinging, c.giveUp)
	err = cl.Ping(pinging)
	if stop() && err == nil {
		c.dialing.Lock()
		c.dialing.ready, c.dialing.early = true, nil
		c.dialing.Unlock()
		return nil
	}
	if err == nil {
		err = pinging.Err()
	}
	if ctx.Err() != nil {
		return errInterrupted
	}
	return c.unreachable(pinging, err)
}

// giveUp closes what was dialed before the first answer: the handshake of a
// connection waits for its peer, whatever happens to the request's context.
func (c *client) giveUp() {
	c.dialing.Lock()
	defer c.dialing.Unlock()
	c.dialing.givenUp = true
	for _, conn := range c.dialing.early {
		conn.Close()
	}
}

// errInterrupted is the end of a verb by a signal before its work was done.
var errInterrupted = errors.New("interrupted")

// softwareVersion is the version as ApiVersions allows it (KIP-511).
func softwareVersion() string {
	clean := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '.' || r == '-' {
			return r
		}
		return '-'
	}, readVersion().Version)
	return strings.Trim(clean, "-.")
}

// dial connects and remembers why it could not.
func (c *client) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: connectTimeout}).DialContext(ctx, network, address)
	if err != nil && ctx.Err() != nil {
		return nil, err // given up, which says nothing of the address
	}
	c.dialing.Lock()
	defer c.dialing.Unlock()
	if c.dialing.givenUp {
		if conn != nil {
			conn.Close()
		}
		return nil, context.DeadlineExceeded
	}
	if c.dialing.address, c.dialing.err = address, err; err == nil && !c.dialing.ready {
		c.dialing.early = append(c.dialing.early, conn)
	}
	return conn, err
}

// dialFailure is the last attempt to connect if it failed.
func (c *client) dialFailure() (address string, err error) {
	c.dialing.Lock()
	defer c.dialing.Unlock()
	return c.dialing.address, c.dialing.err
}

// unreachable explains that no broker answered the first request.
func (c *client) unreachable(pinging context.Context, err error) error {
	addresses := strings.Join(c.app.brokers, ", ")
	address, dialErr := c.dialFailure()
	if dialErr == nil && pinging.Err() != nil && address == "" {
		dialErr = context.DeadlineExceeded
	}
	if dialErr != nil {
		return fmt.Errorf("no broker at %s: %s; is a broker running there? start one with: fanfold serve", addresses, rootCause(dialErr))
	}
	if pinging.Err() != nil {
		return fmt.Errorf("%s accepts connections but gives no answer within %s; is it a Kafka broker's port, without TLS?",
			addresses, min(connectTimeout, c.app.timeout))
	}
	return fmt.Errorf("%s does not answer as a Kafka broker does: %w; is it a broker's port, without TLS and SASL?", addresses, err)
}

// rootCause is the shortest true text of a connection error.
func rootCause(err error) string {
	var dns *net.DNSError
	var errno syscall.Errno
	switch {
	case errors.As(err, &dns):
		return "no address known for the name " + dns.Name
	case errors.As(err, &errno):
		return errno.Error()
	case errors.Is(err, context.DeadlineExceeded) || isTimeout(err):
		return "no connection within " + connectTimeout.String()
	}
	return err.Error()
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

// explain makes an error of a request readable. doing says what was being
// done, and may be empty.
func (c *client) explain(ctx context.Context, doing string, err error) error {
	if err == nil {
		return nil
	}
	if doing != "" {
		doing += ": "
	}
	if ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled) {
		return errInterrupted
	}
	var answered *kerr.Error
	if errors.As(err, &answered) {
		return fmt.Errorf("%s%s", doing, protocolText(err, ""))
	}
	if address, dialErr := c.dialFailure(); dialErr != nil {
		return fmt.Errorf("%sthe broker at %s cannot be reached: %s (is it down, or advertised under a wrong address?)", doing, address, rootCause(dialErr))
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%sno answer within %s; --timeout sets how long to wait", doing, units.FormatElapsed(c.app.timeout))
	}
	return fmt.Errorf("%s%w", doing, err)
}

// protocolText is what a broker's error means: the broker's own message where
// it sent one, else the protocol's description.
func protocolText(err error, message string) string {
	var ke *kerr.Error
	if !errors.As(err, &ke) {
		return err.Error()
	}
	if message == "" {
		message = strings.TrimSuffix(strings.ToLower(ke.Description[:min(1, len(ke.Description))])+ke.Description[min(1, len(ke.Description)):], ".")
	}
	return strings.TrimSuffix(message, ".") + " (" + ke.Message + ")"
}

// topicError explains what a broker said about one topic, and the way out.
func topicError(name string, err error, message string) error {
	switch {
	case errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.UnknownTopicID):
		return fmt.Errorf("topic %q does not exist; create it with: fanfold topic create %s (all topics: fanfold topic list)", name, name)
	case errors.Is(err, kerr.TopicAlreadyExists):
		return fmt.Errorf("topic %q exists already; --if-not-exists lets it be, fanfold topic alter %s changes it", name, name)
	case errors.Is(err, kerr.InvalidTopicException) && message == "":
		return fmt.Errorf("topic name %q is not valid: letters, digits, '.', '_' and '-', at most 249 of them", name)
	}
	return fmt.Errorf("topic %q: %s", name, protocolText(err, message))
}

// perTopic gathers what went wrong with single topics of several.
type perTopic struct{ errs []error }

func (p *perTopic) add(err error) {
	if err != nil {
		p.errs = append(p.errs, err)
	}
}

// report writes all errors but the last, a line each, and returns that one.
func (p *perTopic) report(a *app) error {
	if len(p.errs) == 0 {
		return nil
	}
	for _, err := range p.errs[:len(p.errs)-1] {
		a.complain(err)
	}
	return p.errs[len(p.errs)-1]
}

// withClient connects, runs do within the timeout, and closes the client.
func (a *app) withClient(ctx context.Context, do func(context.Context, *client) error) error {
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	return do(ctx, c)
}

// completeTopics offers topic names where a broker answers within a second.
func (a *app) completeTopics(most int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if most > 0 && len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		quick, cancel := context.WithTimeout(cmd.Context(), time.Second)
		defer cancel()
		a.timeout = time.Second
		var names []string
		// Completion that fails offers nothing.
		_ = a.withClient(quick, func(ctx context.Context, c *client) error {
			topics, err := c.admin.ListTopics(ctx)
			for _, name := range topics.Names() {
				if !slices.Contains(args, name) {
					names = append(names, name)
				}
			}
			return err
		})
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
