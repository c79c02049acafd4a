import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { createTokens } from '../../src/access/jwt.ts'
import { discoverKeys, fetchKeys } from '../../src/access/remote-keys.ts'
import { AUDIENCE, createIssuer } from './credentials.ts'

type Issuer = ReturnType<typeof createIssuer>

/** An issuer's web server, which counts what it is asked for. */
async function startServer(...issuers: Issuer[]) {
  const state = {
    keys: issuers.map(({ jwk }) => jwk) as unknown,
    status: 200,
    text: undefined as string | undefined,
    issuer: '',
    keysUrl: '',
    requests: [] as string[],
  }
  const server = createServer((request, response) => {
    state.requests.push(request.url ?? '')
    const { keys, issuer, keysUrl } = state
    const body = request.url === '/keys' ? { keys } : { issuer, jwks_uri: keysUrl }
    response.writeHead(state.status, { Location: '/elsewhere' })
    response.end(state.text ?? JSON.stringify(body))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const close = async () => {
    server.closeAllConnections()
    server.close()
  }
  onTestFinished(close)
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  state.issuer = url
  state.keysUrl = `${url}/keys`
  return { url, close, state }
}

function start(key: Parameters<typeof createTokens>[0]['key']) {
  const { identify } = createTokens({
    key,
    algorithms: ['EdDSA', 'ES256', 'RS256'],
    audience: AUDIENCE,
    toleranceMs: 0,
    clock: Date.now,
  })
  return async (issuer: Issuer) => identify(await issuer.sign(issuer.claims('read')))
}

const troubles: Error[] = []
const options = { clock: Date.now, onTrouble: (error: Error) => void troubles.push(error) }
const unavailable = { code: 'keys_unavailable', retryAfterSeconds: 5 }

describe('keys from a URL', () => {
  test('are fetched once, when the first token comes', async () => {
    const issuer = createIssuer()
    const { url, state } = await startServer(issuer)
    const identify = start(fetchKeys(new URL(`${url}/keys`), options))
    expect(state.requests).toEqual([])
    const all = await Promise.all(Array.from({ length: 20 }, () => identify(issuer)))
    expect(new Set(all.map(({ name }) => name))).toEqual(new Set(['someone']))
    expect(state.requests).toEqual(['/keys'])
  })

  test('are fetched again for a key id that is new, and those that have gone are refused', async () => {
    const [old, young] = [createIssuer('old'), createIssuer('young')]
    const { url, state } = await startServer(old)
    const identify = start(fetchKeys(new URL(`${url}/keys`), { ...options, cooldownMs: 0 }))
    await identify(old)
    state.keys = [young.jwk]
    expect(await identify(young)).toHaveProperty('name', 'someone')
    await expect(identify(old)).rejects.toMatchObject({ reason: 'key_id_unknown' })
    expect(state.requests).toHaveLength(3)
  })

  test('are not fetched more often for key ids that are made up', async () => {
    const issuer = createIssuer()
    const { url, state } = await startServer(issuer)
    const identify = start(fetchKeys(new URL(`${url}/keys`), options))
    await identify(issuer)
    for (let count = 0; count < 20; count += 1) {
      const made = identify(createIssuer(`made-up-${count}`))
      await expect(made).rejects.toMatchObject({ reason: 'key_id_unknown' })
    }
    expect(state.requests).toEqual(['/keys'])
  })

  test('are fetched anew when they are old', async () => {
    const issuer = createIssuer()
    const { url, state } = await startServer(issuer)
    const identify = start(fetchKeys(new URL(`${url}/keys`), { ...options, keptMs: 0 }))
    await identify(issuer)
    await identify(issuer)
    expect(state.requests).toHaveLength(2)
  })

  test('that can be reached no more are told of as such, and asked for again after a while', async () => {
    const issuer = createIssuer()
    let now = 0
    const { url, state } = await startServer(issuer)
    state.status = 500
    const onTrouble = vi.fn<(error: Error) => void>()
    const clock = () => now
    const identify = start(fetchKeys(new URL(`${url}/keys`), { clock, onTrouble }))
    await expect(identify(issuer)).rejects.toMatchObject(unavailable)
    state.status = 200
    await expect(identify(issuer)).rejects.toMatchObject(unavailable)
    expect(state.requests).toHaveLength(1)
    now = 5000
    expect(await identify(issuer)).toHaveProperty('name', 'someone')
    expect(onTrouble).toHaveBeenCalledOnce()
  })

  test.each<[string, (server: Awaited<ReturnType<typeof startServer>>) => void]>([
    ['not there', ({ close }) => void close()],
    ['a redirect', ({ state }) => (state.status = 302)],
    ['no JSON', ({ state }) => (state.text = '<html>')],
    ['no keys', ({ state }) => (state.text = '{"keys": 1}')],
    [
      'endless',
      ({ state }) =>
        (state.text = JSON.stringify({ keys: state.keys, more: 'x'.repeat(2 * 1024 ** 2) })),
    ],
  ])('are none where the answer is %s', async (_, spoil) => {
    const issuer = createIssuer()
    const server = await startServer(issuer)
    spoil(server)
    const identify = start(fetchKeys(new URL(`${server.url}/keys`), options))
    await expect(identify(issuer)).rejects.toMatchObject(unavailable)
    expect(server.state.requests).not.toContain('/elsewhere')
  })
})

describe('an OpenID Connect issuer', () => {
  test('says where its keys are, and is asked once', async () => {
    const issuer = createIssuer()
    const { url, state } = await startServer(issuer)
    const identify = start(discoverKeys(url, options))
    await Promise.all([identify(issuer), identify(issuer)])
    await identify(issuer)
    expect(state.requests).toEqual(['/.well-known/openid-configuration', '/keys'])
  })

  test.each<[string, (state: Awaited<ReturnType<typeof startServer>>['state']) => void]>([
    ['names another issuer', (state) => (state.issuer = 'https://other.example')],
    ['has its keys come in the clear', (state) => (state.keysUrl = 'http://192.0.2.1/keys')],
    ['names no place', (state) => (state.keysUrl = 'file:///etc/keys')],
    ['is no object', (state) => (state.text = 'null')],
  ])('that %s is not believed', async (_, spoil) => {
    const issuer = createIssuer()
    const { url, state } = await startServer(issuer)
    spoil(state)
    const identify = start(discoverKeys(url, options))
    await expect(identify(issuer)).rejects.toMatchObject(unavailable)
    expect(state.requests).toEqual(['/.well-known/openid-configuration'])
  })

  test('that did not answer is asked again', async () => {
    const issuer = createIssuer()
    const { url, state } = await startServer(issuer)
    let now = 0
    state.status = 503
    const identify = start(discoverKeys(url, { ...options, clock: () => now }))
    await expect(identify(issuer)).rejects.toMatchObject(unavailable)
    state.status = 200
    now = 5000
    expect(await identify(issuer)).toHaveProperty('name', 'someone')
  })
})
