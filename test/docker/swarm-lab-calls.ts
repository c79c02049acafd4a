import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Envelope } from '../../src/core/envelope.ts'
import type { InvocationStatus } from '../../src/http/openapi-invocations.ts'
import type { Program } from '../program.ts'
import { eventually } from './containers.ts'
import type { Machine, SwarmLab } from './swarm-lab.ts'

/**
 * Calls of functions whose command says `begun`, and in a file of the test's where it runs. It ends with 3, saying its parameter
 * `word`, when the test wants it to, on whatever machine it is: all of them see the test's files.
 */
export interface HeldCalls extends AsyncDisposable {
  /** A definition, with more keys. */
  define(more: string): string
  /** A call that nobody waits for, once it runs and its gateway has heard of it. */
  begin(program: Program, name: string, word: string): Promise<{ id: string; machine: Machine }>
  /** The names of the machines on which it has run, one for each time. */
  findRuns(word: string): Promise<string[]>
  /** The machine on which it runs for the `times`-th time. */
  whenRunning(word: string, times?: number): Promise<Machine>
  end(word: string): Promise<void>
}

export async function createHeldCalls(lab: SwarmLab): Promise<HeldCalls> {
  const folder = await mkdtemp(join(tmpdir(), 'oneshot-held-'))
  // Root in a container without capabilities is not allowed more than anybody.
  await chmod(folder, 0o777)

  async function findRuns(word: string): Promise<string[]> {
    const runs = await readFile(join(folder, `${word}.runs`), 'utf8').catch(() => '')
    return runs.split('\n').slice(0, -1)
  }

  async function whenRunning(word: string, times = 1): Promise<Machine> {
    const runs = await eventually(
      () => findRuns(word),
      (runs) => runs.length === times,
      60_000,
    )
    return lab.machines.find(({ name }) => name === runs.at(-1)) as Machine
  }

  return {
    findRuns,
    whenRunning,
    // An engine that comes back stops what has outlived it: a signal that the shell does not heed would take it 10 s.
    define: (more) => `image: busybox:stable
stop_signal: SIGKILL
stop_grace_period: 1s
timeout: 5m
volumes: ['${folder}:/test']
environment:
  HOST: '{{.Node.Hostname}}'
parameters:
  word: { type: string, required: true }
command:
  - sh
  - -c
  - |
    echo begun
    echo "$$HOST" >>"/test/$$word.runs"
    until [ -e "/test/$$word.end" ]; do sleep 0.1; done
    echo "$$word"
    exit 3
${more}
`,
    async begin(program, name, word) {
      const url = `${program.url}/async-function/${name}?word=${word}`
      const { id } = (await (await fetch(url, { method: 'POST' })).json()) as { id: string }
      const machine = await whenRunning(word)
      const logs = async () => (await fetch(`${program.url}/invocations/${id}/logs`)).text()
      await eventually(logs, (text) => text === 'begun\n')
      return { id, machine }
    },
    end: (word) => writeFile(join(folder, `${word}.end`), ''),
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true }),
  }
}

export async function getResult(program: Program, id: string): Promise<Envelope> {
  const answer = await fetch(`${program.url}/invocations/${id}/result?wait=100`)
  return (await answer.json()) as Envelope
}

export async function getStatus(program: Program, id: string): Promise<InvocationStatus> {
  return (await (await fetch(`${program.url}/invocations/${id}`)).json()) as InvocationStatus
}

/** Nothing of a call is left on any machine. */
export async function whenCleared(lab: SwarmLab): Promise<void> {
  for (const machine of lab.machines) {
    const list = () => machine.docker('ps', '-aq', '--filter', 'label=oneshot.invocation')
    await eventually(list, (ids) => ids === '', 60_000)
  }
}
