import type { Sink } from '../core/task.ts'

/**
 * Holds a container's command back until its call comes. The first line on stdin is a nonce; the second sets the
 * environment and the arguments. Then the command runs with the rest of stdin as its own, and behind the last byte of
 * each stream stands how it ended. On both streams, because they travel apart: either may be ahead of the other.
 *
 * Three processes, because a shell that runs a command does not hear signals, and one that hears them can't be sure of
 * an exit code: `wait`, once a trap has ended it early, may have lost it. The first hands signals on: a container's
 * first process ignores those that it has no trap for, and it finds the third as the second's only child. The second
 * waits for the third and reports. The third reads the call and becomes the command, so that a call costs no fork;
 * `exec` runs no builtin of the shell's. None of their variables is exported.
 *
 * With a number behind the nonce the second lingers for so many seconds once it has reported, since a container's end
 * takes the engine many times what a call does; not if a signal has come, or may be what ended the command: then the
 * engine is asked.
 */
const SCRIPT = `IFS=' ' read -r oneshot_nonce oneshot_linger || exit 0
exec 3<&0 4>&2 0</dev/null 2>/dev/null
oneshot_pid=
oneshot_early=
oneshot_hand_on() {
  if [ -z "$oneshot_pid" ]; then
    oneshot_early=$1
    return
  fi
  for oneshot_try in 1 2 3 4 5; do
    for oneshot_stat in /proc/[0-9]*/stat; do
      read -r oneshot_line <"$oneshot_stat" || continue
      oneshot_line=\${oneshot_line##*) ? }
      [ "\${oneshot_line%% *}" = "$oneshot_pid" ] || continue
      oneshot_stat=\${oneshot_stat%/stat}
      kill "-$1" "$oneshot_pid" "\${oneshot_stat#/proc/}"
      return
    done
  done
}
oneshot_tell() {
  echo "$oneshot_nonce:$1"
  echo "$oneshot_nonce:$1" >&4
}
oneshot_become() {
  IFS= read -r oneshot_line || {
    oneshot_tell idle
    exit 0
  }
  oneshot_n='
'
  eval "$oneshot_line"
  oneshot_file=
  case $1 in
  */*) oneshot_file=$1 ;;
  *)
    oneshot_path=$PATH:
    while [ -n "$oneshot_path" ]; do
      oneshot_file=\${oneshot_path%%:*}
      oneshot_file=\${oneshot_file:-.}/$1
      oneshot_path=\${oneshot_path#*:}
      [ -f "$oneshot_file" ] && [ -x "$oneshot_file" ] && break
    done
    ;;
  esac
  if [ -f "$oneshot_file" ] && [ -x "$oneshot_file" ]; then
    exec "$@" 2>&4 4>&-
  fi
  oneshot_tell none
  exit 127
}
for oneshot_signal in HUP USR1 USR2 TERM; do
  trap "oneshot_hand_on $oneshot_signal" "$oneshot_signal"
done
(
  trap 'oneshot_linger=' HUP USR1 USR2 TERM
  (oneshot_become) <&3 3<&-
  oneshot_code=$?
  oneshot_tell "$oneshot_code"
  case $oneshot_code in
  137 | 143) ;;
  *) [ -z "$oneshot_linger" ] || sleep "$oneshot_linger" ;;
  esac
  exit "$oneshot_code"
) &
oneshot_pid=$!
[ -z "$oneshot_early" ] || oneshot_hand_on "$oneshot_early"
exec 3<&-
wait "$oneshot_pid"
oneshot_code=$?
while kill -0 "$oneshot_pid"; do
  wait "$oneshot_pid"
  oneshot_code=$?
done
exit "$oneshot_code"
`

/** For a container whose command is to be held back, in place of its own entrypoint and command. */
export const GATE: readonly string[] = ['/bin/sh', '-c', SCRIPT, 'oneshot']

/** How many processes it is besides the command. */
export const GATE_PROCESSES = 2

/** What shells put into the environment of what they run, unless it was there. */
export const SHELL_VARIABLES = ['PWD', 'OLDPWD', 'SHLVL', '_']
/** What some shell takes from the environment that it was given, or overwrites, but leaves if it is set. */
export const SHELL_SETTINGS = ['IFS', 'PS1', 'PS2', 'PS4']
/** What some shell lets nobody set, or sets as it likes: bash above all, which is some images' /bin/sh. */
const SHELL_OWN = new Set(
  [
    'COMP_WORDBREAKS DIRSTACK EPOCHREALTIME EPOCHSECONDS EUID FUNCNAME GROUPS HISTCMD LINENO OPTERR OPTIND',
    'PIPESTATUS POSIXLY_CORRECT PPID RANDOM SECONDS SHELLOPTS SRANDOM UID _',
  ].flatMap((names) => names.split(' ')),
)
const BASH_OWN = /^BASH(?!_ENV$)/
/** What the gate's own variables begin with. */
const OWN = 'oneshot_'
const IDENTIFIER = /^[A-Za-z_][A-Za-z0-9_]*$/
/** Signals that a shell can hand on to a command in its background; it has it ignore the others. */
const SIGNALS = new Set(['HUP', 'USR1', 'USR2', 'TERM', 'KILL'])

