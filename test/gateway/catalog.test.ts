import { mkdir, mkdtemp, rename, rm, symlink, unlink, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { Catalog, CatalogEvent, CatalogOptions } from '../../src/gateway/catalog.ts'
import { createCatalog } from '../../src/gateway/catalog.ts'
import { definitionSettings } from './definition-settings.ts'

let folder: string
let catalog: Catalog
let events: CatalogEvent[]

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'oneshot-catalog-'))
  events = []
  use({ rescanMs: 3_600_000 })
})
afterEach(async () => {
  vi.useRealTimers()
  await catalog.close()
  await rm(folder, { recursive: true, force: true })
})

function use(options: Partial<CatalogOptions>) {
  const onChange = (event: CatalogEvent) => events.push(event)
  catalog = createCatalog({ folder, settings: definitionSettings(), onChange, ...options })
}

const put = (file: string, text: string) => writeFile(join(folder, file), text)
const told = () =>
  events.splice(0).map((event) => {
    if (event.type === 'changed') return `${event.entry.name} ${event.entry.state}`
    return event.type === 'removed' ? `${event.name} removed` : event.type
  })

test('each file is a function, found by its name', async () => {
  await put('b.yml', 'image: i')
  await put('a.yaml', 'image: j')
  await put('notes.txt', 'image: k')
  await put('.hidden.yml', 'image: k')
  await mkdir(join(folder, 'a'))
  await mkdir(join(folder, 'folder.yml'))
  await catalog.start()
  expect(catalog.list().map(({ name, file }) => [name, file])).toEqual([
    ['a', 'a.yaml'],
    ['b', 'b.yml'],
  ])
  expect(catalog.get('a').container.image).toBe('j')
  expect(catalog.getEntry('b')).toMatchObject({ state: 'ready', source: { image: 'i' } })
  expect(told().sort()).toEqual(['a ready', 'b ready'])
})

test('a broken file is told with its reasons and leaves the others alone', async () => {
  await put('good.yml', 'image: i')
  await put('bad.yml', 'image: i\ncomand: ls\n')
  await catalog.start()
  expect(catalog.get('good').name).toBe('good')
  expect(catalog.getEntry('bad')).toMatchObject({ state: 'broken', problems: [{ line: 2 }] })
  expect(() => catalog.get('bad')).toThrow(
    expect.objectContaining({
      code: 'function_broken',
      message: expect.stringContaining('bad.yml:2:1: comand: unknown key: did you mean command?'),
    }),
  )
})

test('an unknown function is refused, with the name that was perhaps meant', async () => {
  await put('hello.yml', 'image: i')
  await catalog.start()
  expect(() => catalog.get('helo')).toThrow(
    expect.objectContaining({
      code: 'function_not_found',
      message: expect.stringContaining('did you mean hello?'),
    }),
  )
  expect(catalog.find('nothing-like-it')).toBeUndefined()
})

test.each(['UPPER', 'a_b', '-a', 'a-', 'a b', '..x', 'a'.repeat(64), '%2e', '__proto__'])(
  'a file named %s is listed as broken and answers to no call',
  async (name) => {
    const isHidden = name.startsWith('.')
    await put(`${name}.yml`, 'image: i')
    await catalog.start()
    expect(catalog.find(name)).toBeUndefined()
    expect(() => catalog.get(name)).toThrow(expect.objectContaining({ code: 'function_not_found' }))
    expect(catalog.list().map(({ name, state }) => [name, state])).toEqual(
      isHidden ? [] : [[name, 'broken']],
    )
  },
)

test.each(['../x', 'a/../a', 'a.yml', '', 'constructor', 'a\0', 'A'])(
  'the name %j leads to no file',
  async (name) => {
    await put('a.yml', 'image: i')
    await catalog.start()
    expect(catalog.find(name)).toBeUndefined()
  },
)

