import { readFile, stat } from 'node:fs/promises'
import { parseDocument } from 'yaml'
import { z } from 'zod'
import type { Caller } from '../core/access.ts'
import { isScope } from '../core/access.ts'
import { parseRate } from '../core/rate.ts'
import { Unauthorized } from '../core/unauthorized.ts'
import { parseHash, toHash } from './key.ts'
import { AccessProblem, unreadable } from './problem.ts'

const MAX_FILE_BYTES = 1024 * 1024
const POLL_MS = 2000

// Nothing that is wrong is quoted: it may be a key, put into the wrong place.
const Scope = z
  .string()
  .refine(isScope, 'must be read, deploy, admin, invoke:*, invoke:NAME or invoke:PREFIX*')

const Entry = z.strictObject({
  name: z.string().regex(/^[\w.@-]{1,64}$/, 'must be 1 to 64 of A–Z a–z 0–9 _ . @ -'),
  hash: z.string().transform((text, context) => {
    const hash = parseHash(text)
    if (hash !== undefined) return hash
    context.addIssue('must be sha256: and 64 hexadecimal digits: scripts/api-key makes it')
    return z.NEVER
  }),
  scopes: z.array(Scope).min(1, 'must list at least one scope'),
  expires: z.iso
    .datetime({ offset: true, error: 'must be a time such as 2027-01-31T00:00:00Z' })
    .transform((text) => Date.parse(text))
    .optional(),
  rate: z
    .string()
    .transform((text, context) => {
      const rate = parseRate(text)
      if (rate) return rate
      context.addIssue('must be a rate such as 50/s, 100/m or 1000/h')
      return z.NEVER
    })
    .optional(),
})

/** What a file of keys says. A hash says nothing of its key. */
const KeysFile = z.strictObject({ keys: z.array(Entry) })

interface Key {
  readonly caller: Caller
  readonly expiresAt: number | undefined
}

export interface ApiKeys extends Disposable {
  readonly count: () => number
  /** Whose key it is. Throws `Unauthorized`. */
  identify(key: string): Caller
  /** Looks whether the file has changed, which is also done every two seconds. Never rejects. */
  check(): Promise<void>
}

export interface ApiKeysOptions {
  readonly file: string
  /** Milliseconds since the epoch. */
  readonly clock: () => number
  readonly onChange: (count: number) => void
  /** The file has changed and can't be used: what it said before holds. Told once a version. */
  readonly onProblem: (problem: Error) => void
  readonly pollMs?: number
}

/** The keys of a file. Rejects with `AccessProblem` if it can't be used. */
export async function openApiKeys(options: ApiKeysOptions): Promise<ApiKeys> {
  const { file, clock, onChange, onProblem, pollMs = POLL_MS } = options
  let version = await findVersion(file)
  let keys = await readKeys(file)
  let checking: Promise<void> | undefined

  async function look(): Promise<void> {
    const found = await findVersion(file)
    if (found === version) return
    version = found
    try {
      keys = await readKeys(file)
      onChange(keys.size)
    } catch (error) {
      onProblem(error as Error)
    }
  }

  function check(): Promise<void> {
    checking ??= look().finally(() => (checking = undefined))
    return checking
  }

  const timer = setInterval(() => void check(), pollMs)
  timer.unref()
  return {
    count: () => keys.size,
    identify(text) {
      const key = keys.get(toHash(text))
      if (!key) throw new Unauthorized('key_unknown')
      if (key.expiresAt !== undefined && key.expiresAt <= clock()) {
        throw new Unauthorized('key_expired')
      }
      return key.caller
    },
    check,
    [Symbol.dispose]: () => clearInterval(timer),
  }
}

/** What tells one version of a file from another, also where it is replaced behind a link. */
async function findVersion(file: string): Promise<string> {
  try {
    const { mtimeMs, ino, size } = await stat(file)
    return `${mtimeMs} ${ino} ${size}`
  } catch (error) {
    return String((error as NodeJS.ErrnoException).code)
  }
}

async function readKeys(file: string): Promise<ReadonlyMap<string, Key>> {
  const text = await readText(file)
  const parsed = parseKeys(text)
  if (typeof parsed === 'string') throw new AccessProblem(`${file}: ${parsed}`)
  return parsed
}

/** What is wrong with what a file of keys says; undefined if nothing is. */
export function findMistake(text: string): string | undefined {
  const parsed = parseKeys(text)
  return typeof parsed === 'string' ? parsed : undefined
}

/** By their hashes; or what is wrong. Nothing that the text holds is quoted. */
function parseKeys(text: string): ReadonlyMap<string, Key> | string {
  const document = parseDocument(text, { logLevel: 'silent' })
  const [mistake] = document.errors
  if (mistake) {
    const [at] = mistake.linePos ?? []
    return `${at ? `line ${at.line}, column ${at.col} ` : ''}is not valid YAML`
  }
  const parsed = KeysFile.safeParse(toPlain(document))
  if (parsed.success) return toKeys(parsed.data.keys)
  return parsed.error.issues.map(({ path, message }) => `${showPath(path)} ${message}`).join('; ')
}

/** Undefined if it has aliases, which no file of keys needs. */
function toPlain(document: ReturnType<typeof parseDocument>): unknown {
  try {
    return document.toJS({ maxAliasCount: 0 })
  } catch {
    return undefined
  }
}

function toKeys(entries: readonly z.infer<typeof Entry>[]): ReadonlyMap<string, Key> | string {
  const keys = new Map<string, Key>()
  const names = new Set<string>()
  for (const { name, hash, scopes, expires, rate } of entries) {
    if (names.has(name)) return `two keys have the name ${name}`
    if (keys.has(hash)) return `the key of ${name} has another name too`
    names.add(name)
    const caller: Caller = { kind: 'key', name, scopes, ...(rate && { rate }) }
    keys.set(hash, { caller, expiresAt: expires })
  }
  return keys
}

async function readText(file: string): Promise<string> {
  try {
    const found = await stat(file)
    if (!found.isFile()) throw new AccessProblem(`${file}: is not a regular file`)
    if (found.size > MAX_FILE_BYTES) throw new AccessProblem(`${file}: is longer than 1 MiB`)
    return new TextDecoder('utf-8', { fatal: true }).decode(await readFile(file))
  } catch (error) {
    if (error instanceof AccessProblem) throw error
    throw unreadable(file, error)
  }
}

/** `keys[2].scopes[0]` */
function showPath(path: readonly PropertyKey[]): string {
  const shown = path.map((key) => (typeof key === 'number' ? `[${key}]` : `.${String(key)}`))
  return shown.join('').replace(/^\./, '') || 'it'
}
