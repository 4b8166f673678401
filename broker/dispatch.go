package broker

import (
	"bytes"
	"reflect"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fanfold/fanfold/protocol"
)

const (
	produceKey     int16 = 0
	fetchKey       int16 = 1
	apiVersionsKey int16 = 18
)

// frameLimit is how many bytes a request of that key and version may have.
func (s *Server) frameLimit(key, version int16) int {
	a := findAPI(key)
	switch {
	case a == nil || version < a.listedMin || version > a.max:
		return min(firstFrameBytes, s.cfg.MaxRequestBytes)
	case key == produceKey && a.serves(version):
		return s.cfg.MaxRequestBytes
	default:
		return s.cfg.MaxOtherRequestBytes
	}
}

// dispatch starts the request in the frame. It takes the frame and the bytes
// granted for it. An error ends the connection.
func (c *conn) dispatch(f *frame, granted int64) error {
	h, body, err := protocol.ParseRequestHeader(f.data)
	a := findAPI(h.Key)
	if err != nil || a == nil || !a.serves(h.Version) {
		defer c.srv.releaseBytes(granted)
		defer f.free()
		return c.refuse(h, body, err)
	}
	if !c.known {
		c.known = true
		c.srv.proven(c)
	}
	if granted, err = c.chargeElements(h, body, granted); err != nil {
		f.free()
		return err
	}
	return a.start(c, newCall(c, a, h, granted), f, body)
}

// Requests of at least countedBytes have their elements counted: each takes
// about elementBytes once it is decoded and answered.
const (
	countedBytes = 64 << 10
	elementBytes = 256
)

// chargeElements takes what the request decodes into from the budget, beside
// its own bytes. It gives these back before: whoever waits for more holds
// nothing.
func (c *conn) chargeElements(h protocol.Header, body []byte, granted int64) (int64, error) {
	if len(body) < countedBytes {
		return granted, nil
	}
	elements := protocol.Elements(h.Key, h.Version, body)
	if int64(elements)*elementBytes < int64(len(body)) {
		return granted, nil // records, for the most part
	}
	c.srv.releaseBytes(granted)
	return c.acquire(int64(len(body)) + requestOverhead + int64(elements)*elementBytes)
}

// refuse answers what is not served, where the protocol has room for that.
func (c *conn) refuse(h protocol.Header, body []byte, headerErr error) error {
	if headerErr != nil {
		return badInputf("%v", headerErr)
	}
	a := findAPI(h.Key)
	switch {
	case h.Key == apiVersionsKey:
		c.reply(h, encoded(protocol.AppendUnsupportedApiVersions(nil, h.CorrelationID, a.min, a.max)))
		return nil
	case h.Key == produceKey && h.Version < a.min:
		b, answer, err := protocol.AppendUnsupportedProduce(nil, h, body)
		if err != nil {
			return badInputf("%v", err)
		}
		if !answer {
			return badInputf("Produce version %d is not served; versions %d to %d are", h.Version, a.min, a.max)
		}
		c.reply(h, encoded(b))
		return nil
	}
	if resp := unsupported(h.Key, h.Version); resp != nil {
		c.reply(h, message{resp})
		return nil
	}
	return badInputf("a request of key %d version %d, which is not served", h.Key, h.Version)
}

// reply answers a request that is not served.
func (c *conn) reply(h protocol.Header, a answer) {
	k := newCall(c, nil, h, 0)
	k.answer = a
	c.push(k)
	c.complete(k, byReader)
}

// unsupported is the answer UNSUPPORTED_VERSION to a request of a key and
// version whose answer has one error for all; nil for others.
func unsupported(key, version int16) kmsg.Response {
	resp := kmsg.ResponseForKey(key)
	if resp == nil || version < 0 || version > resp.MaxVersion() {
		return nil
	}
	resp.SetVersion(version)
	code := reflect.ValueOf(resp).Elem().FieldByName("ErrorCode")
	if !code.IsValid() || code.Kind() != reflect.Int16 {
		return nil
	}
	without := resp.AppendTo(nil)
	code.SetInt(int64(kerr.UnsupportedVersion.Code))
	if bytes.Equal(without, resp.AppendTo(nil)) {
		return nil // not in this version
	}
	return resp
}

// message is an answer as kmsg encodes it.
type message struct{ resp kmsg.Response }

func (m message) send(w *answerWriter, k *call) (err error) {
	w.buf, err = protocol.AppendResponse(w.buf, k.header, m.resp)
	return err
}

func (message) drop() {}

// encoded is an answer that is encoded already.
type encoded []byte

func (e encoded) send(w *answerWriter, _ *call) error {
	w.buf = append(w.buf, e...)
	return nil
}

func (encoded) drop() {}
