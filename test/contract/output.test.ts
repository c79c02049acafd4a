import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Gateway } from './gateway.ts'
import { engine, nothingLeft, shell, startGateway } from './gateway.ts'

const MIB = 1024 ** 2
/** Prints so many of a letter, on one line without its end. */
const say = (bytes: number, letter = 'x') => `head -c ${bytes} /dev/zero | tr '\\0' ${letter}`

const define = (folder: string) => ({
  both: shell('echo out; echo err >&2; exit 5'),
  none: shell('true'),
  rest: shell('printf rest; printf aside >&2'),
  binary: shell(String.raw`printf 'a\0b\377\376'; printf 'plain' >&2`),
  nul: shell(String.raw`printf 'a\0b'`),
  every: shell(
    'i=0; while [ $i -lt 256 ]; do printf "\\\\$(printf %03o $i)"; i=$((i+1)); done >/tmp/all; for i in $(seq 64); do cat /tmp/all; done',
  ),
  // About the lengths of the pieces in which an engine keeps a line.
  lines: shell(
    `for n in 16383 16384 16385 32768 40000; do ${say(MIB)} | head -c $n; echo; done; echo; echo; ${say(20_000, 'y')} >&2; echo >&2; echo aside >&2`,
  ),
  long: shell(say(10_000_000)),
  'long-ended': shell(`${say(10_000_000)}; echo`),
  flood: shell('seq 300000; exit 3', "limits: { logs: 64k, output: '64' }"),
  exact: shell(`${say(MIB)}; ${say(MIB, 'y')} >&2`),
  more: shell(say(MIB + 1)),
  small: shell('printf 123456789; printf 1234567 >&2', 'limits: { output: 8b }'),
  closed: shell('echo out; exec >&- 2>&-; sleep 0.3; exit 9'),
  live: shell(
    'echo first; echo aside >&2; until [ -e /marks/$ONESHOT_INVOCATION_ID ]; do sleep 0.05; done; echo second; exit 4',
    `volumes: ['${folder}:/marks']`,
  ),
  background: shell('(sleep 1; echo late) & echo soon'),
  tty: shell('tty; echo to-stderr >&2', 'tty: true'),
})

let gateway: Gateway
let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'oneshot-output-'))
  gateway = await startGateway({ functions: define(folder) })
})
afterAll(async () => {
  await gateway?.stop()
  await rm(folder, { recursive: true, force: true })
})

interface Event {
  readonly type: string
  readonly data: string
}

async function* readEvents(response: Response): AsyncGenerator<Event> {
  let text = ''
  for await (const piece of response.body!.pipeThrough(new TextDecoderStream())) {
    const blocks = (text + piece).split('\n\n')
    text = blocks.pop() ?? ''
    for (const block of blocks) {
      const [, type, data = ''] = /^event: (.*)\ndata: ([^]*)$/.exec(block) ?? []
      if (type !== undefined) yield { type, data }
    }
  }
}

const EVENTS = { headers: { Accept: 'text/event-stream' } }

describe.concurrent('output', () => {
  test('of both streams is kept apart', async () => {
    expect(await gateway.envelope('both')).toMatchObject({
      stdout: 'out\n',
      stderr: 'err\n',
      exitCode: 5,
      truncated: false,
    })
  })

  test('that does not come is empty', async () => {
    expect(await gateway.envelope('none')).toMatchObject({ stdout: '', stderr: '', exitCode: 0 })
  })

  test('has the last line though it has no newline', async () => {
    expect(await gateway.envelope('rest')).toMatchObject({ stdout: 'rest', stderr: 'aside' })
  })

  test('that is not UTF-8 comes as base64, each stream for itself', async () => {
    expect(await gateway.envelope('binary')).toMatchObject({
      stdout: Buffer.from([0x61, 0, 0x62, 0xff, 0xfe]).toString('base64'),
      stdoutEncoding: 'base64',
      stderr: 'plain',
      stderrEncoding: 'utf8',
    })
  })

  test('with NUL comes as text', async () => {
    expect(await gateway.envelope('nul')).toMatchObject({ stdout: 'a\0b', stdoutEncoding: 'utf8' })
  })

  test('of all bytes comes raw as it is', async () => {
    const all = Buffer.from(Array.from({ length: 64 * 256 }, (_, index) => index & 0xff))
    expect((await gateway.raw('every')).equals(all)).toBe(true)
  })

  test('of long lines keeps their ends', async () => {
    const { stdout, stderr } = await gateway.envelope('lines')
    const lines = [16383, 16384, 16385, 32768, 40000].map((length) => `${'x'.repeat(length)}\n`)
    expect(stdout.length).toBe(lines.join('').length + 2)
    expect(stdout === `${lines.join('')}\n\n`).toBe(true)
    expect(stderr === `${'y'.repeat(20_000)}\naside\n`).toBe(true)
  })

  test('that a command closes does not hide how it ends', async () => {
    expect(await gateway.envelope('closed')).toMatchObject({ exitCode: 9, stdout: 'out\n' })
  })

  test('ends with the command, whatever it leaves in its background', async () => {
    expect(await gateway.envelope('background')).toMatchObject({ exitCode: 0, stdout: 'soon\n' })
  })

  test('of a tty is all on stdout', async () => {
    const { stdout, stderr } = await gateway.envelope('tty')
    expect(stdout).toMatch(/^\/dev\/(pts\/0|console)\r\nto-stderr\r\n$/)
    expect(stderr).toBe('')
  })
})

