/** A request's headers: each name in lower case, with all of its values, in their order. As Node gives them: a character for a byte. */
export type HookHeaders = ReadonlyMap<string, readonly string[]>

/** What came to a webhook, before anything of it is believed. */
export interface HookRequest {
  readonly headers: HookHeaders
  readonly query: URLSearchParams
  /** The very bytes: what was signed is neither decoded nor parsed before it is verified. */
  readonly body: Uint8Array
}

/** What rules and inputs read. */
export interface HookContent {
  readonly headers: HookHeaders
  /** Of `parseHookBody`, or a CloudEvent's. Undefined: there is none. */
  readonly json: unknown
}

/** From `rawHeaders` of Node's `IncomingMessage`: names and values by turns. Its `headers` would join a doubled header, or drop one. */
export function toHookHeaders(rawHeaders: readonly string[]): HookHeaders {
  const headers = new Map<string, string[]>()
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]!.toLowerCase()
    const values = headers.get(name)
    if (values) values.push(rawHeaders[at + 1]!)
    else headers.set(name, [rawHeaders[at + 1]!])
  }
  return headers
}

/** The value of a header that is there once and is not empty. */
export function findHeader(headers: HookHeaders, name: string): string | undefined {
  const values = headers.get(name)
  return values?.length === 1 && values[0] !== '' ? values[0] : undefined
}

/** A header's value as text: UTF-8 where its bytes are that, else Latin-1. */
export function toHeaderText(value: string): string {
  return decodeUtf8(Buffer.from(value, 'latin1')) ?? value
}

const utf8 = new TextDecoder('utf-8', { fatal: true })

/** Undefined for bytes that are no UTF-8. A byte order mark is left out. */
export function decodeUtf8(bytes: Uint8Array): string | undefined {
  try {
    return utf8.decode(bytes)
  } catch {
    return undefined
  }
}

/** `application/json` of `Application/JSON; charset=utf-8`. */
export function toMediaType(contentType: string | undefined): string {
  return (contentType ?? '').split(';', 1)[0]!.trim().toLowerCase()
}
