import { createHmac, randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** With it the recorded delivery is signed. */
export const GITHUB_SECRET = "It's a Secret to Everybody"

/** The body of a push as GitHub sends it, to the byte. */
export const pushBody = readFileSync(join(import.meta.dirname, 'github-push.txt'))

/** What came with it. */
export const pushHeaders = {
  Accept: '*/*',
  'Content-Type': 'application/json',
  'User-Agent': 'GitHub-Hookshot/f6a4d3b',
  'X-GitHub-Delivery': '72d3162e-cc78-11e3-81ab-4c9367dc0958',
  'X-GitHub-Event': 'push',
  'X-GitHub-Hook-ID': '292430182',
  'X-GitHub-Hook-Installation-Target-ID': '1296269',
  'X-GitHub-Hook-Installation-Target-Type': 'repository',
  'X-Hub-Signature': 'sha1=80e33c412e7a31837655aa0e881e494cb8e69935',
  'X-Hub-Signature-256': 'sha256=5cfe2f7fa4c88bb28281a3e1ddcdf7273a38f6720e7cab49319992df9c49b102',
}

/** Another push of the same kind, to this branch. */
export function pushTo(branch: string): { body: Buffer; headers: Record<string, string> } {
  const body = Buffer.from(pushBody.toString().replace('refs/heads/main', `refs/heads/${branch}`))
  const mac = (algorithm: string) => createHmac(algorithm, GITHUB_SECRET).update(body).digest('hex')
  return {
    body,
    headers: {
      ...pushHeaders,
      'X-GitHub-Delivery': randomUUID(),
      'X-Hub-Signature': `sha1=${mac('sha1')}`,
      'X-Hub-Signature-256': `sha256=${mac('sha256')}`,
    },
  }
}
