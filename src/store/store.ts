import type { Delivery, DeliveryState } from '../core/callback.ts'
import type { Invocation, InvocationState, Settled } from '../core/invocation.ts'
import type { OutputFrame } from '../core/output-record.ts'

/**
 * The durable state. What is fulfilled has outlived the process's end; what is `durable`, the machine's too. What is
 * found and listed takes in what is being written.
 */
export interface Store {
  /** Names this gateway for good: what it makes on an engine is found again by it. */
  readonly gatewayId: string
  readonly invocations: InvocationStore
  readonly deliveries: DeliveryStore
  /** How much room what it holds takes up on disk. */
  usedBytes(): number
  /** Waits for what is being written. */
  close(): Promise<void>
}

/** Rejects with `storage_full` if there is no room. */
export interface InvocationStore {
  /**
   * Takes in a new invocation. With a `key` that is taken nothing is written, and what is known by it is returned.
   * `durable` is for those that nobody waits for.
   */
  add(invocation: Invocation, options?: AddOptions): Promise<KeyHolder | undefined>
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
  /** What a process that has ended had in its hands: what was given to the engine, and sync calls that waited. */
  listStranded(): Promise<readonly Invocation[]>

  /** Forgets what ended before `time`, at most `limit` of them, oldest first; those with a pending delivery stay. Returns their ids. */
  removeSettledBefore(time: number, limit: number): Promise<readonly string[]>
  /** What `removeSettledBefore` leaves whatever the time, with about how many bytes of the store each takes up. */
  listKept(): AsyncIterable<KeptInvocation>
  /** Forgets keys that are older. */
  removeKeysBefore(time: number): Promise<void>
}

/** A page of them stays small: parameters are up to 1 MiB each. */
export type ListedInvocation = Omit<Invocation, 'parameters'>

export interface KeptInvocation {
  readonly id: string
  readonly bytes: number
}

export interface AddOptions {
  readonly durable?: boolean
  readonly input?: StoredInput
  readonly key?: IdempotencyKey
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
