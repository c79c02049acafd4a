import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Gateway } from './gateway.ts'
import { engine, nothingLeft, shell, startGateway } from './gateway.ts'

const functions = {
  echo: 'image: busybox:stable\nnetwork_mode: none\ncommand: cat\n',
  sum: shell('sha1sum'),
  count: shell('wc -c'),
  source: shell('readlink /proc/self/fd/0'),
  swap: shell('read a; read b; echo "$b $a"'),
  unread: shell('exit 4'),
  early: shell('head -c 5; exit 0'),
  small: shell('cat', 'limits: { input: 10b }'),
  streamed: shell('cat', 'limits: { input: 10b }'),
  entrypoint: 'image: busybox:stable\nnetwork_mode: none\nentrypoint: [wc, -c]\n',
  both: 'image: busybox:stable\nnetwork_mode: none\nentrypoint: [head]\ncommand: [-c, "3"]\n',
  // The image says `sh`.
  neither: 'image: busybox:stable\nnetwork_mode: none\n',
  confined: shell('id -u; cat', "user: '1234:1234'\nread_only: true\n"),
  typed: `image: busybox:stable
network_mode: none
parameters: { word: { type: string } }
command: [sh, -c, 'echo "$$word"; cat']
`,
}

let gateway: Gateway
beforeAll(async () => {
  gateway = await startGateway({ functions })
})
afterAll(() => gateway?.stop())

/** Of all values, in no simple order. */
const bytesOf = (length: number) =>
  new Uint8Array(length).map((_, index) => (index * 7 + (index >> 8)) & 0xff)

describe.concurrent('input', () => {
  test('of 300 KB comes back byte for byte', async () => {
    const body = bytesOf(300_000)
    expect((await gateway.raw('echo', { body })).equals(body)).toBe(true)
  })

  test('of 3 MB comes back byte for byte', async ({ skip }) => {
    skip(engine !== 'container', 'a config of a swarm holds less')
    const body = bytesOf(3_000_000)
    expect((await gateway.raw('echo', { body })).equals(body)).toBe(true)
  })

  // A config of the swarm brings it to its node.
  test('of 1,023,999 bytes comes whole on a swarm', async ({ skip }) => {
    skip(engine !== 'swarm', 'only a swarm is like that')
    const { stdout } = await gateway.envelope('count', { body: bytesOf(1_023_999) })
    expect(stdout).toBe('1023999\n')
  })

  test('of a byte more is answered 413 on a swarm', async ({ skip }) => {
    skip(engine !== 'swarm', 'only a swarm is like that')
    const { status, code, detail } = await gateway.problem('sum', { body: bytesOf(1_024_000) })
    expect([status, code]).toEqual([413, 'input_too_large'])
    expect(detail).toContain('1023999')
    await nothingLeft('sum')
  })

  test('that is missing is an empty one', async () => {
    expect(await gateway.envelope('echo')).toMatchObject({ exitCode: 0, stdout: '' })
    expect(await gateway.envelope('source')).toMatchObject({ stdout: '/dev/null\n' })
  })

  test('that is empty is an empty one, and so is one that turns out to be', async () => {
    expect(await gateway.envelope('echo', { body: '' })).toMatchObject({ exitCode: 0, stdout: '' })
    const body = new ReadableStream({ start: (controller) => controller.close() })
    const answer = await gateway.envelope('echo', { body, duplex: 'half' })
    expect(answer).toMatchObject({ exitCode: 0, stdout: '' })
  })

  test('is read line by line', async () => {
    expect(await gateway.envelope('swap', { body: 'one\ntwo\n' })).toMatchObject({
      stdout: 'two one\n',
    })
  })

  test('may be left unread', async () => {
    const body = bytesOf(300_000)
    expect(await gateway.envelope('unread', { body })).toMatchObject({ exitCode: 4 })
  })

  test('may be read in part: the output comes whole all the same', async () => {
    const body = 'x'.repeat(engine === 'swarm' ? 900_000 : 5_000_000)
    const answer = await gateway.envelope('early', { body })
    expect(answer).toMatchObject({ exitCode: 0, stdout: 'xxxxx' })
  })

  test.each([
    ['entrypoint', '9\n'],
    ['both', 'ech'],
    ['neither', 'said\n'],
  ])(
    "reaches what runs, whether the definition's or the image's own (%s)",
    async (name, stdout) => {
      expect(await gateway.envelope(name, { body: 'echo said' })).toMatchObject({
        stdout,
        exitCode: 0,
      })
    },
  )

  test('reaches another user than root, beneath a read-only root', async () => {
    expect((await gateway.envelope('confined', { body: 'read' })).stdout).toBe('1234\nread')
  })

  test('comes beside parameters in the query', async () => {
    const { stdout } = await gateway.envelope('typed', { query: { word: 'hey' }, body: 'body' })
    expect(stdout).toBe('hey\nbody')
  })
})

describe.concurrent('a body over its limit', () => {
  test('is answered 413 if its length tells', async () => {
    expect(await gateway.problem('small', { body: 'x'.repeat(11) })).toMatchObject({
      status: 413,
      code: 'input_too_large',
    })
  })

  test('is answered 413 if it streams, and leaves nothing behind', async () => {
    const body = new ReadableStream({
      start(controller) {
        for (let i = 0; i < 11; i += 1) controller.enqueue(Buffer.from('x'))
        controller.close()
      },
    })
    const init = { body, duplex: 'half' } as const
    expect(await gateway.problem('streamed', init)).toMatchObject({ status: 413 })
    await nothingLeft('streamed')
  })
})
