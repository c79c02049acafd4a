import { pino } from 'pino'
import { describe, expect, test, vi } from 'vitest'
import { OneshotError } from '../../src/core/error.ts'
import { cleanHooks } from '../../src/gateway/hook-clean.ts'
import { makeFolder, openStore } from '../store/fixtures.ts'
import { githubHeaders, hooked, push, startHooked, toRequest, webhook } from './webhook.ts'
import { exited } from './working.ts'

const page = { limit: 100 }
const DAY = 86_400_000
const silent = pino({ level: 'silent' })

async function accepted(received: Promise<{ readonly verdict: string }>): Promise<string> {
  const it = (await received) as { verdict: string; invocationId?: string }
  expect(it.verdict).toBe('accepted')
  return it.invocationId!
}

describe('a delivery', () => {
  test('is run with its body, what is mapped of it, and who sent it', async () => {
    const spec = hooked(
      {
        input: {
          body: 'raw',
          parameters: { ref: { path: [{ name: 'ref' }] } },
          environment: { SHA: { path: [{ name: 'after' }] } },
        },
      },
      { parameters: { ref: { type: 'string' } } },
    )
    const { receive, next, invocations, hooks } = await startHooked(spec)
    const body = push()
    const id = await accepted(receive(body, { 'x-github-delivery': 'guid' }))
    const { task, io, end } = await next()
    expect(task.container.environment).toMatchObject({
      ref: 'refs/heads/main',
      SHA: 'c0ffee',
      ONESHOT_TRIGGER: 'webhook',
      ONESHOT_HOOK: 'deploy',
      ONESHOT_DELIVERY_ID: 'guid',
      ONESHOT_EVENT: 'push',
    })
    expect(Buffer.concat(await Array.fromAsync(io.stdin!)).toString()).toBe(body)
    end(exited())
    expect(await invocations.get(id)).toMatchObject({
      trigger: { type: 'webhook', name: 'deploy' },
      labels: ['hook:deploy'],
      mode: 'async',
    })
    const [delivery] = await hooks.listDeliveries('deploy', page)
    expect(delivery).toMatchObject({
      hook: 'deploy',
      functionName: 'test',
      verdict: 'accepted',
      key: 'guid',
      event: 'push',
      invocationId: id,
      bodyBytes: body.length,
    })
    expect(delivery!.headers).toMatchObject({ 'x-github-event': 'push' })
    expect(Object.keys(delivery!.headers)).not.toContain('x-hub-signature-256')
    expect(String((await hooks.getDelivery('deploy', delivery!.id)).body)).toBe(body)
  })

  test('that is not signed is refused, and is on no record', async () => {
    const { receive, hooks, store } = await startHooked()
    const add = vi.spyOn(store.hooks, 'add')
    await expect(receive(push(), { 'x-hub-signature-256': 'sha256=00' })).rejects.toMatchObject({
      code: 'signature_invalid',
    })
    expect(add).not.toHaveBeenCalled()
    expect(await hooks.listDeliveries('deploy', page)).toEqual([])
    expect(hooks.listRefused('deploy')).toEqual([
      expect.objectContaining({ reason: 'signature_malformed', address: '192.0.2.1' }),
    ])
  })

  test('that was refused is remembered among the latest 50', async () => {
    const { receive, hooks } = await startHooked()
    for (let count = 0; count < 60; count += 1) {
      await receive(push(), { 'x-hub-signature-256': '' }).catch(() => {})
    }
    const refused = hooks.listRefused('deploy')
    expect(refused).toHaveLength(50)
    expect(Number(refused[0]!.id.slice(3))).toBeGreaterThan(Number(refused[49]!.id.slice(3)))
  })

  test('that comes again makes nothing, and names what the first one has made', async () => {
    const { receive, hooks, store } = await startHooked()
    const same = { 'x-github-delivery': 'guid' }
    const all = await Promise.all([1, 2, 3].map(() => receive(push(), same)))
    const first = all.find((it) => it.verdict === 'accepted')!
    const others = all.filter((it) => it !== first)
    expect(others).toHaveLength(2)
    for (const other of others) {
      expect(other).toMatchObject({
        verdict: 'duplicate',
        first: {
          id: first.delivery,
          invocationId: (first as { invocationId: string }).invocationId,
        },
      })
    }
    expect(await store.invocations.list({}, page)).toHaveLength(1)
    const verdicts = (await hooks.listDeliveries('deploy', page)).map(({ verdict }) => verdict)
    expect(verdicts.sort()).toEqual(['accepted', 'duplicate', 'duplicate'])
  })

  test('is known to be a duplicate after a restart, for three days', async () => {
    const folder = await makeFolder()
    const before = await startHooked(hooked(), { folder })
    const same = { 'x-github-delivery': 'guid' }
    const id = await accepted(before.receive(push(), same))
    await before.stop()
    const after = await startHooked(hooked(), { folder })
    expect(await after.receive(push(), same)).toMatchObject({ verdict: 'duplicate' })
    const clean = (now: number) => cleanHooks(after.store.hooks, now, 1e9, silent, () => false)
    await clean(Date.now() + 2.9 * DAY)
    expect(await after.receive(push(), same)).toMatchObject({
      verdict: 'duplicate',
      first: { invocationId: id },
    })
    await clean(Date.now() + 3.1 * DAY)
    expect(await after.receive(push(), same)).toMatchObject({ verdict: 'accepted' })
  })

  test('that `events` or `when` does not want is skipped, and is wanted once they do', async () => {
    const spec = hooked({
      events: ['push'],
      when: { path: [{ name: 'ref' }], eq: 'refs/heads/main' },
    })
    const { receive, store, hooks } = await startHooked(spec)
    const other = await receive(push(), { 'x-github-event': 'issues' })
    expect(other).toMatchObject({ verdict: 'skipped', detail: expect.stringContaining('events') })
    const branch = await receive(push('other'), { 'x-github-delivery': 'guid' })
    expect(branch).toMatchObject({ verdict: 'skipped', detail: expect.stringContaining('when') })
    expect(await store.invocations.list({}, page)).toEqual([])
    // Its id is free: nothing has been made of it.
    expect(await hooks.dryRun(hooks.get('deploy'), toRequest({}, '{}'))).toHaveProperty('refusal')
    expect(await receive(push(), { 'x-github-delivery': 'guid' })).toMatchObject({
      verdict: 'accepted',
    })
  })

  test('that does not say what the function takes is invalid, and may come again', async () => {
    const spec = hooked(
      {
        input: { body: 'none', parameters: { ref: { path: [{ name: 'ref' }] } }, environment: {} },
      },
      { parameters: { ref: { type: 'string', required: true } } },
    )
    const { receive, next } = await startHooked(spec)
    const same = { 'x-github-delivery': 'guid' }
    const invalid = await receive('{}', same)
    expect(invalid).toMatchObject({
      verdict: 'invalid',
      error: { code: 'parameters_invalid', violations: [{ pointer: '#/ref' }] },
    })
    await accepted(receive(push(), same))
    expect((await next()).io.stdin).toBeUndefined()
  })

  test('is answered itself if it is a ping, unless the function wants pings', async () => {
    const ping = { 'x-github-event': 'ping' }
    const first = await startHooked(hooked({ events: ['push'] }))
    expect(await first.receive('{}', ping)).toMatchObject({
      verdict: 'answered',
      answer: { kind: 'ping' },
    })
    const second = await startHooked(hooked({ events: ['ping'] }))
    expect(await second.receive('{}', ping)).toMatchObject({ verdict: 'accepted' })
  })

  test('that finds no room is not remembered, so that it can come again', async () => {
    const { receive, store } = await startHooked()
    const same = { 'x-github-delivery': 'guid' }
    const { add } = store.invocations
    const full = vi.spyOn(store.invocations, 'add')
    full.mockRejectedValueOnce(new OneshotError('storage_full', 'full'))
    await expect(receive(push(), same)).rejects.toMatchObject({ code: 'storage_full' })
    full.mockImplementation(add)
    expect(await receive(push(), same)).toMatchObject({ verdict: 'accepted' })
  })

  test('that finds the queue full is refused; one that is known already is not', async () => {
    const { receive, next } = await startHooked(hooked(), { maxQueued: 1, concurrency: 1 })
    const same = { 'x-github-delivery': 'guid' }
    await receive(push(), same)
    await next()
    await receive()
    await expect(receive()).rejects.toMatchObject({ code: 'queue_full' })
    expect(await receive(push(), same)).toMatchObject({ verdict: 'duplicate' })
  })

  test('that comes to a gateway that closes is refused', async () => {
    const { receive, gateway } = await startHooked()
    await gateway.close(0)
    await expect(receive()).rejects.toMatchObject({ code: 'shutting_down' })
  })

  test('without an invocation is answered although it can not be put on record', async () => {
    const { receive, store } = await startHooked(hooked({ events: ['issues'] }))
    vi.spyOn(store.hooks, 'add').mockRejectedValue(new OneshotError('storage_full', 'full'))
    expect(await receive()).toMatchObject({ verdict: 'skipped' })
  })
})

