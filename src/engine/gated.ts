import { randomBytes } from 'node:crypto'
import type { ContainerSpec } from '../core/function.ts'
import type { TaskEnd } from '../core/outcome.ts'
import type { Sink, Task, TaskIo } from '../core/task.ts'
import type { Exits } from './exit.ts'
import { STOP_REPORT_MS } from './exit.ts'
import type { Followed, Following } from './follow.ts'
import { DRAIN_MS, toStopped } from './follow.ts'
import type { GateReport, Trailed } from './gate.ts'
import {
  SHELL_SETTINGS,
  SHELL_VARIABLES,
  createTrailed,
  findHindrance,
  toCallLine,
  toNonceLine,
} from './gate.ts'
import type { ImageFacts } from './image-facts.ts'
import type { Launched } from './launch.ts'
import { NotStarted } from './refusal.ts'
import { whenStopped, withinMs } from './stop.ts'

/** A started container whose command the gate holds back. */
export interface Held extends Launched {
  readonly facts: ImageFacts
  /** What only its gate knows, besides us. */
  readonly nonce: string
}

/** What following a gate's command takes. */
export interface Gated {
  readonly nonce: string
  readonly program: string
}

/** Hands a container that has just been started the nonce of its gate, and how long it is to outlast its report. */
export function toHeld(launched: Launched, facts: ImageFacts, lingerMs = 0): Held {
  // Output seldom ends in its first character, and what might be a trailer's beginning is held back.
  const nonce = `\x1e${randomBytes(16).toString('hex')}`
  launched.input?.write(toNonceLine(nonce, lingerMs))
  return { ...launched, facts, nonce }
}

/** Exit codes that a kill by the engine, or for want of memory, may stand behind: 128 + SIGKILL, 128 + SIGTERM. */
const DOUBTFUL = new Set([137, 143])

/** Why a call can't pass the gate; undefined if it can. */
export function findCallHindrance(
  { container }: Pick<Task, 'container'>,
  facts: ImageFacts,
): string | undefined {
  if (!facts.hasShell) return 'its image has no /bin/sh'
  const environment = { ...facts.environment, ...container.environment }
  const stopSignal = container.stopSignal ?? facts.stopSignal
  return findHindrance({ environment, argv: toArgv(container, facts) }, stopSignal)
}

/** Opens the gate: the command runs. Its input may follow. */
export function letGo({ input, facts }: Held, { container }: Task, { stdin }: TaskIo): void {
  input?.write(
    toCallLine({
      environment: toEnvironment(container, facts),
      argv: toArgv(container, facts),
      hasInput: stdin !== undefined,
    }),
  )
}

/** Follows what the gate lets go to its end: the gate's report is the exit code, ahead of the engine's. */
export async function followGated(
  { name, copy, cut, nonce, program }: Followed & Gated,
  { task: { container }, io, stop, exits, onExit }: Following,
): Promise<TaskEnd | 'never_ran'> {
  const stdout = createTrailed(nonce, io.stdout)
  const stderr = createTrailed(nonce, io.stderr)
  const { promise: reported, resolve } = Promise.withResolvers<GateReport>()
  const tap = (trailed: Trailed): Sink => {
    const settle = () => {
      const report = stdout.report()
      if (report !== undefined || stderr.report() !== undefined) onExit()
      if (report !== undefined && stderr.report() !== undefined) resolve(report)
    }
    return (chunk) => {
      const taken = trailed.write(chunk)
      if (taken) return taken.then(settle)
      settle()
      return undefined
    }
  }
  const taps = { stdout: tap(stdout), stderr: tap(stderr) }
  const copying = copy(taps).catch(() => {})
  const stopped = whenStopped(stop)
  const report = await Promise.race([reported, copying, stopped.promise])
  stopped.dispose()
  if (report !== undefined) return toEnd(report, program, name, exits)
  // The gate itself has been ended: what looked like the beginning of a trailer was output.
  const flush = async () => {
    await stdout.flush()
    await stderr.flush()
  }
  if (!stop.aborted) {
    await flush()
    const said = stdout.report() ?? stderr.report()
    if (typeof said === 'string') return toEnd(said, program, name, exits)
    return exits.wait(name)
  }
  // A reader that has stalled would hold the engine's report back as well.
  const letting = setTimeout(cut, container.stopGracePeriodMs + DRAIN_MS)
  await exits.terminate(name, container)
  const ended = exits.wait(name)
  const late = await withinMs(
    Promise.race([reported, ended]),
    container.stopGracePeriodMs + STOP_REPORT_MS,
  )
  await withinMs(Promise.race([reported, copying.then(flush)]), DRAIN_MS)
  clearTimeout(letting)
  if (typeof late === 'number') return { kind: 'stopped', by: stop.reason, exitCode: late }
  return toStopped(stop, typeof late === 'object' ? late : undefined)
}

async function toEnd(
  report: GateReport,
  program: string,
  name: string,
  exits: Exits,
): Promise<TaskEnd | 'never_ran'> {
  if (report === 'never_ran') return report
  if (report === 'not_found') {
    const detail = `The command can't be run in this image: there is no executable file "${program}".`
    return { kind: 'not_started', failure: new NotStarted('command_not_found', detail).failure }
  }
  if (!DOUBTFUL.has(report)) return { kind: 'exited', exitCode: report, oomKilled: false }
  const end = await exits.wait(name)
  return end.kind === 'exited' ? { ...end, exitCode: report } : end
}

/** As it is followed by the process that let it go. */
export function toGated({ nonce, facts }: Held, { container }: Task): Gated {
  return { nonce, program: toProgram(container, facts) }
}

/** What is run, as it was asked for. */
export function toProgram(container: ContainerSpec, facts: ImageFacts): string {
  return toArgv(container, facts)[0] ?? ''
}

/** As the engine puts an entrypoint and a command together. */
function toArgv({ entrypoint, command }: ContainerSpec, facts: ImageFacts): string[] {
  const ownCommand = command && command.length > 0
  const ownEntrypoint = entrypoint && entrypoint.length > 0
  return [
    ...(entrypoint ?? facts.entrypoint),
    ...(ownCommand ? command : ownEntrypoint ? [] : facts.command),
  ]
}

/** The call's, and what a shell would otherwise overwrite of the image's. */
function toEnvironment({ environment }: ContainerSpec, facts: ImageFacts): Record<string, string> {
  const lost = new Set([...SHELL_VARIABLES, ...SHELL_SETTINGS])
  const kept = Object.entries(facts.environment).filter(([name]) => lost.has(name))
  return { ...Object.fromEntries(kept), ...environment }
}
