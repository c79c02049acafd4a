import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { buffer } from 'node:stream/consumers'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { GatedCall } from '../../src/engine/gate.ts'
import {
  GATE,
  createTrailed,
  findHindrance,
  toCallLine,
  toNonceLine,
} from '../../src/engine/gate.ts'

const nonce = '0123456789abcdef'
/** Those that images have: Debian's, Alpine's, and that of the others. The first is always there. */
const SHELLS = [
  { name: 'sh', command: '/bin/sh', before: [] },
  { name: 'bash', command: 'bash', before: [] },
  { name: 'busybox', command: 'busybox', before: ['sh'] },
].filter(({ command }) => spawnSync(command, ['--help']).error === undefined)

interface Opened {
  readonly stdout: Buffer
  readonly stderr: Buffer
  readonly code: number | null
}

/** Opens the gate in a shell of this machine. */
function open(
  { command, before }: (typeof SHELLS)[number],
  call: Partial<GatedCall>,
  environment: NodeJS.ProcessEnv = { PATH: process.env['PATH'] },
  lingerMs = 0,
) {
  const shell = spawn(command, [...before, ...GATE.slice(1)], {
    env: environment,
    // bash behaves as an image's /bin/sh does only by that name.
    ...(command === 'bash' && { argv0: 'sh' }),
  })
  // A command may end without reading its input.
  shell.stdin.on('error', () => {})
  shell.stdin.write(toNonceLine(nonce, lingerMs))
  shell.stdin.write(toCallLine({ environment: {}, argv: ['true'], hasInput: true, ...call }))
  const outputs = Promise.all([buffer(shell.stdout), buffer(shell.stderr), once(shell, 'close')])
  return {
    pid: shell.pid as number,
    stdin: shell.stdin,
    stdout: shell.stdout,
    /** All there is once it has ended, its input open until then. */
    ended: () => collect(),
    async end(input: string | Uint8Array = ''): Promise<Opened> {
      shell.stdin.end(input)
      return collect()
    },
  }

  async function collect(): Promise<Opened> {
    const [stdout, stderr, [code]] = await outputs
    return { stdout, stderr, code: code as number | null }
  }
}

/** What came before the trailer, and what the trailer says. */
function part(stream: Buffer): { before: string; report: unknown } {
  const parts: Buffer[] = []
  const { write, report } = createTrailed(nonce, (chunk) => void parts.push(Buffer.from(chunk)))
  void write(stream)
  return { before: Buffer.concat(parts).toString(), report: report() }
}

const hostile = fc
  .oneof(
    fc.string({ unit: 'binary', maxLength: 300 }),
    fc.string({
      unit: fc.constantFrom(
        "'",
        '"',
        '\\',
        '\n',
        '\r',
        '$',
        '`',
        ';',
        '&',
        ' ',
        '\t',
        '(',
        ')',
        '*',
        'é',
      ),
    }),
    fc.constantFrom(
      '$(id)',
      '`id`',
      "'; exit 9; '",
      '-n',
      '--',
      '$oneshot_nonce',
      '\\n',
      '$$',
      '!!',
      '~',
      '\u007f',
    ),
  )
  .map((value) => value.replaceAll('\0', ''))

