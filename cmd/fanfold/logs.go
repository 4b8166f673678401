package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/internal/table"
	"github.com/fanfold/fanfold/internal/units"
	"github.com/fanfold/fanfold/internal/vfs"
	"github.com/fanfold/fanfold/log"
	"github.com/fanfold/fanfold/replication"
)

func newLog(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "log",
		Short: "Show and check a partition's files, offline",
		Args:  cobra.ArbitraryArgs,
		RunE:  groupOf,
	}
	cmd.AddCommand(newLogVerify(a), newLogDump(a))
	return cmd
}

const logArguments = `
DIR is a data directory (all of its partitions), one of its topics' directories,
or a partition's own. A running broker holds its data directory: stop it first,
or work on a copy.`

func newLogVerify(a *app) *cobra.Command {
	var records bool
	cmd := &cobra.Command{
		Use:   "verify DIR...",
		Short: "Check every byte of partitions' files",
		Long: `Reads every file of the partitions in DIR and checks it: checksums, order,
indexes, journal, durable mark, snapshot manifest and, for a data directory, the
vote file. Damage is named with file, position, offset and cause, and makes the
exit status 1. What the next start repairs by itself (a torn tail after a crash,
caches) is told too, and is no damage. Nothing is changed.
` + logArguments,
		Example: `  fanfold log verify ./fanfold-data
  fanfold log verify --records ./fanfold-data/topics/*/0
  fanfold log verify -o json /var/lib/fanfold`,
		Args: withUsage(cobra.MinimumNArgs(1)),
	}
	cmd.Flags().BoolVar(&records, "records", false, "decode every record too")
	isJSON := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, dirs []string) error {
		return a.logVerify(cmd.Context(), dirs, log.VerifyOptions{Records: records}, isJSON())
	}
	return cmd
}

// verified is what `log verify` says of one partition.
type verified struct {
	Dir       string      `json:"dir"`
	Topic     string      `json:"topic,omitempty"`
	Partition string      `json:"partition"`
	Segments  int         `json:"segments"`
	Batches   int64       `json:"batches"`
	Records   int64       `json:"records"`
	Bytes     int64       `json:"bytes"`
	Start     int64       `json:"startOffset"`
	End       int64       `json:"endOffset"`
	CleanStop bool        `json:"cleanStop"`
	Damage    []foundFlaw `json:"damage"`
	LeftOvers []foundFlaw `json:"leftOvers"`
	Caches    []foundFlaw `json:"caches"`
}

// foundFlaw is one thing that is wrong with a file.
type foundFlaw struct {
	File     string `json:"file"`
	Position int64  `json:"position"` // bytes, −1: the file as a whole
	Offset   int64  `json:"offset"`   // −1: none
	Cause    string `json:"cause"`
}

func flaws(list []*log.CorruptionError) []foundFlaw {
	out := make([]foundFlaw, len(list))
	for i, c := range list {
		out[i] = foundFlaw{c.File, c.Pos, c.Offset, c.Cause.Error()}
	}
	return out
}

func (a *app) logVerify(ctx context.Context, dirs []string, opts log.VerifyOptions, asJSON bool) error {
	found, release, err := findLogs(dirs)
	if err != nil {
		return err
	}
	defer release()
	var all []verified
	damaged := 0
	for i, l := range found {
		a.progressLine(fmt.Sprintf("checking %d of %d: %s", i+1, len(found), l.dir))
		v, err := l.verify(ctx, opts)
		if err != nil {
			a.progressLine("")
			return err
		}
		damaged += len(v.Damage)
		all = append(all, v)
	}
	a.progressLine("")
	if asJSON {
		err = a.writeJSON(all)
	} else {
		err = a.showVerified(all)
	}
	if err == nil && damaged > 0 {
		return fmt.Errorf("%d places are damaged; see docs/operations.md, \"Damaged files\"", damaged)
	}
	return err
}

// progressLine shows what is being done, on a terminal; an empty text ends it.
func (a *app) progressLine(text string) {
	if a.errTerminal {
		fmt.Fprintf(a.stderr, "\r\x1b[K%s", text)
	}
}

