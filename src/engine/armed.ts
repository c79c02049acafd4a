import type { Logger } from 'pino'
import type { FunctionSpec } from '../core/function.ts'
import type { ArmedState } from './engine.ts'
import type { Files } from './files.ts'
import { findCallHindrance, toHeld } from './gated.ts'
import type { Held } from './gated.ts'
import type { ImageFacts, ImageFactsReader } from './image-facts.ts'
import { toContainerName } from './labels.ts'
import type { Launcher } from './launch.ts'

/** What keeps a function's containers from being armed, or its calls from passing a gate at all. */
export class Hindered extends Error {}

export interface ArmedPoolDeps {
  readonly launcher: Launcher
  readonly imageFacts: ImageFactsReader
  readonly files: Files
  readonly newId: () => string
  /** Milliseconds since the epoch. */
  readonly clock: () => number
  readonly logger: Logger
}

/** Containers that are started, their commands held back, each for one call. */
export interface ArmedPool {
  /** One that is ready, which is then the caller's to discard. */
  take(spec: FunctionSpec): Held | undefined
  /** From now on, keep so many of them; 0: none, and forget the function. */
  setTarget(spec: FunctionSpec, count: number): void
  /** A cold start is under way, to which arming gives way until it is over. */
  enterColdStart(): () => void
  /** Why calls of it can't pass a gate; undefined if they can, as far as is known. */
  findHindrance(spec: FunctionSpec): string | undefined
  /** Remembers what `findHindrance` then tells, for as long as the function's image stays the same. */
  hinder(spec: FunctionSpec, reason: string, imageId: string): void
  states(): ArmedState[]
  close(): void
}

/** More at once only take the engine's time from the calls. */
const MAX_ARMING = 2
/** An armed call takes a few milliseconds, the end of its container many times that: the calls beside it come first. */
export const LINGER_MS = 300
/** Calls this young may well be about to end. */
const YOUNG_MS = 150
const MAX_AGE_MS = 60 * 60_000
/** How often ages and images are looked at. */
const CHECK_MS = 5_000
const RETRY_MS = { first: 1_000, last: 60_000 }

interface Entry {
  readonly held: Held
  readonly armedAt: number
  /** Of the secrets and configs that were copied into it. */
  readonly filesStamp: string
  unwatch(): void
}

interface Hindrance {
  readonly reason: string
  readonly imageId: string
  /** When the image was last looked at. */
  checkedAt: number
}

interface Shelf {
  readonly spec: FunctionSpec
  target: number
  readonly ready: Set<Entry>
  arming: number
  armMs: number | undefined
  retryMs: number
  notBefore: number
}

