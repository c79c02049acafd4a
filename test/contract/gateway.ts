import { expect, inject } from 'vitest'
import type { Envelope } from '../../src/core/envelope.ts'
import type { Problem } from '../../src/http/errors.ts'
import { eventually, findContainers } from '../docker/containers.ts'
import { docker } from '../docker/docker-client.ts'
import type { Program, ProgramOptions } from '../program.ts'
import { startProgram } from '../program.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** What runs calls: `ONESHOT_BACKEND` of this run's gateways. */
    readonly backend: Envelope['engine']
  }
}

/** What runs the calls. Where the two kinds differ, the test that tells of it asks here. */
export const engine = inject('backend')

/** A definition of one shell script without a network; `$` needs no doubling. */
export const shell = (script: string, more = '') => `image: busybox:stable
network_mode: none
command: ${JSON.stringify(['sh', '-c', script.replaceAll('$', '$$$$')])}
${more}`

export interface CallInit extends RequestInit {
  /** Parameters, or a query as it stands. */
  readonly query?: string | Readonly<Record<string, string>>
}

/** A gateway with functions of a test's own, or the gallery. */
export interface Gateway extends AsyncDisposable {
  readonly program: Program
  readonly url: string
  call(name: string, init?: CallInit): Promise<Response>
  /** With the answer's status. */
  envelope(name: string, init?: CallInit): Promise<Envelope & { readonly status: number }>
  raw(name: string, init?: CallInit): Promise<Buffer>
  /** A refusal, with the status that it says. */
  problem(name: string, init?: CallInit): Promise<Problem>
  stop(): Promise<number | null>
}

/** Nothing is armed ahead, so that whatever is there belongs to a call. */
export async function startGateway({ env, ...options }: ProgramOptions = {}): Promise<Gateway> {
  const settings = { ONESHOT_BACKEND: engine, ONESHOT_WARM_MEMORY: '0', ...env }
  const program = await startProgram({ ...options, env: settings })
  const { url } = program

  async function call(name: string, { query = '', ...init }: CallInit = {}): Promise<Response> {
    const search = new URLSearchParams(query).toString()
    return fetch(`${url}/function/${name}?${search}`, { method: 'POST', ...init })
  }

  return {
    program,
    url,
    call,
    async envelope(name, init) {
      const response = await call(name, init)
      return { status: response.status, ...((await response.json()) as Envelope) }
    },
    async raw(name, init = {}) {
      const headers = { Accept: 'application/octet-stream' }
      const response = await call(name, { headers, ...init })
      return Buffer.from(await response.arrayBuffer())
    },
    async problem(name, init) {
      const response = await call(name, init)
      expect(response.headers.get('content-type')).toBe('application/problem+json')
      const problem = (await response.json()) as Problem
      expect(problem.status).toBe(response.status)
      return problem
    },
    stop: () => program.stop(),
    [Symbol.asyncDispose]: () => program[Symbol.asyncDispose](),
  }
}

/** The kinds of things that calls leave on a swarm for a while; tasks go with their services. */
const SWARM_KINDS = ['service', 'config', 'secret'] as const

/** What is there of a function's calls, or of all, by its kind and name. */
export async function findLeft(functionName?: string): Promise<string[]> {
  const containers = await findContainers(functionName)
  const left = containers.map(({ Names: [name = ''] }) => `container ${name}`)
  if (engine === 'container') return left
  const label = functionName === undefined ? 'gateway' : `function=${functionName}`
  const filter = `label=oneshot.${label}`
  for (const kind of SWARM_KINDS) {
    const ids = await docker(kind, 'ls', '--quiet', '--filter', filter)
    left.push(...ids.split('\n').flatMap((id) => (id === '' ? [] : `${kind} ${id}`)))
  }
  return left
}

export const nothingLeft = (functionName?: string) =>
  eventually(
    () => findLeft(functionName),
    (left) => left.length === 0,
  )
