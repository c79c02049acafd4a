import { randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseSecret } from '../core/signature.ts'

const SECRET_BYTES = 32
const MAX_SECRETS = 2

/**
 * The secrets that callbacks are signed with: those of `file`, one or two lines of `whsec_…`; without one, that of
 * `dataFolder`/callback-secret, which is made if it is missing. Throws the system's error, or one that says what is wrong.
 */
export function readCallbackSecrets(file: string | undefined, dataFolder: string): Uint8Array[] {
  const path = file ?? join(dataFolder, 'callback-secret')
  if (file === undefined) makeSecret(path)
  const lines = readFileSync(path, 'utf8')
    .split(/\s+/)
    .filter((line) => line !== '')
  const secrets = lines.flatMap((line) => parseSecret(line) ?? [])
  if (secrets.length === lines.length && lines.length > 0 && lines.length <= MAX_SECRETS) {
    return secrets
  }
  const expected = 'one or two lines of whsec_ and 24 to 64 bytes in base64'
  throw Object.assign(new Error(`${path} must hold ${expected}`), { syscall: 'read' })
}

function makeSecret(path: string): void {
  try {
    const secret = `whsec_${randomBytes(SECRET_BYTES).toString('base64')}\n`
    writeFileSync(path, secret, { mode: 0o600, flag: 'wx' })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
}
