import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { Agent, request } from 'node:http'
import { json, text } from 'node:stream/consumers'
import type { Envelope } from '../src/core/envelope.ts'
import type { Program } from '../test/program.ts'
import { startGateway } from './gateway.ts'

export interface TimedCall {
  readonly ms: number
  readonly start: string
  /** What only this container's root has in its name. */
  readonly container: string
}

export interface ArmedGateway extends AsyncDisposable {
  readonly program: Program
  /** One call by HTTP on a kept connection, its exit code and output checked. */
  call(): Promise<TimedCall>
  /** Waits until so many containers are armed, and then `quietMs` milliseconds more. */
  armed(count: number, quietMs: number): Promise<void>
}

/** Prints where the container's root is: each has one of its own. */
const COMMAND = ['head', '-n', '1', '/proc/self/mountinfo']

/** A gateway with one function, whose calls tell which container they ran in. */
export async function startArmedGateway(warm: number | 'auto'): Promise<ArmedGateway> {
  const definition = { image: 'busybox:stable', network_mode: 'none', warm, command: COMMAND }
  const program = await startGateway({
    functions: { where: JSON.stringify(definition) },
    env: { ONESHOT_WARM_MEMORY: '1g' },
  })
  const agent = new Agent({ keepAlive: true })

  async function call(): Promise<TimedCall> {
    const startedAt = performance.now()
    const outgoing = request(`${program.url}/function/where`, { method: 'POST', agent })
    outgoing.end()
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
    const { exitCode, stdout } = (await json(response)) as Envelope
    const ms = performance.now() - startedAt
    const [, container] = /upperdir=\S*?\/([0-9a-f]{64})\//.exec(stdout) ?? []
    if (exitCode !== 0 || container === undefined) {
      throw new Error(`exit code ${exitCode}, output ${JSON.stringify(stdout)}`)
    }
    return { ms, start: String(response.headers['x-oneshot-start']), container }
  }

  async function armed(count: number, quietMs: number): Promise<void> {
    for (;;) {
      const [response] = (await once(
        request(`${program.url}/metrics`, { agent }).end(),
        'response',
      )) as [IncomingMessage]
      const [, ready] =
        /^oneshot_armed\{function="where"\} (\d+)$/m.exec(await text(response)) ?? []
      await new Promise((resolve) => setTimeout(resolve, Number(ready) === count ? quietMs : 50))
      if (Number(ready) === count) return
    }
  }

  return {
    program,
    call,
    armed,
    async [Symbol.asyncDispose]() {
      agent.destroy()
      await program.stop()
    },
  }
}

/** Throws unless every call had a container of its own. */
export function checkContainers(calls: readonly TimedCall[]): void {
  const containers = new Set(calls.map(({ container }) => container))
  if (containers.size !== calls.length) {
    throw new Error(`${calls.length} calls ran in ${containers.size} containers`)
  }
}
