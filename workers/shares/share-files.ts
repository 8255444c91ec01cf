import type { EvaluateOptions, Evaluation } from '../../src/core/evaluator.ts';
import type { Noise, NoiseKey } from '../../src/core/noise.ts';
import type { Picture } from '../../src/core/picture.ts';
import { SHARE_PREFIX } from '../../src/jobs/stored-files.ts';
import { standardNormal } from '../../src/numerics/normal.ts';
import { sha256Of } from '../../src/sha256.ts';
import { type BlobStore, BlobStoreError } from '../../src/storage/blobs.ts';
import { decodeSafetensors } from '../../src/storage/safetensors/decode.ts';
import { encodeSafetensors } from '../../src/storage/safetensors/encode.ts';
import type { Tensor } from '../../src/storage/safetensors/format.ts';

/**
 * What coordinator and helpers send each other about a share: JSON that goes through Redis, and
 * files in storage for what is large. The JSON has noise keys, rewards, scores of terms and
 * references to files. A file has the values of noises that are not the N(0, I) noise of their key,
 * or pictures; its tensors are named after their position in the share.
 */

/** Numbers by which most noises are told apart from the N(0, I) noise of their key. */
const PREFIX_LENGTH = 16;

interface StoredFile {
  readonly key: string;
  /** Hexadecimal hash of its bytes. */
  readonly sha256: string;
}

/** Which pictures the coordinator needs; `bestAbove` as in `EvaluateOptions`, null: no bound. */
type WantedPictures = 'none' | 'all' | { readonly bestAbove: number | null };

interface TaskJson {
  readonly keys: readonly (readonly [seed: number, stream: number, index: number])[];
  readonly values: StoredFile | null;
  readonly reward: boolean;
  readonly pictures: WantedPictures;
}

interface ResultJson {
  readonly worker: string;
  readonly rewards: readonly (number | null)[];
  readonly terms: readonly (readonly number[] | null)[];
  readonly pictures: StoredFile | null;
}

/** Noises to evaluate. */
export interface ShareTask {
  readonly noises: readonly Noise[];
  readonly options: EvaluateOptions;
}

/** What a helper found. */
export interface ShareResult {
  /** Id of the worker. */
  readonly worker: string;
  /** In the order of the noises, without the pictures that the coordinator does not need. */
  readonly evaluations: readonly Evaluation[];
}

/** Key of the file of a share. @param worker that wrote it; left out for the coordinator's file */
export function shareFileKey(
  {
    jobId,
    evaluation,
    index,
  }: { readonly jobId: string; readonly evaluation: string; readonly index: number },
  worker?: string,
): string {
  return `${SHARE_PREFIX}${[jobId, evaluation, index, ...(worker ? [worker] : [])].join('-')}.safetensors`;
}

/**
 * Writes the file of a task, unless all of its noises follow from their keys.
 * @returns the JSON of the task
 * @throws BlobStoreError
 */
export async function writeTask(
  blobs: BlobStore,
  fileKey: string,
  noises: readonly Noise[],
  { reward, pictures, bestAbove }: EvaluateOptions,
): Promise<string> {
  const tensors = noises.map(({ key, values }): Tensor | null =>
    values === undefined || isNoiseOfKey(values, key)
      ? null
      : { dtype: 'F32', shape: [values.length], data: values },
  );
  const task: TaskJson = {
    keys: noises.map(({ key: { seed, stream, index } }) => [seed, stream, index]),
    values: await writeFile(blobs, fileKey, tensors),
    reward,
    pictures: wantedPictures(pictures, bestAbove),
  };
  return JSON.stringify(task);
}

function wantedPictures(pictures: boolean, bestAbove: number | undefined): WantedPictures {
  if (!pictures) return 'none';
  if (bestAbove === undefined) return 'all';
  // JSON has no infinity.
  return { bestAbove: Number.isFinite(bestAbove) ? bestAbove : null };
}

/**
 * Reads a task with its file.
 * @throws BlobStoreError when the file is missing or damaged
 */
