import type { Logger } from 'pino'
import type { Credentials } from '../credentials.ts'
import { isStatus, toEngineError, toRegistryAuth } from '../docker.ts'
import { GATEWAY_LABEL, INVOCATION_LABEL } from '../labels.ts'
import { toRefusal } from '../refusal.ts'
import type { Inputs } from './input.ts'
import type { Managers } from './managers.ts'
import type { ServicePlan } from './service.ts'
import { toServiceSpec } from './service.ts'

export interface ServicesDeps {
  readonly managers: Managers
  readonly gatewayId: string
  readonly credentials: Credentials
  readonly inputs: Inputs
  readonly logger: Logger
}

/** The services of tasks, each with what belongs to it. */
export interface Services {
  /** From now on no sweep takes what bears the name, until it is removed. Waits for a removal that is under way. */
  claim(name: string): Promise<void>
  /** Makes it, without a task yet: its id. Also of one that an earlier request, whose answer was lost, has made. */
  create(plan: ServicePlan): Promise<string>
  /** Has it make its task. From `over` on it is not asked for again: its caller counts on it no longer. */
  start(name: string, over?: AbortSignal): Promise<void>
  /**
   * Finds what a former process has made. If it was not started it never will be: a start that was asked for before, and has not been
   * done, is refused.
   */
  withhold(name: string): Promise<Found | undefined>
  /** Has its task end, and keeps it: how it ended, and its output, can still be asked for. */
  stop(name: string): Promise<void>
  /** Removes it with its input, behind whatever its caller does next, once `until` is settled. */
  discard(name: string, until: Promise<unknown> | undefined): void
  remove(name: string): Promise<void>
  /** Removes what belongs to no live invocation: how many. */
  sweep(isLive: (invocationId: string) => boolean): Promise<number>
  /** Waits until all that is to be removed is removed, or left to a sweep. Whether nothing is left. */
  close(): Promise<boolean>
}

export interface Found {
  readonly id: string
  /** Its task was made, or is being made. */
  readonly isStarted: boolean
}

const RETRY_MS = [100, 500, 2_000, 5_000, 10_000]
const MAX_UPDATES = 5

