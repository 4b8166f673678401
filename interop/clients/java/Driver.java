import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.Future;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** The suite's program for Apache Kafka's Java client: see the Go package driver for verbs and files. */
public final class Driver {
    static final byte[] NEWLINE = {'\n'};

    final Map<String, String> flags = new HashMap<>();
    final Properties settings = new Properties();

    public static void main(String[] args) throws Exception {
        Driver d = new Driver();
        for (int i = 1; i + 1 < args.length; i += 2) {
            if (args[i].equals("--set")) {
                int eq = args[i + 1].indexOf('=');
                d.settings.put(args[i + 1].substring(0, eq), args[i + 1].substring(eq + 1));
            } else {
                d.flags.put(args[i].substring(2), args[i + 1]);
            }
        }
        try {
            switch (args[0]) {
                case "produce" -> new TreeProducer(d).run();
                case "consume" -> d.consume();
                case "write" -> d.write();
                case "read" -> d.read();
                case "checks" -> new AdminChecks(d).run();
                case "member" -> new Member(d).run();
                default -> throw new IllegalArgumentException("no verb " + args[0]);
            }
        } catch (Exception e) {
            System.err.println("topic " + d.flags.get("topic") + ": " + e);
            System.exit(1);
        }
    }

    String flag(String name) {
        String value = flags.get(name);
        if (value == null) {
            throw new IllegalArgumentException("--" + name + " is missing");
        }
        return value;
    }

    /** The client's defaults, but for a request size that takes the longest line. */
    KafkaProducer<byte[], byte[]> producer() {
        Properties p = new Properties();
        p.put("bootstrap.servers", flag("brokers"));
        p.put("compression.type", flags.getOrDefault("codec", "none"));
        p.put("max.request.size", "2097152");
        p.putAll(settings);
        return new KafkaProducer<>(p, new ByteArraySerializer(), new ByteArraySerializer());
    }

    KafkaConsumer<byte[], byte[]> consumer() {
        Properties p = new Properties();
        p.put("bootstrap.servers", flag("brokers"));
        p.put("enable.auto.commit", "false");
        p.putAll(settings);
        return new KafkaConsumer<>(p, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    interface Sink {
        void add(ConsumerRecord<byte[], byte[]> r) throws IOException;
    }

    /** Gives the sink every record of the topic, each partition's in order, up to the present end. */
    void each(Sink sink) throws IOException {
        try (KafkaConsumer<byte[], byte[]> c = consumer()) {
            List<TopicPartition> partitions = c.partitionsFor(flag("topic")).stream()
                .map(p -> new TopicPartition(p.topic(), p.partition())).collect(Collectors.toList());
            c.assign(partitions);
            c.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = new HashMap<>(c.endOffsets(partitions));
            ends.entrySet().removeAll(c.beginningOffsets(partitions).entrySet()); // partitions without a record
            while (!ends.isEmpty()) {
                for (ConsumerRecord<byte[], byte[]> r : c.poll(Duration.ofSeconds(1))) {
                    TopicPartition tp = new TopicPartition(r.topic(), r.partition());
                    sink.add(r);
                    if (ends.containsKey(tp) && r.offset() + 1 >= ends.get(tp)) {
                        ends.remove(tp);
                    }
                }
            }
        }
    }

    void consume() throws IOException {
        TreeRebuild rebuild = new TreeRebuild(Path.of(flag("out")));
        each(rebuild::add);
        System.out.println(rebuild.close() + " records");
    }

    void write() throws Exception {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (KafkaProducer<byte[], byte[]> p = producer()) {
            for (String line : Files.readAllLines(Path.of(flag("records")))) {
                sent.add(p.send(RecordsFile.parse(flag("topic"), line)));
            }
            p.flush();
            for (Future<RecordMetadata> f : sent) {
                f.get();
            }
        }
    }

    void read() throws IOException {
        List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
        each(records::add);
        records.sort(Comparator.<ConsumerRecord<byte[], byte[]>>comparingInt(ConsumerRecord::partition)
            .thenComparingLong(ConsumerRecord::offset));
        Files.write(Path.of(flag("records")), records.stream().map(RecordsFile::format).toList());
    }
}
