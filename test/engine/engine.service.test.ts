import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Worker as Thread } from 'node:worker_threads';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Engine } from '../../src/engine/engine.ts';
import {
  BOTH,
  CHEAP,
  ENGINE_OPTIONS,
  evaluate,
  largestDifference,
  model,
  noisesAt,
  pipelineRequest,
  pixelsOf,
  range,
  reward,
  SAMPLER,
} from '../support/engine.ts';

let engine: Engine;
beforeAll(async () => {
  engine = await Engine.start(ENGINE_OPTIONS);
  await engine.open(model, [reward], { warmUp: true });
});
afterAll(() => engine.close());

describe('parity with diffusers', () => {
  /** Written by tools/parity/make_pipeline_fixture.py. */
  const fixture: {
    readonly prompt: string;
    readonly negativePrompt: string;
    readonly scheduler: string;
    readonly steps: number;
    readonly guidanceScale: number;
    readonly tokenIds: readonly number[];
    readonly negativeTokenIds: readonly number[];
    readonly pictureShape: readonly number[];
    readonly draws: readonly { readonly latents: string; readonly picture: string }[];
  } = JSON.parse(readFileSync(new URL('../fixtures/pipeline/stickers.json', import.meta.url), 'utf8'));
  const bytes = (text: string) => new Uint8Array(Buffer.from(text, 'base64'));
  const { prompt, negativePrompt, scheduler, steps, guidanceScale } = fixture;

  it('encodes the prompts as the same token ids', () => {
    expect(model.tokenizers[0].encode(prompt).inputIds).toEqual(fixture.tokenIds);
    expect(model.tokenizers[0].encode(negativePrompt).inputIds).toEqual(fixture.negativeTokenIds);
  });

  it('makes the pictures of StableDiffusionPipeline within 2/255', async () => {
    const noises = fixture.draws.map(({ latents }, index) => ({
      key: { seed: 0, stream: 0, index },
      values: new Float32Array(bytes(latents).buffer),
    }));
    const evaluations = await evaluate(engine, noises, {
      prompt,
      negativePrompt,
      sampler: { ...SAMPLER, scheduler, steps, guidanceScale },
    });
    for (const [i, { picture }] of evaluations.entries()) {
      expect([picture?.height, picture?.width, 3]).toEqual(fixture.pictureShape);
      expect(largestDifference(pixelsOf({ picture }), bytes(fixture.draws[i].picture))).toBeLessThanOrEqual(
        2,
      );
    }
  });
});

