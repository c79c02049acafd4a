import { generateKeyPairSync, randomBytes } from 'node:crypto'
import * as fc from 'fast-check'
import type { JWTPayload } from 'jose'
import { SignJWT } from 'jose'
import { describe, expect, test } from 'vitest'
import { createAuthenticator } from '../../src/access/authenticator.ts'
import type { TokenSettings } from '../../src/access/open.ts'
import { openAccess } from '../../src/access/open.ts'
import { Unauthorized } from '../../src/core/unauthorized.ts'
import {
  AUDIENCE,
  createIssuer,
  forge,
  inSeconds,
  ISSUER,
  startAccess,
  temporaryFile,
  temporaryFolder,
} from './credentials.ts'

async function open(tokens: Partial<TokenSettings>) {
  const access = await openAccess({
    apiKeysFile: undefined,
    secretsFolder: await temporaryFolder(),
    tokens: {
      secretFile: undefined,
      publicKeyFile: undefined,
      jwksUrl: undefined,
      issuer: undefined,
      audience: undefined,
      algorithms: undefined,
      toleranceMs: 30_000,
      ...tokens,
    },
    clock: Date.now,
    onChange: () => {},
    onProblem: () => {},
    onTrouble: () => {},
  })
  return (token: string) => access.authenticator.authenticate(`Bearer ${token}`)
}

const claims: JWTPayload = { sub: 'someone', exp: inSeconds(600), scope: 'read' }
const refusedFor = (reason: string) => expect.objectContaining({ reason }) as Error

