import type { Failure, TaskEnd } from '../../core/outcome.ts'
import { NotStarted } from '../refusal.ts'

/** A task as the managers tell of it, with what matters to us. */
export interface SwarmTask {
  readonly ID: string
  readonly ServiceID: string
  readonly NodeID?: string
  readonly CreatedAt: string
  readonly UpdatedAt: string
  readonly Spec?: {
    readonly ContainerSpec?: { readonly Labels?: Readonly<Record<string, string>> }
  }
  readonly DesiredState: string
  readonly Status: {
    readonly Timestamp: string
    readonly State: string
    /** The last step that was taken. */
    readonly Message?: string
    readonly Err?: string
    readonly ContainerStatus?: {
      readonly ContainerID?: string
      readonly ExitCode?: number
    }
  }
}

/** States only rise, in this order. */
const STATES = [
  'new',
  'allocated',
  'pending',
  'assigned',
  'accepted',
  'preparing',
  'ready',
  'starting',
  'running',
  'complete',
  'shutdown',
  'failed',
  'rejected',
  'remove',
  'orphaned',
] as const

type State = (typeof STATES)[number]

function rank(state: string): number {
  return STATES.indexOf(state as State)
}

/** How far a task has come. */
export type Progress =
  /** Not on a node yet; `reason`: what it waits for, if the managers say so. */
  | { readonly kind: 'pending'; readonly reason: string | undefined }
  /** A node has it, and pulls its image or starts it. */
  | { readonly kind: 'preparing' }
  | { readonly kind: 'running' }
  /** Its node has gone, or it is being ended without our asking: a true end may still come, for a while. */
  | { readonly kind: 'missing' }
  | { readonly kind: 'ended'; readonly end: TaskEnd }

/** Whether a node has been told to run it. */
export function isOnNode({ Status: { State } }: SwarmTask): boolean {
  return rank(State) >= rank('assigned')
}

/** Whether its command may have been started: it has a container. */
export function mayHaveRun({ Status: { State, ContainerStatus } }: SwarmTask): boolean {
  return State !== 'rejected' && Boolean(ContainerStatus?.ContainerID)
}

/** Whether its command was at its end before it could be told to stop: what is stopped is `shutdown`. */
export function hasEndedByItself(task: SwarmTask): boolean {
  const { State, ContainerStatus } = task.Status
  if (State === 'complete') return true
  const exitCode = ContainerStatus?.ExitCode ?? 0
  return State === 'failed' && exitCode > 0 && !NODES_CODES.includes(exitCode)
}

/** Whether it stands in a state that it never leaves. */
export function isOver({ Status: { State } }: SwarmTask): boolean {
  return rank(State) > rank('running')
}

/** What has become of a task that we have not told to stop. */
export function toProgress(task: SwarmTask, imageTrouble?: Failure): Progress {
  const { Status, DesiredState } = task
  const { State, Err } = Status
  switch (State) {
    case 'complete':
      return ended({ kind: 'exited', exitCode: 0, oomKilled: false })
    case 'failed':
      return ended(toFailed(task))
    case 'rejected':
      if (EVICTED.test(Err ?? '')) return ended(toLost(Err ?? ''))
      // Its exit code says 0 all the same.
      return ended({ kind: 'not_started', failure: toRejection(Err ?? '', imageTrouble) })
    case 'shutdown':
    case 'remove':
      return ended(toLost('the swarm ended it, as by draining its node or removing its service'))
    case 'orphaned':
      return ended(toLost('its node has been gone for too long'))
    default:
      if (rank(DesiredState) > rank('running')) return { kind: 'missing' }
      if (State === 'running') return { kind: 'running' }
      return rank(State) < rank('assigned')
        ? { kind: 'pending', reason: Err }
        : { kind: 'preparing' }
  }
}

/** What managers, and no node, say of a task that has its node: it may run there on. */
const EVICTED = /no longer meets constraints/

const ended = (end: TaskEnd): Progress => ({ kind: 'ended', end })

/** 128 + SIGKILL */
const KILLED = 137
/** 128 + SIGTERM */
const TERMINATED = 143
/** Of a container that its engine has found dead. */
const FOUND_DEAD = 255
const NODES_CODES = [KILLED, TERMINATED, FOUND_DEAD]

/** The exit code, if a node that ends or loses its power says the same of what ran on it. */
export function findNodesCode(end: TaskEnd): number | undefined {
  if (end.kind !== 'exited') return undefined
  return NODES_CODES.find((code) => code === end.exitCode)
}

/** It failed at or after its start: the last step tells which. */
function toFailed({ Status: { Message, Err = '', ContainerStatus } }: SwarmTask): TaskEnd {
  const exitCode = ContainerStatus?.ExitCode
  if (Message === 'starting' || exitCode === undefined || exitCode < 0) {
    return { kind: 'not_started', failure: toRejection(Err) }
  }
  // Its container has gone, with an engine that was ended in good order and started anew: the code is that of none.
  if (exitCode === 0) return toLost(Err)
  return { kind: 'exited', exitCode, oomKilled: false }
}

/** Why a node would not run it, in our words. */
function toRejection(message: string, imageTrouble?: Failure): Failure {
  const tell = (...args: ConstructorParameters<typeof NotStarted>) =>
    new NotStarted(...args).failure
  if (
    /no such image|pull access denied|manifest (unknown|for .* not found)|not found: manifest/i.test(
      message,
    )
  ) {
    if (imageTrouble) return imageTrouble
    return tell('image_not_found', `A node of the swarm can't have the image: ${message}`)
  }
  if (
    /executable file not found|exec format error|exec:.*(no such file|permission denied|is a directory)/i.test(
      message,
    )
  ) {
    return tell('command_not_found', `The command can't be run in this image: ${message}`)
  }
  if (
    /bind source path does not exist|invalid mount|error while mounting volume|failed to mount|no such volume/i.test(
      message,
    )
  ) {
    return tell('mount_not_found', `A mount can't be made on the node: ${message}`)
  }
  return tell('container_refused', `A node of the swarm refused the task: ${message}`)
}

export function toLost(why: string): TaskEnd {
  const detail = `The task is lost, and how its command ended can't be known (${why}). It may have run in part: call again if that is safe.`
  return { kind: 'lost', failure: { code: 'engine_failed', detail } }
}

export function toUnschedulable(task: SwarmTask | undefined): TaskEnd {
  const why = task?.Status.Err ?? 'no node has taken it'
  const detail = `No node of the swarm took the task in time: ${why}. Add nodes or room, or change its placement and reservations.`
  return { kind: 'not_started', failure: { code: 'unschedulable', detail } }
}

export function toStuck(): TaskEnd {
  const detail =
    "The task's node did not make it ready in time: its image or its mounts do not come. See docker service ps and the node's log."
  return { kind: 'not_started', failure: { code: 'engine_failed', detail } }
}