describe.each(SHELLS)('the gate in $name', (shell) => {
  test(
    'gives the command its arguments and its environment as they are, whatever they hold',
    { timeout: 30_000 },
    async () => {
      const names = ['VALUE', 'n', 'l', 'p', '_x', 'IFSX']
      await fc.assert(
        fc.asyncProperty(
          fc.array(hostile, { maxLength: 5 }),
          fc.dictionary(fc.constantFrom(...names), hostile),
          async (values, environment) => {
            const script = `for a; do printf '%s\\0' "$a"; done; for k in ${names.join(' ')}; do printenv $k; printf '\\0'; done`
            const argv = ['sh', '-c', script, 'sh', ...values]
            const { stdout, code } = await open(shell, { argv, environment }).end()
            const { before, report } = part(stdout)
            const seen = before.split('\0')
            expect(seen.slice(0, values.length)).toEqual(values.map(wellFormed))
            const variables = seen.slice(values.length, values.length + names.length)
            expect(variables).toEqual(
              names.map((name) => {
                const value = environment[name]
                return value === undefined ? '' : `${wellFormed(value)}\n`
              }),
            )
            expect([report, code]).toEqual([0, 0])
          },
        ),
        { numRuns: 60 },
      )
    },
  )

  test('adds nothing to the environment, and takes nothing away', async () => {
    const environment = { PATH: process.env['PATH'], HOME: '/home', ODD: 'it', OLDPWD: '/old' }
    const { stdout } = await open(
      shell,
      { argv: ['env'], environment: { OLDPWD: '/old', OWN: '1' } },
      environment,
    ).end()
    const lines = part(stdout).before.trimEnd().split('\n').sort()
    expect(lines).toEqual(
      ['HOME=/home', 'ODD=it', 'OLDPWD=/old', 'OWN=1', `PATH=${process.env['PATH']}`].sort(),
    )
  })

  test('sets what shells keep to themselves, or tells ahead that it can’t', async () => {
    const names = 'IFS UID PPID RANDOM SECONDS OPTIND GROUPS BASHPID BASH_ENV ENV PS1 PS4 HOSTNAME'
    const settable = names
      .split(' ')
      .filter((name) => !findHindrance({ argv: ['a'], environment: { [name]: '' } }, undefined))
    expect(settable).toEqual(['IFS', 'BASH_ENV', 'ENV', 'PS1', 'PS4', 'HOSTNAME'])
    const variables = Object.fromEntries(settable.map((name) => [name, 'T']))
    const environment = { ...variables, PATH: process.env['PATH'] ?? '' }
    const { stdout } = await open(shell, { argv: ['env'], environment }, environment).end()
    const lines = part(stdout).before.trimEnd().split('\n').sort()
    const expected = Object.entries(environment).map(([name, value]) => `${name}=${value}`)
    expect(lines).toEqual(expected.sort())
  })

  test.each([0, 1, 3, 126, 127, 255])('tells exit code %i on both streams', async (code) => {
    const script = `echo out; echo err >&2; exit ${code}`
    const opened = await open(shell, { argv: ['sh', '-c', script] }).end()
    expect(part(opened.stdout)).toEqual({ before: 'out\n', report: code })
    expect(part(opened.stderr)).toEqual({ before: 'err\n', report: code })
    expect(opened.code).toBe(code)
  })

  test.each([
    ['KILL', 137],
    ['TERM', 143],
    ['SEGV', 139],
  ])('tells of a command that %s ended', async (signal, code) => {
    const opened = await open(shell, { argv: ['sh', '-c', `kill -${signal} $$`] }).end()
    expect(part(opened.stdout)).toEqual({ before: '', report: code })
    expect(part(opened.stderr)).toEqual({ before: '', report: code })
  })

  test.each(['nosuch', '/nosuch', '/etc', './nosuch'])(
    'tells that there is no command %s',
    async (name) => {
      const { stdout, code } = await open(shell, { argv: [name] }).end()
      expect([part(stdout).report, code]).toEqual(['not_found', 127])
    },
  )

  test('runs programs, not builtins', async () => {
    const { stdout } = await open(shell, { argv: ['exit', '3'] }).end()
    expect(part(stdout).report).toBe('not_found')
  })

  test('leaves the rest of the input to the command, byte for byte', async () => {
    const input = Buffer.from(Array.from({ length: 300_000 }, (_, index) => (index * 31) & 0xff))
    const { stdout } = await open(shell, { argv: ['cat'] }).end(input)
    expect(stdout.subarray(0, input.length).equals(input)).toBe(true)
    expect(part(stdout.subarray(input.length))).toEqual({ before: '', report: 0 })
  })

  test('gives a command without input nothing to read, and does not wait for the end of it', async () => {
    const argv = ['sh', '-c', 'cat; readlink /proc/$$/fd/0']
    const { stdout } = await open(shell, { argv, hasInput: false }).ended()
    expect(part(stdout)).toEqual({ before: '/dev/null\n', report: 0 })
  })

  test('outlasts its report as long as it is told to, unless it is signalled', async () => {
    const gate = open(shell, { argv: ['true'] }, undefined, 120_000)
    const isOver = gate.ended().then(() => true)
    const [report] = (await once(gate.stdout, 'data')) as [Buffer]
    expect(part(report)).toEqual({ before: '', report: 0 })
    // Its second process is asleep by the time that a third one is there.
    const children = `/proc/${gate.pid}/task/${gate.pid}/children`
    await expect.poll(() => readFileSync(children, 'utf8').trim()).not.toBe('')
    expect(await Promise.race([isOver, Promise.resolve(false)])).toBe(false)
    process.kill(gate.pid, 'SIGTERM')
    await gate.ended()
  })

  test.each(['KILL', 'TERM'])('does not outlast a command that %s ended', async (signal) => {
    const argv = ['sh', '-c', `kill -${signal} $$`]
    const { stdout, code } = await open(shell, { argv }, undefined, 120_000).end()
    expect(part(stdout).report).toBe(code)
  })

  test.each(['TERM', 'HUP', 'USR1', 'USR2'] as const)(
    'hands SIG%s on, and waits for the command’s own end',
    async (signal) => {
      const script = `trap 'echo caught; exit 9' ${signal}; echo ready; while :; do sleep 0.02; done`
      const gate = open(shell, { argv: ['sh', '-c', script] })
      await once(gate.stdout, 'data')
      process.kill(gate.pid, `SIG${signal}`)
      const { stdout } = await gate.end()
      expect(part(stdout)).toEqual({ before: 'ready\ncaught\n', report: 9 })
    },
  )

  test('outlasts a signal that the command shrugs off', async () => {
    const script = `trap 'echo caught' USR1; echo ready; read line; echo "$line"; exit 4`
    const gate = open(shell, { argv: ['sh', '-c', script] })
    await once(gate.stdout, 'data')
    process.kill(gate.pid, 'SIGUSR1')
    const { stdout } = await gate.end('go\n')
    expect(part(stdout).report).toBe(4)
  })

  test('ends without a word if no call comes', async () => {
    const { command, before } = shell
    const { status, stdout } = spawnSync(command, [...before, ...GATE.slice(1)], { input: '' })
    expect([status, String(stdout)]).toEqual([0, ''])
  })

  test.each([
    ['nothing more', ''],
    [
      'part of a call',
      toCallLine({ environment: {}, argv: ['echo', 'ran'], hasInput: true }).trim(),
    ],
  ])('runs nothing, and says so, if its input ends with %s', (_, line) => {
    const { command, before } = shell
    const input = `${toNonceLine(nonce)}${line}`
    const { status, stdout, stderr } = spawnSync(command, [...before, ...GATE.slice(1)], { input })
    for (const stream of [stdout, stderr]) {
      expect(part(stream)).toEqual({ before: '', report: 'never_ran' })
    }
    expect(status).toBe(0)
  })

  test('takes a value of 100 KB, the hardest to quote', { timeout: 30_000 }, async () => {
    const value = "'\n".repeat(50_000)
    const argv = ['sh', '-c', 'printf %s "$BIG" | wc -c']
    const { stdout } = await open(shell, { argv, environment: { BIG: value } }).end()
    const { before, report } = part(stdout)
    expect([Number(before), report]).toEqual([value.length, 0])
  })
})

