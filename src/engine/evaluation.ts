import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Noise } from '../core/noise.ts';
import type { Picture } from '../core/picture.ts';
import type { BatchSizes } from './batch-sizes.ts';
import type { DiffusionModel } from './diffusion-model.ts';
import { CanceledError, isOutOfMemory } from './errors.ts';
import type { GenerationSpec, ModelSpec, RewardSpec } from './generation-spec.ts';
import { measureFill, recordStage } from './measurements.ts';
import type { BatchRun, Request, Response } from './messages.ts';
import type { RewardModel } from './reward-model.ts';

/** What an evaluation needs of its thread. */
export interface EvaluationServices {
  readonly batchSizes: BatchSizes;
  /** Opens a model and rewards unless they are open. */
  open(
    model: ModelSpec,
    rewards: readonly RewardSpec[],
  ): Promise<{ readonly model: DiffusionModel; readonly rewards: readonly RewardModel[] }>;
  /**
   * Makes another try possible after a run of `size` noises ran out of memory.
   * @throws OutOfMemoryError if there is nothing to reduce or close
   */
  recover(spec: GenerationSpec, size: number, error: unknown): Promise<void>;
  send(response: Response, transfer?: ArrayBuffer[]): void;
  /** Answers a request with an error. */
  fail(id: number, error: unknown): void;
}

/** A request for scores and pictures of noises, and what is done of it. */
export class Evaluation {
  readonly spec: GenerationSpec;
  readonly noises: readonly Noise[];
  readonly #request: Request & { readonly type: 'evaluate' };
  readonly #services: EvaluationServices;
  readonly #cancel: Int32Array;
  /** Scores by reward, then by noise. */
  readonly #scores: number[][];
  /** In the order of the noises; null if the request wants none. */
  readonly #pictures: (Picture | null)[] = [];
  readonly #batches: BatchRun[] = [];
  /** Time of the denoising whose latents are not scored yet. */
  #denoising = { startedAt: 0, milliseconds: 0 };
  #hasStarted = false;

  constructor(request: Request & { readonly type: 'evaluate' }, services: EvaluationServices) {
    this.spec = request.spec;
    this.noises = request.noises;
    this.#request = request;
    this.#services = services;
    this.#cancel = new Int32Array(request.cancel);
    this.#scores = request.spec.rewards.map(() => []);
  }

  /** Of the request. */
  get id(): number {
    return this.#request.id;
  }

  get isCanceled(): boolean {
    return Atomics.load(this.#cancel, 0) !== 0;
  }

  /** Tells the caller, once, that the first denoising step begins. */
  start(): void {
    if (!this.#hasStarted) this.#services.send({ type: 'started', id: this.id, at: Date.now() });
    this.#hasStarted = true;
  }

  fail(error: unknown): void {
    this.#services.fail(this.id, error);
  }

  /** Adds this evaluation's part of the time of a denoising that has just ended. */
  addDenoising(milliseconds: number): void {
    if (this.#denoising.milliseconds === 0) this.#denoising.startedAt = Date.now() - milliseconds;
    this.#denoising.milliseconds += milliseconds;
  }

  /**
   * Makes the pictures of the next batch, apart from other requests.
   * @returns whether the request is answered
   */
  async advance(): Promise<boolean> {
    const { batchSizes, open, recover } = this.#services;
    const { spec } = this;
    const first = this.#pictures.length;
    const batch = this.noises.slice(first, first + batchSizes.limit(spec));
    if (batch.length > 0) {
      const size = batchSizes.sizeFor(batch.length, spec);
      const denoise = async () => {
        const { model } = await open(spec.model, this.#rewards);
        const began = performance.now();
        const latents = await model.denoise(spec, batch, () => this.#betweenRuns(), { size });
        this.addDenoising(performance.now() - began);
        return latents;
      };
      const latents = await denoise().catch(async (error: unknown) => {
        if (!isOutOfMemory(error)) throw error;
        await recover(spec, size, error);
        return null;
      });
      if (latents) await this.finish(latents);
    }
    return this.answer();
  }

  /**
   * Decodes and scores the next noises; in smaller parts if memory does not suffice.
   * @param latents of these noises, denoised: [count, ...latentShape]
   */
  async finish(latents: Float32Array): Promise<void> {
    const { batchSizes, recover } = this.#services;
    const length = this.spec.latentShape.reduce((product, size) => product * size, 1);
    const limit = () => batchSizes.limit(this.spec) * length;
    for (let rest = latents; rest.length > 0; ) {
      const part = rest.subarray(0, limit());
      const size = batchSizes.sizeFor(part.length / length, this.spec);
      try {
        await this.#decodeAndScore(part, length, size);
        rest = rest.subarray(part.length);
      } catch (error) {
        if (!isOutOfMemory(error)) throw error;
        await recover(this.spec, size, error);
      }
    }
  }

  /** Sends the results if all are there. @returns whether it did */
  answer(): boolean {
    if (this.#pictures.length < this.noises.length) return false;
    const pictures = this.#pictures;
    this.#services.send(
      { type: 'done', id: this.id, scores: this.#scores, pictures, batches: this.#batches },
      pictures.flatMap((picture) => (picture ? [picture.pixels.buffer as ArrayBuffer] : [])),
    );
    return true;
  }

  /** The rewards that the request wants. */
  get #rewards(): readonly RewardSpec[] {
    return this.#request.scores ? this.spec.rewards : [];
  }

  async #decodeAndScore(latents: Float32Array, length: number, size: number): Promise<void> {
    const opened = await this.#services.open(this.spec.model, this.#rewards);
    const betweenRuns = () => this.#betweenRuns();
    const began = performance.now();
    const made = await opened.model.decode(repeatLast(latents, length, size), this.spec, betweenRuns);
    const decoded = performance.now();
    const scores: number[][] = [];
    for (const [i, reward] of opened.rewards.entries()) {
      await betweenRuns();
      scores.push(await reward.score(made, this.spec.rewardTexts[i]));
    }
    const count = latents.length / length;
    this.#measure(size, count, { decode: decoded - began, reward: performance.now() - decoded });
    // Results count once the part is complete: one that runs out of memory is repeated.
    for (const [i, column] of scores.entries()) this.#scores[i].push(...column.slice(0, count));
    const pictures = made.slice(0, count);
    this.#pictures.push(...pictures.map((picture) => (this.#request.pictures ? picture : null)));
  }

  /** Counts a batch that is complete. */
  #measure(size: number, count: number, rest: { readonly decode: number; readonly reward: number }): void {
    const model = this.spec.model.name;
    const { startedAt, milliseconds: denoise } = this.#denoising;
    this.#denoising = { startedAt: 0, milliseconds: 0 };
    this.#batches.push({ size, startedAt, stages: { denoise, ...rest } });
    recordStage('denoise', model, denoise);
    recordStage('decode', model, rest.decode);
    measureFill({ model, pictures: count, limit: this.#services.batchSizes.limit(this.spec) });
  }

  /** @throws CanceledError */
  async #betweenRuns(): Promise<void> {
    await nextTurn();
    if (this.isCanceled) throw new CanceledError();
    this.start();
  }
}

/** Latents padded to `size` with copies of the last one, whose results are dropped. */
function repeatLast(latents: Float32Array, length: number, size: number): Float32Array {
  if (latents.length === size * length) return latents;
  const padded = new Float32Array(size * length);
  padded.set(latents);
  const last = latents.subarray(latents.length - length);
  for (let start = latents.length; start < padded.length; start += length) padded.set(last, start);
  return padded;
}
