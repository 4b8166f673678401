import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;

/** Lines of a records file. */
final class RecordsFile {
    private RecordsFile() {}

    static ProducerRecord<byte[], byte[]> parse(String topic, String line) {
        String[] f = line.split("\t", -1);
        List<Header> headers = new ArrayList<>();
        for (String pair : f[4].isEmpty() ? new String[0] : f[4].split(";")) {
            int eq = 0;
            while (pair.charAt(eq) != '=') {
                eq += 4;
            }
            String name = new String(decode(pair.substring(0, eq)), StandardCharsets.UTF_8);
            headers.add(new RecordHeader(name, decode(pair.substring(eq + 1))));
        }
        return new ProducerRecord<>(topic, Integer.valueOf(f[0]), Long.valueOf(f[1]), decode(f[2]), decode(f[3]), headers);
    }

    static String format(ConsumerRecord<byte[], byte[]> r) {
        List<String> headers = new ArrayList<>();
        for (Header h : r.headers()) {
            headers.add(encode(h.key().getBytes(StandardCharsets.UTF_8)) + "=" + encode(h.value()));
        }
        return r.offset() + "\t" + r.partition() + "\t" + r.timestamp() + "\t" + encode(r.key()) + "\t" + encode(r.value())
            + "\t" + String.join(";", headers);
    }

    private static String encode(byte[] b) {
        return b == null ? "-" : Base64.getEncoder().encodeToString(b);
    }

    private static byte[] decode(String s) {
        return s.equals("-") ? null : Base64.getDecoder().decode(s);
    }
}
