import { once } from 'node:events'
import { request } from 'node:http'
import { describe, expect, test } from 'vitest'
import { OneshotError } from '../../src/core/error.ts'
import type { TaskEnd } from '../../src/core/outcome.ts'
import { post, serve } from './serve.ts'

type Served = Awaited<ReturnType<typeof serve>>

const exited = (exitCode: number): TaskEnd => ({ kind: 'exited', exitCode, oomKilled: false })

async function scrape({ url }: Served) {
  const response = await fetch(`${url}/metrics`)
  expect(response.status).toBe(200)
  return { type: response.headers.get('content-type'), text: await response.text() }
}

/** Every sample of these names, comments left out. */
async function samples(served: Served, ...names: readonly string[]): Promise<string[]> {
  const { text } = await scrape(served)
  return text
    .split('\n')
    .filter((line) => names.some((name) => new RegExp(`^${name}[{ ]`).test(line)))
}

async function call(served: Served, end: TaskEnd, headers = {}): Promise<number | undefined> {
  const answer = post(`${served.url}/function/test`, '', headers)
  ;(await served.next()).end(end)
  const { status, body } = await answer
  await body()
  return status
}

describe('GET /metrics', () => {
  test('speaks the text format of Prometheus, and explains each metric', async () => {
    const { type, text } = await scrape(await serve())
    expect(type).toMatch(/^text\/plain; version=0\.0\.4/)
    const names = [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name)
    const explained = [...text.matchAll(/^# HELP (\S+) \S/gm)].map(([, name]) => name)
    expect(explained).toEqual(names)
    expect(names).toEqual(
      expect.arrayContaining([
        'oneshot_invocations_total',
        'oneshot_starts_total',
        'oneshot_phase_seconds',
        'oneshot_in_flight',
        'oneshot_queue_depth',
        'oneshot_engine_errors_total',
        'oneshot_armed',
        'oneshot_armed_target',
        'oneshot_arm_seconds',
        'gateway_function_invocation_total',
        'gateway_functions_seconds',
        'process_resident_memory_bytes',
        'nodejs_eventloop_lag_seconds',
      ]),
    )
  })

  test('counts calls by how they ended, and whether they found an armed container', async () => {
    const served = await serve()
    for (const code of [0, 0, 3]) await call(served, exited(code))
    await call(served, { kind: 'exited', exitCode: 137, oomKilled: true })
    await call(served, { kind: 'stopped', by: 'timed_out', exitCode: 137 })
    expect(await samples(served, 'oneshot_invocations_total', 'oneshot_starts_total')).toEqual([
      'oneshot_invocations_total{function="test",state="succeeded",reason="exited"} 2',
      'oneshot_invocations_total{function="test",state="failed",reason="exited"} 1',
      'oneshot_invocations_total{function="test",state="failed",reason="oom_killed"} 1',
      'oneshot_invocations_total{function="test",state="timed_out",reason="timed_out"} 1',
      'oneshot_starts_total{function="test",start="cold"} 5',
    ])
  })

  test('measures the phases that a call has reached', async () => {
    const served = await serve()
    await call(served, exited(0))
    await call(served, exited(1))
    expect(await samples(served, 'oneshot_phase_seconds_count')).toEqual([
      'oneshot_phase_seconds_count{function="test",phase="queue"} 2',
      'oneshot_phase_seconds_count{function="test",phase="run"} 2',
    ])
    expect(await samples(served, 'oneshot_phase_seconds_sum')).toContain(
      'oneshot_phase_seconds_sum{function="test",phase="run"} 0.002',
    )
  })

  test('counts answers under the names that dashboards made for OpenFaaS ask for', async () => {
    const served = await serve()
    const raw = { Accept: 'application/octet-stream' }
    expect(await call(served, exited(0))).toBe(200)
    expect(await call(served, exited(3))).toBe(200)
    expect(await call(served, exited(3), raw)).toBe(500)
    expect(await call(served, { kind: 'stopped', by: 'timed_out', exitCode: null })).toBe(504)
    const labels = (code: number) => `{function_name="test",code="${code}"}`
    // The answer is counted when the last of it is out, which its reader may learn first.
    await expect
      .poll(() => samples(served, 'gateway_function_invocation_total'))
      .toEqual([
        `gateway_function_invocation_total${labels(200)} 2`,
        `gateway_function_invocation_total${labels(500)} 1`,
        `gateway_function_invocation_total${labels(504)} 1`,
      ])
    expect(await samples(served, 'gateway_functions_seconds_count')).toEqual([
      `gateway_functions_seconds_count${labels(200)} 2`,
      `gateway_functions_seconds_count${labels(500)} 1`,
      `gateway_functions_seconds_count${labels(504)} 1`,
    ])
  })

  test('counts a client that left before its answer as that', async () => {
    const served = await serve()
    const outgoing = request(`${served.url}/function/test`, { method: 'POST' })
    outgoing.on('error', () => {}).end()
    const { end, stop } = await served.next()
    outgoing.destroy()
    await once(stop, 'abort')
    end({ kind: 'stopped', by: 'cancelled', exitCode: null })
    await expect
      .poll(() => samples(served, 'gateway_function_invocation_total'))
      .toEqual(['gateway_function_invocation_total{function_name="test",code="499"} 1'])
  })

  test('shows what runs and what waits', async () => {
    const served = await serve({}, { concurrency: 1 })
    const both = [1, 2].map(() => post(`${served.url}/function/test`))
    const { end } = await served.next()
    const load = () => samples(served, 'oneshot_in_flight', 'oneshot_queue_depth')
    await expect.poll(load).toEqual(['oneshot_in_flight 1', 'oneshot_queue_depth 1'])
    end(exited(0))
    ;(await served.next()).end(exited(0))
    await Promise.all(both)
    expect(await load()).toEqual(['oneshot_in_flight 0', 'oneshot_queue_depth 0'])
  })

  test('counts what the engine failed at, and calls that were refused', async () => {
    const served = await serve()
    const answer = post(`${served.url}/function/test`)
    ;(await served.next()).fail(new OneshotError('engine_unreachable', 'It does not answer.'))
    expect((await answer).status).toBe(503)
    await call(served, { kind: 'lost', failure: { code: 'engine_failed', detail: 'x' } })
    expect(await samples(served, 'oneshot_engine_errors_total')).toEqual([
      'oneshot_engine_errors_total{code="engine_unreachable"} 1',
      'oneshot_engine_errors_total{code="engine_failed"} 1',
    ])
    expect(await samples(served, 'oneshot_invocations_total')).toContain(
      'oneshot_invocations_total{function="test",state="refused",reason="engine_unreachable"} 1',
    )
  })

  test('takes no label from a path that names no function', async () => {
    const served = await serve()
    expect((await post(`${served.url}/function/made-up`)).status).toBe(404)
    expect((await scrape(served)).text).not.toContain('made-up')
  })
})
