import { parseAccept } from 'hono/utils/accept'
import { OneshotError } from '../core/error.ts'

const FORMS = [
  'application/json',
  'text/plain',
  'application/octet-stream',
  'text/event-stream',
] as const

export type Form = (typeof FORMS)[number]

/**
 * The form that an `Accept` header asks for (RFC 9110, 12.5.1), `preferred` where it does not mind. Of equally good
 * ones the more closely named counts, then the one named first. Throws `not_acceptable`.
 */
export function negotiate(accept: string | undefined, preferred: Form): Form {
  return choose(FORMS, accept, preferred)
}

const FORMS_OF_LOGS = ['text/plain', 'application/x-ndjson', 'text/event-stream'] as const

export type FormOfLogs = (typeof FORMS_OF_LOGS)[number]

/** The same for logs. Throws `not_acceptable`. */
export function negotiateLogs(accept: string | undefined): FormOfLogs {
  return choose(FORMS_OF_LOGS, accept, 'text/plain')
}

function choose<F extends string>(
  forms: readonly F[],
  accept: string | undefined,
  preferred: F,
): F {
  const ranges = parseAccept(accept ?? '').map(({ type, q }) => ({ type: type.toLowerCase(), q }))
  if (ranges.length === 0) return preferred
  const choices = forms.flatMap((form) => {
    const names = [form, form.replace(/\/.*/, '/*'), '*/*']
    const breadth = names.findIndex((name) => ranges.some(({ type }) => type === name))
    const place = ranges.findIndex(({ type }) => type === names[breadth])
    const isOther = breadth === 2 && form !== preferred
    const { q = 0 } = ranges[place] ?? {}
    return q > 0 ? [{ form, rank: [-q, breadth, place, Number(isOther)] }] : []
  })
  const [best] = choices.sort((a, b) => compare(a.rank, b.rank))
  if (best) return best.form
  const detail = `The answer can be ${forms.join(', ')}: accept one of them.`
  throw new OneshotError('not_acceptable', detail)
}

function compare(a: readonly number[], b: readonly number[]): number {
  const differing = a.findIndex((each, index) => each !== b[index])
  return differing < 0 ? 0 : a[differing]! - b[differing]!
}
