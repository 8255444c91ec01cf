import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { Sampler } from '../../src/core/sampler.ts';
import { BatchSizes } from '../../src/engine/batch-sizes.ts';
import { Evaluation, type EvaluationServices } from '../../src/engine/evaluation.ts';
import type { GenerationSpec } from '../../src/engine/generation-spec.ts';
import type { Response } from '../../src/engine/messages.ts';
import { SharedBatch } from '../../src/engine/shared-batch.ts';
import { noisesAt, range } from '../support/engine.ts';
import { openTinyModel, TINY_LATENT } from '../support/tiny-graphs.ts';

const SAMPLER: Sampler = {
  scheduler: 'ddim',
  steps: 2,
  guidanceScale: 1,
  eta: 0,
  clipSkip: 0,
  width: 16,
  height: 16,
};

/** A shared batch of four places, and the answers of its requests by id. */
async function openShared(name: string, timestep?: readonly (string | number)[]) {
  const { spec: model, model: opened, graphs } = await openTinyModel(name, timestep);
  const batchSizes = new BatchSizes({
    executionProviders: [name],
    threads: 1,
    batchSize: 4,
    padBatches: true,
  });
  const answers = new Map<number, Response>();
  const services: EvaluationServices = {
    batchSizes,
    open: async () => ({ model: opened, rewards: [] }),
    recover: async (spec, size, error) => {
      if (size === 1) throw error;
      batchSizes.halve(size, spec);
    },
    send: (response) => {
      if (response.type === 'done') answers.set(response.id, response);
    },
    fail: (id, error) => {
      const { message } = error as Error;
      answers.set(id, { type: 'failed', id, message, kind: 'other' });
    },
  };
  const shared = new SharedBatch(services);
  /** Adds a request, whose id is the first token of its prompt. */
  const add = (
    id: number,
    indices: readonly number[],
    changes: Partial<Sampler> = {},
    { count = indices.length, onRest = () => {} } = {},
  ) => {
    const spec: GenerationSpec = {
      model,
      rewards: [],
      promptIds: [[id, 1, 2, 3]],
      negativePromptIds: [[0, 0, 0, 0]],
      negativeIsEmpty: true,
      rewardTexts: [],
      sampler: { ...SAMPLER, ...changes },
      latentShape: TINY_LATENT,
    };
    const cancel = new SharedArrayBuffer(4);
    const noises = noisesAt(...indices);
    const request = { type: 'evaluate', id, spec, noises, scores: false, pictures: true, cancel } as const;
    const evaluation = new Evaluation(request, services);
    shared.add(evaluation, count, onRest);
    return { evaluation, cancel: () => new Int32Array(cancel).fill(1) };
  };
  const run = async () => {
    while (!(await shared.advance()));
    return answers;
  };
  return { graphs, shared, add, run };
}

/** The pixels of all pictures of an answer. */
function pixelsOf(answer: Response | undefined): string[] {
  if (answer?.type !== 'done') throw new Error(`No pictures: ${JSON.stringify(answer)}`);
  return (answer.pictures ?? []).map((picture) => Buffer.from(picture?.pixels ?? []).toString('base64'));
}

