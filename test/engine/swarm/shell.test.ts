import { expect, test } from 'vitest'
import { toShellsEnd } from '../../../src/engine/swarm/shell.ts'

/** Of the failure that is told; undefined: the end is the command's own. */
function findCode(exitCode: number, stderr: string): string | undefined {
  const end = { kind: 'exited', exitCode, oomKilled: false } as const
  const told = toShellsEnd('oneshot-i', end, stderr)
  return told?.kind === 'not_started' ? told.failure.code : undefined
}

test.each([
  [66, 'oneshot-i: no input\n', true],
  [66, 'oneshot-j: no input\n', false],
  [66, 'said before\noneshot-i: no input\n', false],
  [1, 'oneshot-i: no input\n', false],
])(
  'an input that the shell has not found shows: exit code %d, %j',
  (exitCode, stderr, isMissing) => {
    expect(findCode(exitCode, stderr)).toBe(isMissing ? 'mount_not_found' : undefined)
  },
)

// As busybox, dash and bash have it.
test.each([
  [127, 'oneshot-i: exec: line 0: nosuch: not found\n', true],
  [127, 'oneshot-i: 1: exec: nosuch: not found\n', true],
  [126, 'oneshot-i: line 1: /etc: Is a directory\noneshot-i: line 1: exec: /etc: cannot\n', true],
  [127, 'sh: nosuch: not found\n', false],
  [127, '', false],
  [1, 'oneshot-i: exec: line 0: nosuch: not found\n', false],
])(
  'a command that the shell finds impossible to run shows: %d, %j',
  (exitCode, stderr, isMissing) => {
    expect(findCode(exitCode, stderr)).toBe(isMissing ? 'command_not_found' : undefined)
  },
)