test('two files of one name break that function until one is gone', async () => {
  await put('a.yml', 'image: i')
  await put('a.yaml', 'image: j')
  await catalog.start()
  expect(() => catalog.get('a')).toThrow(/has the same name/)
  await unlink(join(folder, 'a.yaml'))
  await catalog.rescan()
  expect(catalog.get('a').container.image).toBe('i')
})

test('what is no regular file of text is broken, and never waited for', async () => {
  await symlink('/dev/zero', join(folder, 'endless.yml'))
  await symlink('nowhere', join(folder, 'dangling.yml'))
  await put('huge.yml', `# ${'x'.repeat(1024 * 1024)}`)
  await writeFile(join(folder, 'binary.yml'), Uint8Array.of(0xff, 0xfe, 0))
  await catalog.start()
  expect(
    catalog
      .list()
      .map(({ name, ...entry }) => [name, 'problems' in entry && entry.problems[0]?.message]),
  ).toEqual([
    ['binary', 'is not UTF-8'],
    ['dangling', 'is not there'],
    ['endless', 'is not a regular file'],
    ['huge', 'is longer than 1 MiB'],
  ])
})

test('a link to a file elsewhere is followed', async () => {
  await mkdir(join(folder, 'elsewhere'))
  await put('elsewhere/real.yml', 'image: linked')
  await symlink(join(folder, 'elsewhere', 'real.yml'), join(folder, 'link.yml'))
  await catalog.start()
  expect(catalog.get('link').container.image).toBe('linked')
})

test('changes are picked up while serving, without being told', async () => {
  await put('a.yml', 'image: i')
  await catalog.start()
  told()
  await put('b.yml', 'image: new')
  await vi.waitFor(() => expect(catalog.get('b').container.image).toBe('new'), 5_000)
  await put('half.yml', 'image: [')
  await vi.waitFor(() => expect(catalog.getEntry('half').state).toBe('broken'), 5_000)
  await put('half.yml', 'image: whole')
  await vi.waitFor(() => expect(catalog.get('half').container.image).toBe('whole'), 5_000)
  await put('.b.tmp', 'image: replaced')
  await rename(join(folder, '.b.tmp'), join(folder, 'b.yml'))
  await vi.waitFor(() => expect(catalog.get('b').container.image).toBe('replaced'), 5_000)
  await unlink(join(folder, 'a.yml'))
  await vi.waitFor(() => expect(catalog.find('a')).toBeUndefined(), 5_000)
  expect(told()).toEqual(['b ready', 'half broken', 'half ready', 'b ready', 'a removed'])
})

test('what no watch tells of is found by looking again', async () => {
  const elsewhere = join(folder, 'elsewhere')
  await mkdir(elsewhere)
  await writeFile(join(elsewhere, 'real.yml'), 'image: old')
  await symlink(join(elsewhere, 'real.yml'), join(folder, 'a.yml'))
  use({ rescanMs: 20 })
  await catalog.start()
  await writeFile(join(elsewhere, 'real.yml'), 'image: new')
  await vi.waitFor(() => expect(catalog.get('a').container.image).toBe('new'), 5_000)
})

test('a change that leaves size and time as they were is still seen', async () => {
  const time = new Date('2026-01-01')
  await put('a.yml', 'image: one')
  await utimes(join(folder, 'a.yml'), time, time)
  await catalog.start()
  await put('a.yml', 'image: two')
  await utimes(join(folder, 'a.yml'), time, time)
  await catalog.rescan()
  expect(catalog.get('a').container.image).toBe('two')
})

test('an env file that changes, goes or comes changes its functions', async () => {
  const variable = () => catalog.get('a').container.environment['A']
  await put('a.yml', 'image: i\nenv_file: a.env\n')
  await catalog.start()
  expect(() => variable()).toThrow(/a.env is not there/)
  await put('a.env', 'A=1')
  await catalog.rescan()
  expect(variable()).toBe('1')
  await put('a.env', 'A=2')
  await catalog.rescan()
  expect(variable()).toBe('2')
  await unlink(join(folder, 'a.env'))
  await catalog.rescan()
  expect(() => variable()).toThrow(/a.env is not there/)
})

