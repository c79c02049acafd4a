/** Why a request got no answer. Its message may be shown to whoever asked for the request; its cause may not. */
export class SendError extends Error {
  override readonly name = 'SendError'
}

const MEANINGS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing accepts connections there',
  ECONNRESET: 'the connection was reset',
  EPIPE: 'the connection was closed',
  UND_ERR_SOCKET: 'the connection was closed',
  ETIMEDOUT: 'no connection came about',
  EHOSTUNREACH: 'the host cannot be reached',
  ENETUNREACH: 'the network cannot be reached',
  ENOTFOUND: 'the name has no address',
  EAI_AGAIN: 'the name cannot be looked up at the moment',
  CERT_HAS_EXPIRED: 'the certificate has expired',
  ERR_TLS_CERT_ALTNAME_INVALID: 'the certificate is for other names',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'the certificate is self-signed',
  HTTPParserError: 'the answer is no HTTP',
  UND_ERR_HEADERS_OVERFLOW: 'the head of the answer is too long',
}

/** Says no more of a failure than its code, since its message may tell addresses, names or contents. */
export function toSendError(error: unknown): SendError {
  if (error instanceof SendError) return error
  const code = findCode(error)
  if (code === undefined) return new SendError('failed', { cause: error })
  const meaning = MEANINGS[code]
  return new SendError(meaning === undefined ? code : `${code}: ${meaning}`, { cause: error })
}

/** Attempts at several addresses fail as an AggregateError, which has the code of one of them. */
function findCode(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined
  const code = 'code' in error ? error.code : undefined
  if (typeof code === 'string' && /^[A-Z][A-Z0-9_]{1,63}$/.test(code)) return code
  // undici's, without a code if the answer doesn't even begin like one.
  return error.name === 'HTTPParserError' ? error.name : undefined
}
