import { defineConfig } from 'vitest/config'
import { createTally } from './test/tally.ts'

const tally = process.env['TEST_TALLY']

export default defineConfig({
  test: {
    reporters: tally === undefined ? ['default'] : ['default', createTally(tally)],
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['test/docker/**', 'test/program.test.ts'],
        },
      },
      {
        test: {
          name: 'docker',
          include: ['test/docker/**/*.test.ts', 'test/program.test.ts'],
          globalSetup: ['test/docker/leftovers.ts'],
          testTimeout: 60_000,
          hookTimeout: 120_000,
          // One engine serves them all, and two cores: files one after another keep timings honest.
          fileParallelism: false,
        },
      },
    ],
  },
})
