import type { OutgoingHttpHeaders } from 'node:http'
import { buffer, text } from 'node:stream/consumers'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { openFunctions } from './open-functions.ts'
import { post, send, serve } from './serve.ts'

/** A gateway on a folder with one file, `filed`. */
async function serveFunctions() {
  const files = { 'filed.yml': 'image: filed' }
  const { catalog, deployed } = await openFunctions(files, { SECRET: 'hunter2hunter2' })
  const gateway = await serve({}, { functions: { catalog, deployed } })

  async function request(
    method: string,
    name: string,
    body: string | Uint8Array = '',
    headers: OutgoingHttpHeaders = {},
  ) {
    const sent = send(
      `${gateway.url}/functions/${name}`,
      { 'Content-Length': Buffer.byteLength(body), ...headers },
      method,
    )
    if (body.length > 0) sent.write(body)
    sent.end()
    const response = await sent.response
    const answer = await text(response)
    return {
      status: response.statusCode,
      headers: response.headers,
      json: (answer === '' ? undefined : JSON.parse(answer)) as Record<string, unknown>,
    }
  }
  return { ...gateway, request, catalog }
}

const yaml = { 'Content-Type': 'application/yaml' }

test('a function is deployed, shown, called, changed and removed', async () => {
  const { request, url, next, engine: _, ...gateway } = await serveFunctions()
  const created = await request('PUT', 'mine', 'image: busybox:1\ndescription: Mine\n', yaml)
  expect(created).toMatchObject({ status: 201, headers: { location: '/functions/mine' } })
  expect(created.json).toEqual({
    name: 'mine',
    state: 'ready',
    origin: 'api',
    updatedAt: '2026-01-02T00:00:00.000Z',
    updatedBy: 'anyone',
    description: 'Mine',
    image: 'busybox:1',
    warnings: [],
    definition: { image: 'busybox:1', description: 'Mine' },
  })
  const shown = await request('GET', 'mine')
  expect(shown.json).toEqual(created.json)
  expect(shown.headers.etag).toBe(created.headers.etag)

  const calling = post(`${url}/function/mine`)
  const task = await next()
  expect(task.task.container.image).toBe('busybox:1')
  task.end({ kind: 'exited', exitCode: 0, oomKilled: false })
  const call = await calling
  expect(call.status).toBe(200)
  await call.body()

  const changed = await request('PUT', 'mine', '{"image": "busybox:2"}', {
    'Content-Type': 'application/json; charset=utf-8',
  })
  expect(changed).toMatchObject({ status: 200, json: { image: 'busybox:2' } })
  expect(changed.headers.location).toBeUndefined()
  expect(gateway.catalog.get('mine').container.image).toBe('busybox:2')

  expect((await request('DELETE', 'mine')).status).toBe(204)
  for (const method of ['GET', 'DELETE']) {
    expect(await request(method, 'mine')).toMatchObject({
      status: 404,
      json: { code: 'function_not_found' },
    })
  }
  expect((await post(`${url}/function/mine`)).status).toBe(404)
})

test('the list tells where functions come from', async () => {
  const { request, url } = await serveFunctions()
  await request('PUT', 'mine', 'image: i')
  const { functions } = (await (await fetch(`${url}/functions`)).json()) as { functions: object[] }
  expect(functions).toEqual([
    { name: 'filed', state: 'ready', origin: 'file', image: 'filed' },
    {
      name: 'mine',
      state: 'ready',
      origin: 'api',
      image: 'i',
      updatedAt: '2026-01-02T00:00:00.000Z',
      updatedBy: 'anyone',
    },
  ])
  expect((await request('GET', 'filed')).json).toMatchObject({ origin: 'file', file: 'filed.yml' })
})

test('a function of a file is neither changed nor removed', async () => {
  const { request } = await serveFunctions()
  const refusal = { status: 409, json: { code: 'function_of_file' } }
  expect(await request('PUT', 'filed', 'image: i')).toMatchObject(refusal)
  expect(await request('DELETE', 'filed')).toMatchObject(refusal)
  expect((await request('GET', 'filed')).json).toMatchObject({ image: 'filed' })
})

