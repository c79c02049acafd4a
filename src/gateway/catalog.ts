import { closest, distance } from 'fastest-levenshtein'
import type { FSWatcher } from 'node:fs'
import { watch } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { OneshotError } from '../core/error.ts'
import type { FunctionSpec } from '../core/function.ts'
import type { CatalogEntry } from './catalog-entry.ts'
import { FUNCTION_NAME, toBroken } from './catalog-entry.ts'
import type { Deployed } from './deployed.ts'
import type { DefinitionSettings, ReadDefinition } from './definition.ts'
import { functionName, readDefinition, showProblem } from './definition.ts'
import { readTextFile } from './text-file.ts'

export type CatalogEvent =
  | { readonly type: 'changed'; readonly entry: CatalogEntry }
  | { readonly type: 'removed'; readonly name: string }
  /** The folder can't be read now. What was known of it still holds. */
  | { readonly type: 'unreadable'; readonly error: Error }

export interface CatalogOptions {
  readonly folder: string
  readonly settings: DefinitionSettings
  /** The functions that are no files. They are started and kept by the catalog. */
  readonly deployed?: Deployed
  readonly onChange?: (event: CatalogEvent) => void
  /** How often the folder is looked at although nothing has told of a change. */
  readonly rescanMs?: number
}

/**
 * The functions of a folder, one file each, kept as the folder changes; and the deployed ones, each for as long as no file has its name.
 */
export interface Catalog {
  /** Rejects if the folder can't be read, or the store. */
  start(): Promise<void>
  /** Looks at the folder now. */
  rescan(): Promise<void>
  /** Changes the settings, and reads all definitions again under them. */
  update(changed: Partial<DefinitionSettings>): Promise<void>
  find(name: string): CatalogEntry | undefined
  /** Throws `function_not_found`. */
  getEntry(name: string): CatalogEntry
  /** Throws `function_not_found`, or `function_broken` with the reasons. */
  get(name: string): FunctionSpec
  /** By name. */
  list(): CatalogEntry[]
  close(): Promise<void>
}

interface Known {
  readonly entry: CatalogEntry
  readonly readFiles: readonly string[]
  /** Tells one state of the file and what it reads from another; undefined while that can't be told. */
  readonly fingerprint: string | undefined
  /** Under which it was read. */
  readonly settings: DefinitionSettings
}

const DEBOUNCE_MS = 50
/** A file that changed this lately may change again without its time or size telling: it is read once more. */
const SETTLING_MS = 2_000

