import type { Program } from '../program.ts'
import { eventually } from './containers.ts'

/** Waits until at least so many of a function's containers are armed. */
export async function whenArmed({ url }: Program, name: string, count = 1): Promise<void> {
  const sample = new RegExp(`^oneshot_armed\\{function="${name}"\\} (\\d+)$`, 'm')
  const ask = async () => {
    const metrics = await (await fetch(`${url}/metrics`)).text()
    return Number(sample.exec(metrics)?.[1] ?? 0)
  }
  await eventually(ask, (armed) => armed >= count)
}
