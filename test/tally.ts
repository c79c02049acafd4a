import { writeFileSync } from 'node:fs'
import type { Reporter, TestCase, TestModule } from 'vitest/node'

/**
 * A reporter that writes one line to `file`: how many tests passed and how many failed, with a blank between. What
 * went wrong outside of any test counts as one failed, and so does a test that was skipped for no given reason.
 */
export function createTally(file: string): Reporter {
  return {
    onTestRunEnd(modules, unhandled) {
      const tests = modules.flatMap((module) => [...module.children.allTests()])
      const skipped = tests.filter((test) => test.result().state === 'skipped')
      for (const test of skipped) {
        console.log(
          `skipped: ${test.fullName} (${reasonOf(test) ?? 'no reason given: counts as failed'})`,
        )
      }
      const passed = tests.filter((test) => test.result().state === 'passed')
      const failed =
        tests.length -
        passed.length -
        skipped.filter((test) => reasonOf(test) !== undefined).length +
        modules.filter(brokeOutsideOfTests).length +
        unhandled.length
      writeFileSync(file, `${passed.length} ${failed}\n`)
    },
  }
}

function reasonOf(test: TestCase): string | undefined {
  const result = test.result()
  return result.state === 'skipped' ? result.note : undefined
}

/** An import that failed, a hook that threw: every suite's own errors, and files that never came to their tests. */
function brokeOutsideOfTests(module: TestModule): boolean {
  const suites = [...module.children.allSuites()]
  return module.errors().length > 0 || suites.some((suite) => suite.errors().length > 0)
}
