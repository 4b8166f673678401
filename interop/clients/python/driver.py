"""The suite's program for librdkafka, through confluent-kafka.

The Go package driver describes verbs and files. --set takes librdkafka's own
configuration properties.
"""

import argparse
import base64
import faulthandler
import functools
import os
import signal
import sys
import time

from confluent_kafka import Consumer, KafkaException, Producer, TIMESTAMP_CREATE_TIME, TopicPartition
from confluent_kafka import OFFSET_BEGINNING

TIMEOUT = 30  # seconds that a request, or the next record, may take


def producer(o):
    """librdkafka's defaults, but for a message size that takes the longest line."""
    conf = {
        "bootstrap.servers": o.brokers,
        "compression.type": o.codec,
        "message.max.bytes": 2 << 20,
        "queue.buffering.max.messages": 200_000,
        "queue.buffering.max.kbytes": 65_536,
    }
    conf.update(o.set)
    return Producer(conf)


def consumer(o):
    """Its group is never joined: the binding asks for a name, assign() needs none."""
    conf = {
        "bootstrap.servers": o.brokers,
        "group.id": "interop-unused",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "queued.max.messages.kbytes": 65_536,
    }
    conf.update(o.set)
    return Consumer(conf)


def records_of(root, name):
    with open(os.path.join(root, name), "rb") as f:
        return f.read().split(b"\n")


class TreeProducer:
    """Writes every record of a tree and logs what was acknowledged."""

    def __init__(self, o):
        self.o = o
        self.failed = None
        self.acknowledged = 0

    def delivered(self, file, record, err, msg):
        if err is None:
            self.acknowledged += 1
            self.acks.write("%d %d %d %d\n" % (msg.partition(), msg.offset(), file, record))
        elif self.failed is None:
            self.failed = f"partition {msg.partition()} file {msg.key()} record {record}: {err}"

    def run(self):
        with open(self.o.files, encoding="utf-8") as f:
            names = f.read().splitlines()
        sent = 0
        p = producer(self.o)
        with open(self.o.acks or os.devnull, "w", buffering=1 << 16) as self.acks:
            for file, name in enumerate(names):
                if self.failed:
                    break
                sent += self.file(p, file, name)
            while len(p) > 0 and not self.failed:
                p.flush(1)
        if self.failed:
            raise RuntimeError(self.failed)
        if sent != self.acknowledged:
            raise RuntimeError(f"{sent} records written and {self.acknowledged} acknowledged")
        print(sent, "records")

    def file(self, p, file, name):
        key = name.encode()
        records = records_of(self.o.tree, name)
        for i, value in enumerate(records):
            done = functools.partial(self.delivered, file, i)
            while True:
                try:
                    p.produce(self.o.topic, value, key, on_delivery=done)
                    break
                except BufferError:
                    p.poll(0.1)
        p.poll(0)
        return len(records)


def each(o, add):
    """Gives add every message, each partition's in order, up to the present end."""
    c = consumer(o)
    try:
        ids = c.list_topics(o.topic, TIMEOUT).topics[o.topic].partitions
        ends = {}
        for p in ids:
            low, high = c.get_watermark_offsets(TopicPartition(o.topic, p), TIMEOUT)
            if high > low:
                ends[p] = high
        c.assign([TopicPartition(o.topic, p, OFFSET_BEGINNING) for p in ends])
        arrived = time.monotonic()
        while ends:
            messages = c.consume(10_000, 0.2)
            if messages:
                arrived = time.monotonic()
            elif time.monotonic() > arrived + TIMEOUT:
                at = ", ".join(f"{p.partition}: {p.offset}" for p in c.position(c.assignment()))
                raise RuntimeError(f"no record for {TIMEOUT} s; ends by partition: {ends}, positions: {at}")
            for m in messages:
                if m.error():
                    raise KafkaException(m.error())
                add(m)
                p = m.partition()
                if p in ends and m.offset() + 1 >= ends[p]:
                    del ends[p]
    finally:
        c.close()


