import { expect, test } from 'vitest'
import type { TaskHandle } from '../../src/core/task.ts'
import { createStop } from '../../src/gateway/live.ts'
import { shellTask, startContainerEngine } from './container-engine.ts'
import { docker } from './docker-client.ts'

test('an engine by itself is one host, which tells what runs there, whoever has started it', async () => {
  const engines = ['former', 'later'].map(() => startContainerEngine('nodes'))
  const [former, later] = engines as [(typeof engines)[0], (typeof engines)[0]]
  const task = shellTask('exec sleep 1000', { container: { stopGracePeriodMs: 0 } })
  const { signal, stop } = createStop()
  const { promise: started, resolve: onStarted } = Promise.withResolvers<void>()
  const placed = Promise.withResolvers<TaskHandle>()
  const output = { stdout: () => {}, stderr: () => {} }
  const ran = former.run(
    task,
    {
      ...output,
      stdin: undefined,
      started: onStarted,
      placed: async (handle) => placed.resolve(handle),
    },
    signal,
  )
  await started
  const [host, ...others] = await former.nodes()
  expect(others).toEqual([])
  expect(host).toMatchObject({
    name: await docker('info', '--format', '{{.Name}}'),
    role: 'standalone',
    state: 'ready',
    os: 'linux',
    invocations: [task.invocationId],
  })
  expect(host?.memoryBytes).toBeGreaterThan(64 * 1024 ** 2)
  expect(host?.cpus).toBeGreaterThan(0)
  const invocationsOf = async (engine: typeof former) => (await engine.nodes())[0]?.invocations
  expect(await invocationsOf(later)).toEqual([])
  const resumed = later.resume(task, await placed.promise, output, signal)
  expect(await invocationsOf(later)).toEqual([task.invocationId])
  stop('cancelled')
  await Promise.all([ran, resumed])
  expect(await Promise.all(engines.map(invocationsOf))).toEqual([[], []])
  await Promise.all(engines.map((engine) => engine.close()))
})
