import { setImmediate } from 'node:timers/promises'
import { afterEach, beforeEach, vi } from 'vitest'
import type { Invocation, InvocationState } from '../../src/core/invocation.ts'
import type { StreamedBody } from '../../src/core/callback.ts'
import type { TaskEnd } from '../../src/core/outcome.ts'
import type { Retries } from '../../src/core/retry.ts'
import { DEFAULT_RETRIES } from '../../src/core/retry.ts'
import type { FunctionSpec } from '../../src/core/function.ts'
import type { Request } from '../../src/gateway/accept.ts'
import type { AttemptOutput } from '../../src/gateway/invocations.ts'
import { functionSpec } from '../function-spec.ts'
import { startGateway } from './start-gateway.ts'

export const forever = new AbortController().signal

export const exited = (exitCode = 0): TaskEnd => ({ kind: 'exited', exitCode, oomKilled: false })
export const lost: TaskEnd = { kind: 'lost', failure: { code: 'engine_failed', detail: 'gone' } }

export async function* body(...parts: readonly string[]): AsyncGenerator<Uint8Array> {
  for (const part of parts) yield Buffer.from(part)
}

/** All of what is sent. */
export async function bytesOf(sent: { readonly body: Uint8Array | StreamedBody }): Promise<Buffer> {
  const { body } = sent
  return Buffer.concat(body instanceof Uint8Array ? [body] : await Array.fromAsync(body.read()))
}

/** A function whose failed calls are run again after exactly 1 s, 2 s, 4 s. */
export function retried(
  retries: Partial<Retries> = {},
  overrides: Partial<Omit<FunctionSpec, 'container'>> = {},
): FunctionSpec {
  return functionSpec({ ...overrides, retries: { ...DEFAULT_RETRIES, jitter: 0, ...retries } })
}

/** What goes from one await to the next, through the store too, has come to rest after these. */
export async function rest(): Promise<void> {
  for (let turn = 0; turn < 30; turn += 1) await setImmediate()
}

/** What each attempt has printed. */
export async function attemptsOf(output: AsyncIterable<AttemptOutput>) {
  const attempts: { attempt: number; text: string }[] = []
  for await (const { attempt, frames } of output) {
    const parts = await Array.fromAsync(frames)
    attempts.push({ attempt, text: Buffer.concat(parts.map(({ bytes }) => bytes)).toString() })
  }
  return attempts
}

/** For each test of the file, until it lets time pass. */
export function stopTime(): void {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'], now: 1_000_000 })
  })
  afterEach(() => {
    vi.useRealTimers()
  })
}

/** Lets time pass once everything has come to rest. */
export async function pass(ms: number): Promise<void> {
  await rest()
  await vi.advanceTimersByTimeAsync(ms)
  await rest()
}

/** A gateway that runs what it accepts. */
export async function startWorking(options: Parameters<typeof startGateway>[0] = {}) {
  const { specs = [functionSpec()] } = options
  const gateway = await startGateway({ ...options, specs })
  await gateway.gateway.start()
  const { acceptor, invocations, live } = gateway
  const accept = async (name = 'test', request: Partial<Request> = {}): Promise<string> => {
    const spec = specs.find((it) => it.name === name)!
    const nothing = { parameters: {}, input: undefined, callId: 'call', labels: [] }
    return (await acceptor.accept({ spec, ...nothing, ...request })).id
  }
  const ended = (id: string) => invocations.wait(id, forever)
  /** Waits until an attempt at it is over and it waits again, or has ended. */
  const attempted = async (id: string): Promise<Invocation> => {
    while (live.find(id)) await live.changed(id, forever)
    return invocations.get(id)
  }
  const stateOf = async (id: string): Promise<InvocationState> => (await invocations.get(id)).state
  return { ...gateway, accept, ended, attempted, stateOf }
}
