/*
 * What may be shown of a definition: everything, except the values of what looks like a secret. A reference to the
 * gateway's environment or to a parameter is not one.
 */
const secret = /pass|pwd|token|secret|key|credential|auth|private/i
const reference = /^(?:\$\w+|\$\{\w+\}|\$\{\{\s*\w+\s*\}\})$/
const assigned = new RegExp(`([\\w-]*(?:${secret.source})[\\w-]*=)([^\\s,;&"']+)`, 'gi')
const userInfo = /(:\/\/[^\s/:@]*:)([^\s/@]+)(?=@)/g
const MASK = '***'

/** A copy of `definition`, as its author wrote it, with the values of secrets masked. */
export function maskSecrets(definition: Readonly<Record<string, unknown>>) {
  return maskEntries(definition, false)
}

/** Where a parameter with a telling name tells. */
const samples = new Set(['default', 'examples', 'enum', 'const'])

function maskEntries(entries: object, isSecret: boolean): Record<string, unknown> {
  const masked = Object.entries(entries).map(([key, value]: [string, unknown]) => {
    // A list below a telling key, such as `secrets`, has names in it.
    const isTelling = secret.test(key) && !Array.isArray(value)
    return [key, mask(value, isTelling || (isSecret && samples.has(key)))]
  })
  return Object.fromEntries(masked) as Record<string, unknown>
}

function mask(value: unknown, isSecret: boolean): unknown {
  if (Array.isArray(value)) return value.map((item: unknown) => mask(item, isSecret))
  if (typeof value === 'object' && value !== null) return maskEntries(value, isSecret)
  if (value === null || typeof value === 'boolean') return value
  if (typeof value === 'string') {
    if (isSecret) return reference.test(value) ? value : MASK
    return value.replaceAll(assigned, maskMatch).replaceAll(userInfo, maskMatch)
  }
  return isSecret ? MASK : value
}

function maskMatch(_: string, before: string, value: string): string {
  return before + (reference.test(value) ? value : MASK)
}
