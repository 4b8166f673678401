//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fanfold/fanfold/bench"
)

// natsConn speaks as much of NATS's text protocol as publishing into a stream
// and reading it back need; it does less for a message than any client
// library, which is to JetStream's advantage. One request at a time.
type natsConn struct {
	conn  net.Conn
	in    *bufio.Reader
	out   []byte
	inbox string
	pong  *atomic.Bool // set where one is owed and another goroutine writes; nil: the reader writes it
}

const pong = "PONG\r\n"

// natsWithin is how long one answer may take.
const natsWithin = time.Minute

func dialNATS(ctx context.Context, address string) (*natsConn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	c := &natsConn{conn: conn, in: bufio.NewReaderSize(conn, 64<<10), inbox: "_INBOX." + strings.ReplaceAll(conn.LocalAddr().String(), ".", "-")}
	line, err := c.line()
	if err == nil && !bytes.HasPrefix(line, []byte("INFO ")) {
		err = fmt.Errorf("a greeting that is not NATS's: %q", line)
	}
	if err == nil {
		_, err = fmt.Fprintf(conn, "CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"go\",\"version\":\"1\",\"headers\":true,\"no_responders\":true}\r\nSUB %s 1\r\nPING\r\n", c.inbox)
	}
	if err == nil {
		if line, err = c.line(); err == nil && string(line) != "PONG" {
			err = fmt.Errorf("NATS answered %q", line)
		}
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

func (c *natsConn) Close() error { return c.conn.Close() }

// line reads one line without its end.
func (c *natsConn) line() ([]byte, error) {
	line, err := c.in.ReadSlice('\n')
	return bytes.TrimRight(line, "\r\n"), err
}

// natsMessage is one that the server sent.
type natsMessage struct {
	pushed  bool // of the second subscription, which is a stream's
	payload []byte
}

// message reads until a message comes.
func (c *natsConn) message() (natsMessage, error) {
	for {
		line, err := c.line()
		if err != nil {
			return natsMessage{}, err
		}
		switch {
		case bytes.HasPrefix(line, []byte("MSG ")), bytes.HasPrefix(line, []byte("HMSG ")):
			fields := bytes.Fields(line)
			n, err := strconv.Atoi(string(fields[len(fields)-1]))
			if err != nil || n < 0 || n > 64<<20 {
				return natsMessage{}, fmt.Errorf("NATS sent %q", line)
			}
			status, pushed := line[0] == 'H', string(fields[2]) == "2"
			payload := make([]byte, n+2)
			if _, err := io.ReadFull(c.in, payload); err != nil {
				return natsMessage{}, err
			}
			if status && bytes.HasPrefix(payload, []byte("NATS/1.0 503")) {
				return natsMessage{}, errors.New("nobody answers that subject")
			}
			return natsMessage{pushed, payload[:n]}, nil
		case bytes.HasPrefix(line, []byte("PING")):
			if c.pong != nil {
				c.pong.Store(true)
			} else if _, err := io.WriteString(c.conn, pong); err != nil {
				return natsMessage{}, err
			}
		case bytes.HasPrefix(line, []byte("-ERR")):
			return natsMessage{}, fmt.Errorf("NATS: %s", line)
		}
	}
}

// publish sends a message whose answer comes to the inbox.
func (c *natsConn) publish(subject string, payload []byte) error {
	if err := c.conn.SetDeadline(time.Now().Add(natsWithin)); err != nil {
		return err
	}
	c.out = append(c.out[:0], "PUB "...)
	c.out = append(c.out, subject...)
	c.out = append(append(c.out, ' '), c.inbox...)
	c.out = strconv.AppendInt(append(c.out, ' '), int64(len(payload)), 10)
	c.out = append(append(append(c.out, "\r\n"...), payload...), "\r\n"...)
	_, err := c.conn.Write(c.out)
	return err
}

// request publishes and waits for the answer.
func (c *natsConn) request(subject string, payload []byte) ([]byte, error) {
	if err := c.publish(subject, payload); err != nil {
		return nil, err
	}
	m, err := c.message()
	return m.payload, err
}

// api is a request of JetStream's own, in JSON; request and answer may be nil.
func (c *natsConn) api(subject string, request, answer any) error {
	var body []byte
	if request != nil {
		var err error
		if body, err = json.Marshal(request); err != nil {
			return err
		}
	}
	got, err := c.request("$JS.API."+subject, body)
	if err != nil {
		return err
	}
	if err := natsFailure(got); err != nil {
		return fmt.Errorf("JetStream %s: %w", subject, err)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(got, answer)
}

// natsFailure is the error that an answer of JetStream's holds.
func natsFailure(answer []byte) error {
	var failed struct {
		Error *struct {
			Description string `json:"description"`
		} `json:"error"`
	}
	if err := json.Unmarshal(answer, &failed); err != nil {
		return err
	}
	if failed.Error != nil {
		return errors.New(failed.Error.Description)
	}
	return nil
}

// natsExchanger publishes into a stream and waits for its acknowledgement.
type natsExchanger struct {
	*natsConn
	subject string
}

func (e natsExchanger) Exchange(value []byte) error {
	got, err := e.request(e.subject, value)
	if err == nil && !bytes.Contains(got, []byte(`"seq":`)) {
		err = fmt.Errorf("JetStream refused a record: %s", got)
	}
	return err
}

// streams are one subject and one stream for each partition that a topic would
// have, in files, without replicas.
func createStreams(ctx context.Context, address, name string, count int) error {
	c, err := dialNATS(ctx, address)
	if err != nil {
		return err
	}
	defer c.Close()
	for i := range count {
		stream := fmt.Sprintf("%s-%d", name, i)
		err := c.api("STREAM.CREATE."+stream, map[string]any{
			"name": stream, "subjects": []string{stream}, "storage": "file", "num_replicas": 1, "retention": "limits",
		}, nil)
		if err != nil {
			return err
		}
	}
	return nil
}

func deleteStreams(ctx context.Context, address, name string, count int) error {
	c, err := dialNATS(ctx, address)
	if err != nil {
		return err
	}
	defer c.Close()
	for i := range count {
		if err := c.api(fmt.Sprintf("STREAM.DELETE.%s-%d", name, i), nil, nil); err != nil {
			return err
		}
	}
	return nil
}

// verifyStreams reads all back and compares.
func verifyStreams(ctx context.Context, address, name string, count int, acked bench.Sum) error {
	var got bench.Sum
	for i := range count {
		if err := readStream(ctx, address, fmt.Sprintf("%s-%d", name, i), &got); err != nil {
			return err
		}
	}
	if got != acked {
		return fmt.Errorf("the streams hold %v, but acknowledged were %v", got, acked)
	}
	return nil
}

// readStream has the server push a stream without acknowledgements.
func readStream(ctx context.Context, address, stream string, sum *bench.Sum) error {
	c, err := dialNATS(ctx, address)
	if err != nil {
		return err
	}
	defer c.Close()
	var info struct {
		State struct {
			Messages int64 `json:"messages"`
		} `json:"state"`
	}
	if err := c.api("STREAM.INFO."+stream, nil, &info); err != nil {
		return err
	}
	if info.State.Messages == 0 {
		return nil
	}
	deliver := c.inbox + ".push"
	if _, err := fmt.Fprintf(c.conn, "SUB %s 2\r\n", deliver); err != nil {
		return err
	}
	body, err := json.Marshal(map[string]any{
		"stream_name": stream,
		"config": map[string]any{
			"deliver_subject": deliver, "deliver_policy": "all", "ack_policy": "none", "replay_policy": "instant", "mem_storage": true,
		},
	})
	if err != nil {
		return err
	}
	if err := c.publish("$JS.API.CONSUMER.CREATE."+stream, body); err != nil {
		return err
	}
	for left := info.State.Messages; left > 0; {
		m, err := c.message()
		if err == nil && !m.pushed {
			err = natsFailure(m.payload) // the answer may come behind the first records
		} else if err == nil {
			sum.Add(m.payload)
			left--
		}
		if err != nil {
			return fmt.Errorf("read stream %s: %w", stream, err)
		}
	}
	return nil
}
