import { writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Envelope } from '../../src/core/envelope.ts'
import type { Problem } from '../../src/http/errors.ts'
import type { Program } from '../program.ts'
import { startProgram } from '../program.ts'
import { eventually, findContainers, noContainers } from './containers.ts'

/** A definition of one shell script; `$` needs no doubling. */
const shell = (script: string, more = '') => `image: busybox:stable
network_mode: none
command: ${JSON.stringify(['sh', '-c', script.replaceAll('$', '$$$$')])}
${more}`

const functions = {
  echo: 'image: busybox:stable\nnetwork_mode: none\ncommand: cat\n',
  small: shell('cat', 'limits: { input: 10b }'),
  broken: 'image: [unclosed',
  misspelt: 'image: busybox:stable\ncomand: ls\n',
  'no-image': 'image: oneshot-test/nosuch:1\npull_policy: never\nnetwork_mode: none\n',
  'no-registry': 'image: 127.0.0.1:1/nosuch:1\nnetwork_mode: none\n',
  'no-command': 'image: busybox:stable\nnetwork_mode: none\ncommand: [nosuch]\n',
  'no-execute': 'image: busybox:stable\nnetwork_mode: none\ncommand: [/etc]\n',
  oom: shell('x=xxxxxxxx; while :; do x=$x$x; done', 'mem_limit: 16m'),
  bomb: shell(
    'f() { f | f & }; f; i=0; while [ $i -lt 300 ]; do sleep 5 & i=$((i+1)); done; echo survived',
    'pids_limit: 20\ntimeout: 20s',
  ),
  stubborn: shell(
    'trap "" TERM; echo begun; while :; do sleep 1; done',
    'timeout: 1s\nstop_grace_period: 500ms',
  ),
  graceful: shell(
    'trap "echo bye; exit 7" TERM; echo begun; while :; do sleep 0.1; done',
    'timeout: 1s',
  ),
  forever: shell('echo begun; exec sleep 1000', 'timeout: 5m\nstop_grace_period: 0s'),
  binary: shell(String.raw`printf 'a\0b\377\376'; printf 'plain' >&2`),
  nul: shell(String.raw`printf 'a\0b'`),
  long: shell('head -c 10000000 /dev/zero | tr "\\0" x'),
  both: shell('echo out; echo err >&2; exit 5'),
  closed: shell('exec >&- 2>&-; sleep 0.3; exit 9'),
  early: shell('head -c 5; exit 0'),
  slow: shell('sleep 0.2; echo done', 'concurrency: 8\ntimeout: 5m'),
  caps: shell('grep -E "CapEff|NoNewPrivs" /proc/self/status; ulimit -n'),
  typed: `image: busybox:stable
network_mode: none
parameters:
  word: { type: string, required: true }
  times: { type: integer, minimum: 1, maximum: 3, default: 1 }
command: [echo, 'say \${{ word }} x\${{times}}', '\${{ word }}']
`,
}

let program: Program
beforeAll(async () => {
  // None armed ahead, so that whatever is there belongs to a call.
  program = await startProgram({ functions, env: { ONESHOT_WARM_MEMORY: '0' } })
})
afterAll(() => program.stop())

async function call(name: string, init: RequestInit & { query?: string } = {}) {
  const { query = '', ...rest } = init
  const response = await fetch(`${program.url}/function/${name}${query}`, {
    method: 'POST',
    ...rest,
  })
  return { response, status: response.status }
}

async function envelope(name: string, init: RequestInit & { query?: string } = {}) {
  const { response, status } = await call(name, init)
  return { status, ...((await response.json()) as Envelope) }
}

async function problem(name: string, init: RequestInit & { query?: string } = {}) {
  const { response, status } = await call(name, init)
  expect(response.headers.get('content-type')).toBe('application/problem+json')
  return { ...((await response.json()) as Problem), httpStatus: status }
}

/** As it stands: `fetch` would tidy the path up. */
async function rawPost(path: string): Promise<{ status: number | undefined; body: string }> {
  const { port } = new URL(program.url)
  return new Promise((resolve, reject) => {
    request({ port, path, method: 'POST' }, (response) => {
      text(response).then((body) => resolve({ status: response.statusCode, body }), reject)
    })
      .on('error', reject)
      .end()
  })
}

