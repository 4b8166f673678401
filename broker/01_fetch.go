package broker

import (
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fanfold/fanfold/cluster"
	"github.com/fanfold/fanfold/partition"
	"github.com/fanfold/fanfold/protocol"
)

// Fetch (1), versions 4–18.
//
//	4    record batches of version 2, isolation level, last stable offset
//	5    log start offset
//	6    KAFKA_STORAGE_ERROR
//	7    fetch sessions (KIP-227)
//	8    the client waits out a throttle
//	9    current leader epoch (KIP-320)
//	10   zstd, which clients below get as well
//	11   rack, preferred read replica (KIP-392)
//	12   flexible; last fetched and diverging epoch (KIP-595)
//	13   topic ids for names
//	14   OFFSET_MOVED_TO_TIERED_STORAGE
//	15   the replica's state is a tagged field
//	16   addresses of leaders (KIP-951)
//	17   the replica's directory (KIP-853)
//	18   the replica's high watermark (KIP-1166)

// fetchItem is one partition of a fetch.
type fetchItem struct {
	name    string // empty where the request names ids
	id      cluster.TopicID
	number  int32
	params  fetchParams
	session *sessionPartition // nil without a session

	replica Replica
	result  partition.FetchResult
}

// fetchParams are what a client asks for of a partition.
type fetchParams struct {
	offset       int64
	maxBytes     int32
	currentEpoch int32
	lastEpoch    int32
}

// fetchCall is a Fetch request until its answer is written.
type fetchCall struct {
	srv     *Server
	frame   *frame
	version int16
	request kmsg.FetchRequest // its texts are in frame

	session  sessionUse
	code     int16 // of the whole answer
	items    []fetchItem
	bytes    int // of records read
	failed   bool
	wait     *fetchWait
	watching int // partitions, as Server.watched counts them

	answer  protocol.FetchResponse
	encoder protocol.FetchEncoder
}

var fetchPool = sync.Pool{New: func() any { return new(fetchCall) }}

// mostPooledItems bounds what is kept of large requests.
const mostPooledItems = 4096

// startFetch reads what there is, and waits where that is not enough.
func (c *conn) startFetch(k *call, body *frame, request []byte) error {
	f := fetchPool.Get().(*fetchCall)
	f.srv, f.frame, f.version = c.srv, body, k.header.Version
	f.request.SetVersion(k.header.Version)
	k.answer = f
	if err := protocol.DecodeInto(&f.request, request); err != nil {
		k.finish()
		return badInputf("%v", err)
	}
	c.push(k)
	f.openSession()
	if len(f.items) > mostPooledItems {
		f.request.Topics, f.request.ForgottenTopics = nil, nil // memory for the answer
	}
	f.read()
	if f.ready() || !f.await(c, k) {
		c.complete(k, byReader)
	}
	return nil
}

// addItem adds a partition.
func (f *fetchCall) addItem(key sessionKey, params fetchParams, sp *sessionPartition) {
	f.items = append(f.items, fetchItem{name: key.name, id: key.id, number: key.number, params: params, session: sp})
}

// read reads all partitions, as far as the request's limits go.
func (f *fetchCall) read() {
	image := f.srv.node.Image()
	room := max(0, min(int(f.request.MaxBytes), int(f.srv.settings().FetchMaxBytes)))
	f.bytes, f.failed = 0, false
	for i := range f.items {
		it := &f.items[i]
		f.readItem(image, it, room)
		n := it.result.Records.Len()
		f.bytes += n
		room = max(0, room-n)
		if it.result.Err != nil || it.result.DivergingEpoch >= 0 {
			f.failed = true
		}
	}
}

func (f *fetchCall) readItem(image *cluster.Image, it *fetchItem, room int) {
	var err error
	if it.replica, err = f.replica(image, it); err != nil {
		it.result = unknownPartition(err)
		return
	}
	it.result = it.replica.Read(partition.FetchRequest{
		Offset:             it.params.offset,
		MaxBytes:           min(room, max(0, int(it.params.maxBytes))),
		AtLeastOne:         f.bytes == 0,
		CurrentLeaderEpoch: it.params.currentEpoch,
		LastFetchedEpoch:   it.params.lastEpoch,
	})
}

func (f *fetchCall) replica(image *cluster.Image, it *fetchItem) (Replica, error) {
	t, err := fetchedTopic(image, f.version, it)
	if err != nil {
		return nil, err
	}
	if it.name != "" {
		it.name = t.Name // what was there may be a part of the frame
	}
	return f.srv.replicaOf(t, it.number)
}

