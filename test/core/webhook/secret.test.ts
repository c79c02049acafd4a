import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import type { WebhookScheme } from '../../../src/core/trigger.ts'
import { checkSecret } from '../../../src/core/webhook/secret.ts'

const hmac: WebhookScheme = {
  provider: 'hmac',
  header: 'x',
  algorithm: 'sha256',
  encoding: 'hex',
  prefix: '',
  template: '{body}',
}
const token: WebhookScheme = { provider: 'token', header: 'x-key' }
const schemes: WebhookScheme[] = [
  ...(['github', 'gitlab', 'gitea', 'stripe', 'slack', 'standard'] as const).map(
    (provider): WebhookScheme => ({ provider }),
  ),
  { provider: 'cloudevents', allowUnsigned: true },
  { provider: 'alertmanager', allowUnsigned: true },
  token,
  hmac,
]
const whsec = (bytes: number) => `whsec_${Buffer.alloc(bytes, 1).toString('base64')}`
const whpk = (bytes: number) => `whpk_${Buffer.alloc(bytes, 1).toString('base64')}`

test.each(schemes)('an empty secret is refused: $provider', (scheme) => {
  for (const value of ['', ' ', '\n']) {
    expect(checkSecret(scheme, value)).toEqual({ problem: 'is empty' })
  }
})

test.each<[WebhookScheme, string, 'problem' | 'warning' | undefined]>([
  [{ provider: 'standard' }, whsec(24), undefined],
  [{ provider: 'standard' }, whsec(64), undefined],
  [{ provider: 'standard' }, whsec(23), 'problem'],
  [{ provider: 'standard' }, whsec(65), 'problem'],
  [{ provider: 'standard' }, `${whsec(24)}=`, 'problem'],
  [{ provider: 'standard' }, whsec(24).slice(6), 'problem'],
  [{ provider: 'standard' }, whpk(32), undefined],
  [{ provider: 'standard' }, whpk(31), 'problem'],
  [{ provider: 'standard' }, whpk(33), 'problem'],
  [{ provider: 'standard' }, whpk(32).replace('whpk', 'whsk'), 'problem'],
  [{ provider: 'gitlab' }, whsec(32), undefined],
  [{ provider: 'gitlab' }, 'whsec_none', 'problem'],
  [{ provider: 'gitlab' }, 'a token of some length', undefined],
  [{ provider: 'gitlab' }, 'short', 'warning'],
  [{ provider: 'github' }, '15 bytes of it.', 'warning'],
  [{ provider: 'github' }, '16 bytes of it..', undefined],
  [{ provider: 'github' }, 'äääääääß', undefined],
  [{ provider: 'github' }, 'a secret of some length\n', 'warning'],
  [{ provider: 'stripe' }, 'sk_live_of_another_kind', 'warning'],
  [{ provider: 'stripe' }, 'whsec_of_some_length', undefined],
  [token, 'a secret of\nsome length', 'problem'],
  [token, 'a secret of some length ', 'problem'],
  [{ provider: 'alertmanager', allowUnsigned: false }, 'a secret\0of length', 'problem'],
  [hmac, 'a secret of\nsome length', undefined],
])('%j, %j: %s', (scheme, value, kind) => {
  expect(Object.keys(checkSecret(scheme, value))).toEqual(kind === undefined ? [] : [kind])
})

test('nothing that is told of a secret holds any of it', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...schemes),
      fc.constantFrom('', 'whsec_', 'whpk_'),
      fc.stringMatching(/^[A-Z0-9+/]{5,40}={0,2}\n?$/),
      (scheme, prefix, random) => {
        expect(JSON.stringify(checkSecret(scheme, prefix + random))).not.toContain(
          random.trim().slice(0, 5),
        )
      },
    ),
  )
})
