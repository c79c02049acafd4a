import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Authenticator } from '../core/access.ts'
import type { ApiKeys, ApiKeysOptions } from './api-keys.ts'
import { openApiKeys } from './api-keys.ts'
import { createAuthenticator } from './authenticator.ts'
import type { Algorithm, Tokens } from './jwt.ts'
import { createTokens } from './jwt.ts'
import { AccessProblem } from './problem.ts'
import type { RemoteKeysOptions } from './remote-keys.ts'
import { discoverKeys, fetchKeys } from './remote-keys.ts'
import type { VerificationKey } from './verification-key.ts'
import { readPublicKey, readSharedSecret } from './verification-key.ts'

/** As a Docker secret that needs no setting. */
const SECRET = 'oneshot_api_keys'
const REMOTE_ALGORITHMS: readonly Algorithm[] = ['EdDSA', 'ES256', 'RS256']

export interface TokenSettings {
  readonly secretFile: string | undefined
  readonly publicKeyFile: string | undefined
  readonly jwksUrl: URL | undefined
  readonly issuer: string | undefined
  readonly audience: string | undefined
  /** Of those that the key is for; undefined: all of them. */
  readonly algorithms: readonly Algorithm[] | undefined
  readonly toleranceMs: number
}

export interface AccessOptions extends Omit<ApiKeysOptions, 'file'>, RemoteKeysOptions {
  readonly apiKeysFile: string | undefined
  readonly secretsFolder: string
  readonly tokens: TokenSettings | undefined
}

export interface Access extends Disposable {
  readonly authenticator: Authenticator
  readonly keys: ApiKeys | undefined
}

/** Reads what callers are known by. Rejects with `AccessProblem` if any of it can't be used. */
export async function openAccess(options: AccessOptions): Promise<Access> {
  const file = options.apiKeysFile ?? (await findSecret(options.secretsFolder))
  const tokens = options.tokens && (await openTokens(options.tokens, options))
  const keys = file === undefined ? undefined : await openApiKeys({ ...options, file })
  return {
    authenticator: createAuthenticator({ keys, tokens }),
    keys,
    [Symbol.dispose]: () => keys?.[Symbol.dispose](),
  }
}

async function findSecret(folder: string): Promise<string | undefined> {
  const file = join(folder, SECRET)
  try {
    await stat(file)
    return file
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    // It may be there: to go on as if it were not would let everyone in.
    throw new AccessProblem(`${file}: can't be looked at (${code})`, { cause: error })
  }
}

async function openTokens(settings: TokenSettings, options: AccessOptions): Promise<Tokens> {
  const { key, algorithms: fit } = await findKey(settings, options)
  const algorithms = settings.algorithms ?? fit
  const unfit = algorithms.filter((algorithm) => !fit.includes(algorithm))
  if (unfit.length > 0) {
    throw new AccessProblem(
      `ONESHOT_JWT_ALGORITHMS has ${unfit.join(', ')}: the key that is set is for ${fit.join(', ')}`,
    )
  }
  return createTokens({ ...settings, key, algorithms, clock: options.clock })
}

async function findKey(
  { secretFile, publicKeyFile, jwksUrl, issuer }: TokenSettings,
  options: AccessOptions,
): Promise<VerificationKey> {
  if (secretFile !== undefined) return readSharedSecret(secretFile)
  if (publicKeyFile !== undefined) return readPublicKey(publicKeyFile)
  const key = jwksUrl ? fetchKeys(jwksUrl, options) : discoverKeys(issuer ?? '', options)
  return { key, algorithms: REMOTE_ALGORITHMS }
}
