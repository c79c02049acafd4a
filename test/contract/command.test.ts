import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Gateway } from './gateway.ts'
import { engine, nothingLeft, startGateway } from './gateway.ts'

const busybox = (yaml: string) => `image: busybox:stable\nnetwork_mode: none\n${yaml}`
/** Prints each of its arguments in a pair of brackets. */
const PRINT = `[sh, -c, 'printf "[%s]" "$$@"', sh]`

const functions = {
  coded: busybox(`parameters: { code: { type: integer, required: true } }
command: [sh, -c, 'echo out; echo err >&2; exit "$$code"']
`),
  command: busybox('command: [echo, "a  b", "", "*"]'),
  text: busybox(`command: echo 'a  b' "" *`),
  entrypoint: busybox(`entrypoint: ${PRINT}`),
  both: busybox(`entrypoint: ${PRINT}\ncommand: [-c, "$$x", '{{.Node.ID}}']`),
  // The image says `sh`, which ends at once without input.
  neither: busybox(''),
  typed: busybox(`parameters:
  word: { type: string, required: true }
  times: { type: integer, minimum: 1, maximum: 3, default: 1 }
command: [echo, 'say \${{ word }} x\${{times}}', '\${{ word }}']
`),
  refused:
    busybox(`parameters: { word: { type: string, required: true }, times: { type: integer, maximum: 3 } }
command: 'true'
`),
  environment: busybox(`parameters:
  left: { type: string, required: true }
  right: { type: string, default: '' }
  list: { type: array, items: { type: integer } }
  absent: { type: string }
environment:
  EMPTY: ''
  LINES: "one\\ntwo"
  QUOTED: it's "so" $$HOME
  FILLED: 'a \${{ left }} b'
  SEAM: '\${{ left }}\${{ right }}'
command: [sh, -c, 'for name in EMPTY LINES QUOTED FILLED SEAM left list absent; do eval "printf \\"%s=[%s]\\\\n\\" $$name \\"\\$\${$$name-unset}\\""; done']
`),
  own: busybox('command: env'),
  template: busybox(`environment: { TEMPLATE: 'node {{.Node.Hostname}}' }
command: [sh, -c, 'echo "$$TEMPLATE"']
`),
  'no-image': 'image: oneshot-test/nosuch:1\npull_policy: never\nnetwork_mode: none\n',
  'no-command': busybox('command: [nosuch]'),
  'no-command-input': busybox('command: [nosuch]'),
  'no-execute': busybox('command: [/etc]'),
  'no-folder': busybox('command: [/absent/nosuch]'),
}

let gateway: Gateway
beforeAll(async () => {
  gateway = await startGateway({ functions })
})
afterAll(() => gateway?.stop())

describe.concurrent('an exit code', () => {
  test.each([0, 1, 126, 127, 137, 143, 255])('%i is told', async (exitCode) => {
    const answer = await gateway.envelope('coded', { query: { code: String(exitCode) } })
    expect(answer).toMatchObject({
      status: 200,
      state: exitCode === 0 ? 'succeeded' : 'failed',
      reason: 'exited',
      exitCode,
      stdout: 'out\n',
      stderr: 'err\n',
    })
  })

  test('is 500 as a raw answer, unless it is 0', async () => {
    const headers = { Accept: 'text/plain' }
    const failed = await gateway.call('coded', { query: { code: '3' }, headers })
    expect([failed.status, failed.headers.get('x-oneshot-exit-code')]).toEqual([500, '3'])
    expect(await failed.text()).toBe('out\n')
    const succeeded = await gateway.call('coded', { query: { code: '0' }, headers })
    expect(succeeded.status).toBe(200)
  })
})

test('an answer tells where and when its command ran', async () => {
  const answer = await gateway.envelope('neither')
  expect(answer).toMatchObject({ engine, exitCode: 0, stdout: '' })
  expect(answer.node).not.toBe('')
  const { createdAt, startedAt, finishedAt } = answer
  const times = [createdAt, startedAt ?? '', finishedAt].map((time) => Date.parse(time))
  expect(times.toSorted((a, b) => a - b)).toEqual(times)
})

