import { readFile, writeFile } from 'node:fs/promises'

/** A process's resident memory now, in MiB. Linux only, like all here. */
export function readResident(pid: number): Promise<number> {
  return readStatus(pid, 'VmRSS')
}

/** What `work` came to, and the most that was resident at any moment of it, in MiB: the kernel's account, no samples. */
export async function peakDuring<T>(
  pid: number,
  work: () => Promise<T>,
): Promise<{ result: T; peakMiB: number }> {
  // VmHWM starts again from what is in use now: see proc_pid_clear_refs(5).
  await writeFile(`/proc/${pid}/clear_refs`, '5')
  const result = await work()
  return { result, peakMiB: await readStatus(pid, 'VmHWM') }
}

async function readStatus(pid: number, field: 'VmRSS' | 'VmHWM'): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) / 1024
}
