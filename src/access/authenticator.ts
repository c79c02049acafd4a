import type { Authenticator } from '../core/access.ts'
import { ANONYMOUS, ANYONE } from '../core/access.ts'
import { Unauthorized } from '../core/unauthorized.ts'
import type { ApiKeys } from './api-keys.ts'
import type { Tokens } from './jwt.ts'
import { isKey } from './key.ts'

/** RFC 6750, section 2.1; a scheme's case does not matter (RFC 9110, 11.1). */
const BEARER = /^Bearer +([\w.~+/-]+=*) *$/i
const MAX_LENGTH = 8 * 1024

export interface AuthenticatorDeps {
  readonly keys: Pick<ApiKeys, 'identify'> | undefined
  readonly tokens: Tokens | undefined
}

/** With neither keys nor tokens it is open, and stays so or not for as long as it lives. */
export function createAuthenticator({ keys, tokens }: AuthenticatorDeps): Authenticator {
  const isOpen = !keys && !tokens
  return {
    isOpen,
    async authenticate(authorization) {
      if (isOpen) return ANYONE
      if (authorization === undefined) return ANONYMOUS
      if (authorization.length > MAX_LENGTH) throw new Unauthorized('too_long')
      if (!/^bearer(?: |$)/i.test(authorization)) throw new Unauthorized('scheme_unknown')
      const text = BEARER.exec(authorization)?.[1]
      if (text === undefined) throw new Unauthorized('malformed')
      if (isKey(text)) {
        if (!keys) throw new Unauthorized('keys_not_accepted')
        return keys.identify(text)
      }
      if (text.split('.').length !== 3) throw new Unauthorized('malformed')
      if (!tokens) throw new Unauthorized('tokens_not_accepted')
      return tokens.identify(text)
    },
  }
}