test('what is wrong with a definition is told all at once, each with a pointer', async () => {
  const { request } = await serveFunctions()
  const answer = await request('PUT', 'mine', 'image: i\ncomand: x\nvolumes: ["/etc:/e"]\n')
  expect(answer).toMatchObject({
    status: 422,
    headers: { 'content-type': 'application/problem+json' },
    json: {
      code: 'definition_invalid',
      detail: 'Correct the definition: mine:2:1: comand: unknown key: did you mean command?',
      errors: [{ pointer: '#/comand', detail: 'unknown key: did you mean command?' }],
    },
  })
  const beyond = await request('PUT', 'mine', 'image: i\nprivileged: true\nvolumes: ["/srv:/e"]\n')
  const { errors } = beyond.json as { errors: { pointer: string; detail: string }[] }
  expect(errors.map(({ pointer }) => pointer)).toEqual(['#/privileged', '#/volumes/0'])
  expect((await request('GET', 'mine')).status).toBe(404)
})

test('what looks like a secret is masked, and the etag does not tell of it', async () => {
  const { request } = await serveFunctions()
  const source = (value: string) => `image: i\nenvironment: { PASSWORD: ${value} }`
  const { json, headers } = await request('PUT', 'mine', source('hunter3'))
  expect(json['definition']).toEqual({ image: 'i', environment: { PASSWORD: '***' } })
  await request('DELETE', 'mine')
  expect((await request('PUT', 'mine', source('hunter4'))).headers.etag).toBe(headers.etag)
})

test.each(['Bad_Name', 'a.b', 'a'.repeat(64), '%2e%2e%2fetc', 'a%00'])(
  'a function can not be named %s',
  async (name) => {
    const { request } = await serveFunctions()
    expect(await request('PUT', name, 'image: i')).toMatchObject({
      status: 422,
      json: { code: 'definition_invalid' },
    })
  },
)

test.each([
  undefined,
  'application/yaml',
  'application/x-yaml',
  'text/yaml; charset=utf-8',
  'TEXT/PLAIN',
  'application/octet-stream',
  'application/json',
])('a definition is taken as %s', async (type) => {
  const { request } = await serveFunctions()
  const headers = type === undefined ? {} : { 'Content-Type': type }
  expect((await request('PUT', 'mine', '{\n\t"image": "i"\n}', headers)).status).toBe(201)
})

