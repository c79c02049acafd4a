import { readFileSync, readdirSync } from 'node:fs'
import { dirname, join, relative, resolve, sep } from 'node:path'
import { expect, test } from 'vitest'

const source = join(import.meta.dirname, '../src')

/** Which modules of ours the files of a folder, or a file at the top, may import. A folder may always import itself. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  core: [],
  engine: ['core'],
  store: ['core'],
  outgoing: ['core'],
  access: ['core'],
  gateway: ['core', 'engine/engine.ts', 'store/store.ts'],
  http: ['core', 'gateway'],
  'config.ts': ['core', 'settings.ts'],
  'settings.ts': ['core'],
  'logger.ts': [],
  'main.ts': [
    'core',
    'engine',
    'store',
    'outgoing',
    'access',
    'gateway',
    'http',
    'config.ts',
    'logger.ts',
    '../package.json',
  ],
}

/** Packages that only these may import; the core may import none but these, which are pure as well. */
const PACKAGES: Record<string, readonly string[]> = {
  core: ['zod', 're2js', 'ipaddr.js', 'croner'],
  // For its HMAC, which is a function of its arguments; the rest of it makes random numbers.
  'core/signature.ts': ['node:crypto'],
  // For its MACs, digests and comparison in constant time, which are functions of their arguments too.
  'core/webhook/mac.ts': ['node:crypto'],
}

const files = readdirSync(source, { recursive: true, encoding: 'utf8' }).filter((file) =>
  file.endsWith('.ts'),
)
const part = (file: string) => file.split(sep)[0] ?? ''

function importsOf(file: string): string[] {
  const text = readFileSync(join(source, file), 'utf8')
  return [
    ...text.matchAll(/(?:^|\n)(?:import|export)[^'"]*?from '([^']+)'|import\(\s*'([^']+)'\s*\)/g),
  ].map((match) => match[1] ?? match[2] ?? '')
}

test('every file stands where the table knows it', () => {
  expect([...new Set(files.map(part))].sort()).toEqual(Object.keys(MAY_IMPORT).sort())
})

test.each(files)('%s imports only what its place allows', (file) => {
  const own = part(file)
  const forbidden = importsOf(file).filter((specifier) => {
    if (!specifier.startsWith('.')) {
      const allowed = PACKAGES[own]
      return (
        allowed !== undefined &&
        !allowed.includes(specifier) &&
        !PACKAGES[file]?.includes(specifier)
      )
    }
    const target = relative(source, resolve(source, dirname(file), specifier))
    return (
      part(target) !== own &&
      !MAY_IMPORT[own]?.some((allowed) => target === allowed || part(target) === allowed)
    )
  })
  expect(forbidden).toEqual([])
})

test('process.env is read by main.ts alone, and handed to config.ts', () => {
  const readers = files.filter((file) =>
    readFileSync(join(source, file), 'utf8').includes('process.env'),
  )
  expect(readers).toEqual(['main.ts'])
})
