import { writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Envelope } from '../../src/core/envelope.ts'
import type { Problem } from '../../src/http/errors.ts'
import type { Program } from '../program.ts'
import { startProgram } from '../program.ts'
import { eventually, noContainers } from './containers.ts'

/** A definition of one shell script; `$` needs no doubling. */
const shell = (script: string, more = '') => `image: busybox:stable
network_mode: none
command: ${JSON.stringify(['sh', '-c', script.replaceAll('$', '$$$$')])}
${more}`

const functions = {
  echo: 'image: busybox:stable\nnetwork_mode: none\ncommand: cat\n',
  broken: 'image: [unclosed',
  misspelt: 'image: busybox:stable\ncomand: ls\n',
  'no-registry': 'image: 127.0.0.1:1/nosuch:1\nnetwork_mode: none\n',
  both: shell('echo out; echo err >&2; exit 5'),
  slow: shell('sleep 0.2; echo done', 'concurrency: 8\ntimeout: 5m'),
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

test('an image that no registry gives keeps a command from starting', async () => {
  expect(await envelope('no-registry')).toMatchObject({
    status: 502,
    state: 'failed',
    reason: 'not_started',
    exitCode: null,
    startedAt: null,
    error: { code: 'image_pull_failed' },
  })
  await noContainers('no-registry')
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
