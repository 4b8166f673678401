// A member of a consumer group, by kafkajs.

import { writeSync } from 'node:fs'
import { createInterface } from 'node:readline'
import kafkajs from 'kafkajs'

const { AssignerProtocol, PartitionAssigners } = kafkajs

class Member {
  constructor(kafka, flags) {
    if (flags.protocol !== 'eager') throw new Error(`no protocol ${flags.protocol}`)
    this.kafka = kafka
    this.flags = flags
    this.owned = []
    this.next = new Map() // handled and not committed: the next offset, by partition
    this.leaving = false
  }

  async run() {
    const { group, topic, session, heartbeat } = this.flags
    const consumer = this.kafka.consumer({
      groupId: group,
      partitionAssigners: [PartitionAssigners.roundRobin],
      sessionTimeout: Number(session),
      rebalanceTimeout: Number(session),
      heartbeatInterval: Number(heartbeat),
      maxWaitTimeInMs: 100,
    })
    const { GROUP_JOIN, REBALANCING, COMMIT_OFFSETS } = consumer.events
    const crashed = new Promise((_, fail) => consumer.on(consumer.events.CRASH, ({ payload }) => fail(payload.error)))
    consumer.on(GROUP_JOIN, ({ payload }) => this.joined(payload.memberAssignment[topic] ?? []))
    consumer.on(REBALANCING, () => this.giveUp())
    consumer.on(COMMIT_OFFSETS, ({ payload }) => this.committed(payload))
    await consumer.connect()
    await consumer.subscribe({ topics: [topic], fromBeginning: true })
    await consumer.run({ eachBatchAutoResolve: false, eachBatch: (batch) => this.handle(batch) })
    await Promise.race([this.commands(), crashed])
    // The library does not say when it is about to leave: so first nothing more
    // is handled, and what was is committed.
    this.leaving = true
    while (this.next.size > 0) await new Promise((again) => setTimeout(again, 10))
    this.giveUp()
    await consumer.disconnect()
    this.print('left')
  }

  // joined comes after the group has begun anew: it does not always say before
  // that what the member had is gone.
  joined(partitions) {
    this.giveUp()
    if (this.leaving) return
    this.owned = partitions
    this.print('assigned', { partitions })
  }

  giveUp() {
    if (this.owned.length > 0) this.print('revoked', { partitions: this.owned })
    this.owned = []
    this.next.clear()
  }

  committed({ topics }) {
    const entries = topics.flatMap((t) => t.partitions.map((p) => [Number(p.partition), Number(p.offset)]))
    for (const [partition, offset] of entries) {
      if (this.next.get(partition) === offset) this.next.delete(partition)
    }
    if (entries.length > 0) this.print('committed', { offsets: Object.fromEntries(entries) })
  }

  async handle({ batch, resolveOffset, heartbeat, isRunning, isStale }) {
    for (const { offset, value } of batch.messages) {
      if (this.leaving || !isRunning() || isStale()) break
      this.next.set(batch.partition, Number(offset) + 1)
      this.print('record', { partition: batch.partition, offset: Number(offset), number: Number(value.toString()) })
      resolveOffset(offset)
    }
    await heartbeat()
  }

  // Standard input: "describe", and its end means to leave.
  async commands() {
    for await (const line of createInterface({ input: process.stdin })) {
      if (line === 'describe') this.print('described', await this.describe().catch((e) => ({ error: e.message })))
    }
  }

  async describe() {
    const { group, topic } = this.flags
    const admin = this.kafka.admin()
    await admin.connect()
    try {
      const listed = (await admin.listGroups()).groups.some((g) => g.groupId === group)
      const [g] = (await admin.describeGroups([group])).groups
      const assigned = g.members.map((m) => AssignerProtocol.MemberAssignment.decode(m.memberAssignment)?.assignment[topic] ?? [])
      const [fetched] = await admin.fetchOffsets({ groupId: group, topics: [topic] })
      const offsets = Object.fromEntries(fetched.partitions.map((p) => [p.partition, Number(p.offset)]))
      return { listed, state: g.state, members: g.members.length, assignor: g.protocol, assignments: assigned.flat().length, offsets }
    } finally {
      await admin.disconnect()
    }
  }

  // One write is one line: other processes append to the same file.
  print(event, fields = {}) {
    writeSync(1, JSON.stringify({ event, member: this.flags.name, ...fields }) + '\n')
  }
}

export const member = (kafka, flags) => new Member(kafka, flags).run()