export function createArmedPool(deps: ArmedPoolDeps): ArmedPool {
  const { launcher, imageFacts, files, newId, clock, logger } = deps
  const shelves = new Map<FunctionSpec, Shelf>()
  const hindrances = new WeakMap<FunctionSpec, Hindrance>()
  const closing = new AbortController()
  let coldStarts = 0
  let arming = 0
  let youngCalls = 0
  const youngTimers = new Set<NodeJS.Timeout>()

  function take(spec: FunctionSpec): Held | undefined {
    const shelf = shelves.get(spec)
    if (!shelf) return undefined
    for (const entry of shelf.ready) {
      shelf.ready.delete(entry)
      if (entry.filesStamp === files.stamp(spec.container)) {
        entry.unwatch()
        shelf.retryMs = RETRY_MS.first
        giveWay()
        return entry.held
      }
      discard(shelf, entry)
    }
    return undefined
  }

  /** The call that took one comes first, and those that come with it; one that runs for long does not hold things up. */
  function giveWay(): void {
    youngCalls += 1
    const timer = setTimeout(() => {
      youngTimers.delete(timer)
      youngCalls -= 1
      fill()
    }, YOUNG_MS)
    youngTimers.add(timer)
  }

  function setTarget(spec: FunctionSpec, count: number): void {
    const known = shelves.get(spec)
    if (!known && count === 0) return
    const shelf = known ?? {
      spec,
      target: 0,
      ready: new Set(),
      arming: 0,
      armMs: undefined,
      retryMs: RETRY_MS.first,
      notBefore: 0,
    }
    shelves.set(spec, shelf)
    shelf.target = count
    for (const entry of shelf.ready) {
      if (shelf.ready.size <= count) break
      discard(shelf, entry)
    }
    if (count === 0 && shelf.arming === 0) shelves.delete(spec)
    fill()
  }

  function fill(): void {
    if (closing.signal.aborted || coldStarts > 0 || youngCalls > 0) return
    const now = clock()
    for (let room = MAX_ARMING - arming; room > 0; room -= 1) {
      const [neediest] = [...shelves.values()]
        .filter(
          (shelf) => missing(shelf) > 0 && shelf.notBefore <= now && !findHindrance(shelf.spec),
        )
        .sort((a, b) => a.ready.size + a.arming - (b.ready.size + b.arming))
      if (!neediest) return
      void arm(neediest)
    }
  }

  async function arm(shelf: Shelf): Promise<void> {
    const { spec } = shelf
    const startedAt = clock()
    arming += 1
    shelf.arming += 1
    try {
      const { container } = spec
      const filesStamp = files.stamp(container)
      const blueprint = {
        name: toContainerName(newId()),
        spec,
        container,
        openStdin: true,
        held: true,
      }
      let facts: ImageFacts | undefined
      const launched = await launcher.launch(blueprint, closing.signal, {
        async examine(name) {
          facts = await imageFacts.of(name)
          const reason = findCallHindrance(spec, facts)
          if (reason === undefined) return
          hinder(spec, reason, facts.id)
          throw new Hindered()
        },
      })
      const held = toHeld(launched, facts!, LINGER_MS)
      const armedAt = clock()
      const tookMs = armedAt - startedAt
      shelf.armMs = shelf.armMs === undefined ? tookMs : shelf.armMs * 0.8 + tookMs * 0.2
      if (shelf.ready.size >= shelf.target || closing.signal.aborted) {
        launcher.discard(launched.name)
      } else {
        const onEnd = () => {
          // It would stand in the output of a call.
          if (hasSpoken(held)) {
            hinder(
              spec,
              "its image's shell prints something before any command runs",
              held.facts.id,
            )
          }
          discard(shelf, entry)
          if (clock() - armedAt > RETRY_MS.last) shelf.retryMs = RETRY_MS.first
          backOff(shelf)
          fill()
        }
        const entry: Entry = { held, armedAt, filesStamp, unwatch: watch(held, onEnd) }
        shelf.ready.add(entry)
      }
    } catch (error) {
      if (!(error instanceof Hindered) && !closing.signal.aborted) {
        logger.warn({ err: error, function: spec.name }, 'arming a container failed')
      }
      backOff(shelf)
    } finally {
      arming -= 1
      shelf.arming -= 1
      if (shelf.target === 0 && shelf.arming === 0) shelves.delete(spec)
    }
    fill()
  }

  /** What fails, or ends by itself, is not made again at once: lest it do so for ever. */
  function backOff(shelf: Shelf): void {
    const now = clock()
    // Those that fail together are one failure.
    if (shelf.notBefore > now) return
    shelf.notBefore = now + shelf.retryMs
    shelf.retryMs = Math.min(shelf.retryMs * 2, RETRY_MS.last)
  }

  function discard(shelf: Shelf, entry: Entry): void {
    shelf.ready.delete(entry)
    entry.unwatch()
    launcher.discard(entry.held.name)
  }

  function findHindrance(spec: FunctionSpec): string | undefined {
    const { tty, pullPolicy } = spec.container
    if (tty) return 'it has a tty'
    if (pullPolicy === 'always') return 'its image is pulled for each call'
    const known = hindrances.get(spec)
    if (known && clock() - known.checkedAt >= CHECK_MS) {
      known.checkedAt = clock()
      void recheck(spec, known).catch(() => {})
    }
    return known?.reason
  }

  /** Another image of the same name may have what this one lacks. */
  async function recheck(spec: FunctionSpec, known: Hindrance): Promise<void> {
    if ((await imageFacts.findId(spec.container.image)) === known.imageId) return
    if (hindrances.get(spec) === known) hindrances.delete(spec)
    fill()
  }

  function hinder(spec: FunctionSpec, reason: string, imageId: string): void {
    hindrances.set(spec, { reason, imageId, checkedAt: clock() })
    const shelf = shelves.get(spec)
    for (const entry of shelf?.ready ?? []) discard(shelf!, entry)
  }

  /** Lets go of what is too old, or was made from an image that its name does not stand for any more. */
  async function check(): Promise<void> {
    const ids = new Map<string, Promise<string | undefined>>()
    const findId = (image: string) => {
      const asked = ids.get(image) ?? imageFacts.findId(image)
      ids.set(image, asked)
      return asked
    }
    for (const shelf of shelves.values()) {
      const imageId = await findId(shelf.spec.container.image)
      for (const entry of shelf.ready) {
        const isOld = clock() - entry.armedAt > MAX_AGE_MS
        if (isOld || entry.held.facts.id !== imageId) discard(shelf, entry)
      }
    }
    fill()
  }

  // An engine that does not answer is met, and told of, where it is needed.
  const timer = setInterval(() => void check().catch(() => {}), CHECK_MS)
  timer.unref()

  return {
    take,
    setTarget,
    enterColdStart() {
      coldStarts += 1
      return () => {
        coldStarts -= 1
        if (coldStarts === 0) fill()
      }
    },
    findHindrance,
    hinder,
    states: () =>
      Array.from(shelves.values(), ({ spec, target, ready, armMs }) => ({
        spec,
        target,
        ready: ready.size,
        armMs,
      })),
    close() {
      clearInterval(timer)
      for (const young of youngTimers) clearTimeout(young)
      closing.abort('cancelled')
      for (const shelf of shelves.values()) for (const entry of shelf.ready) discard(shelf, entry)
    },
  }
}

function missing({ target, ready, arming }: Shelf): number {
  return target - ready.size - arming
}

/** Whether something but the gate itself has written. What is read is lost: its container is on its way out. */
function hasSpoken({ output, nonce }: Held): boolean {
  const said = output.read() as Buffer | null
  return said !== null && !said.includes(nonce)
}

/** An armed container has nothing to say: anything on its output but silence is its end. Returns what ends the watch. */
function watch({ output }: Held, onEnd: () => void): () => void {
  const events = ['readable', 'close'] as const
  const unwatch = () => {
    for (const event of events) output.off(event, onEnd)
  }
  for (const event of events) output.on(event, onEnd)
  return unwatch
}
