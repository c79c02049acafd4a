import { parseArgs } from 'node:util'
import type { TimedCall } from './armed-gateway.ts'
import { checkContainers, startArmedGateway } from './armed-gateway.ts'
import { createEngineClient } from './engine-client.ts'
import { describeLoad, describeMachine } from './machine.ts'
import { report, toTable } from './table.ts'
import { toTimes } from './times.ts'

/** As many calls at once as there are armed containers. */
async function main(rounds: number): Promise<boolean> {
  const SIZE = 20
  console.log(`${await describeMachine(createEngineClient())}\nload ${describeLoad()}`)
  await using gateway = await startArmedGateway(SIZE)
  const bursts: TimedCall[][] = []
  const wholes: number[] = []
  for (let round = 0; round < 1 + rounds; round += 1) {
    await gateway.armed(SIZE, 1000)
    const startedAt = performance.now()
    const burst = await Promise.all(Array.from({ length: SIZE }, () => gateway.call()))
    // The first one opens the connections.
    if (round === 0) continue
    wholes.push(performance.now() - startedAt)
    bursts.push(burst)
  }
  const calls = bursts.flat()
  checkContainers(calls)
  const head = ['ms', 'n', 'min', 'median', 'p95', 'p99', 'max']
  const rows = [
    [`each of ${SIZE} calls at once`, ...toTimes(calls.map(({ ms }) => ms))],
    ['until the last is answered', ...toTimes(wholes)],
  ]
  console.log(toTable(head, rows))
  console.log(`${calls.length} calls, ${calls.length} containers; load ${describeLoad()}`)
  return report([
    {
      what: 'calls that were not armed',
      value: calls.filter(({ start }) => start !== 'armed').length,
      atMost: 0,
    },
    { what: 'until the last is answered, the most, ms', value: Math.max(...wholes), atMost: 150 },
  ])
}

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '10' } } })
if (!(await main(Number(values.rounds)))) process.exitCode = 1
