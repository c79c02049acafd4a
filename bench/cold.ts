import { randomUUID } from 'node:crypto'
import { parseArgs } from 'node:util'
import { checkAlike } from './alike.ts'
import type { ContainerWatch } from './container-watch.ts'
import { watchContainers } from './container-watch.ts'
import type { Contestant, Work } from './contestant.ts'
import { createBareEngine, createDockerRun, createGatewayCall, toDefinition } from './contestant.ts'
import { createEngineClient } from './engine-client.ts'
import { startGateway } from './gateway.ts'
import { describeLoad, describeMachine } from './machine.ts'
import { meanRate, median, quantile, shuffled } from './statistics.ts'
import type { Target } from './table.ts'
import { report, toTable } from './table.ts'
import { rateInFlight, timeInTurn } from './turns.ts'

const WARM_UPS = 10
/** How many calls a batch has for each in flight: enough for the start and the end of a batch to count little. */
const CALLS_PER_FLIGHT = 4

interface Options {
  /** Calls of each contestant, one after another. */
  readonly runs: number
  /** Calls at once, for the throughput. */
  readonly flight: number
  /** Batches of each contestant, for the throughput. */
  readonly batches: number
  /** Ends it early, between two calls or two batches. */
  readonly signal: AbortSignal
}

async function main({ runs, flight, batches, signal }: Options): Promise<boolean> {
  const engine = createEngineClient()
  console.log(`${await describeMachine(engine)}\nload ${describeLoad()}`)
  const labels = { 'bench.cold': randomUUID() }
  await using watch = await watchContainers(engine, `bench.cold=${labels['bench.cold']}`, signal)
  const works: readonly Work[] = ['none', 'bridge'].map((network) => ({ network, labels }))
  const functions = Object.fromEntries(works.map((work) => [work.network, toDefinition(work)]))
  await using gateway = await startGateway({
    functions,
    // None armed and no network made ahead: each call starts from nothing, like the others' containers.
    env: { ONESHOT_WARM_MEMORY: '0', ONESHOT_NAMESPACES: '0' },
  })

  const targets: Target[] = []
  for (const work of works) {
    const bare = createBareEngine(engine, work)
    const dockerRun = createDockerRun(work)
    const call = createGatewayCall(gateway.url, work.network)
    const contestants = [bare, dockerRun, call]
    await checkAlike(engine, watch, contestants)

    console.log(`\nNetwork ${work.network}: ${runs} calls of each, one at a time`)
    const times = await timeInTurn(contestants, { warmUps: WARM_UPS, runs }, watch)
    console.log(toTimesTable(times))
    const of = (contestant: Contestant) => median(times.get(contestant)!)
    const overBare = of(call) / of(bare)
    const overDockerRun = of(call) / of(dockerRun)

    console.log(`\nNetwork ${work.network}: ${flight} in flight, removals included`)
    const rates = await rateInTurn([bare, call], { flight, batches }, watch)
    console.log(toRatesTable(rates))
    const throughput = meanRate(rates.get(call)!) / meanRate(rates.get(bare)!)

    const on = `network ${work.network}:`
    targets.push(
      { what: `${on} time, gateway to bare engine`, value: overBare, atMost: 1.1 },
      { what: `${on} time, gateway to docker run`, value: overDockerRun, atMost: 0.9 },
      { what: `${on} throughput, gateway to bare engine`, value: throughput, atLeast: 0.95 },
    )
  }
  console.log(`\nload ${describeLoad()}`)
  return report(targets)
}

/** Calls a second of each batch, from its first request until its last container is gone; in turn, as above. */
async function rateInTurn(
  contestants: readonly Contestant[],
  { flight, batches }: Pick<Options, 'flight' | 'batches'>,
  watch: ContainerWatch,
): Promise<Map<Contestant, number[]>> {
  const rates = new Map(contestants.map((contestant) => [contestant, [] as number[]]))
  const calls = flight * CALLS_PER_FLIGHT
  for (let batch = 0; batch < batches; batch += 1) {
    for (const contestant of shuffled(contestants)) {
      rates.get(contestant)!.push(await rateInFlight(contestant, { flight, calls }, watch))
    }
  }
  return rates
}

function toTimesTable(times: ReadonlyMap<Contestant, readonly number[]>): string {
  const [first = []] = times.values()
  const rows = times.entries().map(([{ name }, samples]) => {
    const figures = [0, 0.5, 0.95, 0.99, 1].map((q) => quantile(samples, q).toFixed(1))
    return [name].concat(figures, (median(samples) / median(first)).toFixed(2))
  })
  return toTable(['ms', 'min', 'median', 'p95', 'p99', 'max', 'to bare'], [...rows])
}

function toRatesTable(rates: ReadonlyMap<Contestant, readonly number[]>): string {
  const [first = []] = rates.values()
  const rows = rates.entries().map(([{ name }, samples]) => {
    const figures = [Math.min(...samples), Math.max(...samples), meanRate(samples)]
    return [name].concat(
      figures.map((figure) => figure.toFixed(1)),
      (meanRate(samples) / meanRate(first)).toFixed(2),
    )
  })
  return toTable(['calls/s', 'min', 'max', 'in all', 'to bare'], [...rows])
}

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '50' },
    flight: { type: 'string', default: '8' },
    batches: { type: 'string', default: '10' },
  },
})
const interrupted = new AbortController()
process.once('SIGINT', () => interrupted.abort())
const met = await main({
  runs: Number(values.runs),
  flight: Number(values.flight),
  batches: Number(values.batches),
  signal: interrupted.signal,
})
if (!met) process.exitCode = 1
