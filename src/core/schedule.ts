import { Cron, CronPattern } from 'croner'
import type { ScheduleTiming, ScheduleTrigger } from './trigger.ts'

/**
 * When schedules tick. A pattern that names hours names times of day: each comes once a day. One that summer time leaves out comes at the end of what
 * is left out, together with all others of it; one that it brings twice comes the first time. A pattern for every hour, such as that of every quarter,
 * goes by the time that passes: it comes whenever a clock on the wall shows one of its minutes, in a repeated hour as well.
 *
 * That differs from croner, which counts a pattern with a step or a list among the latter even if it names hours, and leaves a day out whose gap ends
 * at midnight (Nuuk). So for times of day croner is only asked what comes next on a clock without a zone.
 */
interface Ticks {
  after(time: number): number | undefined
  /** At `time` or before it. */
  upTo(time: number): number | undefined
}

type CronTiming = Extract<ScheduleTiming, { kind: 'cron' }>

const MAX_EXPRESSION = 256
const EXPECTED =
  'expected minute, hour, day of month, month and day of week, such as 0 3 * * *, with the second before them if need be, or one of @hourly, @daily, @weekly, @monthly, @yearly'
const DAY_MS = 24 * 60 * 60_000
/** Any moment does: what does not come in the centuries after it never does. */
const SOME_TIME = Date.UTC(2000, 0, 1)

/** Made once for each definition: a definition is never changed, but replaced. */
const known = new WeakMap<ScheduleTiming, Ticks>()

/** What is wrong with an expression or an IANA time zone, and what is expected instead. */
export function checkCron(expression: string, timezone: string): string | undefined {
  if (!isZone(timezone)) {
    return 'expected a time zone of the IANA database, such as UTC or Europe/Berlin'
  }
  if (expression.length > MAX_EXPRESSION) {
    return `expected a cron expression of at most ${MAX_EXPRESSION} characters`
  }
  // croner takes a date for a schedule that comes once.
  if (expression.includes(':')) return EXPECTED
  try {
    toPattern(expression)
  } catch (error) {
    const reason = (error as Error).message.replace(/^CronPattern: /, '')
    return `${EXPECTED}: ${reason}`
  }
  if (toWall(expression).nextRun(new Date(SOME_TIME)) === null) {
    return 'expected a time that comes: no such day is in the calendar'
  }
  return undefined
}

/** The first tick after `afterMs`. Undefined: there is none in the next centuries. Throws if the timing is none that `checkCron` takes. */
export function nextTick(timing: ScheduleTiming, afterMs: number): number | undefined {
  return toTicks(timing).after(afterMs)
}

/** The latest tick after `afterMs` that is not after `untilMs`; ticks between are not walked. */
export function lastTick(
  timing: ScheduleTiming,
  afterMs: number,
  untilMs: number,
): number | undefined {
  const last = toTicks(timing).upTo(untilMs)
  return last !== undefined && last > afterMs ? last : undefined
}

/** Of when it ticks: another one is another schedule. */
export function toFingerprint(timing: ScheduleTiming): string {
  if (timing.kind === 'every') return `every ${timing.everyMs}`
  return `cron ${timing.expression.trim().split(/\s+/).join(' ')} ${timing.timezone}`
}

/** What the command of a tick's invocation finds in its environment. */
export function toTickEnvironment({ name }: Pick<ScheduleTrigger, 'name'>, tick: number) {
  return {
    ONESHOT_TRIGGER: 'schedule',
    ONESHOT_SCHEDULE: name,
    ONESHOT_SCHEDULED_AT: new Date(tick).toISOString(),
  }
}

function toTicks(timing: ScheduleTiming): Ticks {
  let ticks = known.get(timing)
  if (!ticks) {
    ticks = timing.kind === 'every' ? toMultiples(timing.everyMs) : toCronTicks(timing)
    known.set(timing, ticks)
  }
  return ticks
}

function toMultiples(everyMs: number): Ticks {
  const upTo = (time: number) => Math.floor(time / everyMs) * everyMs
  return { after: (time) => upTo(time) + everyMs, upTo }
}

function toCronTicks(timing: CronTiming): Ticks {
  const isEveryHour = toPattern(timing.expression).hour.every((isNamed) => isNamed === 1)
  return isEveryHour ? toPassing(timing) : toTimesOfDay(timing)
}

function toPassing({ expression, timezone }: CronTiming): Ticks {
  const cron = new Cron(expression, { mode: '5-or-6-parts', timezone })
  return {
    after: (time) => cron.nextRun(new Date(time))?.getTime(),
    upTo: (time) => cron.previousRuns(1, new Date(time + 1))[0]?.getTime(),
  }
}

function toTimesOfDay({ expression, timezone }: CronTiming): Ticks {
  const wall = toWall(expression)
  const zone = createZone(timezone)
  const toTime = (shown: Date | null | undefined) => shown && zone.toTime(shown.getTime())
  return {
    after: (time) => toTime(wall.nextRun(new Date(zone.passed(time)))) ?? undefined,
    upTo: (time) => toTime(wall.previousRuns(1, new Date(zone.passed(time) + 1))[0]) ?? undefined,
  }
}

function toPattern(expression: string): CronPattern {
  return new CronPattern(expression, undefined, { mode: '5-or-6-parts' })
}

/** What a clock on the wall shows, which knows no zone, stands as if it were UTC. */
function toWall(expression: string): Cron {
  return new Cron(expression, { mode: '5-or-6-parts', utcOffset: 0 })
}

interface Zone {
  /** When the clock first shows `shown`, or has gone past it. */
  toTime(shown: number): number
  /** The latest that the clock has shown, or gone past, by `time`. */
  passed(time: number): number
}

function createZone(timezone: string): Zone {
  const { format } = toFormat(timezone)
  /** What the clock is ahead of UTC. */
  const aheadAt = (time: number): number => {
    const second = Math.floor(time / 1000) * 1000
    const [month = 1, day = 1, year = 1970, hour = 0, minute = 0, at = 0] = format(second)
      .split(/\D+/)
      .map(Number)
    return Date.UTC(year, month - 1, day, hour, minute, at) - second
  }

  function toTime(shown: number): number {
    const before = aheadAt(shown - DAY_MS)
    const after = aheadAt(shown + DAY_MS)
    for (const ahead of [before, after]) {
      if (aheadAt(shown - ahead) === ahead) return shown - ahead
    }
    // Never shown: the clock was put forward past it. When that was is between the two.
    return findFirst(shown - after, shown - before, (time) => aheadAt(time) !== before)
  }

  function passed(time: number): number {
    const shown = time + aheadAt(time)
    if (toTime(shown) === time) return shown
    // Shown for the second time: the clock had come further before it was put back.
    return findFirst(shown, shown + DAY_MS, (later) => toTime(later) > time) - 1
  }

  return { toTime, passed }
}

/** The first number in (low, high] for which it holds, as it then does for all after it. */
function findFirst(low: number, high: number, holds: (value: number) => boolean): number {
  let [below, found] = [low, high]
  while (found - below > 1) {
    const middle = Math.floor((below + found) / 2)
    if (holds(middle)) found = middle
    else below = middle
  }
  return found
}

function toFormat(timeZone: string): Intl.DateTimeFormat {
  return new Intl.DateTimeFormat('en-US', {
    timeZone,
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  })
}

function isZone(timezone: string): boolean {
  try {
    toFormat(timezone)
    return true
  } catch {
    return false
  }
}
