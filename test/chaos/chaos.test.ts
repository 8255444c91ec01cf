import { expect, it } from 'vitest';
import { runChaos } from './chaos.ts';

/** A short round of `npm run chaos`. CHAOS_SEED sets another seed. */
it('loses nothing and ends nothing twice while its processes, its Redis and its disk fail', {
  timeout: 240_000,
}, async () => {
  const seed = Number(process.env.CHAOS_SEED ?? 54);
  const lines: string[] = [`chaos of seed ${seed}`];
  const { wrong } = await runChaos({ rounds: 6, jobs: 5, seed, say: (line) => lines.push(line) });
  expect(wrong, lines.join('\n')).toEqual([]);
});
