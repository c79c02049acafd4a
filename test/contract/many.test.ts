import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { docker } from '../docker/docker-client.ts'
import type { Gateway } from './gateway.ts'
import { engine, findLeft, nothingLeft, startGateway } from './gateway.ts'

const IN_FLIGHT = 16
const CALLS = 500

const functions = {
  mixed: `image: busybox:stable
network_mode: none
parameters: { word: { type: string } }
command: [sh, -c, 'echo "$$word"; echo "$$word" >&2; cat; exit $\${#word}']
`,
  closed: 'image: busybox:stable\nnetwork_mode: none\ncommand: cat\n',
  open: 'image: busybox:stable\nnetwork_mode: bridge\ncommand: cat\n',
}

let gateway: Gateway
beforeAll(async () => {
  gateway = await startGateway({ functions, env: { ONESHOT_CONCURRENCY: String(IN_FLIGHT) } })
})
afterAll(() => gateway?.stop())

/** Things of the engine that do not belong to gateways, as well. */
async function listAll(): Promise<string[]> {
  const kinds = ['container ls --all', 'service ls', 'config ls', 'secret ls', 'network ls']
  const ids = await Promise.all(kinds.map((kind) => docker(...kind.split(' '), '--quiet')))
  return ids.flatMap((each) => each.split('\n')).filter((id) => id !== '')
}

test('calls at once keep their parameters, inputs, outputs and exit codes apart', async () => {
  const words = Array.from({ length: 12 }, (_, index) => 'w'.repeat(index + 1))
  const answers = await Promise.all(
    words.map((word) =>
      gateway.envelope('mixed', { query: { word }, body: `input of ${word.length}` }),
    ),
  )
  expect(answers.map(({ stdout, stderr, exitCode }) => ({ stdout, stderr, exitCode }))).toEqual(
    words.map((word) => ({
      stdout: `${word}\ninput of ${word.length}`,
      stderr: `${word}\n`,
      exitCode: word.length,
    })),
  )
  await nothingLeft('mixed')
})

test(`${CALLS} calls, ${IN_FLIGHT} at once, leave nothing, and the gateway leaves nothing either`, async ({
  skip,
}) => {
  skip(engine !== 'swarm', 'a swarm has more that could be left')
  const before = await listAll()
  const crowded = await startGateway({ functions })
  onTestFinished(async () => void (await crowded.stop()))
  let left = CALLS
  const wrong: unknown[] = []
  const work = async () => {
    while (left > 0) {
      left -= 1
      const name = left % 4 === 0 ? 'closed' : 'open'
      const body = left % 2 === 0 ? null : `input ${left}`
      const { stdout, exitCode, ...rest } = await crowded.envelope(name, { body })
      if (exitCode !== 0 || stdout !== (body ?? '')) wrong.push({ ...rest, stdout, exitCode })
    }
  }
  await Promise.all(Array.from({ length: IN_FLIGHT }, work))
  expect(wrong).toEqual([])
  await nothingLeft()
  const networks = await docker('network', 'ls', '--filter=label=oneshot.gateway', '-q')
  // One of either gateway.
  expect(networks.split('\n')).toHaveLength(2)
  expect(await crowded.stop()).toBe(0)
  await expect.poll(listAll, { timeout: 20_000 }).toEqual(before)
  expect(await findLeft()).toEqual([])
}, 600_000)
