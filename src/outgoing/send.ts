import { lookup as lookupDns } from 'node:dns/promises'
import type { Readable } from 'node:stream'
import type { Agent, Dispatcher } from 'undici'
import type { StreamedBody } from '../core/callback.ts'
import { checkUrl, type TargetRules, toHostname } from '../core/callback-target.ts'
import { createConnector, type Lookup } from './connect.ts'
import { SendError, toSendError } from './failure.ts'
import { createSlots } from './slots.ts'
import { createStop } from './stop.ts'

export interface SenderOptions extends TargetRules {
  readonly lookup?: Lookup
  /** In milliseconds; only differences matter. */
  readonly now?: () => number
  /** For connection, request and answer together. */
  readonly timeoutMs?: number
  /** The most requests to one host at once, whatever their ports. */
  readonly maxInFlight?: number
}

export interface SendRequest {
  readonly url: string
  /** `Host` and `Content-Length` are not taken from here. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array | StreamedBody
  readonly signal?: AbortSignal
}

export interface SendAnswer {
  readonly status: number
  readonly headers: { readonly retryAfter?: string }
  /** The first 16 KiB, as UTF-8; what is none is replaced. */
  readonly answer: string
  /** From the start of the connection, or of its use. */
  readonly latencyMs: number
}

export interface Sender {
  /**
   * POSTs once, to allowed addresses only; follows no redirect. Resolves with any status: once it has come, a body that
   * breaks off or takes too long is cut. Rejects with an Error whose message may be shown: `refused: …`,
   * `timed out after 15 s`, `cancelled`, or a code such as `ECONNREFUSED: …`.
   */
  send(request: SendRequest): Promise<SendAnswer>
  /** Cancels what is on its way, and drops all connections. */
  close(): Promise<void>
}

const TIMEOUT_MS = 15_000
const MAX_IN_FLIGHT = 4
const ANSWER_BYTES = 16 * 1024
/** Receivers often close after 5 s: well before that nothing is sent into a connection that ends. */
const IDLE_MS = 3_000
/** Longer than any that means something. */
const RETRY_AFTER_LENGTH = 64

export function createSender({
  allow,
  denied = [],
  lookup = lookupDns,
  now = () => performance.now(),
  timeoutMs = TIMEOUT_MS,
  maxInFlight = MAX_IN_FLIGHT,
}: SenderOptions): Sender {
  const rules = { allow, denied }
  const closing = new AbortController()
  const takeSlot = createSlots(maxInFlight)
  let agent: Promise<Agent> | undefined

  /** Loaded when it is wanted: a gateway without callbacks does not need its 20 MiB. */
  async function createAgent(): Promise<Agent> {
    const undici = await import('undici')
    return new undici.Agent({
      connect: createConnector({ rules, lookup, timeoutMs, closed: closing.signal }),
      keepAliveTimeout: IDLE_MS,
      // A receiver may shorten it, not lengthen it.
      keepAliveMaxTimeout: IDLE_MS,
      // One timer is for all of it.
      headersTimeout: 0,
      bodyTimeout: 0,
      connections: maxInFlight,
    })
  }

  async function send({ url, headers, body, signal }: SendRequest): Promise<SendAnswer> {
    const reason = checkUrl(url, rules)
    if (reason !== undefined) throw new SendError(`refused: the URL ${reason}`)
    const target = new URL(url)
    using stop = createStop([closing.signal, signal])
    let release
    try {
      release = await takeSlot(toHostname(target), stop.signal)
      stop.after(timeoutMs)
      const startedAt = now()
      agent ??= createAgent()
      const response = await (
        await agent
      ).request({
        origin: target.origin,
        path: target.pathname + target.search,
        method: 'POST',
        headers: toHeaders(headers, body.length),
        body: body instanceof Uint8Array ? body : toStream(body),
        signal: stop.signal,
      })
      const answer = await readStart(response.body)
      const retryAfter = toRetryAfter(response.headers['retry-after'])
      return {
        status: response.statusCode,
        headers: retryAfter === undefined ? {} : { retryAfter },
        answer,
        latencyMs: Math.round(now() - startedAt),
      }
    } catch (error) {
      throw stop.signal.aborted ? stop.signal.reason : toSendError(error)
    } finally {
      release?.()
    }
  }

  async function close(): Promise<void> {
    closing.abort()
    await (await agent)?.destroy()
  }

  return { send, close }
}

const OWN_HEADERS = new Set(['host', 'content-length'])

function toHeaders(given: Readonly<Record<string, string>>, length: number) {
  const headers = Object.entries(given).filter(([name]) => !OWN_HEADERS.has(name.toLowerCase()))
  return Object.fromEntries([...headers, ['content-length', String(length)]])
}

/** undici takes any iterable, though its types name Readable alone. */
function toStream({ read }: StreamedBody): Readable {
  return told(read()) as unknown as Readable
}

async function* told(chunks: AsyncIterable<Uint8Array>) {
  try {
    yield* chunks
  } catch (error) {
    throw new SendError('the body could not be read', { cause: error })
  }
}

/** Leaving the loop early drops the connection. */
async function readStart(body: Dispatcher.ResponseData['body']): Promise<string> {
  const chunks: Uint8Array[] = []
  let length = 0
  try {
    for await (const chunk of body as AsyncIterable<Uint8Array>) {
      chunks.push(chunk)
      length += chunk.length
      if (length > ANSWER_BYTES) break
    }
  } catch {
    // The status has come, and tells how it went.
  }
  const start = Buffer.concat(chunks).subarray(0, ANSWER_BYTES)
  // `stream`: a character that the cut goes through is left out.
  return new TextDecoder().decode(start, { stream: length > ANSWER_BYTES })
}

function toRetryAfter(header: string | string[] | undefined): string | undefined {
  const first = typeof header === 'string' ? header : header?.[0]
  return first !== undefined && first.length <= RETRY_AFTER_LENGTH ? first : undefined
}
