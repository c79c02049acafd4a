export type SignatureEncoding = 'hex' | 'base64' | 'base64url'

/**
 * The bytes of a signature, or undefined: each value has one form, as RFC 4648 writes it. Hex may be in either case, though not in both; base64url may have its
 * padding or not. Buffer alone would pass over what does not belong.
 */
export function decodeSignature(text: string, encoding: SignatureEncoding): Uint8Array | undefined {
  if (encoding === 'hex') {
    return /^(?:(?:[0-9a-f]{2})+|(?:[0-9A-F]{2})+)$/.test(text)
      ? Buffer.from(text, 'hex')
      : undefined
  }
  const bytes = Buffer.from(text, encoding)
  if (bytes.length === 0) return undefined
  const written = bytes.toString(encoding)
  const isPadded = encoding === 'base64url' && text === written.padEnd(text.length, '=')
  return text === written || (isPadded && text.length === Math.ceil(written.length / 4) * 4)
    ? bytes
    : undefined
}
