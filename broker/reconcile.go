package broker

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/fanfold/fanfold/cluster"
	"github.com/fanfold/fanfold/cluster/configs"
	"github.com/fanfold/fanfold/internal/vfs"
	"github.com/fanfold/fanfold/replication"
)

// openersInParallel is how many replicas are opened side by side.
const openersInParallel = 16

// runReconcile makes this node what the metadata says, each time it changed.
func (n *LocalNode) runReconcile(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.changed:
			n.reconcile(ctx)
		}
	}
}

// reconcile opens, changes and removes replicas until they agree with the
// metadata. One goroutine at a time.
func (n *LocalNode) reconcile(ctx context.Context) {
	image := n.machine.Image()
	layers := n.Configs()
	all := !maps.Equal(layers.Dynamic, n.applied.Dynamic) || !maps.Equal(layers.DynamicDefault, n.applied.DynamicDefault)
	n.applied = layers
	n.closeDeleted(image)
	n.openMissing(ctx, image, all)
	n.purge(ctx, image)
}

// closeDeleted stops the replicas of topics that are gone.
func (n *LocalNode) closeDeleted(image *cluster.Image) {
	old := n.replicas.Load().topics
	var gone []*localTopic
	next := make(map[cluster.TopicID]*localTopic, len(old))
	for id, t := range old {
		if image.TopicByID(id) == nil {
			gone = append(gone, t)
		} else {
			next[id] = t
		}
	}
	if len(gone) == 0 {
		return
	}
	n.replicas.Store(&replicaTable{next})
	var wg sync.WaitGroup
	for _, t := range gone {
		for _, r := range t.replicas {
			if r != nil && r.group != nil {
				wg.Go(func() { _ = r.group.Close() })
			}
		}
	}
	wg.Wait()
	n.replicaChanged()
}

// openMissing opens replicas that are not there yet and applies configs that
// changed; all: those of every topic.
func (n *LocalNode) openMissing(ctx context.Context, image *cluster.Image, all bool) {
	old := n.replicas.Load().topics
	next := maps.Clone(old)
	if next == nil {
		next = map[cluster.TopicID]*localTopic{}
	}
	var jobs []func()
	for t := range image.Topics() {
		have := old[t.ID]
		if have != nil && have.topic == t && !all {
			continue
		}
		s := n.settings(t)
		now := &localTopic{topic: t, replicas: make([]*localReplica, len(t.Partitions))}
		if have != nil {
			copy(now.replicas, have.replicas)
			applySettings(have, s)
		}
		jobs = append(jobs, n.openJobs(ctx, now, s)...)
		next[t.ID] = now
	}
	runParallel(jobs, openersInParallel)
	n.replicas.Store(&replicaTable{next})
	n.replicaChanged()
}

func applySettings(t *localTopic, s topicSettings) {
	for _, r := range t.replicas {
		if r == nil {
			continue
		}
		r.part.SetConfig(s.partition)
		if r.group != nil {
			r.group.SetLimits(s.log)
			r.group.SetFlush(s.flush)
		}
	}
}

// openJobs are the openings of those of t's replicas that belong here and are
// missing.
func (n *LocalNode) openJobs(ctx context.Context, t *localTopic, s topicSettings) []func() {
	var jobs []func()
	for number, p := range t.topic.Partitions {
		meta, here := p.On(n.opts.NodeID)
		if !here || t.replicas[number] != nil {
			continue
		}
		jobs = append(jobs, func() {
			t.replicas[number] = n.openReplica(ctx, t.topic, int32(number), meta, s)
		})
	}
	return jobs
}

// makeTopicDir makes the topic's directory, durably, and in it a file with the
// topic's name for people and tools.
func (n *LocalNode) makeTopicDir(t *cluster.Topic) error {
	dir := n.topicDir(t.ID)
	name := filepath.Join(dir, "name")
	if _, err := n.opts.FS.Stat(name); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	n.dirs.Lock()
	defer n.dirs.Unlock()
	if err := n.opts.FS.MkdirAll(dir); err != nil {
		return err
	}
	for _, parent := range []string{filepath.Dir(dir), n.opts.DataDir} {
		if err := n.opts.FS.SyncDir(parent); err != nil {
			return err
		}
	}
	return vfs.WriteFileAtomic(n.opts.FS, dir, name, []byte(t.Name+"\n"))
}

func runParallel(jobs []func(), width int) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, width)
	for _, job := range jobs {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			job()
		})
	}
	wg.Wait()
}

// purge removes the files of deleted topics and reports it.
func (n *LocalNode) purge(ctx context.Context, image *cluster.Image) {
	for d := range image.DeletedTopics() {
		if !slices.Contains(d.Pending, n.opts.NodeID) || ctx.Err() != nil {
			continue
		}
		if err := n.purgeTopic(ctx, d); err != nil {
			n.opts.Logger.Error("remove files of deleted topic; it will be tried again", "topic", d.Name, "error", err)
		}
	}
}

func (n *LocalNode) purgeTopic(ctx context.Context, d *cluster.DeletedTopic) error {
	dir := n.topicDir(d.ID)
	if err := n.opts.FS.RemoveAll(dir); err != nil {
		return err
	}
	if err := n.opts.FS.SyncDir(filepath.Dir(dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for number := range d.Partitions {
		if err := n.raft.Votes().Forget(replication.GroupID{Topic: d.ID, Partition: number}); err != nil {
			return err
		}
	}
	_, err := n.Propose(ctx, &cluster.TopicPurged{ID: d.ID, Node: n.opts.NodeID})
	return err
}

// Intervals of what is done again and again.
const (
	minRetentionCheck   = 10 * time.Millisecond
	producerExpiryCheck = time.Minute
	purgeRetry          = 30 * time.Second
)

// runHousekeeping applies retention, forgets silent producers, and tries again
// to remove deleted topics.
func (n *LocalNode) runHousekeeping(ctx context.Context) {
	retention := time.NewTimer(n.retentionInterval())
	expiry := time.NewTicker(producerExpiryCheck)
	retry := time.NewTicker(purgeRetry)
	defer retention.Stop()
	defer expiry.Stop()
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-retention.C:
			n.eachReplica(func(r *localReplica) {
				if err := r.part.Retain(); err != nil {
					n.opts.Logger.Warn("retention", "dir", r.dir, "error", err)
				}
			})
			retention.Reset(n.retentionInterval())
		case <-expiry.C:
			n.eachReplica(func(r *localReplica) { r.part.ExpireProducers() })
		case <-retry.C:
			n.notify()
		}
	}
}

func (n *LocalNode) retentionInterval() time.Duration {
	s, _ := configs.EffectiveBroker(n.Configs()) // what is not taken has its default
	return max(minRetentionCheck, millis(s.RetentionCheckIntervalMillis))
}

// eachReplica calls f for the replicas that are open.
func (n *LocalNode) eachReplica(f func(*localReplica)) {
	for _, t := range n.replicas.Load().topics {
		for _, r := range t.replicas {
			if r != nil && r.group != nil {
				f(r)
			}
		}
	}
}