describe('a shared batch', () => {
  it('gives its places to waiting requests in turn', async () => {
    const { graphs, add, run } = await openShared('tiny-turns');
    add(1, range(8));
    add(2, [0, 1]);
    add(3, [0, 1, 2]);
    await run();
    expect(graphs.runs.map(({ prompts }) => prompts.join(''))).toEqual([
      ...['1123', '1123'], // 1, 2, 3 and again 1; rows of a request are neighbours
      ...['2331', '2331'],
      ...['1111', '1111'],
      ...['1111', '1111'], // the last noise and its padding
    ]);
  });

  it('admits waiting noises at every step, as soon as places are free', async () => {
    const { graphs, shared, add, run } = await openShared('tiny-steps');
    add(1, [0, 1], { steps: 3 });
    add(2, [0, 1], { steps: 5 });
    const ended = shared.advance();
    await nextTurn();
    add(3, [0, 1]);
    await ended;
    await run();
    expect(graphs.runs.map(({ prompts }) => prompts.join(''))).toEqual([
      ...['1122', '1122', '1122'],
      ...['2233', '2233'],
    ]);
    // Two rows are at the fourth of five steps, two at the first of two.
    const [one, , other] = graphs.runs[3].timesteps;
    expect(one).not.toBe(other);
  });

  it('makes the pictures that a request gets alone', async () => {
    const requests: readonly (readonly [number, readonly number[], Partial<Sampler>])[] = [
      [1, range(6), { scheduler: 'euler', steps: 4 }],
      [2, [5, 6, 7], { scheduler: 'ddim', steps: 3, eta: 1 }],
      [3, [1, 0], { scheduler: 'dpmsolver++', steps: 5 }],
    ];
    const together = await openShared('tiny-together');
    for (const request of requests) together.add(...request);
    const answers = await together.run();
    for (const [i, request] of requests.entries()) {
      const alone = await openShared(`tiny-alone-${i}`);
      alone.add(...request);
      expect(pixelsOf(answers.get(request[0]))).toEqual(pixelsOf((await alone.run()).get(request[0])));
      expect(alone.graphs.runs.every(({ prompts }) => prompts.length === 4)).toBe(true);
    }
  });

  it('with guidance has different scales and negative prompts in a run', async () => {
    const { graphs, add, run } = await openShared('tiny-guided');
    add(1, [0, 1], { guidanceScale: 3 });
    add(2, [0, 1], { guidanceScale: 7 });
    const answers = await run();
    expect(graphs.runs.map(({ prompts }) => prompts.join(''))).toEqual(['00001122', '00001122']);
    const alone = await openShared('tiny-guided-alone');
    alone.add(2, [0, 1], { guidanceScale: 7 });
    expect(pixelsOf(answers.get(2))).toEqual(pixelsOf((await alone.run()).get(2)));
    expect(pixelsOf(answers.get(1))).not.toEqual(pixelsOf(answers.get(2)));
  });

  it('keeps rows at the same timestep if the graph takes one for all', async () => {
    const { graphs, add, run } = await openShared('tiny-scalar', [1]);
    add(1, [0, 1, 2]);
    add(2, [0], { steps: 3 });
    add(3, [0, 1]);
    const answers = await run();
    expect(graphs.runs.map(({ prompts }) => prompts.join(''))).toEqual([
      ...['1133', '1133'], // same scheduler, same steps
      ...['2222', '2222', '2222'],
      ...['1111', '1111'],
    ]);
    const alone = await openShared('tiny-scalar-alone', [1]);
    alone.add(3, [0, 1]);
    expect(pixelsOf(answers.get(3))).toEqual(pixelsOf((await alone.run()).get(3)));
  });

  it('halves its runs if memory runs out, and repeats the step', async () => {
    const expected = await openShared('tiny-roomy');
    const tight = await openShared('tiny-tight');
    tight.graphs.maxRows = 2;
    for (const { add } of [expected, tight]) {
      add(1, range(4), { steps: 3 });
      add(2, range(3));
    }
    const answers = [await expected.run(), await tight.run()];
    for (const id of [1, 2]) expect(pixelsOf(answers[1].get(id))).toEqual(pixelsOf(answers[0].get(id)));
    expect(tight.graphs.runs.every(({ prompts }) => prompts.length === 2)).toBe(true);
  });

  it('that runs out of memory with one row fails its requests', async () => {
    const { graphs, add, run } = await openShared('tiny-full');
    graphs.maxRows = 0;
    add(1, range(4));
    add(2, range(3));
    const answers = await run();
    for (const id of [1, 2]) expect(answers.get(id)).toMatchObject({ message: /failed to allocate/ });
  });

  it('fails the requests of a run that fails, and goes on', async () => {
    const { graphs, shared, add, run } = await openShared('tiny-failure');
    add(1, [0, 1]);
    add(2, [0, 1, 2, 3, 4, 5]);
    graphs.failure = 'CUDA failure 719';
    await shared.advance();
    graphs.failure = null;
    add(3, [0, 1]);
    const answers = await run();
    for (const id of [1, 2]) expect(answers.get(id)).toMatchObject({ message: /CUDA failure 719/ });
    expect(pixelsOf(answers.get(3))).toHaveLength(2);
  });

  it('drops the rows of a canceled request', async () => {
    const { graphs, shared, add, run } = await openShared('tiny-canceled');
    const { cancel } = add(1, range(7), { steps: 9 });
    add(2, [0, 1], { steps: 4 });
    const ended = shared.advance();
    await nextTurn();
    cancel();
    await ended;
    const answers = await run();
    expect(answers.get(1)).toMatchObject({ message: 'The evaluation was canceled.' });
    expect(pixelsOf(answers.get(2))).toHaveLength(2);
    expect(graphs.runs.at(-1)?.prompts).toEqual([2, 2, 2, 2]);
    expect(graphs.runs).toHaveLength(4);
  });

  it('hands back a request that has noises left, which then works by itself', async () => {
    const { graphs, add, run } = await openShared('tiny-rest');
    let rests = 0;
    const { evaluation } = add(1, range(5), {}, { count: 4, onRest: () => rests++ });
    expect([(await run()).size, rests]).toEqual([0, 1]);
    expect(await evaluation.advance()).toBe(true);
    expect(pixelsOf((await run()).get(1))).toHaveLength(5);
    expect(graphs.runs.map(({ prompts }) => prompts.length)).toEqual([4, 4, 1, 1]);
  });
});
