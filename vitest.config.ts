import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Service tests start processes and run graphs on all cores; one file at a time keeps their timings honest.
    fileParallelism: false,
    // They only catch what hangs: a slow machine takes its time.
    testTimeout: 180_000,
    hookTimeout: 180_000,
  },
});
