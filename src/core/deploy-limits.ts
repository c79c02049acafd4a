import type * as z from 'zod'
import type { Definition, DefinitionDefaults } from './definition/definition.ts'
import { MAX_OUTPUT_BYTES, MIN_LOG_BYTES, MIN_MEMORY_BYTES } from './definition/definition.ts'
import { bytes, cpus, duration, integer } from './definition/scalar.ts'
import type { Report } from './definition/shape.ts'
import { mapping, refuse } from './definition/shape.ts'
import type { FunctionSpec } from './function.ts'
import { DEFAULT_RETRIES } from './retry.ts'
import { nextTick } from './schedule.ts'
import type { ScheduleTiming } from './trigger.ts'
import { showBytes } from './units.ts'

/** The most that a deployed function may have. Infinity: there is no bound of its own. */
export interface DeployLimits {
  readonly timeoutMs: number
  readonly memoryBytes: number
  readonly cpus: number
  readonly pids: number
  readonly inputBytes: number
  readonly outputBytes: number
  readonly logBytes: number
  readonly concurrency: number
  /** Containers that are kept armed. */
  readonly warm: number
  readonly retries: number
  /** The least time from one tick of a schedule to the next. */
  readonly everyMs: number
}

/** How long a command may take to end once it has been told to: it is past its timeout then. */
const MAX_GRACE_MS = 60_000
/** The armed containers of all functions come out of one budget. */
const USUAL_WARM = 4
/** Each tick is written down, and takes its place among the calls that wait. */
const USUAL_EVERY_MS = 10_000

const output = bytes().transform((value, context) => {
  if (value <= MAX_OUTPUT_BYTES) return value
  return refuse(context, `expected at most ${showBytes(MAX_OUTPUT_BYTES)}`)
})

/** As the policy's file says them. */
export const limits = mapping({
  timeout: duration.exactOptional(),
  memory: bytes(MIN_MEMORY_BYTES).exactOptional(),
  cpus: cpus.exactOptional(),
  pids: integer(1).exactOptional(),
  input: bytes().exactOptional(),
  output: output.exactOptional(),
  logs: bytes(MIN_LOG_BYTES).exactOptional(),
  concurrency: integer(1).exactOptional(),
  warm: integer(0).exactOptional(),
  retries: integer(0).exactOptional(),
  every: duration.exactOptional(),
})

/** What is not said is what a function gets that says nothing itself. */
export function toLimits(
  given: z.output<typeof limits>,
  defaults: DefinitionDefaults,
): DeployLimits {
  return {
    timeoutMs: Math.min(given.timeout ?? Infinity, defaults.maxTimeoutMs),
    memoryBytes: given.memory ?? defaults.memoryBytes,
    cpus: given.cpus ?? Infinity,
    pids: given.pids ?? defaults.pids,
    inputBytes: given.input ?? defaults.inputBytes,
    outputBytes: given.output ?? defaults.outputBytes,
    logBytes: given.logs ?? defaults.logBytes,
    concurrency: given.concurrency ?? Infinity,
    warm: given.warm ?? USUAL_WARM,
    retries: given.retries ?? DEFAULT_RETRIES.max,
    everyMs: given.every ?? USUAL_EVERY_MS,
  }
}

/** The defaults of a deployed function: none passes what it may ask for. */
export function lowered(defaults: DefinitionDefaults, most: DeployLimits): DefinitionDefaults {
  return {
    ...defaults,
    timeoutMs: Math.min(defaults.timeoutMs, most.timeoutMs),
    memoryBytes: Math.min(defaults.memoryBytes, most.memoryBytes),
    pids: Math.min(defaults.pids, most.pids),
    inputBytes: Math.min(defaults.inputBytes, most.inputBytes),
    outputBytes: Math.min(defaults.outputBytes, most.outputBytes),
    logBytes: Math.min(defaults.logBytes, most.logBytes),
  }
}

