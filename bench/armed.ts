import { randomUUID } from 'node:crypto'
import { parseArgs } from 'node:util'
import type { TimedCall } from './armed-gateway.ts'
import { checkContainers, startArmedGateway } from './armed-gateway.ts'
import { createDockerRun } from './contestant.ts'
import { createEngineClient } from './engine-client.ts'
import { describeLoad, describeMachine } from './machine.ts'
import { median, quantile } from './statistics.ts'
import { report, toTable } from './table.ts'
import { toTimes } from './times.ts'

/** Sequential calls that find an armed container, against `docker run --rm` of as small a command. */
async function main(runs: number): Promise<boolean> {
  console.log(`${await describeMachine(createEngineClient())}\nload ${describeLoad()}`)
  const POOL = 5
  const WARM_UPS = 20
  await using gateway = await startArmedGateway(POOL)
  const dockerRun = createDockerRun({ network: 'none', labels: { 'bench.armed': randomUUID() } })
  const calls: TimedCall[] = []
  const dockerRuns: number[] = []
  for (let round = 0; round < WARM_UPS + runs; round += 1) {
    await gateway.armed(POOL, 200)
    const call = await gateway.call()
    if (round < WARM_UPS) continue
    calls.push(call)
    if (round % 4 !== 0) continue
    await gateway.armed(POOL, 200)
    const startedAt = performance.now()
    await dockerRun.call()
    dockerRuns.push(performance.now() - startedAt)
  }
  checkContainers(calls)
  const times = calls.map(({ ms }) => ms)
  console.log(
    toTable(
      ['ms', 'calls', 'min', 'median', 'p95', 'p99', 'max'],
      [
        ['armed call, over HTTP', ...toTimes(times)],
        ['docker run --rm', ...toTimes(dockerRuns)],
      ],
    ),
  )
  console.log(`${calls.length} calls, ${calls.length} containers; load ${describeLoad()}`)
  return report([
    {
      what: 'calls that were not armed',
      value: calls.filter(({ start }) => start !== 'armed').length,
      atMost: 0,
    },
    { what: 'median, ms', value: median(times), atMost: 6 },
    {
      what: 'docker run --rm to armed, medians',
      value: median(dockerRuns) / median(times),
      atLeast: 25,
    },
    { what: 'p99 to median', value: quantile(times, 0.99) / median(times), atMost: 5 },
  ])
}

const { values } = parseArgs({ options: { runs: { type: 'string', default: '200' } } })
if (!(await main(Number(values.runs)))) process.exitCode = 1
