import { once } from 'node:events'
import { Agent, request } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { json } from 'node:stream/consumers'
import { isDeepStrictEqual, parseArgs } from 'node:util'
import type { Envelope } from '../src/core/envelope.ts'
import { toComparable } from '../test/comparable.ts'
import { whenArmed } from '../test/docker/pool.ts'
import { createEngineClient } from './engine-client.ts'
import { startGateway } from './gateway.ts'
import { describeLoad, describeMachine } from './machine.ts'
import type { Order } from './order.ts'
import { toDefinition, toOrder } from './order.ts'
import { createDraw } from './random.ts'
import { toTable } from './table.ts'

interface Options {
  readonly calls: number
  readonly flight: number
  readonly seed: number
}

interface Answer {
  readonly start: string
  readonly envelope: Envelope
}

const REPORT_EVERY = 200
/** A call that its timeout has left less than this to run in is made again: it tells nothing of the command. */
const ENOUGH_MS = 1000
const HASTY = { timeout: '3s', stop_grace_period: '2s' }

/** Each call twice, in an armed container and in one without a gate: all that their envelopes say is to be the same. */
async function main({ calls, flight, seed }: Options): Promise<boolean> {
  const engine = createEngineClient()
  console.log(`${await describeMachine(engine)}\nload ${describeLoad()}\nseed ${seed}`)
  const gateway = await startGateway({
    functions: {
      mixed: toDefinition({ warm: flight }),
      'mixed-bare': toDefinition({ warm: 0 }),
      hasty: toDefinition({ warm: 1, ...HASTY }),
      'hasty-bare': toDefinition({ warm: 0, ...HASTY }),
    },
  })
  const agent = new Agent({ keepAlive: true })
  const starts = new Map<string, number>()
  let done = 0
  let different = 0

  async function call(name: string, order: Pick<Order, 'parameters' | 'body'>): Promise<Answer> {
    const { parameters, body } = order
    const path = `/function/${name}?${new URLSearchParams(parameters).toString()}`
    const headers = { 'Content-Length': body.length }
    const outgoing = request(gateway.url + path, { method: 'POST', agent, headers }).end(body)
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
    const envelope = (await json(response)) as Envelope
    const start = response.headers['x-oneshot-start']
    if (typeof start !== 'string') throw new Error(`${name}: ${JSON.stringify(envelope)}`)
    if (envelope.state === 'timed_out' && (envelope.timings.runMs ?? 0) < ENOUGH_MS) {
      tally('made again')
      return call(name, order)
    }
    return { start, envelope }
  }

  function tally(what: string): void {
    starts.set(what, (starts.get(what) ?? 0) + 1)
  }

  /** As many calls at once as are armed, then the same without a gate. */
  async function batch(indices: readonly number[]): Promise<void> {
    const orders = indices.map((index) => toOrder(createDraw(seed + index)))
    await whenArmed(gateway, 'mixed', flight)
    await whenArmed(gateway, 'hasty')
    const gated = await Promise.all(orders.map((order) => call(order.function, order)))
    const bare = await Promise.all(orders.map((order) => call(`${order.function}-bare`, order)))
    for (const [at, order] of orders.entries()) settle(indices[at]!, order, gated[at]!, bare[at]!)
  }

  function settle(index: number, order: Order, gated: Answer, bare: Answer): void {
    tally(gated.start)
    tally('bare')
    const differences = compare(gated.envelope, bare.envelope)
    if (differences.length > 0) {
      different += 1
      const about = `${JSON.stringify(order.parameters)}, ${order.body.length} bytes of input`
      console.log(`call ${index} (${gated.start}) differs: ${about}\n${differences.join('\n')}`)
    }
    done += 1
    if (done % REPORT_EVERY === 0) console.log(`${done} of ${calls}, ${different} differ`)
  }

  const startedAt = performance.now()
  let label: string
  try {
    for (let begun = 0; begun < calls; begun += flight) {
      const length = Math.min(flight, calls - begun)
      await batch(Array.from({ length }, (_, at) => begun + at))
    }
    label = await findGatewayLabel()
  } finally {
    agent.destroy()
    await gateway.stop()
  }
  const left = await list(label)
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(0)
  const rows = Array.from(starts, ([what, count]) => [what, String(count)])
  console.log(`\n${toTable(['calls', ''], rows)}\n`)
  console.log(
    `${done} calls made twice in ${seconds} s; ${different} differ; load ${describeLoad()}`,
  )
  console.log(`${left.length} containers left`)
  return different === 0 && left.length === 0 && done === calls

  /** That of all that this gateway makes: some of it is always armed. */
  async function findGatewayLabel(): Promise<string> {
    const name = 'oneshot.gateway'
    const [id] = await list('oneshot.function=mixed')
    if (id === undefined) throw new Error('nothing is armed')
    const path = `/containers/${id}/json`
    const { Config } = await engine.send<{ Config: { Labels: Record<string, string> } }>(
      'GET',
      path,
    )
    return `${name}=${Config.Labels[name]}`
  }

  async function list(label: string): Promise<string[]> {
    const filters = encodeURIComponent(JSON.stringify({ label: [label] }))
    const path = `/containers/json?all=1&filters=${filters}`
    return (await engine.send<{ Id: string }[]>('GET', path)).map(({ Id }) => Id)
  }
}

function compare(gated: Envelope, bare: Envelope): string[] {
  const [ours, theirs] = [toComparable(gated), toComparable(bare)]
  return [...new Set([...Object.keys(ours), ...Object.keys(theirs)])]
    .filter((key) => !isDeepStrictEqual(ours[key], theirs[key]))
    .map((key) => `  ${key}: ${abridge(ours[key])} with a gate, ${abridge(theirs[key])} without`)
}

function abridge(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing'
  return text.length < 100 ? text : `${text.slice(0, 40)}…${text.slice(-40)} (${text.length})`
}

const { values } = parseArgs({
  options: {
    calls: { type: 'string', default: '5000' },
    flight: { type: 'string', default: '8' },
    seed: { type: 'string', default: String(Date.now() & 0x7fffffff) },
  },
})
const alike = await main({
  calls: Number(values.calls),
  flight: Number(values.flight),
  seed: Number(values.seed),
})
if (!alike) process.exitCode = 1
