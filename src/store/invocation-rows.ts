import type { Invocation } from '../core/invocation.ts'
import type { InputRow, InvocationRow, OutputRow } from './schema.ts'
import type { ListedInvocation, StoredInput, StoredOutput } from './store.ts'

/** All but what never changes, and may be long. */
type ChangingRow = Omit<InvocationRow, 'parameters' | 'environment' | 'group_key'>

export const CHANGING_COLUMNS: readonly (keyof ChangingRow)[] = [
  'id',
  'function_name',
  'state',
  'created_at',
  'due_at',
  'expires_at',
  'finished_at',
  'record',
]

export const COLUMNS: readonly (keyof InvocationRow)[] = [
  ...CHANGING_COLUMNS,
  'parameters',
  'group_key',
  'environment',
]

export function toRow(invocation: Invocation): InvocationRow {
  return {
    ...toChangingRow(invocation),
    parameters: JSON.stringify(invocation.parameters),
    group_key: invocation.group?.key ?? null,
    environment: invocation.environment ? JSON.stringify(invocation.environment) : null,
  }
}

export function toChangingRow(invocation: Invocation): ChangingRow {
  return {
    id: invocation.id,
    function_name: invocation.functionName,
    state: invocation.state,
    created_at: invocation.createdAt,
    // Whoever waits for a sync call runs it: it is none of the queue's.
    due_at: invocation.mode === 'async' ? invocation.dueAt : null,
    expires_at: invocation.expiresAt ?? null,
    finished_at: invocation.finishedAt ?? null,
    record: JSON.stringify({ ...invocation, parameters: undefined, environment: undefined }),
  }
}

export function toListed({ record }: Pick<InvocationRow, 'record'>): ListedInvocation {
  return JSON.parse(record) as ListedInvocation
}

export function toInvocation(
  row: Pick<InvocationRow, 'record' | 'parameters' | 'environment'>,
): Invocation {
  const parameters = JSON.parse(row.parameters) as Invocation['parameters']
  const environment = row.environment === null ? undefined : parseEnvironment(row.environment)
  return { ...toListed(row), parameters, ...(environment && { environment }) }
}

function parseEnvironment(text: string) {
  return JSON.parse(text) as NonNullable<Invocation['environment']>
}

export function toInputRow(invocationId: string, input: StoredInput): InputRow {
  return input.kind === 'inline'
    ? { invocation_id: invocationId, length: input.bytes.length, bytes: input.bytes }
    : { invocation_id: invocationId, length: input.length, bytes: null }
}

export function toInput({ bytes, length }: InputRow): StoredInput {
  return bytes ? { kind: 'inline', bytes } : { kind: 'file', length }
}

export function toOutputRow(invocationId: string, { frames, ...facts }: StoredOutput): OutputRow {
  return { invocation_id: invocationId, record: JSON.stringify(facts), frames: frames ?? null }
}

export function toOutput({ record, frames }: OutputRow): StoredOutput {
  return { ...(JSON.parse(record) as Omit<StoredOutput, 'frames'>), frames: frames ?? undefined }
}
