import * as z from 'zod'
import { bytes, choice, flag, mode, pairs, text } from './scalar.ts'
import { listOf, mapping, oneOf, refuse } from './shape.ts'
import { parseBytes } from '../units.ts'

const propagations = ['private', 'rprivate', 'shared', 'rshared', 'slave', 'rslave'] as const
const volumeName = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/

const target = text.transform((value, context) =>
  value.startsWith('/')
    ? value
    : refuse(context, `expected an absolute path in the container, got ${JSON.stringify(value)}`),
)

const bind = mapping(
  {
    propagation: choice(...propagations).exactOptional(),
    create_host_path: flag.exactOptional(),
    selinux: choice('z', 'Z').exactOptional(),
  },
  { recursive: 'a bind always brings the mounts below it along' },
)

const volume = mapping(
  {
    nocopy: flag.exactOptional(),
    driver: text.exactOptional(),
    driver_opts: pairs.exactOptional(),
    labels: pairs.exactOptional(),
  },
  {
    subpath: 'only the whole of a volume can be mounted',
    external: 'a volume that is there already is used as it is',
  },
)

const tmpfsOptions = mapping({ size: bytes(1).exactOptional(), mode: mode.exactOptional() })

const longForm = mapping(
  {
    type: choice('volume', 'bind', 'tmpfs'),
    source: text.exactOptional(),
    target,
    read_only: flag.exactOptional(),
    bind: bind.exactOptional(),
    volume: volume.exactOptional(),
    tmpfs: tmpfsOptions.exactOptional(),
  },
  { consistency: 'it means nothing on Linux' },
)

export type VolumeEntry = z.output<typeof longForm>

const checkedLongForm = longForm.transform((entry, context): VolumeEntry => {
  for (const key of ['bind', 'volume', 'tmpfs'] as const) {
    if (entry[key] && entry.type !== key) {
      refuse(context, `is for mounts of type ${key}, not ${entry.type}`, { path: [key] })
    }
  }
  if (entry.type === 'bind' && entry.source === undefined) {
    refuse(context, 'expected a path of the host', { path: ['source'] })
  }
  if (entry.bind?.selinux && entry.bind.create_host_path === false) {
    refuse(context, 'goes together with create_host_path: true', { path: ['bind', 'selinux'] })
  }
  if (entry.type === 'volume' && !volumeName.test(entry.source ?? 'anonymous')) {
    refuse(context, "expected a volume's name: a path needs type: bind", { path: ['source'] })
  }
  if (entry.type === 'tmpfs' && entry.source !== undefined) {
    refuse(context, 'a tmpfs has no source', { path: ['source'] })
  }
  return entry
})

const shortForm = text.transform((value, context): VolumeEntry => {
  const parts = value.split(':')
  if (parts.length > 3) return refuse(context, 'expected SOURCE:TARGET or SOURCE:TARGET:OPTIONS')
  const [source, path, options] = parts.length === 1 ? [undefined, parts[0], undefined] : parts
  if (!path?.startsWith('/')) {
    return refuse(
      context,
      `expected an absolute path in the container, got ${JSON.stringify(path)}`,
    )
  }
  const isBind = source !== undefined && /^[./~]/.test(source)
  if (!isBind && source !== undefined && !volumeName.test(source)) {
    return refuse(
      context,
      `expected a volume's name or a path that starts with /, ./ or ~, got ${JSON.stringify(source)}`,
    )
  }
  const read = readOptions(options === undefined ? [] : options.split(','))
  if (read.unknown !== undefined) {
    return refuse(
      context,
      `expected options such as ro, rw, z, nocopy or rslave, got ${JSON.stringify(read.unknown)}`,
    )
  }
  const { read_only, nocopy, ...bindOptions } = read
  const isRefused = isBind ? nocopy : Object.keys(bindOptions).length > 0
  if (isRefused) return refuse(context, `${options} does not fit a ${isBind ? 'bind' : 'volume'}`)
  return {
    type: isBind ? 'bind' : 'volume',
    target: path,
    ...(source !== undefined && { source }),
    ...(read_only && { read_only }),
    ...(isBind && { bind: bindOptions }),
    ...(nocopy && { volume: { nocopy } }),
  }
})

interface ShortOptions {
  read_only?: true
  nocopy?: true
  selinux?: 'z' | 'Z'
  propagation?: (typeof propagations)[number]
  unknown?: string
}

function readOptions(options: readonly string[]): ShortOptions {
  const read: ShortOptions = {}
  for (const option of options) {
    const propagation = propagations.find((each) => each === option)
    if (propagation) read.propagation = propagation
    else if (option === 'ro') read.read_only = true
    else if (option === 'nocopy' || option === 'volume-nocopy') read.nocopy = true
    else if (option === 'z' || option === 'Z') read.selinux = option
    // The last three are for Docker Desktop, and mean nothing on Linux.
    else if (!['rw', 'cached', 'delegated', 'consistent'].includes(option)) read.unknown = option
  }
  return read
}

export const volumes = listOf(
  oneOf('SOURCE:TARGET or a map', { text: shortForm, map: checkedLongForm }),
  'a list of volumes',
)

interface TmpfsEntry {
  target: string
  size?: number
  mode?: number
}

/** What every tmpfs of the engine is anyway. */
const tmpfsDefaults = new Set(['rw', 'noexec', 'nosuid', 'nodev'])

const tmpfsEntry = text.transform((value, context): TmpfsEntry => {
  const at = value.indexOf(':')
  const path = at < 0 ? value : value.slice(0, at)
  const options = at < 0 ? [] : value.slice(at + 1).split(',')
  if (!path.startsWith('/')) return refuse(context, 'expected an absolute path in the container')
  const entry: TmpfsEntry = { target: path }
  for (const option of options) {
    const [key, given = ''] = option.split('=', 2) as [string, string?]
    const size = key === 'size' ? parseBytes(given) : undefined
    if (size) entry.size = size
    else if (key === 'mode' && /^[0-7]{3,5}$/.test(given)) {
      entry.mode = Number.parseInt(given, 8)
    } else if (!tmpfsDefaults.has(option)) {
      return refuse(
        context,
        `expected options such as size=64m or mode=1777, got ${JSON.stringify(option)}`,
      )
    }
  }
  return entry
})

export const tmpfs = oneOf('a path or a list of paths', {
  text: tmpfsEntry.transform((entry) => [entry]),
  list: z.array(tmpfsEntry),
})
