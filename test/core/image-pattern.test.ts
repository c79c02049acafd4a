import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { matchesImage, parseImagePattern } from '../../src/core/image-pattern.ts'

const digest = `sha256:${'0a'.repeat(32)}`

function matches(pattern: string, image: string): boolean {
  const parsed = parseImagePattern(pattern)
  if (!parsed) throw new Error(`${pattern} is no pattern`)
  return matchesImage(image, [parsed])
}

test.each([
  // One name, however it is written.
  ['busybox', 'busybox', true],
  ['busybox', 'busybox:latest', true],
  ['busybox', 'docker.io/busybox', true],
  ['busybox', 'docker.io/library/busybox:latest', true],
  ['busybox', 'index.docker.io/library/busybox', true],
  ['busybox', 'library/busybox', true],
  ['docker.io/library/busybox', 'busybox', true],
  // Another tag, and a digest, are other images.
  ['busybox', 'busybox:1', false],
  ['busybox', `busybox@${digest}`, false],
  ['busybox:1', 'busybox', false],
  ['busybox:*', 'busybox:1', true],
  ['busybox:*', 'busybox', true],
  // The engine goes by the digest, whatever the tag says.
  ['busybox:1', `busybox:1@${digest}`, false],
  ['busybox:1*', `busybox:1@${digest}`, false],
  ['busybox:*', `busybox:1@${digest}`, false],
  ['busybox@*', `busybox:1@${digest}`, true],
  ['busybox*', `busybox@${digest}`, true],
  [`busybox@${digest}`, `docker.io/busybox:2@${digest}`, true],
  // Another place is another image.
  ['busybox', 'evil/busybox', false],
  ['busybox', 'evil.example/busybox', false],
  ['busybox', 'evil.example/library/busybox', false],
  ['busybox', 'localhost/busybox', false],
  ['busybox', 'DOCKER.IO/library/busybox', false],
  ['team/*', 'team/tool:2', true],
  ['team/*', 'docker.io/team/tool', true],
  ['team/*', 'teams/tool', false],
  ['team/*', 'evil.example/team/tool', false],
  ['registry.example/team/*', 'registry.example/team/a/b:3', true],
  ['registry.example/team/*', 'registry.example/teams/a', false],
  ['registry.example/team/*', 'registry.example:5000/team/a', false],
  ['registry.example/team/*', 'evil.example/registry.example/team/a', false],
  ['registry.example:5000/team/*', 'registry.example:5000/team/a', true],
  ['registry.example:5000/team/*', 'registry.example/team/a', false],
  ['*.example/tool', 'registry.example/tool', true],
  ['*.example/tool', 'evil.test/registry.example/tool', false],
  ['docker.io/*', 'anyone/anything', true],
  ['docker.io/*', 'ghcr.io/anyone/anything', false],
  ['*', 'ghcr.io/anyone/anything', true],
  ['*', digest, true],
  // An engine takes these for ids, or the beginnings of ids, of whatever image it has.
  ['docker.io/*', digest, false],
  ['docker.io/*', 'cafe', false],
  ['docker.io/*', 'sha256:cafe', false],
  ['docker.io/*', 'cafe:latest', true],
  ['docker.io/*', 'cafes', true],
])('the pattern %s takes %s: %s', (pattern, image, taken) => {
  expect(matches(pattern, image)).toBe(taken)
})

test.each(['', ' ', 'a b', '*/tool', 'team*/tool', '/tool', 'a//b', 'a/', 'a\nb'])(
  '%j is no pattern',
  (text) => {
    expect(parseImagePattern(text)).toBeUndefined()
  },
)

const part = fc.stringMatching(/^[a-z][a-z0-9]{0,5}$/)
const host = fc
  .tuple(part, part, fc.option(fc.integer({ min: 1, max: 65_535 }), { nil: undefined }))
  .map(([name, domain, port]) => `${name}.${domain}${port === undefined ? '' : `:${port}`}`)

test('no name of another registry passes for one of the registry that is allowed', () => {
  fc.assert(
    fc.property(host, host, fc.array(part, { minLength: 1, maxLength: 4 }), (own, other, path) => {
      fc.pre(own !== other && !own.endsWith('docker.io') && !other.endsWith('docker.io'))
      expect(matches(`${own}/*`, `${own}/${path.join('/')}:1`)).toBe(true)
      expect(matches(`${own}/*`, `${other}/${path.join('/')}:1`)).toBe(false)
      expect(matches(`${own}/*`, `${other}/${own.split(':')[0]}/${path.join('/')}`)).toBe(false)
      expect(matches(`${own}/*`, `${path.join('/')}:1`)).toBe(false)
    }),
  )
})
