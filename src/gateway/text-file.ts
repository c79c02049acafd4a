import { readFile, stat } from 'node:fs/promises'

export type TextFile =
  | { readonly text: string }
  | { readonly reason: string; readonly isMissing: boolean }

const MAX_BYTES = 1024 * 1024
const reasons: Readonly<Record<string, string>> = {
  ENOENT: 'is not there',
  EACCES: 'may not be read by the gateway',
  ERR_ENCODING_INVALID_ENCODED_DATA: 'is not UTF-8',
}

/** Reads a small file. A pipe or a device, which may never end, is not read; why not comes after the file's name. */
export async function readTextFile(path: string): Promise<TextFile> {
  try {
    const found = await stat(path)
    if (!found.isFile()) return { reason: 'is not a regular file', isMissing: false }
    if (found.size > MAX_BYTES) return { reason: 'is longer than 1 MiB', isMissing: false }
    return { text: new TextDecoder('utf-8', { fatal: true }).decode(await readFile(path)) }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === undefined) throw error
    return { reason: reasons[code] ?? `can't be read (${code})`, isMissing: code === 'ENOENT' }
  }
}
