import type { Compilable, QueryResult, Transaction } from 'kysely'
import type { Schema } from './schema.ts'

/** Stands for the value of this column of the row that a statement is run with. */
class Placeholder {
  readonly column: string

  constructor(column: string) {
    this.column = column
  }
}

/** Runs a statement with the values of `row`. */
export type Statement<Row> = (
  transaction: Transaction<Schema>,
  row: Row,
) => Promise<QueryResult<unknown>>

/**
 * A statement of every call, compiled once: to build and compile it takes several times as long as to run it.
 * `build` gets, for each column of `Row`, what stands for its value.
 */
export function toStatement<Row extends object>(
  columns: readonly (keyof Row & string)[],
  build: (row: Row) => Compilable,
): Statement<Row> {
  const placeholders = columns.map((column) => [column, new Placeholder(column)] as const)
  const compiled = build(Object.fromEntries(placeholders) as Row).compile()
  return (transaction, row) => {
    const values = new Map<string, unknown>(Object.entries(row))
    const toValue = (it: unknown) => (it instanceof Placeholder ? values.get(it.column) : it)
    return transaction.executeQuery({ ...compiled, parameters: compiled.parameters.map(toValue) })
  }
}
