/**
 * What the tables hold. A row is a document, `record`, as JSON, with the columns that it is found by. Times are
 * milliseconds since the epoch; ids are UUIDv7, so that they sort by creation.
 */
export interface Schema {
  gateway: { id: string }
  invocation: InvocationRow
  invocation_label: { label: string; invocation_id: string }
  invocation_input: InputRow
  invocation_output: OutputRow
  idempotency_key: KeyRow
  delivery: DeliveryRow
  function_definition: FunctionRow
  hook_delivery: HookDeliveryRow
  schedule: ScheduleRow
}

export interface InvocationRow {
  id: string
  function_name: string
  state: string
  created_at: number
  due_at: number | null
  expires_at: number | null
  /** Null until it is settled. */
  finished_at: number | null
  /** Without the parameters and the environment. */
  record: string
  parameters: string
  /** Unfinished ones of a key that have no `due_at` wait for those before them. */
  group_key: string | null
  environment: string | null
}

export interface InputRow {
  invocation_id: string
  /** Null: they are in a file. */
  bytes: Uint8Array | null
  length: number
}

export interface OutputRow {
  invocation_id: string
  record: string
  /** Null: they are in a file. */
  frames: Uint8Array | null
}

export interface KeyRow {
  scope: string
  key: string
  fingerprint: string
  invocation_id: string
  created_at: number
}

export interface DeliveryRow {
  id: string
  invocation_id: string
  state: string
  created_at: number
  due_at: number
  /** Of its callback. */
  host: string
  record: string
}

export interface FunctionRow {
  name: string
  /** YAML, as it was sent. */
  source: string
  created_at: number
  updated_at: number
  /** Who deployed it. */
  updated_by: string
}

export interface HookDeliveryRow {
  id: string
  hook: string
  /** Null: it is not known by one. */
  delivery_key: string | null
  received_at: number
  record: string
  /** Null: it is not kept, or not any more. */
  body: Uint8Array | null
  body_bytes: number
}

export interface ScheduleRow {
  id: string
  /** Of its timing. */
  fingerprint: string
  /** No tick before it counts. */
  since: number
  last_tick: number | null
  last_invocation_id: string | null
}
