import type { FunctionSpec } from './function.ts'

/** One JSON Schema property. */
export type ParameterSchema = Readonly<Record<string, unknown>>
export type ParameterValue = unknown
export declare function resolve(spec: FunctionSpec, values: Readonly<Record<string, ParameterValue>>): {
  command?: string[]; entrypoint?: string[]; environment: Record<string, string>
}
