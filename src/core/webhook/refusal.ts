/** Why a delivery is not believed. For the log alone: whoever sent it learns only that it was refused. */
export type RefusalReason =
  | 'signature_missing'
  | 'signature_repeated'
  | 'signature_malformed'
  | 'signature_mismatch'
  /** Signed, but only in a way that is not taken: SHA-1, or a version that none of the secrets is for. */
  | 'algorithm_unsupported'
  | 'timestamp_missing'
  | 'timestamp_repeated'
  | 'timestamp_malformed'
  | 'timestamp_too_old'
  | 'timestamp_in_future'
  | 'id_missing'
  | 'id_repeated'
  | 'id_malformed'
  | 'token_missing'
  | 'token_repeated'
  | 'token_malformed'
  | 'token_mismatch'
  /** By a secret past its `notAfter`. */
  | 'secret_expired'
  /** There is no secret, or all are past their `notAfter`. */
  | 'no_secret_valid'

export type Verified =
  | { readonly ok: true }
  | { readonly ok: false; readonly reason: RefusalReason }

export function refused(reason: RefusalReason): Verified {
  return { ok: false, reason }
}