export interface GatedCall {
  /** All of it, the image's part included. */
  readonly environment: Readonly<Record<string, string>>
  /** Not empty. */
  readonly argv: readonly string[]
  /** Whether bytes for the command's stdin follow. If none do, it is /dev/null, and the connection need not be closed before the end. */
  readonly hasInput: boolean
}

/** Why these can't pass the gate, for people; undefined if they can. */
export function findHindrance(
  { environment, argv }: Omit<GatedCall, 'hasInput'>,
  stopSignal: string | undefined,
): string | undefined {
  if (argv.length === 0) return 'there is no command, neither in the definition nor in the image'
  if (argv[0]?.startsWith('-')) return `the command "${argv[0]}" begins with a hyphen`
  const name = Object.keys(environment).find((key) => !isSettable(key))
  if (name !== undefined) return `the gate can't set the environment variable "${name}"`
  const signal = stopSignal?.replace(/^SIG/, '')
  if (signal !== undefined && !SIGNALS.has(signal)) {
    return `its stop signal ${stopSignal} can't be handed on by a shell`
  }
  return undefined
}

function isSettable(name: string): boolean {
  return (
    IDENTIFIER.test(name) && !name.startsWith(OWN) && !SHELL_OWN.has(name) && !BASH_OWN.test(name)
  )
}

/**
 * The first line: what the gate signs its report with, made for one container alone and so for one call, and for how
 * long its container is then to outlast it. Where `sleep` knows whole seconds only, it does not.
 */
export function toNonceLine(nonce: string, lingerMs = 0): string {
  return lingerMs > 0 ? `${nonce} ${lingerMs / 1000}\n` : `${nonce}\n`
}

/** The second line, which opens the gate. No value can become code: each is one quoted word. */
export function toCallLine({ environment, argv, hasInput }: GatedCall): string {
  const absent = SHELL_VARIABLES.filter((name) => !(name in environment))
  const variables = Object.entries(environment).map(([name, value]) => `${name}=${quote(value)}`)
  const statements = [
    ...(hasInput ? [] : ['exec </dev/null']),
    ...(absent.length > 0 ? [`unset ${absent.join(' ')}`] : []),
    ...(variables.length > 0 ? [`export ${variables.join(' ')}`] : []),
    `set -- ${argv.map(quote).join(' ')}`,
  ]
  return `${statements.join(';')}\n`
}

/** Within single quotes all is literal but the quote itself; a newline would end the line. */
function quote(value: string): string {
  return `'${value.replaceAll("'", `'\\''`).replaceAll('\n', `'"$oneshot_n"'`)}'`
}

/**
 * What the gate says of the command: its exit code (128 + n: signal n), or that there is none of that name, or that no
 * call had come, or not all of its line, when stdin ended.
 */
export type GateReport = number | 'not_found' | 'never_ran'

export interface Trailed {
  /** Takes the stream up to its trailer and drops what comes after. */
  readonly write: Sink
  /**
   * The stream has ended. Hands on what was held back in case it was the trailer's beginning, unless it is one that
   * lacks nothing but its newline: an engine's log may have lost that.
   */
  flush(): void | Promise<void>
  /** Undefined until the trailer is in. */
  report(): GateReport | undefined
}

/** Parts a stream from the trailer that only the gate can have written, since only it knows the nonce. */
export function createTrailed(nonce: string, sink: Sink): Trailed {
  const mark = Buffer.from(`${nonce}:`)
  /** Longest first: a mark and what follows it up to the newline. */
  const maxHeld = mark.length + 'none\n'.length
  let held = Buffer.alloc(0)
  let report: GateReport | undefined

  function write(chunk: Uint8Array): void | Promise<void> {
    if (report !== undefined) return undefined
    const bytes =
      held.length > 0
        ? Buffer.concat([held, chunk])
        : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length)
    const at = findMark(bytes, mark)
    const rest = bytes.subarray(at)
    const end = rest.indexOf('\n')
    if (rest.length > mark.length && end >= 0) {
      report = toReport(rest.subarray(mark.length, end).toString('latin1'))
      held = Buffer.alloc(0)
    } else {
      // Copied, lest it keep alive the whole of what was read with it.
      held = Buffer.from(rest)
    }
    if (held.length > maxHeld) throw new Error('the gate has told no exit code')
    return at > 0 ? sink(bytes.subarray(0, at)) : undefined
  }

  return {
    write,
    flush() {
      const rest = held
      held = Buffer.alloc(0)
      const text = rest.subarray(mark.length).toString('latin1')
      if (REPORT.test(text)) {
        report = toReport(text)
        return undefined
      }
      return rest.length > 0 ? sink(rest) : undefined
    },
    report: () => report,
  }
}

/** Where the mark begins, or what may become it, or the end. */
function findMark(bytes: Buffer, mark: Buffer): number {
  const at = bytes.indexOf(mark)
  if (at >= 0) return at
  for (let start = Math.max(0, bytes.length - mark.length + 1); start < bytes.length; start += 1) {
    if (bytes.compare(mark, 0, bytes.length - start, start) === 0) return start
  }
  return bytes.length
}

const REPORT = /^(\d{1,3}|none|idle)$/

function toReport(text: string): GateReport {
  if (text === 'none') return 'not_found'
  return text === 'idle' ? 'never_ran' : Number(text)
}
