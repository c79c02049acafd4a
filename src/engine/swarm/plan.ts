import { OneshotError } from '../../core/error.ts'
import type { ContainerSpec, NetworkAttachment } from '../../core/function.ts'
import type { Task } from '../../core/task.ts'
import { NotStarted } from '../refusal.ts'
import type { SwarmImages } from './image.ts'
import type { Inputs, SwarmFile } from './input.ts'
import type { Managers } from './managers.ts'
import type { ClosedNetwork } from './network.ts'
import type { ServicePlan } from './service.ts'

export interface PlannerDeps {
  readonly managers: Managers
  readonly gatewayId: string
  readonly images: SwarmImages
  readonly inputs: Inputs
  readonly closedNetwork: ClosedNetwork
}

/**
 * Looks up, and makes, what a task's service needs, its input too. Rejects with `NotStarted`, `OneshotError`, or the managers' error.
 */
export type Planner = (
  name: string,
  task: Task,
  stdin: AsyncIterable<Uint8Array> | undefined,
) => Promise<ServicePlan>

export function createPlanner(deps: PlannerDeps): Planner {
  const { managers, gatewayId, images, inputs, closedNetwork } = deps

  async function plan(
    name: string,
    task: Task,
    stdin: AsyncIterable<Uint8Array> | undefined,
  ): Promise<ServicePlan> {
    const { container } = task
    const [pinned, secrets, configs, networks] = await Promise.all([
      images.pin(container),
      findFiles('secrets', container),
      findFiles('configs', container),
      findNetworks(container),
    ])
    // Before the input is read, so that one which nobody could read is refused at once.
    const argv =
      stdin && task.spec.input === 'stdin' ? await findArgv(pinned.image, container) : undefined
    const input = stdin && (await inputs.put(name, task, stdin))
    return {
      name,
      task,
      gatewayId,
      image: pinned.image,
      imageTrouble: pinned.trouble,
      input,
      argv: input && argv,
      secrets,
      configs,
      networks,
    }
  }

  /** By their names in the definition. */
  async function findFiles(
    kind: 'secrets' | 'configs',
    container: ContainerSpec,
  ): Promise<ReadonlyMap<string, SwarmFile>> {
    const names = [...new Set(container[kind].map(({ source }) => source))]
    if (names.length === 0) return new Map()
    const filters = JSON.stringify({ name: names })
    const path = `/${kind}?${new URLSearchParams({ filters }).toString()}`
    const found = (await managers.ask({ method: 'GET', path })) as {
      ID: string
      Spec: { Name: string }
    }[]
    const files = new Map(found.map(({ ID, Spec }) => [Spec.Name, { id: ID, name: Spec.Name }]))
    const missing = names.find((name) => !files.has(name))
    if (missing === undefined) return files
    const what = kind.slice(0, -1)
    const detail = `The swarm has no ${what} "${missing}": make it with docker ${what} create ${missing} FILE.`
    throw new NotStarted('container_refused', detail)
  }

  async function findNetworks({
    networkMode,
    networks,
  }: ContainerSpec): Promise<readonly NetworkAttachment[]> {
    if (networkMode === 'none') return [{ name: await closedNetwork.get(), aliases: [] }]
    if (networkMode === 'host') return [{ name: 'host', aliases: [] }]
    return networks
  }

  /** What the shell is to run: the image's own words where the definition has none. */
  async function findArgv(image: string, container: ContainerSpec): Promise<readonly string[]> {
    const { entrypoint, command } = container
    const facts = await images.facts(image, container).catch((error: unknown) => {
      throw error instanceof OneshotError && error.code !== 'engine_unreachable'
        ? new NotStarted(error.code, error.message, error)
        : error
    })
    if (!facts.hasShell) {
      const detail =
        "The image has no /bin/sh, which swarm mode needs to hand a call's input to the command: call without an input, or set input: file in the definition and have the command read the file that ONESHOT_INPUT_FILE names."
      throw new NotStarted('stdin_unsupported', detail)
    }
    const own = entrypoint ?? facts.entrypoint
    return [...own, ...(command ?? (entrypoint ? [] : facts.command))]
  }

  return plan
}
