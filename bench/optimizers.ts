import { parseArgs } from 'node:util';
import { standardNormal } from '../src/numerics/normal.ts';
import { OPTIMIZERS } from '../src/numerics/optimizers/registry.ts';

/**
 * `npm run bench:optimizers`: processor time and memory of each optimizer, with a reward that costs
 * nothing. `--only gp --latents SDXL --budgets 10000` measures one optimizer on other budgets.
 */
const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    latents: { type: 'string' },
    budgets: { type: 'string', default: '150,500' },
  },
});
const SHAPES = { 'SD 1.5': [4, 64, 64], SDXL: [4, 128, 128] } as const;
const BUDGETS = values.budgets.split(',').map(Number);
/** Iterations, each `ask` and `tell`, over which the time at the end of a search is averaged. */
const LAST_STEPS = 20;
const PROMPT = standardNormal({ seed: 1, stream: 9, index: 0 }, 768);

console.log(
  '| optimizer | latents | images | ms a noise | ms of the last steps | MiB |\n' +
    '| --- | --- | --- | --- | --- | --- |',
);
for (const definition of OPTIMIZERS) {
  if (values.only && definition.name !== values.only) continue;
  for (const [model, shape] of Object.entries(SHAPES)) {
    if (values.latents && model !== values.latents) continue;
    for (const budget of BUDGETS) {
      const parameters = Object.fromEntries(
        Object.entries(definition.parameters).map(([name, parameter]) => [name, parameter.default]),
      );
      (globalThis as { gc?: () => void }).gc?.();
      const before = process.memoryUsage.rss();
      let peak = before;
      const optimizer = definition.create(
        { shape: [...shape], seed: 1, budget, promptEmbedding: PROMPT },
        parameters,
      );
      let spent = 0;
      let milliseconds = 0;
      const steps: number[] = [];
      while (spent < budget) {
        const began = process.cpuUsage();
        const proposals = optimizer.ask(Math.min(optimizer.batchSize(), budget - spent));
        let step = elapsed(began);
        // A linear reward, so that the search has a direction to follow.
        const rewards = proposals.map(
          ({ values: noise }) => noise.subarray(0, 64).reduce((sum, value) => sum + value, 0) / 8,
        );
        const again = process.cpuUsage();
        optimizer.tell(rewards);
        step += elapsed(again);
        steps.push(step);
        milliseconds += step;
        spent += proposals.length;
        peak = Math.max(peak, process.memoryUsage.rss());
      }
      optimizer.policy();
      const last = steps.slice(-LAST_STEPS);
      const lastMilliseconds = last.reduce((sum, step) => sum + step, 0) / last.length;
      const mebibytes = (peak - before) / 2 ** 20;
      console.log(
        `| ${definition.name} | ${model} | ${budget} | ${(milliseconds / budget).toFixed(1)} | ` +
          `${lastMilliseconds.toFixed(0)} | ${mebibytes.toFixed(0)} |`,
      );
    }
  }
}

/** Processor time of this process since then in milliseconds. Other programs do not count. */
function elapsed(since: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(since);
  return (user + system) / 1000;
}
