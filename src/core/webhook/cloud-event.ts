import { OneshotError } from '../error.ts'
import { decodeSignature } from './encoding.ts'
import { isObject, parseJsonBytes } from './json.ts'
import type { HookRequest } from './request.ts'
import { decodeUtf8, findHeader, toMediaType } from './request.ts'
import { parseTimestamp } from './timestamp.ts'

/** CloudEvents 1.0.2, https://github.com/cloudevents/spec. */
export interface CloudEvent {
  readonly id: string
  readonly source: string
  readonly type: string
  /** What is told: of JSON, as `JSON.stringify` writes it, unless it came as a body of its own. Absent: there is none. */
  readonly data?: Uint8Array
  readonly contentType?: string
  /** All of it, as the JSON format writes it: attributes, and `data` or `data_base64`. */
  readonly json: Readonly<Record<string, unknown>>
}

const PREFIX = 'ce-'
const MEDIA_TYPE = 'application/cloudevents'
const MAX_EVENTS = 100
const MAX_TEXT = 4096
const REQUIRED = ['id', 'source', 'type', 'specversion'] as const

/**
 * The events of a request: one in binary or structured mode, none to 100 in batched mode. Throws `bad_request` with what is wrong for what is not as the HTTP
 * binding and the JSON format have it.
 */
export function readCloudEvents({ headers, body }: Omit<HookRequest, 'query'>): CloudEvent[] {
  if ((headers.get('content-type')?.length ?? 0) > 1) malformed('Content-Type is given twice')
  const contentType = findHeader(headers, 'content-type')
  const mediaType = toMediaType(contentType)
  if (!mediaType.startsWith(MEDIA_TYPE)) return [fromBinary(headers, body, contentType)]
  const isBatch = mediaType === `${MEDIA_TYPE}-batch+json`
  if (!isBatch && mediaType !== `${MEDIA_TYPE}+json`) {
    malformed(`of its formats only JSON is taken: ${MEDIA_TYPE}+json or ${MEDIA_TYPE}-batch+json`)
  }
  const json = parseJsonBytes(body)
  if (json === undefined)
    malformed('the body is no JSON in UTF-8, is nested too deeply, or holds too much')
  if (!isBatch) return [fromJson(json, '')]
  if (!Array.isArray(json)) malformed('a batch is a list')
  if (json.length > MAX_EVENTS) malformed(`a batch has at most ${MAX_EVENTS} events`)
  return json.map((event, index) => fromJson(event, ` of event ${index}`))
}

function fromBinary(
  headers: HookRequest['headers'],
  body: Uint8Array,
  contentType: string | undefined,
): CloudEvent {
  const attributes: [string, string][] = []
  for (const [header, values] of headers) {
    if (!header.startsWith(PREFIX)) continue
    const name = header.slice(PREFIX.length)
    if (values.length > 1) malformed(`${quote(header)} is given twice`)
    if (name === 'datacontenttype' || name === 'data') {
      malformed(`${header} has no place in binary mode: Content-Type says what the body is`)
    }
    const value = decodeHeader(values[0]!)
    if (value === undefined) malformed(`${quote(header)} is not percent-encoded UTF-8`)
    attributes.push([name, value])
  }
  if (contentType !== undefined) attributes.push(['datacontenttype', contentType])
  const event = toEvent(Object.fromEntries(attributes), '', 'ce-')
  if (body.length === 0) return event
  return { ...event, data: body, json: { ...event.json, ...describeData(body, contentType) } }
}

/** As the JSON format, section 3.1, would have it. */
function describeData(body: Uint8Array, contentType: string | undefined) {
  const json = isJson(contentType) ? parseJsonBytes(body) : undefined
  const data = json ?? (isJson(contentType) ? undefined : decodeUtf8(body))
  return data === undefined ? { data_base64: Buffer.from(body).toString('base64') } : { data }
}

