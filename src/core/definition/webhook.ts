import * as z from 'zod'
import { choice, flag, integer, text } from './scalar.ts'
import { listOf, mapping, oneOf, recordOf, refuse, scalar, taggedBy } from './shape.ts'
import { compilePattern } from '../pattern.ts'
import type {
  HmacScheme,
  Mapped,
  Rule,
  Selector,
  TriggerConcurrency,
  WebhookScheme,
} from '../trigger.ts'
import { parseJsonPath } from '../webhook/json-path.ts'
import { hasPlace, parseTemplate } from '../webhook/template.ts'

/** Where a secret is to be read from. */
export interface SecretReference {
  readonly from: { readonly env: string } | { readonly file: string }
  /** Milliseconds since the epoch. */
  readonly notAfter?: number
}

export const triggerName = text.transform((value, context) =>
  /^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/.test(value)
    ? value
    : refuse(context, 'expected a name of a-z, 0-9 and -, at most 63 characters'),
)

const headerName = text.transform((value, context) =>
  /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}$/.test(value)
    ? value.toLowerCase()
    : refuse(context, 'expected the name of a header, such as X-Signature'),
)

const jsonPath = text.transform((value, context) => {
  const path = parseJsonPath(value)
  return (
    path ?? refuse(context, 'expected a JSON path such as $.ref, $.commits[*].id or $["a b"][0]')
  )
})

/** Exactly one of `keys` is given. */
function onlyOne(given: object, keys: readonly string[]): boolean {
  return keys.filter((key) => Object.hasOwn(given, key)).length === 1
}

const EXPECTED_SELECTOR = 'a JSON path such as $.ref, or a map of header or path'
const selector = oneOf(EXPECTED_SELECTOR, {
  text: jsonPath.transform((path): Selector => ({ path })),
  map: mapping({ header: headerName.exactOptional(), path: jsonPath.exactOptional() }).transform(
    (given, context): Selector =>
      onlyOne(given, ['header', 'path'])
        ? (given as Selector)
        : refuse(context, `expected ${EXPECTED_SELECTOR}`),
  ),
})

const plain = scalar('a text, a number, true, false or null', (value) =>
  typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
    ? { value }
    : undefined,
).transform(({ value }) => value)

const pattern = text.transform((value, context) =>
  compilePattern(value)
    ? value
    : refuse(context, 'expected a regular expression without back references and lookaround'),
)

/** Of an empty list it is not plain what is meant: nothing, or anything. */
function someOf<T extends z.ZodType>(item: T, what: string) {
  return listOf(item, what).transform((given, context) =>
    given.length > 0 ? given : refuse(context, `expected ${what}, at least one`),
  )
}

const CONDITIONS = ['eq', 'in', 'match', 'exists']
const EXPECTED_RULE =
  'expected all, any or not; or one of path and header with one of eq, in, match and exists'

const rule: z.ZodType<Rule> = z.lazy(() =>
  mapping({
    all: someOf(rule, 'a list of rules').exactOptional(),
    any: someOf(rule, 'a list of rules').exactOptional(),
    not: rule.exactOptional(),
    header: headerName.exactOptional(),
    path: jsonPath.exactOptional(),
    eq: plain.exactOptional(),
    in: someOf(plain, 'a list of values').exactOptional(),
    match: pattern.exactOptional(),
    exists: flag.exactOptional(),
  }).transform((given, context): Rule => {
    const keys = Object.keys(given)
    const isCombined = keys.length === 1 && onlyOne(given, ['all', 'any', 'not'])
    const isCondition =
      keys.length === 2 && onlyOne(given, ['path', 'header']) && onlyOne(given, CONDITIONS)
    return isCombined || isCondition ? (given as Rule) : refuse(context, EXPECTED_RULE)
  }),
)

const mapped = oneOf('a JSON path such as $.ref, a value, or a map of header, path or value', {
  text: z.unknown().transform((value, context): Mapped => {
    if (typeof value !== 'string' || !value.startsWith('$')) return { value }
    const path = parseJsonPath(value)
    const hint = 'write { value: … } for a text that begins with $'
    return path ? { path } : refuse(context, `expected a JSON path such as $.ref; ${hint}`)
  }),
  map: mapping({
    header: headerName.exactOptional(),
    path: jsonPath.exactOptional(),
    value: z.unknown().exactOptional(),
  }).transform((given, context): Mapped =>
    onlyOne(given, ['header', 'path', 'value'])
      ? (given as Mapped)
      : refuse(context, 'expected one of header, path and value'),
  ),
})

const variableName = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/
const environment = recordOf(mapped).transform((given, context) => {
  const wrong = Object.keys(given).find(
    (name) => !variableName.test(name) || name.startsWith('ONESHOT_'),
  )
  return wrong === undefined
    ? given
    : refuse(context, 'expected the name of a variable, other than ONESHOT_…', { path: [wrong] })
})

const time = scalar('a time such as 2027-01-01T00:00:00Z', (value) => {
  const { success } = z.iso.datetime({ offset: true }).safeParse(value)
  return success ? Date.parse(value as string) : undefined
})

const secret = mapping({
  env: text.exactOptional(),
  file: text.exactOptional(),
  notAfter: time.exactOptional(),
}).transform((given, context): SecretReference => {
  const { env, file, notAfter } = given
  const rest = notAfter === undefined ? {} : { notAfter }
  if (env !== undefined && file === undefined) return { from: { env }, ...rest }
  if (file !== undefined && env === undefined) return { from: { file }, ...rest }
  return refuse(context, 'expected one of env, the name of a variable, and file, a path')
})

