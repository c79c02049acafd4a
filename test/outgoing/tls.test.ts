import tls, { type TLSSocket } from 'node:tls'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { parseAllowList } from '../../src/core/callback-target.ts'
import { createSender } from '../../src/outgoing/send.ts'
import { cert } from './certificate.ts'
import { receive, RECEIVER } from './receiver.ts'

const trusted = tls.getCACertificates('default')
beforeEach(() => tls.setDefaultCACertificates([...trusted, cert]))
afterEach(() => {
  tls.setDefaultCACertificates(trusted)
  vi.unstubAllEnvs()
})

function create() {
  const lookup = () => Promise.resolve([{ address: RECEIVER }])
  const sender = createSender({ allow: parseAllowList(RECEIVER).rules, lookup })
  return { ...sender, [Symbol.asyncDispose]: sender.close }
}

async function receiveSecurely() {
  const names: unknown[] = []
  const receiver = await receive(({ socket }, response) => {
    names.push((socket as TLSSocket).servername)
    response.end('received')
  }, true)
  return Object.assign(receiver, { names })
}

const request = { headers: {}, body: Buffer.from('outcome') }

test.each([
  ['hooks.test', 'hooks.test'],
  ['HOOKS.test.', 'hooks.test'],
  ['a.hooks.test', 'a.hooks.test'],
  [RECEIVER, false],
])('https://%s is verified, and asked for by its name: %j', async (host, name) => {
  await using receiver = await receiveSecurely()
  await using sender = create()
  const url = `https://${host}:${receiver.port}/`
  // What the caller says of the host changes nothing.
  const sent = sender.send({ ...request, url, headers: { host: 'other.test' } })
  expect(await sent).toMatchObject({ status: 200, answer: 'received' })
  expect(receiver.names).toEqual([name])
})

test("a certificate for other names is refused, even if it fits the caller's Host", async () => {
  await using receiver = await receiveSecurely()
  await using sender = create()
  const url = `https://evil.test:${receiver.port}/`
  await expect(sender.send({ ...request, url, headers: { Host: 'hooks.test' } })).rejects.toThrow(
    /^ERR_TLS_CERT_ALTNAME_INVALID: the certificate is for other names$/,
  )
  expect(receiver.received).toEqual([])
})

test.each([undefined, '0'])(
  'a certificate that nobody vouches for is refused, with NODE_TLS_REJECT_UNAUTHORIZED=%s too',
  async (setting) => {
    tls.setDefaultCACertificates(trusted)
    vi.stubEnv('NODE_TLS_REJECT_UNAUTHORIZED', setting)
    await using receiver = await receiveSecurely()
    await using sender = create()
    const url = `https://hooks.test:${receiver.port}/`
    await expect(sender.send({ ...request, url })).rejects.toThrow(/^DEPTH_ZERO_SELF_SIGNED_CERT: /)
    expect(receiver.received).toEqual([])
  },
)

test('what speaks no TLS is told so', async () => {
  await using receiver = await receive((_, response) => response.end())
  await using sender = create()
  const url = `https://hooks.test:${receiver.port}/`
  await expect(sender.send({ ...request, url })).rejects.toThrow(/^(ERR_SSL_|EPROTO|ECONNRESET)/)
})
