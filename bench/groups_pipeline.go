package bench

import (
	"bufio"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// pipelinedCommitter commits for its groups in turn with several commits in
// flight, as a process does that reads for many groups over one connection.
// Close waits for all answers.
type pipelinedCommitter struct {
	*committer
	w       *bufio.Writer
	flying  chan flyingCommit // in the order of the answers; its room is the window
	failed  chan error        // capacity 1
	reading sync.WaitGroup
	once    sync.Once
}

type flyingCommit struct {
	group  string
	offset int64
	req    kmsg.Request
}

// newPipelinedCommitter begins with one commit for each group, so that all
// coordinators are known to serve.
func newPipelinedCommitter(c *committer, window int) (*pipelinedCommitter, error) {
	for range c.groups {
		if err := c.Exchange(nil); err != nil {
			return nil, err
		}
	}
	p := &pipelinedCommitter{
		committer: c, w: bufio.NewWriterSize(c.conn, 64<<10),
		flying: make(chan flyingCommit, window), failed: make(chan error, 1),
	}
	p.reading.Go(func() {
		if err := p.readAnswers(); err != nil {
			p.failed <- err
			_ = c.conn.Close() // whoever writes sees it
		}
	})
	return p, nil
}

// readAnswers takes the answers until Close.
func (p *pipelinedCommitter) readAnswers() error {
	for f := range p.flying {
		answer, err := p.answer(f.req)
		if err != nil {
			return err
		}
		resp := answer.(*kmsg.OffsetCommitResponse)
		if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
			return errors.New("a commit was answered for other partitions")
		}
		if err := kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode); err != nil {
			return fmt.Errorf("commit for %s: %w", f.group, err)
		}
		p.last[f.group] = f.offset
	}
	return nil
}

func (p *pipelinedCommitter) Exchange([]byte) error {
	req, group := p.next()
	f := flyingCommit{group, p.sent, req}
	select {
	case p.flying <- f:
	default:
		if err := p.flush(); err != nil {
			return err
		}
		timer := time.NewTimer(answerWithin)
		defer timer.Stop()
		select {
		case p.flying <- f:
		case err := <-p.failed:
			p.failed <- err
			return err
		case <-timer.C:
			return errors.New("no commit is answered")
		}
	}
	p.out = p.format.AppendRequest(p.out[:0], req, 0)
	_, err := p.w.Write(p.out)
	return err
}

func (p *pipelinedCommitter) flush() error {
	if err := p.conn.SetDeadline(time.Now().Add(answerWithin)); err != nil {
		return err
	}
	return p.w.Flush()
}

func (p *pipelinedCommitter) Close() (err error) {
	p.once.Do(func() {
		err = p.flush()
		close(p.flying)
		p.reading.Wait()
		err = errors.Join(err, p.conn.Close())
		select {
		case failure := <-p.failed:
			err = errors.Join(err, failure)
		default:
		}
	})
	return err
}
