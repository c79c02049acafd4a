import { mkdtemp, rm, unlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { parseDeployPolicy } from '../../src/core/deploy-policy.ts'
import type { Catalog, CatalogEvent } from '../../src/gateway/catalog.ts'
import { createCatalog } from '../../src/gateway/catalog.ts'
import { readDeployPolicy } from '../../src/gateway/deploy-policy-file.ts'
import type { Deployed, DeployedDeps, Expectation } from '../../src/gateway/deployed.ts'
import { createDeployed } from '../../src/gateway/deployed.ts'
import type { DefinitionSettings } from '../../src/gateway/definition.ts'
import { openSqliteStore } from '../../src/store/sqlite.ts'
import type { Store } from '../../src/store/store.ts'
import { definitionSettings } from './definition-settings.ts'

let folder: string
let data: string
let store: Store
let catalog: Catalog
let deployed: Deployed
let events: CatalogEvent[]
let logs: Record<string, unknown>[]
let now: number

interface Options extends Partial<DeployedDeps> {
  readonly policyFile?: object
  readonly settings?: Partial<DefinitionSettings>
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'oneshot-functions-'))
  data = await mkdtemp(join(tmpdir(), 'oneshot-data-'))
  now = 1_000_000
  await start()
})
afterEach(async () => {
  await stop()
  await rm(folder, { recursive: true })
  await rm(data, { recursive: true })
})

async function start({ policyFile = {}, settings = {}, ...deps }: Options = {}) {
  events = []
  logs = []
  store = await openSqliteStore({ folder: data, newId: () => 'the-gateway' })
  const under = definitionSettings(settings)
  const surroundings = { defaults: under.defaults, secretsFolder: '/run/secrets' }
  const { policy, problems } = parseDeployPolicy(policyFile, surroundings)
  if (!policy) throw new Error(JSON.stringify(problems))
  const logger = pino({}, { write: (line) => void logs.push(JSON.parse(line) as object as never) })
  deployed = createDeployed({ store: store.functions, policy, clock: () => now, logger, ...deps })
  const onChange = (event: CatalogEvent) => events.push(event)
  catalog = createCatalog({ folder, settings: under, deployed, onChange, rescanMs: 3_600_000 })
  await catalog.start()
}

async function stop() {
  await catalog.close()
  await store.close()
}

async function restart(options: Options = {}) {
  await stop()
  await start(options)
}

const put = (name: string, source: string, isExpected: Expectation = () => true) =>
  deployed.put({ name, source, by: 'ci', isExpected })
const remove = (name: string, isExpected: Expectation = () => true) =>
  deployed.remove({ name, by: 'ci', isExpected })
const told = () =>
  events.splice(0).map((event) => {
    if (event.type === 'changed') {
      return `${event.entry.name} ${event.entry.state} ${event.entry.origin}`
    }
    return event.type === 'removed' ? `${event.name} removed` : event.type
  })

test('what is deployed is served at once, and told who did it', async () => {
  expect(await put('a', 'image: busybox:1')).toMatchObject({ isNew: true })
  expect(catalog.get('a').container.image).toBe('busybox:1')
  expect(catalog.getEntry('a')).toMatchObject({
    origin: 'api',
    updatedAt: 1_000_000,
    updatedBy: 'ci',
    source: { image: 'busybox:1' },
  })
  expect(told()).toEqual(['a ready api'])
  expect(await put('a', '{"image": "busybox:2"}')).toMatchObject({ isNew: false })
  expect(catalog.get('a').container.image).toBe('busybox:2')
  expect(told()).toEqual(['a ready api'])
  expect(logs).toMatchObject([
    { msg: 'function deployed', function: 'a', by: 'ci', isNew: true },
    { msg: 'function deployed', function: 'a', by: 'ci', isNew: false },
  ])
})

test('what is deployed is there again after a restart, and what was removed is not', async () => {
  await put('a', 'image: busybox:1')
  await put('b', 'image: busybox:1')
  await remove('b')
  expect(told()).toEqual(['a ready api', 'b ready api', 'b removed'])
  const { etag } = deployed.entries.get('a')!
  await restart()
  expect(catalog.list().map(({ name }) => name)).toEqual(['a'])
  expect(catalog.getEntry('a')).toMatchObject({ origin: 'api', updatedBy: 'ci', etag })
})

test('a function of a file is not changed', async () => {
  await writeFile(join(folder, 'a.yml'), 'image: i')
  await catalog.rescan()
  const refusal = expect.objectContaining({ code: 'function_of_file' })
  await expect(put('a', 'image: j')).rejects.toEqual(refusal)
  await expect(remove('a')).rejects.toEqual(refusal)
  expect(catalog.get('a').container.image).toBe('i')
  expect(await store.functions.list()).toEqual([])
})