const secrets = listOf(secret, 'a list of maps of env or file').transform((given, context) =>
  given.length > 0 && given.length <= MAX_SECRETS
    ? given
    : refuse(context, `expected 1 to ${MAX_SECRETS} secrets`),
)
const MAX_SECRETS = 10

const concurrency = mapping({
  max: integer(1).exactOptional(),
  key: selector.exactOptional(),
  policy: choice('queue', 'drop', 'replace').exactOptional(),
}).transform(({ max = 1, policy = 'queue', ...rest }): TriggerConcurrency => ({
  ...rest,
  max,
  policy,
}))

const shared = {
  type: choice('webhook'),
  name: triggerName.exactOptional(),
  provider: text,
  events: someOf(text, 'a list of events such as push').exactOptional(),
  when: rule.exactOptional(),
  input: mapping({
    body: choice('raw', 'none').exactOptional(),
    parameters: recordOf(mapped).exactOptional(),
    environment: environment.exactOptional(),
  }).exactOptional(),
  mode: choice('async', 'sync').exactOptional(),
  concurrency: concurrency.exactOptional(),
}

/** One that signs: there have to be secrets. */
function signed(provider: 'github' | 'gitlab' | 'gitea' | 'stripe' | 'slack' | 'standard') {
  return mapping({ ...shared, secrets }).transform((given) => ({
    ...given,
    scheme: { provider } as WebhookScheme,
  }))
}

/** One that sends a token, if it is given one. */
function withToken(provider: 'cloudevents' | 'alertmanager') {
  return mapping({
    ...shared,
    secrets: secrets.exactOptional(),
    allowUnsigned: flag.exactOptional(),
  }).transform(({ allowUnsigned = false, ...given }, context) => {
    if (given.secrets === undefined && !allowUnsigned) {
      return refuse(context, 'expected secrets; or allowUnsigned: true, if anyone may send')
    }
    if (given.secrets !== undefined && allowUnsigned) {
      return refuse(context, 'expected secrets or allowUnsigned: true, not both')
    }
    return { ...given, scheme: { provider, allowUnsigned } as WebhookScheme }
  })
}

const places = { event: selector.exactOptional(), id: selector.exactOptional() }

const token = mapping({
  ...shared,
  ...places,
  secrets,
  header: headerName.exactOptional(),
}).transform(({ header = 'authorization', event, id, ...given }) => ({
  ...given,
  scheme: {
    provider: 'token',
    header,
    ...(event && { event }),
    ...(id && { id }),
  } as WebhookScheme,
}))

const none = mapping({ ...shared, ...places, allowUnsigned: flag.exactOptional() }).transform(
  ({ allowUnsigned, event, id, ...given }, context) =>
    allowUnsigned === true
      ? {
          ...given,
          secrets: undefined,
          scheme: { provider: 'none', ...(event && { event }), ...(id && { id }) } as WebhookScheme,
        }
      : refuse(context, 'expected allowUnsigned: true: anyone may send then'),
)

const timestamp = oneOf('the name of a header, or a map of header and unit', {
  text: headerName.transform((header) => ({ header, unit: 's' as const })),
  map: mapping({ header: headerName, unit: choice('s', 'ms', 'iso').exactOptional() }).transform(
    ({ header, unit = 's' }) => ({ header, unit }),
  ),
})

const hmac = mapping({
  ...shared,
  ...places,
  secrets,
  header: headerName,
  algorithm: choice('sha1', 'sha256', 'sha384', 'sha512').exactOptional(),
  encoding: choice('hex', 'base64', 'base64url').exactOptional(),
  prefix: z.string('expected a text').exactOptional(),
  template: text.exactOptional(),
  timestamp: timestamp.exactOptional(),
}).transform((given, context) => {
  const { header, algorithm, encoding, prefix = '', template = '{body}', ...rest } = given
  const { timestamp: time, id, event, ...others } = rest
  const scheme: HmacScheme = {
    provider: 'hmac',
    header,
    algorithm: algorithm ?? 'sha256',
    encoding: encoding ?? 'hex',
    prefix,
    template,
    ...(time && { timestamp: time }),
    ...(id && { id }),
    ...(event && { event }),
  }
  const problem = findTemplateProblem(scheme)
  return problem === undefined
    ? { ...others, scheme: scheme as WebhookScheme }
    : refuse(context, problem, { path: ['template'] })
})

function findTemplateProblem({ template, timestamp: time, id }: HmacScheme): string | undefined {
  const parts = parseTemplate(template)
  if (!parts || !hasPlace(parts, 'body')) {
    return 'expected {body}, and no other places but {timestamp} and {id}, each once'
  }
  // What is not signed proves nothing.
  if (hasPlace(parts, 'timestamp') !== (time !== undefined)) {
    return 'expected {timestamp} where timestamp names its header, and only there'
  }
  return hasPlace(parts, 'id') && !(id && 'header' in id)
    ? 'expected id to name the header of {id}'
    : undefined
}

export const webhook = taggedBy('provider', {
  github: signed('github'),
  gitlab: signed('gitlab'),
  gitea: signed('gitea'),
  stripe: signed('stripe'),
  slack: signed('slack'),
  standard: signed('standard'),
  cloudevents: withToken('cloudevents'),
  alertmanager: withToken('alertmanager'),
  token,
  hmac,
  none,
})