describe.concurrent('an envelope', () => {
  test('holds 1 MiB of each stream', async () => {
    const { stdout, stderr, truncated } = await gateway.envelope('exact')
    expect([stdout.length, stderr.length, truncated]).toEqual([MIB, MIB, false])
    expect(stdout === 'x'.repeat(MIB) && stderr === 'y'.repeat(MIB)).toBe(true)
  })

  test('of more says that it is truncated, and its command ends well', async () => {
    const { stdout, truncated, exitCode } = await gateway.envelope('more')
    expect([stdout.length, truncated, exitCode]).toEqual([MIB, true, 0])
  })

  test('holds what the definition says', async () => {
    expect(await gateway.envelope('small')).toMatchObject({
      stdout: '12345678',
      stderr: '1234567',
      truncated: true,
    })
  })
})

describe('10 MB on one line', () => {
  test('come whole as a raw answer', async () => {
    const body = await gateway.raw('long')
    expect(body.length).toBe(10_000_000)
    expect(body.equals(Buffer.alloc(10_000_000, 'x'))).toBe(true)
  })

  test('fill an envelope to its cap, and the command ends well', async () => {
    const { stdout, truncated, exitCode } = await gateway.envelope('long')
    expect([stdout.length, truncated, exitCode]).toEqual([MIB, true, 0])
  })

  test('come whole in events', async () => {
    let line = ''
    let end = ''
    for await (const { type, data } of readEvents(await gateway.call('long', EVENTS))) {
      if (type.startsWith('stdout')) line += data
      else end = data
    }
    expect(line.length).toBe(10_000_000)
    expect(line === 'x'.repeat(10_000_000)).toBe(true)
    expect(end).toContain('"exitCode":0')
  })

  // An engine's log forgets the newline of a long line: nothing tells of one at the very end.
  test(`come ${engine === 'swarm' ? 'without' : 'with'} the newline at their very end`, async () => {
    const body = await gateway.raw('long-ended')
    expect(body.length).toBe(engine === 'swarm' ? 10_000_000 : 10_000_001)
  })
})

// 2 MB, while the engine keeps 64 KiB.
describe('output that outgrows limits.logs', () => {
  const length = 300_000

  test('fills the envelope, and does not hide how the command ends', async () => {
    const { stdout, truncated, exitCode } = await gateway.envelope('flood')
    expect([stdout.length, truncated, exitCode]).toEqual([64, true, 3])
  })

  // A swarm's output comes through the engine's log, which forgets what it has no room for.
  const outcome = engine === 'swarm' ? 'may lack some of it, but not its end' : 'comes whole'
  test(`${outcome} while it is followed`, async () => {
    const seen: number[] = []
    let end = ''
    for await (const { type, data } of readEvents(await gateway.call('flood', EVENTS))) {
      if (type === 'stdout') seen.push(Number(data))
      else end = data
    }
    expect(seen.at(-1)).toBe(length)
    expect(end).toContain('"exitCode":3')
    expect(seen.length).toBeGreaterThanOrEqual(engine === 'swarm' ? 1 : length)
  })
})

describe('one who follows a call', () => {
  test('sees the first lines before the command ends, and then the rest', async () => {
    const response = await gateway.call('live', EVENTS)
    expect(response.status).toBe(200)
    const id = response.headers.get('x-oneshot-invocation-id') ?? ''
    const seen: Event[] = []
    for await (const event of readEvents(response)) {
      seen.push(event)
      if (seen.length === 2) await writeFile(join(folder, id), '')
    }
    expect(seen.slice(0, 2)).toEqual(
      expect.arrayContaining([
        { type: 'stdout', data: 'first' },
        { type: 'stderr', data: 'aside' },
      ]),
    )
    expect(seen[2]).toEqual({ type: 'stdout', data: 'second' })
    expect(seen[3]?.type).toBe('end')
    expect(JSON.parse(seen[3]?.data ?? '')).toMatchObject({
      id,
      exitCode: 4,
      stdout: 'first\nsecond\n',
      stderr: 'aside\n',
    })
    expect(seen).toHaveLength(4)
    await nothingLeft('live')
  })
})
