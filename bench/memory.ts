import { once } from 'node:events'
import { readFile, readdir, writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import type { IncomingMessage, RequestOptions } from 'node:http'
import { Readable } from 'node:stream'
import { json } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Envelope } from '../src/core/envelope.ts'
import { startProgram } from '../test/program.ts'
import { startArmedGateway } from './armed-gateway.ts'
import { createEngineClient } from './engine-client.ts'
import { describeLoad, describeMachine } from './machine.ts'
import type { Target } from './table.ts'
import { report, toTable } from './table.ts'

const MIB = 1024 ** 2
const GIB = 1024 ** 3
const MAX_GROWTH_MIB = 96
/** How long the slow reader reads, and how long it pauses after each piece. */
const SLOW_MS = 20_000
const PAUSE_MS = 50
/** For the garbage of what went before. */
const SETTLE_MS = 2_000
const ARMED = 50

const RAW = { Accept: 'application/octet-stream' }

/** Something to have the gateway do; what it is measured at must not be a failure, so each checks its own end. */
type Load = (url: string) => Promise<void>

const loads: Readonly<Record<string, Load>> = {
  '1 GiB through echo, raw': async (url) => {
    const response = await post(`${url}/function/echo`, { headers: RAW }, zeros(GIB))
    let bytes = 0
    for await (const chunk of response as AsyncIterable<Buffer>) bytes += chunk.length
    check(bytes === GIB, `echo gave back ${bytes} bytes`)
    const exitCode = response.trailers['x-oneshot-exit-code']
    check(exitCode === '0', `echo ended with ${exitCode}`)
  },
  'flood of 1 GiB, envelope': async (url) => {
    const response = await post(`${url}/function/flood?bytes=${GIB}`)
    const { exitCode, truncated, stdout } = (await json(response)) as Envelope
    check(exitCode === 0 && truncated, `flood ended with ${exitCode}, truncated ${truncated}`)
    check(stdout.length === MIB, `the envelope holds ${stdout.length} bytes`)
  },
  'flood of 1 GiB, raw, a slow reader': async (url) => {
    const response = await post(`${url}/function/flood?bytes=${GIB}`, { headers: RAW })
    const end = performance.now() + SLOW_MS
    for await (const chunk of response as AsyncIterable<Buffer>) {
      check(chunk.length > 0, 'nothing came')
      if (performance.now() > end) break
      await sleep(PAUSE_MS)
    }
    check(!response.readableEnded && performance.now() > end, 'the flood ended before its reader')
  },
}

async function main(): Promise<boolean> {
  console.log(`${await describeMachine(createEngineClient())}\nload ${describeLoad()}`)
  // The gallery's own functions; a slow machine may take longer for a GiB than they have by default.
  await using gateway = await startProgram({ env: { ONESHOT_TIMEOUT: '10m' } })
  await json(await post(`${gateway.url}/function/hello`))
  await sleep(SETTLE_MS)
  const idle = await readStatus(gateway.pid, 'VmRSS')

  const targets: Target[] = [{ what: 'idle RSS, MiB', value: idle, atMost: 120 }]
  const rows: string[][] = [['idle, after one call', idle.toFixed(1), '', '']]
  for (const [name, load] of Object.entries(loads)) {
    await resetPeak(gateway.pid)
    const startedAt = performance.now()
    await load(gateway.url)
    const seconds = (performance.now() - startedAt) / 1000
    const peak = await readStatus(gateway.pid, 'VmHWM')
    const growth = peak - idle
    rows.push([name, peak.toFixed(1), growth.toFixed(1), seconds.toFixed(1)])
    targets.push({ what: `${name}, MiB over idle`, value: growth, atMost: MAX_GROWTH_MIB })
    await sleep(SETTLE_MS)
  }
  const armed = await measureArmed()
  targets.push(...armed.targets)
  rows.push(...armed.rows)
  console.log(`\n${toTable(['the gateway', 'peak RSS, MiB', 'over idle', 's'], rows)}\n`)
  return report(targets)
}

/** A gateway that keeps many containers ready, and what they cost the engine. */
async function measureArmed(): Promise<{ rows: string[][]; targets: Target[] }> {
  await using gateway = await startArmedGateway(ARMED)
  const { pid } = gateway.program
  await sleep(SETTLE_MS)
  await gateway.armed(ARMED, SETTLE_MS)
  await gateway.call()
  await gateway.armed(ARMED, SETTLE_MS)
  const rss = await readStatus(pid, 'VmRSS')
  const shims = await readShims()
  const each = shims.rssMiB / shims.count
  return {
    rows: [
      [`${ARMED} containers armed`, rss.toFixed(1), '', ''],
      [`the engine's shim of each, proportional`, each.toFixed(1), '', ''],
    ],
    targets: [{ what: `RSS with ${ARMED} armed, MiB`, value: rss, atMost: 150 }],
  }
}

/** The processes that look after containers. What they share is shared out among them. */
async function readShims(): Promise<{ count: number; rssMiB: number }> {
  const shims = { count: 0, rssMiB: 0 }
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const command = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')
    if (!command.startsWith('containerd-shim')) continue
    const rollup = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => '')
    const [, kilobytes] = /^Pss:\s+(\d+) kB/m.exec(rollup) ?? []
    if (kilobytes === undefined) continue
    shims.count += 1
    shims.rssMiB += Number(kilobytes) / 1024
  }
  return shims
}

async function post(
  url: string,
  options: RequestOptions = {},
  body?: Readable,
): Promise<IncomingMessage> {
  const outgoing = request(url, { method: 'POST', ...options })
  // The answer begins while the body is still on its way; should that fail, the answer breaks off.
  if (body) pipeline(body, outgoing).catch(() => {})
  else outgoing.end()
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  check(response.statusCode === 200, `${url} answered ${response.statusCode}`)
  return response
}

function zeros(bytes: number): Readable {
  const piece = Buffer.alloc(64 * 1024)
  return Readable.from(Array.from({ length: bytes / piece.length }, () => piece))
}

/** From /proc, in MiB. */
async function readStatus(pid: number, field: 'VmRSS' | 'VmHWM'): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) / 1024
}

/** VmHWM starts again from what is in use now: see proc_pid_clear_refs(5). */
function resetPeak(pid: number): Promise<void> {
  return writeFile(`/proc/${pid}/clear_refs`, '5')
}

function check(fact: boolean, complaint: string): void {
  if (!fact) throw new Error(complaint)
}

if (!(await main())) process.exitCode = 1
