import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite'
import type { CompiledQuery, DatabaseConnection, Dialect, Driver, QueryResult } from 'kysely'
import { SqliteIntrospector, SqliteQueryCompiler } from 'kysely'

/** Above what the store has of its own; a query with a list of values has a text for each length. */
const MAX_STATEMENTS = 200

export interface SqliteDialectOptions {
  /** Closed with the dialect. */
  readonly database: DatabaseSync
  /** What a failed statement rejects with. */
  readonly toError: (error: unknown) => unknown
}

/** kysely over node:sqlite: one connection, which whoever has it keeps others from using. */
export function createSqliteDialect(options: SqliteDialectOptions): Dialect {
  return {
    createDriver: () => createDriver(options),
    createQueryCompiler: () => new SqliteQueryCompiler(),
    createIntrospector: (db) => new SqliteIntrospector(db),
    createAdapter: () => ({
      supportsCreateIfNotExists: true,
      // kysely's own dialect says no; SQLite rolls the making of a table back like anything else.
      supportsTransactionalDdl: true,
      supportsReturning: true,
      // The file is locked already.
      acquireMigrationLock: async () => {},
      releaseMigrationLock: async () => {},
    }),
  }
}

function createDriver({ database, toError }: SqliteDialectOptions): Driver {
  const statements = new Map<string, { statement: StatementSync; hasRows: boolean }>()
  let last = Promise.resolve()
  let release = () => {}

  function prepare(text: string) {
    const known = statements.get(text)
    if (known) return known
    const statement = database.prepare(text)
    const prepared = { statement, hasRows: statement.columns().length > 0 }
    if (statements.size < MAX_STATEMENTS) statements.set(text, prepared)
    return prepared
  }

  function run<R>(text: string, parameters: readonly unknown[] = []): QueryResult<R> {
    try {
      const { statement, hasRows } = prepare(text)
      const values = parameters as readonly SQLInputValue[]
      if (hasRows) return { rows: statement.all(...values) as R[] }
      return { rows: [], numAffectedRows: BigInt(statement.run(...values).changes) }
    } catch (error) {
      throw toError(error)
    }
  }

  const connection: DatabaseConnection = {
    executeQuery: async <R>({ sql, parameters }: CompiledQuery) => run<R>(sql, parameters),
    streamQuery() {
      throw new Error('rows are not streamed')
    },
  }

  return {
    async init() {},
    async acquireConnection() {
      const before = last
      const turn = Promise.withResolvers<void>()
      last = turn.promise
      await before
      release = turn.resolve
      return connection
    },
    async releaseConnection() {
      release()
    },
    async beginTransaction() {
      run('BEGIN')
    },
    async commitTransaction() {
      run('COMMIT')
    },
    async rollbackTransaction() {
      // SQLite has already rolled back by itself on a full disk, for one.
      if (database.isTransaction) run('ROLLBACK')
    },
    async destroy() {
      database.close()
    },
  }
}
