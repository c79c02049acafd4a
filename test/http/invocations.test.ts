import { rm, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test, vi } from 'vitest'
import { Envelope } from '../../src/core/envelope.ts'
import { accept, exited, getJson, problemOf, run, start, watchWaiting } from './asynchronous.ts'
import { post, send, serve } from './serve.ts'

const strange = [
  'nope',
  '%00',
  '%ff',
  'a%2Fb',
  '%F0%9F%92%A5',
  "'--",
  'x'.repeat(4000),
  '%22%0d%0a',
]
const paths = ['', '/result', '/logs'] as const

describe('an id that there is not', () => {
  test.each(strange)('%s is answered 404', async (id) => {
    const { url } = await serve()
    for (const path of paths) {
      const answer = await fetch(`${url}/invocations/${id}${path}`)
      expect(await problemOf(answer)).toMatchObject({ status: 404, code: 'invocation_not_found' })
    }
    for (const path of ['/cancel', '/replay']) {
      const answer = await fetch(`${url}/invocations/${id}${path}`, { method: 'POST' })
      expect(await problemOf(answer)).toMatchObject({ status: 404, code: 'invocation_not_found' })
    }
  })

  test('is not waited for', async () => {
    const { url, live } = await serve()
    const { left } = watchWaiting(live)
    for (const path of ['?wait=9999', '/result?wait=9999', '/logs?follow=true']) {
      expect((await fetch(`${url}/invocations/nope${path}`)).status).toBe(404)
    }
    await left()
  })
})

