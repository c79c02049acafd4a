import { setImmediate } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import type { Logger } from 'pino'
import { lowered } from '../core/deploy-limits.ts'
import type { DeployPolicy } from '../core/deploy-policy.ts'
import { toVisible } from '../core/deploy-policy.ts'
import { OneshotError } from '../core/error.ts'
import type { FunctionSpec } from '../core/function.ts'
import type { FunctionStore, StoredFunction } from '../store/store.ts'
import type { BrokenFunction, FromApi, ReadyFunction } from './catalog-entry.ts'
import { FUNCTION_NAME, toBroken } from './catalog-entry.ts'
import type { DefinitionSettings, FileProblem, ReadDefinition } from './definition.ts'
import { readDefinition, showProblem } from './definition.ts'

export type DeployedEntry = (ReadyFunction | BrokenFunction) & FromApi

export interface DeployedDeps {
  readonly store: FunctionStore
  readonly policy: DeployPolicy
  /** Why a function can't stand beside those that there are, such as for a webhook's name that another one has. */
  readonly findConflict?: (spec: FunctionSpec) => string | undefined
  /** Milliseconds since the epoch. */
  readonly clock: () => number
  readonly logger: Logger
}

/** The catalog that they are part of. */
export interface DeployedHost {
  settings(): DefinitionSettings
  isOfFile(name: string): boolean
  /** Another definition, or one less. */
  changed(): void
  /** Throws `function_not_found`. */
  refuseUnknown(name: string): never
}

/** Takes a definition's `etag`, undefined if there is none, and says whether it is the one that a client means. */
export type Expectation = (etag: string | undefined) => boolean

export interface Deployment {
  readonly name: string
  /** YAML, or JSON, which is YAML as well. */
  readonly source: string
  /** Who asks for it. */
  readonly by: string
  readonly isExpected: Expectation
}

/** Changes functions that are no files. */
export interface Deployer {
  /**
   * Serves a function from now on, and from the next start on too. Throws `definition_invalid` with all that is wrong, `function_of_file`,
   * `precondition_failed`, or `storage_full`.
   */
  put(deployment: Deployment): Promise<{ readonly isNew: boolean; readonly entry: DeployedEntry }>
  /** What waits of its calls ends as if its file had been removed. Throws `function_not_found`, `function_of_file` or `precondition_failed`. */
  remove(deployment: Omit<Deployment, 'source'>): Promise<void>
}

export interface Deployed extends Deployer {
  readonly entries: ReadonlyMap<string, DeployedEntry>
  /** Reads those of the store. */
  start(host: DeployedHost): Promise<void>
  /** Reads them again if the host's settings are others now. */
  refresh(): Promise<void>
}

interface Held {
  readonly stored: StoredFunction
  /** Under which it was read. */
  readonly settings: DefinitionSettings
}

const MAX_FUNCTIONS = 1_000
/** Of the definitions of all of them, which are held in memory. */
const MAX_CHARACTERS = 32 * 1024 * 1024

