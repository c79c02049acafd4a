import type { Logger } from 'pino'
import { pino } from 'pino'

export type LogLevel = 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace' | 'silent'

/** The root of all logging: JSON lines on stdout, without what could hold a secret. */
export function createLogger(level: LogLevel): Logger {
  return pino({
    level,
    redact: {
      paths: [
        '*.authorization',
        '*.Authorization',
        '*.password',
        '*.environment',
        '*.Env',
        '*.env',
      ],
      censor: '[redacted]',
    },
  })
}