describe.concurrent('what runs', () => {
  test.each([
    ['command', 'a  b  *\n'],
    ['text', 'a  b  *\n'],
    ['entrypoint', '[]'],
    ['both', '[-c][$x][{{.Node.ID}}]'],
    ['neither', ''],
  ])('is what the definition says, word by word (%s)', async (name, stdout) => {
    expect(await gateway.envelope(name)).toMatchObject({ exitCode: 0, stdout, stderr: '' })
  })
})

describe.concurrent('parameters', () => {
  const hostile = `it's $(id) \`id\` "quoted" ; rm -rf /`
  test.each([hostile, 'two words', '--help', '${{ times }}', '*', '{{.Task.ID}}'])(
    'reach the command as they are: %s',
    async (word) => {
      const { stdout } = await gateway.envelope('typed', {
        body: JSON.stringify({ word, times: 2 }),
        headers: { 'Content-Type': 'application/json' },
      })
      expect(stdout).toBe(`say ${word} x2 ${word}\n`)
    },
  )

  test('that are unknown, missing or wrong are told one by one, and nothing runs', async () => {
    const { status, errors } = await gateway.problem('refused', { query: '?times=9&other=1' })
    expect(status).toBe(422)
    expect(errors?.map(({ pointer }) => pointer).sort()).toEqual(['#/other', '#/times', '#/word'])
    await nothingLeft('refused')
  })
})

describe.concurrent('the environment', () => {
  const print = async (parameters: Readonly<Record<string, unknown>>) => {
    const body = JSON.stringify(parameters)
    const headers = { 'Content-Type': 'application/json' }
    return (await gateway.envelope('environment', { body, headers })).stdout
  }

  test('has what the definition says, and the parameters', async () => {
    expect(await print({ left: 'l\n$x', right: "r'", list: [1, 2] })).toBe(
      `EMPTY=[]
LINES=[one
two]
QUOTED=[it's "so" $HOME]
FILLED=[a l
$x b]
SEAM=[l
$xr']
left=[l
$x]
list=[[1,2]]
absent=[unset]
`,
    )
  })

  // Swarm takes variables for templates.
  test.each([
    ['{{.Node.Hostname}}', ''],
    ['{{', '}}'],
    ['{', '{.Node.Hostname}}'],
    ['{{{', '{'],
    ['{{"{{"}}', '{{/* x */}}'],
    ['{{ nosuch', ' }}'],
  ])('takes nothing of a call for a template: %s and %s', async (left, right) => {
    expect(await print({ left, right })).toContain(
      `FILLED=[a ${left} b]\nSEAM=[${left}${right}]\nleft=[${left}]\n`,
    )
  })

  test(`takes a definition's templates ${engine === 'swarm' ? 'as a swarm does' : 'for text'}`, async () => {
    const { stdout, node } = await gateway.envelope('template')
    expect(stdout).toBe(`node ${engine === 'swarm' ? node : '{{.Node.Hostname}}'}\n`)
  })

  test('tells a command whose call it is', async () => {
    const { stdout, id } = await gateway.envelope('own')
    expect(stdout.split('\n')).toEqual(
      expect.arrayContaining([
        `ONESHOT_INVOCATION_ID=${id}`,
        'ONESHOT_FUNCTION=own',
        'ONESHOT_ATTEMPT=1',
      ]),
    )
  })
})

describe.concurrent('a command that cannot be started', () => {
  test.each([
    ['no-image', 'image_not_found', null],
    ['no-command', 'command_not_found', null],
    ['no-command-input', 'command_not_found', 'input'],
    ['no-execute', 'command_not_found', null],
    ['no-folder', 'command_not_found', null],
  ])('(%s) is answered 502 with the reason %s', async (name, code, body) => {
    const answer = await gateway.envelope(name, { body })
    expect(answer).toMatchObject({
      status: 502,
      state: 'failed',
      reason: 'not_started',
      exitCode: null,
      startedAt: null,
      error: { code },
    })
    await nothingLeft(name)
  })
})
