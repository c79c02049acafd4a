import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile } from 'node:fs/promises'
import type { AddressInfo, Socket } from 'node:net'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { beforeAll, describe, expect, test, vi } from 'vitest'
import { parse } from 'yaml'
import type { Envelope } from '../src/core/envelope.ts'
import { findContainers, noContainers } from './docker/containers.ts'
import { ACCESS } from '../src/http/access.ts'
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

const temporaryFolder = (name: string) =>
  join(import.meta.dirname, '../node_modules/.cache/oneshot', name, crypto.randomUUID())

beforeAll(async () => {
  await noContainers()
})

describe('the whole program', () => {
  test('serves, says what it has, and ends with 0 on SIGTERM', async () => {
    await using program = await startProgram({ functions })
    const answer = await post(`${program.url}/function/quick`)
    expect(answer.status).toBe(200)
    expect(await answer.json()).toMatchObject({ exitCode: 0, stdout: 'quick\n' })
    const ready = await fetch(`${program.url}/readyz`)
    expect(await ready.json()).toMatchObject({ status: 'ready', engine: { kind: 'container' } })
    const document = (await (await fetch(`${program.url}/openapi.json`)).json()) as {
      paths: object
    }
    const described = Object.keys(ACCESS).map((route) => route.replace(/^\w+ /, ''))
    const paths = new Set(described.filter((path) => path !== '/openapi.json'))
    expect(Object.keys(document.paths).sort()).toEqual([...paths].sort())
    expect(await program.stop()).toBe(0)
    expect(await findContainers()).toEqual([])
  })

  test('lets a call that runs end well on SIGTERM, and takes no more', async () => {
    await using program = await startProgram({ functions })
    const { rest } = await startCall(`${program.url}/function/slow`)
    const stopped = program.stop()
    expect(await rest()).toContain('"stdout":"begun\\ndone\\n"')
    expect(await stopped).toBe(0)
    await expect(fetch(`${program.url}/healthz`)).rejects.toThrow('fetch failed')
    expect(await findContainers()).toEqual([])
  })

  test('stops what still runs at its bound, says so, and leaves nothing behind', async () => {
    await using program = await startProgram({
      functions,
      env: { ONESHOT_SHUTDOWN_TIMEOUT: '200ms' },
    })
    const { rest } = await startCall(`${program.url}/function/long`)
    const stopped = program.stop()
    expect(await rest()).toMatch(/"state":"cancelled".*"stdout":"begun\\nbye\\n"/)
    expect(await stopped).toBe(0)
    expect(await findContainers()).toEqual([])
  })

  test('that was killed has its calls taken up by the next, which finds them by its data folder', async () => {
    const env = { ONESHOT_DATA: temporaryFolder('sweep') }
    const killed = await startProgram({ functions, env })
    await startCall(`${killed.url}/function/long`)
    await killed.stop('SIGKILL')
    expect((await findContainers('long')).length).toBeGreaterThan(0)

    const stranger = await startProgram({ functions })
    expect(await (await post(`${stranger.url}/function/quick`)).json()).toMatchObject({
      exitCode: 0,
    })
    await stranger.stop()
    expect((await findContainers('long')).length).toBeGreaterThan(0)

    const next = await startProgram({ functions, env })
    const page = await (await fetch(`${next.url}/invocations?function=long`)).json()
    const { invocations } = page as { invocations: readonly { id: string; state: string }[] }
    expect(invocations).toMatchObject([{ state: 'running', mode: 'sync' }])
    const cancelled = await post(`${next.url}/invocations/${invocations[0]?.id}/cancel`)
    expect(await cancelled.json()).toMatchObject({ state: 'cancelled' })
    await noContainers('long')
    await next.stop()
  })

  test.each([
    [{ ONESHOT_PORT: 'http' }, /^oneshot: ONESHOT_PORT must be a whole number/],
    [
      { ONESHOT_TIMEOUTS: '1s' },
      /^oneshot: ONESHOT_TIMEOUTS is not a setting: did you mean ONESHOT_TIMEOUT\?/,
    ],
    [{ ONESHOT_FUNCTIONS: '/nonexistent' }, /^oneshot: ONESHOT_FUNCTIONS .*\/nonexistent.*\n$/],
    [{ ONESHOT_DATA: '/dev/null/data' }, /^oneshot: ONESHOT_DATA .*\/dev\/null\/data.*\n$/],
    [{ ONESHOT_HOST: '192.0.2.1' }, /^oneshot: ONESHOT_HOST=192\.0\.2\.1 .*anyone could call.*\n$/],
    [
      { ONESHOT_HOST: '192.0.2.1', ONESHOT_INSECURE: 'true' },
      /oneshot: ONESHOT_HOST .*EADDRNOTAVAIL.*192\.0\.2\.1.*\n$/,
    ],
    [{ ONESHOT_API_KEYS_FILE: '/nowhere' }, /^oneshot: \/nowhere: is not there\n$/],
    [
      { ONESHOT_DEPLOY_POLICY: '/nonexistent' },
      /^oneshot: ONESHOT_DEPLOY_POLICY .*\/nonexistent is not there\n$/,
    ],
  ])('does not start with a wrong setting, and names it: %o', async (env, message) => {
    const program = spawn(process.execPath, ['src/start.js'], {
      cwd: join(import.meta.dirname, '..'),
      env: { ...process.env, ONESHOT_PORT: '0', ONESHOT_DATA: temporaryFolder('start'), ...env },
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    const complaint = text(program.stderr)
    const [code] = (await once(program, 'close')) as [number]
    expect(code).toBe(1)
    expect(await complaint).toMatch(message)
  })

  test('does not start on a port that is taken, and says so in a line', async () => {
    const taken = createServer().listen(0, '127.0.0.1')
    await once(taken, 'listening')
    const { port } = taken.address() as AddressInfo
    const env = { ONESHOT_PORT: String(port) }
    await expect(startProgram({ functions, env })).rejects.toThrow(
      /\noneshot: ONESHOT_HOST or ONESHOT_PORT .*EADDRINUSE.*\n$/,
    )
    taken.close()
  })

  test('ends in good order on a SIGTERM that comes while the engine is silent', async () => {
    const connections: Socket[] = []
    const path = join(await mkdtemp(join(tmpdir(), 'oneshot-')), 'engine.sock')
    const silent = createServer((connection) => connections.push(connection)).listen(path)
    await using program = await startProgram({ functions, env: { DOCKER_HOST: `unix://${path}` } })
    const stopped = program.stop()
    await vi.waitFor(() => {
      expect(program.logs).toContainEqual(expect.objectContaining({ msg: 'shutting down' }))
    })
    for (const connection of connections) connection.destroy()
    silent.close()
    expect(await stopped).toBe(0)
  })

  test('does not start on a data folder that another one uses', async () => {
    const env = { ONESHOT_DATA: temporaryFolder('lock') }
    const first = await startProgram({ functions, env })
    await expect(startProgram({ functions, env })).rejects.toThrow(
      /Another gateway is using the data folder/,
    )
    await first.stop()
  })

  test('sends no callback to the engine that it uses, even where its address is allowed', async () => {
    const engine = createServer((socket) => socket.destroy()).listen(0, '127.0.0.1')
    await once(engine, 'listening')
    const { port } = engine.address() as AddressInfo
    const env = {
      DOCKER_HOST: `tcp://localhost:${port}`,
      ONESHOT_CALLBACK_ALLOW: '127.0.0.1 [::1] localhost',
    }
    await using program = await startProgram({ functions, env })
    const url = `${program.url}/async-function/quick`
    for (const host of ['127.0.0.1', '2130706433']) {
      const refused = await post(url, { 'X-Callback-Url': `http://${host}:${port}/` })
      expect(refused.status).toBe(422)
      expect(await refused.json()).toMatchObject({ code: 'callback_refused' })
    }
    const other = await post(url, { 'X-Callback-Url': `http://127.0.0.1:${port - 1}/` })
    expect(other.status).toBe(202)
    engine.close()
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
