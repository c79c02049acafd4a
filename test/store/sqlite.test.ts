import { spawn } from 'node:child_process'
import { on, once } from 'node:events'
import { open, readdir, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { addSettled, end, ids, makeFolder, newInvocation, openStore } from './fixtures.ts'

const page = { limit: 100 }
const adder = fileURLToPath(new URL('adder.ts', import.meta.url))

const refusal = (code: string, detail: RegExp) =>
  expect.objectContaining({ code, message: expect.stringMatching(detail) })

test('what was written is there when it is opened again, under the same gateway', async () => {
  const folder = join(await makeFolder(), 'made/for/it')
  const store = await openStore(folder)
  const invocation = newInvocation()
  const ended = await addSettled(store, invocation)
  const input = { kind: 'inline', bytes: new Uint8Array(100_000).fill(7) } as const
  const waiting = newInvocation()
  await store.invocations.add(waiting, { durable: true, input })
  await store.close()
  expect(await readdir(folder)).toEqual(['oneshot.db'])

  const again = await openStore(folder)
  expect(again.gatewayId).toBe(store.gatewayId)
  const found = [waiting, ended].map(({ id }) => again.invocations.find(id))
  expect(await Promise.all(found)).toEqual([waiting, ended])
  expect(await again.invocations.findInput(waiting.id)).toEqual(input)
})

test('two folders are two gateways', async () => {
  const [one, other] = [await openStore(), await openStore()]
  expect(one.gatewayId).not.toBe(other.gatewayId)
})

test('close waits for what is being written; what is asked later rejects', async () => {
  const folder = await makeFolder()
  const store = await openStore(folder)
  const invocation = newInvocation()
  const added = store.invocations.add(invocation)
  await store.close()
  await added
  await expect(store.invocations.add(newInvocation())).rejects.toThrow('closed')
  await expect(store.invocations.find(invocation.id)).rejects.toThrow('destroyed')
  await store.close()
  const again = await openStore(folder)
  expect(await again.invocations.find(invocation.id)).toEqual(invocation)
})

test('a database of the first versions is taken over with its id', async () => {
  const folder = await makeFolder()
  const old = new DatabaseSync(join(folder, 'oneshot.db'))
  old.exec(`PRAGMA journal_mode = WAL; CREATE TABLE gateway (id TEXT NOT NULL);
    INSERT INTO gateway VALUES ('the-old-id')`)
  old.close()
  const store = await openStore(folder)
  expect(store.gatewayId).toBe('the-old-id')
  await addSettled(store, newInvocation())
})

test('a database of a newer version is refused, and left as it is', async () => {
  const folder = await makeFolder()
  await (await openStore(folder)).close()
  const file = new DatabaseSync(join(folder, 'oneshot.db'))
  file.exec("INSERT INTO kysely_migration VALUES ('9999-new', '2030-01-01T00:00:00.000Z')")
  file.close()
  const newer = refusal('data_unusable', /was written by a newer version of Oneshot: .*9999-new/)
  await expect(openStore(folder)).rejects.toEqual(newer)
  await expect(openStore(folder)).rejects.toEqual(newer)
})

test('a folder that another has open is refused, until it is closed', async () => {
  const folder = await makeFolder()
  const store = await openStore(folder)
  await expect(openStore(folder)).rejects.toEqual(
    refusal('data_locked', new RegExp(`Another gateway is using the data folder ${folder}`)),
  )
  await store.close()
  await openStore(folder)
})

test('a file that is no database is refused', async () => {
  const folder = await makeFolder()
  await writeFile(join(folder, 'oneshot.db'), 'not a database, '.repeat(1000))
  await expect(openStore(folder)).rejects.toEqual(refusal('data_unusable', new RegExp(folder)))
})

test('a database whose tables are damaged is refused', async () => {
  const folder = await makeFolder()
  await (await openStore(folder)).close()
  await overwrite(join(folder, 'oneshot.db'), 100, 4000)
  await expect(openStore(folder)).rejects.toEqual(refusal('data_unusable', /damaged/))
})

test('damage that shows later is told where it is met', async () => {
  const folder = await makeFolder()
  const store = await openStore(folder)
  for (let count = 0; count < 100; count++) await store.invocations.add(newInvocation())
  await store.close()
  const name = join(folder, 'oneshot.db')
  const file = new DatabaseSync(name)
  const rootPage = Number(
    file.prepare("SELECT rootpage FROM sqlite_schema WHERE name = 'invocation'").get()?.[
      'rootpage'
    ],
  )
  file.close()
  await overwrite(name, (rootPage - 1) * 4096, 4096)
  const again = await openStore(folder)
  await expect(again.invocations.list({}, page)).rejects.toEqual(
    refusal('data_unusable', /damaged/),
  )
  await expect(again.invocations.add(newInvocation())).rejects.toEqual(
    refusal('data_unusable', /damaged/),
  )
})

test('a file in place of the folder is refused', async () => {
  const folder = join(await makeFolder(), 'file')
  await writeFile(folder, '')
  await expect(openStore(folder)).rejects.toEqual(refusal('data_unusable', new RegExp(folder)))
  await expect(openStore(join(folder, 'below'))).rejects.toEqual(
    refusal('data_unusable', new RegExp(`ONESHOT_DATA .*${folder}/below`)),
  )
})

test('a folder in place of the database is refused', async () => {
  const folder = await makeFolder()
  await mkdir(join(folder, 'oneshot.db'))
  await expect(openStore(folder)).rejects.toEqual(refusal('data_unusable', /can not be opened/))
})

test('what it told as added is there after a SIGKILL', async () => {
  const folder = await makeFolder()
  const child = spawn(process.execPath, [adder, folder], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  const lines = createInterface(child.stdout)
  const told: string[] = []
  for await (const [line] of on(lines, 'line', { close: ['close'] })) {
    told.push(String(line))
    if (told.length === 300) child.kill('SIGKILL')
  }
  if (child.signalCode === null) await once(child, 'exit')
  expect(told.length).toBeGreaterThanOrEqual(300)

  const { invocations } = await openStore(folder)
  const stored = new Set(ids(await invocations.list({}, { limit: 1_000_000 })))
  expect(told.filter((id) => id.length === 36 && !stored.has(id))).toEqual([])
}, 30_000)

async function overwrite(name: string, offset: number, length: number): Promise<void> {
  const file = await open(name, 'r+')
  await file.write(Buffer.alloc(length, 0xee), 0, length, offset)
  await file.close()
}

test('what was removed takes up no room any more', async () => {
  const store = await openStore()
  const before = store.usedBytes()
  const invocation = newInvocation()
  await store.invocations.add(invocation)
  const frames = new Uint8Array(4 * 1024 * 1024)
  const facts = { stdoutBytes: 0, stderrBytes: 0, truncated: false }
  await store.invocations.settle(end(invocation), { frames, ...facts })
  expect(store.usedBytes() - before).toBeGreaterThan(frames.length)
  expect(await store.invocations.removeSettledBefore(3000, 10)).toEqual([invocation.id])
  expect(store.usedBytes() - before).toBeLessThan(frames.length / 10)
})
