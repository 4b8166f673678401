package protocol

import (
	"encoding/binary"
	"math"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// SizeBytes is the length of the size that stands before each frame.
const SizeBytes = 4

const (
	keyControlledShutdown int16 = 7
	keyApiVersions        int16 = 18
)

// Header is a request's header (versions 0 to 2).
type Header struct {
	Key           int16
	Version       int16
	CorrelationID int32
	ClientID      string // "" where it is null
}

// FrameSize reads the size before a frame. A size that is negative or above
// limit (bytes) is an *Error of INVALID_REQUEST.
func FrameSize(prefix [SizeBytes]byte, limit int) (int, error) {
	size := int(int32(binary.BigEndian.Uint32(prefix[:])))
	if size < 0 {
		return 0, Errorf(kerr.InvalidRequest, "frame size %d is negative", size)
	}
	if size > limit {
		return 0, Errorf(kerr.InvalidRequest, "frame of %d bytes, the limit is %d", size, limit)
	}
	return size, nil
}

var clientID = field{name: "client_id", nullable: true}

// ParseRequestHeader takes the header off a frame (without its size) and gives
// the body, a slice of it. It reads the header of any key and version that has
// one, served or not: what to answer is the caller's to decide.
//
// An error is an *Error; the header then holds what was read before it, zeros
// for the rest. An ApiVersions request of a version that is not known fails for
// nothing but a missing correlation id: it must be answered (KIP-511), and
// nobody knows what follows.
func ParseRequestHeader(frame []byte) (h Header, body []byte, err error) {
	if len(frame) < 8 {
		return h, nil, Errorf(kerr.InvalidRequest, "request of %d bytes is too small for a header", len(frame))
	}
	h.Key = int16(binary.BigEndian.Uint16(frame))
	h.Version = int16(binary.BigEndian.Uint16(frame[2:]))
	h.CorrelationID = int32(binary.BigEndian.Uint32(frame[4:]))
	flexibleFrom, ok := flexibleVersions()[h.Key]
	if !ok || h.Version < 0 {
		return h, nil, unsupportedVersion(h.Key, h.Version)
	}
	if h.Key == keyControlledShutdown && h.Version == 0 {
		return h, frame[8:], nil
	}
	w := walker{body: frame, pos: 8}
	at := w.pos + 2
	if ok := w.blob(&clientID, 2); ok && w.pos > at {
		h.ClientID = string(frame[at:w.pos])
	}
	if w.err == nil && h.Version >= flexibleFrom {
		w.flexible = true
		w.tagSection(nil)
	}
	if w.err != nil && h.Key == keyApiVersions && !Known(h.Key, h.Version) {
		return h, nil, nil
	}
	if w.err != nil {
		return h, nil, Errorf(kerr.InvalidRequest, "request header of key %d v%d: %s", h.Key, h.Version, w.err.Message)
	}
	return h, frame[w.pos:], nil
}

// flexibleVersions has the first version with tagged fields of every key that
// has a meaning, served or not.
var flexibleVersions = sync.OnceValue(func() map[int16]int16 {
	first := make(map[int16]int16)
	for key := range int16(kmsg.MaxKey + 1) {
		req := kmsg.RequestForKey(key)
		if req == nil {
			continue
		}
		first[key] = neverFlexible
		for version := range req.MaxVersion() + 1 {
			if req.SetVersion(version); req.IsFlexible() {
				first[key] = version
				break
			}
		}
	}
	return first
})

func isFlexible(key, version int16) bool {
	first, ok := flexibleVersions()[key]
	return ok && version >= first
}

// AppendResponseHeader appends the header that a response to a request of this
// key and version has: with tagged fields where the request had them, but never
// for ApiVersions, whose client does not know yet what we speak (KIP-511).
func AppendResponseHeader(dst []byte, key, version int16, correlationID int32) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(correlationID))
	if key != keyApiVersions && isFlexible(key, version) {
		dst = append(dst, 0)
	}
	return dst
}

// AppendResponse appends a whole frame: size, header and resp, whose version it
// sets to the request's. It fails for a frame that no size can express.
func AppendResponse(dst []byte, h Header, resp kmsg.Response) ([]byte, error) {
	resp.SetVersion(h.Version)
	frame := beginFrame(dst, h)
	return endFrame(resp.AppendTo(frame), len(dst))
}

// beginFrame appends room for the size, and the header.
func beginFrame(dst []byte, h Header) []byte {
	dst = append(dst, 0, 0, 0, 0)
	return AppendResponseHeader(dst, h.Key, h.Version, h.CorrelationID)
}

// endFrame writes the size of the frame that begins at start.
func endFrame(b []byte, start int) ([]byte, error) {
	size := len(b) - start - SizeBytes
	if size > math.MaxInt32 {
		return b[:start], Errorf(kerr.UnknownServerError, "response of %d bytes is larger than a frame", size)
	}
	binary.BigEndian.PutUint32(b[start:], uint32(size))
	return b, nil
}

// AppendUnsupportedApiVersions appends the frame that answers an ApiVersions
// request of a version that is not served: a body of version 0 with
// UNSUPPORTED_VERSION and the range of ApiVersions itself, after which the
// client asks again (KIP-511).
func AppendUnsupportedApiVersions(dst []byte, correlationID int32, lowest, highest int16) []byte {
	resp := kmsg.NewPtrApiVersionsResponse()
	resp.ErrorCode = kerr.UnsupportedVersion.Code
	key := kmsg.NewApiVersionsResponseApiKey()
	key.ApiKey, key.MinVersion, key.MaxVersion = keyApiVersions, lowest, highest
	resp.ApiKeys = append(resp.ApiKeys, key)
	dst, err := AppendResponse(dst, Header{Key: keyApiVersions, CorrelationID: correlationID}, resp)
	if err != nil {
		panic(err) // a dozen bytes are a frame
	}
	return dst
}
