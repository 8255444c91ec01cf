import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

/** They measure milliseconds of their own, which others beside them would lengthen: one at a time, last. */
const TIMED = [
  'test/service/api-follow.test.ts',
  'test/service/api-redis-away.test.ts',
  'test/service/engine.test.ts',
  'test/service/job-interruptions.test.ts',
  'test/service/rewards.test.ts',
  'test/service/webhooks-turns.test.ts',
  'test/service/webhooks.test.ts',
  'test/unit/rewards.test.ts',
];

const UNIT = ['test/unit/**/*.test.ts'];

// They only catch what hangs: a slow machine takes its time.
const patience = { testTimeout: 180_000, hookTimeout: 180_000 };

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          ...patience,
          name: 'unit',
          include: UNIT,
          exclude: TIMED,
          // Pure: they leave nothing behind that another file could meet, so that modules are loaded once for many files.
          isolate: false,
          maxWorkers: availableParallelism(),
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          ...patience,
          name: 'service',
          include: ['test/**/*.test.ts'],
          exclude: [...UNIT, ...TIMED],
          // Each has a Redis, a prefix, a folder and ports of its own. Half of their time is waiting for processes to start and leases to end,
          // so two at a time fill two cores; graph runs take every core that they can have, so more would only wait for each other.
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
      { test: { ...patience, name: 'timed', include: TIMED, maxWorkers: 1, sequence: { groupOrder: 2 } } },
    ],
  },
});
