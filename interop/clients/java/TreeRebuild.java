import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.clients.consumer.ConsumerRecord;

/** Puts files together from their records. */
final class TreeRebuild {
    /** The file that a partition's records belong to just now. */
    private static final class Open {
        byte[] key;
        final ByteArrayOutputStream content = new ByteArrayOutputStream();
        long next;
    }

    private final Path dir;
    private final Map<Integer, Open> partitions = new HashMap<>();
    private final Set<String> written = new HashSet<>();
    private long count;

    TreeRebuild(Path dir) {
        this.dir = dir;
    }

    void add(ConsumerRecord<byte[], byte[]> r) throws IOException {
        Open o = partitions.computeIfAbsent(r.partition(), p -> new Open());
        if (r.offset() != o.next) {
            throw new IOException("partition " + r.partition() + " offset " + r.offset() + " file "
                + new String(r.key(), StandardCharsets.UTF_8) + ": offset " + o.next + " was next");
        }
        o.next++;
        count++;
        if (o.key != null && Arrays.equals(o.key, r.key())) {
            o.content.write('\n');
        } else {
            flush(o);
            o.key = r.key();
        }
        o.content.write(r.value());
    }

    private void flush(Open o) throws IOException {
        if (o.key == null) {
            return;
        }
        String name = new String(o.key, StandardCharsets.UTF_8);
        Path to = dir.resolve(name).normalize();
        if (!to.startsWith(dir) || to.equals(dir)) {
            throw new IOException("the key " + name + " is no path below a folder");
        }
        Files.createDirectories(to.getParent());
        if (!written.add(name)) {
            Files.write(to, Driver.NEWLINE, StandardOpenOption.APPEND);
        }
        Files.write(to, o.content.toByteArray(), StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        o.content.reset();
    }

    long close() throws IOException {
        for (Open o : partitions.values()) {
            flush(o);
        }
        return count;
    }
}
