import type { Logger } from 'pino'
import { OneshotError } from '../core/error.ts'
import type { FunctionSpec } from '../core/function.ts'
import type { WebhookTrigger } from '../core/trigger.ts'
import type { Catalog } from './catalog.ts'
import type { CatalogEntry } from './catalog-entry.ts'

/** A webhook that is served, and the function that it calls. */
export interface Hook {
  readonly name: string
  readonly spec: FunctionSpec
  readonly trigger: WebhookTrigger
}

/** A webhook as a function has it. */
export interface ListedHook extends Hook {
  /** The other functions that have one of its name. */
  readonly others: readonly string[]
  /** Whether it is the one that has the name. */
  readonly isServed: boolean
}

/** The webhooks of all functions. */
export interface HookRegistry {
  /** Throws `hook_not_found`, or `function_broken` if it was there until its definition was broken: then its sender is to try again. */
  get(name: string): Hook
  /** By name. */
  list(): readonly ListedHook[]
  /** Which function has a webhook's name already that this one would have, and what to do; undefined if none has. */
  findConflict(spec: Pick<FunctionSpec, 'name' | 'triggers'>): string | undefined
  /** Definitions have changed. */
  changed(): void
}

export interface HookRegistryDeps {
  readonly catalog: Pick<Catalog, 'list'>
  readonly logger: Logger
}

type Claim = Hook & { readonly isOfFile: boolean }

export function createHookRegistry({ catalog, logger }: HookRegistryDeps): HookRegistry {
  let listed: readonly ListedHook[] | undefined
  let served = new Map<string, Hook>()
  /** The functions of those that were served until their definitions were broken. */
  let broken = new Map<string, string>()
  /** So that each is told of once. */
  let told = new Set<string>()

  function read(): readonly ListedHook[] {
    if (listed) return listed
    const entries = catalog.list()
    const claims = entries.flatMap(toClaims)
    const byName = Map.groupBy(claims, ({ name }) => name)
    listed = claims
      .map(({ name, spec, trigger }): ListedHook => {
        const rivals = byName.get(name)!
        const others = rivals.map((it) => it.spec.name).filter((each) => each !== spec.name)
        return { name, spec, trigger, others, isServed: findWinner(rivals)?.spec === spec }
      })
      .sort((a, b) => compare(a.name, b.name) || compare(a.spec.name, b.spec.name))
    const faulty = new Set(entries.flatMap((it) => (it.state === 'broken' ? it.name : [])))
    const former = [
      ...broken,
      ...Array.from(served, ([name, { spec }]) => [name, spec.name] as const),
    ]
    broken = new Map(former.filter(([hook, name]) => faulty.has(name) && !byName.has(hook)))
    served = new Map(listed.filter((it) => it.isServed).map((hook) => [hook.name, hook]))
    tell(byName)
    return listed
  }

  function tell(byName: ReadonlyMap<string, readonly Claim[]>): void {
    const now = new Set<string>()
    for (const [hook, rivals] of byName) {
      if (rivals.length < 2) continue
      const functions = rivals.map(({ spec }) => spec.name)
      const key = `${hook} ${functions.join(' ')}`
      now.add(key)
      if (told.has(key)) continue
      const servedBy = findWinner(rivals)?.spec.name ?? null
      logger.warn({ hook, functions, servedBy }, 'several functions have a webhook of this name')
    }
    told = now
  }

  return {
    get(name) {
      const all = read()
      const hook = served.get(name)
      if (hook) return hook
      if (broken.has(name)) {
        const detail =
          'The definition of the function that it calls has to be corrected: try again later.'
        throw new OneshotError('function_broken', detail)
      }
      const detail = all.some((it) => it.name === name)
        ? 'Several functions have a webhook of this name, so none has it: GET /hooks tells which.'
        : 'There is no such webhook: GET /hooks lists them.'
      throw new OneshotError('hook_not_found', detail)
    },
    list: read,
    findConflict(spec) {
      const wanted = new Set(spec.triggers.filter(isWebhook).map(({ name }) => name))
      const taken = read().find((it) => it.spec.name !== spec.name && wanted.has(it.name))
      if (!taken) return undefined
      return `The function ${taken.spec.name} has a webhook ${taken.name} already: give this one another name.`
    },
    changed() {
      listed = undefined
      // What is wrong with them is told at once.
      read()
    },
  }
}

function toClaims(entry: CatalogEntry): Claim[] {
  if (entry.state === 'broken') return []
  const { spec, origin } = entry
  return spec.triggers
    .filter(isWebhook)
    .map((trigger) => ({ name: trigger.name, spec, trigger, isOfFile: origin === 'file' }))
}

/** What the operator has put into the folder comes before what was sent; of equals, none. */
function findWinner(rivals: readonly Claim[]): Claim | undefined {
  const ofFiles = rivals.filter(({ isOfFile }) => isOfFile)
  const first = ofFiles.length > 0 ? ofFiles : rivals
  return first.length === 1 ? first[0] : undefined
}

function isWebhook(trigger: FunctionSpec['triggers'][number]): trigger is WebhookTrigger {
  return trigger.type === 'webhook'
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