describe('the picture of a noise', () => {
  it('is the same each time', async () => {
    const [first, second] = [await evaluate(engine, noisesAt(3)), await evaluate(engine, noisesAt(3))];
    expect(pixelsOf(first[0]).equals(pixelsOf(second[0]))).toBe(true);
    expect(first[0].scores).toEqual(second[0].scores);
  });

  it('is the same in any batch: alone, among others, in batches of one', async () => {
    const single = await Engine.start({ ...ENGINE_OPTIONS, batchSize: 1 });
    try {
      const [alone] = await evaluate(engine, noisesAt(3));
      const { 2: among } = await evaluate(engine, noisesAt(8, 5, 3, 1, 2));
      const { 8: late } = await evaluate(engine, noisesAt(10, 11, 12, 13, 14, 15, 16, 17, 3));
      const { 1: one } = await evaluate(single, noisesAt(4, 3));
      for (const other of [among, late, one]) {
        expect(largestDifference(pixelsOf(other), pixelsOf(alone))).toBe(0);
        expect(other.scores?.[0]).toBeCloseTo(alone.scores?.[0] ?? Number.NaN, 4);
      }
    } finally {
      await single.close();
    }
  });

  it('is the same in padded batches, whose sizes are all warmed up, as on CUDA', async () => {
    const padding = await Engine.start({ ...ENGINE_OPTIONS, batchSize: 6, padBatches: true });
    try {
      expect(await padding.open(model, [reward], { warmUp: true })).toEqual([1, 2, 4, 6]);
      expect(await padding.open(model, [reward], { warmUp: true })).toEqual([]);

      const runs: (readonly number[])[] = [];
      const pipeline = await padding.pipeline(
        pipelineRequest({ onBatches: (batches) => runs.push(batches.map(({ size }) => size)) }),
      );
      const padded = await pipeline.evaluate(noisesAt(...range(9)), BOTH);
      await pipeline.evaluate(noisesAt(...range(5)), BOTH);
      expect(runs).toEqual([[6, 4], [6]]);
      expect(padded).toHaveLength(9);
      for (const [i, plain] of (await evaluate(engine, noisesAt(...range(9)))).entries()) {
        expect(pixelsOf(padded[i]).equals(pixelsOf(plain))).toBe(true);
        expect(padded[i].scores?.[0]).toBeCloseTo(plain.scores?.[0] ?? Number.NaN, 4);
      }
      // Without guidance each noise takes one row instead of two: other shapes to warm up.
      const { defaults } = model;
      const unguided = { ...model, defaults: { ...defaults, guidanceScale: 1 } };
      expect(await padding.open(unguided, [reward], { warmUp: true })).toEqual([1, 2, 4, 6]);
    } finally {
      await padding.close();
    }
  });

  it('needs only its own batch sizes to be warm, as on CUDA', async () => {
    const padding = await Engine.start({ ...ENGINE_OPTIONS, batchSize: 6, padBatches: true });
    try {
      // 9 noises take a run of 6, and one of 4 for the rest.
      await padding.pipeline(pipelineRequest({ sampler: { ...model.defaults, eta: 0 }, warmUpCount: 9 }));
      const order: string[] = [];
      const beforeEach = async () => void order.push('other work');
      expect(await padding.open(model, [reward], { warmUp: true, beforeEach })).toEqual([1, 2]);
      expect(order).toHaveLength(5); // opening, and four sizes
    } finally {
      await padding.close();
    }
  });

  it('differs for another key, prompt or negative prompt', async () => {
    const [base, neighbour] = await evaluate(engine, noisesAt(3, 4));
    const [otherPrompt] = await evaluate(engine, noisesAt(3), { prompt: 'a red book' });
    const [otherNegative] = await evaluate(engine, noisesAt(3), { negativePrompt: 'grass' });
    for (const other of [neighbour, otherPrompt, otherNegative])
      expect(largestDifference(pixelsOf(base), pixelsOf(other))).toBeGreaterThan(20);
  });

  it('depends on the values of the noise if they are given, not on its key', async () => {
    const values = new Float32Array(4 * 16 * 16).fill(0.1);
    const [a, b] = await evaluate(engine, [
      { key: { seed: 1, stream: 0, index: 0 }, values },
      { key: { seed: 2, stream: 0, index: 9 }, values },
    ]);
    expect(pixelsOf(a).equals(pixelsOf(b))).toBe(true);
  });

  it('is the same alone and among others with noise in every step (ddim, eta 1)', async () => {
    const stochastic = { sampler: { ...SAMPLER, scheduler: 'ddim', eta: 1 } };
    const [alone] = await evaluate(engine, noisesAt(3), stochastic);
    const { 1: among } = await evaluate(engine, noisesAt(2, 3, 4), stochastic);
    const [deterministic] = await evaluate(engine, noisesAt(3), {
      sampler: { ...SAMPLER, scheduler: 'ddim' },
    });
    expect(largestDifference(pixelsOf(among), pixelsOf(alone))).toBe(0);
    expect(largestDifference(pixelsOf(deterministic), pixelsOf(alone))).toBeGreaterThan(20);
  });
});

describe('a guidance scale of 1', () => {
  const guided = (guidanceScale: number, negativePrompt = '') =>
    evaluate(engine, noisesAt(3), { negativePrompt, sampler: { ...SAMPLER, guidanceScale } });

  it('ignores the negative prompt, and makes another picture than a scale of 4', async () => {
    const [[one], [oneNegative], [four]] = [await guided(1), await guided(1, 'grass'), await guided(4)];
    expect(pixelsOf(one).equals(pixelsOf(oneNegative))).toBe(true);
    expect(largestDifference(pixelsOf(one), pixelsOf(four))).toBeGreaterThan(20);
  });

  it('is the limit of scales near 1', async () => {
    const [[one], [near]] = [await guided(1), await guided(1 + 1e-6)];
    expect(largestDifference(pixelsOf(one), pixelsOf(near))).toBeLessThanOrEqual(1);
  });
});

