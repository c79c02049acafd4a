import { createHash, randomBytes } from 'node:crypto'
import { stringify } from 'yaml'

const PREFIX = 'osk_'
const KEY_BYTES = 32
const HASH = /^sha256:([0-9a-f]{64})$/

/** A key that nobody can guess. It is told once: only its hash is kept. */
export function makeKey(random: (bytes: number) => Buffer = randomBytes): string {
  return `${PREFIX}${random(KEY_BYTES).toString('base64url')}`
}

export function isKey(text: string): boolean {
  return text.startsWith(PREFIX)
}

/**
 * In hexadecimal. A single SHA-256 is enough: of 256 random bits none can be guessed, however fast one may try; what slow hashes are for is passwords.
 */
export function toHash(key: string): string {
  return createHash('sha256').update(key).digest('hex')
}

/** The hash of `sha256:HEX`; undefined for anything else. */
export function parseHash(text: string): string | undefined {
  return HASH.exec(text)?.[1]
}

export interface KeyEntry {
  readonly name: string
  readonly scopes: readonly string[]
  /** ISO 8601 */
  readonly expires?: string | undefined
}

/** What the file of keys says of a key: an item of its list, indented. */
export function showEntry(key: string, { name, scopes, expires }: KeyEntry): string {
  const entry = { name, hash: `sha256:${toHash(key)}`, scopes, ...(expires && { expires }) }
  return stringify([entry], { lineWidth: 0 }).replaceAll(/^(?=.)/gm, '  ')
}
