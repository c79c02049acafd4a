import { statSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import type Docker from 'dockerode'
import { pack } from 'tar-stream'
import { OneshotError } from '../core/error.ts'
import type { ContainerSpec, FileReference } from '../core/function.ts'
import { isFileName } from '../core/path.ts'

export interface Files {
  /** Puts a container's secrets and configs into it, between its creation and its start. */
  copyInto(container: string, spec: ContainerSpec): Promise<void>
  /** Changes with the files that a container's secrets and configs are. */
  stamp(spec: ContainerSpec): string
}

export interface FilesDeps {
  readonly docker: Docker
  /** Where the files are that secrets and configs name. */
  readonly secretsFolder: string
  readonly configsFolder: string
}

/** As Docker itself has it for secrets. */
const MAX_FILE_BYTES = 500 * 1024

/**
 * Secrets and configs on a single engine, which has none of its own: files of the gateway's host, copied into the
 * container and removed with it. They are read at each call, so that a rotated secret is used at once.
 */
export function createFiles({ docker, secretsFolder, configsFolder }: FilesDeps): Files {
  return {
    stamp: ({ secrets, configs }) =>
      [
        ...secrets.map(({ source }) => join(secretsFolder, source)),
        ...configs.map(({ source }) => join(configsFolder, source)),
      ]
        .map(toMark)
        .join(),
    async copyInto(container, { secrets, configs, readOnly }) {
      const references = [
        ...secrets.map((reference) => ({ ...reference, kind: 'secret', folder: secretsFolder })),
        ...configs.map((reference) => ({ ...reference, kind: 'config', folder: configsFolder })),
      ]
      if (references.length === 0) return
      const files: { reference: FileReference; content: Buffer }[] = []
      for (const { kind, folder, ...reference } of references) {
        if (readOnly && folderOf(reference.target) === '') {
          const detail = `The ${kind} ${reference.source} has the target ${reference.target}: with read_only a target must be in a folder of its own, such as /run/${kind}s/${reference.source}.`
          throw new OneshotError('container_refused', detail)
        }
        files.push({ reference, content: await read(kind, folder, reference.source) })
      }
      // A read-only root takes no files, but the volumes made for their folders do, each asked for by itself.
      const roots = readOnly
        ? new Set(files.map(({ reference }) => folderOf(reference.target)))
        : new Set(['/'])
      for (const root of roots) {
        const inRoot = readOnly
          ? files.filter(({ reference }) => folderOf(reference.target) === root)
          : files
        await docker
          .getContainer(container)
          .putArchive(await toArchive(inRoot, root), { path: root })
      }
    },
  }
}

function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/'))
}

function toArchive(files: readonly { reference: FileReference; content: Buffer }[], root: string) {
  const archive = pack()
  for (const { reference, content } of files) {
    const { target, uid, gid, mode } = reference
    const name = root === '/' ? target.slice(1) : target.slice(root.length + 1)
    archive.entry({ name, uid, gid, mode }, content)
  }
  archive.finalize()
  return buffer(archive)
}

async function read(kind: string, folder: string, name: string): Promise<Buffer> {
  const missing = (cause?: unknown) =>
    new OneshotError(
      'container_refused',
      `The ${kind} "${name}" is not there: put a file of that name into ${folder} on the gateway's host.`,
      { cause },
    )
  // The name comes from a definition, and must not lead out of the folder.
  if (!isFileName(name)) throw missing()
  const file = await open(join(folder, name)).catch((error: unknown) => {
    throw missing(error)
  })
  try {
    const { size } = await file.stat()
    if (size > MAX_FILE_BYTES) {
      const detail = `The ${kind} "${name}" has ${size} bytes; at most ${MAX_FILE_BYTES} are allowed.`
      throw new OneshotError('container_refused', detail)
    }
    return await file.readFile()
  } finally {
    await file.close()
  }
}

/** Of a file that can't be looked at, why: the call that reads it tells. */
function toMark(path: string): string {
  try {
    const { ino, mtimeMs, size } = statSync(path)
    return `${ino}:${mtimeMs}:${size}`
  } catch (error) {
    return String((error as NodeJS.ErrnoException).code)
  }
}
