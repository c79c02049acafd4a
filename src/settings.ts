import { resolve } from 'node:path'
import { z } from 'zod'
import { isTrustworthy, parseNetworks } from './core/address.ts'
import { MAX_OUTPUT_BYTES, MIN_LOG_BYTES, MIN_MEMORY_BYTES } from './core/definition/definition.ts'
import { parseAllowList } from './core/callback-target.ts'
import { allowances } from './core/policy.ts'
import { parseRate } from './core/rate.ts'
import { MAX_DURATION_MS, parseBytes, parseDuration, showBytes } from './core/units.ts'

const duration = setting('a duration such as 30s or 1m30s', parseDuration)
  .refine((value) => value > 0, 'must be above 0')
  .refine((value) => value <= MAX_DURATION_MS, 'must be at most 24d')
const size = setting('a size such as 256m, or 0', parseBytes)
const bytes = (least = 1, most = Infinity) =>
  setting('a size such as 512m or 1g', parseBytes)
    .refine((value) => value >= least, `must be at least ${showBytes(least)}`)
    .refine((value) => value <= most, `must be at most ${showBytes(most)}`)
const path = z
  .string()
  .min(1, 'must be a folder, not empty')
  .transform((value) => resolve(value))
const levels = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const
const count = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d+$/, `must be a whole number from ${min} to ${max}`)
    .transform(Number)
    .refine((value) => value >= min && value <= max, `must be a whole number from ${min} to ${max}`)

const Allowance = z.enum(allowances)
const allowed = z.string().transform((value, context) => {
  const names = value.split(/[\s,]+/).filter((name) => name !== '')
  return names.flatMap((name) => {
    const parsed = Allowance.safeParse(name)
    if (parsed.success) return parsed.data
    context.addIssue(`has "${name}"; it may list ${allowances.join(', ')}`)
    return []
  })
})

const targets = z.string().transform((value, context) => {
  const { rules, wrong } = parseAllowList(value)
  for (const complaint of wrong) context.addIssue(`has ${complaint}`)
  return wrong.length > 0 ? z.NEVER : rules
})

const file = z
  .string()
  .min(1, 'must be a file, not empty')
  .transform((value) => resolve(value))

const keysUrl = z.string().transform((value, context) => {
  const url = URL.parse(value)
  if (url && isTrustworthy(url) && url.username === '' && url.password === '') return url
  context.addIssue('must be a URL that begins with https://, or with http:// and a loopback host')
  return z.NEVER
})
const issuer = z
  .string()
  .min(1, 'must be what "iss" says in the tokens, not empty')
  .max(1000, 'must be at most 1000 characters long')

const algorithms = ['HS256', 'EdDSA', 'ES256', 'RS256'] as const
const Algorithm = z.enum(algorithms)
const algorithmList = z.string().transform((value, context) => {
  const names = value.split(/[\s,]+/).filter((name) => name !== '')
  const known = names.flatMap((name) => Algorithm.safeParse(name).data ?? [])
  if (known.length === names.length && names.length > 0) return known
  context.addIssue(`must list some of ${algorithms.join(', ')}`)
  return z.NEVER
})

const rate = z.string().transform((value, context) => {
  if (value === '' || value === 'none') return undefined
  const parsed = parseRate(value)
  if (parsed) return parsed
  context.addIssue(`must be a rate such as 50/s, 100/m or 1000/h, or none, not "${value}"`)
  return z.NEVER
})

const networks = z.string().transform((value, context) => {
  const parsed = parseNetworks(value)
  if (parsed.wrong.length === 0) return parsed.networks
  context.addIssue(`has "${parsed.wrong.join('", "')}", which is no address or CIDR`)
  return z.NEVER
})

const origins = z.string().transform((value, context) => {
  const given = value.split(/[\s,]+/).filter((origin) => origin !== '')
  const wrong = given.filter((origin) => !isOrigin(origin))
  if (wrong.length === 0) return given
  context.addIssue(`has "${wrong.join('", "')}": an origin is written https://app.example.com`)
  return z.NEVER
})

