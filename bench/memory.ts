import { readFile, readdir } from 'node:fs/promises'
import { json } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { floodEcho, floodEnvelope, floodRaw, GIB, MIB, post } from '../test/flood.ts'
import { peakDuring, readResident } from '../test/resident.ts'
import { startArmedGateway } from './armed-gateway.ts'
import { createEngineClient } from './engine-client.ts'
import { startGateway } from './gateway.ts'
import { describeLoad, describeMachine } from './machine.ts'
import type { Target } from './table.ts'
import { report, toTable } from './table.ts'

const MAX_GROWTH_MIB = 96
/** How long the slow reader reads, and how long it pauses after each piece. */
const SLOW_MS = 20_000
const PAUSE_MS = 50
/** For the garbage of what went before. */
const SETTLE_MS = 2_000
const ARMED = 50

/** Something to have the gateway do; what it is measured at must not be a failure, so each checks its own end. */
type Load = (url: string) => Promise<void>

const loads: Readonly<Record<string, Load>> = {
  '1 GiB through echo, raw': async (url) => {
    const { bytes, exitCode } = await floodEcho(url, GIB)
    check(bytes === GIB, `echo gave back ${bytes} bytes`)
    check(exitCode === '0', `echo ended with ${exitCode}`)
  },
  'flood of 1 GiB, envelope': async (url) => {
    const { exitCode, truncated, stdout } = await floodEnvelope(url, GIB)
    check(exitCode === 0 && truncated, `flood ended with ${exitCode}, truncated ${truncated}`)
    check(stdout.length === MIB, `the envelope holds ${stdout.length} bytes`)
  },
  'flood of 1 GiB, raw, a slow reader': async (url) => {
    const response = await floodRaw(url, GIB)
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
  await using gateway = await startGateway({ env: { ONESHOT_TIMEOUT: '10m' } })
  await json(await post(`${gateway.url}/function/hello`))
  await sleep(SETTLE_MS)
  const idle = await readResident(gateway.pid)

  const targets: Target[] = [{ what: 'idle RSS, MiB', value: idle, atMost: 120 }]
  const rows: string[][] = [['idle, after one call', idle.toFixed(1), '', '']]
  for (const [name, load] of Object.entries(loads)) {
    const startedAt = performance.now()
    const { peakMiB } = await peakDuring(gateway.pid, () => load(gateway.url))
    const seconds = (performance.now() - startedAt) / 1000
    const growth = peakMiB - idle
    rows.push([name, peakMiB.toFixed(1), growth.toFixed(1), seconds.toFixed(1)])
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
  const rss = await readResident(pid)
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

function check(fact: boolean, complaint: string): void {
  if (!fact) throw new Error(complaint)
}

if (!(await main())) process.exitCode = 1
