import { once } from 'node:events'
import { Agent, request } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { json } from 'node:stream/consumers'
import { parseArgs } from 'node:util'
import { readResident } from '../test/resident.ts'
import { watchContainers } from './container-watch.ts'
import { createEngineClient } from './engine-client.ts'
import { startGateway } from './gateway.ts'
import { describeLoad, describeMachine } from './machine.ts'
import { median } from './statistics.ts'
import { report, toTable } from './table.ts'
import { toTimes } from './times.ts'

const FLIGHT = 32
const LISTINGS = 200
/** Nothing else is to run: it is the accepting that is measured. */
const SLEEP = JSON.stringify({
  image: 'busybox:stable',
  network_mode: 'none',
  concurrency: 1,
  warm: 0,
  timeout: '24h',
  command: ['sleep', '86400'],
})

/** How fast calls are accepted, each on disk before its answer, and what it costs to have many that wait. */
async function main(calls: number): Promise<boolean> {
  const engine = createEngineClient()
  console.log(`${await describeMachine(engine)}\nload ${describeLoad()}`)
  const name = `sleep-${process.pid}`
  const over = new AbortController()
  const gateway = await startGateway({ functions: { [name]: SLEEP } })
  const agent = new Agent({ keepAlive: true })

  async function send(method: string, path: string, body?: string): Promise<[number, unknown]> {
    const outgoing = request(`${gateway.url}${path}`, { method, agent })
    outgoing.end(body)
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
    return [response.statusCode ?? 0, await json(response)]
  }

  async function time(act: () => Promise<unknown>): Promise<number> {
    const startedAt = performance.now()
    await act()
    return performance.now() - startedAt
  }

  async function accept(): Promise<void> {
    const [status] = await send('POST', `/async-function/${name}`, 'some input')
    if (status !== 202) throw new Error(`a call was answered ${status}`)
  }

  async function list(): Promise<void> {
    const [, page] = await send('GET', '/invocations')
    const { invocations } = page as { invocations: unknown[] }
    if (invocations.length !== 100) throw new Error(`a page had ${invocations.length} calls`)
  }

  try {
    // Compiles what is measured.
    for (let count = 0; count < 200; count += 1) await accept()
    await list()
    const before = await readResident(gateway.pid)
    const accepting: number[] = []
    const startedAt = performance.now()
    const lane = async () => {
      while (accepting.length < calls) accepting.push(await time(accept))
    }
    await Promise.all(Array.from({ length: FLIGHT }, lane))
    const perSecond = accepting.length / ((performance.now() - startedAt) / 1000)
    const after = await readResident(gateway.pid)
    const listing: number[] = []
    for (let count = 0; count < LISTINGS; count += 1) listing.push(await time(list))
    const head = ['ms', 'requests', 'min', 'median', 'p95', 'p99', 'max']
    console.log(
      toTable(head, [
        [`accepting, ${FLIGHT} in flight`, ...toTimes(accepting)],
        ['GET /invocations', ...toTimes(listing)],
      ]),
    )
    console.log(`load ${describeLoad()}`)
    return report([
      { what: 'calls accepted per second, each fsynced', value: perSecond, atLeast: 500 },
      { what: `MiB more with ${calls} that wait`, value: after - before, atMost: 50 },
      { what: 'median of GET /invocations, ms', value: median(listing), atMost: 20 },
    ])
  } finally {
    agent.destroy()
    await gateway.stop()
    // What the gateway has left running for the next one.
    const left = await watchContainers(engine, `oneshot.function=${name}`, over.signal)
    await left[Symbol.asyncDispose]()
  }
}

const { values } = parseArgs({ options: { calls: { type: 'string', default: '10000' } } })
if (!(await main(Number(values.calls)))) process.exitCode = 1
