import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.CreateTopicsOptions;
import org.apache.kafka.clients.admin.DescribeClusterOptions;
import org.apache.kafka.clients.admin.DescribeClusterResult;
import org.apache.kafka.clients.admin.DescribeConfigsOptions;
import org.apache.kafka.clients.admin.ListConfigResourcesOptions;
import org.apache.kafka.clients.admin.LogDirDescription;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.ProducerState;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicCollection;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidPartitionsException;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.OffsetOutOfRangeException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/** What Java's AdminClient asks of a broker, one check after the other. */
final class AdminChecks {
    interface Check {
        void run() throws Exception;
    }

    /** The records that the offset checks write to partition 0 are of this time and a little later. */
    private static final long T = System.currentTimeMillis() - 600_000;

    private final Driver driver;
    private final String topic;
    private final TopicPartition first;
    private final ConfigResource resource;
    private int failed;
    private Admin admin;

    AdminChecks(Driver driver) {
        this.driver = driver;
        this.topic = driver.flag("scratch") + "-java";
        this.first = new TopicPartition(topic, 0);
        this.resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
    }

    void run() throws Exception {
        try (Admin a = Admin.create(Map.of("bootstrap.servers", driver.flag("brokers"), "default.api.timeout.ms", "30000"))) {
            admin = a;
            topics();
            configs();
            cluster();
            offsets();
            new GroupChecks(this, admin, topic).run();
            deletion();
        }
        if (failed > 0) {
            throw new Exception(failed + " checks failed");
        }
    }

    void check(String name, Check c) {
        try {
            c.run();
            System.out.println("ok " + name);
        } catch (Exception e) {
            failed++;
            System.out.println("FAIL " + name + ": " + e.toString().replace('\n', ' '));
        }
    }

    /** Tries for a while: Apache Kafka's brokers learn of a change a moment after it was answered. */
    static void eventually(Check c) throws Exception {
        long deadline = System.nanoTime() + 10_000_000_000L;
        while (true) {
            try {
                c.run();
                return;
            } catch (Exception e) {
                if (System.nanoTime() > deadline) {
                    throw e;
                }
                Thread.sleep(50);
            }
        }
    }

    static void equal(Object want, Object got) throws Exception {
        if (!want.equals(got)) {
            throw new Exception("want " + want + ", got " + got);
        }
    }

    static void truth(boolean b, String what) throws Exception {
        if (!b) {
            throw new Exception(what);
        }
    }

    /** The future must fail with that error. */
    static void fails(Class<? extends Exception> want, KafkaFuture<?> f) throws Exception {
        try {
            f.get();
        } catch (ExecutionException e) {
            truth(want.isInstance(e.getCause()), "want " + want.getSimpleName() + ", got " + e.getCause());
            return;
        }
        throw new Exception("no error, want " + want.getSimpleName());
    }

    private TopicDescription describe() throws Exception {
        return admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
    }

    private String config(String name) throws Exception {
        return admin.describeConfigs(List.of(resource)).all().get().get(resource).get(name).value();
    }

    private void alter(AlterConfigOp.OpType op, String name, String value) throws Exception {
        admin.incrementalAlterConfigs(Map.of(resource, List.of(new AlterConfigOp(new ConfigEntry(name, value), op)))).all().get();
    }

