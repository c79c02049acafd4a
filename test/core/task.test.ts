import { expect, test } from 'vitest'
import { queued } from '../../src/core/invocation.ts'
import { toTask } from '../../src/core/task.ts'
import { functionSpec } from '../function-spec.ts'

const call = { id: 'id', functionName: 'test', mode: 'sync', callId: 'call' } as const

function environmentOf(spec: ReturnType<typeof functionSpec>) {
  return toTask(spec, queued(call, 0)).container.environment
}

test('a command that reads its input from a file is told its name', () => {
  expect(environmentOf(functionSpec({ input: 'file' }))).toEqual({
    ONESHOT_INVOCATION_ID: 'id',
    ONESHOT_FUNCTION: 'test',
    ONESHOT_ATTEMPT: '1',
    ONESHOT_INPUT_FILE: '/dev/stdin',
  })
})

test('a command that reads stdin is told of no file', () => {
  expect(environmentOf(functionSpec())).not.toHaveProperty('ONESHOT_INPUT_FILE')
})
