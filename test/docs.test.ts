import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { Settings } from '../src/settings.ts'
import { Envelope } from '../src/core/envelope.ts'
import { toTickEnvironment } from '../src/core/schedule.ts'
import { toTask } from '../src/core/task.ts'
import { STATUS, toEnvelopeStatus } from '../src/http/errors.ts'
import { functionSpec } from './function-spec.ts'

const root = join(import.meta.dirname, '..')
const read = (path: string) => readFileSync(join(root, path), 'utf8')
const pages = globSync('{*.md,{bench,docs,functions,scripts}/**/*.md}', { cwd: root }).sort()
const calling = read('docs/calling.md')

function section(page: string, heading: string): string {
  const [, text = ''] = page.split(`\n${heading}\n`)
  return text.split(/^#{1,4} /m)[0]!
}

/** What stands in backquotes in the first cell of each row. */
function rowNames(table: string): string[] {
  return (table.match(/^\| `.*?\|/gm) ?? []).flatMap((cell) => cell.match(/(?<=`)\w+(?=`)/g) ?? [])
}

/** The anchors of a page's headings, as GitHub makes them. */
function anchors(page: string): string[] {
  const prose = page.replaceAll(/^```[^]*?^```/gm, '')
  return Array.from(prose.matchAll(/^#{1,6} (.+)$/gm), ([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
  )
}

describe('docs/calling.md', () => {
  test('has every error code, each with its status', () => {
    const table = section(calling, '## Status and error codes')
    const rows = table.matchAll(/^\| `(\w+)` \| (\d+) \|/gm)
    const documented = Array.from(rows, ([, code, status]) => [code, Number(status)])
    expect(Object.fromEntries(documented)).toEqual(STATUS)
  })

  test('has every field of the envelope, and no other', () => {
    expect(rowNames(section(calling, '### Envelope'))).toEqual(Object.keys(Envelope.shape))
  })

  test('has every reason and state of a call that has ended, each with its status', () => {
    const table = section(calling, '#### How a call ends')
    const rows = [...table.matchAll(/^\| `(\w+)` \| `(\w+)` \| (\d+)?/gm)]
    const { reason, state } = Envelope.shape
    expect(new Set(rows.map(([, name]) => name))).toEqual(new Set(reason.options))
    expect(new Set(rows.map(([, , name]) => name))).toEqual(new Set(state.options))
    const documented = rows.filter(([, , , status]) => status !== undefined)
    expect(documented.map(([, , , status]) => Number(status))).toEqual(
      documented.map(([, name]) =>
        toEnvelopeStatus({ reason: reason.parse(name), exitCode: null }),
      ),
    )
  })
})

test('there are pages', () => {
  expect(pages).toEqual(expect.arrayContaining(['README.md', 'docs/calling.md']))
})

test.each(pages)('every link of %s leads somewhere', (path) => {
  const page = read(path)
  const links = page.matchAll(/\]\((?![a-z]+:)([^)#\s]*)(?:#([^)\s]*))?\)/g)
  const dead = Array.from(links).filter(([, target, anchor]) => {
    const file = target === '' ? path : join(dirname(path), target!)
    if (!existsSync(join(root, file))) return true
    return anchor !== undefined && !anchors(read(file)).includes(anchor)
  })
  expect(dead.map(([link]) => link)).toEqual([])
})

test.each(pages)('every ONESHOT_ variable that %s names is one', (path) => {
  const invocation = { id: 'id', parameters: {}, attempts: [] } as unknown as Parameters<
    typeof toTask
  >[1]
  const known = new Set([
    ...Object.keys(Settings.shape),
    ...Object.keys(toTask(functionSpec({ input: 'file' }), invocation).container.environment),
    ...Object.keys(toTickEnvironment({ name: 'nightly' }, 0)),
    ...(read('scripts/engine').match(/ONESHOT_[A-Z_]+/g) ?? []),
    ...(read('src/gateway/hook-plan.ts').match(/ONESHOT_[A-Z_]+/g) ?? []),
  ])
  const named = read(path).match(/ONESHOT_[A-Z_]+/g) ?? []
  expect(named.filter((name) => !known.has(name))).toEqual([])
})

test('every path that ARCHITECTURE.md names is there', () => {
  const paths =
    read('ARCHITECTURE.md').match(
      /(?<=`)(?:src|test|docs|functions|scripts|bench)\/[\w./-]*(?=`)/g,
    ) ?? []
  expect(paths.length).toBeGreaterThan(20)
  expect(paths.filter((path) => !existsSync(join(root, path)))).toEqual([])
})

test('the code map names every file of src', () => {
  const [, map = ''] = read('ARCHITECTURE.md').split('\n## Code map\n')
  const named = new Set(map.split('\n## ')[0]!.match(/(?<=[`/])[\w-]+\.ts(?=`)/g))
  const files = globSync('src/**/*.ts', { cwd: root }).filter(
    (file) => !file.startsWith('src/core/definition/'),
  )
  const left = files.map((file) => file.slice(file.lastIndexOf('/') + 1))
  expect(left.filter((file) => !named.has(file))).toEqual([])
})
