import { json } from 'node:stream/consumers'
import { beforeAll, expect, test } from 'vitest'
import { floodEcho, floodEnvelope, GIB, MIB, post } from '../flood.ts'
import type { Program } from '../program.ts'
import { startProgram } from '../program.ts'
import { peakDuring, readResident } from '../resident.ts'

const MAX_GROWTH_MIB = 96
/** Some 20 s each are usual on two busy cores. */
const PATIENCE_MS = 180_000

let program: Program
let idleMiB: number
beforeAll(async () => {
  program = await startProgram({ env: { ONESHOT_TIMEOUT: '3m' } })
  await json(await post(`${program.url}/function/hello`))
  idleMiB = await readResident(program.pid)
  return async () => {
    await program.stop()
  }
})

test(
  '1 GiB of input comes back whole, and the gateway holds little of it on its way',
  async () => {
    const flood = () => floodEcho(program.url, GIB)
    const { result, peakMiB } = await peakDuring(program.pid, flood)
    expect(result).toEqual({ bytes: GIB, exitCode: '0' })
    expect(peakMiB - idleMiB).toBeLessThan(MAX_GROWTH_MIB)
  },
  PATIENCE_MS,
)

test(
  '1 GiB of output makes a truncated envelope, and the gateway holds little of the rest',
  async () => {
    const flood = () => floodEnvelope(program.url, GIB)
    const { result, peakMiB } = await peakDuring(program.pid, flood)
    expect(result).toMatchObject({ state: 'succeeded', exitCode: 0, truncated: true })
    expect(result.stdout).toHaveLength(MIB)
    expect(peakMiB - idleMiB).toBeLessThan(MAX_GROWTH_MIB)
  },
  PATIENCE_MS,
)
