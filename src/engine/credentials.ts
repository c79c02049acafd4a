import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { z } from 'zod'
import { OneshotError } from '../core/error.ts'
import { parseReference } from '../core/reference.ts'

/** What the engine takes as `X-Registry-Auth`; the keys are Docker's. */
export interface RegistryAuth {
  readonly serveraddress: string
  readonly username?: string
  readonly password?: string
  readonly identitytoken?: string
  readonly registrytoken?: string
}

export interface Credentials {
  /**
   * The credentials for the image's registry; undefined if there are none. Rejects with `image_pull_failed` if the
   * config file or a credential helper is broken, and with `image_not_found` if no image can have that name.
   */
  find(image: string): Promise<RegistryAuth | undefined>
}

/** Runs a credential helper. Rejects if it can't be started, or does not end in time or within the bound of its output. */
export type RunHelper = (
  program: string,
  input: string,
  env: NodeJS.ProcessEnv,
) => Promise<{ readonly exitCode: number; readonly stdout: string }>

export interface CredentialsOptions {
  /** Docker's config.json. It need not exist. */
  readonly configFile: string
  /** The helpers' environment: they are looked up on its PATH. */
  readonly env: NodeJS.ProcessEnv
  readonly run?: RunHelper
}

type Config = z.infer<typeof Config>
const Config = z.object({
  auths: z
    .record(
      z.string(),
      z.object({
        auth: z.string().optional(),
        username: z.string().optional(),
        password: z.string().optional(),
        identitytoken: z.string().optional(),
        registrytoken: z.string().optional(),
      }),
    )
    .nullish(),
  credHelpers: z.record(z.string(), z.string()).nullish(),
  credsStore: z.string().nullish(),
})

const HelperAnswer = z.object({ Username: z.string(), Secret: z.string() })

const HELPER_TIMEOUT_MS = 10_000
const MAX_HELPER_BYTES = 64 * 1024

// Docker knows Docker Hub's credentials by this address, and no other registry's by more than its host.
const DOCKER_HUB_SERVER = 'https://index.docker.io/v1/'
const DOCKER_HUB_HOSTS = new Set(['docker.io', 'index.docker.io', 'registry-1.docker.io'])

/**
 * Registry credentials as `docker login` leaves them. The file is read for each pull, so that a login counts at once and no
 * secret is kept. Errors never carry what was read: a parser's message quotes its input.
 */
export function createCredentials(options: CredentialsOptions): Credentials {
  const { configFile, env, run = runHelper } = options

  async function find(image: string): Promise<RegistryAuth | undefined> {
    const { registry } = parseReference(image)
    const server = registry === 'docker.io' ? DOCKER_HUB_SERVER : registry
    const config = await readConfig(configFile)
    const helper = lookUp(config.credHelpers, server) ?? config.credsStore
    const answer = helper ? await askHelper(helper, server) : undefined
    return answer ?? toAuth(lookUp(config.auths, server), server)
  }

  /** Docker's credential helper protocol: the server on stdin; the answer, or why there is none, on stdout. */
  async function askHelper(name: string, server: string): Promise<RegistryAuth | undefined> {
    if (!/^[a-zA-Z0-9._-]+$/.test(name)) {
      throw broken('a credential helper has a name that no program can have')
    }
    const program = `docker-credential-${name}`
    const { exitCode, stdout } = await run(program, server, env).catch((error: unknown) => {
      throw broken(`${program} ${explain(error)}`)
    })
    if (exitCode !== 0) {
      // https://github.com/docker/docker-credential-helpers/blob/master/credentials/error.go
      if (stdout.includes('credentials not found')) return undefined
      throw broken(
        `${program} ended with exit status ${exitCode}; try it: echo ${server} | ${program} get`,
      )
    }
    const answer = HelperAnswer.safeParse(parseJson(stdout))
    if (!answer.success) throw broken(`${program} answered with something that is no credential`)
    const { Username: username, Secret: secret } = answer.data
    if (secret === '') return undefined
    return username === '<token>'
      ? { serveraddress: server, identitytoken: secret }
      : { serveraddress: server, username, password: secret }
  }

  return { find }
}

async function readConfig(path: string): Promise<Config> {
  let text
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return {}
    throw broken(`the gateway can't read Docker's config.json (${codeOf(error)})`, error)
  }
  const config = Config.safeParse(parseJson(text))
  if (config.success) return config.data
  const where = config.error.issues[0]?.path.map(String).join(' › ')
  throw broken(
    where
      ? `Docker's config.json is wrong at ${where}`
      : `Docker's config.json is not a JSON object`,
    new Error(`broken file: ${path}`),
  )
}

/** An entry written for the very server goes before one whose address only has the same host. */
function lookUp<T>(entries: Record<string, T> | null | undefined, server: string): T | undefined {
  const all = Object.entries(entries ?? {})
  const found =
    all.find(([key]) => key === server) ?? all.find(([key]) => toHost(key) === toHost(server))
  return found?.[1]
}

/** `https://host:5000/v1/` and `host:5000` are one registry. */
function toHost(address: string): string {
  const host = address.replace(/^https?:\/\//, '').replace(/\/.*$/s, '')
  return DOCKER_HUB_HOSTS.has(host) ? 'docker.io' : host
}

function toAuth(
  entry: NonNullable<Config['auths']>[string] | undefined,
  server: string,
): RegistryAuth | undefined {
  if (!entry) return undefined
  const { username, password } = entry.auth ? decodeAuth(entry.auth) : entry
  const { identitytoken, registrytoken } = entry
  if (!username && !identitytoken && !registrytoken) return undefined
  return {
    serveraddress: server,
    ...(username && { username, password: password ?? '' }),
    ...(identitytoken && { identitytoken }),
    ...(registrytoken && { registrytoken }),
  }
}

/** Base64 of `username:password`. The password may hold colons. */
function decodeAuth(auth: string): { username: string; password: string } {
  const decoded = Buffer.from(auth, 'base64').toString('utf8')
  const colon = decoded.indexOf(':')
  if (colon < 1) throw broken(`an "auth" in Docker's config.json is not base64 of user:password`)
  // Docker itself pads some passwords with NULs.
  return {
    username: decoded.slice(0, colon),
    password: decoded.slice(colon + 1).replace(/\0+$/, ''),
  }
}

const runHelper: RunHelper = (program, input, env) => {
  const { promise, resolve, reject } = Promise.withResolvers<Awaited<ReturnType<RunHelper>>>()
  const limits = {
    timeout: HELPER_TIMEOUT_MS,
    maxBuffer: MAX_HELPER_BYTES,
    killSignal: 'SIGKILL',
  } as const
  const child = execFile(program, ['get'], { ...limits, env }, (error, stdout) => {
    if (error && typeof error.code !== 'number') reject(error)
    else resolve({ exitCode: Number(error?.code ?? 0), stdout })
  })
  // A helper may end without reading its input: how it ended tells more than the broken pipe.
  child.stdin?.on('error', () => {})
  child.stdin?.end(input)
  return promise
}

/** In our words: Node's would quote the helper's output. */
function explain(error: unknown): string {
  const code = codeOf(error)
  if (code === 'ENOENT') return "is not installed, or not on the gateway's PATH"
  if (code === 'EACCES') return 'may not be executed'
  if (code === 'ERR_CHILD_PROCESS_STDIO_MAXBUFFER') return 'printed more than a credential'
  return `was killed or did not answer within ${HELPER_TIMEOUT_MS / 1000} s`
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function broken(what: string, cause?: unknown): OneshotError {
  return new OneshotError('image_pull_failed', `No registry credentials: ${what}.`, { cause })
}