export function createDeployed({
  store,
  policy,
  findConflict,
  clock,
  logger,
}: DeployedDeps): Deployed {
  const held = new Map<string, Held>()
  const entries = new Map<string, DeployedEntry>()
  let host: DeployedHost
  let last: Promise<unknown> = Promise.resolve()

  /** One change after the other: what is served is what is stored. */
  function inTurn<T>(change: () => Promise<T>): Promise<T> {
    const turn = last.then(change)
    last = turn.catch(() => {})
    return turn
  }

  async function start(itsHost: DeployedHost): Promise<void> {
    host = itsHost
    for (const stored of await store.list()) await hold(stored, host.settings())
  }

  function refresh(): Promise<void> {
    return inTurn(async () => {
      const settings = host.settings()
      for (const { stored, settings: before } of held.values()) {
        if (before === settings) continue
        await hold(stored, settings)
        // Reading waits for nothing by itself: a thousand in a row would hold everything else up.
        await setImmediate()
      }
    })
  }

  async function hold(stored: StoredFunction, settings: DefinitionSettings): Promise<void> {
    take(stored, settings, await read(stored, settings))
  }

  function take(stored: StoredFunction, settings: DefinitionSettings, entry: DeployedEntry): void {
    held.set(stored.name, { stored, settings })
    if (!isDeepStrictEqual(entry, entries.get(stored.name))) entries.set(stored.name, entry)
  }

  async function read(
    stored: StoredFunction,
    settings: DefinitionSettings,
  ): Promise<DeployedEntry> {
    const { name, source, updatedAt, updatedBy } = stored
    const read = await readSource(name, source, toSettings(settings, policy))
    const about = { name, origin: 'api', updatedAt, updatedBy, etag: toEtag(stored) } as const
    if (read.problems) return { ...about, state: 'broken', problems: read.problems, warnings: [] }
    const before = entries.get(name)
    const isSame = before?.state === 'ready' && isDeepStrictEqual(read.spec, before.spec)
    const spec = isSame ? before.spec : read.spec
    return { ...about, state: 'ready', spec, source: read.source, warnings: read.warnings }
  }

  async function put({ name, source, by, isExpected }: Deployment) {
    if (!FUNCTION_NAME.test(name)) {
      const detail = `A function's name has a-z, 0-9 and -, begins and ends with a letter or digit, and is at most 63 characters long: choose another one.`
      throw new OneshotError('definition_invalid', detail)
    }
    return inTurn(async () => {
      refuseFile(name)
      const before = held.get(name)?.stored
      const settings = host.settings()
      const now = clock()
      const stored = {
        name,
        source,
        createdAt: before?.createdAt ?? now,
        // Never the same twice: it makes the etag.
        updatedAt: Math.max(now, (before?.updatedAt ?? 0) + 1),
        updatedBy: by,
      }
      const entry = await read(stored, settings)
      if (entry.state === 'broken') throw toInvalid(entry.problems)
      const conflict = findConflict?.(entry.spec)
      if (conflict !== undefined) throw new OneshotError('definition_invalid', conflict)
      expect(name, isExpected)
      checkRoom(stored, before)
      const isNew = await store.put(stored)
      take(stored, settings, entry)
      logger.info({ function: name, by, isNew }, 'function deployed')
      host.changed()
      return { isNew, entry }
    })
  }

  async function remove({ name, by, isExpected }: Omit<Deployment, 'source'>) {
    return inTurn(async () => {
      refuseFile(name)
      if (!held.has(name)) host.refuseUnknown(name)
      expect(name, isExpected)
      await store.remove(name)
      held.delete(name)
      entries.delete(name)
      logger.info({ function: name, by }, 'deployed function removed')
      host.changed()
    })
  }

  function refuseFile(name: string): void {
    if (!host.isOfFile(name)) return
    const detail = `${name} is a file in the functions' folder, which only the operator changes: choose another name.`
    throw new OneshotError('function_of_file', detail)
  }

  function expect(name: string, isExpected: Expectation): void {
    if (isExpected(entries.get(name)?.etag)) return
    const detail = `${name} is not as If-Match or If-None-Match expect it: GET /functions/${name} tells how it is now, and its ETag.`
    throw new OneshotError('precondition_failed', detail)
  }

  function checkRoom(stored: StoredFunction, before: StoredFunction | undefined): void {
    const kept = [...held.values()].filter((each) => each.stored !== before)
    const characters = kept.reduce((sum, each) => sum + each.stored.source.length, 0)
    const isFull =
      kept.length >= MAX_FUNCTIONS || characters + stored.source.length > MAX_CHARACTERS
    if (!isFull) return
    const bound = `${MAX_FUNCTIONS} functions of together 32 MiB`
    const detail = `No more than ${bound} can be deployed: DELETE those that nobody needs.`
    throw new OneshotError('storage_full', detail)
  }

  return { entries, start, refresh, put, remove }
}

/** What a deployed definition is read under: it doesn't see what the gateway's environment holds. */
function toSettings(settings: DefinitionSettings, policy: DeployPolicy): DefinitionSettings {
  return {
    ...settings,
    defaults: lowered(settings.defaults, policy.limits),
    environment: toVisible(settings.environment, policy),
    deployPolicy: policy,
  }
}

async function readSource(
  name: string,
  source: string,
  settings: DefinitionSettings,
): Promise<ReadDefinition> {
  try {
    return await readDefinition(name, source, settings)
  } catch (error) {
    // Its message may quote what is not to be shown.
    const kind = error instanceof Error ? error.name : typeof error
    return { problems: toBroken(name, `can't be checked (${kind}): simplify it`), readFiles: [] }
  }
}

function toInvalid(problems: readonly FileProblem[]): OneshotError {
  const violations = problems.map(({ pointer, message }) => ({ pointer, detail: message }))
  const detail = `Correct the definition: ${problems.map(showProblem).join('; ')}`
  return new OneshotError('definition_invalid', detail, { violations })
}

/** Not of what it says: whoever sees it with its secrets masked could try out what they are. */
function toEtag({ createdAt, updatedAt }: StoredFunction): string {
  return `"${createdAt.toString(36)}-${updatedAt.toString(36)}"`
}
