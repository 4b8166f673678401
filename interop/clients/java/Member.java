import java.io.BufferedReader;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ListGroupsOptions;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.errors.RetriableException;

/** A member of a consumer group. */
final class Member implements ConsumerRebalanceListener {
    private static final Duration POLL = Duration.ofMillis(100);

    private final Driver driver;
    private final FileOutputStream out = new FileOutputStream(FileDescriptor.out);
    private final Map<TopicPartition, OffsetAndMetadata> uncommitted = new HashMap<>();
    private KafkaConsumer<byte[], byte[]> consumer;
    private volatile boolean leaving;

    Member(Driver driver) {
        this.driver = driver;
    }

    void run() {
        settings();
        Thread commands = new Thread(this::commands, "commands");
        commands.setDaemon(true);
        commands.start();
        consumer = driver.consumer();
        try (KafkaConsumer<byte[], byte[]> c = consumer) {
            c.subscribe(List.of(driver.flag("topic")), this);
            while (!leaving) {
                for (ConsumerRecord<byte[], byte[]> r : c.poll(POLL)) {
                    handle(r);
                }
                commit();
            }
        }
        print("left", "");
    }

    private void settings() {
        var s = driver.settings;
        s.put("group.id", driver.flag("group"));
        s.put("auto.offset.reset", "earliest");
        switch (driver.flag("protocol")) {
            case "eager" -> s.put("partition.assignment.strategy", "org.apache.kafka.clients.consumer.RangeAssignor");
            case "cooperative" -> s.put("partition.assignment.strategy", "org.apache.kafka.clients.consumer.CooperativeStickyAssignor");
            case "consumer" -> s.put("group.protocol", "consumer");
            default -> throw new IllegalArgumentException("no protocol " + driver.flag("protocol"));
        }
        if (!driver.flag("protocol").equals("consumer")) { // there the broker says them
            s.put("session.timeout.ms", driver.flag("session"));
            s.put("heartbeat.interval.ms", driver.flag("heartbeat"));
        }
    }

    private void handle(ConsumerRecord<byte[], byte[]> r) {
        long number = Long.parseLong(new String(r.value(), StandardCharsets.US_ASCII));
        uncommitted.put(new TopicPartition(r.topic(), r.partition()), new OffsetAndMetadata(r.offset() + 1));
        print("record", ",\"partition\":" + r.partition() + ",\"offset\":" + r.offset() + ",\"number\":" + number);
    }

    /** What cannot be committed just now (the group rebalances, the broker is away) is later. */
    private void commit() {
        if (uncommitted.isEmpty()) {
            return;
        }
        try {
            consumer.commitSync(uncommitted);
        } catch (RetriableException | RebalanceInProgressException | CommitFailedException e) {
            System.err.println("commit: " + e);
            return;
        }
        print("committed", offsets(uncommitted));
        uncommitted.clear();
    }

    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> added) {
        print("assigned", ",\"generation\":" + consumer.groupMetadata().generationId() + ids(added));
    }

    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> gone) {
        if (!gone.isEmpty()) {
            commit();
            uncommitted.keySet().removeAll(gone);
        }
        print("revoked", ids(gone));
    }

    @Override
    public void onPartitionsLost(Collection<TopicPartition> gone) {
        uncommitted.keySet().removeAll(gone);
        print("lost", ids(gone));
    }

    /** Standard input: "describe", and its end means to leave. */
    private void commands() {
        try (BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII))) {
            for (String line = in.readLine(); line != null; line = in.readLine()) {
                if (line.equals("describe")) {
                    describe();
                }
            }
        } catch (IOException e) {
            System.err.println("standard input: " + e);
        }
        leaving = true;
    }

    private void describe() {
        String group = driver.flag("group");
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", driver.flag("brokers")))) {
            var g = admin.describeConsumerGroups(List.of(group)).describedGroups().get(group).get();
            int assignments = g.members().stream().mapToInt(m -> m.assignment().topicPartitions().size()).sum();
            boolean listed = admin.listGroups(ListGroupsOptions.forConsumerGroups()).all().get().stream().anyMatch(l -> l.groupId().equals(group));
            print("described", ",\"state\":\"" + g.groupState() + "\",\"members\":" + g.members().size() + ",\"assignments\":" + assignments
                + ",\"assignor\":\"" + g.partitionAssignor() + "\",\"listed\":" + listed + offsets(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get()));
        } catch (Exception e) {
            print("described", ",\"error\":\"" + e.toString().replaceAll("[\"\\\\\\s]+", " ") + "\"");
        }
    }

    private static String ids(Collection<TopicPartition> partitions) {
        return ",\"partitions\":" + partitions.stream().map(TopicPartition::partition).sorted().toList();
    }

    private static String offsets(Map<TopicPartition, OffsetAndMetadata> of) {
        Map<Integer, Long> sorted = new TreeMap<>();
        of.forEach((p, o) -> sorted.put(p.partition(), o.offset()));
        return sorted.entrySet().stream().map(e -> "\"" + e.getKey() + "\":" + e.getValue()).collect(Collectors.joining(",", ",\"offsets\":{", "}"));
    }

    /** Prints one line in one write: other processes append to the same file. */
    private synchronized void print(String event, String fields) {
        String line = "{\"event\":\"" + event + "\",\"member\":\"" + driver.flag("name") + "\"" + fields + "}\n";
        try {
            out.write(line.getBytes(StandardCharsets.UTF_8));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
