import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { beforeAll, describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import type { Envelope } from '../src/core/envelope.ts'
import { findContainers, noContainers } from './docker/containers.ts'
import { startProgram } from './program.ts'

const functions = {
  quick: 'image: busybox:stable\nnetwork_mode: none\ncommand: [echo, quick]\n',
  slow: 'image: busybox:stable\nnetwork_mode: none\ncommand: [sh, -c, "echo begun; sleep 1.5; echo done"]\n',
  long: `image: busybox:stable
network_mode: none
stop_grace_period: 1s
command: [sh, -c, "trap 'echo bye; exit 0' TERM; echo begun; while :; do sleep 0.1; done"]
`,
}

const post = (url: string, headers: Record<string, string> = {}) =>
  fetch(url, { method: 'POST', headers })
const events = { Accept: 'text/event-stream' }

/** A call that is known to run: its events from then on. */
async function startCall(url: string) {
  const response = await post(url, events)
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
  let seen = ''
  while (!seen.includes('data: begun')) seen += (await reader.read()).value ?? ''
  return {
    async rest(): Promise<string> {
      for (;;) {
        const { done, value } = await reader.read()
        if (done) return seen
        seen += value
      }
    },
  }
}

beforeAll(async () => {
  await noContainers()
})

describe('the whole program', () => {
  test('serves, says what it has, and ends with 0 on SIGTERM', async () => {
    const program = await startProgram({ functions })
    const answer = await post(`${program.url}/function/quick`)
    expect(answer.status).toBe(200)
    expect(await answer.json()).toMatchObject({ exitCode: 0, stdout: 'quick\n' })
    const ready = await fetch(`${program.url}/readyz`)
    expect(await ready.json()).toMatchObject({ status: 'ready', engine: { kind: 'container' } })
    const document = (await (await fetch(`${program.url}/openapi.json`)).json()) as {
      paths: object
    }
    expect(Object.keys(document.paths).sort()).toEqual([
      '/function/{name}',
      '/functions',
      '/functions/{name}',
      '/healthz',
      '/readyz',
    ])
    expect(await program.stop()).toBe(0)
    expect(await findContainers()).toEqual([])
  })

  test('lets a call that runs end well on SIGTERM, and takes no more', async () => {
    const program = await startProgram({ functions })
    const { rest } = await startCall(`${program.url}/function/slow`)
    const stopped = program.stop()
    expect(await rest()).toContain('"stdout":"begun\\ndone\\n"')
    expect(await stopped).toBe(0)
    await expect(fetch(`${program.url}/healthz`)).rejects.toThrow('fetch failed')
    expect(await findContainers()).toEqual([])
  })

  test('stops what still runs at its bound, says so, and leaves nothing behind', async () => {
    const program = await startProgram({ functions, env: { ONESHOT_SHUTDOWN_TIMEOUT: '200ms' } })
    const { rest } = await startCall(`${program.url}/function/long`)
    const stopped = program.stop()
    expect(await rest()).toMatch(/"state":"cancelled".*"stdout":"begun\\nbye\\n"/)
    expect(await stopped).toBe(0)
    expect(await findContainers()).toEqual([])
  })

  test('that was killed has its containers swept away by the next, which finds them by its data folder', async () => {
    const folder = join(
      import.meta.dirname,
      '../node_modules/.cache/oneshot/sweep',
      crypto.randomUUID(),
    )
    const env = { ONESHOT_DATA: folder }
    const killed = await startProgram({ functions, env })
    await startCall(`${killed.url}/function/long`)
    await killed.stop('SIGKILL')
    expect(await findContainers('long')).toHaveLength(1)

    const stranger = await startProgram({ functions })
    expect(await (await post(`${stranger.url}/function/quick`)).json()).toMatchObject({
      exitCode: 0,
    })
    await stranger.stop()
    expect(await findContainers('long')).toHaveLength(1)

    const next = await startProgram({ functions, env })
    await noContainers('long')
    await next.stop()
  })

  test.each([
    [{ ONESHOT_PORT: 'http' }, /^oneshot: ONESHOT_PORT must be a whole number/],
    [
      { ONESHOT_TIMEOUTS: '1s' },
      /^oneshot: ONESHOT_TIMEOUTS is not a setting: did you mean ONESHOT_TIMEOUT\?/,
    ],
    [{ ONESHOT_FUNCTIONS: '/nonexistent' }, /\/nonexistent/],
  ])('does not start with a wrong setting, and names it: %o', async (env, message) => {
    const program = spawn(process.execPath, ['src/main.ts'], {
      cwd: join(import.meta.dirname, '..'),
      env: { ...process.env, ...env },
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    const complaint = text(program.stderr)
    const [code] = (await once(program, 'close')) as [number]
    expect(code).toBe(1)
    expect(await complaint).toMatch(message)
  })

  test('does not start on a data folder that another one uses', async () => {
    const folder = join(
      import.meta.dirname,
      '../node_modules/.cache/oneshot/lock',
      crypto.randomUUID(),
    )
    const env = { ONESHOT_DATA: folder }
    const first = await startProgram({ functions, env })
    await expect(startProgram({ functions, env })).rejects.toThrow(
      /Another gateway is using the data folder/,
    )
    await first.stop()
  })

  test('answers an unreachable engine with 503, and goes on', async () => {
    const program = await startProgram({
      functions,
      env: { DOCKER_HOST: 'unix:///nonexistent.sock' },
    })
    const answer = await post(`${program.url}/function/quick`)
    expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '5'])
    expect(await answer.json()).toMatchObject({ code: 'engine_unreachable' })
    expect((await fetch(`${program.url}/readyz`)).status).toBe(503)
    expect((await fetch(`${program.url}/healthz`)).status).toBe(200)
    expect(await program.stop()).toBe(0)
  })
})

test('every function of the gallery is read without a warning', async () => {
  const program = await startProgram()
  const { functions: listed } = (await (await fetch(`${program.url}/functions`)).json()) as {
    functions: { name: string; state: string }[]
  }
  expect(listed.map(({ name, state }) => `${name} ${state}`)).toEqual(
    ['echo', 'env', 'fail', 'flood', 'hello', 'href-counter', 'sleep'].map(
      (name) => `${name} ready`,
    ),
  )
  for (const { name } of listed) {
    const detail = (await (await fetch(`${program.url}/functions/${name}`)).json()) as Record<
      string,
      unknown
    >
    const file = await readFile(join(program.functionsFolder, `${name}.yml`), 'utf8')
    expect(detail).toMatchObject({ name, warnings: [], definition: parse(file) as object })
    expect(detail['imageDigest']).toMatch(/^sha256:/)
  }
  await program.stop()
})

test('a thousand bytes of the gallery’s flood are a thousand', async () => {
  const program = await startProgram()
  const answer = await post(`${program.url}/function/flood?bytes=1000`)
  expect(((await answer.json()) as Envelope).stdout).toHaveLength(1000)
  await program.stop()
})
