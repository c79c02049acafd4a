import { promisify } from 'node:util'
import { gunzip, gzip } from 'node:zlib'
import type { Logger } from 'pino'
import { OneshotError } from '../core/error.ts'
import type { HookDelivery } from '../core/webhook/delivery.ts'
import type { HookStore } from '../store/store.ts'
import { trimHooks } from './hook-clean.ts'

/** A delivery on record, and its body if that is kept. */
export interface RecordedDelivery {
  readonly delivery: HookDelivery
  readonly body: Uint8Array | undefined
}

/** What is kept of deliveries. Bodies are compressed. */
export interface HookRecords {
  /** Puts one on record that makes no invocation. Never rejects: it is answered whether or not there is room for that. */
  note(record: HookDelivery, body?: Uint8Array): Promise<void>
  /** A body as it is kept; undefined if it is too long for that. */
  pack(body: Uint8Array): Promise<Uint8Array | undefined>
  /** One more is on record. */
  added(packed: Uint8Array | undefined): void
  /** Rejects with `hook_delivery_not_found`. */
  get(hook: string, id: string): Promise<RecordedDelivery>
}

/** Of a body when compressed: the store's writes are one after another. */
const MAX_PACKED_BYTES = 4 * 1024 ** 2
/** More than any body that came had. */
const MAX_BODY_BYTES = 64 * 1024 ** 2
/** Of what has come since the oldest were last forgotten. */
const TRIM_AFTER_BYTES = 32 * 1024 ** 2
/** What a record takes up beside its body. */
const RECORD_BYTES = 32 * 1024

export function createHookRecords({
  hooks,
  logger,
}: {
  readonly hooks: HookStore
  readonly logger: Logger
}): HookRecords {
  let untrimmedBytes = 0

  /** Between two rounds of the cleaner more may come than there is room for. */
  function added(packed: Uint8Array | undefined): void {
    untrimmedBytes += RECORD_BYTES + (packed?.length ?? 0)
    if (untrimmedBytes < TRIM_AFTER_BYTES) return
    untrimmedBytes = 0
    trimHooks(hooks, Infinity, logger).catch((error: unknown) => {
      logger.warn({ err: error }, 'the oldest deliveries could not be forgotten')
    })
  }

  return {
    async note(record, body) {
      try {
        const packed = body && (await pack(body))
        await hooks.add(record, packed)
        added(packed)
      } catch (error) {
        const { id, hook, verdict } = record
        logger.warn({ err: error, delivery: id, hook, verdict }, 'a delivery is on no record')
      }
    },
    pack,
    added,
    async get(hook, id) {
      const delivery = await hooks.find(hook, id)
      if (!delivery) {
        const detail = `There is no delivery ${JSON.stringify(id)}: GET /hooks/NAME/deliveries lists those that are remembered.`
        throw new OneshotError('hook_delivery_not_found', detail)
      }
      const packed = await hooks.findBody(id)
      const body = packed && (await promisify(gunzip)(packed, { maxOutputLength: MAX_BODY_BYTES }))
      return { delivery, body }
    },
  }
}

async function pack(body: Uint8Array): Promise<Uint8Array | undefined> {
  const packed = await promisify(gzip)(body)
  return packed.length <= MAX_PACKED_BYTES ? packed : undefined
}
