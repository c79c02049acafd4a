import type { CallbackDefault } from '../callback.ts'
import { choice, duration, flag, integer, number, text } from './scalar.ts'
import { listOf, mapping, oneOf, refuse } from './shape.ts'

const MAX_RETRIES = 100

const exitCodes = oneOf('any, or a list of exit codes', {
  text: choice('any'),
  list: listOf(integer(1), 'a list of exit codes'),
})

const max = integer(0).transform((value, context) =>
  value <= MAX_RETRIES ? value : refuse(context, `expected at most ${MAX_RETRIES}`),
)

export const retries = oneOf('a number of retries, or a map', {
  text: max.transform((value) => ({ max: value })),
  map: mapping({
    max: max.exactOptional(),
    minDelay: duration.exactOptional(),
    maxDelay: duration.exactOptional(),
    factor: number(1, 100).exactOptional(),
    jitter: number(0, 1).exactOptional(),
    onExit: exitCodes.exactOptional(),
    onTimeout: flag.exactOptional(),
  }),
})

const url = text.transform((value, context) =>
  URL.canParse(value) && /^https?:$/.test(new URL(value).protocol)
    ? value
    : refuse(context, 'expected a URL that begins with https:// or http://'),
)

export const callback = oneOf('a URL, or a map of url and format', {
  text: url.transform((value): CallbackDefault => ({ url: value, format: 'envelope' })),
  map: mapping({
    url: url.exactOptional(),
    format: choice('envelope', 'raw', 'cloudevents').exactOptional(),
  }).transform(({ format = 'envelope', ...given }): CallbackDefault => ({ ...given, format })),
})
