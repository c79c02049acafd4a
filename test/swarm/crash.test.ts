import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Envelope } from '../../src/core/envelope.ts'
import { nothingLeft, shell } from '../contract/gateway.ts'
import { eventually } from '../docker/containers.ts'
import { docker } from '../docker/docker-client.ts'
import type { Program } from '../program.ts'
import { startProgram } from '../program.ts'

const CALLS = 12
const volume = `oneshot-test-runs-${process.pid}`
const functions = {
  work: shell(
    'echo "$ONESHOT_INVOCATION_ID" >>/runs/log; sleep 1; cat; exit 3',
    `volumes: ["${volume}:/runs"]\nretries: { max: 6 }\n`,
  ),
}

interface Told extends Envelope {
  readonly attempts: readonly unknown[]
}

test('calls that were accepted come to their true ends, and run no more often than they are told to have, whenever the gateway is killed', async () => {
  const data = await mkdtemp(join(tmpdir(), 'oneshot-test-data-'))
  await docker('volume', 'create', volume)
  const env = { ONESHOT_BACKEND: 'swarm', ONESHOT_DATA: data }
  let program: Program | undefined
  try {
    program = await startProgram({ functions, env })
    const ids = await Promise.all(
      Array.from({ length: CALLS }, async (_, index) => {
        const url = `${program?.url}/async-function/work`
        const answer = await fetch(url, { method: 'POST', body: `input ${index}` })
        return ((await answer.json()) as { id: string }).id
      }),
    )
    for (const ms of [20, 150, 400, 700, 1_100, 1_600]) {
      await new Promise((resolve) => setTimeout(resolve, ms))
      await program.stop('SIGKILL')
      program = await startProgram({ functions, env })
    }
    const { url } = program
    for (const [index, id] of ids.entries()) {
      const told = await eventually(
        async () => (await fetch(`${url}/invocations/${id}`).then((it) => it.json())) as Told,
        ({ state }) => !['queued', 'running'].includes(state),
        60_000,
      )
      expect(told).toMatchObject({ state: 'failed', reason: 'exited', exitCode: 3 })
      const logs = await fetch(`${url}/invocations/${id}/logs?stream=stdout`)
      expect(await logs.text()).toBe(`input ${index}`)
      const find = ['busybox:stable', 'grep', '-c', id, '/runs/log']
      const log = await docker('run', '--rm', `--volume=${volume}:/runs`, ...find)
      expect(Number(log)).toBeLessThanOrEqual(told.attempts.length)
    }
    await nothingLeft('work')
  } finally {
    await program?.stop()
    await rm(data, { recursive: true })
    await eventually(
      () =>
        docker('volume', 'rm', '--force', volume).then(
          () => true,
          () => false,
        ),
      Boolean,
    )
  }
}, 240_000)
