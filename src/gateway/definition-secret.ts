import { dirname } from 'node:path'
import type { Definition, DefinitionProblem } from '../core/definition/definition.ts'
import type { ReadSecrets } from '../core/definition/trigger.ts'
import type { SecretReference } from '../core/definition/webhook.ts'
import { valueOf } from '../core/interpolate.ts'
import { absolutePath } from '../core/path.ts'
import type { WebhookSecret } from '../core/trigger.ts'
import { checkSecret } from '../core/webhook/secret.ts'
import { readTextFile } from './text-file.ts'

interface ReadTriggerSecrets {
  readonly secrets: ReadSecrets
  /** Absolute: a change of them changes the function. */
  readonly files: readonly string[]
  readonly problems: readonly DefinitionProblem[]
  readonly warnings: readonly string[]
}

/** Reads the secrets that a definition's webhooks name. Relative paths start at `file`, the definition's own. Nothing that is told holds a part of one. */
export async function readTriggerSecrets(
  { triggers = [] }: Definition,
  file: string,
  environment: Readonly<Record<string, string | undefined>>,
): Promise<ReadTriggerSecrets> {
  const secrets = new Map<SecretReference, WebhookSecret>()
  const files: string[] = []
  const problems: DefinitionProblem[] = []
  const warnings: string[] = []
  for (const [index, trigger] of triggers.entries()) {
    if (trigger.type !== 'webhook') continue
    for (const [place, reference] of (trigger.secrets ?? []).entries()) {
      const path = ['triggers', index, 'secrets', place]
      const read = await readSecret(reference)
      if (read.file !== undefined) files.push(read.file)
      if (read.problem !== undefined) {
        problems.push({ path, message: read.problem })
        continue
      }
      const { problem, warning } = checkSecret(trigger.scheme, read.value)
      const { notAfter } = reference
      if (problem !== undefined) problems.push({ path, message: `${read.what} ${problem}` })
      if (warning !== undefined) warnings.push(`triggers.${index}: ${read.what} ${warning}`)
      secrets.set(reference, { value: read.value, ...(notAfter !== undefined && { notAfter }) })
    }
  }
  return { secrets, files, problems, warnings }

  async function readSecret({ from }: SecretReference): Promise<Read> {
    if ('env' in from) {
      const value = valueOf(environment, from.env)
      const what = `the variable ${from.env}`
      return value === undefined
        ? { problem: `${what} is not set: set it for the gateway, or name another` }
        : { what, value }
    }
    const path = absolutePath(from.file, dirname(file))
    const found = await readTextFile(path)
    if (!('text' in found)) return { file: path, problem: `${from.file} ${found.reason}` }
    // Editors, and `docker secret create` from a pipe, leave a newline there.
    return { file: path, what: from.file, value: found.text.replace(/\r?\n$/, '') }
  }
}

type Read =
  | {
      readonly what: string
      readonly value: string
      readonly file?: string
      readonly problem?: never
    }
  | { readonly problem: string; readonly file?: string }
