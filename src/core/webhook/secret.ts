import type { WebhookScheme } from '../trigger.ts'
import { findSigningScheme } from './scheme.ts'

/** What is told of a secret when a definition is read. None of it holds any of the secret. */
export interface SecretCheck {
  /** Nothing could ever be verified with it. */
  readonly problem?: string
  readonly warning?: string
}

/** A secret of fewer bytes than this can be guessed, if it is one that people make up. */
const SHORT_BYTES = 16

export function checkSecret(scheme: WebhookScheme, value: string): SecretCheck {
  if (value.trim() === '') return { problem: 'is empty' }
  const { provider } = scheme
  if (provider === 'standard' || (provider === 'gitlab' && isSigningSecret(value))) {
    if (findSigningScheme(scheme)!.toKey(value)) return {}
    return {
      problem:
        provider === 'gitlab'
          ? 'begins as a signing token but is none: expected whsec_ and 24 to 64 bytes in base64'
          : 'expected whsec_ and 24 to 64 bytes in base64, or whpk_ and an Ed25519 public key in base64',
    }
  }
  if (!findSigningScheme(scheme) || provider === 'gitlab') {
    // oxlint-disable-next-line no-control-regex
    if (/[\0-\x08\x0a-\x1f\x7f]/.test(value)) {
      return { problem: 'holds a line break or another control character, which no header can' }
    }
    if (value.trim() !== value) return { problem: 'begins or ends with a space: no header can' }
  }
  if (value.trim() !== value) return { warning: 'begins or ends with white space' }
  if (Buffer.byteLength(value) < SHORT_BYTES) {
    return { warning: `is shorter than ${SHORT_BYTES} bytes: it might be guessed` }
  }
  if (provider === 'stripe' && !value.startsWith('whsec_')) {
    return { warning: "does not begin with whsec_, as Stripe's signing secrets do" }
  }
  return {}
}

/** Whether a secret of GitLab's is a signing token, with which it signs; any other it sends. */
export function isSigningSecret(value: string): boolean {
  return value.startsWith('whsec_')
}