test('an env file that changes long after its function was read is seen', async () => {
  await put('a.yml', 'image: i\nenv_file: a.env\n')
  await put('a.env', 'A=1')
  vi.setSystemTime(Date.now() + 3_600_000)
  await catalog.start()
  await put('a.env', 'A=2')
  await catalog.rescan()
  expect(catalog.get('a').container.environment).toEqual({ A: '2' })
})

test('a file that has not changed for a while is not read again', async () => {
  await put('a.yml', 'image: ${IMAGE}')
  vi.setSystemTime(Date.now() + 3_600_000)
  const environment: Record<string, string> = { IMAGE: 'one' }
  use({ settings: definitionSettings({ environment }) })
  await catalog.start()
  environment['IMAGE'] = 'two'
  await catalog.rescan()
  expect(catalog.get('a').container.image).toBe('one')
})

test('what has not changed is the same as before, and is not told of again', async () => {
  await put('a.yml', 'image: i')
  await catalog.start()
  const before = catalog.getEntry('a')
  expect(told()).toEqual(['a ready'])
  await put('a.yml', 'image: i')
  await catalog.rescan()
  await catalog.rescan()
  expect(catalog.getEntry('a')).toBe(before)
  expect(told()).toEqual([])
})

test('a folder that is not there stops the start and says what to do', async () => {
  await rm(folder, { recursive: true })
  await expect(catalog.start()).rejects.toThrow(
    /can't be read \(ENOENT\): create it, or set ONESHOT_FUNCTIONS/,
  )
})

test('a folder that goes away while serving leaves what was known, until it is back', async () => {
  await put('a.yml', 'image: i')
  await catalog.start()
  told()
  await rename(folder, `${folder}-away`)
  await catalog.rescan()
  await catalog.rescan()
  expect(catalog.get('a').container.image).toBe('i')
  expect(told()).toEqual(['unreadable'])
  await rename(`${folder}-away`, folder)
  await put('a.yml', 'image: j')
  await catalog.rescan()
  expect(catalog.get('a').container.image).toBe('j')
})

test('a closed catalog looks no more', async () => {
  await put('a.yml', 'image: i')
  use({ rescanMs: 1 })
  await catalog.start()
  await catalog.close()
  told()
  await put('a.yml', 'image: j')
  await new Promise((resolve) => setTimeout(resolve, 100))
  expect(told()).toEqual([])
})

test('definitions are read again under changed settings, although no file has changed', async () => {
  await put('a.yml', 'image: i\nvolumes: [/mnt/disk/engine/volumes:/x]')
  await put('b.yml', 'image: i')
  const past = new Date(Date.now() - 60_000)
  for (const file of ['a.yml', 'b.yml']) await utimes(join(folder, file), past, past)
  await catalog.start()
  expect(told().sort()).toEqual(['a ready', 'b ready'])
  await catalog.update({ engineFolders: ['/mnt/disk/engine'] })
  expect(told()).toEqual(['a broken'])
  expect(() => catalog.get('a')).toThrow('ONESHOT_ALLOW=host-root')
  await catalog.update({ allowed: new Set(['host-root']) })
  expect(told()).toEqual(['a ready'])
})

test('a file that cannot be checked at all is broken, and leaves the others alone', async () => {
  const allowed = new Set<never>()
  allowed.has = () => {
    throw new RangeError('hunter2')
  }
  use({ settings: definitionSettings({ allowed }), rescanMs: 3_600_000 })
  await put('bad.yml', 'image: i\nprivileged: true')
  await put('good.yml', 'image: i')
  await catalog.start()
  expect(catalog.get('good').name).toBe('good')
  expect(() => catalog.get('bad')).toThrow("can't be checked (RangeError)")
})
