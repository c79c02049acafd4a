import type { TaskEnd } from '../core/outcome.ts'
import { STOP_REPORT_MS, toLost } from './exit.ts'
import type { Following } from './follow.ts'
import { DRAIN_MS, copyInput, toStopped } from './follow.ts'
import type { Launched } from './launch.ts'
import { copyOutput } from './output.ts'
import { whenStopped, withinMs } from './stop.ts'

/** Follows a container whose first process is the command, to its end: the engine's report is the exit code. */
export async function followBare(
  { name, output, input, cut }: Launched,
  { task: { container }, io, stop, exits, onExit }: Following,
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
