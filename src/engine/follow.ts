import type { Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { TaskEnd } from '../core/outcome.ts'
import type { ContainerSpec } from '../core/function.ts'
import type { Task, TaskIo } from '../core/task.ts'
import type { TaskStop } from './engine.ts'
import type { Exits } from './exit.ts'
import type { Launched } from './launch.ts'
import type { Output } from './output.ts'
import { copyOutput } from './output.ts'

/** A container that runs, or has run. */
export interface Followed {
  readonly name: string
  /** Hands its output on to the end. Rejects if that is not all of it. */
  copy(output: Output): Promise<void>
  /** Breaks our connections off. */
  cut(): void
}

/** What following a started container to its end takes, with a gate or without. */
export interface Following {
  readonly task: Task
  readonly io: Output
  readonly stop: TaskStop
  readonly exits: Exits
  /** The command has ended; its output may still be on its way. */
  onExit(): void
}

/** How long output may lag behind a stop before it is given up: its reader may have gone. */
export const DRAIN_MS = 1_000

export function toStopped(stop: TaskStop, end: TaskEnd | undefined): TaskEnd {
  const exitCode = end?.kind === 'exited' ? end.exitCode : null
  return { kind: 'stopped', by: stop.reason, exitCode }
}

/** A command may end without reading its input, which breaks the pipe: that is its right. */
export function copyInput({ stdin, ...io }: TaskIo, input: Writable | undefined): void {
  if (!stdin || !input) return
  pipeline(stdin, input).then(
    () => io.inputDelivered?.(),
    () => {},
  )
}

export function toFollowed({ name, output, cut }: Launched, container: ContainerSpec): Followed {
  return { name, cut, copy: (sinks) => copyOutput(output, container, sinks) }
}
