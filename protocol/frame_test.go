package protocol

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// frameOf is a request's frame without its size, as kmsg's clients write it.
func frameOf(req kmsg.Request, correlationID int32, client string) []byte {
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID(client)).AppendRequest(nil, req, correlationID)[SizeBytes:]
}

func TestFrameSize(t *testing.T) {
	for _, c := range []struct {
		size uint32
		ok   bool
	}{{0, true}, {100, true}, {101, false}, {0xffffffff, false}, {0x47455420, false} /* "GET " */} {
		var prefix [SizeBytes]byte
		binary.BigEndian.PutUint32(prefix[:], c.size)
		if n, err := FrameSize(prefix, 100); (err == nil) != c.ok || c.ok && n != int(c.size) {
			t.Errorf("size %#x: %d, %v", c.size, n, err)
		}
	}
}

func TestHeadersOfAllRequests(t *testing.T) {
	for key := range int16(kmsg.MaxKey + 1) {
		req := kmsg.RequestForKey(key)
		if req == nil {
			continue
		}
		for version := range req.MaxVersion() + 1 {
			req.SetVersion(version)
			frame := frameOf(req, 1234, "a client")
			h, body, err := ParseRequestHeader(frame)
			want := Header{Key: key, Version: version, CorrelationID: 1234, ClientID: "a client"}
			if key == keyControlledShutdown && version == 0 { // kmsg ends the frame here
				want.ClientID, frame = "", append(frame, req.AppendTo(nil)...)
				h, body, err = ParseRequestHeader(frame)
			}
			if err != nil || h != want {
				t.Fatalf("got %+v, %v; want %+v", h, err, want)
			}
			if encoded := req.AppendTo(nil); !bytes.Equal(body, encoded) {
				t.Fatalf("%+v: body is %x, want %x", h, body, encoded)
			}
		}
	}
}

func TestHeadersThatAreNone(t *testing.T) {
	metadata := kmsg.NewPtrMetadataRequest()
	metadata.Version = 9
	sound := frameOf(metadata, 5, "client")
	for n := range 17 { // with the tagged fields
		h, _, err := ParseRequestHeader(sound[:n])
		var e *Error
		if !errors.As(err, &e) || e.Code != kerr.InvalidRequest {
			t.Errorf("%d bytes: %v", n, err)
		}
		if n >= 8 && (h.Key != 3 || h.CorrelationID != 5) {
			t.Errorf("%d bytes: header %+v", n, h)
		}
	}
	h, _, err := ParseRequestHeader([]byte("GET / HTTP/1.1\r\n"))
	if !errors.Is(err, kerr.UnsupportedVersion) || h.Key != 0x4745 {
		t.Errorf("HTTP: %+v, %v", h, err)
	}
	negative := bytes.Clone(sound)
	negative[2] = 0x80
	if _, _, err := ParseRequestHeader(negative); !errors.Is(err, kerr.UnsupportedVersion) {
		t.Errorf("negative version: %v", err)
	}
	null := append(bytes.Clone(sound[:8]), 0xff, 0xff, 2, 5, 1, 'x', 9, 0, 'b')
	if h, body, err := ParseRequestHeader(null); err != nil || h.ClientID != "" || string(body) != "b" {
		t.Errorf("null client id and unknown tagged fields: %+v, %q, %v", h, body, err)
	}
}

func TestApiVersionsOfTheFuture(t *testing.T) {
	for _, rest := range []string{"", "\x00", "\x00\x02id", "\x00\x02id\xff\xff\xff", "\x00\x02id\x00garbage"} {
		frame := append([]byte{0, 18, 0, 99, 0, 0, 0, 7}, rest...)
		h, _, err := ParseRequestHeader(frame)
		if err != nil || h.Version != 99 || h.CorrelationID != 7 {
			t.Errorf("%q: %+v, %v", rest, h, err)
		}
	}
	frame := AppendUnsupportedApiVersions([]byte("before"), 7, 0, 5)[6:]
	if size := binary.BigEndian.Uint32(frame); int(size) != len(frame)-SizeBytes || binary.BigEndian.Uint32(frame[4:]) != 7 {
		t.Fatalf("frame %x", frame)
	}
	resp := kmsg.NewPtrApiVersionsResponse()
	if err := resp.ReadFrom(frame[8:]); err != nil {
		t.Fatal(err)
	}
	if resp.ErrorCode != 35 || len(resp.ApiKeys) != 1 || resp.ApiKeys[0].ApiKey != 18 || resp.ApiKeys[0].MaxVersion != 5 {
		t.Fatalf("%+v", resp)
	}
}

func TestResponseFrames(t *testing.T) {
	for _, c := range []struct {
		h      Header
		resp   kmsg.Response
		header int
	}{
		{Header{Key: 3, Version: 8, CorrelationID: 9}, kmsg.NewPtrMetadataResponse(), 4},
		{Header{Key: 3, Version: 9, CorrelationID: 9}, kmsg.NewPtrMetadataResponse(), 5},
		{Header{Key: 18, Version: 3, CorrelationID: 9}, kmsg.NewPtrApiVersionsResponse(), 4},
		{Header{Key: 60, Version: 0, CorrelationID: 9}, kmsg.NewPtrDescribeClusterResponse(), 5},
	} {
		frame, err := AppendResponse([]byte("x"), c.h, c.resp)
		if err != nil {
			t.Fatal(err)
		}
		frame = frame[1:]
		if size := binary.BigEndian.Uint32(frame); int(size) != len(frame)-SizeBytes || c.resp.GetVersion() != c.h.Version {
			t.Errorf("%+v: size %d of %d", c.h, size, len(frame))
		}
		if !bytes.Equal(frame[SizeBytes+c.header:], c.resp.AppendTo(nil)) {
			t.Errorf("%+v: header is not %d bytes", c.h, c.header)
		}
	}
}

func FuzzParseRequestHeader(f *testing.F) {
	f.Add(frameOf(kmsg.NewPtrMetadataRequest(), 1, "client"))
	apiVersions := kmsg.NewPtrApiVersionsRequest()
	apiVersions.Version = 4
	f.Add(frameOf(apiVersions, 1, ""))
	f.Add([]byte("GET / HTTP/1.1\r\n"))
	f.Fuzz(func(t *testing.T, frame []byte) {
		h, body, err := ParseRequestHeader(frame)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("%v is no *Error", err)
			}
			return
		}
		if len(body) > len(frame)-8 || !strings.HasSuffix(string(frame), string(body)) || len(h.ClientID) > len(frame) {
			t.Fatalf("%+v with a body of %d bytes from %d", h, len(body), len(frame))
		}
	})
}