test('a file that comes later serves in place of what was deployed, until it goes', async () => {
  await put('a', 'image: deployed')
  told()
  await writeFile(join(folder, 'a.yml'), 'image: filed')
  await catalog.rescan()
  expect(catalog.get('a').container.image).toBe('filed')
  expect(catalog.getEntry('a')).toMatchObject({
    origin: 'file',
    warnings: [expect.stringContaining('is deployed as well')],
  })
  await catalog.rescan()
  expect(told()).toEqual(['a ready file'])
  await writeFile(join(folder, 'a.yml'), 'image: [')
  await catalog.rescan()
  expect(catalog.getEntry('a')).toMatchObject({
    state: 'broken',
    warnings: [expect.stringContaining('is deployed as well')],
  })
  told()
  await unlink(join(folder, 'a.yml'))
  await catalog.rescan()
  expect(catalog.get('a').container.image).toBe('deployed')
  expect(told()).toEqual(['a ready api'])
})

test('a definition with mistakes changes nothing, and all of them are told with their places', async () => {
  await put('a', 'image: busybox:1')
  told()
  const wrong = put('a', 'image: busybox:1\ncomand: x\nlabels: { a/b: c }\ntimeout: soon\n')
  await expect(wrong).rejects.toMatchObject({
    code: 'definition_invalid',
    message: expect.stringContaining('a:2:1: comand: unknown key: did you mean command?') as string,
    violations: [
      { pointer: '#/comand', detail: 'unknown key: did you mean command?' },
      { pointer: '#/timeout', detail: expect.stringContaining('expected a duration') as string },
    ],
  })
  await expect(put('a', 'image: busybox:1\nlabels: { a/b: c }\n')).rejects.toMatchObject({
    violations: [{ pointer: '#/labels/a~1b' }],
  })
  await expect(put('a', '- not\n- a map')).rejects.toMatchObject({ violations: [{ pointer: '#' }] })
  expect(catalog.get('a').container.image).toBe('busybox:1')
  expect(told()).toEqual([])
})

test.each(['A', '-a', 'a.b', '../a', '', 'a'.repeat(64), '__proto__'])(
  'no function can be deployed as %j',
  async (name) => {
    await expect(put(name, 'image: i')).rejects.toMatchObject({ code: 'definition_invalid' })
  },
)

test('a policy that has become stricter breaks what it does not allow, and loses nothing', async () => {
  await put('a', 'image: busybox:1')
  await put('b', 'image: tool:1')
  await restart({ policyFile: { images: ['tool:*'] } })
  expect(catalog.getEntry('a')).toMatchObject({
    state: 'broken',
    problems: [
      { key: 'image', message: expect.stringContaining('ONESHOT_DEPLOY_POLICY') as string },
    ],
  })
  expect(() => catalog.get('a')).toThrow(expect.objectContaining({ code: 'function_broken' }))
  expect(catalog.get('b').container.image).toBe('tool:1')
  await restart()
  expect(catalog.get('a').container.image).toBe('busybox:1')
  await restart({ policyFile: { images: ['tool:*'] } })
  await remove('a')
  expect(catalog.find('a')).toBeUndefined()
})

test('settings that change are those that what is deployed is read under', async () => {
  await restart({ policyFile: { mounts: ['/srv/docker:ro'] } })
  await put('a', 'image: i\nvolumes: ["/srv/docker/volumes:/v:ro"]')
  const { spec } = catalog.getEntry('a') as { spec?: unknown }
  told()
  await catalog.update({ engineFolders: ['/elsewhere'] })
  expect(catalog.get('a')).toBe(spec)
  expect(told()).toEqual([])
  await catalog.update({ engineFolders: ['/srv/docker'] })
  expect(catalog.getEntry('a')).toMatchObject({ state: 'broken' })
  expect(told()).toEqual(['a broken api'])
})

test('a definition that only says the same in other words keeps its armed containers', async () => {
  await put('a', 'image: i')
  const before = catalog.get('a')
  await put('a', '# the same\nimage: i')
  expect(catalog.get('a')).toBe(before)
})

const secret = 'hunter2hunter2'
const environment = { DB_PASSWORD: secret, REGION: 'eu', PATH: '/bin' }

