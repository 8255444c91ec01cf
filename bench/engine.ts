import { existsSync } from 'node:fs';
import ort from 'onnxruntime-node';
import { readCatalog } from '../src/bundles/catalog.ts';
import { readConfig } from '../src/config/config.ts';
import { STREAMS } from '../src/core/noise.ts';
import { Engine } from '../src/engine/engine.ts';
import { chooseModel, chooseReward } from '../src/jobs/choose-bundles.ts';
import { resolveSampler } from '../src/jobs/resolve-sampler.ts';
import { quantile } from '../src/numerics/statistics.ts';

/** Rounds that count. A round before them warms up. */
const ROUNDS = 9;
/** Batches of pictures in each round. */
const BATCHES = 1;

/** Result of `benchEngine`. */
export interface EngineBench {
  readonly threads: number;
  readonly batchSize: number;
  readonly images: number;
  readonly steps: number;
  readonly guidanceScale: number;
  /** Images a second of the engine and of the bare loop, medians over the rounds. */
  readonly engine: number;
  readonly bare: number;
  /** Throughput of the engine divided by that of the bare loop, for each round. */
  readonly ratios: readonly number[];
}

/**
 * Compares the engine with a bare loop that runs the same graphs on prepared tensors: two text
 * encodings, the UNet at twice the batch size for each step, the VAE decoder and the reward. Both
 * run in this process, in alternation, so that other programs on the machine disturb both alike.
 */
export async function benchEngine(): Promise<EngineBench> {
  const config = readConfig(process.env);
  const catalog = await readCatalog(config.modelFolders.filter((folder) => existsSync(folder)));
  const model = chooseModel(catalog, undefined, '');
  const reward = chooseReward(catalog, model.defaults.reward ?? undefined, '');
  if (reward.type !== 'graph')
    throw new Error(`${reward.name} is not a graph; the bare loop runs only graphs.`);
  const sampler = resolveSampler(model, {}, '');
  const { threads, batchSize, executionProviders } = config;
  const images = BATCHES * batchSize;
  const engine = await Engine.start({ executionProviders: [...executionProviders], threads, batchSize });
  const bare = await openBareLoop(
    [model.graphs.textEncoders[0], model.graphs.denoiser, model.graphs.vaeDecoder, reward.graph],
    model.latentShape(sampler.width, sampler.height),
    [sampler.width, sampler.height],
    model.tokenizers[0].window,
    { steps: sampler.steps, batchSize, threads, executionProviders },
  );

  const runEngine = async (round: number) => {
    // A new prompt each time, because the engine caches embeddings.
    const prompt = `a green dog number ${round}`;
    const pipeline = await engine.pipeline({
      model,
      rewards: [reward],
      prompt,
      negativePrompt: `no ${round}`,
      sampler,
    });
    const noises = Array.from({ length: images }, (_, index) => ({
      key: { seed: round, stream: STREAMS.samples, index },
    }));
    await pipeline.evaluate(noises, { scores: true, pictures: true });
  };
  const seconds: { engine: number; bare: number }[] = [];
  await engine.open(model, [reward], { warmUp: true });
  for (let round = 0; round <= ROUNDS; round++) {
    const times = { engine: 0, bare: 0 };
    const runs = { engine: () => runEngine(round), bare: () => bare.run(BATCHES) };
    // The order changes from round to round.
    for (const name of round % 2 === 0 ? (['engine', 'bare'] as const) : (['bare', 'engine'] as const)) {
      const began = performance.now();
      await runs[name]();
      times[name] = (performance.now() - began) / 1000;
    }
    if (round > 0) seconds.push(times);
  }
  await engine.close();
  await bare.close();
  const speed = (name: 'engine' | 'bare') =>
    quantile(
      seconds.map((times) => images / times[name]),
      0.5,
    );
  return {
    threads,
    batchSize,
    images,
    steps: sampler.steps,
    guidanceScale: sampler.guidanceScale,
    engine: speed('engine'),
    bare: speed('bare'),
    ratios: seconds.map((times) => times.bare / times.engine),
  };
}

/**
 * Opens the graphs with the engine's session options, and prepares one feed for each.
 * @param paths text encoder, UNet, VAE decoder, reward
 * @param window tokens of a prompt
 */
async function openBareLoop(
  paths: readonly string[],
  latentShape: readonly number[],
  [width, height]: readonly [number, number],
  window: number,
  options: { steps: number; batchSize: number; threads: number; executionProviders: readonly string[] },
) {
  const { steps, batchSize } = options;
  const sessions = await Promise.all(
    paths.map((path) =>
      ort.InferenceSession.create(path, {
        executionProviders: [...options.executionProviders],
        intraOpNumThreads: options.threads,
        interOpNumThreads: 1,
        executionMode: 'sequential',
        graphOptimizationLevel: 'all',
        logSeverityLevel: 3,
        extra: { session: { intra_op: { allow_spinning: '0' } } },
      }),
    ),
  );
  const [textEncoder, unet, vaeDecoder, reward] = sessions;
  const noise = (dims: readonly number[]) => {
    const length = dims.reduce((product, size) => product * size, 1);
    return new ort.Tensor(
      'float32',
      Float32Array.from({ length }, () => 2 * Math.random() - 1),
      [...dims],
    );
  };
  /** A feed for every input of a graph. `dims` gives the shape of the inputs of each rank. */
  const feeds = (session: ort.InferenceSession, dims: { readonly [rank: number]: readonly number[] }) =>
    Object.fromEntries(
      session.inputMetadata.map((input) => {
        if (!input.isTensor) throw new Error(`${input.name} is not a tensor.`);
        const { [input.shape.length]: shape } = dims;
        if (input.type === 'float32') return [input.name, noise(shape)];
        const count = shape.reduce((product, size) => product * size, 1);
        const data =
          input.type === 'int64' ? new BigInt64Array(count).fill(1n) : new Int32Array(count).fill(1);
        return [input.name, new ort.Tensor(input.type as 'int64', data as BigInt64Array, [...shape])];
      }),
    );
  const textFeeds = feeds(textEncoder, { 2: [1, window] });
  const [hidden] = Object.values(await textEncoder.run(textFeeds)).filter(({ dims }) => dims.length === 3);
  const unetFeeds = feeds(unet, {
    0: [],
    1: [1],
    4: [2 * batchSize, ...latentShape],
    3: [2 * batchSize, ...hidden.dims.slice(1)],
  });
  const vaeFeeds = feeds(vaeDecoder, { 4: [batchSize, ...latentShape] });
  const rewardFeeds = feeds(reward, { 4: [batchSize, 3, height, width], 2: [batchSize, window] });
  return {
    async run(batches: number): Promise<void> {
      for (let copy = 0; copy < 2; copy++) await textEncoder.run(textFeeds);
      for (let batch = 0; batch < batches; batch++) {
        for (let step = 0; step < steps; step++) await unet.run(unetFeeds);
        await vaeDecoder.run(vaeFeeds);
        await reward.run(rewardFeeds);
      }
    },
    async close(): Promise<void> {
      for (const session of sessions) await session.release();
    },
  };
}
