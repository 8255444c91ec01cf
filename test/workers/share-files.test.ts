import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EvaluateOptions, Evaluation } from '../../src/core/evaluator.ts';
import type { Noise } from '../../src/core/noise.ts';
import { standardNormal } from '../../src/numerics/normal.ts';
import { FileBlobs } from '../../src/storage/file-blobs.ts';
import { splitEvenly } from '../../workers/shares/distributed-evaluator.ts';
import {
  deleteShareFiles,
  readResult,
  readTask,
  shareFileKey,
  writeResult,
  writeTask,
} from '../../workers/shares/share-files.ts';

let folder: string;
let blobs: FileBlobs;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'findery-share-files-'));
  blobs = new FileBlobs(folder);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

let count = 0;
const newKey = () => shareFileKey({ jobId: 'job_1', evaluation: 'lease-0', index: count++ });
const files = (prefix: string) => Array.fromAsync(blobs.list(prefix));

const KEYS = [0, 1].map((index) => ({ seed: 2 ** 53 - 1, stream: 2, index }));
const SEARCH: EvaluateOptions = { reward: true, pictures: true, bestAbove: 0.5 };

describe('a task', () => {
  it('has the bits of noises that do not follow from their keys, in a file', async () => {
    const own = Float32Array.of(-0, 1e-45, Math.fround(0.1), -3);
    const noises: Noise[] = [{ key: KEYS[0], values: own }, { key: KEYS[1] }];
    const fileKey = newKey();
    const json = await writeTask(blobs, fileKey, noises, SEARCH);
    expect(json).not.toContain('0.1');
    expect(await files(fileKey)).toEqual([fileKey]);
    const task = await readTask(blobs, json);
    expect(task).toEqual({ noises, options: SEARCH });
    expect(Object.is(task.noises[0].values?.[0], -0)).toBe(true);
  });

  it('has no file if all noises are the N(0, I) noises of their keys', async () => {
    const values = standardNormal(KEYS[0], 100);
    const fileKey = newKey();
    const json = await writeTask(blobs, fileKey, [{ key: KEYS[0], values }, { key: KEYS[1] }], SEARCH);
    expect(await files(fileKey)).toEqual([]);
    expect((await readTask(blobs, json)).noises).toEqual(KEYS.map((key) => ({ key })));
    // A noise that begins like the one of its key is not it.
    const almost = values.with(99, 0);
    const other = await readTask(
      blobs,
      await writeTask(blobs, fileKey, [{ key: KEYS[0], values: almost }], SEARCH),
    );
    expect(other.noises[0].values).toEqual(almost);
  });

  it.each([
    { reward: true, pictures: true, bestAbove: Number.NEGATIVE_INFINITY },
    { reward: true, pictures: true },
    { reward: false, pictures: false },
  ])('keeps the options %o', async (options) => {
    const json = await writeTask(blobs, newKey(), [{ key: KEYS[0] }], options);
    expect((await readTask(blobs, json)).options).toEqual(options);
  });

  it('whose file is gone or damaged is refused', async () => {
    const fileKey = newKey();
    const json = await writeTask(blobs, fileKey, [{ key: KEYS[0], values: Float32Array.of(1) }], SEARCH);
    await blobs.put(fileKey, Uint8Array.of(1));
    await expect(readTask(blobs, json)).rejects.toThrow('damaged');
    await blobs.delete(fileKey);
    await expect(readTask(blobs, json)).rejects.toThrow(`The file ${fileKey} of a share is gone.`);
  });
});

describe('a result', () => {
  const evaluations = [0.25, 0.75, 0.75].map((reward, i): Evaluation => {
    const picture = { width: 2, height: 1, pixels: Uint8Array.of(i, 1, 2, 3, 4, 255) };
    return { reward, terms: [reward, 1 / 3], picture };
  });
  const send = async (options: EvaluateOptions) =>
    readResult(blobs, await writeResult(blobs, newKey(), { worker: 'w', evaluations }, options));

  it('has rewards and terms exactly, and all pictures', async () => {
    expect(await send({ reward: true, pictures: true })).toEqual({ worker: 'w', evaluations });
  });

  it('of a search has only the picture of the first highest reward', async () => {
    const without = evaluations.map((evaluation) => ({ ...evaluation, picture: null }));
    expect((await send(SEARCH)).evaluations).toEqual([without[0], evaluations[1], without[2]]);
    expect((await send({ ...SEARCH, bestAbove: 0.75 })).evaluations).toEqual(without);
  });
});

describe('files of shares', () => {
  it('are deleted by evaluation, by lease or by job', async () => {
    const put = (jobId: string, evaluation: string, worker?: string) =>
      blobs.put(shareFileKey({ jobId, evaluation, index: 1 }, worker), Uint8Array.of(1));
    await put('job_2', 'a-0');
    await put('job_2', 'a-0', 'worker-1');
    await put('job_2', 'a-1');
    await put('job_2', 'b-0');
    await put('job_3', 'a-0');
    const left = async () => (await files('shares/job_')).filter((key) => /job_[23]/.test(key)).length;
    await deleteShareFiles(blobs, 'job_2', 'a-0');
    expect(await left()).toBe(3);
    await deleteShareFiles(blobs, 'job_2', 'a');
    expect(await left()).toBe(2);
    await deleteShareFiles(blobs, 'job_2');
    expect(await left()).toBe(1);
  });
});

describe('splitEvenly', () => {
  it.each([
    ['one for each worker', 8, { parallelism: 4, maxShare: 8 }, [2, 2, 2, 2]],
    ['fewer for few noises', 3, { parallelism: 8, maxShare: 8 }, [1, 1, 1]],
    ['no larger than a graph run', 20, { parallelism: 2, maxShare: 8 }, [8, 8, 4]],
    ['the last one smaller', 10, { parallelism: 4, maxShare: 8 }, [3, 3, 3, 1]],
  ])('makes shares: %s', (_, length, split, sizes) => {
    const noises = Array.from({ length }, (_, i) => i);
    const shares = splitEvenly(noises, split);
    expect(shares.map((share) => share.length)).toEqual(sizes);
    expect(shares.flat()).toEqual(noises);
  });
});
