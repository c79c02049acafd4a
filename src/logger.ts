import type { Logger } from 'pino'
import { pino, stdSerializers } from 'pino'

export type LogLevel = 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace' | 'silent'

const CENSORED = '[redacted]'
/** How deep is looked; what lies deeper is left out. */
const MAX_DEPTH = 6

/** In lower case, as headers and variables may be written in any. */
const SECRET = new Set(
  [
    'authorization proxy-authorization cookie set-cookie x-api-key apikey',
    'x-gitlab-token x-hub-signature x-hub-signature-256 x-gitea-signature x-gogs-signature',
    'x-slack-signature stripe-signature webhook-signature',
    'password passphrase secret secrets token access_token refresh_token id_token client_secret',
    'privatekey env environment',
  ].flatMap((names) => names.split(' ')),
)

/**
 * The root of all logging: JSON lines on stdout, without what could hold a secret. pino's own redaction would take a pattern for each name at each depth:
 * a hundred of them cost a hundred times as much as the line itself.
 */
export function createLogger(level: LogLevel, destination?: { write(line: string): void }): Logger {
  const options = {
    level,
    formatters: { log: (record: object) => redacted(record) as Record<string, unknown> },
    serializers: { err: (error: Error) => redacted(stdSerializers.err(error)) },
  }
  return destination ? pino(options, destination) : pino(options)
}

function redacted(value: unknown, depth = 0): unknown {
  if (typeof value !== 'object' || value === null || !isPlain(value)) return value
  if (depth === MAX_DEPTH) return '[deeper]'
  if (Array.isArray(value)) return value.map((each) => redacted(each, depth + 1))
  return Object.fromEntries(
    Object.entries(value).map(([name, each]) => [
      name,
      SECRET.has(name.toLowerCase()) && each !== undefined ? CENSORED : redacted(each, depth + 1),
    ]),
  )
}

/** Errors have a serializer of their own; dates and the like hold no names. */
function isPlain(value: object): boolean {
  return !(value instanceof Error) && !('toJSON' in value)
}
