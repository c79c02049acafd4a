import { beforeEach, describe, expect, test, vi } from 'vitest'
import type { SwarmTask } from '../../../src/engine/swarm/task.ts'
import { createTaskWatch } from '../../../src/engine/swarm/watch.ts'

function toTask(ServiceID: string, State: string, CreatedAt = '2026-11-21T10:00:00Z'): SwarmTask {
  const Timestamp = '2026-11-21T10:00:01Z'
  return {
    ID: `${ServiceID}-${CreatedAt}`,
    ServiceID,
    CreatedAt,
    UpdatedAt: CreatedAt,
    DesiredState: 'running',
    Status: { Timestamp, State },
  }
}

/** A watch of tasks that the test sets as it likes. */
function start() {
  let tasks: readonly SwarmTask[] = []
  let failing = false
  const paths: string[] = []
  const tasksOf = createTaskWatch({
    managers: {
      async ask({ path }) {
        paths.push(path)
        if (failing) throw new Error('no manager')
        return tasks
      },
      openStream: () => Promise.reject(new Error('not asked')),
      current: () => undefined as never,
      engines: [],
    },
    gatewayId: 'g',
    clock: Date.now,
  })
  const over = new AbortController()
  const told: Record<string, string[]> = {}
  const ends: string[] = []
  return {
    ...tasksOf,
    told,
    ends,
    over,
    listings: () => paths.length,
    paths,
    set(...them: readonly SwarmTask[]) {
      tasks = them
    },
    fail(isFailing: boolean) {
      failing = isFailing
    },
    async watching(id: string) {
      told[id] = []
      for await (const it of tasksOf.watch(id, over.signal)) {
        told[id].push(it === 'gone' ? it : it.Status.State)
      }
      ends.push(id)
    },
  }
}

const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms)

beforeEach(() => {
  vi.useFakeTimers({ now: Date.parse('2026-11-21T10:00:00Z') })
  return () => vi.useRealTimers()
})

test('as many listings serve 500 tasks as one', async () => {
  const count = async (ids: readonly string[]) => {
    const { watching, set, listings, over, told } = start()
    set(...ids.map((id) => toTask(id, 'running')))
    const all = ids.map(watching)
    await pass(5_000)
    over.abort()
    await Promise.all(all)
    expect(Object.values(told)).toEqual(ids.map(() => ['running']))
    return listings()
  }
  const many = await count(Array.from({ length: 500 }, (_, index) => `s${index}`))
  expect(many).toBe(await count(['s']))
  expect(many).toBeLessThanOrEqual(51)
})

test('only what is ours is listed', async () => {
  const { list, paths } = start()
  await list()
  expect(decodeURIComponent(paths[0] ?? '')).toBe('/tasks?filters={"label":["oneshot.gateway=g"]}')
})

describe('the managers are asked', () => {
  test('ten times a second while something changes, and once when nothing has for a while', async () => {
    const { watching, set, listings, over } = start()
    set(toTask('s', 'running'))
    void watching('s')
    await pass(1_000)
    expect(listings()).toBeGreaterThanOrEqual(9)
    await pass(20_000)
    const before = listings()
    await pass(10_000)
    expect(listings() - before).toBeLessThanOrEqual(11)
    over.abort()
  })

  test('at once when something may have happened', async () => {
    const { watching, set, wake, told, over } = start()
    set(toTask('s', 'running'))
    void watching('s')
    await pass(30_000)
    set(toTask('s', 'complete'))
    wake()
    await pass(1)
    expect(told['s']).toEqual(['running', 'complete'])
    over.abort()
  })

  test('not at all when nobody watches', async () => {
    const { watching, set, listings } = start()
    set(toTask('s', 'complete'))
    await Promise.all([watching('s'), pass(200)])
    const before = listings()
    await pass(10_000)
    expect(listings()).toBe(before)
  })
})

test("of a service's tasks the first is told, and no other", async () => {
  const { watching, set, told, over } = start()
  set(toTask('s', 'pending', '2026-11-21T10:00:05Z'), toTask('s', 'running'))
  void watching('s')
  await pass(200)
  expect(told['s']).toEqual(['running'])
  over.abort()
})

test('a service whose task is no more is told of, and the watch of it ends', async () => {
  const { watching, set, told, ends } = start()
  set(toTask('s', 'running'))
  void watching('s')
  await pass(200)
  set()
  await pass(200)
  expect([told['s'], ends]).toEqual([['running', 'gone'], ['s']])
})

test('a service that has no task yet is given time', async () => {
  const { watching, set, told, over } = start()
  void watching('s')
  await pass(4_000)
  set(toTask('s', 'pending'))
  await pass(200)
  expect(told['s']).toEqual(['pending'])
  over.abort()
})

test('a service that a leader has not made a task for before it was lost is given time by the next', async () => {
  const { watching, set, fail, told, over } = start()
  fail(true)
  void watching('s')
  await pass(12_000)
  fail(false)
  await pass(1_100)
  expect(told['s']).toEqual([])
  set(toTask('s', 'pending'))
  await pass(1_100)
  expect(told['s']).toEqual(['pending'])
  over.abort()
})

test('a service that stays without a task is told of as gone', async () => {
  const { watching, told } = start()
  void watching('s')
  await pass(6_000)
  expect(told['s']).toEqual(['gone'])
})

test('an answer that is no listing changes nothing', async () => {
  const { watching, set, told, over } = start()
  set(toTask('s', 'running'))
  void watching('s')
  await pass(200)
  set(null as never)
  await pass(200)
  set(toTask('s', 'complete'))
  await pass(200)
  expect(told['s']).toEqual(['running', 'complete'])
  over.abort()
})

test('what cannot be listed for a while has not gone', async () => {
  const { watching, set, fail, told, over } = start()
  set(toTask('s', 'running'))
  void watching('s')
  await pass(200)
  fail(true)
  await pass(60_000)
  fail(false)
  set(toTask('s', 'complete'))
  await pass(1_100)
  expect(told['s']).toEqual(['running', 'complete'])
  over.abort()
})
