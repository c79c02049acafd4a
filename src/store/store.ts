import type { Delivery, DeliveryState } from '../core/callback.ts'
import type { Invocation, InvocationState, Settled } from '../core/invocation.ts'
import type { OutputFrame } from '../core/output-record.ts'
import type { HookDelivery } from '../core/webhook/delivery.ts'

/**
 * The durable state. What is fulfilled has outlived the process's end; what is `durable`, the machine's too. What is
 * found and listed takes in what is being written.
 */
export interface Store {
  /** Names this gateway for good: what it makes on an engine is found again by it. */
  readonly gatewayId: string
  readonly invocations: InvocationStore
  readonly deliveries: DeliveryStore
  readonly functions: FunctionStore
  readonly hooks: HookStore
  readonly schedules: ScheduleStore
  /** How much room what it holds takes up on disk. */
  usedBytes(): number
  /** Waits for what is being written. */
  close(): Promise<void>
}

/** Rejects with `storage_full` if there is no room. */
export interface InvocationStore {
  /**
   * Takes in a new invocation. One of a group that has as many under way as it may waits until one of them has ended. What else than `added` is
   * returned says why it was not taken in. `durable` is for those that nobody waits for.
   */
  add(invocation: Invocation, options?: AddOptions): Promise<Added>
  /** Writes what has changed. */
  update(invocation: Invocation): Promise<void>
  /** Writes the end, what was printed, and the delivery of the two, all or nothing. */
  settle(invocation: Settled, output: StoredOutput, delivery?: Delivery): Promise<void>

  find(id: string): Promise<Invocation | undefined>
  findKeyHolder(key: Pick<IdempotencyKey, 'scope' | 'key'>): Promise<KeyHolder | undefined>
  /** What `add` was given. */
  findInput(id: string): Promise<StoredInput | undefined>
  /** What `settle` was given. */
  findOutput(id: string): Promise<StoredOutput | undefined>
  /** Newest first. */
  list(filter: InvocationFilter, page: Page): Promise<readonly ListedInvocation[]>

  /** The functions that have something to run at `now`, of what nobody waits for; so are the three below. */
  listDueFunctions(now: number): Promise<readonly string[]>
  /** Of one function what is to be run at `now`: first what has been due for longest. */
  listDue(functionName: string, now: number, limit: number): Promise<readonly Invocation[]>
  /** The time after `now` at which the next one is due. */
  findNextDue(now: number): Promise<number | undefined>
  /** What has waited for too long by `now`: first what has done so for longest. */
  listExpired(now: number, limit: number): Promise<readonly Invocation[]>
  /** The last time, `now` or later, at which the next one may still be run. */
  findNextExpiry(now: number): Promise<number | undefined>
  countQueued(): Promise<number>
  /** Those of a group that have not come to their ends: oldest first. */
  listGroup(key: string): Promise<readonly string[]>
  /** What a process that has ended had in its hands: what was given to the engine, and sync calls that waited. */
  listStranded(): Promise<readonly Invocation[]>

  /** Forgets what ended before `time`, at most `limit` of them, oldest first; those with a pending delivery stay. Returns their ids. */
  removeSettledBefore(time: number, limit: number): Promise<readonly string[]>
  /** What `removeSettledBefore` leaves whatever the time, with about how many bytes of the store each takes up. */
  listKept(): AsyncIterable<KeptInvocation>
  /** Forgets keys that are older. */
  removeKeysBefore(time: number): Promise<void>
}

/** A page of them stays small: parameters are up to 1 MiB each, and variables that a webhook gives up to 64 KiB. */
export type ListedInvocation = Omit<Invocation, 'parameters' | 'environment'>

export interface KeptInvocation {
  readonly id: string
  readonly bytes: number
}

export interface AddOptions {
  readonly durable?: boolean
  readonly input?: StoredInput
  readonly key?: IdempotencyKey
  /** The delivery that it is made for, and its body. */
  readonly delivery?: { readonly record: HookDelivery; readonly body?: Uint8Array }
  /** The tick that it is made for. */
  readonly tick?: ScheduleTick
  /** It is not to wait for others of its group: if it would have to, it is dropped. */
  readonly dropsIfFull?: boolean
}

/**
 * `repeated`: its key is taken, nothing is written. `duplicate`: so is that of its delivery. `ticked`: the schedule has had this tick, or a later one; nothing is
 * written. `dropped`: its group is full; the delivery is on record as dropped, the tick as had.
 */
export type Added =
  | { readonly kind: 'added' | 'ticked' | 'dropped' }
  | { readonly kind: 'repeated'; readonly holder: KeyHolder }
  | { readonly kind: 'duplicate'; readonly first: HookDelivery }

export interface ScheduleTick {
  readonly scheduleId: string
  /** Milliseconds since the epoch. */
  readonly at: number
}

/** In the store itself, or in a file of this length. */
export type StoredInput =
  | { readonly kind: 'inline'; readonly bytes: Uint8Array }
  | { readonly kind: 'file'; readonly length: number }

/** What was printed, as `core/output-record.ts` frames it: in the store itself, or in a file. */
export interface StoredOutput {
  /** Undefined: it is in the invocation's file. */
  readonly frames: Uint8Array | undefined
  readonly stdoutBytes: number
  readonly stderrBytes: number
  /** Some was left out: it passed the function's limit. */
  readonly truncated: boolean
}

export interface IdempotencyKey {
  readonly scope: string
  readonly key: string
  /** Of the request: another request under the same key has another. */
  readonly fingerprint: string
  readonly createdAt: number
}

