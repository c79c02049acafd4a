import { OneshotError } from '../core/error.ts'

/** SQLite's result codes, https://www.sqlite.org/rescode.html; the low byte of an extended one. */
const BUSY = 5
const FULL = 13
const UNUSABLE: Readonly<Record<number, string>> = {
  3: 'the system does not permit it',
  8: 'it can only be read',
  10: 'the disk fails to read or write',
  11: 'its database is damaged',
  14: 'its database can not be opened',
  26: 'its database is not one, or is damaged',
}
const LOW_BYTE = 0xff

/** What SQLite or the system says of the data folder, as what we refuse with; anything else as it is. */
export function toStoreError(error: unknown, folder: string): unknown {
  if (!(error instanceof Error) || error instanceof OneshotError) return error
  const { errcode, code, syscall } = error as Partial<
    Record<'errcode' | 'code' | 'syscall', unknown>
  >
  const result = typeof errcode === 'number' ? errcode & LOW_BYTE : undefined
  if (result === FULL || code === 'ENOSPC' || code === 'EDQUOT') return full(error)
  if (result === BUSY) return locked(folder, error)
  const reason = result === undefined ? undefined : UNUSABLE[result]
  if (reason !== undefined) return unusable(folder, `${reason} (${error.message})`, error)
  return syscall === undefined ? error : unusable(folder, error.message, error)
}

export function newerVersion(folder: string, migrations: readonly string[]): OneshotError {
  return new OneshotError(
    'data_unusable',
    `ONESHOT_DATA can't be used: ${folder} was written by a newer version of Oneshot: run that version, or name another folder. This one does not know ${migrations.join(', ')}.`,
  )
}

function full(cause: Error): OneshotError {
  return new OneshotError(
    'storage_full',
    "There is no room left for the gateway's data: free some on the disk of its data folder, then try again.",
    { cause },
  )
}

function locked(folder: string, cause: Error): OneshotError {
  return new OneshotError(
    'data_locked',
    `Another gateway is using the data folder ${folder}: end it, or give this one a folder of its own with ONESHOT_DATA.`,
    { cause },
  )
}

function unusable(folder: string, reason: string, cause: Error): OneshotError {
  return new OneshotError(
    'data_unusable',
    `ONESHOT_DATA can't be used: ${folder}: ${reason}. Put that right, restore the folder from a backup, or name another one.`,
    { cause },
  )
}
