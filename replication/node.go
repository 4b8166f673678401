package replication

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/fanfold/fanfold/internal/vfs"
	"github.com/fanfold/fanfold/log"
)

// markInterval is how far a durable mark may be behind.
const markInterval = time.Second

// NodeConfig is what all groups of a node share.
type NodeConfig struct {
	FS     vfs.FS             // nil: vfs.OS
	Dir    string             // of the vote file; it must exist
	Syncer *log.SyncScheduler // nil: one with default settings
	Now    func() time.Time   // nil: time.Now
	Logger *slog.Logger       // nil: slog.Default()
}

// Node holds what all Raft groups of this process share: the vote file, the
// sync scheduler, and the ticker that writes durable marks.
type Node struct {
	cfg        NodeConfig
	syncer     *log.SyncScheduler
	raftLogger hclog.Logger
	stop       context.CancelFunc
	done       chan struct{}

	mu struct {
		sync.Mutex
		votes  *VoteFile
		groups map[*Group]struct{}
		marks  []*Group // due at the next tick
	}
}

// OpenNode opens the vote file in cfg.Dir and starts the ticker.
func OpenNode(cfg NodeConfig) (*Node, error) {
	if cfg.FS == nil {
		cfg.FS = vfs.OS
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	votes, err := OpenVotes(cfg.FS, cfg.Dir)
	if err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg, syncer: cfg.Syncer, raftLogger: newRaftLogger(cfg.Logger), done: make(chan struct{})}
	if n.syncer == nil {
		n.syncer = log.NewSyncScheduler(log.SyncConfig{FS: cfg.FS, Dir: cfg.Dir})
	}
	n.mu.votes = votes
	n.mu.groups = map[*Group]struct{}{}
	ctx, stop := context.WithCancel(context.Background())
	n.stop = stop
	go n.tick(ctx)
	return n, nil
}

// Votes is the stable store of all groups.
func (n *Node) Votes() *VoteFile {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mu.votes
}

// reviveVotes opens the vote file again where a failed write had closed it to
// writers: what it holds is what is on disk.
func (n *Node) reviveVotes() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.mu.votes.failure() == nil {
		return nil
	}
	votes, err := OpenVotes(n.cfg.FS, n.cfg.Dir)
	if err != nil {
		return err
	}
	n.mu.votes.Close()
	n.mu.votes = votes
	return nil
}

func (n *Node) add(g *Group) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.groups[g] = struct{}{}
}

func (n *Node) remove(g *Group) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.mu.groups, g)
}

func (n *Node) markDue(g *Group) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.marks = append(n.mu.marks, g)
}

// tick writes the durable marks of the logs that were written to.
func (n *Node) tick(ctx context.Context) {
	defer close(n.done)
	t := time.NewTicker(markInterval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		n.mu.Lock()
		due := n.mu.marks
		n.mu.marks = nil
		n.mu.Unlock()
		for _, g := range due {
			g.writeMark()
		}
	}
}

// Close stops all groups, side by side, then what they share.
func (n *Node) Close() error {
	n.mu.Lock()
	groups := make([]*Group, 0, len(n.mu.groups))
	for g := range n.mu.groups {
		groups = append(groups, g)
	}
	n.mu.Unlock()
	var wg sync.WaitGroup
	for _, g := range groups {
		wg.Go(func() { _ = g.Close() })
	}
	wg.Wait()
	n.stop()
	<-n.done
	if n.cfg.Syncer == nil {
		n.syncer.Close()
	}
	if err := n.Votes().Close(); err != nil {
		return fmt.Errorf("close votes: %w", err)
	}
	return nil
}

// newRaftLogger passes raft's errors on to slog; the rest of what it says is
// said better by this package.
func newRaftLogger(l *slog.Logger) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Name: "raft", Level: hclog.Error, DisableTime: true, Output: slogWriter{l}})
}

type slogWriter struct{ l *slog.Logger }

func (w slogWriter) Write(p []byte) (int, error) {
	w.l.Error(string(bytes.TrimSpace(p)))
	return len(p), nil
}
