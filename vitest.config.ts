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
          exclude: ['test/docker/**', 'test/contract/**', 'test/swarm/**', 'test/program.test.ts'],
        },
      },
      {
        test: {
          name: 'docker',
          include: [
            'test/docker/**/*.test.ts',
            'test/contract/**/*.test.ts',
            'test/program.test.ts',
          ],
          globalSetup: ['test/docker/leftovers.ts'],
          testTimeout: 60_000,
          hookTimeout: 120_000,
          // One engine serves them all, and two cores: files one after another keep timings honest.
          fileParallelism: false,
        },
      },
      {
        test: {
          // What holds whatever runs the calls, once more, and what only a swarm has: on one of one node.
          name: 'swarm',
          include: ['test/contract/**/*.test.ts', 'test/swarm/**/*.test.ts'],
          globalSetup: ['test/contract/one-node-swarm.ts'],
          setupFiles: ['test/contract/on-swarm.ts'],
          testTimeout: 60_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
    ],
  },
})
