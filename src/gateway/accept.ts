import { toCallback } from '../core/callback.ts'
import { OneshotError } from '../core/error.ts'
import type { FunctionSpec } from '../core/function.ts'
import type { ConcurrencyGroup, Invocation } from '../core/invocation.ts'
import { queued } from '../core/invocation.ts'
import { toTask } from '../core/task.ts'
import type { OverlapPolicy, TriggeredBy } from '../core/trigger.ts'
import type { HookDelivery } from '../core/webhook/delivery.ts'
import type {
  AddOptions,
  Added,
  IdempotencyKey,
  KeyHolder,
  ScheduleTick,
  Spool,
  Store,
} from '../store/store.ts'
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
  /** Cancels an invocation, sooner or later. */
  readonly cancel: (id: string) => void
}

/** A call that is to be run whatever becomes of its caller. */
export interface Request {
  readonly spec: FunctionSpec
  readonly parameters: Invocation['parameters']
  readonly environment?: Invocation['environment'] | undefined
  readonly input: AsyncIterable<Uint8Array> | undefined
  readonly callId: string
  readonly labels: readonly string[]
  readonly caller?: string | undefined
  readonly trigger?: TriggeredBy | undefined
  readonly group?: ConcurrencyGroup | undefined
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

/** A call that a trigger makes. */
export interface TriggeredRequest extends Omit<Request, 'key'> {
  readonly trigger: TriggeredBy
  /** What becomes of it if its group is full; needs a `group`. */
  readonly overlap?: OverlapPolicy
  /** What it is made for. */
  readonly delivery?: AddOptions['delivery']
  readonly tick?: ScheduleTick
}

/** `dropped`: its group is full. `ticked`: there was such a tick before. Both are on record. */
export type Triggered =
  | { readonly kind: 'accepted'; readonly id: string }
  | { readonly kind: 'duplicate'; readonly first: HookDelivery }
  | { readonly kind: 'dropped' | 'ticked' }

export interface Acceptor {
  /**
   * Fulfilled once the call and its input are on disk. Rejects with `parameters_invalid`, `queue_full`, `shutting_down`, `storage_full`,
   * `key_reused`, or with the input's error.
   */
  accept(request: Request): Promise<Accepted>
  /** The same for a trigger, which makes at most one invocation of a delivery or a tick. */
  acceptTriggered(request: TriggeredRequest): Promise<Triggered>
}

export function createAcceptor(deps: AcceptorDeps): Acceptor {
  const { store, spool, worker, maxQueued, newId, clock } = deps
  /** On their way into the queue. */
  let entering = 0

  async function accept(request: Request): Promise<Accepted> {
    const { key } = request
    // A call that has been accepted under this key takes no room.
    const isKnown = async () => key && (await store.invocations.findKeyHolder(key)) !== undefined
    let ownKey: typeof key
    const invocation = toInvocation(request)
    const added = await enter(invocation, request, isKnown, (digest) => {
      ownKey = key && withDigest(key, digest)
      return ownKey ? { key: { ...ownKey, createdAt: clock() } } : {}
    })
    if (added.kind === 'repeated') return toRepeated(added.holder, ownKey)
    return { id: invocation.id, isRepeated: false }
  }

  async function acceptTriggered(request: TriggeredRequest): Promise<Triggered> {
    const { delivery, tick, overlap, group } = request
    const { hook = '', key } = delivery?.record ?? {}
    const isKnown = async () => key !== undefined && (await store.hooks.findByKey(hook, key))
    const invocation = toInvocation(request)
    const { id } = invocation
    const added = await enter(invocation, request, isKnown, () => ({
      ...(delivery && { delivery }),
      ...(tick && { tick }),
      dropsIfFull: overlap === 'drop',
    }))
    switch (added.kind) {
      case 'added':
        if (overlap === 'replace' && group) await replace(group, id)
        return { kind: 'accepted', id }
      case 'duplicate':
        return added
      case 'repeated':
        throw new Error(`${id} had no key, and was taken for a repetition`)
      case 'dropped':
      case 'ticked':
        return { kind: added.kind }
    }
  }

  /** Cancels as many of those before it as leave it no room. It waits for them, in the group: nobody else has to. */
  async function replace({ key, max }: ConcurrencyGroup, id: string): Promise<void> {
    const members = await store.invocations.listGroup(key)
    // It may be none of them any more, replaced by a later one.
    const former = members.filter((each) => each < id)
    const tooMany = former.slice(0, Math.max(former.length + 1 - max, 0))
    // Newest first: one that waits must not be given the turn of one that ends.
    for (const each of tooMany.toReversed()) deps.cancel(each)
  }

  function toInvocation(request: Request): Invocation {
    const { spec, parameters, environment, input, callId, labels, caller, trigger, group } = request
    const { replayOf, callbackUrl } = request
    if (deps.isClosed()) throw toClosed()
    const callback = toCallback(spec.callback, callbackUrl)
    const invocation = queued(
      {
        id: newId(),
        functionName: spec.name,
        mode: 'async',
        callId,
        labels,
        parameters,
        hasInput: input !== undefined,
        ...(environment && { environment }),
        ...(caller !== undefined && { caller }),
        ...(trigger && { trigger }),
        ...(group && { group }),
        ...(callback && { callback }),
        ...(replayOf !== undefined && { replayOf }),
        ...(spec.maxAgeMs !== undefined && { expiresAt: clock() + spec.maxAgeMs }),
      },
      clock(),
    )
    // What can't be run is refused at once.
    toTask(spec, invocation)
    return invocation
  }

  /** `toOptions` gets the SHA-256 of the input. */
  async function enter(
    invocation: Invocation,
    { spec, input }: Request,
    isKnown: () => Promise<unknown>,
    toOptions: (digest: string) => AddOptions,
  ): Promise<Added> {
    if (worker.queued() + entering >= maxQueued && !(await isKnown())) {
      const detail = `${maxQueued} calls wait already: try again later, or raise ONESHOT_BACKLOG.`
      throw new OneshotError('queue_full', detail, { retryAfterSeconds: 5 })
    }
    entering += 1
    try {
      await spool.checkRoom()
      const taken = input && (await spool.takeInput(invocation.id, input))
      const added = await add(invocation, {
        ...toOptions(taken?.digest ?? NOTHING),
        ...(taken && { input: taken.input }),
      })
      if (added.kind === 'added') {
        worker.added()
        deps.called(spec)
      } else if (taken?.input.kind === 'file') await spool.remove([invocation.id])
      return added
    } finally {
      entering -= 1
    }
  }

  async function add(invocation: Invocation, options: AddOptions): Promise<Added> {
    try {
      return await store.invocations.add(invocation, { durable: true, ...options })
    } catch (error) {
      await spool.remove([invocation.id])
      throw error
    }
  }

  return { accept, acceptTriggered }
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
