import type { TaskEnd } from '../../core/outcome.ts'
import type { Sink } from '../../core/task.ts'

/** Of the shell that hands an input on, by `exec`, so that signals reach the command. What the shell says itself begins with its name. */
const REDIRECT =
  'f=$1; shift; [ -r "$f" ] && exec "$@" <"$f"; printf "%s: no input\\n" "$0" >&2; exit 66'
const NO_INPUT = 66
const NO_COMMAND = 127
const NO_EXECUTABLE = 126
/** The longest of its messages that matter, with a name of ours and a path. */
const HEAD_CHARS = 200

/** Runs the arguments that follow, with the file at `path` as their stdin. `name` is known to nobody else. */
export function toShellCommand(name: string, path: string): string[] {
  return ['/bin/sh', '-c', REDIRECT, name, path]
}

/** Keeps the beginning of what goes to a sink. */
export function keepHead(sink: Sink): { readonly sink: Sink; text(): string } {
  let head = ''
  return {
    sink(chunk) {
      if (head.length < HEAD_CHARS) head += Buffer.from(chunk).toString('latin1', 0, HEAD_CHARS)
      return sink(chunk)
    },
    text: () => head,
  }
}

/**
 * How a task ended whose shell could not become the command: its node may have another volume of the spool's name, and
 * the image no such command. Undefined if the end is the command's own, as far as the beginning of its stderr tells.
 */
export function toShellsEnd(name: string, end: TaskEnd, stderr: string): TaskEnd | undefined {
  if (end.kind !== 'exited') return undefined
  const { exitCode } = end
  if (exitCode === NO_INPUT && stderr === `${name}: no input\n`) {
    const detail =
      "The task's node does not have the input in its spool volume, or the command's user can't read it there: all nodes must share the volume that ONESHOT_SPOOL_VOLUME names, and all users be let into it."
    return { kind: 'not_started', failure: { code: 'mount_not_found', detail } }
  }
  const isUnable = exitCode === NO_COMMAND || exitCode === NO_EXECUTABLE
  if (isUnable && stderr.startsWith(`${name}: `)) {
    const detail = `The command can't be run in this image: ${stderr.slice(name.length + 2).trim()}`
    return { kind: 'not_started', failure: { code: 'command_not_found', detail } }
  }
  return undefined
}