/** Where the definition leaves open what has no default, it gets the most that it may ask for. */
export function bounded(
  spec: FunctionSpec,
  { retries: asked }: Definition,
  most: DeployLimits,
): FunctionSpec {
  const { container, warm, retries } = spec
  const concurrency = spec.concurrency ?? most.concurrency
  const isOpen = asked?.max === undefined
  const cores = container.limits.cpus ?? most.cpus
  return {
    ...spec,
    ...(Number.isFinite(concurrency) && { concurrency }),
    warm: { ...warm, max: Number.isFinite(warm.max) ? warm.max : Math.max(most.warm, warm.min) },
    retries: { ...retries, max: isOpen ? Math.min(retries.max, most.retries) : retries.max },
    container: {
      ...container,
      limits: { ...container.limits, ...(Number.isFinite(cores) && { cpus: cores }) },
    },
  }
}

/** What of a `bounded` spec passes the limits. */
export function checkLimits(
  spec: FunctionSpec,
  definition: Definition,
  most: DeployLimits,
  report: Report,
): void {
  const { container, limits: own, warm } = spec
  const { memoryBytes = Infinity, pids = Infinity, cpus: cores = 0 } = container.limits
  const deploy = ['deploy', 'resources', 'limits']
  const at = (short: 'mem_limit' | 'pids_limit' | 'cpus', long: string) =>
    definition[short] === undefined ? [...deploy, long] : [short]
  const check = (
    path: readonly string[],
    key: keyof z.output<typeof limits>,
    asked: number,
    bound: number,
    show: (value: number) => string = String,
  ) => {
    if (asked <= bound) return
    report(path, `expected at most ${show(bound)}: ${remedy(`limits.${key}`)}`)
  }
  const seconds = (ms: number) => `${ms / 1000}s`

  check(['timeout'], 'timeout', spec.timeoutMs, most.timeoutMs, seconds)
  check(at('mem_limit', 'memory'), 'memory', memoryBytes, most.memoryBytes, showBytes)
  check(at('pids_limit', 'pids'), 'pids', pids, most.pids)
  check(at('cpus', 'cpus'), 'cpus', cores, most.cpus)
  check(
    ['deploy', 'resources', 'reservations', 'cpus'],
    'cpus',
    container.reservations.cpus ?? 0,
    most.cpus,
  )
  check(['limits', 'input'], 'input', own.inputBytes, most.inputBytes, showBytes)
  check(['limits', 'output'], 'output', own.outputBytes, most.outputBytes, showBytes)
  check(['limits', 'logs'], 'logs', own.logBytes, most.logBytes, showBytes)
  check(['concurrency'], 'concurrency', spec.concurrency ?? 0, most.concurrency)
  check(['warm'], 'warm', Math.max(warm.min, warm.max), most.warm)
  check(['retries'], 'retries', spec.retries.max, most.retries)
  for (const [index, trigger] of spec.triggers.entries()) {
    if (trigger.type !== 'schedule' || paceOf(trigger.timing) >= most.everyMs) continue
    const key = trigger.timing.kind
    const expected = `expected at least ${seconds(most.everyMs)} from one tick to the next`
    report(['triggers', index, key], `${expected}: ${remedy('limits.every')}`)
  }
  if (container.stopGracePeriodMs > MAX_GRACE_MS) {
    report(['stop_grace_period'], `expected at most ${seconds(MAX_GRACE_MS)}`)
  }
}

const COUNTED_TICKS = 60
const COUNTED_FROM = Date.UTC(2026, 0, 1)

/** Milliseconds from one tick to the next, of the first ones: cron has every minute tick as the first one does. Infinity: there is one alone. */
function paceOf(timing: ScheduleTiming): number {
  if (timing.kind === 'every') return timing.everyMs
  const ticks: number[] = []
  let tick = nextTick(timing, COUNTED_FROM)
  while (tick !== undefined && ticks.length <= COUNTED_TICKS) {
    ticks.push(tick)
    tick = nextTick(timing, tick)
  }
  const [first = 0] = ticks
  return ticks.length < 2 ? Infinity : (ticks.at(-1)! - first) / (ticks.length - 1)
}

/** How a problem ends that the operator could put right, by `key` of the policy. */
export function remedy(key: string): string {
  return `the operator can allow it with ${key} in ONESHOT_DEPLOY_POLICY`
}