export function createCatalog({
  folder,
  settings: initialSettings,
  deployed,
  onChange,
  rescanMs = 2_000,
}: CatalogOptions): Catalog {
  let settings = initialSettings
  /** The files. */
  let known = new Map<string, Known>()
  /** What is served, of files and else. */
  let entries = new Map<string, CatalogEntry>()
  const shadowing = new WeakMap<CatalogEntry, CatalogEntry>()
  let watcher: FSWatcher | undefined
  let timer: NodeJS.Timeout | undefined
  let debounce: NodeJS.Timeout | undefined
  let scanning = Promise.resolve()
  let isWaiting = false
  /** Why the last scan failed. */
  let unreadable: string | undefined

  async function start(): Promise<void> {
    await deployed?.start({
      settings: () => settings,
      isOfFile: (name) => known.has(name),
      changed: publish,
      refuseUnknown,
    })
    await scan()
    watcher = watchFolder()
    timer = setInterval(rescanSoon, rescanMs).unref()
  }

  function watchFolder(): FSWatcher | undefined {
    try {
      // Some file systems tell of nothing, and a watch can be lost: the timer finds what was missed.
      return watch(folder, { persistent: false }, () => {
        debounce ??= setTimeout(() => {
          debounce = undefined
          rescanSoon()
        }, DEBOUNCE_MS).unref()
      }).on('error', () => {})
    } catch {
      return undefined
    }
  }

  function rescan(): Promise<void> {
    scanning = scanning.then(scanOrTell)
    return scanning
  }

  async function scanOrTell(): Promise<void> {
    try {
      await scan()
      unreadable = undefined
    } catch (error) {
      const { message } = error as Error
      if (message !== unreadable) onChange?.({ type: 'unreadable', error: error as Error })
      unreadable = message
    }
  }

  /** A scan that waits for the one before it sees all that a further one would. */
  function rescanSoon(): void {
    if (isWaiting) return
    isWaiting = true
    void scanning.then(() => {
      isWaiting = false
      return rescan()
    })
  }

  function update(changed: Partial<DefinitionSettings>): Promise<void> {
    settings = { ...settings, ...changed }
    return rescan()
  }

  async function scan(): Promise<void> {
    await deployed?.refresh()
    const next = new Map<string, Known>()
    for (const [name, files] of await findFiles(folder)) {
      next.set(name, await look(name, files, known.get(name)))
    }
    known = next
    publish()
  }

  /** Tells what has changed. */
  function publish(): void {
    const next = new Map<string, CatalogEntry>(deployed?.entries)
    for (const [name, { entry }] of known) next.set(name, next.has(name) ? shadowed(entry) : entry)
    const before = entries
    entries = next
    for (const [name, entry] of next) {
      if (entry !== before.get(name)) onChange?.({ type: 'changed', entry })
    }
    for (const name of before.keys()) if (!next.has(name)) onChange?.({ type: 'removed', name })
  }

  /** The same entry has the same shadow: it is told once. */
  function shadowed(entry: CatalogEntry): CatalogEntry {
    const warning = 'A function of this name is deployed as well: the file serves in its place.'
    const made = shadowing.get(entry) ?? { ...entry, warnings: [...entry.warnings, warning] }
    shadowing.set(entry, made)
    return made
  }

  async function look(name: string, files: readonly string[], before?: Known): Promise<Known> {
    const readUnder = settings
    const paths = files.map((file) => join(folder, file))
    const seen = await fingerprint([...paths, ...(before?.readFiles ?? [])])
    const isSame = seen !== undefined && seen === before?.fingerprint
    if (isSame && before?.settings === readUnder) return before
    const { readFiles, ...read } = await readFunction(name, files, readUnder)
    const file = files[0]!
    const origin = { origin: 'file', file } as const
    const entry: CatalogEntry = read.problems
      ? { ...origin, name, state: 'broken', problems: read.problems, warnings: [] }
      : { ...origin, ...read, name, state: 'ready' }
    return {
      entry: before && isDeepStrictEqual(entry, before.entry) ? before.entry : entry,
      readFiles,
      fingerprint: await fingerprint([...paths, ...readFiles]),
      settings: readUnder,
    }
  }

  async function readFunction(
    name: string,
    files: readonly string[],
    under: DefinitionSettings,
  ): Promise<ReadDefinition> {
    const [file = '', second] = files
    const broken = (message: string): ReadDefinition => ({
      problems: toBroken(file, message),
      readFiles: [],
    })
    if (second !== undefined) return broken(`${second} has the same name: remove one of them`)
    if (!FUNCTION_NAME.test(name)) {
      return broken('expected a name of a-z, 0-9 and -, at most 63 characters: rename the file')
    }
    const path = join(folder, file)
    try {
      const read = await readTextFile(path)
      return 'text' in read ? await readDefinition(path, read.text, under) : broken(read.reason)
    } catch (error) {
      // One file's fault is not the others'. Its message may quote what is not to be shown.
      const kind = error instanceof Error ? error.name : typeof error
      return broken(`can't be checked (${kind}): simplify it`)
    }
  }

  function find(name: string): CatalogEntry | undefined {
    return FUNCTION_NAME.test(name) ? entries.get(name) : undefined
  }

  function getEntry(name: string): CatalogEntry {
    return find(name) ?? refuseUnknown(name)
  }

  function refuseUnknown(name: string): never {
    const names = [...entries.keys()].filter((each) => FUNCTION_NAME.test(each))
    const near = FUNCTION_NAME.test(name) && names.length > 0 ? closest(name, names) : undefined
    const hint = near && distance(name, near) <= 2 ? `did you mean ${near}? ` : ''
    const detail = `There is no such function: ${hint}GET /functions lists them.`
    throw new OneshotError('function_not_found', detail)
  }

  function get(name: string): FunctionSpec {
    const entry = getEntry(name)
    if (entry.state === 'ready') return entry.spec
    const reasons = entry.problems.map(showProblem).join('; ')
    throw new OneshotError(
      'function_broken',
      `The definition of ${name} has to be corrected: ${reasons}`,
    )
  }

  function list(): CatalogEntry[] {
    return [...entries.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  async function close(): Promise<void> {
    watcher?.close()
    clearInterval(timer)
    clearTimeout(debounce)
    await scanning
  }

  return { start, rescan, update, find, getEntry, get, list, close }
}

/** The definitions' file names by their functions' names. Folders hold what images are built from. */
async function findFiles(folder: string): Promise<Map<string, string[]>> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(
    (cause: NodeJS.ErrnoException) => {
      const hint = 'create it, or set ONESHOT_FUNCTIONS to the folder of your functions'
      throw new Error(`The folder ${folder} can't be read (${cause.code}): ${hint}.`, { cause })
    },
  )
  const files = entries
    .filter((entry) => !entry.isDirectory() && /^[^.].*\.ya?ml$/.test(entry.name))
    .map(({ name }) => name)
    .sort()
  return Map.groupBy(files, functionName)
}

async function fingerprint(paths: readonly string[]): Promise<string | undefined> {
  const settledBefore = Date.now() - SETTLING_MS
  const marks: string[] = []
  for (const path of paths) {
    const found = await stat(path, { bigint: true }).catch(() => undefined)
    if (found && found.ctimeMs > settledBefore) return undefined
    marks.push(found ? `${found.ino} ${found.size} ${found.mtimeNs} ${found.ctimeNs}` : 'missing')
  }
  return marks.join('\n')
}
