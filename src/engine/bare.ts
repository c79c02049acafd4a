import type { Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { TaskEnd } from '../core/outcome.ts'
import type { Task, TaskIo } from '../core/task.ts'
import type { TaskStop } from './engine.ts'
import type { Exits } from './exit.ts'
import { STOP_REPORT_MS, toLost } from './exit.ts'
import type { Launched } from './launch.ts'
import { copyOutput } from './output.ts'
import { whenStopped, withinMs } from './stop.ts'

/** How long output may lag behind a stop before it is given up: its reader may have gone. */
export const DRAIN_MS = 1_000

/** Follows a container whose first process is the command, to its end: the engine's report is the exit code. */
export async function followBare(
  { name, output, input, cut }: Launched,
  { container }: Task,
  io: TaskIo,
  stop: TaskStop,
  exits: Exits,
  onExit: () => void,
): Promise<TaskEnd> {
  const copying = copyOutput(output, container, io).then(
    () => true,
    () => false,
  )
  if (io.stdin && input) copyInput(io.stdin, input)
  const ending = exits.wait(name)
  const stopped = whenStopped(stop)
  let end = await Promise.race([ending, stopped.promise])
  if (!end) {
    const graceMs = container.stopGracePeriodMs
    // A reader that has stalled would hold the engine's report back as well.
    const letting = setTimeout(cut, graceMs + DRAIN_MS)
    await exits.terminate(name, container)
    end = toStopped(stop, await withinMs(ending, graceMs + STOP_REPORT_MS))
    clearTimeout(letting)
  }
  onExit()
  const whole = await Promise.race([
    copying,
    stopped.promise.then(() => withinMs(copying, DRAIN_MS)),
  ])
  stopped.dispose()
  if (whole || end.kind !== 'exited') return end
  if (stop.aborted) return toStopped(stop, end)
  return toLost(new Error("the output's connection broke off"))
}

export function toStopped(stop: TaskStop, end: TaskEnd | undefined): TaskEnd {
  const exitCode = end?.kind === 'exited' ? end.exitCode : null
  return { kind: 'stopped', by: stop.reason, exitCode }
}

/** A command may end without reading its input, which breaks the pipe: that is its right. */
export function copyInput(stdin: AsyncIterable<Uint8Array>, input: Writable): void {
  pipeline(stdin, input).catch(() => {})
}