describe('a token', () => {
  test('signed with the shared secret is taken, and with another one refused', async () => {
    const secret = randomBytes(32).toString('hex')
    const identify = await open({ secretFile: await temporaryFile(`${secret}\n`) })
    const token = forge({ alg: 'HS256', typ: 'JWT' }, claims, secret)
    expect(await identify(token)).toEqual({ kind: 'token', name: 'someone', scopes: ['read'] })
    const other = forge({ alg: 'HS256' }, claims, 'x'.repeat(32))
    await expect(identify(other)).rejects.toThrow(refusedFor('signature_wrong'))
    const none = forge({ alg: 'none' }, claims)
    await expect(identify(none)).rejects.toThrow(refusedFor('algorithm_not_allowed'))
  })

  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const ed = generateKeyPairSync('ed25519')

  test.each([
    ['RS256', rsa],
    ['ES256', ec],
    ['EdDSA', ed],
  ])(
    'signed with a private key (%s) is checked with the public one, in PEM and as a JWK',
    async (alg, pair) => {
      const token = await new SignJWT(claims).setProtectedHeader({ alg }).sign(pair.privateKey)
      const pem = pair.publicKey.export({ type: 'spki', format: 'pem' })
      const jwk = JSON.stringify(pair.publicKey.export({ format: 'jwk' }))
      for (const file of [pem, jwk]) {
        const identify = await open({ publicKeyFile: await temporaryFile(file) })
        expect((await identify(token)).scopes).toEqual(['read'])
        for (const secret of [pem, jwk]) {
          const confused = forge({ alg: 'HS256' }, claims, secret)
          await expect(identify(confused)).rejects.toThrow(refusedFor('algorithm_not_allowed'))
        }
      }
    },
  )

  test('may be off by the tolerance, and no more', async () => {
    const access = await startAccess({})
    const { sign, claims: of } = access.issuer
    const identify = async (times: JWTPayload) =>
      access.authenticator.authenticate(`Bearer ${await sign({ ...of('read'), ...times })}`)
    expect((await identify({ exp: inSeconds(-25) })).name).toBe('someone')
    expect((await identify({ nbf: inSeconds(25) })).name).toBe('someone')
    await expect(identify({ exp: inSeconds(-31) })).rejects.toThrow(refusedFor('token_expired'))
    await expect(identify({ nbf: inSeconds(40) })).rejects.toThrow(
      refusedFor('token_not_yet_valid'),
    )
  })

  test.each([undefined, 'JWT', 'jwt', 'at+jwt', 'application/jwt', 'application/at+jwt'])(
    'may be of type %s',
    async (typ) => {
      const { authenticator, issuer } = await startAccess({})
      const token = await issuer.sign(issuer.claims('read'), typ === undefined ? {} : { typ })
      expect((await authenticator.authenticate(`bearer ${token}`)).name).toBe('someone')
    },
  )

  test.each(['logout+jwt', 'dpop+jwt', 'secevent+jwt', 'JOSE', '', 'application/', 'xjwt'])(
    'may not be of type "%s"',
    async (typ) => {
      const { authenticator, issuer } = await startAccess({})
      const token = await issuer.sign(issuer.claims('read'), { typ })
      const answer = authenticator.authenticate(`Bearer ${token}`)
      await expect(answer).rejects.toThrow(refusedFor('type_wrong'))
    },
  )

  test.each([
    [{ scope: 'read invoke:a* openid profile' }, ['read', 'invoke:a*']],
    [{ scp: ['deploy', 1, null, 'x'] }, ['deploy']],
    [{ scp: 'read deploy' }, ['read', 'deploy']],
    [{ scope: 'invoke:../x Admin admin\n  READ invoke:' }, []],
    [{ scope: 7 }, []],
    [{ scope: { admin: true } }, []],
    [{}, []],
  ])('has the scopes that %s names, and no others', async (named, scopes) => {
    const { authenticator, issuer } = await startAccess({})
    const { scope: _, ...rest } = issuer.claims('')
    const token = await issuer.sign({ ...rest, ...named })
    expect((await authenticator.authenticate(`Bearer ${token}`)).scopes).toEqual(scopes)
  })

  test.each<[object, RegExp]>([
    [{ sub: 'auth0|5', client_id: 'web' }, /^auth0\|5$/],
    [{ sub: '', client_id: 'web' }, /^web$/],
    [{ sub: undefined, client_id: undefined }, /^unnamed$/],
    [{ sub: 'a\nb\u001b[31m\u202e"' }, /^a\?b\?\[31m\?"#[0-9a-f]{16}$/],
    [{ sub: 'é'.repeat(100) }, /^é{100}$/],
    [{ sub: 'é'.repeat(200) }, /^é{100}#[0-9a-f]{16}$/],
  ])('has a name that can be logged: %j', async (named, name) => {
    const { authenticator, issuer } = await startAccess({})
    const payload = JSON.parse(JSON.stringify({ ...issuer.claims('read'), ...named })) as JWTPayload
    const token = await issuer.sign(payload)
    expect((await authenticator.authenticate(`Bearer ${token}`)).name).toMatch(name)
  })

  test('of another subject has another name, however alike they look', async () => {
    const { authenticator, issuer } = await startAccess({})
    const nameOf = async (sub: string) => {
      const token = await issuer.sign({ ...issuer.claims('read'), sub })
      return (await authenticator.authenticate(`Bearer ${token}`)).name
    }
    const long = `spiffe://example.com/${'a'.repeat(100)}`
    const names = await Promise.all([`${long}1`, `${long}2`, 'a\n', 'a\t', 'a?'].map(nameOf))
    expect(new Set(names).size).toBe(5)
    // Nor can one be chosen so that it is another's.
    expect(await nameOf(names[2]!)).not.toBe(names[2])
  })

  test('needs no audience and no issuer where neither is set', async () => {
    const { pem, sign } = createIssuer()
    const identify = await open({ publicKeyFile: await temporaryFile(pem) })
    expect(await identify(await sign(claims))).toHaveProperty('name', 'someone')
    const strict = await open({
      publicKeyFile: await temporaryFile(pem),
      audience: AUDIENCE,
      issuer: ISSUER,
    })
    await expect(strict(await sign(claims))).rejects.toThrow(Unauthorized)
    const right = await sign({ ...claims, aud: ['x', AUDIENCE], iss: ISSUER })
    expect(await strict(right)).toHaveProperty('name', 'someone')
  })
})

describe('what tokens are checked with', () => {
  const { pair, pem, jwk } = createIssuer()
  const privatePem = pair.privateKey.export({ type: 'pkcs8', format: 'pem' })
  const weak = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey
  const curve = generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey
  const toPem = (key: typeof weak) => key.export({ type: 'spki', format: 'pem' })

  test.each<[string, string, 'secretFile' | 'publicKeyFile', string]>([
    ['a short secret', 'x'.repeat(31), 'secretFile', 'at least 32 bytes'],
    ['a public key as the secret', pem, 'secretFile', 'not a secret'],
    ['a private key', privatePem, 'publicKeyFile', 'private key'],
    [
      'a private JWK',
      JSON.stringify(pair.privateKey.export({ format: 'jwk' })),
      'publicKeyFile',
      'private key',
    ],
    ['a secret JWK', '{"kty":"oct","k":"c2VjcmV0"}', 'publicKeyFile', 'private key'],
    ['a weak key', toPem(weak), 'publicKeyFile', '2048 bits'],
    ['another curve', toPem(curve), 'publicKeyFile', 'P-256'],
    ['no keys', '{"keys":[]}', 'publicKeyFile', 'no JWK or JWKS'],
    ['no key', 'hello', 'publicKeyFile', 'no public key'],
  ])('may not be %s', async (_, content, setting, message) => {
    const file = await temporaryFile(content)
    const opening = open({ [setting]: file })
    await expect(opening).rejects.toMatchObject({ name: 'AccessProblem' })
    await expect(opening).rejects.toThrow(message)
    await expect(opening).rejects.not.toThrow(content)
  })

  test('may not be used with algorithms that it is not for', async () => {
    const publicKeyFile = await temporaryFile(JSON.stringify(jwk))
    const opening = open({ publicKeyFile, algorithms: ['HS256'] })
    await expect(opening).rejects.toThrow('ONESHOT_JWT_ALGORITHMS has HS256')
  })

  test('may be narrowed to some of its algorithms', async () => {
    const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const keys = [jwk, { ...ec.publicKey.export({ format: 'jwk' }), kid: 'ec' }]
    const file = await temporaryFile(JSON.stringify({ keys }))
    const identify = await open({ publicKeyFile: file, algorithms: ['ES256'] })
    const sign = (alg: string, kid: string, key: typeof ec.privateKey) =>
      new SignJWT(claims).setProtectedHeader({ alg, kid }).sign(key)
    expect(await identify(await sign('ES256', 'ec', ec.privateKey))).toHaveProperty('name')
    const other = identify(await sign('EdDSA', 'one', pair.privateKey))
    await expect(other).rejects.toThrow(refusedFor('algorithm_not_allowed'))
  })
})

describe('an Authorization header', () => {
  test('that is none of ours is refused, whatever it holds', async () => {
    const { authenticator } = await startAccess({})
    const { issuer } = await startAccess({})
    const token = await issuer.sign(issuer.claims('admin'))
    const [head = '', body = '', signature = ''] = token.split('.')
    const part = fc.oneof(
      fc.string({ unit: 'binary-ascii' }),
      fc.constantFrom(head, body, signature, '', 'e30', 'bnVsbA', 'W10'),
      fc.json().map((json) => Buffer.from(json).toString('base64url')),
    )
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.tuple(part, part, part).map((parts) => parts.join('.')),
      fc.string().map((rest) => `osk_${rest}`),
    )
    const header = fc.tuple(fc.constantFrom('Bearer ', 'bearer  ', 'Basic ', 'Bearer', ''), text)
    await fc.assert(
      fc.asyncProperty(header, async ([scheme, rest]) => {
        await expect(authenticator.authenticate(`${scheme}${rest}`)).rejects.toThrow(Unauthorized)
      }),
      { numRuns: 300 },
    )
  }, 30_000)

  test('that is too long is not looked at', async () => {
    const { authenticator, issuer } = await startAccess({})
    const token = await issuer.sign({ ...issuer.claims('read'), more: 'x'.repeat(8192) })
    const answer = authenticator.authenticate(`Bearer ${token}`)
    await expect(answer).rejects.toThrow(refusedFor('too_long'))
  })

  test('is refused for what is not set up, and not asked for where nothing is', async () => {
    const onlyKeys = createAuthenticator({
      keys: { identify: () => expect.fail() },
      tokens: undefined,
    })
    await expect(onlyKeys.authenticate('Bearer a.b.c')).rejects.toThrow(
      refusedFor('tokens_not_accepted'),
    )
    const onlyTokens = createAuthenticator({
      keys: undefined,
      tokens: { identify: () => expect.fail() },
    })
    await expect(onlyTokens.authenticate('Bearer osk_x')).rejects.toThrow(
      refusedFor('keys_not_accepted'),
    )
    const open = createAuthenticator({ keys: undefined, tokens: undefined })
    expect(open.isOpen).toBe(true)
    expect(await open.authenticate('Bearer osk_x')).toMatchObject({
      kind: 'anyone',
      scopes: ['admin'],
    })
  })

  test('is as if missing where it names another scheme', async () => {
    const { authenticator } = await startAccess({})
    const answer = authenticator.authenticate('Basic YTpi')
    await expect(answer).rejects.toMatchObject({ reason: 'scheme_unknown', isInvalidToken: false })
  })
})

test('the secret oneshot_api_keys is used where no file is named', async () => {
  const file = await temporaryFile('keys: []\n', 'oneshot_api_keys')
  const secretsFolder = file.replace(/\/[^/]+$/, '')
  const access = await openAccess({
    apiKeysFile: undefined,
    secretsFolder,
    tokens: undefined,
    clock: Date.now,
    onChange: () => {},
    onProblem: () => {},
    onTrouble: () => {},
  })
  expect(access.authenticator.isOpen).toBe(false)
  access[Symbol.dispose]()
})
