import { parentPort } from 'node:worker_threads';
import type { Noise } from '../core/noise.ts';
import type { Picture } from '../core/picture.ts';
import type { GenerationSpec, ModelSpec, RewardSpec } from './generation-spec.ts';
import type { Device } from './graphs/providers.ts';
import type { Measurements } from './measurements.ts';

/** Settings of the engine, which hold for all of its models. */
export interface EngineOptions {
  /**
   * ONNX Runtime execution providers; the first one that works is used. If `cpu` follows it, nodes
   * that it has no kernels for may run on the CPU.
   */
  readonly executionProviders: readonly string[];
  /** Number of the GPU, for providers that take one; 0 by default. */
  readonly deviceId?: number;
  /** Threads of one graph run. */
  readonly threads: number;
  /** Maximum number of noises in one graph run. */
  readonly batchSize: number;
  /**
   * Maximum number of open models, and of open rewards; the least recently used one is closed.
   * Unlimited by default.
   */
  readonly modelsInMemory?: number;
  /**
   * Whether graph runs are padded to one of a few batch sizes. By default they are if the provider
   * chooses kernels for each input shape (`tunesShapes`).
   */
  readonly padBatches?: boolean;
  /**
   * Whether requests share runs of the denoiser. By default they do if the provider chooses kernels
   * for each input shape.
   */
  readonly sharedBatches?: boolean;
  /**
   * Whether a graph with free sizes has a session for each batch size, height, width and number of
   * tokens that it is run with. By default it has if the provider gains from it (`fixesSizes`).
   */
  readonly fixSizes?: boolean;
}

/** Work for the engine's thread. */
export type Request =
  | {
      readonly type: 'open';
      readonly id: number;
      readonly model: ModelSpec;
      readonly rewards: readonly RewardSpec[];
    }
  | {
      readonly type: 'embed';
      readonly id: number;
      readonly spec: GenerationSpec;
      /** Warm up with this first, unless that was done before; null: no warm-up. */
      readonly warmUp: {
        readonly spec: GenerationSpec;
        /** Number of noises for whose runs to warm up; null: every batch size. */
        readonly count: number | null;
      } | null;
    }
  | {
      readonly type: 'evaluate';
      readonly id: number;
      readonly spec: GenerationSpec;
      readonly noises: readonly Noise[];
      readonly scores: boolean;
      readonly pictures: boolean;
      /** One shared Int32; any value but 0 cancels the evaluation. */
      readonly cancel: SharedArrayBuffer;
    }
  | { readonly type: 'close'; readonly id: number };

/** The reduced batch size of a model at one picture size, after memory ran out. */
export interface BatchLimit {
  readonly model: string;
  readonly width: number;
  readonly height: number;
  readonly batchSize: number;
}

/** How full the runs of denoisers were since the start. */
export interface DenoiserLoad {
  readonly runs: number;
  /** Noises in all runs. */
  readonly noises: number;
  /** Places in all runs: noises and padding. */
  readonly places: number;
}

/** How long the engine worked on a batch of an evaluation. */
export interface BatchRun {
  /** Noises, padding included. */
  readonly size: number;
  /** Start, milliseconds since 1970. */
  readonly startedAt: number;
  /**
   * Milliseconds of each stage. Of denoising that requests share, a request has the part of its
   * rows. Denoising begins with the text encoders, if they run again.
   */
  readonly stages: { readonly denoise: number; readonly decode: number; readonly reward: number };
}

/** State of the engine, sent before every answer. */
export interface EngineState {
  /** Names of the models and rewards in memory. */
  readonly loaded: readonly string[];
  readonly reducedBatches: readonly BatchLimit[];
  /** Time spent in graph runs since the start. */
  readonly graphMilliseconds: number;
  /** Since the last state. */
  readonly measurements: Measurements;
  readonly denoiserLoad: DenoiserLoad;
}

/**
 * Kind of a failure: `engine` would fail again, `memory` and `device` may not fail in a fresh
 * process, `other` is unexpected.
 */
export type FailureKind = 'engine' | 'memory' | 'device' | 'other';

/**
 * Messages of the thread. The first one is `ready` or `unusable`. Every request is answered with
 * one `done` or `failed`.
 */
export type Response =
  | { readonly type: 'ready'; readonly device: Device }
  | { readonly type: 'unusable'; readonly message: string; readonly kind: FailureKind }
  | { readonly type: 'notice'; readonly message: string }
  | { readonly type: 'state'; readonly state: EngineState }
  | {
      readonly type: 'started';
      readonly id: number;
      /** Start of the first denoising step, milliseconds since 1970. */
      readonly at: number;
    }
  | {
      readonly type: 'done';
      readonly id: number;
      /** Batch sizes that the warm-up ran. */
      readonly warmed?: readonly number[];
      /** Batches of an evaluation, in order. */
      readonly batches?: readonly BatchRun[];
      /** The prompt as one vector. */
      readonly embedding?: Float32Array;
      /** Scores by reward, then by noise. */
      readonly scores?: readonly (readonly number[])[];
      readonly pictures?: readonly (Picture | null)[];
    }
  | { readonly type: 'failed'; readonly id: number; readonly message: string; readonly kind: FailureKind };

/** From the engine's thread: sends a message for operators. Work goes on. */
export function postNotice(message: string): void {
  parentPort?.postMessage({ type: 'notice', message } satisfies Response);
}