test.each([
  'image: i\ncommand: [echo, "${DB_PASSWORD}"]',
  'image: i\ncommand: [echo, "$DB_PASSWORD"]',
  'image: i\nenvironment: [DB_PASSWORD]',
  'image: i\nenvironment: { DB_PASSWORD: }',
  'image: i\nenv: [DB_PASSWORD]',
  'image: i\nx-a: &a { DB_PASSWORD: }\nenvironment: { <<: *a }',
  'image: ${DB_PASSWORD}',
  'image: i\ncommand: [echo, "${A:-$DB_PASSWORD}"]',
  'image: i\ntriggers: [{ type: webhook, secrets: [{ env: DB_PASSWORD }] }]',
  'image: i\nenv_file: /proc/self/environ',
  'image: i\nlabels: { a: "${DB_PASSWORD}" }',
])('nothing of the gateway’s environment gets into %j', async (source) => {
  await restart({ settings: { environment } })
  const error = await put('a', source).catch((it: unknown) => it)
  expect(error).toMatchObject({ code: 'definition_invalid' })
  expect(JSON.stringify([error, (error as Error).message, logs])).not.toContain(secret)
})

test('a variable that is not for deployed functions is not even known to be there', async () => {
  await restart({ settings: { environment } })
  await put('a', 'image: i\ncommand: [echo, "${DB_PASSWORD:+set}", "${DB_PASSWORD-unset}"]')
  expect(catalog.get('a').container.command).toEqual(['echo', '', 'unset'])
})

test('a variable that the operator names is filled in, and kept out of problems', async () => {
  const policyFile = { environment: ['REGION', 'DB_PASSWORD'] }
  await restart({ settings: { environment }, policyFile })
  await put('a', 'image: i\ncommand: [echo, "${REGION}"]\nenvironment: [REGION]')
  expect(catalog.get('a').container).toMatchObject({
    command: ['echo', 'eu'],
    environment: { REGION: 'eu' },
  })
  const wrong = await put(
    'a',
    'image: i\nruntime: "${DB_PASSWORD}"\nvolumes: ["/${DB_PASSWORD}:/a"]',
  ).catch((it: unknown) => it as Error)
  expect(wrong).toMatchObject({ code: 'definition_invalid' })
  expect(JSON.stringify(wrong) + (wrong as Error).message).not.toContain(secret)
})

test('what ONESHOT_ALLOW allows, it allows to files alone', async () => {
  const allowed = new Set(['privileged', 'docker-socket', 'host-root'] as const)
  await restart({ settings: { allowed }, policyFile: { mounts: ['/var/run/docker.sock'] } })
  for (const source of ['privileged: true', 'volumes: ["/var/run/docker.sock:/s"]']) {
    await expect(put('a', `image: i\n${source}`)).rejects.toMatchObject({
      message: expect.stringContaining("put it into the functions' folder") as string,
    })
    await writeFile(join(folder, 'b.yml'), `image: i\n${source}`)
    await catalog.rescan()
    expect(catalog.getEntry('b').state).toBe('ready')
  }
})

test('the home of the gateway is not that of a deployed function', async () => {
  await restart({ policyFile: { mounts: ['/home/me'] } })
  await expect(put('a', 'image: i\nvolumes: ["~:/data"]')).rejects.toMatchObject({
    violations: [{ pointer: '#/volumes/0' }],
  })
})

test('a change that expects another version is refused', async () => {
  const isMissing = (etag?: string) => etag === undefined
  const first = await put('a', 'image: i', isMissing)
  const refusal = expect.objectContaining({ code: 'precondition_failed' })
  await expect(put('a', 'image: j', isMissing)).rejects.toEqual(refusal)
  // At the same millisecond.
  const second = await put('a', 'image: j', (etag) => etag === first.entry.etag)
  await expect(put('a', 'image: k', (etag) => etag === first.entry.etag)).rejects.toEqual(refusal)
  await expect(remove('a', (etag) => etag === first.entry.etag)).rejects.toEqual(refusal)
  expect(catalog.get('a').container.image).toBe('j')
  await remove('a', (etag) => etag === second.entry.etag)
  await expect(remove('a')).rejects.toMatchObject({ code: 'function_not_found' })
})

test('of changes at the same time the last one is served and stored', async () => {
  const versions = Array.from({ length: 20 }, (_, index) => `image: i:${index}`)
  const answers = await Promise.all(versions.map((source) => put('a', source)))
  expect(answers.map(({ isNew }) => isNew)).toEqual(versions.map((_, index) => index === 0))
  expect(new Set(answers.map(({ entry }) => entry.etag)).size).toBe(20)
  expect(catalog.get('a').container.image).toBe('i:19')
  expect(await store.functions.list()).toMatchObject([{ name: 'a', source: 'image: i:19' }])
})

