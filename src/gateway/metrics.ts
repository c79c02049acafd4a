import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client'
import { OneshotError } from '../core/error.ts'
import type { Settled } from '../core/invocation.ts'
import type { HookVerdict } from '../core/webhook/delivery.ts'
import type { Engine } from '../engine/engine.ts'
import type { Admission } from './admission.ts'
import type { TickOutcome } from './schedule-tick.ts'

export interface MetricsDeps {
  readonly engine: Pick<Engine, 'armed'>
  readonly admission: Pick<Admission, 'counts'>
}

export interface Metrics {
  /** A call has ended. */
  settled(invocation: Settled): void
  /** A call was refused, or the engine failed it before its command started. */
  refused(functionName: string, error: unknown): void
  /** A call's answer is out, or broken off. */
  answered(functionName: string, status: number, seconds: number): void
  /** Something came to a webhook that there is: its verdict, or `failed`. */
  delivered(hook: string, verdict: HookVerdict | 'failed'): void
  /** A schedule of this function has ticked, or was to. */
  ticked(functionName: string, outcome: TickOutcome): void
  /** In the text format of Prometheus. */
  render(): Promise<{ readonly type: string; readonly text: string }>
}

const SECONDS = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800]

/** What is counted and measured. Functions and webhooks are labels: only those of the catalog may come here. */
export function createMetrics({ engine, admission }: MetricsDeps): Metrics {
  const registry = new Registry()
  const registers = [registry]
  collectDefaultMetrics({ register: registry })

  const invocations = new Counter({
    name: 'oneshot_invocations_total',
    help: 'Calls that have ended, by how',
    labelNames: ['function', 'state', 'reason'],
    registers,
  })
  const starts = new Counter({
    name: 'oneshot_starts_total',
    help: 'Calls that were run, by whether they found an armed container (a hit) or were started cold (a miss)',
    labelNames: ['function', 'start'],
    registers,
  })
  const phases = new Histogram({
    name: 'oneshot_phase_seconds',
    help: 'How long the phases of a call take: queue, start (pull, create, start), run, collect',
    labelNames: ['function', 'phase'],
    buckets: SECONDS,
    registers,
  })
  const engineErrors = new Counter({
    name: 'oneshot_engine_errors_total',
    help: 'What the engine failed at, by the error code of the call',
    labelNames: ['code'],
    registers,
  })
  const deliveries = new Counter({
    name: 'oneshot_hook_deliveries_total',
    help: 'What came to webhooks, by what became of it',
    labelNames: ['hook', 'verdict'],
    registers,
  })
  const ticks = new Counter({
    name: 'oneshot_schedule_ticks_total',
    help: 'Ticks of schedules, by what came of them: accepted, dropped (the one before was under way), missed (several in a row count once)',
    labelNames: ['function', 'outcome'],
    registers,
  })
  // The names that dashboards made for OpenFaaS ask for.
  const answers = new Counter({
    name: 'gateway_function_invocation_total',
    help: 'Answers, by their HTTP status',
    labelNames: ['function_name', 'code'],
    registers,
  })
  const answerSeconds = new Histogram({
    name: 'gateway_functions_seconds',
    help: 'How long answers take',
    labelNames: ['function_name', 'code'],
    buckets: SECONDS,
    registers,
  })
  const gauge = (name: string, help: string, read: () => number) =>
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read())
      },
    })
  gauge('oneshot_in_flight', 'Calls that run', () => admission.counts().running)
  gauge('oneshot_queue_depth', 'Calls that wait for a slot', () => admission.counts().waiting)
  const pool = (name: string, help: string, read: (state: PoolState) => number | undefined) =>
    new Gauge({
      name,
      help,
      labelNames: ['function'],
      registers,
      collect() {
        this.reset()
        for (const state of engine.armed()) {
          const value = read(state)
          if (value !== undefined) this.set({ function: state.spec.name }, value)
        }
      },
    })
  pool('oneshot_armed', 'Containers that are armed', ({ ready }) => ready)
  pool('oneshot_armed_target', 'Containers that are to be armed', ({ target }) => target)
  pool('oneshot_arm_seconds', 'How long arming a container takes of late', ({ armMs }) =>
    armMs === undefined ? undefined : armMs / 1000,
  )

  return {
    settled({ functionName, state, outcome, start, timings }) {
      invocations.inc({ function: functionName, state, reason: outcome.reason })
      if (outcome.reason === 'lost') engineErrors.inc({ code: outcome.failure?.code ?? 'lost' })
      if (timings.runMs !== undefined) starts.inc({ function: functionName, start })
      const { queueMs, pullMs = 0, createMs = 0, startMs, runMs, collectMs } = timings
      const startup = startMs === undefined ? undefined : pullMs + createMs + startMs
      const measured = { queue: queueMs, start: startup, run: runMs, collect: collectMs }
      for (const [phase, ms] of Object.entries(measured)) {
        if (ms !== undefined) phases.observe({ function: functionName, phase }, ms / 1000)
      }
    },
    refused(functionName, error) {
      const code = error instanceof OneshotError ? error.code : 'internal'
      invocations.inc({ function: functionName, state: 'refused', reason: code })
      if (code.startsWith('engine_')) engineErrors.inc({ code })
    },
    answered(functionName, status, seconds) {
      const labels = { function_name: functionName, code: String(status) }
      answers.inc(labels)
      answerSeconds.observe(labels, seconds)
    },
    delivered: (hook, verdict) => deliveries.inc({ hook, verdict }),
    ticked: (functionName, outcome) => ticks.inc({ function: functionName, outcome }),
    async render() {
      return { type: registry.contentType, text: await registry.metrics() }
    },
  }
}

type PoolState = ReturnType<Engine['armed']>[number]