describe('a trailer', () => {
  test('is found wherever the stream is cut, and what stands before it is whole', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 60 }),
        fc.integer({ min: 0, max: 255 }),
        fc.array(fc.nat(100)),
        (output, code, cuts) => {
          const wire = Buffer.concat([output, Buffer.from(`${nonce}:${code}\nignored`)])
          const got: Buffer[] = []
          const { write, report } = createTrailed(
            nonce,
            (chunk) => void got.push(Buffer.from(chunk)),
          )
          let at = 0
          for (const cut of [...cuts.sort((a, b) => a - b), wire.length]) {
            void write(wire.subarray(at, Math.max(at, cut)))
            at = Math.max(at, Math.min(cut, wire.length))
          }
          expect(Buffer.concat(got).equals(Buffer.from(output))).toBe(true)
          expect(report()).toBe(code)
        },
      ),
    )
  })

  test('that lacks its newline is one once the stream has ended', async () => {
    const got: Buffer[] = []
    const trailed = createTrailed(nonce, (chunk) => void got.push(Buffer.from(chunk)))
    await trailed.write(Buffer.from(`said${nonce}:17`))
    expect(trailed.report()).toBeUndefined()
    await trailed.flush()
    expect([trailed.report(), Buffer.concat(got).toString()]).toEqual([17, 'said'])
  })

  test('of another call, or half of ours, is output', async () => {
    const got: Buffer[] = []
    const trailed = createTrailed(nonce, (chunk) => void got.push(Buffer.from(chunk)))
    const fake = `fedcba9876543210:0\n${nonce.slice(0, 10)} ${nonce}`
    await trailed.write(Buffer.from(fake))
    expect(trailed.report()).toBeUndefined()
    await trailed.flush()
    expect(Buffer.concat(got).toString()).toBe(fake)
  })
})

test.each([
  [{ argv: [], environment: {} }, undefined, /no command/],
  [{ argv: ['-x'], environment: {} }, undefined, /hyphen/],
  [{ argv: ['a'], environment: { 'no-name': '' } }, undefined, /"no-name"/],
  [{ argv: ['a'], environment: {} }, 'SIGINT', /SIGINT/],
])('what no shell can do is told ahead: %o', (call, stopSignal, reason) => {
  expect(findHindrance(call, stopSignal)).toMatch(reason)
  expect(findHindrance({ argv: ['a'], environment: { A: '' } }, 'SIGTERM')).toBeUndefined()
})

/** As it is once it has been UTF-8. */
function wellFormed(value: string): string {
  return Buffer.from(value).toString()
}
