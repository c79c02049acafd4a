import type { Report } from './shape.ts'
import type { Definition } from './definition.ts'
import type { VolumeEntry } from './volume.ts'
import type { Mount } from '../mount.ts'
import { absolutePath } from '../path.ts'

interface Folders {
  readonly folder: string
  readonly home: string
}

/** `~` is `home`, and what is relative starts at `folder`. */
export function toMounts(
  { volumes = [], tmpfs = [] }: Definition,
  surroundings: Folders,
  report: Report,
): Mount[] {
  const mounts = [
    ...volumes.map((entry, index) => [['volumes', index], toMount(entry, surroundings)] as const),
    ...tmpfs.map(({ target, size, mode }, index) => {
      const mount = toMount(
        { type: 'tmpfs', target, tmpfs: { ...(size && { size }), ...(mode && { mode }) } },
        surroundings,
      )
      return [['tmpfs', index], mount] as const
    }),
  ]
  const targets = new Set<string>()
  for (const [path, { target }] of mounts) {
    if (targets.has(target)) report(path, `expected one mount at ${target}, found another`)
    if (target === '/') report(path, "expected a path below /: the root is the image's")
    targets.add(target)
  }
  return mounts.map(([, mount]) => mount)
}

function toMount(entry: VolumeEntry, { folder, home }: Folders): Mount {
  const target = absolutePath(entry.target)
  const readOnly = entry.read_only ?? false
  if (entry.type === 'bind') {
    const { propagation, selinux, create_host_path: createHostPath = true } = entry.bind ?? {}
    const source = absolutePath(entry.source!.replace(/^~(?=\/|$)/, home), folder)
    return {
      type: 'bind',
      source,
      target,
      readOnly,
      createHostPath,
      ...(propagation !== undefined && { propagation }),
      ...(selinux !== undefined && { selinux }),
    }
  }
  if (entry.type === 'tmpfs') {
    const { size, mode } = entry.tmpfs ?? {}
    return {
      type: 'tmpfs',
      target,
      ...(size !== undefined && { sizeBytes: size }),
      ...(mode !== undefined && { mode }),
    }
  }
  const {
    nocopy = false,
    driver,
    driver_opts: driverOptions = {},
    labels = {},
  } = entry.volume ?? {}
  return {
    type: 'volume',
    target,
    readOnly,
    nocopy,
    driverOptions,
    labels,
    ...(entry.source !== undefined && { source: entry.source }),
    ...(driver !== undefined && { driver }),
  }
}
