import { OneshotError } from './error.ts'

/** Why credentials are refused. It goes to the log alone: a client that guesses learns nothing from it. */
export type RefusalReason =
  | 'missing'
  | 'scheme_unknown'
  | 'too_long'
  | 'malformed'
  | 'key_unknown'
  | 'key_expired'
  | 'keys_not_accepted'
  | 'tokens_not_accepted'
  | 'token_malformed'
  | 'algorithm_not_allowed'
  | 'key_id_unknown'
  | 'key_ambiguous'
  | 'signature_wrong'
  | 'type_wrong'
  | 'issuer_wrong'
  | 'audience_wrong'
  | 'claims_wrong'
  | 'expiry_missing'
  | 'token_expired'
  | 'token_not_yet_valid'

const DETAIL = {
  none: 'This takes an API key or a token: send it as "Authorization: Bearer …".',
  wrong: 'The API key or token is not valid: send another one as "Authorization: Bearer …".',
}

/** Refuses who has not shown who he is. */
export class Unauthorized extends OneshotError {
  readonly reason: RefusalReason

  constructor(reason: RefusalReason, options: { readonly cause?: unknown } = {}) {
    const hasShownNone = reason === 'missing' || reason === 'scheme_unknown'
    super('unauthorized', hasShownNone ? DETAIL.none : DETAIL.wrong, options)
    this.reason = reason
  }

  /** As RFC 6750, section 3 has it: no error for who has shown nothing. */
  get isInvalidToken(): boolean {
    return this.reason !== 'missing' && this.reason !== 'scheme_unknown'
  }
}
