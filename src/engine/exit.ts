import type Docker from 'dockerode'
import type { Logger } from 'pino'
import type { ContainerSpec } from '../core/function.ts'
import type { TaskEnd } from '../core/outcome.ts'
import { ask } from './docker.ts'
import { Lost } from './refusal.ts'
import { withinMs } from './stop.ts'

export interface ExitsDeps {
  readonly docker: Docker
  readonly logger: Logger
}

/** How containers end. */
export interface Exits {
  /** How the engine says that a container has ended: `exited` or `lost`. Never rejects. */
  wait(name: string): Promise<TaskEnd>
  /** The stop signal, the grace period, then SIGKILL. Failures are let go: the end, or its absence, tells. */
  terminate(name: string, container: ContainerSpec): Promise<void>
}

/** How long after a stop's grace period the engine may take to report the end. */
export const STOP_REPORT_MS = 10_000

export function createExits({ docker, logger }: ExitsDeps): Exits {
  async function wait(name: string): Promise<TaskEnd> {
    const path = `/containers/${name}/wait`
    const waited = await ask(docker, { method: 'POST', path }).catch((error: unknown) => error)
    const exitCode = (waited as { StatusCode?: unknown } | null)?.StatusCode
    if (typeof exitCode !== 'number') return toLost(waited)
    if (exitCode === 0) return { kind: 'exited', exitCode, oomKilled: false }
    // An engine that is told to end kills its containers and still answers with their 137: a new connection shows
    // whether it is there to stand by its word.
    try {
      const inspect = { method: 'GET', path: `/containers/${name}/json`, afresh: true } as const
      const { State } = (await ask(docker, inspect)) as Docker.ContainerInspectInfo
      return { kind: 'exited', exitCode, oomKilled: State.OOMKilled }
    } catch (error) {
      return toLost(error)
    }
  }

  async function terminate(name: string, container: ContainerSpec): Promise<void> {
    const graceMs = container.stopGracePeriodMs
    const command = (verb: string) =>
      ask(docker, { method: 'POST', path: `/containers/${name}/${verb}` })
    const killing = setTimeout(() => void command('kill').catch(() => {}), graceMs)
    // The engine knows whole seconds only, and the image's own stop signal.
    const stopping = command(`stop?t=${Math.ceil(graceMs / 1000)}`).catch((error: unknown) => {
      logger.warn({ err: error, container: name }, 'stopping a container failed')
    })
    await withinMs(stopping, graceMs + STOP_REPORT_MS)
    clearTimeout(killing)
  }

  return { wait, terminate }
}

export function toLost(cause: unknown): TaskEnd {
  return { kind: 'lost', failure: new Lost(cause).failure }
}