describe('an evaluation', () => {
  it('returns what was requested: scores, pictures or both', async () => {
    const pipeline = await engine.pipeline(pipelineRequest());
    const [first] = await pipeline.evaluate(noisesAt(3), { scores: true, pictures: false });
    const [second] = await pipeline.evaluate(noisesAt(3), { scores: false, pictures: true });
    expect(first).toMatchObject({ picture: null, scores: [expect.any(Number)] });
    expect(second).toMatchObject({ picture: { width: 64, height: 64 }, scores: null });
    expect(await pipeline.evaluate([], BOTH)).toEqual([]);
    expect(pipeline.shape).toEqual([4, 16, 16]);
    expect(pipeline.promptEmbedding.length).toBeGreaterThan(0);
  });

  it('has one score per reward, and none without rewards', async () => {
    const none = await engine.pipeline(pipelineRequest({ rewards: [] }));
    const [{ scores, picture }] = await none.evaluate(noisesAt(0), BOTH);
    expect(scores).toEqual([]);
    expect(picture).not.toBeNull();
    const twice = await engine.pipeline(pipelineRequest({ rewards: [reward, reward] }));
    const [first] = await twice.evaluate(noisesAt(0), BOTH);
    expect(first.scores).toHaveLength(2);
    expect(first.scores?.[0]).toBe(first.scores?.[1]);
  });

  it('reports its start once', async () => {
    const starts: number[] = [];
    const pipeline = await engine.pipeline(pipelineRequest({ ...CHEAP, onStart: (at) => starts.push(at) }));
    const before = Date.now();
    await pipeline.evaluate(noisesAt(...range(10)), BOTH);
    expect(starts).toHaveLength(1);
    expect(starts[0]).toBeGreaterThanOrEqual(before);
    expect(starts[0]).toBeLessThanOrEqual(Date.now());
  });

  it('does not start if its signal is aborted already', async () => {
    const pipeline = await engine.pipeline(pipelineRequest());
    const reason = new Error('never mind');
    await expect(pipeline.evaluate(noisesAt(0), { ...BOTH, signal: AbortSignal.abort(reason) })).rejects.toBe(
      reason,
    );
  });

  it('of one picture does not wait for another one of forty', async () => {
    const order: string[] = [];
    const many = evaluate(engine, noisesAt(...range(40)), CHEAP).then((all) => {
      order.push('many');
      return all;
    });
    await sleep(50);
    const one = evaluate(engine, noisesAt(3), { ...CHEAP, prompt: 'a red book' }).then((all) => {
      order.push('one');
      return all;
    });
    const [[alone], all] = await Promise.all([one, many]);
    expect(order).toEqual(['one', 'many']);
    expect(all).toHaveLength(40);
    // Neither has the other's noise or prompt.
    const [again] = await evaluate(engine, noisesAt(3), { ...CHEAP, prompt: 'a red book' });
    expect(largestDifference(pixelsOf(alone), pixelsOf(again))).toBe(0);
    const [third] = await evaluate(engine, noisesAt(3), CHEAP);
    expect(largestDifference(pixelsOf(all[3]), pixelsOf(third))).toBe(0);
  });
});

describe('an engine', () => {
  it('rejects everything after its thread died, and says so', async () => {
    const threads: Thread[] = [];
    process.once('worker', (thread) => threads.push(thread));
    const dying = await Engine.start(ENGINE_OPTIONS);
    const pipeline = await dying.pipeline(pipelineRequest());
    await threads[0].terminate();
    await expect(pipeline.evaluate(noisesAt(0), BOTH)).rejects.toThrow(
      /thread ended by itself.*start the worker again/,
    );
    await expect(dying.pipeline(pipelineRequest())).rejects.toThrow(/thread ended by itself/);
    await dying.close();
  });

  it('can be closed twice at the same time', async () => {
    const closing = await Engine.start(ENGINE_OPTIONS);
    await Promise.all([closing.close(), closing.close()]);
  });
});
