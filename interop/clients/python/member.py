"""A member of a consumer group, by librdkafka."""

import json
import os
import sys
import threading

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

TIMEOUT = 30


def settings(o):
    conf = {
        "bootstrap.servers": o.brokers,
        "group.id": o.group,
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "fetch.wait.max.ms": 100,
    }
    if o.protocol == "consumer":  # there the broker says the rest
        conf["group.protocol"] = "consumer"
    else:
        strategies = {"eager": "range", "cooperative": "cooperative-sticky"}
        conf["partition.assignment.strategy"] = strategies[o.protocol]
        conf["session.timeout.ms"] = o.session
        conf["heartbeat.interval.ms"] = o.heartbeat
    conf.update(o.set)
    return conf


class Member:
    def __init__(self, o):
        self.o = o
        self.next = {}  # handled and not committed: the next offset, by partition
        self.leaving = threading.Event()

    def run(self):
        threading.Thread(target=self.commands, daemon=True).start()
        c = Consumer(settings(self.o))
        c.subscribe([self.o.topic], on_assign=self.assigned, on_revoke=self.revoked, on_lost=self.lost)
        try:
            while not self.leaving.is_set():
                self.poll(c)
                self.commit(c)
        finally:
            c.close()
        self.print("left")

    def poll(self, c):
        """Handles what is there, or waits for one record."""
        timeout = 0.1
        for _ in range(200):
            m = c.poll(timeout)
            if m is None:
                return
            if m.error():
                print(f"poll: {m.error()}", file=sys.stderr)
                continue
            self.next[m.partition()] = m.offset() + 1
            self.print("record", partition=m.partition(), offset=m.offset(), number=int(m.value()))
            timeout = 0

    def commit(self, c):
        """What cannot be committed just now (the group rebalances, the broker is away) is later."""
        if not self.next:
            return
        offsets = [TopicPartition(self.o.topic, p, offset) for p, offset in self.next.items()]
        try:
            for p in c.commit(offsets=offsets, asynchronous=False):
                if p.error is not None:
                    raise KafkaException(p.error)
        except KafkaException as e:
            print(f"commit: {e}", file=sys.stderr)
            return
        self.print("committed", offsets=self.next)
        self.next = {}

    def assigned(self, _, partitions):
        self.print("assigned", partitions=ids(partitions))

    def revoked(self, c, partitions):
        self.commit(c)
        self.drop("revoked", partitions)

    def lost(self, _, partitions):
        self.drop("lost", partitions)

    def drop(self, event, partitions):
        for p in ids(partitions):
            self.next.pop(p, None)
        self.print(event, partitions=ids(partitions))

    def commands(self):
        """Standard input: "describe", and its end means to leave."""
        for line in sys.stdin:
            if line.strip() == "describe":
                try:
                    self.print("described", **self.describe())
                except Exception as e:
                    self.print("described", error=f"{type(e).__name__}: {e}")
        self.leaving.set()

    def describe(self):
        admin = AdminClient({"bootstrap.servers": self.o.brokers})
        listed = admin.list_consumer_groups().result(TIMEOUT)
        if listed.errors:
            raise listed.errors[0]
        g = admin.describe_consumer_groups([self.o.group])[self.o.group].result(TIMEOUT)
        asked = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(self.o.group)])
        offsets = asked[self.o.group].result(TIMEOUT).topic_partitions
        return {
            "listed": any(l.group_id == self.o.group for l in listed.valid),
            "state": g.state.name.title().replace("_", ""),
            "members": len(g.members),
            "assignor": g.partition_assignor,
            "assignments": sum(len(m.assignment.topic_partitions) for m in g.members if m.assignment),
            "offsets": {p.partition: p.offset for p in offsets},
        }

    def print(self, event, **fields):
        """Prints one line in one write: other processes append to the same file."""
        line = json.dumps({"event": event, "member": self.o.name, **fields}) + "\n"
        os.write(1, line.encode())


def ids(partitions):
    return sorted(p.partition for p in partitions)