/** Every setting, with its default; `describe` is what the README's table says of it. */
export const Settings = z.object({
  ONESHOT_HOST: z
    .string()
    .min(1, 'must be an address such as 127.0.0.1, not empty')
    .default('127.0.0.1')
    .describe('Address to listen on'),
  ONESHOT_PORT: count(0, 65_535).prefault('8080').describe('Port to listen on; 0 takes a free one'),
  ONESHOT_FUNCTIONS: path.prefault('functions').describe('Folder of the function definitions'),
  ONESHOT_DATA: path
    .prefault('.oneshot')
    .describe("Folder of the gateway's state; one gateway each"),
  ONESHOT_BACKEND: z
    .enum(['container', 'swarm'], 'must be container or swarm')
    .default('container')
    .describe(
      'What runs a call: a container of the engine, or a task of the swarm that it manages',
    ),
  ONESHOT_PENDING_TIMEOUT: duration
    .prefault('10m')
    .describe('How long a swarm task may wait for a node with room for it'),
  ONESHOT_PREPARING_TIMEOUT: duration
    .prefault('10m')
    .describe('How long a node may take over the image and the mounts of a swarm task'),
  ONESHOT_LEASE: duration
    .prefault('60s')
    .describe("How long a swarm node that has gone may take to tell its tasks' ends"),
  ONESHOT_SPOOL_VOLUME: z
    .string()
    .regex(/^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/, 'must be the name of a volume')
    .optional()
    .describe(
      'Volume that all swarm nodes share, for inputs above 1000 KiB; without one those are answered 413',
    ),
  ONESHOT_SPOOL_PATH: path.optional().describe('Where the gateway itself has that volume'),
  ONESHOT_CLOSED_SUBNET: z
    .union([z.cidrv4(), z.cidrv6()], 'must be a CIDR such as 10.99.0.0/16')
    .optional()
    .describe(
      'Addresses of the swarm network that stands in for network_mode none; unless given, the swarm chooses 254',
    ),
  ONESHOT_LOG_LEVEL: z
    .enum(levels, `must be one of ${levels.join(', ')}`)
    .default('info')
    .describe('fatal, error, warn, info, debug, trace or silent'),
  ONESHOT_CONCURRENCY: count(1, 10_000)
    .prefault('32')
    .describe('The most calls that run at once, of all functions together'),
  ONESHOT_QUEUE: count(0, 1_000_000)
    .prefault('1000')
    .describe('The most calls that wait for a slot; more are answered 429'),
  ONESHOT_TIMEOUT: duration
    .prefault('60s')
    .describe('Timeout of a function that states none; at most ONESHOT_MAX_TIMEOUT'),
  ONESHOT_MAX_TIMEOUT: duration
    .prefault('24h')
    .describe('The longest timeout a function may state'),
  ONESHOT_MEMORY: bytes(MIN_MEMORY_BYTES)
    .prefault('512m')
    .describe('Memory limit of a function that states none; at least 6m'),
  ONESHOT_PIDS: count(1, 4_194_304)
    .prefault('256')
    .describe('Limit of processes of a function that states none'),
  ONESHOT_MAX_INPUT: bytes()
    .prefault('1g')
    .describe('Longest request body of a function that states none'),
  ONESHOT_MAX_OUTPUT: bytes(1, MAX_OUTPUT_BYTES)
    .prefault('1m')
    .describe(
      'How much of stdout and of stderr an envelope holds, of a function that states none; at most 64m',
    ),
  ONESHOT_MAX_LOGS: bytes(MIN_LOG_BYTES)
    .prefault('10m')
    .describe("How much of a call's output is kept, of a function that states none; at least 4k"),
  ONESHOT_ALLOW: allowed
    .prefault('')
    .describe(`What definitions may use beyond the safe defaults: ${allowances.join(', ')}`),
  ONESHOT_DEPLOY_POLICY: z
    .string()
    .min(1, 'must be a file, not empty')
    .optional()
    .describe(
      'YAML file of what functions may ask for that are deployed over HTTP; unless given, little',
    ),
  ONESHOT_SECRETS: path.prefault('/run/secrets').describe('Folder of the files that secrets name'),
  ONESHOT_CONFIGS: path.prefault('/run/configs').describe('Folder of the files that configs name'),
  ONESHOT_SHUTDOWN_TIMEOUT: duration
    .prefault('30s')
    .describe('How long running calls may go on after SIGTERM before they are stopped'),
  ONESHOT_WARM_MEMORY: size
    .prefault('256m')
    .describe('What armed containers may cost the engine, at 8m each; 0 arms none'),
  ONESHOT_NAMESPACES: count(0, 1000)
    .prefault('32')
    .describe('The most network namespaces made ahead for network_mode none; 0 makes none'),
  ONESHOT_BACKLOG: count(0, 10_000_000)
    .prefault('100000')
    .describe('The most accepted calls that wait to be run; more are answered 429'),
  ONESHOT_RETENTION: duration
    .prefault('7d')
    .describe('How long calls that have ended are remembered, with their output'),
  ONESHOT_DATA_MAX: bytes(16 * 1024 ** 2)
    .prefault('10g')
    .describe('How much is kept of calls that have ended before the oldest are forgotten'),
  ONESHOT_CALLBACK_ALLOW: targets
    .prefault('')
    .describe(
      'Where callbacks may go beyond public addresses: hosts, addresses, CIDRs, each with a port or without',
    ),
  ONESHOT_CALLBACK_SECRETS: z
    .string()
    .optional()
    .describe(
      'File of the secrets that callbacks are signed with, one or two whsec_…; unless given, one is made in ONESHOT_DATA',
    ),
  ONESHOT_SWEEP_INTERVAL: duration.prefault('30s').describe('How often leftovers are looked for'),
  ONESHOT_API_KEYS_FILE: file
    .optional()
    .describe(
      'File of the API keys; unless given, oneshot_api_keys in ONESHOT_SECRETS if that is there',
    ),
  ONESHOT_JWT_SECRET_FILE: file
    .optional()
    .describe('File of the secret that tokens are signed with (HS256), at least 32 bytes'),
  ONESHOT_JWT_PUBLIC_KEY_FILE: file
    .optional()
    .describe('File of the public key that tokens are checked with: PEM, JWK or JWKS'),
  ONESHOT_JWT_JWKS_URL: keysUrl
    .optional()
    .describe('Where the public keys are that tokens are checked with'),
  ONESHOT_JWT_ISSUER: issuer
    .optional()
    .describe(
      'Who must have issued a token; without a key of the three above, an OpenID Connect issuer, which says where its keys are',
    ),
  ONESHOT_JWT_AUDIENCE: z
    .string()
    .min(1, 'must be what "aud" says in the tokens, not empty')
    .optional()
    .describe('Whom a token must be meant for; needed unless the key is in a file'),
  ONESHOT_JWT_ALGORITHMS: algorithmList
    .optional()
    .describe(
      'Which of HS256, EdDSA, ES256 and RS256 tokens may be signed with; unless given, those that the key is for',
    ),
  ONESHOT_JWT_CLOCK_TOLERANCE: setting('a duration such as 30s, or 0s', parseDuration)
    .refine((value) => value <= 300_000, 'must be at most 5m')
    .prefault('30s')
    .describe("How far the issuer's clock may be off; at most 5m"),
  ONESHOT_INSECURE: z
    .enum(['true', 'false'], 'must be true or false')
    .transform((value) => value === 'true')
    .prefault('false')
    .describe(
      'true serves addresses other than loopback without any key: whoever reaches the gateway may do everything',
    ),
  ONESHOT_RATE_PER_KEY: rate
    .prefault('')
    .describe('How many requests each key, or subject of tokens, may send, such as 50/s'),
  ONESHOT_RATE_PER_ADDRESS: rate
    .prefault('100/s')
    .describe(
      'How many requests without valid credentials each address may send; none: any number',
    ),
  ONESHOT_TRUSTED_PROXIES: networks
    .prefault('')
    .describe('Addresses and CIDRs of the proxies whose X-Forwarded-For is believed'),
  ONESHOT_CORS_ORIGINS: origins
    .prefault('')
    .describe('Origins of the web pages that may send requests, such as https://app.example.com'),
})

function isOrigin(text: string): boolean {
  const url = URL.parse(text)
  return url !== null && /^https?:$/.test(url.protocol) && url.origin === text
}

function setting(expected: string, parse: (text: string) => number | undefined) {
  return z.string().transform((text, context) => {
    const value = parse(text)
    if (value !== undefined) return value
    context.addIssue(`must be ${expected}, not "${text}"`)
    return z.NEVER
  })
}
