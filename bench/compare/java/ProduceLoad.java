import java.nio.ByteBuffer;
import java.util.Properties;
import java.util.Random;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import java.util.zip.CRC32C;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Writes to a topic as fast as Java's client does with its defaults. Arguments:
 * broker, topic, bytes of a value, milliseconds of warm-up, milliseconds that
 * count. Prints "begin" and "end" around the time that counts, then one line of
 * JSON with the count and checksum of all that was acknowledged.
 */
public final class ProduceLoad {
    public static void main(String[] args) throws Exception {
        int size = Integer.parseInt(args[2]);
        long warmup = Long.parseLong(args[3]), counted = Long.parseLong(args[4]);
        Properties config = new Properties();
        config.put("bootstrap.servers", args[0]);
        byte[] noise = new byte[8 << 20];
        new Random(2026).nextBytes(noise);
        AtomicLong records = new AtomicLong(), hash = new AtomicLong();
        AtomicReference<Exception> failure = new AtomicReference<>();
        long[] at = new long[2];
        double seconds;
        try (KafkaProducer<byte[], byte[]> producer =
                new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer())) {
            long number = 0;
            number = write(producer, args[1], size, noise, number, warmup, records, hash, failure);
            say("begin");
            at[0] = records.get();
            long began = System.nanoTime();
            write(producer, args[1], size, noise, number, counted, records, hash, failure);
            at[1] = records.get();
            seconds = (System.nanoTime() - began) / 1e9;
            say("end");
            producer.flush();
        }
        if (failure.get() != null) {
            throw failure.get();
        }
        long n = at[1] - at[0];
        say(String.format(
                "{\"clients\":1,\"seconds\":%f,\"records\":%d,\"bytes\":%d,\"records_per_second\":%f,\"mb_per_second\":%f,"
                        + "\"acked\":{\"records\":%d,\"checksum\":\"%016x\"}}",
                seconds, n, n * size, n / seconds, n * size / seconds / 1e6, records.get(), hash.get()));
    }

    private static long write(KafkaProducer<byte[], byte[]> producer, String topic, int size, byte[] noise, long number,
            long millis, AtomicLong records, AtomicLong hash, AtomicReference<Exception> failure) {
        long end = System.nanoTime() + millis * 1_000_000;
        while (System.nanoTime() < end && failure.get() == null) {
            byte[] value = new byte[size];
            ByteBuffer.wrap(value).putLong(System.currentTimeMillis() * 1_000_000).putLong(number);
            int from = (int) (number++ * 1031 % (noise.length - size));
            System.arraycopy(noise, from, value, 16, size - 16);
            CRC32C crc = new CRC32C();
            crc.update(value, 0, size);
            long sum = crc.getValue() * 0x9e3779b97f4a7c15L;
            producer.send(new ProducerRecord<>(topic, value), (metadata, error) -> {
                if (error != null) {
                    failure.compareAndSet(null, error);
                    return;
                }
                records.incrementAndGet();
                hash.addAndGet(sum);
            });
        }
        return number;
    }

    private static void say(String line) {
        System.out.println(line);
        System.out.flush();
    }
}
