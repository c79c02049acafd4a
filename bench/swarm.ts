import { randomUUID } from 'node:crypto'
import { parseArgs } from 'node:util'
import { checkAlike } from './alike.ts'
import { watchContainers } from './container-watch.ts'
import type { Contestant } from './contestant.ts'
import { createGatewayCall, toDefinition } from './contestant.ts'
import type { EngineClient } from './engine-client.ts'
import { createEngineClient } from './engine-client.ts'
import { startGateway } from './gateway.ts'
import { describeLoad, describeMachine } from './machine.ts'
import { startProxy } from './proxy.ts'
import { median, quantile, shuffled } from './statistics.ts'
import { createBareSwarm } from './swarm-contestant.ts'
import type { Target } from './table.ts'
import { report, toTable } from './table.ts'
import { rateInFlight, timeInTurn } from './turns.ts'

const WARM_UPS = 3
/** How many calls run at once where the managers' requests are counted, and for how long each. */
const NUMBERS = [4, 16, 32]
const SLEEP_SECONDS = 8
/** Of those, the time in which all run and none begins or ends. */
const STEADY_MS = 4_000

interface Options {
  readonly runs: number
  readonly flight: number
  readonly calls: number
  readonly signal: AbortSignal
}

async function main({ runs, flight, calls, signal }: Options): Promise<boolean> {
  const engine = createEngineClient()
  console.log(`${await describeMachine(engine)}\nload ${describeLoad()}`)
  await checkIsManager(engine)
  const label = randomUUID()
  const labels = { 'bench.swarm': label }
  await using watch = await watchContainers(engine, `bench.swarm=${label}`, signal)
  await using proxy = await startProxy(process.env['DOCKER_HOST']!)
  const networks = ['bridge', 'none']
  const sleeper = {
    image: 'busybox:stable',
    network_mode: 'bridge',
    labels,
    command: ['sleep', String(SLEEP_SECONDS)],
  }
  await using gateway = await startGateway({
    functions: {
      ...Object.fromEntries(
        networks.map((network) => [network, toDefinition({ network, labels })]),
      ),
      sleeper: JSON.stringify(sleeper),
    },
    env: {
      ONESHOT_BACKEND: 'swarm',
      DOCKER_HOST: proxy.address,
      ONESHOT_CONCURRENCY: '100',
    },
  })

  const targets: Target[] = []
  for (const network of networks) {
    await using bare = await createBareSwarm(engine, { network, labels })
    const call = createGatewayCall(gateway.url, network)
    const contestants = [bare, call]
    await checkAlike(engine, watch, contestants)

    console.log(`\nNetwork ${network}: ${runs} calls of each, one at a time`)
    const times = await timeInTurn(contestants, { warmUps: WARM_UPS, runs }, watch)
    console.log(toTimesTable(times))
    const ratio = median(times.get(call)!) / median(times.get(bare)!)

    console.log(`\nNetwork ${network}: ${calls} calls, ${flight} in flight, removals included`)
    const rates = new Map<Contestant, number>()
    for (const contestant of shuffled(contestants)) {
      rates.set(contestant, await rateInFlight(contestant, { flight, calls }, watch))
    }
    for (const [{ name }, perSecond] of rates) console.log(`${name}: ${perSecond.toFixed(2)}/s`)
    const throughput = rates.get(call)! / rates.get(bare)!

    const on = `network ${network}:`
    targets.push(
      { what: `${on} time, gateway to bare swarm`, value: ratio, atMost: 1.15 },
      { what: `${on} throughput, gateway to bare swarm`, value: throughput, atLeast: 0.95 },
    )
  }

  console.log('\nRequests to the manager while calls run, and for each call in all')
  const rows: [string, ...string[]][] = []
  const whole: number[] = []
  for (const number of NUMBERS) {
    proxy.reset()
    const sleeping = Array.from({ length: number }, () =>
      fetch(`${gateway.url}/function/sleeper`, { method: 'POST' }).then((it) => it.json()),
    )
    await runningAll(gateway.url, number)
    const before = proxy.count()
    await new Promise((resolve) => setTimeout(resolve, STEADY_MS))
    const steady = (proxy.count() - before) / (STEADY_MS / 1000)
    await Promise.all(sleeping)
    await watch.removed(number)
    whole.push(proxy.count() / number)
    rows.push([String(number), steady.toFixed(1), (proxy.count() / number).toFixed(1)])
  }
  console.log(toTable(['calls at once', 'requests/s while all run', 'requests a call'], rows))
  const growth = whole.at(-1)! / whole[0]!
  targets.push({ what: 'requests a call, of many calls to few', value: growth, atMost: 1 })
  console.log(`\nload ${describeLoad()}`)
  return report(targets)
}

async function checkIsManager(engine: EngineClient): Promise<void> {
  await engine.send('GET', '/swarm').catch(() => {
    throw new Error('DOCKER_HOST must name a swarm manager: docker swarm init')
  })
}

async function runningAll(url: string, number: number): Promise<void> {
  for (;;) {
    const answer = (await fetch(`${url}/nodes`).then((it) => it.json())) as {
      nodes: { running: { state: string }[] }[]
    }
    const running = answer.nodes.flatMap((node) => node.running)
    if (running.length === number && running.every(({ state }) => state === 'running')) return
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

function toTimesTable(times: ReadonlyMap<Contestant, readonly number[]>): string {
  const [first = []] = times.values()
  const rows = times.entries().map(([{ name }, samples]) => {
    const figures = [0, 0.5, 0.95, 1].map((q) => quantile(samples, q).toFixed(0))
    return [name].concat(figures, (median(samples) / median(first)).toFixed(2))
  })
  return toTable(['ms', 'min', 'median', 'p95', 'max', 'to bare'], [...rows])
}

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '30' },
    flight: { type: 'string', default: '16' },
    calls: { type: 'string', default: '100' },
  },
})
const interrupted = new AbortController()
process.once('SIGINT', () => interrupted.abort())
const met = await main({
  runs: Number(values.runs),
  flight: Number(values.flight),
  calls: Number(values.calls),
  signal: interrupted.signal,
})
if (!met) process.exitCode = 1