export function createServices(deps: ServicesDeps): Services {
  const { managers, gatewayId, credentials, inputs, logger } = deps
  const live = new Set<string>()
  const removals = new Map<string, Promise<void>>()
  /** Listing configs brings all of their contents along. */
  let mayConfigsBeLeft = true

  async function claim(name: string): Promise<void> {
    await removals.get(name)
    live.add(name)
  }

  async function create(plan: ServicePlan): Promise<string> {
    const auth = await credentials.find(plan.task.container.image)
    const headers = auth ? { 'X-Registry-Auth': toRegistryAuth(auth) } : {}
    const body = toServiceSpec(plan)
    try {
      const request = { method: 'POST', path: '/services/create', body, headers } as const
      return ((await managers.ask(request)) as { ID: string }).ID
    } catch (error) {
      const made = isStatus(error, 409) ? await inspect(plan.name) : undefined
      if (made) return made.ID
      throw toRefusal(error)
    }
  }

  /** The next update makes its version another one, which a start that comes later does not know. */
  async function withhold(name: string): Promise<Found | undefined> {
    let found: Found | undefined
    await update(name, (service) => {
      found = { id: service.ID, isStarted: isStarted(service) }
      return found.isStarted ? undefined : toNowhere(service)
    })
    return found
  }

  async function inspect(name: string): Promise<Service | undefined> {
    const question = { method: 'GET', path: `/services/${name}` } as const
    return (await managers.ask(question).catch((error: unknown) => {
      if (isStatus(error, 404)) return undefined
      throw toEngineError(error)
    })) as Service | undefined
  }

  function start(name: string, over?: AbortSignal): Promise<void> {
    const change = (service: Service) =>
      isStarted(service) ? undefined : { ...service.Spec, Mode: { Replicated: { Replicas: 1 } } }
    return update(name, change, over)
  }

  /** Scaled to none, it would lose its task at once, and that its end. So it is told to run where no node is. */
  function stop(name: string): Promise<void> {
    return update(name, toNowhere)
  }

  async function update(
    name: string,
    change: (service: Service) => object | undefined,
    over?: AbortSignal,
  ): Promise<void> {
    for (let tries = 1; ; tries += 1) {
      const service = await inspect(name)
      const body = service && change(service)
      if (!body || over?.aborted) return
      const path = `/services/${name}/update?version=${service.Version.Index}`
      try {
        await managers.ask({ method: 'POST', path, body, ...(over && { over }) })
        return
      } catch (error) {
        // Its version may have changed meanwhile, also by an earlier request whose answer was lost.
        if (tries >= MAX_UPDATES) throw toEngineError(error)
      }
    }
  }

  function discard(name: string, until: Promise<unknown> = Promise.resolve()): void {
    void until.catch(() => {}).then(() => remove(name))
  }

  function remove(name: string): Promise<void> {
    const underway = removals.get(name)
    if (underway) return underway
    const removing = removeNow(name).finally(() => {
      removals.delete(name)
      live.delete(name)
    })
    removals.set(name, removing)
    return removing
  }

  /** A config can't be removed while a service has it. What can't be removed now is left to the sweep. */
  async function removeNow(name: string): Promise<void> {
    const isGone = (await removeAt(`/services/${name}`)) && (await removeAt(`/configs/${name}`))
    if (isGone) await inputs.remove(name).catch(warn)
    else mayConfigsBeLeft = true
  }

  async function removeAt(path: string): Promise<boolean> {
    for (const ms of [0, ...RETRY_MS]) {
      if (ms > 0) await new Promise((resolve) => setTimeout(resolve, ms))
      try {
        await managers.ask({ method: 'DELETE', path, rideOutMs: 0 })
        return true
      } catch (error) {
        if (isStatus(error, 404)) return true
        warn(error)
      }
    }
    return false
  }

  function warn(error: unknown): void {
    logger.debug({ err: error }, 'a removal failed')
  }

  async function sweep(isLive: (invocationId: string) => boolean): Promise<number> {
    const isWanted = (name: string, invocationId: string) => live.has(name) || isLive(invocationId)
    const spooled = await inputs.list()
    const services = await list('services')
    const configs = mayConfigsBeLeft ? await list('configs') : []
    mayConfigsBeLeft = false
    const named = [...services, ...configs]
    const known = new Set(named.map(({ Name }) => Name))
    const names = new Set([
      ...named
        .filter(({ Name, Labels }) => !isWanted(Name, Labels[INVOCATION_LABEL] ?? ''))
        .map(({ Name }) => Name),
      ...spooled.filter((name) => !known.has(name) && !isWanted(name, '')),
    ])
    await Promise.all([...names].map(remove))
    return names.size
  }

  async function list(kind: 'services' | 'configs'): Promise<readonly Named[]> {
    const filters = JSON.stringify({ label: [`${GATEWAY_LABEL}=${gatewayId}`] })
    const path = `/${kind}?${new URLSearchParams({ filters }).toString()}`
    const listed = (await managers.ask({ method: 'GET', path, rideOutMs: 0 })) as { Spec: Named }[]
    return listed.map(({ Spec }) => Spec)
  }

  async function close(): Promise<boolean> {
    while (removals.size > 0) await Promise.all(removals.values())
    return live.size === 0
  }

  return {
    claim,
    create,
    start,
    withhold,
    stop,
    discard,
    remove,
    sweep,
    close,
  }
}

interface Named {
  readonly Name: string
  readonly Labels: Readonly<Record<string, string>>
}

interface Service {
  readonly ID: string
  readonly Version: { readonly Index: number }
  readonly Spec: {
    readonly TaskTemplate: object
    readonly Mode: { readonly Replicated?: { readonly Replicas?: number } }
  }
}

/** Matches no node. */
const NOWHERE = 'node.id==stopped'

function toNowhere({ Spec }: Service) {
  const Placement = { Constraints: [NOWHERE] }
  return { ...Spec, TaskTemplate: { ...Spec.TaskTemplate, Placement } }
}

function isStarted({ Spec }: Service): boolean {
  return (Spec.Mode.Replicated?.Replicas ?? 0) > 0
}
