import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import Docker from 'dockerode'
import { afterEach, describe, expect, it } from 'vitest'
import type { Credentials } from '../../src/engine/credentials.ts'
import { createImages } from '../../src/engine/image.ts'

const cleanups: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup()
})

type Answer = (response: ServerResponse, request: IncomingMessage) => void

/** An engine that records what comes over the wire, and answers as told. */
async function startEngine(answer: Answer, options: { stallMs?: number; auth?: object } = {}) {
  const requests: IncomingMessage[] = []
  const server = createServer((request, response) => {
    requests.push(request)
    request.resume()
    answer(response, request)
    server.emit('asked')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const credentials: Credentials = {
    find: async () => options.auth && { serveraddress: 'a.b', ...options.auth },
  }
  const images = createImages({
    docker: new Docker({ host: '127.0.0.1', port, protocol: 'http' }),
    credentials,
    clock: Date.now,
    ...(options.stallMs !== undefined && { stallMs: options.stallMs }),
  })
  cleanups.push(async () => {
    await images.close()
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  })
  return { server, images, requests, asked: () => once(server, 'asked') }
}

const never = new AbortController().signal
const done: Answer = (response) => response.end('{"status":"Pull complete"}\r\n')

describe('over the wire', () => {
  it('a pull carries its credentials in the header alone', async () => {
    const auth = { username: 'ann?>~', password: 'ÿÿ>>>???secret' }
    const { images, requests } = await startEngine(done, { auth })
    await images.pull('a.b:5000/team/app:v1', 'linux/arm64', never)

    const [request] = requests
    const url = new URL(request?.url ?? '', 'http://engine')
    expect(`${request?.method} ${url.pathname}`).toBe('POST /images/create')
    expect(Object.fromEntries(url.searchParams)).toEqual({
      fromImage: 'a.b:5000/team/app',
      tag: 'v1',
      platform: 'linux/arm64',
    })
    expect(request?.headers['content-length']).toBe('0')
    const header = String(request?.headers['x-registry-auth'])
    expect(header).toMatch(/^[\w-]+=*$/)
    expect(header.length % 4).toBe(0)
    expect(JSON.parse(Buffer.from(header, 'base64url').toString())).toEqual({
      serveraddress: 'a.b',
      ...auth,
    })
  })

  it.each([
    ['busybox', 'docker.io/library/busybox', 'latest'],
    ['a.b/c', 'a.b/c', 'latest'],
    [`a.b/c:t@sha256:${'0'.repeat(64)}`, 'a.b/c', `sha256:${'0'.repeat(64)}`],
  ])('%s is asked for by its full name', async (image, fromImage, tag) => {
    const { images, requests } = await startEngine(done)
    await images.pull(image, undefined, never)
    const url = new URL(requests[0]?.url ?? '', 'http://engine')
    expect(Object.fromEntries(url.searchParams)).toEqual({ fromImage, tag })
    expect(requests[0]?.headers).not.toHaveProperty('x-registry-auth')
  })

  it('what can be no name of an image never reaches the engine', async () => {
    const { images, requests } = await startEngine(done)
    for (const image of ['../containers/json', 'a?b', '0'.repeat(64)]) {
      await expect(images.pull(image, undefined, never)).rejects.toMatchObject({
        code: 'image_not_found',
      })
    }
    expect(await images.findDigest('../containers/json')).toBeUndefined()
    expect(requests).toEqual([])
  })
})

describe('the pull policy', () => {
  it('always pulls for each call, and says how long it took', async () => {
    const { images, requests } = await startEngine(done)
    const wanted = { policy: 'always' } as const
    expect(await images.ensure('app', wanted, never)).toEqual({ pullMs: expect.any(Number) })
    await images.ensure('app', wanted, never)
    expect(requests).toHaveLength(2)
  })

  it.each(['missing', 'never'] as const)('%s asks the engine nothing', async (policy) => {
    const { images, requests } = await startEngine(done)
    expect(await images.ensure('app', { policy }, never)).toEqual({})
    expect(requests).toEqual([])
  })
})

describe('callers of one image', () => {
  it('share one pull, however they write its name; another platform is another pull', async () => {
    const held: ServerResponse[] = []
    const { images, requests, asked } = await startEngine((response) => held.push(response))
    const arm = images.pull('app', 'linux/arm64', never)
    await asked()
    const both = [images.pull('app', undefined, never)]
    await asked()
    both.push(images.pull('docker.io/library/app', undefined, never))
    expect(held).toHaveLength(2)
    for (const response of held) done(response, requests[0] as IncomingMessage)
    await Promise.all([arm, ...both])
    expect(requests).toHaveLength(2)
  })

  it('share its failure, and the next one tries again', async () => {
    let answer: Answer = (response) => response.writeHead(500).end('{"message":"boom"}')
    const { images, requests } = await startEngine((...call) => answer(...call))
    const failures = await Promise.allSettled([
      images.pull('app', undefined, never),
      images.pull('app', undefined, never),
    ])
    expect(failures.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    expect(requests).toHaveLength(1)
    answer = done
    await images.pull('app', undefined, never)
    expect(requests).toHaveLength(2)
  })

  it('that gives up ends its own wait at once, and the pull serves the next', async () => {
    const held: ServerResponse[] = []
    const { images, requests, asked } = await startEngine((response) => held.push(response))
    const caller = new AbortController()
    const first = images.pull('app', undefined, caller.signal)
    await asked()
    caller.abort('timed_out')
    await expect(first).rejects.toBe('timed_out')
    await expect(images.pull('app', undefined, caller.signal)).rejects.toBe('timed_out')

    const second = images.pull('app', undefined, never)
    for (const response of held) done(response, requests[0] as IncomingMessage)
    await second
    expect(requests).toHaveLength(1)
  })

  it.each<[string, Answer]>([
    ['begins', () => {}],
    ['runs', (response) => response.write('{"status":"Downloading"}\n')],
  ])(
    'are told of a shutdown while the pull %s, and the engine sees it cancelled',
    async (_, answer) => {
      const { images, requests, asked } = await startEngine(answer)
      const pulling = images.pull('app', undefined, never)
      await asked()
      const cancelled = new Promise((resolve) => requests[0]?.socket.once('close', resolve))
      const closed = images.close()
      await expect(pulling).rejects.toMatchObject({ code: 'shutting_down' })
      await Promise.all([closed, cancelled])
      await expect(images.pull('app', undefined, never)).rejects.toMatchObject({
        code: 'shutting_down',
      })
    },
  )
})

const inHead =
  (status: number, message: string): Answer =>
  (response) =>
    response.writeHead(status).end(JSON.stringify({ message }))
const inStream =
  (message: string): Answer =>
  (response) => {
    response.write('{"status":"Pulling from team/app","id":"v1"}\r\n{"status":"Down')
    response.end(`loading"}\r\n${JSON.stringify({ errorDetail: { message }, error: message })}\r\n`)
  }

describe('a failure', () => {
  it.each([
    ['manifest for a.b/app:v1 not found: manifest unknown: manifest unknown', /check its name/],
    ['a.b/app:v1: not found', /check its name/],
    ['name unknown: repository name not known to registry', /check its name/],
    [
      "pull access denied for app, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
      /docker login a\.b/,
    ],
    ['Head "http://a.b/v2/app/manifests/v1": no basic auth credentials', /docker login a\.b/],
    ['unauthorized: authentication required', /docker login a\.b/],
    [
      'no matching manifest for linux/s390x in the manifest list entries',
      /not made for linux\/s390x/,
    ],
  ])('for want of the image is image_not_found: %s', async (message, detail) => {
    for (const answer of [inHead(500, message), inStream(message)]) {
      const { images } = await startEngine(answer)
      await expect(images.pull('a.b/app:v1', 'linux/s390x', never)).rejects.toMatchObject({
        code: 'image_not_found',
        message: expect.stringMatching(detail),
      })
    }
  })

  it.each([
    'Get "https://a.b/v2/": dial tcp 127.0.0.1:1: connect: connection refused',
    'Get "https://a.b/v2/": dial tcp: lookup a.b on 127.0.0.53:53: no such host',
    'Get "https://a.b/v2/": net/http: TLS handshake timeout',
    'received unexpected HTTP status: 503 Service Unavailable',
    'toomanyrequests: You have reached your pull rate limit. You may increase the limit by authenticating and upgrading',
    'failed to register layer: write /bin/x: no space left on device',
    'open /var/lib/docker/tmp: permission denied',
  ])('for another reason is image_pull_failed: %s', async (message) => {
    for (const answer of [inHead(500, message), inStream(message)]) {
      const { images } = await startEngine(answer)
      await expect(images.pull('a.b/app:v1', undefined, never)).rejects.toMatchObject({
        code: 'image_pull_failed',
        message: expect.stringContaining(message),
      })
    }
  })

  it('is told without the secrets that a URL may hold', async () => {
    const message = 'Get "https://cdn.a.b/blob?X-Signature=secret&x=1": EOF'
    const { images } = await startEngine(inStream(message))
    await expect(images.pull('a.b/app', undefined, never)).rejects.toMatchObject({
      message: expect.stringContaining('Get "https://cdn.a.b/blob": EOF'),
    })
  })

  it.each<[string, Answer]>([
    ['broken off', (response) => response.write('{"status":"x"}\n', () => response.destroy())],
    ['of no JSON', (response) => response.end('<html>')],
    ['of a line without end', (response) => response.end('x'.repeat(2 * 1024 * 1024))],
  ])('shows in an answer %s', async (_, answer) => {
    const { images } = await startEngine(answer)
    await expect(images.pull('app', undefined, never)).rejects.toMatchObject({
      code: 'image_pull_failed',
    })
  })

  it.each<[string, Answer]>([
    ['never', () => {}],
    ['once', (response) => response.write('{"status":"x"}\n')],
  ])('is assumed of a pull that has reported %s, and then nothing for long', async (_, answer) => {
    const { images } = await startEngine(answer, { stallMs: 50 })
    await expect(images.pull('app', undefined, never)).rejects.toMatchObject({
      code: 'image_pull_failed',
      message: expect.stringContaining('nothing came'),
    })
  })

  it('to reach the engine is engine_unreachable, and no digest', async () => {
    const { images, server } = await startEngine(done)
    server.close()
    await once(server, 'close')
    await expect(images.pull('app', undefined, never)).rejects.toMatchObject({
      code: 'engine_unreachable',
    })
    expect(await images.findDigest('app')).toBeUndefined()
    server.listen()
  })
})

describe('the digest of an image', () => {
  const hex = (digit: string) => `sha256:${digit.repeat(64)}`
  const inspected: Answer = (response) =>
    response.end(
      JSON.stringify({
        Id: hex('0'),
        RepoDigests: [
          `c.d/library/app@${hex('4')}`,
          `app@${hex('1')}`,
          `c.d/app@${hex('4')}`,
          `a.b/app@${hex('2')}`,
          `a.b/app@${hex('3')}`,
        ],
      }),
    )

  it.each([
    ['app:v1', hex('1')],
    ['docker.io/library/app', hex('1')],
    ['a.b/app', hex('2')],
    [`a.b/app@${hex('3')}`, hex('3')],
    ['only/here', hex('0')],
    [hex('0'), hex('0')],
  ])('%s is the one that its own repository gives, else its id', async (image, digest) => {
    const { images, requests } = await startEngine(inspected)
    expect(await images.findDigest(image)).toBe(digest)
    expect(requests[0]?.url).toBe(`/images/${image}/json`)
  })

  it('is undefined if the image is not there', async () => {
    const { images } = await startEngine(inHead(404, 'No such image: app'))
    expect(await images.findDigest('app')).toBeUndefined()
  })
})
