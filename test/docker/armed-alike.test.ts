import { request } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { once } from 'node:events'
import { buffer } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Envelope } from '../../src/core/envelope.ts'
import { toComparable } from '../comparable.ts'
import type { Program } from '../program.ts'
import { startProgram } from '../program.ts'
import { whenArmed } from './pool.ts'

/** One whose call brings a script for the shell; its body is the script's input. */
const script = `image: busybox:stable
network_mode: none
parameters: { script: { type: string, required: true } }
command: [sh, -c, '\${{ script }}']
`

const definitions = {
  script,
  // Without it a bare command is the container's first process, which no signal ends that it has no trap for.
  init: `${script}init: true\n`,
  small: `${script}mem_limit: 16m\n`,
  hasty: `${script}timeout: 4s\nstop_grace_period: 3s\n`,
  hastier: `${script}timeout: 4s\nstop_grace_period: 500ms\n`,
  bridge: script.replace('none', 'bridge'),
  settings: `${script}user: '1234'
group_add: ['99']
working_dir: /tmp
read_only: true
mem_limit: 64m
shm_size: 1m
ulimits: { nofile: { soft: 100, hard: 200 } }
volumes: [{ type: tmpfs, target: /scratch, tmpfs: { size: 1m } }]
`,
  file: `${script}input: file\n`,
  'file-user': `${script}input: file\nuser: '1234'\n`,
  hostile: `image: busybox:stable
network_mode: none
parameters: { value: { type: string, required: true } }
environment: { VALUE: '\${{ value }}' }
command: [sh, -c, 'printf "%s|" "$$VALUE" "$$@"', sh, '\${{ value }}', 'a \${{ value }} b']
`,
  environment: `image: busybox:stable
network_mode: none
environment: { EMPTY: '', SHLVL: '7', LINES: "one\\ntwo", IFS: ',', PS1: 'it''s' }
command: [env]
`,
  directory: 'image: busybox:stable\nnetwork_mode: none\ncommand: [/etc]\n',
  missing: `image: busybox:stable
network_mode: none
parameters: { name: { type: string, required: true } }
command: ['\${{ name }}', argument]
`,
}

let program: Program
beforeAll(async () => {
  const pairs = Object.entries(definitions).flatMap(([name, yaml]) => [
    [name, `${yaml}warm: 1\n`],
    [toBare(name), `${yaml}warm: 0\n`],
  ])
  program = await startProgram({ functions: Object.fromEntries(pairs) as Record<string, string> })
})
afterAll(() => program?.stop())

type Name = keyof typeof definitions

function toBare(name: string): string {
  return `${name}-bare`
}

type Body = string | Buffer<ArrayBuffer>

interface Call {
  readonly parameters?: Readonly<Record<string, string>>
  readonly body?: Body
  readonly headers?: Readonly<Record<string, string>>
}

async function call(name: string, { parameters = {}, body, headers = {} }: Call) {
  const query = new URLSearchParams(parameters).toString()
  const init = { method: 'POST', headers, ...(body !== undefined && { body }) }
  const response = await fetch(`${program.url}/function/${name}?${query}`, init)
  const { status } = response
  const envelope = (await response.json()) as Envelope
  return { status, start: response.headers.get('x-oneshot-start'), envelope }
}

/** The envelope of a call that found an armed container, which is that of the same call without a gate. */
async function alike(name: Name, given: Call) {
  await whenArmed(program, name)
  const [armed, bare] = await Promise.all([call(name, given), call(toBare(name), given)])
  expect([armed.start, bare.start]).toEqual(['armed', 'cold'])
  expect(armed.status).toBe(bare.status)
  expect(toComparable(armed.envelope)).toEqual(toComparable(bare.envelope))
  return armed.envelope
}

const run = (text: string, body?: Body): Call => ({
  parameters: { script: text },
  ...(body !== undefined && { body }),
})
const bytes = Buffer.from(Array.from({ length: 300_000 }, (_, index) => (index * 31) & 0xff))
const MIB = 1024 ** 2

