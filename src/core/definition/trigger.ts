import * as z from 'zod'
import { choice, duration, text } from './scalar.ts'
import type { Report } from './shape.ts'
import { isMap, listOf, mapping, refuse, taggedBy } from './shape.ts'
import type { SecretReference } from './webhook.ts'
import { triggerName, webhook } from './webhook.ts'
import { OneshotError } from '../error.ts'
import type { FunctionSpec } from '../function.ts'
import { parseParameters } from '../parameters.ts'
import { checkCron } from '../schedule.ts'
import type { ScheduleTrigger, Trigger, WebhookSecret, WebhookTrigger } from '../trigger.ts'

const HOUR_MS = 60 * 60_000
const MIN_EVERY_MS = 1000
const MAX_TRIGGERS = 32

const every = duration.transform((value, context) =>
  value >= MIN_EVERY_MS ? value : refuse(context, 'expected at least 1s'),
)

const schedule = mapping({
  type: choice('schedule'),
  name: triggerName.exactOptional(),
  cron: text.exactOptional(),
  timezone: text.exactOptional(),
  every: every.exactOptional(),
  overlap: choice('skip', 'queue', 'replace').exactOptional(),
  catchUp: choice('once', 'none').exactOptional(),
  maxLateness: duration.exactOptional(),
  parameters: z
    .unknown()
    .transform((value, context) =>
      isMap(value) ? value : refuse(context, 'expected a map of parameters'),
    )
    .exactOptional(),
  body: z.string('expected a text').exactOptional(),
}).transform(({ cron, timezone, every: everyMs, ...given }, context) => {
  if (cron === undefined && everyMs !== undefined) {
    return timezone === undefined
      ? { ...given, timing: { kind: 'every', everyMs } as const }
      : refuse(context, 'goes with cron: leave it out', { path: ['timezone'] })
  }
  if (cron === undefined || everyMs !== undefined) {
    return refuse(context, 'expected one of cron, such as "0 3 * * *", and every, such as 5m')
  }
  const timing = { kind: 'cron', expression: cron, timezone: timezone ?? 'UTC' } as const
  const problem = checkCron(timing.expression, timing.timezone)
  return problem === undefined
    ? { ...given, timing }
    : refuse(context, problem, { path: [/zone/.test(problem) ? 'timezone' : 'cron'] })
})

/** As written, with secrets still to be read. */
export const triggers = listOf(
  taggedBy('type', { webhook, schedule }),
  'a list of triggers',
).transform((given, context) =>
  given.length <= MAX_TRIGGERS
    ? given
    : refuse(context, `expected at most ${MAX_TRIGGERS} triggers`),
)

type TriggerDefinition = z.output<typeof triggers>[number]
type WebhookDefinition = Extract<TriggerDefinition, { type: 'webhook' }>
type ScheduleDefinition = Extract<TriggerDefinition, { type: 'schedule' }>

/** What the references of a definition's triggers stand for. */
export type ReadSecrets = ReadonlyMap<SecretReference, WebhookSecret>

/** Fills in the defaults, and checks what concerns the function as a whole. */
export function toTriggers(
  given: readonly TriggerDefinition[],
  spec: Pick<FunctionSpec, 'name' | 'parameters'>,
  secrets: ReadSecrets,
  report: Report,
): Trigger[] {
  const names = new Set<string>()
  return given.map((each, index) => {
    const { type, name = spec.name } = each
    const path = ['triggers', index]
    if (names.size === names.add(`${type} ${name}`).size) {
      report([...path, 'name'], `there is another ${type} ${name}: give each a name of its own`)
    }
    return each.type === 'webhook'
      ? toWebhook({ ...each, name }, secrets, spec, (at, message) =>
          report([...path, ...at], message),
        )
      : toSchedule({ ...each, name }, spec, (at, message) => report([...path, ...at], message))
  })
}

function toWebhook(
  { name, scheme, secrets = [], events, when, input, mode, concurrency }: Named<WebhookDefinition>,
  read: ReadSecrets,
  spec: Pick<FunctionSpec, 'parameters'>,
  report: Report,
): WebhookTrigger {
  for (const parameter of Object.keys(input?.parameters ?? {})) {
    if (Object.hasOwn(spec.parameters, parameter)) continue
    report(
      ['input', 'parameters', parameter],
      'there is no such parameter: declare it in parameters',
    )
  }
  return {
    type: 'webhook',
    name,
    scheme,
    secrets: secrets.flatMap((reference) => read.get(reference) ?? []),
    ...(events && { events }),
    ...(when && { when }),
    input: {
      body: input?.body ?? 'raw',
      parameters: input?.parameters ?? {},
      environment: input?.environment ?? {},
    },
    mode: mode ?? 'async',
    ...(concurrency && { concurrency }),
  }
}

function toSchedule(
  { name, timing, overlap, catchUp, maxLateness, parameters = {}, body }: Named<ScheduleDefinition>,
  spec: Pick<FunctionSpec, 'parameters'>,
  report: Report,
): ScheduleTrigger {
  try {
    parseParameters(spec.parameters, { json: parameters })
  } catch (error) {
    if (!(error instanceof OneshotError)) throw error
    report(['parameters'], error.message)
  }
  return {
    type: 'schedule',
    name,
    timing,
    overlap: overlap ?? 'skip',
    catchUp: catchUp ?? 'once',
    maxLatenessMs: maxLateness ?? HOUR_MS,
    parameters,
    ...(body !== undefined && { body }),
  }
}

type Named<T> = Omit<T, 'name'> & { readonly name: string }