func fetchedTopic(image *cluster.Image, version int16, it *fetchItem) (*cluster.Topic, error) {
	if version >= fetchTopicIDsVersion {
		return topicByID(image, it.id)
	}
	return topicByName(image, it.name)
}

func unknownPartition(err error) partition.FetchResult {
	return partition.FetchResult{
		HighWatermark: -1, LastStableOffset: -1, LogStartOffset: -1, LeaderEpoch: -1, DivergingEpoch: -1, Err: err,
	}
}

// ready tells whether the answer can go out at once.
func (f *fetchCall) ready() bool {
	return f.code != 0 || len(f.items) == 0 || f.failed ||
		f.bytes >= int(f.request.MinBytes) || f.request.MaxWaitMillis <= 0
}

// maxWait is how long the fetch waits at most.
func (f *fetchCall) maxWait() time.Duration {
	return min(time.Duration(f.request.MaxWaitMillis)*time.Millisecond, longestWait)
}

// send writes the answer, with what there is by now where the fetch waited.
func (f *fetchCall) send(w *answerWriter, k *call) error {
	if f.wait != nil {
		f.disarm()
		f.read()
	}
	f.respond()
	chunks, _, err := f.encoder.Encode(k.header, &f.answer)
	if err != nil {
		return err
	}
	for i := range chunks {
		if chunks[i].RecordBytes > 0 {
			err = w.sendRange(f.items[chunks[i].Tag].result.Records)
		} else {
			w.buf = append(w.buf, chunks[i].Bytes...)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// respond lays out the answer: all partitions, or in an incremental one those
// of which there is news.
func (f *fetchCall) respond() {
	f.answer.Code, f.answer.SessionID = f.code, 0
	topics := f.answer.Topics[:0]
	var last *fetchItem
	unlock := f.session.begin(f)
	for i := range f.items {
		it := &f.items[i]
		if !f.session.news(it) {
			continue
		}
		if last == nil || last.id != it.id || last.name != it.name {
			topics = nextFetchTopic(topics)
			t := &topics[len(topics)-1]
			t.Name, t.ID = it.name, it.id
			if f.session.incremental == nil && len(f.items) > mostPooledItems {
				t.Partitions = slices.Grow(t.Partitions, sameTopic(f.items[i:]))
			}
		}
		last = it
		t := &topics[len(topics)-1]
		t.Partitions = append(t.Partitions, f.respondItem(it, i))
	}
	f.answer.SessionID = f.session.end(f)
	unlock()
	f.answer.Topics = topics
}

// sameTopic is how many of the first items are of one topic.
func sameTopic(items []fetchItem) int {
	for n := range items {
		if items[n].id != items[0].id || items[n].name != items[0].name {
			return n
		}
	}
	return len(items)
}

// nextFetchTopic makes the slice longer by one, which keeps its own slice.
func nextFetchTopic(topics []protocol.FetchTopic) []protocol.FetchTopic {
	if len(topics) < cap(topics) {
		topics = topics[:len(topics)+1]
	} else {
		topics = append(topics, protocol.FetchTopic{})
	}
	t := &topics[len(topics)-1]
	t.Partitions = t.Partitions[:0]
	return topics
}

// noAborted is what readers of committed records get: nothing was aborted.
var noAborted = []protocol.AbortedTransaction{}

func (f *fetchCall) respondItem(it *fetchItem, tag int) protocol.FetchPartition {
	r := &it.result
	out := protocol.FetchPartition{
		Index: it.number, HighWatermark: r.HighWatermark, LastStableOffset: r.LastStableOffset,
		LogStartOffset: r.LogStartOffset, RecordBytes: r.Records.Len(), Tag: tag,
	}
	if f.request.IsolationLevel == partition.ReadCommitted {
		out.Aborted = noAborted
	}
	if r.DivergingEpoch >= 0 {
		out.DivergingEpoch = &protocol.EpochEnd{Epoch: r.DivergingEpoch, EndOffset: r.DivergingOffset}
		out.RecordBytes = 0
	}
	if r.Err != nil {
		out.Code, _ = protocol.ErrorOf(r.Err)
		f.srv.metrics.failed(out.Code)
		out.RecordBytes = 0
	}
	return out
}

// drop gives everything back.
func (f *fetchCall) drop() {
	f.disarm()
	f.srv.watched.Add(-int64(f.watching))
	for i := range f.items {
		f.items[i].result.Records.Release()
	}
	clear(f.items)
	if f.frame != nil {
		f.frame.free()
	}
	if cap(f.items) > mostPooledItems {
		return
	}
	*f = fetchCall{items: f.items[:0], request: f.request, answer: f.answer, encoder: f.encoder}
	fetchPool.Put(f)
}
