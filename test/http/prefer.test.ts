import { describe, expect, test } from 'vitest'
import { parsePrefer } from '../../src/http/prefer.ts'
import { exited, getJson, watchWaiting } from './asynchronous.ts'
import { post, send, serve } from './serve.ts'

const none = { respondAsync: false, waitSeconds: undefined }

describe('a Prefer header', () => {
  test.each([
    ['respond-async', { respondAsync: true, waitSeconds: undefined }],
    ['Respond-Async', { respondAsync: true, waitSeconds: undefined }],
    ['respond-async=""', { respondAsync: true, waitSeconds: undefined }],
    ['respond-async; foo="a,b"', { respondAsync: true, waitSeconds: undefined }],
    ['wait=10', { respondAsync: false, waitSeconds: 10 }],
    ['WAIT = "10"', { respondAsync: false, waitSeconds: 10 }],
    ['wait=0', { respondAsync: false, waitSeconds: 0 }],
    ['wait=5, wait=9', { respondAsync: false, waitSeconds: 5 }],
    ['respond-async, wait=10', { respondAsync: true, waitSeconds: 10 }],
    [',, return=minimal ,wait=3 ; x=y,', { respondAsync: false, waitSeconds: 3 }],
    ['wait=99999999999999999999', { respondAsync: false, waitSeconds: 1e20 }],
  ])('%s is understood', (header, expected) => {
    expect(parsePrefer(header)).toEqual(expected)
  })

  test.each([
    undefined,
    '',
    'wait',
    'wait=',
    'wait=-1',
    'wait=1.5',
    'wait=1e3',
    'wait=ten',
    'wait=5 6',
    'wait="5',
    'respond-async=no',
    'respond-asynchronously',
    'note="a, respond-async, wait=3"',
    'note="a \\", respond-async"',
    'note="never closed, respond-async',
    '=,;"',
  ])('%s asks for nothing', (header) => {
    expect(parsePrefer(header)).toEqual(none)
  })

  test('of many characters is read in no time', () => {
    const before = performance.now()
    for (const part of [' ', '"\\', '"\\"', ';"', ', ', 'a=', '"",', 'a="b";']) {
      parsePrefer(part.repeat(16_000 / part.length))
    }
    expect(performance.now() - before).toBeLessThan(500)
  })
})

describe('Prefer: wait=N', () => {
  test('is answered in full if the call ends in time', async () => {
    const { url, next } = await serve()
    const answer = post(`${url}/function/test`, 'in', { Prefer: 'wait=30', 'X-Call-Id': 'mine' })
    const { io, end } = await next()
    await io.stdout(Buffer.from('out'))
    end(exited(3))
    const { status, headers, body } = await answer
    expect(status).toBe(200)
    expect(headers).toMatchObject({
      'preference-applied': 'wait=30',
      'x-call-id': 'mine',
      'x-oneshot-exit-code': '3',
    })
    expect(headers).not.toHaveProperty('location')
    expect(JSON.parse(String(await body()))).toMatchObject({ stdout: 'out', exitCode: 3 })
  })

  test('is answered 202 when the time is up, and the call goes on', async () => {
    const { url, next } = await serve()
    const answer = post(`${url}/function/test`, '', { Prefer: 'wait=1' })
    const { stop, end } = await next()
    const { status, headers } = await answer
    expect(status).toBe(202)
    expect(headers).toMatchObject({ 'preference-applied': 'wait=1', 'retry-after': '1' })
    expect(stop.aborted).toBe(false)
    end(exited(0))
    expect(await getJson(`${url}${headers.location}?wait=30`)).toMatchObject({ state: 'succeeded' })
  })

  test('wait=0 is answered 202 at once', async () => {
    const { url } = await serve()
    expect((await post(`${url}/function/test`, '', { Prefer: 'wait=0' })).status).toBe(202)
  })

  test('of more than a day waits, and says for how long at most', async () => {
    const { url, next } = await serve()
    const answer = post(`${url}/function/test`, '', { Prefer: 'wait=99999999999' })
    ;(await next()).end(exited(0))
    const { status, headers } = await answer
    expect([status, headers['preference-applied']]).toEqual([200, 'wait=86400'])
  })

  test('is honoured on /async-function as well', async () => {
    const { url, next } = await serve()
    const answer = post(`${url}/async-function/test`, '', { Prefer: 'wait=30' })
    ;(await next()).end(exited(0))
    expect((await answer).status).toBe(200)
  })

  test('does not stop the call of a client that leaves, nor is it waited for any more', async () => {
    const { url, next, live } = await serve()
    const { waiting, left } = watchWaiting(live)
    const sent = send(`${url}/function/test`, { Prefer: 'wait=3600', 'Content-Length': 0 })
    const { stop, task, end } = await next()
    await waiting
    sent.abort()
    expect(await left()).toBeGreaterThan(0)
    expect(stop.aborted).toBe(false)
    end(exited(0))
    const status = await getJson(`${url}/invocations/${task.invocationId}?wait=30`)
    expect(status).toMatchObject({ state: 'succeeded' })
  })
})

test('a preference that can not be understood leaves a call as it is', async () => {
  const { url, next } = await serve()
  const sent = send(`${url}/function/test`, { Prefer: 'wait=soon', 'Content-Length': 0 })
  const { stop, end } = await next()
  const stopped = new Promise((resolve) => stop.addEventListener('abort', resolve))
  sent.abort()
  await stopped
  expect(stop.reason).toBe('cancelled')
  end({ kind: 'stopped', by: 'cancelled', exitCode: 143 })
})
