import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { readCatalog } from '../src/bundles/catalog.ts';
import { readConfig } from '../src/config.ts';
import { Engine } from '../src/engine/engine.ts';
import { contactSheet } from '../src/figures/contact-sheet.ts';
import { renderSvg } from '../src/figures/render-svg.ts';
import { chooseModel, chooseTerms, resolveSampler } from '../src/jobs/choices.ts';
import { REPORT_DRAWS } from '../src/jobs/schemas/job.ts';
import { resolveOptimizer } from '../src/jobs/settings.ts';
import { STREAMS } from '../src/numerics/draw.ts';
import type { Law } from '../src/numerics/laws/law.ts';
import { sampleLaw } from '../src/numerics/laws/sample.ts';
import { findOptimizer } from '../src/numerics/optimizers/registry.ts';
import { mean, standardError } from '../src/numerics/statistics.ts';
import { encodePicture } from '../src/pictures/encode.ts';
import { thumbnailFeatures } from '../src/pictures/features.ts';
import { graphRewards, weighRewards } from '../src/rewards/weigh.ts';
import type { Generator } from '../src/search/generator.ts';
import { judgeLaw } from '../src/search/judge.ts';
import { runSearch } from '../src/search/run.ts';

/**
 * `npm run compare`: optimizers at equal budgets on the prompts below, each law judged on 32 fresh draws, the same for all.
 * Prints a table, and writes a contact sheet per prompt (the same 8 noises through N(0, I) and through each law).
 */
const PROMPTS = [
  'a green dog on the grass',
  'a dog and a cat',
  'a red book and a yellow vase',
  'a blue bird and a brown bear',
  'five red hearts in the snow',
  'a green pig above a yellow boat',
];

const { values } = parseArgs({
  options: {
    optimizers: { type: 'string', default: 'best-of-n,find,elites' },
    images: { type: 'string', default: '150' },
    seeds: { type: 'string', default: '1' },
    prompt: { type: 'string', multiple: true, default: PROMPTS },
    out: { type: 'string', default: 'compare-output' },
  },
});
const optimizers = values.optimizers.split(','); // name, or name:parameter=value:parameter=value
const seeds = values.seeds.split(',').map(Number);
const images = Number(values.images);

const config = readConfig(process.env);
const catalog = await readCatalog(config.modelFolders.filter((folder) => existsSync(folder)));
const model = chooseModel(catalog, undefined, '');
const terms = chooseTerms(catalog, model.defaults.reward ?? undefined, '');
const sampler = resolveSampler(model, {}, '');
const engine = await Engine.start({
  executionProviders: [...config.executionProviders],
  threads: config.threads,
  batchSize: config.batchSize,
});
const rewards = graphRewards(terms);
await engine.open(model, rewards, { warmUp: true });
await mkdir(values.out, { recursive: true });

console.log(
  `${model.name}, ${terms[0].reward.name}, ${images} images, ${sampler.scheduler} ${sampler.steps} steps, guidance ${sampler.guidanceScale}, seeds ${seeds.join(', ')}; 32 fresh draws\n`,
);
console.log('| prompt | seed | optimizer | base | learned | gain | success | diversity | norm | seconds |');
console.log('| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |');
const gains = new Map<string, number[]>(optimizers.map((name) => [name, []]));
for (const prompt of values.prompt) {
  const painter = await engine.painter({ model, rewards, prompt, negativePrompt: '', sampler });
  const generator = weighRewards(painter, terms, prompt);
  for (const seed of seeds) {
    const laws: { name: string; law: Law }[] = [];
    for (const name of optimizers) {
      const { name: definition, ...parameters } = resolveOptimizer(parseOptimizer(name));
      const problem = { shape: generator.shape, seed, budget: images, promptEmbedding: generator.promptEmbedding };
      const optimizer = findOptimizer(definition).create(problem, parameters as Record<string, number | boolean>);
      const budget = { images, seconds: null, targetReward: null, patience: null };
      const search = await runSearch({ optimizer, generator, budget, now: () => performance.now() });
      const law = optimizer.policy();
      const { report } = await judgeLaw({ law, generator, seed, features: thumbnailFeatures, draws: REPORT_DRAWS });
      laws.push({ name, law });
      gains.get(name)?.push(report.gain.mean);
      const estimate = ({ mean, standardError }: { mean: number; standardError: number }) =>
        `${mean.toFixed(3)} ± ${standardError.toFixed(3)}`;
      console.log(
        `| ${prompt} | ${seed} | ${name} | ${estimate(report.base)} | ${estimate(report.learned)} | ${estimate(report.gain)} | ${report.successRate.toFixed(2)} | ${report.diversityRatio?.toFixed(2)} | ${report.meanNorm.toFixed(3)} | ${search.seconds.toFixed(1)} |`,
      );
    }
    if (seed === seeds[0]) await writeSheet(prompt, generator, laws, seed);
  }
}
console.log('\n| optimizer | mean gain over prompts and seeds | standard error |\n| --- | --- | --- |');
for (const [name, values] of gains) {
  console.log(
    `| ${name} | ${mean(values).toFixed(3)} | ${values.length > 1 ? standardError(values).toFixed(3) : '-'} |`,
  );
}
console.log(`\nContact sheets: ${values.out}`);
await engine.close();

async function writeSheet(
  prompt: string,
  generator: Generator,
  laws: readonly { name: string; law: Law }[],
  seed: number,
): Promise<void> {
  const draws = Array.from({ length: 8 }, (_, index) => ({ seed: seed + 1_000_000, stream: STREAMS.samples, index }));
  const row = async (label: string, law: Law | null) => {
    const evaluations = await generator.evaluate(
      draws.map((draw) => (law ? { draw, noise: sampleLaw(law, draw) } : { draw })),
      { reward: true, pictures: true },
    );
    const pictures = await Promise.all(
      evaluations.map(async ({ picture, reward }) => {
        if (!picture) throw new Error('The engine gave no picture.');
        return { png: await encodePicture(picture, 'png'), caption: reward?.toFixed(2) ?? '' };
      }),
    );
    return { label, pictures };
  };
  const rows = [await row('base', null)];
  for (const { name, law } of laws) rows.push(await row(name, law));
  const svg = contactSheet({
    title: prompt,
    subtitle: `the same 8 noises through each law after ${images} images; rewards below`,
    rows,
  });
  await writeFile(join(values.out, `${prompt.replaceAll(' ', '-')}.png`), renderSvg(svg));
}

/** `elites:elites=6:perFounder=1` */
function parseOptimizer(text: string): { name: string; [parameter: string]: string | number | boolean } {
  const [name, ...parameters] = text.split(':');
  return {
    name,
    ...Object.fromEntries(
      parameters.map((parameter) => parameter.split('=')).map(([key, value]) => [key, JSON.parse(value)]),
    ),
  };
}
