import { existsSync } from 'node:fs';
import { readCatalog } from '../src/bundles/catalog.ts';
import { readConfig } from '../src/config/config.ts';
import { STREAMS } from '../src/core/noise.ts';
import { Engine } from '../src/engine/engine.ts';
import { chooseModel, resolveSampler } from '../src/jobs/resolve-bundles.ts';
import { quantile } from '../src/numerics/statistics.ts';
import { startPeer } from './peer.ts';

/**
 * `npm run bench:engine`: pictures of the embedded model by our engine against Python, onnxruntime on the same graphs and diffusers eager on the same
 * weights, in turns on one machine with one number of threads. FINDERY_BENCH_PYTHON names a Python that has them (bench/README.md),
 * FINDERY_BENCH_PIPELINE the diffusers folder of the model; without the second only onnxruntime is compared.
 */
const ROUNDS = 7;
const BATCHES = 3;
const python = process.env.FINDERY_BENCH_PYTHON;
const pipeline = process.env.FINDERY_BENCH_PIPELINE ?? null;
if (!python) {
  console.error(
    'FINDERY_BENCH_PYTHON is not set: name a Python with onnxruntime, torch, diffusers and transformers (tools/export/requirements.txt). `npm run bench engine` compares with a bare loop and needs none.',
  );
  process.exit(2);
}

const config = readConfig(process.env);
const { threads, batchSize, executionProviders } = config;
const catalog = await readCatalog(config.modelFolders.filter((folder) => existsSync(folder)));
const model = chooseModel(catalog, undefined, '');
const sampler = resolveSampler(model, { scheduler: 'dpmsolver++' }, '');
const images = BATCHES * batchSize;
const engine = await Engine.start({ executionProviders: [...executionProviders], threads, batchSize });
await engine.open(model, [], { warmUp: true });
const peer = startPeer(python);
const settings = {
  bundle: model.path,
  pipeline,
  threads,
  batch: batchSize,
  steps: sampler.steps,
  guidance: sampler.guidanceScale,
  latentShape: model.latentShape(sampler.width, sampler.height),
};
const { peers, ...versions } = (await peer.ask(settings)) as { peers: string[] };

const makers: { [name: string]: (round: number) => Promise<number> } = {
  findery: async (round) => {
    const began = performance.now();
    const request = {
      model,
      rewards: [],
      prompt: `a green dog number ${round}`,
      negativePrompt: '',
      sampler,
    };
    const pipeline = await engine.pipeline(request);
    const draws = Array.from({ length: images }, (_, index) => ({
      key: { seed: round, stream: STREAMS.samples, index },
    }));
    await pipeline.evaluate(draws, { scores: false, pictures: true });
    return (performance.now() - began) / 1000;
  },
};
for (const name of peers) {
  makers[name] = async (round) => {
    const answer = await peer.ask({ peer: name, images, prompt: `a green dog number ${round}`, seed: round });
    return (answer as { seconds: number }).seconds;
  };
}

const names = Object.keys(makers);
const seconds: { [name: string]: number }[] = [];
for (let round = 0; round <= ROUNDS; round++) {
  const times: { [name: string]: number } = {};
  // Who goes first changes from round to round; the first round warms up.
  for (let i = 0; i < names.length; i++) {
    const name = names[(round + i) % names.length];
    times[name] = await makers[name](round);
  }
  if (round > 0) seconds.push(times);
}
await engine.close();
peer.process.kill();

const median = (values: number[]) => quantile(values, 0.5);
console.log(
  `${images} images of ${model.name} a round in batches of ${batchSize}, ${sampler.steps} steps, guidance ${sampler.guidanceScale}, ${threads} threads; ${ROUNDS} rounds, seeds 1 to ${ROUNDS}; Python's ${JSON.stringify(versions)}\n`,
);
console.log(
  '| who | images/s, median | findery / it, median of the pairs (least to most) | target |\n| --- | --- | --- | --- |',
);
for (const name of names) {
  const speed = median(seconds.map((times) => images / times[name]));
  const ratios = seconds.map((times) => times[name] / times.findery);
  const spread = `${median(ratios).toFixed(3)} (${Math.min(...ratios).toFixed(3)} to ${Math.max(...ratios).toFixed(3)})`;
  const target = name === 'onnxruntime' ? '>= 1.0' : '> 1.0';
  console.log(
    `| ${name} | ${speed.toFixed(2)} | ${name === 'findery' ? '' : spread} | ${name === 'findery' ? '' : target} |`,
  );
}
process.exit(0);
