/** What a client would like of the answer (RFC 7240): not to wait for it, or for so many seconds at most. */
export interface Preference {
  readonly respondAsync: boolean
  readonly waitSeconds: number | undefined
}

/** Preferences that are not known, or not well-formed, count as absent; of a repeated one the first holds. */
export function parsePrefer(prefer: string | undefined): Preference {
  const preferences = new Map<string, string>()
  for (const entry of split(prefer ?? '', ',')) {
    const [preference = ''] = split(entry, ';')
    const [, name, value = ''] =
      /^([!#$%&'*+.^_`|~\w-]+)(?:\s*=\s*([^]*))?$/.exec(preference.trim()) ?? []
    const key = name?.toLowerCase()
    if (key !== undefined && !preferences.has(key)) preferences.set(key, unquoted(value))
  }
  const wait = preferences.get('wait') ?? ''
  return {
    respondAsync: preferences.get('respond-async') === '',
    waitSeconds: /^\d+$/.test(wait) ? Number(wait) : undefined,
  }
}

/** At what no quotes hold. Quotes that are never closed hold the rest. */
function split(text: string, separator: ',' | ';'): string[] {
  const parts = ['']
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\[^])*(?:"|\\?$)|[,;]|[^",;]+/g)) {
    if (token === separator) parts.push('')
    else parts[parts.length - 1] += token
  }
  return parts
}

function unquoted(value: string): string {
  return /^"([^"\\]*)"$/.exec(value)?.[1] ?? value
}
