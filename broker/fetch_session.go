package broker

import (
	"container/list"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fanfold/fanfold/cluster"
)

// Fetch sessions (KIP-227): the broker remembers the partitions that a client
// fetches, so that requests name only what changed, and answers only partitions
// of which there is news.
const (
	fetchSessionsVersion = 7
	fetchTopicIDsVersion = 13

	epochFinal   = -1 // closes a session; no session
	epochInitial = 0  // opens one

	// sessionEvictAge is how long a session has to be unused, or has to have
	// lived, before another may take its place.
	sessionEvictAge = 2 * time.Minute
	// maxSessionPartitions bounds the partitions of all sessions together, each
	// of which takes about 240 bytes. Who gets no session names its partitions in
	// each request.
	maxSessionPartitions = 60_000
)

// sessionKey names a partition in a session: by id where usesIDs, else by name.
type sessionKey struct {
	name   string
	id     cluster.TopicID
	number int32
}

// sessionPartition is a partition of a session, and what its client was told of
// it last.
type sessionPartition struct {
	key            sessionKey
	params         fetchParams
	highWatermark  int64
	logStartOffset int64
	at             *list.Element // in the session's order; nil: forgotten
}

// fetchSession is one client's. Its mutex is taken before the cache's.
type fetchSession struct {
	id      int32
	usesIDs bool

	created time.Time
	used    time.Time     // guarded by the cache
	at      *list.Element // in the cache's order of use; guarded by the cache
	size    int           // partitions; guarded by the cache

	mu struct {
		sync.Mutex
		epoch      int32 // that the next request has to name
		partitions map[sessionKey]*sessionPartition
		order      *list.List // of *sessionPartition: those that got records go last
	}
}

// sessionUse is what a fetch does with sessions.
type sessionUse struct {
	incremental *fetchSession // answers news alone
	open        bool          // a session is made with the answer
}

// openSession finds out which partitions are fetched.
func (f *fetchCall) openSession() {
	req := &f.request
	if f.version < fetchSessionsVersion {
		f.addRequested()
		return
	}
	cache := f.srv.sessions
	switch req.SessionEpoch {
	case epochInitial, epochFinal:
		if req.SessionID != 0 {
			cache.remove(req.SessionID)
		}
		f.session.open = req.SessionEpoch == epochInitial && namesFit(req)
		f.addRequested()
	default:
		if code := f.resumeSession(cache); code != nil {
			f.code = code.Code
			f.srv.metrics.failed(f.code)
		}
	}
}

// addRequested takes the partitions that the request names.
func (f *fetchCall) addRequested() {
	count := 0
	for i := range f.request.Topics {
		count += len(f.request.Topics[i].Partitions)
	}
	f.items = slices.Grow(f.items, count)
	for i := range f.request.Topics {
		t := &f.request.Topics[i]
		for j := range t.Partitions {
			key := sessionKey{name: t.Topic, id: t.TopicID, number: t.Partitions[j].Partition}
			f.addItem(key, paramsOf(&t.Partitions[j]), nil)
		}
	}
}

// namesFit tells whether all names are such as a topic may have: sessions keep
// no others.
func namesFit(req *kmsg.FetchRequest) bool {
	for i := range req.Topics {
		if len(req.Topics[i].Topic) > cluster.MaxTopicName {
			return false
		}
	}
	return true
}

func paramsOf(p *kmsg.FetchRequestTopicPartition) fetchParams {
	return fetchParams{
		offset: p.FetchOffset, maxBytes: p.PartitionMaxBytes,
		currentEpoch: p.CurrentLeaderEpoch, lastEpoch: p.LastFetchedEpoch,
	}
}

// resumeSession brings the session up to date with the request and takes its
// partitions.
func (f *fetchCall) resumeSession(cache *sessionCache) *kerr.Error {
	s := cache.get(f.request.SessionID)
	if s == nil {
		return kerr.FetchSessionIDNotFound
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.mu.epoch != f.request.SessionEpoch:
		return kerr.InvalidFetchSessionEpoch
	case s.usesIDs != (f.version >= fetchTopicIDsVersion):
		return kerr.FetchSessionTopicIDError
	}
	if !namesFit(&f.request) || !s.update(cache, &f.request) {
		cache.remove(s.id)
		return kerr.FetchSessionIDNotFound
	}
	if len(s.mu.partitions) == 0 {
		cache.remove(s.id)
		return nil
	}
	if s.mu.epoch++; s.mu.epoch == math.MinInt32 {
		s.mu.epoch = 1
	}
	f.session.incremental = s
	for e := s.mu.order.Front(); e != nil; e = e.Next() {
		sp := e.Value.(*sessionPartition)
		f.addItem(sp.key, sp.params, sp)
	}
	return nil
}

// update changes, adds and forgets partitions. It is false where that makes
// more partitions than all sessions may have. Callers hold mu.
func (s *fetchSession) update(cache *sessionCache, req *kmsg.FetchRequest) bool {
	for i := range req.Topics {
		t := &req.Topics[i]
		name := strings.Clone(t.Topic) // the request's is part of its frame
		for j := range t.Partitions {
			key := sessionKey{name: name, id: t.TopicID, number: t.Partitions[j].Partition}
			if sp := s.mu.partitions[key]; sp != nil {
				sp.params = paramsOf(&t.Partitions[j])
				continue
			}
			s.add(key, paramsOf(&t.Partitions[j]), -1, -1)
		}
	}
	for i := range req.ForgottenTopics {
		t := &req.ForgottenTopics[i]
		for _, number := range t.Partitions {
			key := sessionKey{name: t.Topic, id: t.TopicID, number: number}
			if sp := s.mu.partitions[key]; sp != nil {
				s.mu.order.Remove(sp.at)
				sp.at = nil
				delete(s.mu.partitions, key)
			}
		}
	}
	return cache.resize(s, len(s.mu.partitions))
}