describe('an armed call gives the same envelope as one without a gate:', () => {
  test.each([0, 1, 3, 126, 127, 128, 130, 137, 143, 255])('exit code %i', async (exitCode) => {
    const envelope = await alike('script', run(`echo out; echo err >&2; exit ${exitCode}`))
    expect(envelope).toMatchObject({ exitCode, stdout: 'out\n', stderr: 'err\n' })
  })

  test.each<[string, string, Body | undefined, Partial<Envelope>]>([
    ['no output', 'true', undefined, { stdout: '', stderr: '' }],
    ['no newline at the end', 'printf a; printf b >&2', undefined, { stdout: 'a', stderr: 'b' }],
    [
      'output that is not UTF-8',
      String.raw`printf 'a\0\377'; printf '\376' >&2`,
      undefined,
      { stdoutEncoding: 'base64', stderrEncoding: 'base64', stderr: '/g==' },
    ],
    [
      '1 MiB on each stream',
      `head -c ${MIB} /dev/zero; head -c ${MIB} /dev/zero | tr '\\0' x >&2`,
      undefined,
      { stdout: '\0'.repeat(MIB), stderr: 'x'.repeat(MIB), truncated: false },
    ],
    [
      'a byte more than an envelope holds',
      `head -c ${MIB + 1} /dev/zero`,
      undefined,
      { stdout: '\0'.repeat(MIB), truncated: true },
    ],
    ['input that comes back', 'cat', bytes, { stdout: bytes.toString('base64') }],
    ['input that is left unread', 'exit 4', bytes, { exitCode: 4 }],
    ['input that is read in part', 'head -c 5', 'x'.repeat(MIB), { stdout: 'xxxxx' }],
    ['no input', 'wc -c', undefined, { stdout: '0\n' }],
    ['where no input comes from', 'readlink /proc/self/fd/0', undefined, { stdout: '/dev/null\n' }],
    ['lines of input', 'read a; read b; echo "$b $a"', 'one\ntwo\n', { stdout: 'two one\n' }],
    [
      'output that looks like a trailer',
      `for i in 1 2; do printf '%s:0\n' 0123456789abcdef0123456789abcdef; done; printf '%s:' ffffffffffffffffffffffffffffffff; exit 5`,
      undefined,
      { exitCode: 5 },
    ],
    ['open files', 'ls /proc/self/fd', undefined, { stdout: '0\n1\n2\n3\n' }],
    [
      'streams closed ahead of the end',
      'echo out; exec >&- 2>&-; sleep 0.3; exit 9',
      undefined,
      { stdout: 'out\n', exitCode: 9 },
    ],
    ['its interfaces', 'ls /sys/class/net', undefined, { stdout: 'lo\n' }],
    [
      'a process that a signal has ended',
      "sh -c 'kill -9 $$'; echo $?",
      undefined,
      { stdout: '137\n', stderr: 'Killed\n' },
    ],
  ])('%s', async (_, text, body, expected) => {
    expect(await alike('script', run(text, body))).toMatchObject({ exitCode: 0, ...expected })
  })

  test.each([
    ['KILL', 137],
    ['TERM', 143],
    ['SEGV', 139],
    ['USR1', 138],
  ])('SIG%s to itself', async (signal, exitCode) => {
    const envelope = await alike('init', run(`echo begun; kill -${signal} $$; sleep 5; echo not`))
    expect(envelope).toMatchObject({ reason: 'exited', exitCode, stdout: 'begun\n' })
  })

  test('out of memory', async () => {
    const envelope = await alike(
      'small',
      run('echo begun; x=xxxxxxxx; while :; do x=$x$x; done 2>/dev/null'),
    )
    expect(envelope).toMatchObject({ reason: 'oom_killed', exitCode: 137, stdout: 'begun\n' })
  })

  test.each([
    [
      'handles',
      'hasty',
      "trap 'echo bye; exit 7' TERM; echo begun; while :; do sleep 0.1; done",
      { exitCode: 7, stdout: 'begun\nbye\n' },
    ],
    [
      'ignores',
      'hastier',
      "trap '' TERM; echo begun; printf half >&2; while :; do sleep 0.1; done",
      { exitCode: 137, stdout: 'begun\n', stderr: 'half' },
    ],
  ] as const)('a timeout of a command that %s SIGTERM', async (_, name, text, expected) => {
    expect(await alike(name, run(text))).toMatchObject({ state: 'timed_out', ...expected })
  })

  test.each(['nosuch', '/nosuch', '/etc', '/etc/passwd', ''])('no command "%s"', async (name) => {
    const envelope = await alike('missing', { parameters: { name } })
    expect(envelope).toMatchObject({
      state: 'failed',
      reason: 'not_started',
      exitCode: null,
      startedAt: null,
    })
    expect(envelope.error?.code).toBe('command_not_found')
  })

  test.each([
    `it's "quoted"`,
    'two\nlines\n',
    '\n',
    '$(id) `id` $HOME ${HOME}',
    "'; exit 9; '",
    '\\n\\\\ %s %d',
    '-n',
    '~ * ? [a] {b,c} !! & | < > ; #',
    'é 漢 \u{1f600} \u007f \r\t',
    '$oneshot_nonce $oneshot_line',
    '',
    `${"'\n".repeat(20_000)}end`,
  ])('the parameter %j', async (value) => {
    const headers = { 'Content-Type': 'application/json' }
    const envelope = await alike('hostile', { body: JSON.stringify({ value }), headers })
    expect(envelope).toMatchObject({ exitCode: 0, stdout: `${value}|${value}|a ${value} b|` })
  })

  test('the environment', async () => {
    await whenArmed(program, 'environment')
    const names = ['environment', toBare('environment')]
    const answers = await Promise.all(names.map((name) => call(name, {})))
    expect(answers.map(({ start }) => start)).toEqual(['armed', 'cold'])
    const own = /^(HOSTNAME|ONESHOT_INVOCATION_ID|ONESHOT_FUNCTION|ONESHOT_ATTEMPT)=.+$/
    const [armed, bare] = answers.map(({ envelope: { stdout } }) =>
      stdout
        .split('\n')
        .map((line) => line.replace(own, '$1'))
        .sort(),
    )
    expect(armed).toEqual(bare)
    expect(armed).toEqual(expect.arrayContaining(['EMPTY=', 'IFS=,', 'HOSTNAME', 'SHLVL=7', 'two']))
  })

  test('the user, the limits, the mounts and the privileges', async () => {
    const envelope = await alike(
      'settings',
      run(`id; pwd; umask; ulimit -a; touch /x; df -k /dev/shm /scratch
grep -E 'Cap|NoNewPrivs|Seccomp' /proc/self/status
cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes memory.max 2>/dev/null`),
    )
    expect(envelope.stdout).toMatch(/^uid=1234 .*\b99\b.*\n\/tmp\n/)
    expect(envelope.stdout).toMatch(/NoNewPrivs:\t1\n[^]*\n67108864\n$/)
    expect(envelope.stderr).toMatch(/Read-only file system/)
  })

  test.each(['file', 'file-user'] as const)('an input read from its file, %s', async (name) => {
    const whole = await alike(name, run('cat "$ONESHOT_INPUT_FILE"', bytes))
    expect(whole).toMatchObject({ exitCode: 0, stdout: bytes.toString('base64') })
    const empty = await alike(name, run('wc -c <"$ONESHOT_INPUT_FILE"'))
    expect(empty).toMatchObject({ exitCode: 0, stdout: '0\n' })
  })

  test('a network', async () => {
    const { stdout } = await alike('bridge', run('ls /sys/class/net; ip route | cut -d " " -f 1-2'))
    expect(stdout).toMatch(/^eth0\nlo\ndefault via\n/)
  })
})