function fromJson(json: unknown, which: string): CloudEvent {
  if (!isObject(json)) malformed(`an event is an object${which && `, unlike that${which}`}`)
  const { data, data_base64: encoded, ...attributes } = json
  const given = Object.entries(attributes).filter(([, value]) => value !== null)
  const event = toEvent(Object.fromEntries(given), which, '')
  if (data !== undefined && encoded !== undefined) {
    malformed(`data and data_base64${which} exclude each other`)
  }
  if (encoded === undefined || encoded === null) {
    if (data === undefined || data === null) return event
    // Anything but JSON is a text in JSON: section 3.1.1 of the JSON format.
    const isText = typeof data === 'string' && !isJson(event.contentType)
    const bytes = Buffer.from(isText ? data : JSON.stringify(data))
    return { ...event, data: bytes, json: { ...event.json, data } }
  }
  const bytes = typeof encoded === 'string' ? fromBase64(encoded) : undefined
  if (!bytes) malformed(`data_base64${which} is no base64`)
  return { ...event, data: bytes, json: { ...event.json, data_base64: encoded } }
}

function fromBase64(text: string): Uint8Array | undefined {
  return text === '' ? new Uint8Array() : decodeSignature(text, 'base64')
}

/** Unless something else is said, data is JSON. */
function isJson(contentType: string | undefined): boolean {
  return contentType === undefined || /^[^/]+\/(?:json|.+\+json)$/.test(toMediaType(contentType))
}

/** Checks what the specification says of attributes, in its section 3. */
function toEvent(
  attributes: Readonly<Record<string, unknown>>,
  which: string,
  prefix: string,
): CloudEvent {
  for (const name of REQUIRED) {
    const value = Object.hasOwn(attributes, name) ? attributes[name] : undefined
    if (typeof value !== 'string' || value === '') malformed(`${prefix}${name}${which} is missing`)
  }
  if (attributes['specversion'] !== '1.0') {
    malformed(`${prefix}specversion${which} is not 1.0, which alone is taken`)
  }
  for (const [name, value] of Object.entries(attributes)) checkAttribute(name, value, which, prefix)
  const { id, source, type, datacontenttype: contentType } = attributes as Record<string, string>
  return {
    id: id!,
    source: source!,
    type: type!,
    ...(contentType !== undefined && { contentType }),
    json: attributes,
  }
}

function checkAttribute(name: string, value: unknown, which: string, prefix: string): void {
  if (!/^[a-z0-9]{1,50}$/.test(name)) {
    malformed(`${quote(`${prefix}${name}`)}${which} is no attribute's name: lower case and digits`)
  }
  const isWhole = Number.isSafeInteger(value) || typeof value === 'boolean'
  if (typeof value !== 'string' && !isWhole) {
    malformed(`${prefix}${name}${which} is neither a text nor a whole number nor true or false`)
  }
  if (typeof value !== 'string') return
  // oxlint-disable-next-line no-control-regex
  if (/[\0-\x1f\x7f-\x9f]/.test(value) || !value.isWellFormed() || value.length > MAX_TEXT) {
    malformed(`${prefix}${name}${which} holds a control character, or is too long`)
  }
  if (name === 'time' && parseTimestamp(value.toUpperCase(), 'iso') === undefined) {
    malformed(`${prefix}time${which} is no time as RFC 3339 has it`)
  }
}

/** HTTP binding, section 3.1.3.2: quotes first, then one round of percent-decoding. Undefined for what is no UTF-8 then. */
function decodeHeader(value: string): string | undefined {
  const quoted = /^"((?:[^"\\]|\\.)*)"$/.exec(value)?.[1]
  const plain = quoted === undefined ? value : quoted.replaceAll(/\\(.)/g, '$1')
  const bytes = plain.replaceAll(/%([0-9A-Fa-f]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  )
  return decodeUtf8(Buffer.from(bytes, 'latin1'))
}

function quote(name: string): string {
  return JSON.stringify(name.slice(0, 100))
}

function malformed(what: string): never {
  throw new OneshotError('bad_request', `This is no CloudEvent that can be read: ${what}.`)
}
