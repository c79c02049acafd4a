import { setImmediate } from 'node:timers/promises'
import type { Transaction } from 'kysely'
import type { Schema } from './schema.ts'

/** What is written in one transaction at most: nothing else runs meanwhile. */
const MAX_BATCH = 256

/** Run once more, from the start, if one that was written with it has failed. */
export type Write<T> = (transaction: Transaction<Schema>) => Promise<T>

export interface WriteOptions {
  /** Fulfilled only once it would outlive the machine's end. */
  readonly durable?: boolean
}

/**
 * The only way to the tables for what changes them. What is given in one turn of the event loop is committed in one
 * transaction, in the order given: it costs one write to the disk. What fails takes nothing else with it.
 */
export interface Writer {
  write<T>(work: Write<T>, options?: WriteOptions): Promise<T>
  /** Waits for what was given so far to be written, or to fail. */
  caughtUp(): Promise<void>
  /** Waits for what was given. What is given later rejects. */
  close(): Promise<void>
}

export interface WriterDeps {
  /** Runs `work` in a transaction: commits it, or rolls it back and rejects. */
  readonly transact: <T>(work: Write<T>, options: Required<WriteOptions>) => Promise<T>
}

interface Pending {
  readonly work: Write<unknown>
  readonly durable: boolean
  readonly resolve: (value: unknown) => void
  readonly reject: (error: unknown) => void
}

export function createWriter({ transact }: WriterDeps): Writer {
  let pending: Pending[] = []
  let draining: Promise<void> | undefined
  /** All are committed in the order given. */
  let last: Promise<unknown> = Promise.resolve()
  let closed = false

  async function drain(): Promise<void> {
    while (pending.length > 0) {
      await setImmediate()
      const batch = pending.slice(0, MAX_BATCH)
      pending = pending.slice(MAX_BATCH)
      await commit(batch)
    }
    draining = undefined
  }

  async function commit(batch: readonly Pending[]): Promise<void> {
    const durable = batch.some((it) => it.durable)
    try {
      const results = await transact((transaction) => runAll(batch, transaction), { durable })
      for (const [index, { resolve }] of batch.entries()) resolve(results[index])
    } catch (error) {
      if (batch.length === 1) return batch[0]?.reject(error)
      const middle = Math.ceil(batch.length / 2)
      await commit(batch.slice(0, middle))
      await commit(batch.slice(middle))
    }
  }

  return {
    write<T>(work: Write<T>, { durable = false }: WriteOptions = {}) {
      const { promise, resolve, reject } = Promise.withResolvers<unknown>()
      if (closed) reject(new Error('the store is closed'))
      else {
        pending.push({ work, durable, resolve, reject })
        last = promise
        draining ??= drain()
      }
      return promise as Promise<T>
    },
    async caughtUp() {
      await last.catch(() => {})
    },
    async close() {
      closed = true
      await draining
    },
  }
}

async function runAll(batch: readonly Pending[], transaction: Transaction<Schema>) {
  const results: unknown[] = []
  for (const { work } of batch) results.push(await work(transaction))
  return results
}
