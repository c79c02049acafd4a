import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'

/** What there is of a lab on this machine. */
export interface Traces {
  readonly processes: ReadonlySet<string>
  /** Such as `net:[4026532281]`, those of its containers too. */
  readonly namespaces: ReadonlySet<string>
  readonly cgroups: readonly string[]
  readonly mounts: readonly string[]
}

/** Those of the lab in `folder`, and what is left of the `former` ones. */
export async function findTraces(folder: string, former?: Traces): Promise<Traces> {
  const name = folder.slice(folder.lastIndexOf('/') + 1)
  // Read from stdin, so that the search does not find itself.
  const search = 'grep -lasFf - /proc/[0-9]*/cmdline /proc/[0-9]*/cgroup; true'
  const named = new Set([...(await asRoot(search, name)).matchAll(/\d+/g)].map(([pid]) => pid))
  const held = await listNamespaces()
  const ours = new Set(held.get(String(process.pid)))
  const within = (pid: string) => (held.get(pid) ?? []).filter((it) => !ours.has(it))
  const own = new Set([...(former?.namespaces ?? []), ...[...named].flatMap(within)])
  const pids = [...held.keys()].filter((pid) => within(pid).some((it) => own.has(it)))
  const pinned = [...own].join('\n')
  const mounts = await asRoot('grep -hsFf - /proc/[0-9]*/mountinfo | sort -u', name)
  const pins = pinned && (await asRoot('grep -hsFf - /proc/[0-9]*/mountinfo | sort -u', pinned))
  const cgroups = await asRoot(`find /sys/fs/cgroup -type d -path '*/${name}*'`)
  return {
    processes: new Set([...named, ...pids]),
    namespaces: new Set(pids.flatMap(within)),
    cgroups: toLines(cgroups),
    mounts: toLines(mounts + pins),
  }
}

/** The network of this machine itself: its links and its rules, but for what its own engine's containers have while they run. */
export async function readNetwork(): Promise<ReadonlySet<string>> {
  const list = 'ls /sys/class/net; for it in filter nat mangle; do iptables -t $it -S; done'
  return new Set(toLines(await asRoot(list)).filter((line) => !/^veth[0-9a-f]{7}$/.test(line)))
}

async function listNamespaces(): Promise<Map<string, string[]>> {
  const found = await asRoot(
    String.raw`find /proc/[0-9]*/ns -mindepth 1 -printf '%p %l\n' 2>/dev/null; true`,
  )
  const held = new Map<string, string[]>()
  for (const line of toLines(found)) {
    const [path = '', namespace = ''] = line.split(' ')
    const pid = path.split('/')[2] ?? ''
    held.set(pid, [...(held.get(pid) ?? []), namespace])
  }
  return held
}

async function asRoot(shell: string, input = ''): Promise<string> {
  const words = process.getuid?.() === 0 ? ['sh', '-c', shell] : ['sudo', '-n', 'sh', '-c', shell]
  const child = spawn(words[0]!, words.slice(1), { stdio: ['pipe', 'pipe', 'inherit'] })
  child.stdin.end(input)
  const [output] = await Promise.all([text(child.stdout), once(child, 'close')])
  return output
}

const toLines = (output: string) => output.split('\n').filter((line) => line !== '')
