"""What confluent-kafka's AdminClient and Consumer ask of a broker."""

import time

from confluent_kafka import (
    Consumer,
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
)

T = int(time.time() * 1000) - 600_000
TIMEOUT = 30


class Checks:
    def __init__(self, o):
        self.topic = o.scratch + "-python"
        self.group = self.topic + "-group"
        self.brokers = o.brokers
        self.admin = AdminClient({"bootstrap.servers": o.brokers})
        self.resource = ConfigResource(ConfigResource.Type.TOPIC, self.topic)
        self.first = TopicPartition(self.topic, 0)

    def one(self, futures):
        return next(iter(futures.values())).result(TIMEOUT)

    def fails(self, code, futures):
        try:
            self.one(futures)
        except KafkaException as e:
            equal(code, e.args[0].code())
            return
        raise AssertionError(f"no error, want {code}")

    def partitions(self):
        return self.admin.list_topics(self.topic, TIMEOUT).topics[self.topic].partitions

    def config(self, name):
        return self.one(self.admin.describe_configs([self.resource]))[name].value

    def offset(self, spec):
        return self.one(self.admin.list_offsets({self.first: spec})).offset

    def create_topic(self):
        self.one(self.admin.create_topics([NewTopic(self.topic, 2, 1, config={"retention.ms": "-1"})]))
        eventually(lambda: equal(2, len(self.partitions())))

    def create_topic_that_exists(self):
        self.fails(KafkaError.TOPIC_ALREADY_EXISTS, self.admin.create_topics([NewTopic(self.topic, 2, 1)]))

    def create_partitions(self):
        self.one(self.admin.create_partitions([NewPartitions(self.topic, 4)]))
        eventually(lambda: equal(4, len(self.partitions())))

    def describe_configs(self):
        equal("-1", self.config("retention.ms"))
        equal("delete", self.config("cleanup.policy"))

    def alter_configs(self):
        self.one(self.admin.alter_configs([ConfigResource("topic", self.topic, {"retention.ms": "3600000"})]))
        eventually(lambda: equal("3600000", self.config("retention.ms")))

    def incremental_alter_configs(self):
        entry = ConfigEntry("segment.ms", "7200000", incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource("topic", self.topic, incremental_configs=[entry])
        self.one(self.admin.incremental_alter_configs([resource]))
        eventually(lambda: equal("7200000", self.config("segment.ms")))
        eventually(lambda: equal("3600000", self.config("retention.ms")))

    def describe_topics(self):
        d = self.one(self.admin.describe_topics(TopicCollection([self.topic])))
        equal(4, len(d.partitions))
        equal(1, len(d.partitions[0].isr))

    def describe_cluster(self):
        d = self.admin.describe_cluster().result(TIMEOUT)
        equal(1, len(d.nodes))
        truth(d.cluster_id, "no cluster id")

    def write_and_list_offsets(self):
        p = Producer({"bootstrap.servers": self.brokers, "enable.idempotence": True})
        for delta in (30, 10, 40):
            p.produce(self.topic, b"v", b"k", 0, timestamp=T + delta)
            p.flush(TIMEOUT)
        equal(0, self.offset(OffsetSpec.earliest()))
        equal(3, self.offset(OffsetSpec.latest()))
        equal(2, self.offset(OffsetSpec.max_timestamp()))
        equal(2, self.offset(OffsetSpec.for_timestamp(T + 31)))

    def offsets_for_times(self):
        c = Consumer({"bootstrap.servers": self.brokers, "group.id": "interop-unused"})
        try:
            got = c.offsets_for_times([TopicPartition(self.topic, 0, T + 40)], TIMEOUT)
            equal(2, got[0].offset)
        finally:
            c.close()

    def committed(self):
        asked = self.admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(self.group)])
        return {p.partition: p.offset for p in self.one(asked).topic_partitions}

    def commit_without_being_a_member(self):
        c = Consumer({"bootstrap.servers": self.brokers, "group.id": self.group})
        try:
            c.commit(offsets=[TopicPartition(self.topic, 0, 1), TopicPartition(self.topic, 1, 0)], asynchronous=False)
            got = c.committed([TopicPartition(self.topic, 0)], TIMEOUT)
            equal(1, got[0].offset)
        finally:
            c.close()
        equal({0: 1, 1: 0}, self.committed())

    def alter_group_offsets(self):
        offsets = [TopicPartition(self.topic, 0, 2)]
        self.one(self.admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(self.group, offsets)]))
        equal({0: 2, 1: 0}, self.committed())

    def list_groups(self):
        listed = self.admin.list_consumer_groups(states={ConsumerGroupState.EMPTY}).result(TIMEOUT)
        equal([], listed.errors)
        truth(self.group in [g.group_id for g in listed.valid], "the group is not listed")

    def describe_group(self):
        d = self.one(self.admin.describe_consumer_groups([self.group]))
        equal(ConsumerGroupState.EMPTY, d.state)
        equal(0, len(d.members))

    def delete_group(self):
        self.one(self.admin.delete_consumer_groups([self.group]))
        equal({}, self.committed())
        self.fails(KafkaError.GROUP_ID_NOT_FOUND, self.admin.delete_consumer_groups([self.group]))

    def delete_records(self):
        got = self.one(self.admin.delete_records([TopicPartition(self.topic, 0, 2)]))
        equal(2, got.low_watermark)
        equal(2, self.offset(OffsetSpec.earliest()))

    def delete_topics(self):
        self.one(self.admin.delete_topics([self.topic], operation_timeout=TIMEOUT))
        eventually(lambda: truth(self.topic not in self.admin.list_topics(timeout=TIMEOUT).topics, "it is still listed"))

    def delete_a_topic_that_is_not_there(self):
        self.fails(KafkaError.UNKNOWN_TOPIC_OR_PART, self.admin.delete_topics([self.topic + "-none"]))


def equal(want, got):
    if want != got:
        raise AssertionError(f"want {want!r}, got {got!r}")


def eventually(check):
    """Tries for a while: Apache Kafka's brokers learn of a change a moment after it was answered."""
    deadline = time.monotonic() + 10
    while True:
        try:
            return check()
        except (AssertionError, KafkaException):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def truth(ok, what):
    if not ok:
        raise AssertionError(what)


ORDER = """create_topic create_topic_that_exists create_partitions describe_configs alter_configs
incremental_alter_configs describe_topics describe_cluster write_and_list_offsets offsets_for_times
commit_without_being_a_member alter_group_offsets list_groups describe_group delete_group
delete_records delete_topics delete_a_topic_that_is_not_there"""


def run(o):
    checks, failed = Checks(o), 0
    for name in ORDER.split():
        label = name.replace("_", " ")
        try:
            getattr(checks, name)()
            print("ok", label)
        except Exception as e:
            failed += 1
            text = str(e).replace("\n", " ")
            print(f"FAIL {label}: {type(e).__name__}: {text}")
    if failed:
        raise RuntimeError(f"{failed} checks failed")