export async function readTask(blobs: BlobStore, json: string): Promise<ShareTask> {
  const { keys, values, reward, pictures } = JSON.parse(json) as TaskJson;
  const tensors = await readFile(blobs, values);
  return {
    noises: keys.map(([seed, stream, index], i) => {
      const key = { seed, stream, index };
      const data = tensors[i]?.data;
      return data instanceof Float32Array ? { key, values: data } : { key };
    }),
    options: {
      reward,
      pictures: pictures !== 'none',
      ...(typeof pictures === 'object' && { bestAbove: pictures.bestAbove ?? Number.NEGATIVE_INFINITY }),
    },
  };
}

/**
 * Writes the file with the pictures that the coordinator needs, if there are any.
 * @returns the JSON of the result
 * @throws BlobStoreError
 */
export async function writeResult(
  blobs: BlobStore,
  fileKey: string,
  { worker, evaluations }: ShareResult,
  options: EvaluateOptions,
): Promise<string> {
  const isNeeded = neededPictures(evaluations, options);
  const tensors = evaluations.map(({ picture }, i): Tensor | null =>
    picture === null || !isNeeded(i)
      ? null
      : { dtype: 'U8', shape: [picture.height, picture.width, 3], data: picture.pixels },
  );
  const result: ResultJson = {
    worker,
    rewards: evaluations.map(({ reward }) => reward),
    terms: evaluations.map(({ terms }) => terms),
    pictures: await writeFile(blobs, fileKey, tensors),
  };
  return JSON.stringify(result);
}

function neededPictures(
  evaluations: readonly Evaluation[],
  { pictures, bestAbove }: EvaluateOptions,
): (i: number) => boolean {
  if (bestAbove === undefined) return () => pictures;
  const rewards = evaluations.map(({ reward }) => reward ?? Number.NEGATIVE_INFINITY);
  const best = rewards.indexOf(Math.max(...rewards));
  return (i) => i === best && rewards[best] > bestAbove;
}

/**
 * Reads a result with its pictures.
 * @throws BlobStoreError when the file is missing or damaged
 */
export async function readResult(blobs: BlobStore, json: string): Promise<ShareResult> {
  const { worker, rewards, terms, pictures } = JSON.parse(json) as ResultJson;
  const tensors = await readFile(blobs, pictures);
  return {
    worker,
    evaluations: rewards.map((reward, i) => ({
      reward,
      terms: terms[i],
      picture: tensors[i] ? pictureOf(tensors[i]) : null,
    })),
  };
}

function pictureOf({ shape: [height, width], data }: Tensor): Picture {
  return { width, height, pixels: data as Uint8Array };
}

/**
 * Deletes the files of the shares of a job.
 * @param owner whose files go: an evaluation, or the token of a lease with all of its evaluations;
 * left out: the files of all
 */
export async function deleteShareFiles(blobs: BlobStore, jobId: string, owner?: string): Promise<void> {
  const prefix = `${SHARE_PREFIX}${jobId}-${owner === undefined ? '' : `${owner}-`}`;
  for await (const key of blobs.list(prefix)) await blobs.delete(key);
}

/** Whether `values` are the N(0, I) noise of the key, as during the warm-up of most optimizers. */
function isNoiseOfKey(values: Float32Array, key: NoiseKey): boolean {
  const begins = (length: number) =>
    bytesOf(standardNormal(key, length)).equals(bytesOf(values.subarray(0, length)));
  return begins(Math.min(PREFIX_LENGTH, values.length)) && begins(values.length);
}

const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array) =>
  Buffer.from(buffer, byteOffset, byteLength);

/** Writes the tensors that are not null, each under its position; null when there are none. */
async function writeFile(
  blobs: BlobStore,
  key: string,
  tensors: readonly (Tensor | null)[],
): Promise<StoredFile | null> {
  const entries = tensors.flatMap((tensor, i) => (tensor ? [[String(i), tensor] as const] : []));
  if (entries.length === 0) return null;
  const bytes = encodeSafetensors(Object.fromEntries(entries));
  await blobs.put(key, bytes);
  return { key, sha256: sha256Of(bytes) };
}

async function readFile(
  blobs: BlobStore,
  file: StoredFile | null,
): Promise<{ readonly [position: number]: Tensor | undefined }> {
  if (file === null) return {};
  const bytes = await blobs.get(file.key, { sha256: file.sha256 });
  if (!bytes) throw new BlobStoreError(`The file ${file.key} of a share is gone.`);
  return decodeSafetensors(bytes).tensors;
}