test.each(['application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'image/png'])(
  'a definition is not taken as %s',
  async (type) => {
    const { request } = await serveFunctions()
    const answer = await request('PUT', 'mine', 'image: i', { 'Content-Type': type })
    expect(answer).toMatchObject({ status: 400, json: { code: 'bad_request' } })
  },
)

test.each([
  ['bytes that are no UTF-8', new Uint8Array([0x69, 0xff, 0xfe]), 400],
  ['a NUL', 'image: i # \0', 400],
  ['nothing', '', 422],
  ['a list', '- image: i', 422],
  ['two documents', 'image: i\n---\nimage: j', 422],
  [
    'aliases that multiply',
    `a: &a [x, x]\n${'bcdefghij'.replaceAll(
      /./g,
      (it) =>
        `${it}: &${it} [${Array(50)
          .fill(`*${String.fromCharCode(it.charCodeAt(0) - 1)}`)
          .join()}]\n`,
    )}`,
    422,
  ],
  ['levels without end', `image: ${'['.repeat(10_000)}`, 422],
] as const)('%s is refused', async (_, body, status) => {
  const { request } = await serveFunctions()
  expect((await request('PUT', 'mine', body)).status).toBe(status)
})

test('a definition of 256 KiB is taken, and a longer one is not', async () => {
  const { request, url } = await serveFunctions()
  const source = (length: number) => 'image: i\n#'.padEnd(length, 'x')
  expect((await request('PUT', 'mine', source(256 * 1024))).status).toBe(201)
  const tooLong = { status: 413, json: { code: 'input_too_large' } }
  expect(await request('PUT', 'mine', source(256 * 1024 + 1))).toMatchObject(tooLong)
  // Without a length, and without an end.
  const sent = send(`${url}/functions/mine`, {}, 'PUT')
  sent.write(source(256 * 1024 + 1))
  const response = await sent.response
  expect(response.statusCode).toBe(413)
  await buffer(response)
  sent.abort()
})

test('changes can be bound to a version', async () => {
  const { request } = await serveFunctions()
  const put = (image: string, headers: OutgoingHttpHeaders) =>
    request('PUT', 'mine', `image: ${image}`, headers)
  expect((await put('a', { 'If-Match': '*' })).status).toBe(412)
  const first = await put('a', { 'If-None-Match': '*' })
  expect(first.status).toBe(201)
  const etag = first.headers.etag!
  expect(await put('b', { 'If-None-Match': '*' })).toMatchObject({
    status: 412,
    json: { code: 'precondition_failed' },
  })
  expect((await put('b', { 'If-None-Match': `"x", W/${etag}` })).status).toBe(412)
  expect((await put('b', { 'If-Match': `W/${etag}` })).status).toBe(412)
  expect((await put('b', { 'If-Match': 'nonsense' })).status).toBe(412)
  expect((await put('b', { 'If-Match': `"x", ${etag}` })).status).toBe(200)
  expect((await put('c', { 'If-Match': etag })).status).toBe(412)
  expect((await request('DELETE', 'mine', '', { 'If-Match': etag })).status).toBe(412)
  expect((await request('GET', 'mine')).json).toMatchObject({ image: 'b' })
  expect((await request('DELETE', 'mine', '', { 'If-Match': '*' })).status).toBe(204)
})

test('a client that asks first is told to send the definition, unless its type is refused', async () => {
  const { url } = await serveFunctions()
  const ask = (type: string) =>
    send(`${url}/functions/mine`, { 'Content-Type': type, Expect: '100-continue' }, 'PUT')
  const sent = ask('application/yaml')
  await sent.continued
  sent.write('image: i')
  sent.end()
  expect((await sent.response).statusCode).toBe(201)
  const refused = ask('image/png')
  expect((await refused.response).statusCode).toBe(400)
  refused.abort()
})

test('a definition that is packed is refused as such, not as one that is wrong', async () => {
  const { request } = await serveFunctions()
  const put = async (encoding: string) =>
    (await request('PUT', 'mine', 'image: i', { 'Content-Encoding': encoding })).status
  expect(await put('gzip')).toBe(415)
  expect(await put('Identity')).toBe(201)
})

test('other methods are refused', async () => {
  const { request, url } = await serveFunctions()
  expect(await request('POST', 'mine')).toMatchObject({
    status: 405,
    headers: { allow: 'GET, HEAD, PUT, DELETE' },
  })
  const response = await fetch(`${url}/functions`, { method: 'PUT' })
  expect([response.status, response.headers.get('Allow')]).toEqual([405, 'GET, HEAD'])
})

test('the description has what can be answered', async () => {
  const { url } = await serveFunctions()
  const { paths } = (await (await fetch(`${url}/openapi.json`)).json()) as {
    paths: Record<string, Record<string, { responses: object }>>
  }
  const operations = paths['/functions/{name}']!
  expect(Object.keys(operations['put']!.responses).sort()).toEqual(
    ['200', '201', '400', '401', '403', '409', '412', '413', '415', '422', '429', '507'].sort(),
  )
  expect(Object.keys(operations['delete']!.responses).sort()).toEqual(
    ['204', '401', '403', '404', '409', '412', '429'].sort(),
  )
})

test('whatever is sent is taken or refused, and never a fault of the gateway', async () => {
  const { request, logs } = await serveFunctions()
  const key = fc.constantFrom('image', 'volumes', 'networks', 'triggers', 'environment', 'limits')
  const definition = fc
    .dictionary(fc.oneof(key, fc.string()), fc.jsonValue({ maxDepth: 4 }))
    .map((written) => JSON.stringify({ image: 'i', ...written }))
  const body = fc.oneof(definition, fc.string({ unit: 'binary' }), fc.uint8Array())
  await fc.assert(
    fc.asyncProperty(body, async (sent) => {
      const { status } = await request('PUT', 'mine', sent)
      expect([200, 201, 400, 422]).toContain(status)
    }),
    { numRuns: 300 },
  )
  expect(logs.filter(({ level }) => Number(level) >= 50)).toEqual([])
})
