import type { OutgoingHttpHeaders } from 'node:http'
import { expect, vi } from 'vitest'
import type { StartedTask } from '../gateway/fake-engine.ts'
import type { LiveCalls } from '../../src/gateway/live.ts'
import { Problem } from '../../src/http/errors.ts'
import { post } from './serve.ts'

interface Served {
  readonly url: string
  next(): Promise<StartedTask>
}

export const exited = (exitCode: number) =>
  ({ kind: 'exited', exitCode, oomKilled: false }) as const

/** A call that is accepted: its id. */
export async function accept({ url }: Pick<Served, 'url'>, headers: OutgoingHttpHeaders = {}) {
  const { status, body } = await post(`${url}/async-function/test`, '', headers)
  const { id } = JSON.parse(String(await body())) as { id: string }
  expect([status, typeof id]).toEqual([202, 'string'])
  return id
}

/** A call that is accepted and runs. */
export async function start(served: Served, headers: OutgoingHttpHeaders = {}) {
  const id = await accept(served, headers)
  return { id, ...(await served.next()) }
}

/** A call that has ended, and printed some. */
export async function run(
  served: Served,
  {
    out = '',
    err = '',
    exitCode = 0,
  }: { out?: string | Uint8Array; err?: string; exitCode?: number } = {},
  headers: OutgoingHttpHeaders = {},
) {
  const { id, io, end } = await start(served, headers)
  await io.stdout(Buffer.from(out))
  await io.stderr(Buffer.from(err))
  end(exited(exitCode))
  expect(await getJson(`${served.url}/invocations/${id}?wait=30`)).toHaveProperty('finishedAt')
  return id
}

export async function getJson(url: string, init?: RequestInit): Promise<Record<string, unknown>> {
  const response = await fetch(url, init)
  expect(response.status).toBeLessThan(400)
  return (await response.json()) as Record<string, unknown>
}

/** What is refused, as status, code and detail. */
export async function problemOf(answer: Response): Promise<Problem> {
  expect(answer.headers.get('content-type')).toBe('application/problem+json')
  const problem = Problem.parse(await answer.json())
  expect(problem.status).toBe(answer.status)
  return problem
}

/** Sees who waits for changes. */
export function watchWaiting(live: LiveCalls) {
  const { promise: waiting, resolve } = Promise.withResolvers<void>()
  const { changed } = live
  const waits: Promise<void>[] = []
  vi.spyOn(live, 'changed').mockImplementation((id, signal) => {
    const wait = changed(id, signal)
    waits.push(wait)
    if (!signal.aborted) resolve()
    return wait
  })
  return {
    /** Somebody waits. */
    waiting,
    /** Nobody waits any more. */
    async left() {
      await Promise.all(waits)
      return waits.length
    },
  }
}
