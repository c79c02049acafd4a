import { toCallback } from '../core/callback.ts'
import { OneshotError } from '../core/error.ts'
import type { FunctionSpec } from '../core/function.ts'
import type { Invocation } from '../core/invocation.ts'
import { queued } from '../core/invocation.ts'
import { toTask } from '../core/task.ts'
import type { IdempotencyKey, KeyHolder, Spool, Store, StoredInput } from '../store/store.ts'
import { toClosed } from './invoke.ts'
import type { Worker } from './worker.ts'

export interface AcceptorDeps {
  readonly store: Store
  readonly spool: Spool
  readonly worker: Worker
  /** The most that may wait. */
  readonly maxQueued: number
  readonly newId: () => string
  /** Milliseconds since the epoch. */
  readonly clock: () => number
  readonly called: (spec: FunctionSpec) => void
  readonly isClosed: () => boolean
}

/** A call that is to be run whatever becomes of its caller. */
export interface Request {
  readonly spec: FunctionSpec
  readonly parameters: Invocation['parameters']
  readonly input: AsyncIterable<Uint8Array> | undefined
  readonly callId: string
  readonly labels: readonly string[]
  /** Where the request would have the outcome sent. */
  readonly callbackUrl?: string | undefined
  readonly replayOf?: string
  /** `fingerprint` is of the parameters: the rest is the body, which has a digest of its own. */
  readonly key?: Pick<IdempotencyKey, 'scope' | 'key' | 'fingerprint'> | undefined
}

export interface Accepted {
  readonly id: string
  /** An earlier request had the same key: this is its invocation. */
  readonly isRepeated: boolean
}

export interface Acceptor {
  /**
   * Fulfilled once the call and its input are on disk. Rejects with `parameters_invalid`, `queue_full`, `shutting_down`, `storage_full`,
   * `key_reused`, or with the input's error.
   */
  accept(request: Request): Promise<Accepted>
}

export function createAcceptor(deps: AcceptorDeps): Acceptor {
  const { store, spool, worker, maxQueued, newId, clock } = deps
  /** On their way into the queue. */
  let entering = 0

  async function accept(request: Request): Promise<Accepted> {
    const { spec, parameters, input, callId, labels, replayOf, key } = request
    if (deps.isClosed()) throw toClosed()
    const callback = toCallback(spec.callback, request.callbackUrl)
    const invocation = queued(
      {
        id: newId(),
        functionName: spec.name,
        mode: 'async',
        callId,
        labels,
        parameters,
        hasInput: input !== undefined,
        ...(callback && { callback }),
        ...(replayOf !== undefined && { replayOf }),
        ...(spec.maxAgeMs !== undefined && { expiresAt: clock() + spec.maxAgeMs }),
      },
      clock(),
    )
    toTask(spec, invocation)
    const isFull = worker.queued() + entering >= maxQueued
    // A call that has been accepted under this key takes no room.
    if (isFull && !(key && (await store.invocations.findKeyHolder(key)))) {
      const detail = `${maxQueued} calls wait already: try again later, or raise ONESHOT_BACKLOG.`
      throw new OneshotError('queue_full', detail, { retryAfterSeconds: 5 })
    }
    entering += 1
    try {
      return await enter(invocation, request)
    } finally {
      entering -= 1
    }
  }

  async function enter(invocation: Invocation, { spec, input, key }: Request): Promise<Accepted> {
    await spool.checkRoom()
    const taken = input && (await spool.takeInput(invocation.id, input))
    const ownKey = key && withDigest(key, taken?.digest ?? NOTHING)
    const holder = await add(invocation, taken?.input, ownKey)
    if (!holder) {
      worker.added()
      deps.called(spec)
      return { id: invocation.id, isRepeated: false }
    }
    if (taken?.input.kind === 'file') await spool.remove([invocation.id])
    return toRepeated(holder, ownKey)
  }

  async function add(
    invocation: Invocation,
    input: StoredInput | undefined,
    key: Omit<IdempotencyKey, 'createdAt'> | undefined,
  ): Promise<KeyHolder | undefined> {
    try {
      return await store.invocations.add(invocation, {
        durable: true,
        ...(input && { input }),
        ...(key && { key: { ...key, createdAt: clock() } }),
      })
    } catch (error) {
      await spool.remove([invocation.id])
      throw error
    }
  }

  return { accept }
}

/** The SHA-256 of no input, which is what an empty one has. */
const NOTHING = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'

function withDigest<K extends { readonly fingerprint: string }>(key: K, digest: string): K {
  return { ...key, fingerprint: `${key.fingerprint}:${digest}` }
}

/** After draft-ietf-httpapi-idempotency-key-header. */
function toRepeated(
  { invocationId, fingerprint }: KeyHolder,
  key: { readonly fingerprint: string } | undefined,
): Accepted {
  if (fingerprint === key?.fingerprint) return { id: invocationId, isRepeated: true }
  const detail =
    'This Idempotency-Key came with another request before: give each request a key of its own.'
  throw new OneshotError('key_reused', detail)
}
