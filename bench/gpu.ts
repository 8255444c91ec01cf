import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { cpus } from 'node:os';
import { basename, dirname, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { readCatalog } from '../src/bundles/catalog.ts';
import { usesClassifierFreeGuidance } from '../src/bundles/families.ts';
import type { ModelBundle } from '../src/bundles/model-bundle.ts';
import { restartWithLibraries } from '../src/cli/gpu/library-folder.ts';
import { readConfig } from '../src/config/config.ts';
import { STREAMS } from '../src/core/noise.ts';
import { maxBatchSize, paddedSizes } from '../src/engine/batch-sizes.ts';
import { Engine } from '../src/engine/engine.ts';
import { graphForProvider } from '../src/engine/graphs/onnx-graph.ts';
import { chooseModel } from '../src/jobs/choose-bundles.ts';
import { resolveSampler } from '../src/jobs/resolve-sampler.ts';
import { quantile } from '../src/numerics/statistics.ts';
import { startPeer } from './peer.ts';

/**
 * `npm run bench:gpu -- [FOLDER or NAME] [--steps 20] [--rounds 5] [--width W] [--height H]`:
 * images a second of a model on the provider in FINDERY_PROVIDERS, for each batch size up to
 * FINDERY_BATCH, with memory and the part of the time outside graph runs. FINDERY_BENCH_PYTHON
 * names a Python whose onnxruntime runs the same graphs on the same provider in alternation (Stable
 * Diffusion 1.x and 2.x with guidance).
 */
process.on('uncaughtException', (error) => {
  console.error(`bench:gpu: ${error.message}`);
  process.exit(1);
});
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    steps: { type: 'string', default: '20' },
    rounds: { type: 'string', default: '5' },
    width: { type: 'string' },
    height: { type: 'string' },
  },
});
const number = (text: string | undefined) => (text === undefined ? undefined : Number(text));
const config = readConfig(process.env);
await restartWithLibraries(config);
const { threads, batchSize, executionProviders, deviceId } = config;
const model = await findModel(positionals[0]);
const sampler = resolveSampler(
  model,
  {
    scheduler: 'dpmsolver++',
    steps: number(values.steps),
    width: number(values.width),
    height: number(values.height),
  },
  '',
);
const latentShape = model.latentShape(sampler.width, sampler.height);
const rounds = Number(values.rounds);

const began = performance.now();
// Shared runs would all have the largest size.
const options = { executionProviders, deviceId, threads, batchSize, sharedBatches: false };
const engine = await Engine.start(options, (line) => console.error(line));
const { device } = engine;
await engine.open(model, [], { warmUp: false });
const opened = performance.now();
await engine.pipeline({ model, rewards: [], prompt: 'warm', negativePrompt: '', sampler });
const warm = performance.now();

const sizes = paddedSizes(
  maxBatchSize({ batchSize, executionProviders: [device.provider] }, { latentShape, sampler }),
);
const peer = await openPeer();
const { version } = createRequire(import.meta.url)('onnxruntime-node/package.json') as { version: string };
console.log(
  `${model.name} (${model.family}, ${sampler.width}x${sampler.height}, ${sampler.steps} steps, ` +
    `guidance ${sampler.guidanceScale}) on ${device.name}${gpuName()}, ` +
    `${threads} threads of ${cpus()[0].model.trim()}; ONNX Runtime ${version}, Node.js ${process.version}; ` +
    `opened in ${((opened - began) / 1000).toFixed(1)} s, ` +
    `warm ${((warm - opened) / 1000).toFixed(1)} s later; ` +
    `median of ${rounds} rounds (minimum to maximum)` +
    `${peer ? `; Python's onnxruntime ${peer.version}` : ''}\n`,
);
const peerColumns = peer ? ' onnxruntime, images/s | findery / it |' : '';
console.log(
  '| batch | images/s | outside session.run | memory, GiB |' +
    `${hasSmi() ? ' GPU memory, MiB |' : ''}${peerColumns}`,
);
console.log(`| --- | --- | --- | --- |${hasSmi() ? ' --- |' : ''}${peer ? ' --- | --- |' : ''}`);
for (const size of sizes) {
  const times: { ours: number; outside: number; theirs: number }[] = [];
  for (let round = 0; round <= rounds; round++) {
    const prompt = `a green dog number ${round}`;
    const latest = { ours: { seconds: 0, outside: 0 }, theirs: 0 };
    const run = {
      ours: async () => {
        latest.ours = await generate(prompt, size, round);
      },
      theirs: async () => {
        latest.theirs = peer ? await peer.generate(prompt, size, round) : Number.NaN;
      },
    };
    for (const name of round % 2 === 0 ? (['ours', 'theirs'] as const) : (['theirs', 'ours'] as const))
      await run[name]();
    // Round 0 warms up and is not counted.
    if (round > 0)
      times.push({ ours: latest.ours.seconds, outside: latest.ours.outside, theirs: latest.theirs });
  }
  const speeds = times.map(({ ours }) => size / ours);
  const cells = [
    size,
    `${quantile(speeds, 0.5).toFixed(2)} ` +
      `(${Math.min(...speeds).toFixed(2)} to ${Math.max(...speeds).toFixed(2)})`,
    `${(
      quantile(
        times.map(({ outside }) => outside),
        0.5,
      ) * 100
    ).toFixed(1)} %`,
    (process.memoryUsage.rss() / 2 ** 30).toFixed(2),
    ...(hasSmi() ? [gpuMemory()] : []),
    ...(peer
      ? [
          quantile(
            times.map(({ theirs }) => size / theirs),
            0.5,
          ).toFixed(2),
          quantile(
            times.map(({ ours, theirs }) => theirs / ours),
            0.5,
          ).toFixed(3),
        ]
      : []),
  ];
  console.log(`| ${cells.join(' | ')} |`);
}
await engine.close();
peer?.end();
process.exit(0);

