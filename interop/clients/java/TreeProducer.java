import java.io.BufferedWriter;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;

/** Writes every record of a tree and logs what was acknowledged. */
final class TreeProducer {
    private final Driver driver;
    private final AtomicReference<Exception> failed = new AtomicReference<>();
    private BufferedWriter acks;
    private int sent;
    private int acknowledged;

    TreeProducer(Driver driver) {
        this.driver = driver;
    }

    void run() throws Exception {
        List<String> names = Files.readAllLines(Path.of(driver.flag("files")));
        Path root = Path.of(driver.flag("tree"));
        Path log = Path.of(driver.flags.getOrDefault("acks", "/dev/null"));
        try (BufferedWriter out = Files.newBufferedWriter(log); KafkaProducer<byte[], byte[]> p = driver.producer()) {
            acks = out;
            for (int file = 0; file < names.size() && failed.get() == null; file++) {
                file(p, file, names.get(file), Files.readAllBytes(root.resolve(names.get(file))));
            }
            p.flush();
        }
        if (failed.get() != null) {
            throw failed.get();
        }
        if (sent != acknowledged) {
            throw new IOException(sent + " records written and " + acknowledged + " acknowledged");
        }
        System.out.println(acknowledged + " records");
    }

    private void file(KafkaProducer<byte[], byte[]> p, int file, String name, byte[] content) {
        byte[] key = name.getBytes(StandardCharsets.UTF_8);
        int start = 0;
        int record = 0;
        for (int i = 0; i <= content.length && failed.get() == null; i++) {
            if (i == content.length || content[i] == '\n') {
                send(p, key, Arrays.copyOfRange(content, start, i), file, record++);
                start = i + 1;
            }
        }
    }

    private void send(KafkaProducer<byte[], byte[]> p, byte[] key, byte[] value, int file, int record) {
        sent++;
        p.send(new ProducerRecord<>(driver.flag("topic"), key, value), (meta, e) -> {
            if (e == null) {
                try {
                    acknowledged++; // callbacks all run in the client's one I/O thread
                    acks.write(meta.partition() + " " + meta.offset() + " " + file + " " + record + "\n");
                } catch (IOException io) {
                    e = io;
                }
            }
            if (e != null) {
                failed.compareAndSet(null, new IOException("partition " + meta.partition() + " file "
                    + new String(key, StandardCharsets.UTF_8) + " record " + record + ": " + e, e));
            }
        });
    }
}