describe('GET /invocations/ID', () => {
  test('tells what is known of a call that waits, that runs and that has ended', async () => {
    const served = await serve({}, { concurrency: 1 })
    const { url } = served
    const first = await start(served)
    const id = await accept(served, { 'X-Call-Id': 'mine', 'X-Oneshot-Labels': 'a,b' })
    const path = `${url}/invocations/${id}`
    const waiting = await getJson(path)
    expect(waiting).toMatchObject({
      id,
      function: 'test',
      state: 'queued',
      mode: 'async',
      callId: 'mine',
      labels: ['a', 'b'],
      dueAt: expect.any(String) as string,
      attempts: [],
    })
    expect(waiting).not.toHaveProperty('startedAt')
    first.end(exited(0))
    const { end } = await served.next()
    const running = await getJson(path)
    expect(running).toMatchObject({ state: 'running', attempts: [{ number: 1 }] })
    expect(running).not.toHaveProperty('dueAt')
    end(exited(2))
    expect(await getJson(`${path}?wait=30`)).toMatchObject({
      state: 'failed',
      reason: 'exited',
      exitCode: 2,
      node: 'fake',
      start: 'cold',
      durationMs: expect.any(Number) as number,
      history: [{ state: 'queued' }, { state: 'running' }, { state: 'failed' }],
      attempts: [{ number: 1, exitCode: 2 }],
    })
  })

  test('tells where a running call is, and why it has not started, until it has ended', async () => {
    const served = await serve()
    const { id, io, end } = await start(served)
    const path = `${served.url}/invocations/${id}`
    expect(await getJson(path)).not.toHaveProperty('node')
    const waitingFor = 'no suitable node (insufficient resources on 3 nodes)'
    io.progress?.({ waitingFor })
    expect(await getJson(path)).toMatchObject({ state: 'running', waitingFor })
    io.progress?.({ node: 'worker-1' })
    const placed = await getJson(path)
    expect(placed).toMatchObject({ state: 'running', node: 'worker-1' })
    expect(placed).not.toHaveProperty('waitingFor')
    expect(placed).not.toHaveProperty('startedAt')
    io.started?.()
    io.progress?.({ node: 'worker-2', waitingFor: 'its image' })
    const told = {
      node: 'worker-2',
      waitingFor: 'its image',
      startedAt: expect.any(String) as string,
    }
    expect(await getJson(path)).toMatchObject(told)
    expect(await getJson(`${served.url}/invocations`)).toMatchObject({ invocations: [told] })
    end(exited(0))
    const ended = await getJson(`${path}?wait=30`)
    expect(ended).toMatchObject({ state: 'succeeded', node: 'fake' })
    io.progress?.({ waitingFor: 'nothing' })
    expect(await getJson(path)).toEqual(ended)
    expect(ended).not.toHaveProperty('waitingFor')
  })

  test('tells where a call is that waits on the connection', async () => {
    const { url, next } = await serve()
    const answer = post(`${url}/function/test`)
    const { task, io, end } = await next()
    io.progress?.({ node: 'worker-1' })
    expect(await getJson(`${url}/invocations/${task.invocationId}`)).toMatchObject({
      state: 'running',
      node: 'worker-1',
    })
    end(exited(0))
    expect((await answer).status).toBe(200)
  })

  test('waits for the end, and tells of it at once', async () => {
    const served = await serve()
    const { waiting } = watchWaiting(served.live)
    const { id, end } = await start(served)
    const answer = getJson(`${served.url}/invocations/${id}?wait=3600`)
    await waiting
    end(exited(0))
    expect(await answer).toMatchObject({ state: 'succeeded' })
  })

  test('answers with what is so far once it has waited long enough', async () => {
    const served = await serve()
    const { id } = await start(served)
    expect(await getJson(`${served.url}/invocations/${id}?wait=1`)).toMatchObject({
      state: 'running',
    })
    expect(await getJson(`${served.url}/invocations/${id}?wait=0`)).toMatchObject({
      state: 'running',
    })
  })

  test.each(['', '/result'])(
    'of a client that leaves%s is not waited for any more',
    async (path) => {
      const served = await serve()
      const { waiting, left } = watchWaiting(served.live)
      const { id, end, stop } = await start(served)
      const sent = send(`${served.url}/invocations/${id}${path}?wait=3600`, {}, 'GET')
      sent.end()
      await waiting
      sent.abort()
      await left()
      expect(stop.aborted).toBe(false)
      end(exited(0))
    },
  )

  test.each(['abc', '-1', '1.5', '', '99999', '1e3', '1&wait=2'])(
    'refuses to wait for %s seconds, as does its result',
    async (wait) => {
      const served = await serve()
      const id = await accept(served)
      for (const path of ['', '/result']) {
        const answer = await fetch(`${served.url}/invocations/${id}${path}?wait=${wait}`)
        expect(await problemOf(answer)).toMatchObject({
          status: 400,
          code: 'bad_request',
          detail: expect.stringContaining('wait') as string,
        })
      }
    },
  )
})

