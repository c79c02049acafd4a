import type { Logger } from 'pino'
import type { CatalogEvent } from './catalog.ts'
import { showProblem } from './definition.ts'

/** Tells of a function that has come, changed or gone. */
export function logChange(logger: Logger, event: CatalogEvent): void {
  switch (event.type) {
    case 'changed': {
      const { name, state, warnings } = event.entry
      if (event.entry.state === 'ready') {
        logger.info({ function: name, warnings }, 'function ready')
      } else {
        const problems = event.entry.problems.map(showProblem)
        logger.warn({ function: name, state, problems, warnings }, 'function broken')
      }
      break
    }
    case 'removed':
      logger.info({ function: event.name }, 'function removed')
      break
    case 'unreadable':
      logger.warn(
        { err: event.error },
        'the folder of functions cannot be read; what is known of it holds',
      )
      break
  }
}
