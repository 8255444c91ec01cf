import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

const SERVICE = 'test/**/*.service.test.ts';
const TIMED = 'test/**/*.timed.test.ts';
const LONG = 'test/**/*.long.test.ts';

// Timeouts only catch tests that hang: a slow machine takes longer.
const timeouts = { testTimeout: 180_000, hookTimeout: 180_000 };

/** Tests mirror `src/`. The suffix of a file says how it runs; see CONTRIBUTING.md. */
export default defineConfig({
  test: {
    coverage: {
      provider: 'v8',
      include: ['src/**/*.ts', 'workers/**/*.ts'],
      reporter: ['text-summary', 'html'],
    },
    projects: [
      {
        test: {
          ...timeouts,
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: [SERVICE, TIMED, LONG],
          // Pure tests leave nothing behind, so many files can share loaded modules.
          isolate: false,
          maxWorkers: availableParallelism(),
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          ...timeouts,
          name: 'service',
          include: [SERVICE],
          // Each file has its own Redis, key prefix, folder and ports. Half of its time is waiting
          // for processes and leases. Graph runs take every core, so a third file would only wait.
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
      // These measure milliseconds, which other files beside them would lengthen.
      {
        test: {
          ...timeouts,
          name: 'long',
          include: [LONG, 'test/workers/shares.service.test.ts'],
          env: { FINDERY_TEST_ALL: '1' },
          maxWorkers: 2,
          sequence: { groupOrder: 3 },
        },
      },
      { test: { ...timeouts, name: 'timed', include: [TIMED], maxWorkers: 1, sequence: { groupOrder: 2 } } },
    ],
  },
});
