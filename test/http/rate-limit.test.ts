import { describe, expect, test } from 'vitest'
import { createRateLimits } from '../../src/http/rate-limit.ts'
import { makeKey } from '../../src/access/key.ts'
import { startAccess } from '../access/credentials.ts'
import { problemOf } from './asynchronous.ts'
import { serve } from './serve.ts'

/** Windows that do not end while a test runs. */
const two = { count: 2, perMs: 3_600_000 }
const none = { perKey: undefined, perAddress: undefined }

async function serveLimited(options: Parameters<typeof serve>[1]) {
  const access = await startAccess({ one: ['admin'], two: ['read'] })
  const served = await serve(
    { isPublic: true },
    { ...options, authenticator: access.authenticator },
  )
  const ask = (path: string, headers: Record<string, string> = {}, method = 'GET') =>
    fetch(`${served.url}${path}`, { method, headers })
  const statuses = async (count: number, ...args: Parameters<typeof ask>) => {
    const found: number[] = []
    for (let each = 0; each < count; each += 1) found.push((await ask(...args)).status)
    return found
  }
  return {
    ...served,
    access,
    ask,
    statuses,
    key: (name: string) => ({ Authorization: access.bearer(name) }),
  }
}

describe('requests', () => {
  test('of a key beyond its rate are refused, with when to come again; those of others are not', async () => {
    const { ask, statuses, key } = await serveLimited({ rates: { ...none, perKey: two } })
    expect(await statuses(2, '/nodes', key('one'))).toEqual([200, 200])
    const answer = await ask('/nodes', key('one'))
    expect(answer.headers.get('retry-after')).toMatch(/^3[56]\d\d$/)
    expect(answer.headers.get('ratelimit-policy')).toBe('"default";q=2;w=3600')
    expect(answer.headers.get('ratelimit')).toMatch(/^"default";r=0;t=\d+$/)
    expect(await problemOf(answer)).toMatchObject({ status: 429, code: 'rate_limited' })
    expect(await statuses(1, '/nodes', key('two'))).toEqual([200])
    // Whether it is alive is answered whatever else is shown.
    expect(await statuses(3, '/healthz', key('one'))).toEqual([200, 200, 200])
  })

  test('without valid credentials are counted by address: wrong ones, none, public functions', async () => {
    const { ask, statuses, key } = await serveLimited({
      rates: { ...none, perAddress: { ...two, count: 4 } },
    })
    const wrong = { Authorization: `Bearer ${makeKey()}` }
    expect(await statuses(1, '/nodes', wrong)).toEqual([401])
    expect(await statuses(1, '/nodes')).toEqual([401])
    expect(await statuses(1, '/openapi.json')).toEqual([200])
    expect(await statuses(2, '/async-function/test', {}, 'POST')).toEqual([202, 429])
    expect((await ask('/nodes', wrong)).status).toBe(429)
    expect(await statuses(1, '/nodes', key('one'))).toEqual([200])
    expect(await statuses(5, '/healthz')).toEqual([200, 200, 200, 200, 200])
  })

  test('are counted by whom a trusted proxy names, and nobody else', async () => {
    const limited = { rates: { ...none, perAddress: two } }
    const behind = await serveLimited({ ...limited, trustedProxies: '127.0.0.0/8' })
    const from = (address: string) => ({ 'X-Forwarded-For': address })
    expect(await behind.statuses(3, '/nodes', from('192.0.2.1'))).toEqual([401, 401, 429])
    expect(await behind.statuses(1, '/nodes', from('192.0.2.2'))).toEqual([401])
    expect(await behind.statuses(3, '/nodes', from('2001:db8::1'))).toEqual([401, 401, 429])
    expect(await behind.statuses(1, '/nodes', from('2001:db8::ffff:2'))).toEqual([429])
    const bare = await serveLimited(limited)
    expect(await bare.statuses(2, '/nodes', from('192.0.2.1'))).toEqual([401, 401])
    expect(await bare.statuses(1, '/nodes', from('192.0.2.2'))).toEqual([429])
  })
})

test('however many addresses come, so many are told apart; the others share one count, until the first are forgotten', async () => {
  let now = 0
  const limits = createRateLimits({ ...none, perAddress: two, clock: () => now, maxCounted: 3 })
  const outgoing = { setHeader: () => outgoing } as unknown as Parameters<
    typeof limits.byAddress
  >[1]
  const ask = (address: string) =>
    limits.byAddress(address, outgoing).then(
      () => 'taken',
      (error: { code: string }) => error.code,
    )
  for (const address of ['192.0.2.1', '192.0.2.2', '192.0.2.3'])
    expect(await ask(address)).toBe('taken')
  expect(await ask('198.51.100.1')).toBe('taken')
  expect(await ask('198.51.100.2')).toBe('taken')
  expect(await ask('198.51.100.3')).toBe('rate_limited')
  expect(await ask('192.0.2.1')).toBe('taken')
  now = two.perMs
  expect(await ask('198.51.100.3')).toBe('taken')
})

test('a key has a rate of its own, if it says so', async () => {
  const limits = createRateLimits({ perKey: two, perAddress: undefined, clock: () => 0 })
  const outgoing = { setHeader: () => outgoing } as unknown as Parameters<typeof limits.byCaller>[1]
  const caller = { kind: 'key', name: 'a', scopes: [], rate: { count: 1, perMs: 60_000 } } as const
  await limits.byCaller(caller, outgoing)
  await expect(limits.byCaller(caller, outgoing)).rejects.toMatchObject({ code: 'rate_limited' })
  // A token whose subject has the same name is somebody else.
  await limits.byCaller({ ...caller, kind: 'token' }, outgoing)
})
