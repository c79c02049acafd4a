import { randomUUID } from 'node:crypto'
import { parseArgs } from 'node:util'
import { startArmedGateway } from './armed-gateway.ts'
import { watchContainers } from './container-watch.ts'
import { createBareEngine } from './contestant.ts'
import { createEngineClient } from './engine-client.ts'
import { describeLoad, describeMachine } from './machine.ts'
import { median } from './statistics.ts'
import { report, toTable } from './table.ts'
import { toTimes } from './times.ts'

interface Loop {
  readonly name: string
  readonly times: readonly number[]
  readonly perSecond: number
}

/** Calls one after another in each of `flight` lanes; the rate counts what had to be removed as well. */
async function loop(
  name: string,
  flight: number,
  seconds: number,
  call: () => Promise<unknown>,
  removed: (count: number) => Promise<void>,
): Promise<Loop> {
  const times: number[] = []
  const startedAt = performance.now()
  const lane = async () => {
    while (performance.now() - startedAt < seconds * 1000) {
      const calledAt = performance.now()
      await call()
      times.push(performance.now() - calledAt)
    }
  }
  await Promise.all(Array.from({ length: flight }, lane))
  await removed(times.length)
  return { name, times, perSecond: times.length / ((performance.now() - startedAt) / 1000) }
}

/** A closed loop on network none: the gateway against the bare engine API at the concurrency that suits it best. */
async function main(seconds: number): Promise<boolean> {
  const FLIGHT = 8
  const engine = createEngineClient()
  console.log(`${await describeMachine(engine)}\nload ${describeLoad()}`)
  const labels = { 'bench.sustained': randomUUID() }
  const label = `bench.sustained=${labels['bench.sustained']}`
  const loops: Loop[] = []
  {
    await using watch = await watchContainers(engine, label, new AbortController().signal)
    const bare = createBareEngine(engine, { network: 'none', labels })
    for (const flight of [2, 4, 8]) {
      const name = `bare engine API, ${flight} in flight`
      loops.push(
        await loop(
          name,
          flight,
          seconds / 3,
          () => bare.call(),
          (count) => watch.removed(count),
        ),
      )
    }
  }
  const best = loops.reduce((a, b) => (b.perSecond > a.perSecond ? b : a))
  await using gateway = await startArmedGateway('auto')
  await loop('warm-up', FLIGHT, 20, gateway.call, () => Promise.resolve())
  await using watch = await watchContainers(
    engine,
    'oneshot.function=where',
    new AbortController().signal,
  )
  const ours = await loop(`gateway, ${FLIGHT} in flight`, FLIGHT, seconds, gateway.call, (count) =>
    watch.removed(count),
  )
  const head = ['', 'calls', 'min ms', 'median', 'p95', 'p99', 'max', 'calls/s']
  const rows = [...loops, ours].map(({ name, times, perSecond }) =>
    [name].concat(toTimes(times), perSecond.toFixed(1)),
  )
  console.log(toTable(head, rows))
  console.log(`load ${describeLoad()}`)
  return report([
    {
      what: 'throughput, gateway to the bare engine at its best',
      value: ours.perSecond / best.perSecond,
      atLeast: 1.6,
    },
    {
      what: 'median time, gateway to the bare engine at its best',
      value: median(ours.times) / median(best.times),
      atMost: 1,
    },
  ])
}

const { values } = parseArgs({ options: { seconds: { type: 'string', default: '60' } } })
if (!(await main(Number(values.seconds)))) process.exitCode = 1