func (a *app) showVerified(all []verified) error {
	t := table.New(table.Left("TOPIC"), table.Right("PARTITION"), table.Right("SEGMENTS"), table.Right("BATCHES"), table.Right("RECORDS"), table.Right("SIZE"), table.Right("START"), table.Right("END"), table.Left("RESULT"))
	for _, v := range all {
		t.Row(v.Topic, v.Partition, v.Segments, v.Batches, v.Records, units.FormatBytes(v.Bytes), v.Start, v.End, v.result())
	}
	if err := t.Write(a.stdout); err != nil {
		return err
	}
	for _, v := range all {
		for _, kind := range []struct {
			name  string
			flaws []foundFlaw
		}{{"damage", v.Damage}, {"left over", v.LeftOvers}, {"cache", v.Caches}} {
			for _, f := range kind.flaws {
				if _, err := fmt.Fprintf(a.stdout, "%s: %s\n", kind.name, f); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (v verified) result() string {
	switch {
	case len(v.Damage) > 0:
		return fmt.Sprintf("DAMAGED in %d places", len(v.Damage))
	case len(v.LeftOvers)+len(v.Caches) > 0:
		return "ok; the next start tidies up"
	}
	return "ok"
}

func (f foundFlaw) String() string {
	text := f.File
	if f.Position >= 0 {
		text += fmt.Sprintf(", byte %d", f.Position)
	}
	if f.Offset >= 0 {
		text += fmt.Sprintf(", offset %d", f.Offset)
	}
	return text + ": " + f.Cause
}

func newLogDump(a *app) *cobra.Command {
	var opts log.DumpOptions
	cmd := &cobra.Command{
		Use:   "dump DIR...",
		Short: "Show what partitions' files hold",
		Long: `Shows the files of the partitions in DIR, in their order: durable mark, journal,
and each segment with its batches; with --records each record, with --index each
index entry. Damage is shown where it stands. Nothing is changed.
` + logArguments,
		Example: `  fanfold log dump ./fanfold-data/topics/*/0
  fanfold log dump --records ./fanfold-data/topics/*/0 | less
  fanfold log dump -o json ./fanfold-data | jq 'select(.batch)'`,
		Args: withUsage(cobra.MinimumNArgs(1)),
	}
	cmd.Flags().BoolVar(&opts.Records, "records", false, "show every record")
	cmd.Flags().BoolVar(&opts.Index, "index", false, "show every index entry")
	isJSON := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, dirs []string) error {
		found, release, err := findLogs(dirs)
		if err != nil {
			return err
		}
		defer release()
		for _, l := range found {
			if err := a.logDump(cmd.Context(), l, opts, isJSON()); err != nil {
				return err
			}
		}
		return nil
	}
	return cmd
}

func (a *app) logDump(ctx context.Context, l logDir, opts log.DumpOptions, asJSON bool) error {
	emit := func(item log.Item) error {
		_, err := fmt.Fprintln(a.stdout, item)
		return err
	}
	if asJSON {
		out := json.NewEncoder(a.stdout)
		emit = func(item log.Item) error { return out.Encode(item) }
	} else if _, err := fmt.Fprintf(a.stdout, "%s\n", a.outStyle.heading(l.String())); err != nil {
		return err
	}
	_, err := log.Dump(ctx, vfs.OS, l.dir, opts, emit)
	return err
}

// logDir is a partition's directory.
type logDir struct {
	dir       string
	topic     string // its name, where the topic's directory tells
	partition string
	root      string // the data directory, once for all of its partitions
}

func (l logDir) String() string {
	if l.topic == "" {
		return l.dir
	}
	return fmt.Sprintf("%s, partition %s (%s)", l.topic, l.partition, l.dir)
}

// verify checks a partition's files.
func (l logDir) verify(ctx context.Context, opts log.VerifyOptions) (verified, error) {
	r, err := log.Verify(ctx, vfs.OS, l.dir, opts)
	if err != nil {
		return verified{}, err
	}
	v := verified{
		Dir: l.dir, Topic: l.topic, Partition: l.partition, Segments: r.Segments, Batches: r.Batches, Records: r.Records,
		Bytes: r.Bytes, Start: r.StartOffset, End: r.EndOffset, CleanStop: r.CleanStop,
		Damage: flaws(r.Damage), LeftOvers: flaws(r.LeftOvers), Caches: flaws(r.Caches),
	}
	if err := replication.CheckManifest(vfs.OS, l.dir); err != nil {
		v.Damage = append(v.Damage, foundFlaw{filepath.Join(l.dir, "manifest"), -1, -1, err.Error()})
	}
	if l.root != "" {
		if err := replication.CheckVotes(vfs.OS, l.root); err != nil {
			v.Damage = append(v.Damage, foundFlaw{filepath.Join(l.root, "votes"), -1, -1, err.Error()})
		}
	}
	return v, nil
}

// findLogs finds the partitions in directories of any level, and locks the data
// directories that hold them until release.
func findLogs(dirs []string) (found []logDir, release func(), err error) {
	var locks []io.Closer
	release = func() {
		for _, l := range locks {
			_ = l.Close() // nothing was written
		}
	}
	locked := map[string]bool{}
	for _, dir := range dirs {
		some, root, err := logsIn(filepath.Clean(dir))
		if err == nil && root != "" && !locked[root] {
			var lock io.Closer
			if lock, err = lockDataDir(root); err == nil {
				locks, locked[root] = append(locks, lock), true
			}
		}
		if err != nil {
			release()
			return nil, nil, err
		}
		found = append(found, some...)
	}
	return found, release, nil
}

func lockDataDir(root string) (io.Closer, error) {
	lock, err := vfs.OS.Lock(filepath.Join(root, "lock"))
	if errors.Is(err, vfs.ErrLocked) {
		return nil, fmt.Errorf("data directory %s is used by a running broker: stop it first, or work on a copy", root)
	}
	return lock, err
}

// logsIn finds the partitions below dir, and the data directory around it.
func logsIn(dir string) (found []logDir, root string, err error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, "", err
	}
	switch {
	case exists(dir, "journal"):
		topic := filepath.Dir(dir)
		return []logDir{partitionDir(topic, filepath.Base(dir))}, rootOf(filepath.Dir(filepath.Dir(topic))), nil
	case exists(dir, "fanfold.json"):
		names, err := filepath.Glob(filepath.Join(dir, "topics", "*"))
		if err != nil {
			return nil, "", err
		}
		for _, topic := range names {
			found = append(found, partitionsOf(topic)...)
		}
		if len(found) > 0 {
			found[0].root = dir
		}
		return found, dir, nil
	}
	if found = partitionsOf(dir); len(found) > 0 {
		return found, rootOf(filepath.Dir(filepath.Dir(dir))), nil
	}
	return nil, "", usagef("%s is no data directory, topic directory or partition directory of Fanfold", dir)
}

func exists(dir, name string) bool {
	_, err := os.Stat(filepath.Join(dir, name))
	return err == nil
}

// rootOf is dir where it is a data directory, or "".
func rootOf(dir string) string {
	if exists(dir, "fanfold.json") {
		return dir
	}
	return ""
}

func partitionsOf(topic string) []logDir {
	entries, err := os.ReadDir(topic)
	if err != nil {
		return nil
	}
	var found []logDir
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err == nil && exists(filepath.Join(topic, e.Name()), "journal") {
			found = append(found, partitionDir(topic, e.Name()))
		}
	}
	slices.SortFunc(found, func(a, b logDir) int {
		x, _ := strconv.Atoi(a.partition)
		y, _ := strconv.Atoi(b.partition)
		return x - y
	})
	return found
}

func partitionDir(topic, partition string) logDir {
	name, _ := os.ReadFile(filepath.Join(topic, "name")) // only for people
	return logDir{dir: filepath.Join(topic, partition), topic: strings.TrimSpace(string(name)), partition: partition}
}