test('what could not be stored is not served', async () => {
  await restart({
    store: {
      list: () => Promise.resolve([]),
      put: () => Promise.reject(new Error('full')),
      remove: () => Promise.reject(new Error('full')),
    },
  })
  await expect(put('a', 'image: i')).rejects.toThrow('full')
  expect(catalog.find('a')).toBeUndefined()
  expect(told()).toEqual([])
})

test('no more than a thousand are kept, each of which can still be changed', async () => {
  const many = Array.from({ length: 1000 }, (_, index) => ({
    name: `f${index}`,
    source: 'image: i',
    createdAt: 1,
    updatedAt: 1,
    updatedBy: 'ci',
  }))
  await restart({
    store: {
      list: () => Promise.resolve(many),
      put: () => Promise.resolve(true),
      remove: () => Promise.resolve(true),
    },
  })
  await expect(put('one-more', 'image: i')).rejects.toMatchObject({ code: 'storage_full' })
  await put('f7', 'image: j')
  await remove('f8')
  await put('one-more', 'image: i')
})

test('a function that can not stand beside the others is refused', async () => {
  await restart({ findConflict: ({ name }) => (name === 'a' ? 'the webhook is taken' : undefined) })
  await expect(put('a', 'image: i')).rejects.toMatchObject({
    code: 'definition_invalid',
    message: 'the webhook is taken',
  })
  await put('b', 'image: i')
})

const surroundings = { defaults: definitionSettings().defaults, secretsFolder: '/run/secrets' }

test('the policy is read from its file, and without one there is one', async () => {
  const file = join(data, 'policy.yml')
  await writeFile(file, '# Ours\nimages: ["busybox:*"]\nlimits: { cpus: 0.5 }\n')
  expect(await readDeployPolicy(file, surroundings)).toMatchObject({
    images: [{ registry: 'docker.io', rest: 'library/busybox:*' }],
    limits: { cpus: 0.5 },
  })
  expect(await readDeployPolicy(undefined, surroundings)).toMatchObject({ mounts: [] })
})

test.each([
  ['image: [a]', 'policy.yml:1:1: image: unknown key: did you mean images?'],
  ['images: [a]\nimages: [b]', 'policy.yml:2:1: not YAML: the same key stands here twice'],
  ['images: ["${IMAGES}"]', 'policy.yml:1:10: images.0: no variables are filled in here'],
  ['mounts: [data]\nlimits: { cpus: none }', 'policy.yml:2:11: limits.cpus: expected a number'],
  ['', 'is empty: write {} for the defaults'],
  ['# images: [a]\n', 'is empty: write {} for the defaults'],
  ['- images', 'policy.yml:1:1: expected a map'],
])('a policy that says %j is told to be wrong, and where', async (text, message) => {
  const file = join(data, 'policy.yml')
  await writeFile(file, text)
  await expect(readDeployPolicy(file, surroundings)).rejects.toMatchObject({
    message: expect.stringContaining(message) as string,
    syscall: 'read',
  })
})

test('a policy that is not there is told by its file', async () => {
  const file = join(data, 'none.yml')
  await expect(readDeployPolicy(file, surroundings)).rejects.toThrow(`${file} is not there`)
})

test('while many are read again, others get their turn', async () => {
  for (let each = 0; each < 50; each += 1) await put(`f-${each}`, 'image: i')
  let turns = 0
  let isDone = false
  const count = () => {
    turns += 1
    if (!isDone) setImmediate(count)
  }
  const updating = catalog.update({ engineFolders: ['/elsewhere'] })
  setImmediate(count)
  await updating
  isDone = true
  expect(turns).toBeGreaterThanOrEqual(50)
  expect(catalog.list()).toHaveLength(50)
})

test.each([
  ['merged', 'x-a: &a { privileged: true }\n<<: *a'],
  ['merged among others', 'x-a: &a { init: true }\nx-b: &b { privileged: true }\n<<: [*a, *b]'],
  ['a key that is an alias', 'x-a: &key privileged\n*key : true'],
  ['a key with a tag', '!!str privileged: true'],
  ['of an older YAML', '%YAML 1.1\n---\nprivileged: yes'],
  ['an alias of what is passed over', 'x-a: &a true\nprivileged: *a'],
])('what is refused is refused however it is written: %s', async (_, written) => {
  await expect(put('a', `${written}\nimage: i\n`)).rejects.toMatchObject({
    code: 'definition_invalid',
    message: expect.stringMatching(/: privileged: .* a deployed function can't have it/) as string,
  })
})