describe('a result', () => {
  test.each(['application/json', 'text/plain', 'application/octet-stream', 'text/event-stream'])(
    'as %s is the answer that its caller had',
    async (accepted) => {
      const { url, next } = await serve()
      const headers = { Accept: accepted, 'X-Call-Id': 'mine' }
      const answer = post(`${url}/function/test`, '', headers)
      const { task, io, end } = await next()
      await io.stdout(Buffer.from([0xc3]))
      await io.stderr(Buffer.from('err\r\n'))
      await io.stdout(Buffer.from([0xbc, 0x0a, 0x00]))
      end(exited(7))
      const first = await answer
      const result = await fetch(`${url}/invocations/${task.invocationId}/result`, {
        headers: { Accept: accepted },
      })
      expect(result.status).toBe(first.status)
      expect(Buffer.from(await result.arrayBuffer())).toEqual(await first.body())
      const compared = [
        'content-type',
        'x-call-id',
        'x-oneshot-invocation-id',
        'x-oneshot-state',
        'x-oneshot-start',
        'x-oneshot-exit-code',
        'x-duration-seconds',
        'server-timing',
      ]
      const { headers: head, trailers } = first.response
      for (const name of compared) {
        // A stream's head says that the call runs: its end follows in a trailer.
        expect([name, result.headers.get(name)]).toEqual([name, trailers[name] ?? head[name]])
      }
    },
  )

  test('as text/plain is whole however long it is, with the exit code in its head', async () => {
    const served = await serve()
    const out = Buffer.alloc(300_000, 'line\n')
    const id = await run(served, { out, exitCode: 3 })
    const headers = { Accept: 'text/plain' }
    const result = await fetch(`${served.url}/invocations/${id}/result`, { headers })
    expect(result.status).toBe(500)
    expect(result.headers.get('x-oneshot-exit-code')).toBe('3')
    expect(result.headers.get('content-length')).toBe('300000')
    expect(Buffer.from(await result.arrayBuffer()).equals(out)).toBe(true)
  })

  test('of a function with response: raw is raw for a client that does not mind', async () => {
    const served = await serve({ response: 'raw' })
    const id = await run(served, { out: 'raw' })
    const result = await fetch(`${served.url}/invocations/${id}/result`)
    expect(result.headers.get('content-type')).toBe('application/octet-stream')
    expect(await result.text()).toBe('raw')
  })

  test('says so if not all that was printed is on record', async () => {
    const limits = { inputBytes: 10, outputBytes: 100, logBytes: 4 }
    const served = await serve({ limits })
    const id = await run(served, { out: 'abcdef' })
    const result = await fetch(`${served.url}/invocations/${id}/result`)
    expect(result.headers.get('x-oneshot-truncated')).toBe('true')
    expect(Envelope.parse(await result.json())).toMatchObject({ stdout: 'abcd', truncated: true })
    const headers = { Accept: 'text/event-stream' }
    const events = await (await fetch(`${served.url}/invocations/${id}/result`, { headers })).text()
    expect(events).toContain('"truncated":true')
  })

  test.each([
    ['application/json', 'application/json', 'image_not_found', 502],
    ['text/plain', 'application/problem+json', 'image_not_found', 502],
    ['application/json', 'application/json', 'stdin_unsupported', 422],
    ['text/plain', 'application/problem+json', 'input_too_large', 413],
  ] as const)(
    'as %s of a call that was not started tells why',
    async (form, type, code, status) => {
      const served = await serve()
      const { id, end } = await start(served)
      end({ kind: 'not_started', failure: { code, detail: 'no' } })
      const result = await fetch(`${served.url}/invocations/${id}/result?wait=30`, {
        headers: { Accept: form },
      })
      expect([result.status, result.headers.get('content-type')]).toEqual([status, type])
      expect(await result.text()).toContain(code)
    },
  )

  test('of a call that has not ended is 409, and says when to ask again', async () => {
    const served = await serve()
    const { id } = await start(served)
    const result = await fetch(`${served.url}/invocations/${id}/result`)
    expect(result.headers.get('retry-after')).toBe('1')
    expect(await problemOf(result)).toMatchObject({ status: 409, code: 'not_finished' })
  })

  test('in a form that there is not is refused before it is waited for', async () => {
    const served = await serve()
    const { id } = await start(served)
    const headers = { Accept: 'image/png' }
    const result = await fetch(`${served.url}/invocations/${id}/result?wait=3600`, { headers })
    expect(await problemOf(result)).toMatchObject({ status: 406, code: 'not_acceptable' })
  })

  test('is waited for', async () => {
    const served = await serve()
    const { waiting } = watchWaiting(served.live)
    const { id, end } = await start(served)
    const answer = fetch(`${served.url}/invocations/${id}/result?wait=3600`)
    await waiting
    end(exited(0))
    expect(Envelope.parse(await (await answer).json())).toMatchObject({ id, state: 'succeeded' })
  })

  test('of which the output is gone is a fault, and leaves nobody waiting', async () => {
    const served = await serve()
    const id = await run(served, { out: Buffer.alloc(100_000) })
    await rm(join(served.folder, 'outputs', id))
    const path = `${served.url}/invocations/${id}`
    expect(await problemOf(await fetch(`${path}/result`))).toMatchObject({ code: 'internal' })
    const broken = fetch(`${path}/logs`).then((answer) => answer.text())
    await expect(broken).rejects.toThrow(/^(terminated|fetch failed)$/)
  })

  test.each([
    ['application/json', 1],
    ['application/json', 2],
    ['text/plain', 2],
    ['text/event-stream', 1],
  ])(
    'as %s of a call that is forgotten while it is read, at look %i, is answered 404',
    async (accepted, look) => {
      const served = await serve()
      const { store, url } = served
      const id = await run(served, { out: 'some' })
      const { findOutput } = store.invocations
      let looks = 0
      vi.spyOn(store.invocations, 'findOutput').mockImplementation(async (asked) => {
        looks += 1
        if (looks === look) await store.invocations.removeSettledBefore(Infinity, 1)
        return findOutput(asked)
      })
      const headers = { Accept: accepted }
      const answer = await fetch(`${url}/invocations/${id}/result`, { headers })
      expect(await problemOf(answer)).toMatchObject({ status: 404, code: 'invocation_not_found' })
    },
  )

  test('of a call whose file is forgotten while its result is read is answered 404', async () => {
    const served = await serve()
    const { store, spool, url } = served
    const id = await run(served, { out: Buffer.alloc(100_000) })
    const { findOutput } = store.invocations
    let looks = 0
    vi.spyOn(store.invocations, 'findOutput').mockImplementation(async (asked) => {
      const found = await findOutput(asked)
      looks += 1
      if (looks === 2) await spool.remove(await store.invocations.removeSettledBefore(Infinity, 1))
      return found
    })
    const answer = await fetch(`${url}/invocations/${id}/result`)
    expect(await problemOf(answer)).toMatchObject({ status: 404, code: 'invocation_not_found' })
  })

  test('of which some of the output is gone is never taken for a whole one', async () => {
    const served = await serve()
    const { id, io, end } = await start(served)
    const headers = { Accept: 'text/plain' }
    const get = () => fetch(`${served.url}/invocations/${id}/result`, { headers })
    for (let count = 0; count < 20; count += 1) await io.stdout(Buffer.alloc(10_000))
    end(exited(0))
    await getJson(`${served.url}/invocations/${id}?wait=30`)
    const path = join(served.folder, 'outputs', id)
    await truncate(path, 100_000)
    await expect(get().then((answer) => answer.text())).rejects.toThrow(
      /^(terminated|fetch failed)$/,
    )
    await truncate(path, 0)
    expect(await problemOf(await get())).toMatchObject({ status: 500, code: 'internal' })
  })
})

