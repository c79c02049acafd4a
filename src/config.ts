import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { distance } from 'fastest-levenshtein'
import type { z } from 'zod'
import { Settings } from './settings.ts'

/** What an armed container costs the engine: its shim, above all. */
const ARMED_BYTES = 8 * 1024 ** 2

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
  if (parsed.success) complaints.push(...checkSwarm(parsed.data, env), ...checkTokens(parsed.data))
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

function checkTokens(settings: z.infer<typeof Settings>): string[] {
  const {
    ONESHOT_JWT_SECRET_FILE: secret,
    ONESHOT_JWT_PUBLIC_KEY_FILE: publicKey,
    ONESHOT_JWT_JWKS_URL: url,
    ONESHOT_JWT_ISSUER: issuer,
    ONESHOT_JWT_AUDIENCE: audience,
    ONESHOT_JWT_ALGORITHMS: algorithms,
  } = settings
  const keys = [secret, publicKey, url].filter((key) => key !== undefined)
  const isInFile = secret !== undefined || publicKey !== undefined
  const hasKeys = keys.length > 0 || issuer !== undefined
  const isNoUrl = keys.length === 0 && issuer !== undefined && !isKeysUrl(issuer)
  return [
    ...(keys.length > 1
      ? [
          'ONESHOT_JWT_SECRET_FILE, ONESHOT_JWT_PUBLIC_KEY_FILE and ONESHOT_JWT_JWKS_URL exclude one another: set one',
        ]
      : []),
    ...(isNoUrl
      ? [
          'ONESHOT_JWT_ISSUER must be a URL that begins with https://, or with http:// and a loopback host, if no key is set',
        ]
      : []),
    ...(hasKeys && !isInFile && audience === undefined
      ? ['ONESHOT_JWT_AUDIENCE must be set: an issuer makes tokens for others too']
      : []),
    ...(!hasKeys && (audience !== undefined || algorithms !== undefined)
      ? [
          'ONESHOT_JWT_AUDIENCE and ONESHOT_JWT_ALGORITHMS need a key: ONESHOT_JWT_SECRET_FILE, ONESHOT_JWT_PUBLIC_KEY_FILE, ONESHOT_JWT_JWKS_URL or ONESHOT_JWT_ISSUER',
        ]
      : []),
  ]
}

function isKeysUrl(text: string): boolean {
  return Settings.shape.ONESHOT_JWT_JWKS_URL.safeParse(text).success
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
    deployPolicyFile: settings.ONESHOT_DEPLOY_POLICY,
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
    apiKeysFile: settings.ONESHOT_API_KEYS_FILE,
    tokens: toTokens(settings),
    isInsecure: settings.ONESHOT_INSECURE,
    rates: {
      perKey: settings.ONESHOT_RATE_PER_KEY,
      perAddress: settings.ONESHOT_RATE_PER_ADDRESS,
    },
    trustedProxies: settings.ONESHOT_TRUSTED_PROXIES,
    corsOrigins: settings.ONESHOT_CORS_ORIGINS,
    /** Docker's own, which its command line uses too. */
    dockerConfigFile: join(env['DOCKER_CONFIG'] || join(homedir(), '.docker'), 'config.json'),
    /** Of the programs that Docker keeps credentials with. */
    helperEnvironment: env,
  }
}

/** What tokens are checked with; undefined: none are taken. */
function toTokens(settings: z.infer<typeof Settings>) {
  const key = {
    secretFile: settings.ONESHOT_JWT_SECRET_FILE,
    publicKeyFile: settings.ONESHOT_JWT_PUBLIC_KEY_FILE,
    jwksUrl: settings.ONESHOT_JWT_JWKS_URL,
    issuer: settings.ONESHOT_JWT_ISSUER,
  }
  if (Object.values(key).every((value) => value === undefined)) return undefined
  return {
    ...key,
    audience: settings.ONESHOT_JWT_AUDIENCE,
    algorithms: settings.ONESHOT_JWT_ALGORITHMS,
    toleranceMs: settings.ONESHOT_JWT_CLOCK_TOLERANCE,
  }
}

/** Docker's own folder has them, or none: the engine's certificate may be of an authority that the system knows. */
function findCertificates({
  DOCKER_TLS_VERIFY: verify,
}: Readonly<Record<string, string | undefined>>) {
  const folder = join(homedir(), '.docker')
  return verify && existsSync(join(folder, 'ca.pem')) ? folder : undefined
}

function closest(name: string): string {
  const known = Object.keys(Settings.shape)
  const [best] = known.sort((a, b) => distance(name, a) - distance(name, b))
  return best !== undefined && distance(name, best) <= 4 ? `: did you mean ${best}?` : ''
}
