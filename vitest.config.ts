import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
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
          testTimeout: 60_000,
          hookTimeout: 120_000,
          // One engine serves them all, and two cores: files one after another keep timings honest.
          fileParallelism: false,
        },
      },
    ],
  },
})
