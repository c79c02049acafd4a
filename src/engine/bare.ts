import type { TaskEnd } from '../core/outcome.ts'
import { STOP_REPORT_MS, toLost } from './exit.ts'
import type { Followed, Following } from './follow.ts'
import { DRAIN_MS, toStopped } from './follow.ts'
import { whenStopped, withinMs } from './stop.ts'

/** Follows a container whose first process is the command, to its end: the engine's report is the exit code. */
export async function followBare(
  { name, copy, cut }: Followed,
  { task: { container }, io, stop, exits, onExit }: Following,
): Promise<TaskEnd> {
  const copying = copy(io).then(
    () => true,
    () => false,
  )
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
