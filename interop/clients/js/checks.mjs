// What kafkajs' admin client asks of a broker.

import kafkajs from 'kafkajs'

const { ConfigResourceTypes } = kafkajs

function equal(want, got) {
  if (JSON.stringify(want) !== JSON.stringify(got)) {
    throw new Error(`want ${JSON.stringify(want)}, got ${JSON.stringify(got)}`)
  }
}

// Tries for a while: Apache Kafka's brokers learn of a change a moment after it
// was answered.
async function eventually(check) {
  const deadline = Date.now() + 10_000
  for (;;) {
    try {
      return await check()
    } catch (e) {
      if (Date.now() > deadline) throw e
      await new Promise((again) => setTimeout(again, 50))
    }
  }
}

const sameOffset = (offset, high, low) => ({ partition: 0, offset, high, low })

function plan(kafka, admin, topic) {
  const time = Date.now() - 600_000
  const partitionsOf = async () => (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions
  const configOf = async (name) => {
    const resources = [{ type: ConfigResourceTypes.TOPIC, name: topic, configNames: [name] }]
    return (await admin.describeConfigs({ resources, includeSynonyms: false })).resources[0].configEntries[0].configValue
  }
  return {
    'create topic': async () => {
      const configEntries = [{ name: 'retention.ms', value: '-1' }]
      equal(true, await admin.createTopics({ topics: [{ topic, numPartitions: 1, replicationFactor: 1, configEntries }] }))
    },
    'create topic that exists': async () =>
      equal(false, await admin.createTopics({ topics: [{ topic, numPartitions: 1, replicationFactor: 1 }] })),
    'list topics': () => eventually(async () => equal(true, (await admin.listTopics()).includes(topic))),
    'describe configs': () => eventually(async () => equal('-1', await configOf('retention.ms'))),
    'alter configs': async () => {
      const configEntries = [{ name: 'retention.ms', value: '3600000' }]
      await admin.alterConfigs({ validateOnly: false, resources: [{ type: ConfigResourceTypes.TOPIC, name: topic, configEntries }] })
      await eventually(async () => equal('3600000', await configOf('retention.ms')))
    },
    'describe cluster': async () => {
      const { brokers, controller, clusterId } = await admin.describeCluster()
      equal(1, brokers.length)
      equal(brokers[0].nodeId, controller)
      equal('string', typeof clusterId)
    },
    'idempotent producer': async () => {
      const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
      await producer.connect()
      try {
        for (const value of ['a', 'b', 'c']) {
          const [r] = await producer.send({ topic, messages: [{ value, timestamp: String(time) }] })
          equal(['a', 'b', 'c'].indexOf(value), Number(r.baseOffset))
        }
      } finally {
        await producer.disconnect()
      }
    },
    'topic offsets': async () => equal([sameOffset('3', '3', '0')], await admin.fetchTopicOffsets(topic)),
    'topic offsets by timestamp': async () =>
      equal([{ partition: 0, offset: '0' }], await admin.fetchTopicOffsetsByTimestamp(topic, time)),
    'delete records': async () => {
      await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '2' }] })
      equal([sameOffset('3', '3', '2')], await admin.fetchTopicOffsets(topic))
    },
    'create partitions': async () => {
      await admin.createPartitions({ topicPartitions: [{ topic, count: 3 }] })
      await eventually(async () => equal(3, (await partitionsOf()).length))
    },
    'delete topic': async () => {
      await admin.deleteTopics({ topics: [topic] })
      await eventually(async () => equal(false, (await admin.listTopics()).includes(topic)))
    },
  }
}

export async function checks(kafka, flags) {
  const admin = kafka.admin()
  await admin.connect()
  let failed = 0
  for (const [name, check] of Object.entries(plan(kafka, admin, `${flags.scratch}-js`))) {
    try {
      await check()
      console.log('ok', name)
    } catch (e) {
      failed++
      console.log(`FAIL ${name}: ${e.message.replaceAll('\n', ' ')}`)
    }
  }
  await admin.disconnect()
  if (failed > 0) throw new Error(`${failed} checks failed`)
}