describe('of deliveries with the same key', () => {
  const key = { path: [{ name: 'ref' }] }
  const grouped = (policy: 'queue' | 'drop' | 'replace') =>
    hooked({ concurrency: { max: 1, key, policy } })

  test('one runs after another, while those of another key run beside them', async () => {
    const { receive, next, ended, stateOf } = await startHooked(grouped('queue'))
    const first = await accepted(receive(push('main')))
    const second = await accepted(receive(push('main')))
    const other = await accepted(receive(push('other')))
    const running = [await next(), await next()]
    expect(running.map(({ task }) => task.invocationId)).toEqual([first, other])
    expect(await stateOf(second)).toBe('queued')
    running[0]!.end(exited())
    await ended(first)
    const third = await next()
    expect(third.task.invocationId).toBe(second)
    third.end(exited())
    await ended(second)
  })

  test('those that are too many are dropped, and known when they come again', async () => {
    const { receive, next, ended } = await startHooked(grouped('drop'))
    const first = await accepted(receive(push('main')))
    const same = { 'x-github-delivery': 'guid' }
    expect(await receive(push('main'), same)).toMatchObject({ verdict: 'dropped' })
    expect(await receive(push('main'), same)).toMatchObject({
      verdict: 'duplicate',
      first: { verdict: 'dropped' },
    })
    ;(await next()).end(exited())
    await ended(first)
    await accepted(receive(push('main')))
  })

  test('the latest takes the place of those before it', async () => {
    const { receive, next, ended } = await startHooked(grouped('replace'))
    const first = await accepted(receive(push('main')))
    const { stop, end } = await next()
    const second = await accepted(receive(push('main')))
    const third = await accepted(receive(push('main')))
    expect((await ended(second)).state).toBe('cancelled')
    if (!stop.aborted) await new Promise((resolve) => stop.addEventListener('abort', resolve))
    end({ kind: 'stopped', by: stop.reason, exitCode: 143 })
    expect((await ended(first)).state).toBe('cancelled')
    expect((await next()).task.invocationId).toBe(third)
  })
})

