import { execFile } from 'node:child_process'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { eventually } from './containers.ts'
import { docker } from './docker-client.ts'

const run = promisify(execFile)
const script = join(import.meta.dirname, 'swarm-lab.sh')
/** Its exit status where this machine can't do it. */
const CANNOT = 3
/** Nothing that the script does takes longer unless it hangs. */
const BOUND_MS = 90_000
/** A manager without a leader answers nothing for long. */
const ASK_MS = 5_000
const STATUS_MS = 60_000
/** As in the script. */
const NETWORK = '192.0.2'

/** A machine of a lab: a set of namespaces with an engine in it, which is a node of the lab's swarm. */
export interface Machine {
  /** Its host name, and its node's: `node1` and so on. The node's label `lab` is the number. */
  readonly name: string
  /** Of its engine, for `DOCKER_HOST`. */
  readonly address: string
  /** Runs a command of Docker's client on its engine: what it printed, without the last newline. */
  docker(...args: readonly string[]): Promise<string>
  /** Ends its engine as a crash would. Containers go on. */
  kill(): Promise<void>
  /** Ends its engine in good order, containers first. */
  stop(): Promise<void>
  /** Cuts its power: engine and containers die in the same moment. */
  cut(): Promise<void>
  /** Starts what has ended, and returns once its engine answers; `whenReady` says when the swarm has it back. */
  start(): Promise<void>
  /** Parts it from the other machines, or joins it again. Its engine can be asked all the while. */
  unplug(): Promise<void>
  plug(): Promise<void>
}

/** A swarm of its own on this machine. Disposing leaves no trace of it. */
export interface SwarmLab extends AsyncDisposable {
  readonly machines: readonly Machine[]
  /** The engines of all managers, separated by commas, the first machine's first. */
  readonly address: string
  /** Where all that it has lives. Processes that belong to it name it. */
  readonly folder: string
  /** What the machines reach a program by that is started with `atSwitch`. Engines trust a registry there. */
  readonly switchAddress: string
  /** The words before a command that make it run on the switch. */
  readonly atSwitch: readonly string[]
  /** As seen by a manager that can be asked. */
  leader(): Promise<Machine>
  drain(machine: Machine): Promise<void>
  activate(machine: Machine): Promise<void>
  /** Returns once the managers say so. */
  whenReady(machine: Machine): Promise<void>
  whenDown(machine: Machine): Promise<void>
}

export interface SwarmLabOptions {
  readonly machines?: number
  /** How many of them manage the swarm, the first machine among them; unless given, all. */
  readonly managers?: number
  /** Copied from the engine of DOCKER_HOST. */
  readonly image?: string
  /** How often a node says that it is there. It counts as gone after some three times as long. */
  readonly heartbeat?: string
}

/** Why there can be no lab on this machine, if so. */
export async function findObstacle(): Promise<string | undefined> {
  try {
    await lay(join(tmpdir(), 'none'), 'ready')
    return undefined
  } catch (error) {
    const { code, stderr } = error as { code?: unknown; stderr?: string }
    if (code === CANNOT) return `no swarm lab: ${stderr?.trim()}`
    throw error
  }
}

export async function startSwarmLab(options: SwarmLabOptions = {}): Promise<SwarmLab> {
  const { machines: count = 3, managers: managerCount = count } = options
  const { image = 'busybox:stable', heartbeat = '2s' } = options
  const folder = await mkdtemp(join(tmpdir(), 'oneshot-lab-'))
  const machines = Array.from({ length: count }, (_, index) => toMachine(folder, index + 1))
  const managers = machines.slice(0, managerCount)
  const tidy = () => lay(folder, 'down')
  try {
    await lay(folder, 'switch')
    await Promise.all(machines.map((machine) => machine.start()))
    const archive = join(folder, 'image.tar')
    await docker('save', '-o', archive, image)
    await Promise.all(machines.map((machine) => machine.docker('load', '-q', '-i', archive)))
    await makeSwarm(machines, managers, heartbeat)
    return { ...toLab(folder, machines, managers), [Symbol.asyncDispose]: tidy }
  } catch (error) {
    await tidy()
    throw error
  }
}