/** Generates pictures. Returns the seconds, and the part of them outside graph runs. */
async function generate(
  prompt: string,
  count: number,
  seed: number,
): Promise<{ seconds: number; outside: number }> {
  const [start, graphs] = [performance.now(), engine.graphMilliseconds()];
  const pipeline = await engine.pipeline({ model, rewards: [], prompt, negativePrompt: '', sampler });
  const noises = Array.from({ length: count }, (_, index) => ({
    key: { seed, stream: STREAMS.samples, index },
  }));
  await pipeline.evaluate(noises, { scores: false, pictures: true });
  const milliseconds = performance.now() - start;
  return { seconds: milliseconds / 1000, outside: 1 - (engine.graphMilliseconds() - graphs) / milliseconds };
}

/** The model in a folder, or the installed model of that name; default: the first installed one. */
async function findModel(given: string | undefined): Promise<ModelBundle> {
  const isFolder = given !== undefined && existsSync(given);
  const folders = isFolder
    ? [dirname(resolve(given))]
    : config.modelFolders.filter((folder) => existsSync(folder));
  return chooseModel(await readCatalog(folders), isFolder ? basename(resolve(given)) : given, '');
}

/**
 * Python's onnxruntime on the same graphs; null: FINDERY_BENCH_PYTHON is not set, or it can't run
 * the model.
 */
async function openPeer() {
  const python = process.env.FINDERY_BENCH_PYTHON;
  if (!python) return null;
  if (model.family !== 'stable-diffusion' || !usesClassifierFreeGuidance(model, sampler.guidanceScale)) {
    console.error('The Python peer only runs Stable Diffusion 1.x and 2.x with guidance; it is left out.');
    return null;
  }
  const { textEncoders, denoiser, vaeDecoder } = model.graphs;
  const graphs = [textEncoders[0], denoiser, vaeDecoder].map((path) =>
    graphForProvider(path, device.provider),
  );
  const peer = startPeer(python);
  const { onnxruntime } = (await peer.ask({
    bundle: model.path,
    pipeline: null,
    threads,
    batch: batchSize,
    steps: sampler.steps,
    guidance: sampler.guidanceScale,
    latentShape,
    provider: device.provider,
    graphs: await Promise.all(graphs),
  })) as { onnxruntime: string };
  return {
    version: onnxruntime,
    async generate(prompt: string, count: number, seed: number): Promise<number> {
      const answer = await peer.ask({ peer: 'onnxruntime', images: count, prompt, seed, batch: count });
      return (answer as { seconds: number }).seconds;
    },
    end: () => peer.process.kill(),
  };
}

/** A property of the GPU from nvidia-smi; null: there is no nvidia-smi. */
function nvidiaSmi(query: string): string | null {
  try {
    const options = { stdio: ['ignore', 'pipe', 'ignore'] as ['ignore', 'pipe', 'ignore'] };
    const output = execFileSync(
      'nvidia-smi',
      [`--id=${deviceId}`, `--query-gpu=${query}`, '--format=csv,noheader,nounits'],
      options,
    );
    return output.toString().trim();
  } catch {
    return null;
  }
}

/** Whether nvidia-smi knows the device. */
function hasSmi(): boolean {
  return device.name.includes(':') && nvidiaSmi('name') !== null;
}

function gpuName(): string {
  return hasSmi() ? ` (${nvidiaSmi('name')})` : '';
}

/** Used memory of the whole GPU in MiB, the peer's sessions included. */
function gpuMemory(): string {
  return nvidiaSmi('memory.used') ?? '';
}
