//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// comparison runs workloads one after the other.
type comparison struct {
	options
	out      io.Writer
	command  string
	work     string     // binaries, and data below it
	memory   *pageCache // nil: it is left as it is
	systems  []system
	versions map[string]string
	leftOut  map[string]string // and why
}

// open builds and fetches the systems.
func (c *comparison) open(ctx context.Context) error {
	tree, err := sourceTree(ctx)
	if err != nil {
		return err
	}
	if c.work, err = os.MkdirTemp(c.dir, "fanfold-compare-"); err != nil {
		return err
	}
	if c.fillCache {
		if c.memory, err = newPageCache(c.work); err != nil {
			return err
		}
	}
	c.versions, c.leftOut = map[string]string{}, map[string]string{}
	for _, s := range allSystems(tree, c.work) {
		if c.options.systems != "all" && !slices.Contains(strings.Split(c.options.systems, ","), s.name()) {
			c.leftOut[s.name()] = "not asked for"
			continue
		}
		version, err := s.install(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return err
			}
			first, _, _ := strings.Cut(err.Error(), "\n")
			c.leftOut[s.name()] = first
			fmt.Fprintf(c.out, "without %s: %v\n", s.title(), err)
			continue
		}
		c.versions[s.name()] = version
		c.systems = append(c.systems, s)
	}
	return nil
}

func (c *comparison) close() {
	if c.memory != nil {
		c.memory.close()
	}
	if c.keep {
		fmt.Fprintln(c.out, "data and output are in", c.work)
		return
	}
	os.RemoveAll(c.work)
}

// contender is a system in a workload.
type contender struct {
	*server
	kept kept
}

func (c *comparison) workload(ctx context.Context, w *workload) (err error) {
	r := &results{
		Workload: w.name, Title: w.title, Started: time.Now().Truncate(time.Second), Command: c.command,
		Machine: describeMachine(c.work), Versions: map[string]string{}, LeftOut: map[string]string{},
	}
	dir := filepath.Join(c.work, w.name)
	var contenders []*contender
	defer func() {
		for _, s := range contenders {
			err = errors.Join(err, s.stop())
		}
		if !c.keep {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	for _, s := range c.systems {
		if !slices.Contains(w.systems, s.name()) {
			continue
		}
		r.Versions[s.name()] = c.versions[s.name()]
		one, err := newServer(ctx, s, filepath.Join(dir, s.name()))
		if err != nil {
			return err
		}
		contenders = append(contenders, &contender{server: one})
	}
	for name, why := range maps.All(c.leftOut) {
		if slices.Contains(w.systems, name) {
			r.LeftOut[name] = why
		}
	}
	fmt.Fprintf(c.out, "%s: %s\n", w.name, w.title)
	if err := c.rounds(ctx, w, contenders, r); err != nil {
		return err
	}
	if err := r.save(c.options.out); err != nil {
		return err
	}
	summarize(c.out, w, r)
	return nil
}

// rounds sets the systems up, warms them up, and has them take turns.
func (c *comparison) rounds(ctx context.Context, w *workload, contenders []*contender, r *results) error {
	var all shared
	turnOf := func(s *contender, round int) *turn {
		return &turn{
			ctx: ctx, server: s.server, settings: c.settings, round: round, kept: &s.kept, shared: &all,
			topic: fmt.Sprintf("%s-%d", w.name, round),
		}
	}
	for _, s := range contenders {
		if !w.cold {
			if err := s.start(ctx); err != nil {
				return err
			}
		}
		if w.setUp != nil {
			if err := c.settle(); err != nil {
				return err
			}
			if err := w.setUp(turnOf(s, 0)); err != nil {
				return fmt.Errorf("set up %s: %w", s.name(), err)
			}
		}
	}
	if w.warm && c.warmRun > 0 {
		for _, s := range contenders {
			t := turnOf(s, 0)
			t.settings.duration = c.warmRun
			if _, err := c.take(w, t); err != nil {
				return err
			}
		}
	}
	for round := 1; round <= c.runs; round++ {
		for i := range contenders {
			s := contenders[(i+round-1)%len(contenders)]
			m, err := c.take(w, turnOf(s, round))
			if err != nil {
				return err
			}
			m.System, m.Round = s.name(), round
			r.Runs = append(r.Runs, m)
			fmt.Fprintf(c.out, "  round %d  %-22s %s\n", round, s.title(), m.text(w))
		}
	}
	return nil
}

// settle keeps one system's unwritten pages, and the memory that it freed, from
// being another's burden.
func (c *comparison) settle() error {
	time.Sleep(1200 * time.Millisecond) // deleted files go after a second
	unix.Sync()
	if c.memory == nil {
		return nil
	}
	return c.memory.fill()
}

// take is one turn with what belongs around it.
func (c *comparison) take(w *workload, t *turn) (m measured, err error) {
	failed := func(err error) (measured, error) {
		return m, fmt.Errorf("%s, round %d: %w", t.server.name(), t.round, err)
	}
	if err := c.settle(); err != nil {
		return failed(err)
	}
	if w.cold || w.setUp != nil && t.kept.topic != "" {
		if m, err = w.run(t); err != nil {
			return failed(err)
		}
		return m, nil
	}
	count := partitions
	if w.partitions > 0 {
		count = w.partitions
	}
	create, remove := createTopic, deleteTopic
	if _, ok := t.server.system.(*natsServer); ok {
		create = createStreams
		remove = func(ctx context.Context, address, topic string) error {
			return deleteStreams(ctx, address, topic, count)
		}
	}
	if err := create(t.ctx, t.server.address, t.topic, count); err != nil {
		return failed(err)
	}
	if m, err = w.run(t); err == nil {
		err = remove(t.ctx, t.server.address, t.topic)
	}
	if err != nil {
		return failed(err)
	}
	return m, nil
}
