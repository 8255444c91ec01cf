import { parseArgs } from 'node:util';
import { STREAMS } from '../src/core/noise.ts';
import { sampleNoise } from '../src/numerics/distributions/sample.ts';
import { GaussianProcessSearch, gp } from '../src/numerics/optimizers/gp.ts';
import { mean, sampleStandardDeviation } from '../src/numerics/statistics.ts';
import { Landscape } from '../test/support/gp-landscape.ts';
import { defaultParameters, runSearch } from '../test/support/optimizers.ts';

/**
 * `npm run bench:gp-window`: what the window of `gp` costs. The reward of its learned distribution
 * on a Gaussian-process landscape, in standard deviations of N(0, I), by the number of points that
 * its lineages remember together.
 */
const { values } = parseArgs({
  options: {
    budget: { type: 'string', default: '500' },
    seeds: { type: 'string', default: '8' },
    points: { type: 'string', default: '100000,200,100,50' },
    dimension: { type: 'string', default: '2048' },
  },
});
const SAMPLES = 32;
const [budget, seeds, d] = [values.budget, values.seeds, values.dimension].map(Number);

console.log(`${budget} images, ${d} dimensions, ${seeds} landscapes\n`);
console.log('| points | reward | standard error |\n| --- | --- | --- |');
for (const points of values.points.split(',').map(Number)) {
  const rewards = Array.from({ length: seeds }, (_, i) => learnedReward(i + 1, points));
  const error = sampleStandardDeviation(rewards) / Math.sqrt(seeds);
  const name = points > budget ? 'all' : points;
  console.log(`| ${name} | ${mean(rewards).toFixed(2)} | ${error.toFixed(2)} |`);
}

/** Mean reward of fresh samples of what a search with this seed has learned. */
function learnedReward(seed: number, points: number): number {
  const landscape = new Landscape(seed);
  const problem = { shape: [d], seed, budget, promptEmbedding: Float32Array.of(1) };
  // The defaults of all parameters are numbers.
  const settings = defaultParameters(gp) as ConstructorParameters<typeof GaussianProcessSearch>[1];
  const optimizer = new GaussianProcessSearch(problem, settings, points);
  runSearch(optimizer, budget, (noise) => landscape.reward(noise));
  const distribution = optimizer.policy();
  return mean(
    Array.from({ length: SAMPLES }, (_, index) =>
      landscape.reward(sampleNoise(distribution, { seed, stream: STREAMS.report, index })),
    ),
  );
}