describe('a function that cannot be called', () => {
  test('because there is none of that name is answered 404', async () => {
    expect(await problem('nosuch')).toMatchObject({ httpStatus: 404, code: 'function_not_found' })
  })

  test.each([
    '/function/../function/echo',
    '/function/../function/echo%2f..%2fecho',
    '/function/..%2f..%2fetc%2fpasswd',
    '/function/%2e%2e%2fecho',
  ])('because its name is a path, %s, is answered 404', async (path) => {
    expect(await rawPost(path)).toMatchObject({ status: 404 })
  })

  test('because its file is not YAML is answered 503 with the place in the file', async () => {
    const { httpStatus, code, detail } = await problem('broken')
    expect([httpStatus, code]).toEqual([503, 'function_broken'])
    expect(detail).toMatch(/broken\.yml:\d+:\d+/)
  })

  test('because a key is misspelt is answered 503, and told the key that was meant', async () => {
    const { httpStatus, detail } = await problem('misspelt')
    expect(httpStatus).toBe(503)
    expect(detail).toMatch(/misspelt\.yml:2.*comand.*did you mean "?command/s)
  })

  test('is listed as broken, and the others are served', async () => {
    const response = await fetch(`${program.url}/functions`)
    const { functions } = (await response.json()) as {
      functions: { name: string; state: string }[]
    }
    const broken = functions.filter(({ state }) => state === 'broken').map(({ name }) => name)
    expect(broken).toEqual(['broken', 'misspelt'])
    expect((await envelope('both')).exitCode).toBe(5)
  })
})

describe('a body over its limit', () => {
  test('is answered 413 if its length tells', async () => {
    expect(await problem('small', { body: 'x'.repeat(11) })).toMatchObject({
      httpStatus: 413,
      code: 'input_too_large',
    })
  })

  test('is answered 413 if it streams, and its container is gone', async () => {
    const body = new ReadableStream({
      start(controller) {
        for (let i = 0; i < 11; i += 1) controller.enqueue(Buffer.from('x'))
        controller.close()
      },
    })
    const init = { body, duplex: 'half' } as RequestInit
    expect(await problem('small', init)).toMatchObject({ httpStatus: 413 })
    await noContainers('small')
  })
})

describe('a command that cannot be started', () => {
  test.each([
    ['no-image', 'image_not_found'],
    ['no-registry', 'image_pull_failed'],
    ['no-command', 'command_not_found'],
    ['no-execute', 'command_not_found'],
  ])('(%s) is answered 502 with the reason %s', async (name, code) => {
    const answer = await envelope(name)
    expect(answer).toMatchObject({
      status: 502,
      state: 'failed',
      reason: 'not_started',
      exitCode: null,
      startedAt: null,
      error: { code },
    })
    await noContainers(name)
  })
})

describe('limits', () => {
  test('of memory end a command with reason oom_killed', async () => {
    expect(await envelope('oom')).toMatchObject({
      status: 200,
      reason: 'oom_killed',
      exitCode: 137,
      state: 'failed',
    })
  })

  test('of processes hold a fork bomb', async () => {
    const [bomb, neighbour] = await Promise.all([envelope('bomb'), envelope('both')])
    expect(neighbour.exitCode).toBe(5)
    expect(bomb.stderr).toMatch(/can't fork/)
    await noContainers('bomb')
  })

  test('of privileges are those of the safe defaults', async () => {
    const { stdout } = await envelope('caps')
    expect(stdout).toContain('CapEff:\t0000000000000000')
    expect(stdout).toContain('NoNewPrivs:\t1')
  })
})

describe('a call past its timeout', () => {
  test('is killed if its command ignores SIGTERM, and gives what it had printed', async () => {
    const answer = await envelope('stubborn')
    expect(answer).toMatchObject({
      status: 504,
      state: 'timed_out',
      reason: 'timed_out',
      exitCode: 137,
      stdout: 'begun\n',
    })
    expect(answer.durationMs).toBeGreaterThanOrEqual(1500)
    await noContainers('stubborn')
  })

  test('lets its command end in its own way within the grace period', async () => {
    const answer = await envelope('graceful')
    expect(answer).toMatchObject({
      status: 504,
      state: 'timed_out',
      exitCode: 7,
      stdout: 'begun\nbye\n',
    })
  })
})

test('a client that goes away stops its container', async () => {
  const leaving = new AbortController()
  const answer = call('forever', {
    signal: leaving.signal,
    headers: { Accept: 'text/event-stream' },
  })
  const { response } = await answer
  await response.body?.getReader().read()
  expect(await findContainers('forever')).toHaveLength(1)
  leaving.abort()
  await noContainers('forever')
})

describe('output', () => {
  test('that is not UTF-8 comes as base64, each stream for itself', async () => {
    expect(await envelope('binary')).toMatchObject({
      stdout: Buffer.from([0x61, 0, 0x62, 0xff, 0xfe]).toString('base64'),
      stdoutEncoding: 'base64',
      stderr: 'plain',
      stderrEncoding: 'utf8',
    })
  })

  test('with NUL comes as text', async () => {
    expect(await envelope('nul')).toMatchObject({ stdout: 'a\0b', stdoutEncoding: 'utf8' })
  })

  test('of 10 MB on one line comes whole as a raw answer', async () => {
    const { response } = await call('long', { headers: { Accept: 'application/octet-stream' } })
    const body = Buffer.from(await response.arrayBuffer())
    expect(body.equals(Buffer.alloc(10_000_000, 'x'))).toBe(true)
  })

  test('of 10 MB on one line fills an envelope to its cap, and the command ends well', async () => {
    const { stdout, truncated, exitCode } = await envelope('long')
    expect([stdout.length, truncated, exitCode]).toEqual([1024 * 1024, true, 0])
  })

  test('of 10 MB on one line comes whole in events', async () => {
    const { response } = await call('long', { headers: { Accept: 'text/event-stream' } })
    const events = (await response.text()).split('\n\n')
    const line = events
      .filter((event) => event.startsWith('event: stdout'))
      .map((event) => event.slice(event.indexOf('data: ') + 6))
      .join('')
    expect(line).toBe('x'.repeat(10_000_000))
    expect(events.at(-2)).toContain('"exitCode":0')
  })

  test('of both streams is kept apart, the last line without a newline too', async () => {
    const answer = await envelope('both')
    expect(answer).toMatchObject({ stdout: 'out\n', stderr: 'err\n', exitCode: 5, state: 'failed' })
    expect((await envelope('echo', { body: 'no newline' })).stdout).toBe('no newline')
  })

  test('that a command closes does not hide how it ends', async () => {
    expect(await envelope('closed')).toMatchObject({ exitCode: 9, stdout: '' })
  })

  test('comes whole though the command has left most of its input unread', async () => {
    const answer = await envelope('early', { body: 'x'.repeat(5_000_000) })
    expect(answer).toMatchObject({ exitCode: 0, stdout: 'xxxxx' })
  })
})

describe('input', () => {
  test('comes back byte for byte', async () => {
    const bytes = new Uint8Array(3_000_000).map((_, index) => (index * 7 + (index >> 8)) & 0xff)
    const { response } = await call('echo', {
      body: bytes,
      headers: { Accept: 'application/octet-stream' },
    })
    expect(response.status).toBe(200)
    expect(Buffer.from(await response.arrayBuffer()).equals(Buffer.from(bytes))).toBe(true)
  })

  test('that is missing is an empty one', async () => {
    expect(await envelope('echo')).toMatchObject({ exitCode: 0, stdout: '' })
  })
})

describe('parameters', () => {
  test.each(['it\'s $(id) `id` "quoted" ; rm -rf /', 'two words', '--help', '${{ times }}', '*'])(
    'reach the command as they are: %s',
    async (word) => {
      const { stdout } = await envelope('typed', {
        body: JSON.stringify({ word, times: 2 }),
        headers: { 'Content-Type': 'application/json' },
      })
      expect(stdout).toBe(`say ${word} x2 ${word}\n`)
    },
  )

  test('that are unknown, missing or wrong are told one by one, and nothing runs', async () => {
    await noContainers('typed')
    const { httpStatus, errors } = await problem('typed', { query: '?times=9&other=1' })
    expect(httpStatus).toBe(422)
    expect(errors?.map(({ pointer }) => pointer).sort()).toEqual(['#/other', '#/times', '#/word'])
    expect(await findContainers('typed')).toHaveLength(0)
  })
})

test('a definition that is added, changed and put right is served at once', async () => {
  const write = (yaml: string) => writeFile(join(program.functionsFolder, 'new.yml'), yaml)
  const ask = async () => (await call('new')).response.text()
  await write(shell('echo first'))
  await eventually(ask, (body) => body.includes('first'))
  await write('image: [')
  await eventually(ask, (body) => body.includes('function_broken'))
  await write(shell('echo second'))
  expect(await eventually(ask, (body) => body.includes('second'))).toContain('"exitCode":0')
})

test('200 calls at once are all answered, and leave nothing behind', async () => {
  const answers = await Promise.all(Array.from({ length: 200 }, () => envelope('slow')))
  expect(
    answers.filter(({ exitCode, stdout }) => exitCode === 0 && stdout === 'done\n'),
  ).toHaveLength(200)
  await noContainers('slow')
}, 180_000)