describe('GET /invocations', () => {
  test('pages through all of them, newest first, each once', async () => {
    const served = await serve()
    const ids: string[] = []
    for (let count = 0; count < 7; count += 1) ids.push(await accept(served))
    const seen: string[] = []
    const sizes: number[] = []
    for (let cursor: string | undefined = ''; cursor !== undefined;) {
      const page = await getJson(`${served.url}/invocations?limit=3&cursor=${cursor}`)
      const found = (page['invocations'] as { id: string }[]).map(({ id }) => id)
      seen.push(...found)
      sizes.push(found.length)
      cursor = page['next'] as string | undefined
    }
    expect(seen).toEqual(ids.sort().toReversed())
    expect(sizes).toEqual([3, 3, 1])
  })

  test('names no next page after the last, however full that is', async () => {
    const served = await serve()
    await accept(served)
    await accept(served)
    expect(await getJson(`${served.url}/invocations?limit=2`)).not.toHaveProperty('next')
  })

  test('takes function, state and label together', async () => {
    const served = await serve()
    const done = await run(served, {}, { 'X-Oneshot-Labels': 'a,b' })
    const running = (await start(served, { 'X-Oneshot-Labels': 'a' })).id
    const find = async (query: string) => {
      const { invocations } = await getJson(`${served.url}/invocations?${query}`)
      return (invocations as { id: string }[]).map(({ id }) => id).sort()
    }
    expect(await find('function=test')).toEqual([done, running].sort())
    expect(await find('function=other')).toEqual([])
    expect(await find('label=a')).toEqual([done, running].sort())
    expect(await find('label=a&state=succeeded')).toEqual([done])
    expect(await find('label=b&function=test&state=running')).toEqual([])
    expect(await find('label=%27%20or%201=1--')).toEqual([])
    expect(await find('state=running&function=test')).toEqual([running])
  })

  test.each([
    ['state=done', 'state'],
    ['state=running&state=queued', 'state'],
    ['limit=0', 'limit'],
    ['limit=1000', 'limit'],
    ['limit=-5', 'limit'],
    ['limit=ten', 'limit'],
    [`cursor=${'x'.repeat(101)}`, 'cursor'],
  ])('refuses %s with a problem that names it', async (query, name) => {
    const { url } = await serve()
    for (const path of name === 'label' ? ['invocations'] : ['invocations', 'deliveries']) {
      const problem = await problemOf(await fetch(`${url}/${path}?${query}`))
      expect(problem).toMatchObject({ status: 400, code: 'bad_request' })
      expect(problem.detail).toMatch(new RegExp(`^Correct the query: ${name} .+\\.$`))
    }
  })
})