describe('a redelivery', () => {
  test('makes another invocation of what was kept, with the same id of the sender', async () => {
    const { receive, next, hooks, invocations } = await startHooked()
    const body = push()
    const { delivery } = await receive(body, { 'x-github-delivery': 'guid' })
    ;(await next()).end(exited())
    const again = await hooks.redeliver('deploy', delivery, { callId: 'again', caller: 'me' })
    const { task, io, end } = await next()
    expect(task.invocationId).toBe(again.invocationId)
    expect(task.container.environment).toMatchObject({
      ONESHOT_DELIVERY_ID: 'guid',
      ONESHOT_EVENT: 'push',
    })
    expect(Buffer.concat(await Array.fromAsync(io.stdin!)).toString()).toBe(body)
    end(exited())
    expect(await invocations.get(again.invocationId!)).toMatchObject({
      caller: 'me',
      callId: 'again',
    })
    const found = await hooks.getDelivery('deploy', again.delivery)
    expect(found.delivery).toMatchObject({ redeliveryOf: delivery, verdict: 'accepted' })
    expect(found.delivery).not.toHaveProperty('key')
  })

  test('takes no notice of what was not wanted, and is refused without a body', async () => {
    const { receive, hooks, store } = await startHooked(hooked({ events: ['issues'] }))
    const by = { callId: 'c' }
    const { delivery } = await receive()
    expect(await hooks.redeliver('deploy', delivery, by)).toHaveProperty('invocationId')
    await store.hooks.trim({ maxBytes: 0, maxKeyless: 1000, maxPerHook: 1000 })
    await expect(hooks.redeliver('deploy', delivery, by)).rejects.toMatchObject({
      code: 'body_not_kept',
    })
    await expect(hooks.redeliver('deploy', 'nope', by)).rejects.toMatchObject({
      code: 'hook_delivery_not_found',
    })
    await expect(hooks.redeliver('other', delivery, by)).rejects.toMatchObject({
      code: 'hook_not_found',
    })
  })
})

test('a dry run says what would be run, and leaves nothing', async () => {
  const spec = hooked({ concurrency: { max: 2, policy: 'queue' } })
  const { hooks, store, receive } = await startHooked(spec)
  const body = push()
  const hook = hooks.get('deploy')
  const { refusal, messages } = await hooks.dryRun(hook, toRequest(githubHeaders(body), body))
  expect(refusal).toBeUndefined()
  expect(messages).toEqual([
    expect.objectContaining({
      event: 'push',
      isAnswered: false,
      first: undefined,
      run: expect.objectContaining({ group: { key: 'hook:deploy', max: 2 } }) as unknown,
    }),
  ])
  expect(await hooks.dryRun(hook, toRequest({}, body))).toMatchObject({
    refusal: 'signature_missing',
  })
  expect(await store.invocations.list({}, page)).toEqual([])
  expect(await hooks.listDeliveries('deploy', page)).toEqual([])
  expect(hooks.listRefused('deploy')).toEqual([])
  const headers = githubHeaders(body)
  const { delivery } = await receive(body, headers)
  expect((await hooks.dryRun(hook, toRequest(headers, body))).messages).toMatchObject([
    { first: { id: delivery } },
  ])
})

