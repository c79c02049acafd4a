import { expect, test, vi } from 'vitest'
import { OneshotError } from '../../src/core/error.ts'
import type { EngineNode } from '../../src/engine/engine.ts'
import { exited, getJson, problemOf, run, start } from './asynchronous.ts'
import { serve } from './serve.ts'

const worker: EngineNode = {
  id: 'n1',
  name: 'worker-1',
  role: 'worker',
  isLeader: false,
  availability: 'active',
  state: 'ready',
  address: '10.0.0.7',
  engineVersion: '20.10.24',
  os: 'linux',
  architecture: 'x86_64',
  cpus: 2,
  memoryBytes: 4096,
  labels: { zone: 'a' },
  genericResources: { gpu: 2 },
  invocations: [],
}

test('the hosts are listed, each with what runs there', async () => {
  const served = await serve()
  const { id, io, end } = await start(served)
  const waiting = await start(served)
  io.started?.()
  const { address: _, ...manager } = worker
  served.nodes.push(
    { ...worker, invocations: [id, 'forgotten', waiting.id] },
    { ...manager, id: 'n2', name: 'manager', role: 'manager', isLeader: true },
  )
  const { invocations: _none, isLeader: _leader, ...told } = worker
  const runsThere = { id, function: 'test', state: 'running' }
  expect(await getJson(`${served.url}/nodes`)).toEqual({
    nodes: [
      {
        ...told,
        leader: false,
        running: [
          { ...runsThere, startedAt: expect.stringMatching(/^2.*Z$/) as string },
          { ...runsThere, id: waiting.id },
        ],
      },
      expect.objectContaining({ id: 'n2', role: 'manager', leader: true, running: [] }),
    ],
  })
  end(exited(0))
  waiting.end(exited(0))
})

test('what is still there of a call that has ended is told with how it has ended', async () => {
  const served = await serve()
  const id = await run(served, { exitCode: 3 })
  served.nodes.push({ ...worker, invocations: [id] })
  const { startedAt } = await getJson(`${served.url}/invocations/${id}`)
  const running = [{ id, function: 'test', state: 'failed', startedAt }]
  expect(await getJson(`${served.url}/nodes`)).toMatchObject({ nodes: [{ running }] })
})

test('the hosts of an engine that does not answer are answered with 503', async () => {
  const { url, engine } = await serve()
  vi.spyOn(engine, 'nodes').mockRejectedValue(new OneshotError('engine_unreachable', 'Start it.'))
  expect(await problemOf(await fetch(`${url}/nodes`))).toMatchObject({
    status: 503,
    code: 'engine_unreachable',
  })
})

test('the hosts are read only', async () => {
  const { url } = await serve()
  const answer = await fetch(`${url}/nodes`, { method: 'POST' })
  expect(await problemOf(answer)).toMatchObject({ status: 405 })
  expect(answer.headers.get('allow')).toBe('GET, HEAD')
})