// add adds a partition. Its name is the session's own.
func (s *fetchSession) add(key sessionKey, params fetchParams, highWatermark, logStartOffset int64) {
	if s.mu.partitions[key] != nil {
		return
	}
	sp := &sessionPartition{key: key, params: params, highWatermark: highWatermark, logStartOffset: logStartOffset}
	sp.at = s.mu.order.PushBack(sp)
	s.mu.partitions[key] = sp
}

// begin is called before an answer is laid out, and returns what to call
// afterwards.
func (u *sessionUse) begin(*fetchCall) (unlock func()) {
	if u.incremental == nil {
		return func() {}
	}
	u.incremental.mu.Lock()
	return u.incremental.mu.Unlock
}

// news tells whether the answer has to name the partition, and takes down what
// its client is told.
func (u *sessionUse) news(it *fetchItem) bool {
	if u.incremental == nil {
		return true
	}
	sp, r := it.session, &it.result
	told := r.Records.Len() > 0 || r.Err != nil || r.DivergingEpoch >= 0 ||
		r.HighWatermark != sp.highWatermark || r.LogStartOffset != sp.logStartOffset
	sp.highWatermark, sp.logStartOffset = r.HighWatermark, r.LogStartOffset
	if r.Err != nil {
		sp.highWatermark = -1 // when the error goes away, the client is told
	}
	if r.Records.Len() > 0 && sp.at != nil {
		u.incremental.mu.order.MoveToBack(sp.at) // others first next time
	}
	return told
}

// end gives the answer's session id; 0 is none.
func (u *sessionUse) end(f *fetchCall) int32 {
	switch {
	case u.incremental != nil:
		return u.incremental.id
	case u.open && f.code == 0:
		return f.srv.sessions.open(f)
	}
	return 0
}

// sessionCache holds the sessions (max.incremental.fetch.session.cache.slots).
type sessionCache struct {
	slots int
	now   func() time.Time

	mu struct {
		sync.Mutex
		byID       map[int32]*fetchSession
		order      *list.List // of *fetchSession, the one unused for longest first
		partitions int
		evicted    int64
	}
}

func newSessionCache(slots int) *sessionCache {
	c := &sessionCache{slots: slots, now: time.Now}
	c.mu.byID = make(map[int32]*fetchSession)
	c.mu.order = list.New()
	return c
}

// get finds a session and notes its use.
func (c *sessionCache) get(id int32) *fetchSession {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.mu.byID[id]
	if s != nil {
		s.used = c.now()
		c.mu.order.MoveToBack(s.at)
	}
	return s
}

// remove closes a session.
func (c *sessionCache) remove(id int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.mu.byID[id]; s != nil {
		c.drop(s)
	}
}

// drop closes a session. Callers hold mu.
func (c *sessionCache) drop(s *fetchSession) {
	delete(c.mu.byID, s.id)
	c.mu.order.Remove(s.at)
	c.mu.partitions -= s.size
}

// resize notes how many partitions a session has now; false where they are too
// many.
func (c *sessionCache) resize(s *fetchSession, size int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.byID[s.id] != s {
		return false // closed meanwhile
	}
	if grown := c.mu.partitions + size - s.size; grown > maxSessionPartitions && size > s.size {
		return false
	}
	c.mu.partitions += size - s.size
	s.size = size
	return true
}

// open makes a session of an answered fetch and gives its id; 0 where there is
// no room.
func (c *sessionCache) open(f *fetchCall) int32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if !c.makeRoom(now, len(f.items)) {
		return 0
	}
	s := &fetchSession{usesIDs: f.version >= fetchTopicIDsVersion, created: now, used: now}
	s.mu.epoch = 1
	s.mu.partitions = make(map[sessionKey]*sessionPartition, len(f.items))
	s.mu.order = list.New()
	name := ""
	for i := range f.items {
		it := &f.items[i]
		if name != it.name {
			name = strings.Clone(it.name) // the request's is part of its frame
		}
		highWatermark := it.result.HighWatermark
		if it.result.Err != nil {
			highWatermark = -1
		}
		s.add(sessionKey{name, it.id, it.number}, it.params, highWatermark, it.result.LogStartOffset)
	}
	for s.id == 0 || c.mu.byID[s.id] != nil {
		s.id = rand.Int32()
	}
	s.size = len(s.mu.partitions)
	s.at = c.mu.order.PushBack(s)
	c.mu.byID[s.id] = s
	c.mu.partitions += s.size
	return s.id
}

// makeRoom evicts a session if all slots are taken: the one that was not used
// for longest, if that is long; else the smallest old one that is smaller than
// the new one. Callers hold mu.
func (c *sessionCache) makeRoom(now time.Time, size int) bool {
	if c.slots == 0 || c.mu.partitions+size > maxSessionPartitions {
		return false
	}
	if len(c.mu.byID) < c.slots {
		return true
	}
	victim := c.mu.order.Front().Value.(*fetchSession)
	if now.Sub(victim.used) <= sessionEvictAge {
		victim = nil
		for _, s := range c.mu.byID {
			if now.Sub(s.created) > sessionEvictAge && s.size < size && (victim == nil || s.size < victim.size) {
				victim = s
			}
		}
	}
	if victim == nil {
		return false
	}
	c.drop(victim)
	c.mu.evicted++
	return true
}

// counts are how many sessions and partitions of them there are, and how many
// sessions were evicted.
func (c *sessionCache) counts() (sessions, partitions int, evicted int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.mu.byID), c.mu.partitions, c.mu.evicted
}