/** All that a raw answer says of a call, times and ids left out. */
async function rawly(name: string, text: string) {
  const query = new URLSearchParams({ script: text }).toString()
  const headers = { Accept: 'application/octet-stream' }
  const url = `${program.url}/function/${name}?${query}`
  const outgoing = request(url, { method: 'POST', headers }).end()
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  const body = await buffer(response).catch(() => 'broken off')
  const ends = { ...response.headers, ...response.trailers }
  const { 'x-oneshot-state': state, 'x-oneshot-exit-code': exitCode } = ends
  const { trailer } = response.headers
  return {
    answer: { status: response.statusCode, state, exitCode, trailer, body },
    start: ends['x-oneshot-start'],
  }
}

describe('an armed call gives the same raw answer as one without a gate:', () => {
  test.each([
    ['a short one', 'printf out; printf err >&2', 200, '0'],
    ['a failure', 'printf out; exit 3', 500, '3'],
    ['one that ends in a trailer', `head -c ${4 * MIB} /dev/zero | tr '\\0' x`, 200, '0'],
  ])('%s', async (_, text, status, exitCode) => {
    await whenArmed(program, 'script')
    const [armed, bare] = await Promise.all([rawly('script', text), rawly('script-bare', text)])
    expect([armed.start, bare.start]).toEqual(['armed', 'cold'])
    expect(armed.answer).toEqual(bare.answer)
    expect(armed.answer).toMatchObject({ status, exitCode })
  })

  test('one that breaks off, since its command has failed', async () => {
    const text = `head -c ${4 * MIB} /dev/zero; exit 3`
    await whenArmed(program, 'script')
    const [armed, bare] = await Promise.all([rawly('script', text), rawly('script-bare', text)])
    expect(armed.answer).toEqual(bare.answer)
    expect(armed.answer).toMatchObject({ status: 200, state: 'running', body: 'broken off' })
  })
})

test('a parameter with NUL is refused, gate or none', async () => {
  const body = JSON.stringify({ value: 'a\0b' })
  const headers = { 'Content-Type': 'application/json' }
  const answers = await Promise.all(
    ['hostile', toBare('hostile')].map((name) => call(name, { body, headers })),
  )
  expect(answers.map(({ status }) => status)).toEqual([422, 422])
})