describe('POST /invocations/ID/cancel', () => {
  test('stops a call that runs, and answers with its end', async () => {
    const served = await serve()
    const { id, stop, end } = await start(served)
    const answer = getJson(`${served.url}/invocations/${id}/cancel`, { method: 'POST' })
    await new Promise((resolve) => stop.addEventListener('abort', resolve))
    expect(stop.reason).toBe('cancelled')
    end({ kind: 'stopped', by: 'cancelled', exitCode: 143 })
    expect(await answer).toMatchObject({ id, state: 'cancelled', exitCode: 143 })
  })

  test('takes a call that waits out of the queue', async () => {
    const served = await serve({}, { concurrency: 1 })
    const first = await start(served)
    const id = await accept(served)
    const path = `${served.url}/invocations/${id}`
    const init = { method: 'POST' }
    expect(await getJson(`${path}/cancel`, init)).toMatchObject({ state: 'cancelled' })
    const third = await accept(served)
    first.end(exited(0))
    expect((await served.next()).task.invocationId).toBe(third)
    expect((await fetch(`${path}/result`)).status).toBe(503)
    expect(await (await fetch(`${path}/logs`)).text()).toBe('')
  })

  test('of a call that has ended changes nothing, however often', async () => {
    const served = await serve()
    const id = await run(served)
    const before = await getJson(`${served.url}/invocations/${id}`)
    for (let count = 0; count < 2; count += 1) {
      const init = { method: 'POST' }
      expect(await getJson(`${served.url}/invocations/${id}/cancel`, init)).toEqual(before)
    }
  })

  test('ends a call whose caller waits, who is told', async () => {
    const { url, next } = await serve()
    const answer = post(`${url}/function/test`)
    const { task, stop, end } = await next()
    const path = `${url}/invocations/${task.invocationId}/cancel`
    const cancelling = fetch(path, { method: 'POST' })
    await new Promise((resolve) => stop.addEventListener('abort', resolve))
    end({ kind: 'stopped', by: 'cancelled', exitCode: 143 })
    expect((await answer).headers['x-oneshot-state']).toBe('cancelled')
    expect((await cancelling).status).toBe(200)
  })
})

