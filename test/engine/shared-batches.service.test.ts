import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Noise } from '../../src/core/noise.ts';
import { Engine, type PipelineRequest } from '../../src/engine/engine.ts';
import type { DenoiserLoad } from '../../src/engine/messages.ts';
import {
  BOTH,
  CHEAP,
  ENGINE_OPTIONS,
  evaluate,
  model,
  noisesAt,
  pipelineRequest,
  pixelsOf,
  range,
  reward,
  SAMPLER,
} from '../support/engine.ts';

/** As on a GPU: padded runs, which requests share. */
const OPTIONS = { ...ENGINE_OPTIONS, batchSize: 4, padBatches: true, sharedBatches: true };

let engine: Engine;
beforeAll(async () => {
  engine = await Engine.start(OPTIONS);
  await engine.open(model, [reward], { warmUp: false });
});
afterAll(() => engine.close());

interface Wish {
  readonly noises: readonly Noise[];
  readonly changes?: Partial<PipelineRequest>;
}

const sampler = (changes: object) => ({ sampler: { ...SAMPLER, ...changes } });
/** Different prompts, guidance scales, schedulers and steps. */
const WISHES: readonly Wish[] = [
  { noises: noisesAt(...range(6)) },
  { noises: noisesAt(3, 4), changes: { prompt: 'a red book', ...sampler({ guidanceScale: 7 }) } },
  { noises: noisesAt(...range(4)), changes: sampler({ scheduler: 'euler', steps: 4 }) },
  { noises: noisesAt(9, 8), changes: sampler({ scheduler: 'ddim', eta: 1, steps: 2 }) },
  { noises: noisesAt(1), changes: { negativePrompt: 'grass' } },
  { noises: noisesAt(...range(5)), changes: sampler({ guidanceScale: 1 }) },
];

const ask = ({ noises, changes }: Wish, on = engine) => evaluate(on, noises, { warmUp: false, ...changes });
type Answer = Awaited<ReturnType<typeof ask>>;
/** Scores and pixels, for comparisons of bits. */
const bitsOf = (answer: Answer) => answer.map((one) => [one.scores, pixelsOf(one).toString('base64')]);

describe('requests that share runs', () => {
  const alone: Answer[] = [];
  const loads: DenoiserLoad[] = [];
  beforeAll(async () => {
    loads.push(engine.denoiserLoad());
    for (const wish of WISHES) alone.push(await ask(wish));
    loads.push(engine.denoiserLoad());
  });

  it('get the same bits alone and beside others, with fewer runs', async () => {
    const beside = await Promise.all(WISHES.map((wish) => ask(wish)));
    loads.push(engine.denoiserLoad());
    expect(beside.map(bitsOf)).toEqual(alone.map(bitsOf));
    const since = (i: number, what: keyof DenoiserLoad) => loads[i][what] - loads[i - 1][what];
    expect(since(2, 'runs')).toBeLessThan(since(1, 'runs'));
    expect(since(2, 'noises')).toBe(since(1, 'noises'));
    expect(since(2, 'places')).toBeLessThan(since(1, 'places'));
  });

  it('get the pictures of an engine whose requests share nothing', async () => {
    const apart = await Engine.start({ ...OPTIONS, sharedBatches: false });
    try {
      const pictures = (answer: Answer) => answer.map((one) => pixelsOf(one).toString('base64'));
      for (const [i, wish] of WISHES.slice(0, 3).entries())
        expect(pictures(await ask(wish, apart))).toEqual(pictures(alone[i]));
    } finally {
      await apart.close();
    }
  });

  it('end in the order of their size if they began together', async () => {
    const order: number[] = [];
    const many = ask({ noises: noisesAt(...range(16)), changes: CHEAP }).then(() => order.push(16));
    const few = ask({ noises: noisesAt(50, 51), changes: CHEAP }).then(() => order.push(2));
    await Promise.all([many, few]);
    expect(order).toEqual([2, 16]);
  });

  it('do not notice that one of them is canceled', async () => {
    const pipeline = await engine.pipeline(pipelineRequest({ warmUp: false, ...sampler({ steps: 12 }) }));
    const abort = new AbortController();
    const reason = new Error('enough');
    const canceled = pipeline.evaluate(noisesAt(...range(20)), { ...BOTH, signal: abort.signal });
    const others = WISHES.slice(1, 4).map((wish) => ask(wish));
    const before = engine.denoiserLoad().runs;
    void Promise.race(others).then(() => abort.abort(reason));
    await expect(canceled).rejects.toBe(reason);
    expect((await Promise.all(others)).map(bitsOf)).toEqual(alone.slice(1, 4).map(bitsOf));
    await ask(WISHES[4]);
    // Twenty noises of twelve steps would have taken 60 runs.
    expect(engine.denoiserLoad().runs - before).toBeLessThan(45);
  });

  it('do not notice that the latents of one of them are NaN', async () => {
    const values = new Float32Array(4 * 16 * 16).fill(Number.NaN);
    const broken = noisesAt(...range(4)).map((noise, i) => (i === 2 ? { ...noise, values } : noise));
    const others = WISHES.slice(1, 4).map((wish) => ask(wish));
    await expect(ask({ noises: broken })).rejects.toThrow(/made latents with NaN/);
    expect((await Promise.all(others)).map(bitsOf)).toEqual(alone.slice(1, 4).map(bitsOf));
  });
});
