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

/** One contestant's loops, as if they were one. */
interface Loop {
  readonly name: string
  readonly flight: number
  readonly times: number[]
  elapsedMs: number
}

/** Calls one after another in each of `flight` lanes; the time counts until all that was made is removed as well. */
async function run(
  loop: Loop,
  seconds: number,
  call: () => Promise<unknown>,
  removed: (count: number) => Promise<void>,
): Promise<void> {
  const before = loop.times.length
  const startedAt = performance.now()
  const lane = async () => {
    while (performance.now() - startedAt < seconds * 1000) {
      const calledAt = performance.now()
      await call()
      loop.times.push(performance.now() - calledAt)
    }
  }
  await Promise.all(Array.from({ length: loop.flight }, lane))
  await removed(loop.times.length - before)
  loop.elapsedMs += performance.now() - startedAt
}

function toLoop(who: string, flight: number): Loop {
  return { name: `${who}, ${flight} in flight`, flight, times: [], elapsedMs: 0 }
}

function perSecond({ times, elapsedMs }: Loop): number {
  return times.length / (elapsedMs / 1000)
}

/**
 * A closed loop on network none: the gateway against the bare engine API at the concurrency that suits it best. The
 * bare API is measured before the gateway and once more after it, so that a machine that slows down hits both.
 */
async function main(seconds: number): Promise<boolean> {
  const FLIGHT = 8
  const engine = createEngineClient()
  console.log(`${await describeMachine(engine)}\nload ${describeLoad()}`)
  const labels = { 'bench.sustained': randomUUID() }
  const label = `bench.sustained=${labels['bench.sustained']}`
  const over = new AbortController()
  await using bareWatch = await watchContainers(engine, label, over.signal)
  const bare = createBareEngine(engine, { network: 'none', labels })
  const alike = toLoop('bare engine API', FLIGHT)
  const loops = [toLoop('bare engine API', 2), toLoop('bare engine API', 4), alike]
  const runBare = async () => {
    for (const loop of loops) {
      await run(
        loop,
        seconds / 6,
        () => bare.call(),
        (count) => bareWatch.removed(count),
      )
    }
  }

  await runBare()
  const ours = toLoop('gateway', FLIGHT)
  {
    await using gateway = await startArmedGateway('auto')
    await run(toLoop('warm-up', FLIGHT), 20, gateway.call, () => Promise.resolve())
    await using watch = await watchContainers(engine, 'oneshot.function=where', over.signal)
    await run(ours, seconds, gateway.call, (count) => watch.removed(count))
  }
  await runBare()

  const best = loops.reduce((a, b) => (perSecond(b) > perSecond(a) ? b : a))
  const head = ['', 'calls', 'min ms', 'median', 'p95', 'p99', 'max', 'calls/s']
  const rows = [...loops, ours].map((loop) =>
    [loop.name].concat(toTimes(loop.times), perSecond(loop).toFixed(1)),
  )
  console.log(toTable(head, rows))
  console.log(`load ${describeLoad()}`)
  return report([
    {
      what: 'throughput, gateway to the bare engine at its best',
      value: perSecond(ours) / perSecond(best),
      atLeast: 1.6,
    },
    {
      // If that is with fewer in flight, each takes less, whatever runs it: hence the next as well.
      what: `median time, gateway to the bare engine at its best, ${best.flight} in flight`,
      value: median(ours.times) / median(best.times),
      atMost: 1,
    },
    {
      what: `median time, gateway to the bare engine, ${FLIGHT} in flight each`,
      value: median(ours.times) / median(alike.times),
      atMost: 1,
    },
  ])
}

const { values } = parseArgs({ options: { seconds: { type: 'string', default: '60' } } })
if (!(await main(Number(values.seconds)))) process.exitCode = 1
