import { execFile } from 'node:child_process'
import { Agent, request } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { once } from 'node:events'
import { buffer, json } from 'node:stream/consumers'
import { promisify } from 'node:util'
import type { Envelope } from '../src/core/envelope.ts'
import { GATE_PROCESSES } from '../src/engine/gate.ts'
import type { EngineClient } from './engine-client.ts'

const run = promisify(execFile)

/** One way to run the command in a container of its own. */
export interface Contestant {
  readonly name: string
  /** One call, from its request to its whole, checked answer; the container's removal may lag behind it. */
  call(): Promise<void>
}

export interface Work {
  readonly network: string
  /** Their containers' labels. */
  readonly labels: Readonly<Record<string, string>>
}

export const IMAGE = 'busybox:stable'
const OUTPUT = 'ran\n'
/** The gateway's default, and the gate's processes. */
const PIDS = 256 + GATE_PROCESSES
export const COMMAND = ['echo', OUTPUT.trim()]

/** The engine's own API, by the shortest way: create, attach, start, wait, and the removal behind. */
export function createBareEngine(engine: EngineClient, { network, labels }: Work): Contestant {
  const body = {
    Image: IMAGE,
    Cmd: COMMAND,
    AttachStdout: true,
    AttachStderr: true,
    Labels: labels,
    HostConfig: {
      NetworkMode: network,
      RestartPolicy: { Name: 'no' },
      CapDrop: ['ALL'],
      SecurityOpt: ['no-new-privileges:true'],
      Memory: 512 * 1024 ** 2,
      MemorySwap: 512 * 1024 ** 2,
      PidsLimit: PIDS,
      LogConfig: {
        Type: 'local',
        Config: { 'max-size': '10485760', 'max-file': '1', compress: 'false', mode: 'blocking' },
      },
    },
  }
  return {
    name: 'bare engine API',
    async call() {
      const { Id } = await engine.send<{ Id: string }>('POST', '/containers/create', body)
      const container = `/containers/${Id}`
      const output = await engine.attach(Id)
      await engine.send('POST', `${container}/start`)
      const [{ StatusCode }, printed] = await Promise.all([
        engine.send<{ StatusCode: number }>('POST', `${container}/wait`),
        buffer(output),
      ])
      engine.send('DELETE', `${container}?force=1&v=1`).catch(console.error)
      check(this.name, StatusCode, printed.subarray(8).toString())
    },
  }
}

/** Docker's own command line, which removes the container before it ends. */
export function createDockerRun({ network, labels }: Work): Contestant {
  const options = [
    `--network=${network}`,
    ...Object.entries(labels).map(([name, value]) => `--label=${name}=${value}`),
    '--cap-drop=ALL',
    '--security-opt=no-new-privileges:true',
    '--memory=512m',
    '--memory-swap=512m',
    `--pids-limit=${PIDS}`,
    '--log-driver=local',
    ...['max-size=10485760', 'max-file=1', 'compress=false', 'mode=blocking'].map(
      (option) => `--log-opt=${option}`,
    ),
  ]
  return {
    name: 'docker run --rm',
    async call() {
      // Any other exit code than 0 rejects.
      const { stdout } = await run('docker', ['run', '--rm', ...options, IMAGE, ...COMMAND])
      check(this.name, 0, stdout)
    },
  }
}

/** The definition whose safe defaults the others spell out. */
export function toDefinition({ network, labels }: Work): string {
  return JSON.stringify({ image: IMAGE, network_mode: network, command: COMMAND, labels })
}

/** A call by HTTP, on kept connections as a busy client has them. */
export function createGatewayCall(url: string, functionName: string): Contestant {
  const agent = new Agent({ keepAlive: true })
  return {
    name: 'POST /function/NAME',
    async call() {
      const outgoing = request(`${url}/function/${functionName}`, { method: 'POST', agent })
      outgoing.end()
      const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
      const answer = (await json(response)) as Envelope
      check(this.name, answer.exitCode, answer.stdout)
    },
  }
}

/** A benchmark of failures would be worthless. */
function check(name: string, exitCode: number | null, stdout: string): void {
  if (exitCode === 0 && stdout === OUTPUT) return
  throw new Error(`${name}: exit code ${exitCode}, output ${JSON.stringify(stdout)}`)
}
