import { v7 as newId } from 'uuid'
import { queued } from '../../src/core/invocation.ts'
import { openSqliteStore } from '../../src/store/sqlite.ts'

// Adds until it is killed, and tells the id of each that it has added.
const store = await openSqliteStore({ folder: process.argv[2] ?? '', newId })
for (;;) {
  await Promise.all(
    [true, false, false].map(async (durable) => {
      const id = newId()
      const added = queued({ id, functionName: 'echo', mode: 'async', callId: id }, Date.now())
      await store.invocations.add(added, { durable })
      process.stdout.write(`${id}\n`)
    }),
  )
}