describe('POST /invocations/ID/replay', () => {
  test('makes the same call once more, with its input, parameters and labels', async () => {
    const served = await serve({ parameters: { word: { type: 'string', required: true } } })
    const { url } = served
    const first = await post(`${url}/async-function/test?word=hey`, 'input', {
      'X-Oneshot-Labels': 'a',
      'X-Call-Id': 'first',
    })
    const original = await served.next()
    original.end(exited(1))
    await getJson(`${url}${first.headers.location}?wait=30`)
    const init = { method: 'POST', headers: { 'X-Call-Id': 'second' } }
    const answer = await fetch(`${url}${first.headers.location}/replay`, init)
    expect(answer.status).toBe(202)
    const { id } = (await answer.json()) as { id: string }
    expect(answer.headers.get('location')).toBe(`/invocations/${id}`)
    const { task, io, end } = await served.next()
    expect(task.invocationId).toBe(id)
    expect(task.container.environment).toMatchObject({
      ...original.task.container.environment,
      ONESHOT_INVOCATION_ID: id,
    })
    expect(String(Buffer.concat(await Array.fromAsync(io.stdin ?? [])))).toBe('input')
    end(exited(0))
    expect(await getJson(`${url}/invocations/${id}?wait=30`)).toMatchObject({
      replayOf: original.task.invocationId,
      labels: ['a'],
      callId: 'second',
    })
  })

  test('of a call whose caller waited needs its input, which was not kept', async () => {
    const { url, next } = await serve()
    const answer = post(`${url}/function/test`, 'input')
    const { task, end } = await next()
    end(exited(0))
    await answer
    const path = `${url}/invocations/${task.invocationId}/replay`
    const problem = await problemOf(await fetch(path, { method: 'POST' }))
    expect(problem).toMatchObject({ status: 409, code: 'input_not_kept' })
  })
})

describe('methods', () => {
  test.each([
    ['POST', '/invocations', 'GET, HEAD'],
    ['DELETE', '/invocations/x', 'GET, HEAD'],
    ['PUT', '/invocations/x/result', 'GET, HEAD'],
    ['POST', '/invocations/x/logs', 'GET, HEAD'],
    ['GET', '/invocations/x/cancel', 'POST'],
    ['HEAD', '/invocations/x/replay', 'POST'],
    ['PATCH', '/deliveries', 'GET, HEAD'],
    ['DELETE', '/deliveries/x', 'GET, HEAD'],
    ['GET', '/deliveries/x/retry', 'POST'],
  ])('%s %s is answered 405 with those that it takes', async (method, path, allow) => {
    const { url } = await serve()
    const answer = await fetch(`${url}${path}`, { method })
    expect([answer.status, answer.headers.get('allow')]).toEqual([405, allow])
  })

  test('HEAD is answered as GET, without a body, and follows nothing', async () => {
    const served = await serve()
    const { id, end } = await start(served)
    const path = `${served.url}/invocations/${id}`
    const head = async (url: string) => {
      const answer = await fetch(url, { method: 'HEAD' })
      return [answer.status, await answer.text()]
    }
    expect(await head(`${served.url}/invocations`)).toEqual([200, ''])
    expect(await head(path)).toEqual([200, ''])
    expect(await head(`${path}/logs?follow=true`)).toEqual([200, ''])
    expect(await head(`${path}/result`)).toEqual([409, ''])
    end(exited(0))
    await getJson(`${path}?wait=30`)
    expect(await head(`${path}/result`)).toEqual([200, ''])
  })
})

test('every new path is described', async () => {
  const { url } = await serve()
  const { paths } = await getJson(`${url}/openapi.json`)
  expect(Object.keys(paths as object)).toEqual(
    expect.arrayContaining([
      '/async-function/{name}',
      '/invocations',
      '/invocations/{id}',
      '/invocations/{id}/result',
      '/invocations/{id}/logs',
      '/invocations/{id}/cancel',
      '/invocations/{id}/replay',
      '/deliveries',
      '/deliveries/{id}',
      '/deliveries/{id}/retry',
    ]),
  )
  expect(paths).toMatchObject({
    '/invocations/{id}/logs': {
      get: {
        parameters: ['id', 'follow', 'tail', 'since', 'stream', 'Last-Event-ID'].map((name) =>
          expect.objectContaining({ name }),
        ),
      },
    },
  })
})
