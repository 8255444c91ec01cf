import { existsSync } from 'node:fs';
import { readCatalog } from '../src/bundles/catalog.ts';
import { readConfig } from '../src/config/config.ts';
import { STREAMS } from '../src/core/noise.ts';
import { Engine } from '../src/engine/engine.ts';
import { chooseModel } from '../src/jobs/choose-bundles.ts';
import { resolveSampler } from '../src/jobs/resolve-sampler.ts';
import { quantile } from '../src/numerics/statistics.ts';
import { startPeer } from './peer.ts';

/**
 * `npm run bench:engine`: compares the engine with Python on the embedded model: with onnxruntime
 * on the same graphs, and with diffusers (eager PyTorch) on the same weights. All run in
 * alternation on one machine with the same number of threads. FINDERY_BENCH_PYTHON names the Python
 * (bench/README.md). FINDERY_BENCH_PIPELINE names the diffusers folder of the model; without it
 * only onnxruntime is compared.
 */
const ROUNDS = 7;
const BATCHES = 3;
const python = process.env.FINDERY_BENCH_PYTHON;
const pipeline = process.env.FINDERY_BENCH_PIPELINE ?? null;
if (!python) {
  console.error(
    'FINDERY_BENCH_PYTHON is not set: name a Python with onnxruntime, torch, diffusers and transformers ' +
      '(tools/export/requirements.txt). `npm run bench engine` compares with a bare loop instead.',
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

/** Seconds that each competitor takes for the pictures of a round. */
const competitors: { [name: string]: (round: number) => Promise<number> } = {
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
    const noises = Array.from({ length: images }, (_, index) => ({
      key: { seed: round, stream: STREAMS.samples, index },
    }));
    await pipeline.evaluate(noises, { scores: false, pictures: true });
    return (performance.now() - began) / 1000;
  },
};
for (const name of peers) {
  competitors[name] = async (round) => {
    const answer = await peer.ask({ peer: name, images, prompt: `a green dog number ${round}`, seed: round });
    return (answer as { seconds: number }).seconds;
  };
}

const names = Object.keys(competitors);
const seconds: { [name: string]: number }[] = [];
for (let round = 0; round <= ROUNDS; round++) {
  const times: { [name: string]: number } = {};
  // The order changes from round to round. Round 0 warms up and is not counted.
  for (let i = 0; i < names.length; i++) {
    const name = names[(round + i) % names.length];
    times[name] = await competitors[name](round);
  }
  if (round > 0) seconds.push(times);
}
await engine.close();
peer.process.kill();

const median = (values: number[]) => quantile(values, 0.5);
console.log(
  `${images} images of ${model.name} a round in batches of ${batchSize}, ${sampler.steps} steps, ` +
    `guidance ${sampler.guidanceScale}, ${threads} threads; ${ROUNDS} rounds, seeds 1 to ${ROUNDS}; ` +
    `Python: ${JSON.stringify(versions)}\n`,
);
console.log(
  '| implementation | images/s, median | ' +
    'findery / it, median of the rounds (minimum to maximum) | target |\n' +
    '| --- | --- | --- | --- |',
);
for (const name of names) {
  const speed = median(seconds.map((times) => images / times[name]));
  const ratios = seconds.map((times) => times[name] / times.findery);
  const range = `${Math.min(...ratios).toFixed(3)} to ${Math.max(...ratios).toFixed(3)}`;
  const spread = `${median(ratios).toFixed(3)} (${range})`;
  const target = name === 'onnxruntime' ? '>= 1.0' : '> 1.0';
  console.log(
    `| ${name} | ${speed.toFixed(2)} | ${name === 'findery' ? '' : spread} | ` +
      `${name === 'findery' ? '' : target} |`,
  );
}
process.exit(0);
