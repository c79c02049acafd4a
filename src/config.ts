import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { distance } from 'fastest-levenshtein'
import { z } from 'zod'
import { MAX_OUTPUT_BYTES, MIN_LOG_BYTES, MIN_MEMORY_BYTES } from './core/definition/definition.ts'
import { parseAllowList } from './core/callback-target.ts'
import { allowances } from './core/policy.ts'
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

/** What an armed container costs the engine: its shim, above all. */
const ARMED_BYTES = 8 * 1024 ** 2

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
})

export type Config = ReturnType<typeof toConfig>

/** A setting is wrong; the message names each that is. */
export class ConfigError extends Error {}

/** Throws `ConfigError`. Other variables than `ONESHOT_*` are not looked at. */
export function readConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const given = Object.entries(env).filter(([name]) => name.startsWith('ONESHOT_'))
  const complaints = given
    .filter(([name]) => !(name in Settings.shape))
    .map(([name]) => `${name} is not a setting${closest(name)}`)
  const parsed = Settings.safeParse(Object.fromEntries(given))
  if (!parsed.success) {
    complaints.push(
      ...parsed.error.issues.map(({ path: [name], message }) => `${String(name)} ${message}`),
    )
  }
  // Its default gives way to a lower bound.
  if (parsed.success && given.some(([name]) => name === 'ONESHOT_TIMEOUT')) {
    const { ONESHOT_TIMEOUT: timeout, ONESHOT_MAX_TIMEOUT: most } = parsed.data
    if (timeout > most) {
      complaints.push(
        'ONESHOT_TIMEOUT must be at most ONESHOT_MAX_TIMEOUT: lower it, or raise that',
      )
    }
  }
  if (parsed.success) complaints.push(...checkSwarm(parsed.data, env))
  if (!parsed.success || complaints.length > 0) throw new ConfigError(complaints.join('; '))
  return toConfig(parsed.data, env)
}

function checkSwarm(
  { ONESHOT_BACKEND: backend, ...settings }: z.infer<typeof Settings>,
  env: Readonly<Record<string, string | undefined>>,
): string[] {
  const { ONESHOT_SPOOL_VOLUME: volume, ONESHOT_SPOOL_PATH: folder } = settings
  return [
    ...((volume === undefined) !== (folder === undefined)
      ? ['ONESHOT_SPOOL_VOLUME and ONESHOT_SPOOL_PATH must be set together']
      : []),
    ...(backend === 'container' && toHosts(env).length > 1
      ? ['DOCKER_HOST may be a list only with ONESHOT_BACKEND=swarm']
      : []),
  ]
}

/** Docker's own variable, which may list several managers here. None: the standard socket. */
function toHosts({ DOCKER_HOST: hosts = '' }: Readonly<Record<string, string | undefined>>) {
  const only = hosts.trim()
  // The path of a socket may have spaces and commas.
  if (only.startsWith('unix://') && only.lastIndexOf('://') === 'unix'.length) return [only]
  return hosts.split(/[\s,]+/).filter((host) => host !== '')
}

function toConfig(
  settings: z.infer<typeof Settings>,
  env: Readonly<Record<string, string | undefined>>,
) {
  return {
    host: settings.ONESHOT_HOST,
    port: settings.ONESHOT_PORT,
    functionsFolder: settings.ONESHOT_FUNCTIONS,
    dataFolder: settings.ONESHOT_DATA,
    backend: settings.ONESHOT_BACKEND,
    engineHosts: toHosts(env),
    /** Docker's own, as well: its certificates, if it is spoken to over TLS. */
    engineCertificates: env['DOCKER_CERT_PATH'] || findCertificates(env),
    isEngineSecure: Boolean(env['DOCKER_TLS_VERIFY']),
    swarm: {
      limits: {
        pendingMs: settings.ONESHOT_PENDING_TIMEOUT,
        preparingMs: settings.ONESHOT_PREPARING_TIMEOUT,
        leaseMs: settings.ONESHOT_LEASE,
      },
      spool:
        settings.ONESHOT_SPOOL_VOLUME !== undefined && settings.ONESHOT_SPOOL_PATH !== undefined
          ? { name: settings.ONESHOT_SPOOL_VOLUME, folder: settings.ONESHOT_SPOOL_PATH }
          : undefined,
      closedSubnet: settings.ONESHOT_CLOSED_SUBNET,
    },
    logLevel: settings.ONESHOT_LOG_LEVEL,
    concurrency: settings.ONESHOT_CONCURRENCY,
    queueLength: settings.ONESHOT_QUEUE,
    definitions: {
      defaults: {
        timeoutMs: settings.ONESHOT_TIMEOUT,
        maxTimeoutMs: settings.ONESHOT_MAX_TIMEOUT,
        memoryBytes: settings.ONESHOT_MEMORY,
        pids: settings.ONESHOT_PIDS,
        inputBytes: settings.ONESHOT_MAX_INPUT,
        outputBytes: settings.ONESHOT_MAX_OUTPUT,
        logBytes: settings.ONESHOT_MAX_LOGS,
      },
      allowed: new Set(settings.ONESHOT_ALLOW),
      backend: settings.ONESHOT_BACKEND,
      home: homedir(),
      environment: env,
    },
    secretsFolder: settings.ONESHOT_SECRETS,
    configsFolder: settings.ONESHOT_CONFIGS,
    shutdownMs: settings.ONESHOT_SHUTDOWN_TIMEOUT,
    maxArmed: Math.floor(settings.ONESHOT_WARM_MEMORY / ARMED_BYTES),
    maxNamespaces: settings.ONESHOT_NAMESPACES,
    backlog: settings.ONESHOT_BACKLOG,
    retention: {
      retentionMs: settings.ONESHOT_RETENTION,
      maxBytes: settings.ONESHOT_DATA_MAX,
    },
    callbacks: { allow: settings.ONESHOT_CALLBACK_ALLOW },
    callbackSecretsFile: settings.ONESHOT_CALLBACK_SECRETS,
    sweepIntervalMs: settings.ONESHOT_SWEEP_INTERVAL,
    /** Docker's own, which its command line uses too. */
    dockerConfigFile: join(env['DOCKER_CONFIG'] || join(homedir(), '.docker'), 'config.json'),
    /** Of the programs that Docker keeps credentials with. */
    helperEnvironment: env,
  }
}

/** Docker's own folder has them, or none: the engine's certificate may be of an authority that the system knows. */
function findCertificates({
  DOCKER_TLS_VERIFY: verify,
}: Readonly<Record<string, string | undefined>>) {
  const folder = join(homedir(), '.docker')
  return verify && existsSync(join(folder, 'ca.pem')) ? folder : undefined
}

function setting(expected: string, parse: (text: string) => number | undefined) {
  return z.string().transform((text, context) => {
    const value = parse(text)
    if (value !== undefined) return value
    context.addIssue(`must be ${expected}, not "${text}"`)
    return z.NEVER
  })
}

function closest(name: string): string {
  const known = Object.keys(Settings.shape)
  const [best] = known.sort((a, b) => distance(name, a) - distance(name, b))
  return best !== undefined && distance(name, best) <= 4 ? `: did you mean ${best}?` : ''
}