function toMachine(folder: string, number: number): Machine {
  const address = `unix://${folder}/${number}/docker.sock`
  const verb = (word: string) => () => lay(folder, word, String(number))
  return {
    name: `node${number}`,
    address,
    docker: (...args) => docker('-H', address, ...args),
    kill: verb('kill'),
    stop: verb('stop'),
    cut: verb('cut'),
    start: verb('boot'),
    unplug: verb('unplug'),
    plug: verb('plug'),
  }
}

async function makeSwarm(
  machines: readonly Machine[],
  managers: readonly Machine[],
  heartbeat: string,
): Promise<void> {
  const [first, ...others] = machines
  if (!first) throw new Error('a lab needs a machine')
  const at = toIp(first)
  await first.docker('swarm', 'init', '--advertise-addr', at, '--dispatcher-heartbeat', heartbeat)
  for (const machine of others) {
    const role = managers.includes(machine) ? 'manager' : 'worker'
    const token = await first.docker('swarm', 'join-token', '-q', role)
    await machine.docker('swarm', 'join', '--token', token, `${at}:2377`)
  }
  for (const machine of machines) {
    const label = `lab=${machine.name.slice('node'.length)}`
    await first.docker('node', 'update', '--label-add', label, machine.name)
  }
}

function toIp({ name }: Machine): string {
  return `${NETWORK}.${name.slice('node'.length)}`
}

function toLab(folder: string, machines: readonly Machine[], managers: readonly Machine[]) {
  const asRoot = process.getuid?.() === 0 ? [] : ['sudo', '-n']
  /** Asks one manager after the other: some may be down, or without a leader. */
  const ask = async (...args: readonly string[]): Promise<string> => {
    let failure: unknown
    for (const { address } of managers) {
      const asked = run('docker', ['-H', address, ...args], { timeout: ASK_MS })
      const answer = await asked.catch((error: unknown) => void (failure = error))
      if (answer) return answer.stdout.trimEnd()
    }
    throw failure
  }
  const listNodes = async () =>
    (await ask('node', 'ls', '--format', '{{.Hostname}} {{.Status}} {{.ManagerStatus}}'))
      .split('\n')
      .map((line) => line.split(' '))
  const whenStatus = (machine: Machine, wanted: string) =>
    eventually(
      () => listNodes().catch(() => []),
      (nodes) => nodes.some(([name, status]) => name === machine.name && status === wanted),
      STATUS_MS,
    )
  return {
    machines,
    address: managers.map(({ address }) => address).join(','),
    folder,
    switchAddress: `${NETWORK}.254`,
    atSwitch: [...asRoot, 'env', `SWARM_LAB_DIR=${folder}`, script, 'at-switch'],
    async leader() {
      const nodes = await eventually(
        () => listNodes().catch(() => []),
        (nodes) => nodes.some(([, , role]) => role === 'Leader'),
        STATUS_MS,
      )
      const leader = nodes.find(([, , role]) => role === 'Leader')
      return machines.find(({ name }) => name === leader?.[0]) as Machine
    },
    async drain({ name }: Machine) {
      await ask('node', 'update', '--availability', 'drain', name)
    },
    async activate({ name }: Machine) {
      await ask('node', 'update', '--availability', 'active', name)
    },
    async whenReady(machine: Machine) {
      await whenStatus(machine, 'Ready')
    },
    async whenDown(machine: Machine) {
      await whenStatus(machine, 'Down')
    },
  }
}

async function lay(folder: string, ...words: readonly string[]): Promise<void> {
  const env = { ...process.env, SWARM_LAB_DIR: folder }
  await run(script, words, { env, timeout: BOUND_MS })
}
