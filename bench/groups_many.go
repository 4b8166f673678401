package bench

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// MembersLoad is a large group of the new consumer protocol (KIP-848) that does
// nothing but send heartbeats.
type MembersLoad struct {
	Brokers     []string
	Group       string
	Topic       string        // must exist
	Members     int           // in all
	Connections int           // that they share evenly
	Settle      time.Duration // heartbeats before the time that counts
	Duration    time.Duration // counted
	Watch       Watch         // Live and Done are not used
}

// HoldGroup has all members join, lets them send heartbeats as often as the
// coordinator says, and has them leave at the end.
func HoldGroup(ctx context.Context, l MembersLoad) error {
	address, err := findCoordinator(ctx, l.Brokers[0], l.Group)
	if err != nil {
		return err
	}
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	stop := make(chan struct{})
	var joined, running sync.WaitGroup
	for i := range l.Connections {
		w, err := dialWire(ctx, address)
		if err != nil {
			close(stop)
			running.Wait()
			return fmt.Errorf("connect: %w", err)
		}
		members := newHeldMembers(&l, i)
		joined.Add(1)
		running.Go(func() {
			defer w.Close()
			if err := holdMembers(ctx, w, members, joined.Done, stop); err != nil {
				fail(err)
			}
		})
	}
	joined.Wait()
	err = holdFor(ctx, l)
	close(stop)
	running.Wait()
	return errors.Join(err, context.Cause(ctx))
}

// holdFor lets the time pass.
func holdFor(ctx context.Context, l MembersLoad) error {
	if err := pause(ctx, time.Now().Add(l.Settle), nil); err != nil {
		return err
	}
	l.Watch.begin()
	err := pause(ctx, time.Now().Add(l.Duration), nil)
	l.Watch.end()
	return err
}

// heldMember is a member and what it knows.
type heldMember struct {
	request  *kmsg.ConsumerGroupHeartbeatRequest
	interval time.Duration
	due      time.Time
}

// newHeldMembers are the members of one connection.
func newHeldMembers(l *MembersLoad, connection int) []*heldMember {
	var members []*heldMember
	for number := connection; number < l.Members; number += l.Connections {
		var id [16]byte
		binary.BigEndian.PutUint64(id[:], uint64(number)+1)
		req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		req.Version, req.Group, req.RebalanceTimeoutMillis = 1, l.Group, benchSession
		req.MemberID = base64.RawURLEncoding.EncodeToString(id[:])
		req.SubscribedTopicNames = []string{l.Topic}
		req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		members = append(members, &heldMember{request: req})
	}
	return members
}

// holdMembers sends the heartbeats of a connection's members, each when it is
// due, until stop; then they leave. joined is called once, when all have joined
// or something is wrong.
func holdMembers(ctx context.Context, w *wire, members []*heldMember, joined func(), stop <-chan struct{}) error {
	err := func() error {
		defer joined()
		for _, m := range members {
			if err := m.heartbeat(w); err != nil {
				return fmt.Errorf("join: %w", err)
			}
		}
		return nil
	}()
	for err == nil {
		next := members[0]
		for _, m := range members {
			if m.due.Before(next.due) {
				next = m
			}
		}
		err = pause(ctx, next.due, stop)
		select {
		case <-stop:
			return leaveAll(w, members)
		default:
		}
		if err == nil {
			err = next.heartbeat(w)
		}
	}
	return err
}

// heartbeat sends one, which says everything the first time and what changed
// afterwards.
func (m *heldMember) heartbeat(w *wire) error {
	answer, err := w.ask(m.request)
	if err != nil {
		return err
	}
	resp := answer.(*kmsg.ConsumerGroupHeartbeatResponse)
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return err
	}
	m.request.MemberEpoch = resp.MemberEpoch
	m.request.RebalanceTimeoutMillis, m.request.SubscribedTopicNames, m.request.Topics = -1, nil, nil
	m.interval = time.Duration(resp.HeartbeatIntervalMillis) * time.Millisecond
	m.due = time.Now().Add(m.interval)
	if resp.Assignment != nil {
		m.request.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		for _, t := range resp.Assignment.Topics {
			owned := kmsg.NewConsumerGroupHeartbeatRequestTopic()
			owned.TopicID, owned.Partitions = t.TopicID, t.Partitions
			m.request.Topics = append(m.request.Topics, owned)
		}
		m.due = time.Now() // it has given up what it had to, and says so at once
	}
	return nil
}

func leaveAll(w *wire, members []*heldMember) error {
	for _, m := range members {
		m.request.MemberEpoch, m.request.Topics = -1, nil
		answer, err := w.ask(m.request)
		if err != nil {
			return fmt.Errorf("leave: %w", err)
		}
		if err := kerr.ErrorForCode(answer.(*kmsg.ConsumerGroupHeartbeatResponse).ErrorCode); err != nil {
			return fmt.Errorf("leave: %w", err)
		}
	}
	return nil
}