class TreeRebuild:
    """Puts files together from their records."""

    def __init__(self, root):
        self.root = root
        self.open = {}  # partition: [key, values, next offset]
        self.written = set()
        self.count = 0

    def add(self, m):
        p, key = m.partition(), m.key()
        now = self.open.get(p)
        if now is None:
            now = self.open[p] = [None, [], 0]
        if m.offset() != now[2]:
            raise RuntimeError(f"partition {p} offset {m.offset()} file {key}: offset {now[2]} was next")
        now[2] += 1
        self.count += 1
        if key != now[0]:
            self.flush(now)
            now[0], now[1] = key, []
        now[1].append(m.value())

    def flush(self, now):
        key, values, _ = now
        if key is None:
            return
        path = os.path.normpath(os.path.join(self.root, key.decode()))
        if not path.startswith(os.path.join(self.root, "")):
            raise RuntimeError(f"the key {key} is no path below a folder")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        again = b"\n" if key in self.written else b""
        self.written.add(key)
        with open(path, "ab") as f:
            f.write(again + b"\n".join(values))

    def close(self):
        for now in self.open.values():
            self.flush(now)
        print(self.count, "records")


def encode(b):
    return "-" if b is None else base64.b64encode(b).decode()


def decode(s):
    return None if s == "-" else base64.b64decode(s)


def headers_of(field):
    headers = []
    for pair in field.split(";") if field else []:
        eq = next(i for i in range(0, len(pair), 4) if pair[i] == "=")
        headers.append((decode(pair[:eq]).decode(), decode(pair[eq + 1 :])))
    return headers


def write(o):
    errors = []

    def delivered(err, msg):
        if err is not None:
            errors.append(f"partition {msg.partition()}: {err}")

    p = producer(o)
    with open(o.records, encoding="ascii") as f:
        for line in f:
            partition, timestamp, key, value, headers = line.rstrip("\n").split("\t")
            p.produce(
                o.topic,
                decode(value),
                decode(key),
                int(partition),
                on_delivery=delivered,
                timestamp=int(timestamp),
                headers=headers_of(headers),
            )
    while len(p) > 0:
        p.flush(1)
    if errors:
        raise RuntimeError(errors[0])


def read(o):
    lines = []

    def add(m):
        kind, timestamp = m.timestamp()
        if kind != TIMESTAMP_CREATE_TIME:
            raise RuntimeError(f"partition {m.partition()} offset {m.offset()}: timestamp type {kind}")
        headers = ";".join(encode(k.encode()) + "=" + encode(v) for k, v in m.headers() or [])
        fields = [m.offset(), m.partition(), timestamp, encode(m.key()), encode(m.value()), headers]
        lines.append((m.partition(), m.offset(), "\t".join(map(str, fields))))

    each(o, add)
    with open(o.records, "w", encoding="ascii") as f:
        for _, _, line in sorted(lines):
            f.write(line + "\n")


def setting(s):
    name, eq, value = s.partition("=")
    if not eq:
        raise argparse.ArgumentTypeError(f"no = in {s}")
    return name, value


def main():
    faulthandler.register(signal.SIGQUIT, all_threads=True)
    a = argparse.ArgumentParser()
    a.add_argument("verb", choices=["produce", "consume", "write", "read", "checks", "member"])
    a.add_argument("--codec", default="none")
    a.add_argument("--set", type=setting, action="append", default=[])
    for name in "brokers topic tree files acks out records scratch group name protocol".split():
        a.add_argument("--" + name)
    for name in "session heartbeat".split():
        a.add_argument("--" + name, type=int)
    o = a.parse_args()
    o.set = dict(o.set)
    try:
        if o.verb == "produce":
            TreeProducer(o).run()
        elif o.verb == "consume":
            rebuild = TreeRebuild(os.path.abspath(o.out))
            each(o, rebuild.add)
            rebuild.close()
        elif o.verb == "checks":
            import checks

            checks.run(o)
        elif o.verb == "member":
            import member

            member.Member(o).run()
        else:
            {"write": write, "read": read}[o.verb](o)
    except Exception as e:
        sys.exit(f"topic {o.topic}: {type(e).__name__}: {e}")


if __name__ == "__main__":
    main()