export interface KeyHolder {
  readonly invocationId: string
  readonly fingerprint: string
}

export interface InvocationFilter {
  readonly functionName?: string
  readonly state?: InvocationState
  readonly label?: string
}

/** `after`: the id that the page before ended with. */
export interface Page {
  readonly after?: string
  readonly limit: number
}

export interface DeliveryStore {
  find(id: string): Promise<Delivery | undefined>
  update(delivery: Delivery): Promise<void>
  /** Newest first. */
  list(
    filter: { readonly state?: DeliveryState; readonly invocationId?: string },
    page: Page,
  ): Promise<readonly Delivery[]>
  /** What is to be tried at `now`, but at these hosts: first what has been due for longest. */
  listDue(
    now: number,
    limit: number,
    exceptHosts: readonly string[],
  ): Promise<readonly DueDelivery[]>
  /** The time after `now` at which the next one is due. */
  findNextDue(now: number): Promise<number | undefined>
}

export interface DueDelivery {
  readonly id: string
  /** As `toHost` gives it. */
  readonly host: string
}

/** Functions that were not put into the folder, but sent. */
export interface FunctionStore {
  /** By name. */
  list(): Promise<readonly StoredFunction[]>
  /** Durably. False: there was one of this name, which it replaces. */
  put(definition: StoredFunction): Promise<boolean>
  /** False: there was none. */
  remove(name: string): Promise<boolean>
}

export interface StoredFunction {
  readonly name: string
  /** YAML, as it was sent. */
  readonly source: string
  /** Milliseconds since the epoch; of the first of this name that was put after the last removal. */
  readonly createdAt: number
  readonly updatedAt: number
  /** Who sent it. */
  readonly updatedBy: string
}

/** What came to webhooks. */
export interface HookStore {
  /** Takes in one that makes no invocation. With a `key` that is taken nothing is written, and the one that has it is returned. */
  add(delivery: HookDelivery, body?: Uint8Array): Promise<HookDelivery | undefined>
  /** The one that has a key. */
  findByKey(hook: string, key: string): Promise<HookDelivery | undefined>
  find(hook: string, id: string): Promise<HookDelivery | undefined>
  /** What `add` was given; undefined if it is not kept. */
  findBody(id: string): Promise<Uint8Array | undefined>
  /** Newest first. */
  list(hook: string, page: Page): Promise<readonly HookDelivery[]>
  /** Forgets those received before `time`, oldest first, at most `limit` of them. Returns how many. */
  removeBefore(time: number, limit: number): Promise<number>
  /** Forgets the oldest of what is too much. Returns how many deliveries that was by `maxPerHook`. */
  trim(bounds: HookBounds): Promise<number>
}

export interface HookBounds {
  /** Of all bodies together. */
  readonly maxBytes: number
  /** Of deliveries without a key. */
  readonly maxKeyless: number
  /** Of the deliveries to one webhook. */
  readonly maxPerHook: number
}

export interface ScheduleStore {
  find(id: string): Promise<ScheduleRecord | undefined>
  /** Takes note of one that is new, or that has another timing: its former ticks are forgotten. */
  register(record: Pick<ScheduleRecord, 'id' | 'fingerprint' | 'since'>): Promise<void>
  /** Notes that nothing up to `at` is to be made up for. Keeps a later tick. */
  pass(id: string, at: number): Promise<void>
}

export interface ScheduleRecord {
  readonly id: string
  /** Of its timing: with another it is another schedule. */
  readonly fingerprint: string
  /** No tick before it counts. */
  readonly since: number
  readonly lastTick?: number
  readonly lastInvocationId?: string
}

/** What is too long for the store: files of the data folder, named by their invocations. */
export interface Spool {
  /** Takes a request's body in, to its end; what is long is on disk when this is fulfilled. Rejects with `storage_full`, or with the body's error: then nothing is left. */
  takeInput(id: string, body: AsyncIterable<Uint8Array>): Promise<TakenInput>
  readInput(id: string, input: StoredInput): AsyncIterable<Uint8Array>
  /** Records what an invocation prints, up to `maxBytes` of the output itself. */
  record(id: string, maxBytes: number): Recorder
  readOutput(id: string, output: StoredOutput): AsyncIterable<OutputFrame>
  /** Deletes the files of these invocations. Returns how long they were. */
  remove(ids: readonly string[]): Promise<number>
  /** The ids that have files. */
  list(): Promise<readonly string[]>
  /** Throws `storage_full` if so little is left that what was accepted may soon have no room for its end. So does `takeInput` of what is long. */
  checkRoom(): Promise<void>
  /** Of all files but those of the invocations `except`, and those that are being taken in. */
  usedBytes(except?: ReadonlySet<string>): Promise<number>
}

export interface TakenInput {
  readonly input: StoredInput
  /** SHA-256, in hexadecimal. */
  readonly digest: string
}

/** What one running invocation prints. */
export interface Recorder {
  /** The chunk's memory may be used again once this is fulfilled. Never rejects: what can't be kept counts as left out. */
  write(stream: OutputFrame['stream'], bytes: Uint8Array): void | Promise<void>
  /** What has been recorded, and what will be, to its end. */
  follow(signal: AbortSignal): AsyncIterable<OutputFrame>
  /** What has been recorded by now. */
  read(): AsyncIterable<OutputFrame>
  /** Nothing is recorded any more. */
  finish(): Promise<StoredOutput>
  /** Forgets all of it, but for those who read it by now: they come to its end. */
  discard(): Promise<void>
}
