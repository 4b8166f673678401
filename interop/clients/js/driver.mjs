// The suite's program for kafkajs. The Go package driver describes verbs and
// files; kafkajs reads in groups alone, so it has member, no consume and no read.

import { closeSync, openSync, readFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import kafkajs from 'kafkajs'
import SnappyCodec from 'kafkajs-snappy'
import { checks } from './checks.mjs'
import { member } from './member.mjs'

const { CompressionCodecs, CompressionTypes, Kafka, logLevel, Partitioners } = kafkajs
CompressionCodecs[CompressionTypes.Snappy] = SnappyCodec

const codecs = { none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy }

// Records of one send, by count and by bytes of their values.
const recordsAtOnce = 10000
const bytesAtOnce = 1 << 20

function parse(args) {
  const flags = { codec: 'none' }
  for (let i = 0; i + 1 < args.length; i += 2) flags[args[i].replace(/^--/, '')] = args[i + 1]
  if (!(flags.codec in codecs)) throw new Error(`no codec ${flags.codec}`)
  return flags
}

function connect(flags) {
  return new Kafka({ clientId: 'interop', brokers: [flags.brokers], logLevel: logLevel.ERROR })
}

function* recordsOf(content) {
  let start = 0
  for (;;) {
    const end = content.indexOf(10, start)
    if (end < 0) break
    yield content.subarray(start, end)
    start = end + 1
  }
  yield content.subarray(start)
}

// The default partitioner, which also notes what it chose: kafkajs reports
// only a partition's base offset, and the records follow in their order.
const noting = () => {
  const choose = Partitioners.DefaultPartitioner()
  return (args) => (args.message.partitionChosen = choose(args))
}

class TreeProducer {
  constructor(flags, producer) {
    this.flags = flags
    this.producer = producer
    this.acks = openSync(flags.acks ?? '/dev/null', 'w')
    this.pending = []
    this.bytes = 0
    this.count = 0
  }

  async run() {
    const names = readFileSync(this.flags.files, 'utf8').trimEnd().split('\n')
    for (const [file, name] of names.entries()) {
      let record = 0
      for (const value of recordsOf(readFileSync(join(this.flags.tree, name)))) {
        this.pending.push({ key: name, value, file, record: record++ })
        this.bytes += value.length
        if (this.pending.length >= recordsAtOnce || this.bytes >= bytesAtOnce) await this.flush()
      }
    }
    await this.flush()
    closeSync(this.acks)
    console.log(this.count, 'records')
  }

  async flush() {
    const messages = this.pending
    if (messages.length === 0) return
    const { topic, codec } = this.flags
    let results
    try {
      results = await this.producer.send({ topic, messages, acks: -1, compression: codecs[codec] })
    } catch (e) {
      throw new Error(`files ${messages[0].key} to ${messages.at(-1).key}: ${e.message}`)
    }
    const next = new Map(results.map((r) => [r.partition, BigInt(r.baseOffset)]))
    let lines = ''
    for (const m of messages) {
      const offset = next.get(m.partitionChosen)
      if (offset === undefined) throw new Error(`file ${m.key}: no answer for partition ${m.partitionChosen}`)
      next.set(m.partitionChosen, offset + 1n)
      lines += `${m.partitionChosen} ${offset} ${m.file} ${m.record}\n`
    }
    writeSync(this.acks, lines)
    this.count += messages.length
    this.pending = []
    this.bytes = 0
  }
}

const decode = (s) => (s === '-' ? null : Buffer.from(s, 'base64'))

// kafkajs takes headers as an object: a name with several values is an array.
function headersOf(field) {
  const headers = {}
  for (const pair of field ? field.split(';') : []) {
    let eq = 0
    while (pair[eq] !== '=') eq += 4
    const name = decode(pair.slice(0, eq)).toString()
    const value = decode(pair.slice(eq + 1))
    headers[name] = name in headers ? [headers[name], value].flat() : value
  }
  return headers
}

async function write(flags, producer) {
  const messages = readFileSync(flags.records, 'ascii').trimEnd().split('\n').map((line) => {
    const [partition, timestamp, key, value, headers] = line.split('\t')
    return { partition: Number(partition), timestamp, key: decode(key), value: decode(value), headers: headersOf(headers) }
  })
  await producer.send({ topic: flags.topic, messages, acks: -1, compression: codecs[flags.codec] })
}

async function main() {
  const verb = process.argv[2]
  const flags = parse(process.argv.slice(3))
  const kafka = connect(flags)
  if (verb === 'checks') return checks(kafka, flags)
  if (verb === 'member') return member(kafka, flags)
  const producer = kafka.producer({ createPartitioner: noting, allowAutoTopicCreation: flags.set === 'auto-create=true' })
  await producer.connect()
  try {
    if (verb === 'produce') await new TreeProducer(flags, producer).run()
    else if (verb === 'write') await write(flags, producer)
    else throw new Error(`no verb ${verb}`)
  } catch (e) {
    throw new Error(`topic ${flags.topic}: ${e.message}`)
  } finally {
    await producer.disconnect()
  }
}

main().catch((e) => {
  console.error(e.message)
  process.exit(1)
})