describe('a batch of CloudEvents', () => {
  const spec = hooked({
    scheme: { provider: 'cloudevents', allowUnsigned: false },
    secrets: [{ value: 'a token of many letters' }],
    events: ['com.example.a'],
  })
  const event = (id: string, type = 'com.example.a') => ({
    specversion: '1.0',
    id,
    source: '/test',
    type,
    data: { id },
  })
  const headers = {
    'content-type': 'application/cloudevents-batch+json',
    authorization: 'Bearer a token of many letters',
  }
  const arrival = { callId: 'call', address: '', receivedAt: Date.now() }

  test('makes an invocation of each event that is wanted and new', async () => {
    const { hooks, next } = await startHooked(spec)
    const hook = hooks.get('deploy')
    const body = JSON.stringify([event('1'), event('2', 'com.example.b'), event('1'), event('3')])
    const received = await hooks.receive(hook, toRequest(headers, body), arrival)
    expect(received.map(({ verdict }) => verdict)).toEqual([
      'accepted',
      'skipped',
      'duplicate',
      'accepted',
    ])
    const { io, end } = await next()
    expect(Buffer.concat(await Array.fromAsync(io.stdin!)).toString()).toBe('{"id":"1"}')
    end(exited())
    const again = await hooks.redeliver('deploy', received[3]!.delivery, { callId: 'c' })
    await next()
    const { task, io: second } = await next()
    expect(task.invocationId).toBe(again.invocationId)
    expect(Buffer.concat(await Array.fromAsync(second.stdin!)).toString()).toBe('{"id":"3"}')
  })

  test('of which one can not be read makes none', async () => {
    const { hooks, store } = await startHooked(spec)
    const body = JSON.stringify([event('1'), { ...event('2'), specversion: '0.3' }])
    const receiving = hooks.receive(hooks.get('deploy'), toRequest(headers, body), arrival)
    await expect(receiving).rejects.toMatchObject({ code: 'bad_request' })
    expect(await store.invocations.list({}, page)).toEqual([])
  })
})

test('too much of what is kept is forgotten before the cleaner comes', async () => {
  const { receive, store } = await startHooked(hooked({ events: ['issues'] }))
  const trim = vi.spyOn(store.hooks, 'trim')
  for (let count = 0; count < 1024; count += 1) await receive('{}')
  expect(trim).toHaveBeenCalledTimes(1)
})

test('old deliveries are forgotten in batches, and bodies with the room there is', async () => {
  const { hooks } = await openStore()
  const body = Buffer.alloc(100)
  for (let id = 0; id < 250; id += 1) {
    const delivery = { id: String(id), hook: 'deploy', functionName: 'test', headers: {} }
    const more = { key: String(id), verdict: 'accepted', bodyBytes: 1 } as const
    await hooks.add({ ...delivery, ...more, receivedAt: id < 220 ? 0 : 4 * DAY }, body)
  }
  await cleanHooks(hooks, 4 * DAY, 4 * 1000, silent, () => false)
  const left = await hooks.list('deploy', page)
  expect(left).toHaveLength(30)
  const kept = await Promise.all(left.map(({ id }) => hooks.findBody(id)))
  expect(kept.filter((each) => each !== undefined)).toHaveLength(10)
})

test('webhooks without verification can be sent by anyone', async () => {
  const { receive } = await startHooked(hooked({ ...webhook(), scheme: { provider: 'none' } }))
  expect(await receive(push(), { 'x-hub-signature-256': '' })).toMatchObject({
    verdict: 'accepted',
  })
})

test('how many deliveries of a webhook are remembered goes with the room there is, and is warned of', async () => {
  const bounds: number[] = []
  const logs: string[] = []
  const hooks = {
    removeBefore: async () => 0,
    trim: async ({ maxPerHook }: { readonly maxPerHook: number }) => bounds.push(maxPerHook) - 1,
  }
  const logger = pino({ level: 'warn' }, { write: (line) => void logs.push(line) })
  for (const maxBytes of [Infinity, 1024 ** 3, 1000]) {
    await cleanHooks(hooks, DAY, maxBytes, logger, () => false)
  }
  expect(bounds).toEqual([100_000, 65_536, 1000])
  expect(logs.map((line) => JSON.parse(line) as unknown)).toMatchObject([
    { removed: 1, maxPerHook: 65_536 },
    { removed: 2, maxPerHook: 1000 },
  ])
})