    private void topics() {
        check("create topic", () -> {
            var result = admin.createTopics(List.of(new NewTopic(topic, 2, (short) 1).configs(Map.of("retention.ms", "-1"))));
            equal(2, result.numPartitions(topic).get());
            equal(1, result.replicationFactor(topic).get());
            equal("-1", result.config(topic).get().get("retention.ms").value());
            truth(!result.topicId(topic).get().equals(Uuid.ZERO_UUID), "the topic has no id");
        });
        check("create topic that exists", () ->
            fails(TopicExistsException.class, admin.createTopics(List.of(new NewTopic(topic, 2, (short) 1))).all()));
        check("create topic with a bad name", () ->
            fails(InvalidTopicException.class, admin.createTopics(List.of(new NewTopic("bad name", 1, (short) 1))).all()));
        check("create topic with an unknown config", () -> fails(InvalidConfigurationException.class,
            admin.createTopics(List.of(new NewTopic(topic + "2", 1, (short) 1).configs(Map.of("retention.ns", "1")))).all()));
        check("create topic, validate only", () -> {
            var options = new CreateTopicsOptions().validateOnly(true);
            admin.createTopics(List.of(new NewTopic(topic + "3", 1, (short) 1)), options).all().get();
            truth(!admin.listTopics().names().get().contains(topic + "3"), "it was created");
        });
        check("list topics", () -> eventually(() -> truth(admin.listTopics().names().get().contains(topic), "the topic is not listed")));
        check("create partitions", () -> {
            admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(4))).all().get();
            eventually(() -> equal(4, describe().partitions().size()));
        });
        check("create fewer partitions", () -> fails(InvalidPartitionsException.class,
            admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(3))).all()));
        check("describe topic by name and by id", () -> {
            TopicDescription d = describe();
            for (var p : d.partitions()) {
                truth(p.leader() != null && p.isr().size() == 1 && p.replicas().size() == 1, "partition " + p);
            }
            var byId = admin.describeTopics(TopicCollection.ofTopicIds(List.of(d.topicId()))).allTopicIds().get();
            equal(topic, byId.get(d.topicId()).name());
        });
        check("describe a topic that is not there", () -> fails(UnknownTopicOrPartitionException.class,
            admin.describeTopics(List.of(topic + "-none")).allTopicNames()));
    }

    private void configs() {
        check("describe configs", () -> {
            Config c = admin.describeConfigs(List.of(resource)).all().get().get(resource);
            equal("-1", c.get("retention.ms").value());
            equal(ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG, c.get("retention.ms").source());
            equal("1048588", c.get("max.message.bytes").value());
            equal("delete", c.get("cleanup.policy").value());
            equal("producer", c.get("compression.type").value());
            equal("CreateTime", c.get("message.timestamp.type").value());
            truth(c.get("segment.bytes").isDefault(), "segment.bytes is no default");
        });
        check("describe configs with documentation and synonyms", () -> {
            var options = new DescribeConfigsOptions().includeSynonyms(true).includeDocumentation(true);
            ConfigEntry e = admin.describeConfigs(List.of(resource), options).all().get().get(resource).get("retention.ms");
            truth(!e.documentation().isEmpty(), "no documentation");
            truth(!e.synonyms().isEmpty(), "no synonyms");
            equal(ConfigEntry.ConfigType.LONG, e.type());
        });
        check("incremental alter configs: set and delete", () -> {
            alter(AlterConfigOp.OpType.SET, "retention.ms", "7200000");
            eventually(() -> equal("7200000", config("retention.ms")));
            alter(AlterConfigOp.OpType.DELETE, "retention.ms", "");
            eventually(() -> equal("604800000", config("retention.ms")));
        });
        check("incremental alter configs: bad value", () -> fails(InvalidConfigurationException.class,
            admin.incrementalAlterConfigs(Map.of(resource, List.of(
                new AlterConfigOp(new ConfigEntry("retention.ms", "soon"), AlterConfigOp.OpType.SET)))).all()));
        check("incremental alter configs: unknown topic", () -> {
            var other = new ConfigResource(ConfigResource.Type.TOPIC, topic + "-none");
            fails(UnknownTopicOrPartitionException.class, admin.incrementalAlterConfigs(Map.of(other, List.of(
                new AlterConfigOp(new ConfigEntry("retention.ms", "1"), AlterConfigOp.OpType.SET)))).all());
        });
        check("describe broker configs", () -> {
            Node node = admin.describeCluster().nodes().get().iterator().next();
            var broker = new ConfigResource(ConfigResource.Type.BROKER, node.idString());
            Config c = admin.describeConfigs(List.of(broker)).all().get().get(broker);
            truth(c.get("num.partitions") != null, "no num.partitions");
            truth(c.get("auto.create.topics.enable") != null, "no auto.create.topics.enable");
        });
        check("list config resources", () -> {
            alter(AlterConfigOp.OpType.SET, "retention.ms", "7200000");
            eventually(() -> {
                var all = admin.listConfigResources(Set.of(ConfigResource.Type.TOPIC), new ListConfigResourcesOptions()).all().get();
                truth(all.contains(resource), "the topic is not among " + all);
            });
        });
    }

    private void cluster() {
        check("describe cluster", () -> {
            DescribeClusterResult r = admin.describeCluster(new DescribeClusterOptions().includeAuthorizedOperations(false));
            Collection<Node> nodes = r.nodes().get();
            equal(1, nodes.size());
            truth(nodes.contains(r.controller().get()), "controller " + r.controller().get() + " is not among " + nodes);
            truth(!r.clusterId().get().isEmpty(), "no cluster id");
        });
        check("describe log dirs", () -> {
            int node = admin.describeCluster().nodes().get().iterator().next().id();
            Map<String, LogDirDescription> dirs = admin.describeLogDirs(List.of(node)).allDescriptions().get().get(node);
            boolean found = false;
            for (var d : dirs.values()) {
                truth(d.error() == null, "error " + d.error());
                found |= d.replicaInfos().containsKey(first);
            }
            truth(found, "partition 0 is in none of " + dirs.keySet());
        });
    }

    /** Writes five records with timestamps T+30, T+10, T+40, T+20, T+0 to partition 0, in one batch each. */
    private void fill() throws Exception {
        try (KafkaProducer<byte[], byte[]> p = driver.producer()) {
            for (long delta : new long[] {30, 10, 40, 20, 0}) {
                p.send(new ProducerRecord<>(topic, 0, T + delta, null, ("record at " + delta).getBytes())).get();
            }
        }
    }

    private long offset(OffsetSpec spec) throws Exception {
        return admin.listOffsets(Map.of(first, spec)).partitionResult(first).get().offset();
    }

    private void offsets() {
        check("write for the offset checks", this::fill);
        check("list offsets: earliest, latest", () -> {
            equal(0L, offset(OffsetSpec.earliest()));
            equal(5L, offset(OffsetSpec.latest()));
        });
        check("list offsets: max timestamp", () -> {
            var r = admin.listOffsets(Map.of(first, OffsetSpec.maxTimestamp())).partitionResult(first).get();
            equal(2L, r.offset());
            equal(T + 40, r.timestamp());
        });
        check("list offsets: by timestamp", () -> {
            Map<Long, Long> want = new TreeMap<>(Map.of(T - 1, 0L, T + 30, 0L, T + 31, 2L, T + 40, 2L, T + 41, -1L));
            for (var w : want.entrySet()) {
                long got = offset(OffsetSpec.forTimestamp(w.getKey()));
                truth(w.getValue() == got, "at T+" + (w.getKey() - T) + ": want " + w.getValue() + ", got " + got);
            }
        });
        check("list offsets: earliest local, latest tiered", () -> {
            equal(0L, offset(OffsetSpec.earliestLocal()));
            equal(-1L, offset(OffsetSpec.latestTiered()));
        });
        check("describe producers", () -> {
            List<ProducerState> producers = admin.describeProducers(List.of(first)).partitionResult(first).get().activeProducers();
            equal(1, producers.size());
            equal(4, producers.get(0).lastSequence());
            truth(producers.get(0).producerId() >= 0, "producer id " + producers.get(0).producerId());
        });
    }

    private void deletion() {
        check("delete records", () -> {
            equal(3L, admin.deleteRecords(Map.of(first, RecordsToDelete.beforeOffset(3))).lowWatermarks().get(first).get().lowWatermark());
            equal(3L, offset(OffsetSpec.earliest()));
            equal(5L, offset(OffsetSpec.latest()));
        });
        check("delete records beyond the end", () -> fails(OffsetOutOfRangeException.class,
            admin.deleteRecords(Map.of(first, RecordsToDelete.beforeOffset(6))).all()));
        check("delete all records", () ->
            equal(5L, admin.deleteRecords(Map.of(first, RecordsToDelete.beforeOffset(-1))).lowWatermarks().get(first).get().lowWatermark()));
        check("delete topic and create it again", () -> {
            Uuid old = describe().topicId();
            admin.deleteTopics(List.of(topic)).all().get();
            admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1))).all().get();
            eventually(() -> truth(!describe().topicId().equals(old), "the new topic has the old one's id"));
            eventually(() -> equal(0L, offset(OffsetSpec.latest())));
        });
        check("delete topic by id", () -> {
            admin.deleteTopics(TopicCollection.ofTopicIds(List.of(describe().topicId()))).all().get();
            eventually(() -> fails(UnknownTopicOrPartitionException.class, admin.describeTopics(List.of(topic)).allTopicNames()));
        });
        check("delete a topic that is not there", () ->
            fails(UnknownTopicOrPartitionException.class, admin.deleteTopics(List.of(topic + "-none")).all()));
    }
}
