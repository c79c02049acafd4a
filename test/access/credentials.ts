import { createHmac, generateKeyPairSync } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { JWTPayload } from 'jose'
import { SignJWT } from 'jose'
import { onTestFinished } from 'vitest'
import { makeKey, showEntry } from '../../src/access/key.ts'
import type { AccessOptions } from '../../src/access/open.ts'
import { openAccess } from '../../src/access/open.ts'

export const AUDIENCE = 'https://oneshot.example'
export const ISSUER = 'https://issuer.example'

export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'oneshot-access-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  return folder
}

/** A file in a folder of its own, with what it holds. */
export async function temporaryFile(content: string | Uint8Array, name = 'file'): Promise<string> {
  const file = join(await temporaryFolder(), name)
  await writeFile(file, content)
  return file
}

/** Seconds since the epoch. */
export const inSeconds = (seconds: number) => Math.floor(Date.now() / 1000) + seconds

/** Signs what an issuer would sign, and what it would not. */
export function createIssuer(kid = 'one') {
  const pair = generateKeyPairSync('ed25519')
  const pem = pair.publicKey.export({ type: 'spki', format: 'pem' })
  const jwk = { ...pair.publicKey.export({ format: 'jwk' }), kid }
  const claims = (scope: string): JWTPayload => ({
    sub: 'someone',
    iss: ISSUER,
    aud: AUDIENCE,
    exp: inSeconds(600),
    scope,
  })
  const sign = (payload: JWTPayload, header: Record<string, unknown> = {}, key = pair.privateKey) =>
    new SignJWT(payload).setProtectedHeader({ alg: 'EdDSA', kid, ...header }).sign(key)
  return { pair, pem, jwk, claims, sign }
}

type Issuer = ReturnType<typeof createIssuer>

const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')

/** With any head, signed by HMAC or by nothing. */
export function forge(header: object, payload: object, secret?: string | Uint8Array): string {
  const head = `${encode(header)}.${encode(payload)}`
  const signature =
    secret === undefined ? '' : createHmac('sha256', secret).update(head).digest('base64url')
  return `${head}.${signature}`
}

/** Tokens that claim every right, none of which may be believed. */
export async function forgeTokens({ pem, jwk, claims, sign }: Issuer) {
  const all = claims('admin read deploy invoke:*')
  const { kid } = jwk
  const stranger = generateKeyPairSync('ed25519').privateKey
  const { exp: _, ...endless } = all
  const { iss: __, ...anonymous } = all
  const [head = '', , signature = ''] = (await sign(claims('read'))).split('.')
  return {
    'expired token': await sign({ ...all, exp: inSeconds(-31) }),
    'alg none': forge({ alg: 'none', kid }, all),
    'alg None': forge({ alg: 'None', kid }, all),
    'no alg': forge({ kid }, all),
    'public key as secret': forge({ alg: 'HS256', kid }, all, pem),
    'public JWK as secret': forge({ alg: 'HS256', kid }, all, JSON.stringify(jwk)),
    'empty secret': forge({ alg: 'HS256', kid }, all, ''),
    'wrong typ': await sign(all, { typ: 'logout+jwt' }),
    'wrong issuer': await sign({ ...all, iss: 'https://other.example' }),
    'no issuer': await sign(anonymous),
    'wrong audience': await sign({ ...all, aud: 'https://other.example' }),
    'not yet valid': await sign({ ...all, nbf: inSeconds(60) }),
    'no expiry': await sign(endless),
    'unknown kid': await sign(all, { kid: 'two' }),
    'wrong signature': await sign(all, {}, stranger),
    'other claims': `${head}.${encode(all)}.${signature}`,
    'its own key': await sign(all, { jwk: stranger.export({ format: 'jwk' }) }, stranger),
    'unknown crit': forge({ alg: 'EdDSA', kid, crit: ['exp2'], exp2: 1 }, all, 'x'),
    encrypted: 'a.b.c.d.e',
    garbage: '..',
  }
}

/** Access by keys, each with scopes of its own, and by tokens. */
export async function startAccess(
  scopes: Readonly<Record<string, readonly string[]>>,
  options: Partial<AccessOptions> = {},
) {
  const issuer = createIssuer()
  const keys = new Map(Object.keys(scopes).map((name) => [name, makeKey()]))
  const entries = Array.from(keys, ([name, key]) =>
    showEntry(key, { name, scopes: scopes[name] ?? [] }),
  )
  const expired = makeKey()
  const expires = '2020-01-01T00:00:00Z'
  const last = showEntry(expired, { name: 'expired', scopes: ['admin'], expires })
  const text = `keys:\n${entries.join('')}${last}`
  const access = await openAccess({
    apiKeysFile: await temporaryFile(text, 'keys.yml'),
    secretsFolder: '/nowhere',
    tokens: {
      secretFile: undefined,
      publicKeyFile: await temporaryFile(JSON.stringify({ keys: [issuer.jwk] })),
      jwksUrl: undefined,
      issuer: ISSUER,
      audience: AUDIENCE,
      algorithms: undefined,
      toleranceMs: 30_000,
    },
    clock: Date.now,
    onChange: () => {},
    onProblem: () => {},
    onTrouble: () => {},
    ...options,
  })
  onTestFinished(() => access[Symbol.dispose]())
  const keyOf = (name: string) => keys.get(name) ?? 'none'
  return { ...access, issuer, expired, keyOf, bearer: (name: string) => `Bearer ${keyOf(name)}` }
}
