import type { ModelBundle } from '../bundles/model-bundle.ts';
import type { GraphReward } from '../bundles/reward-bundle.ts';
import type { Noise } from '../core/noise.ts';
import type { Picture } from '../core/picture.ts';
import type { Device } from './graphs/providers.ts';

/** Settings of the engine, the same for all of its models. */
export interface EngineOptions {
  /**
   * ONNX Runtime execution providers: the first that works here is used. With `cpu` behind it, it may leave nodes that it has no kernels for to the CPU.
   */
  readonly executionProviders: readonly string[];
  /** Number of the GPU, for providers that go by numbers; 0 when left out. */
  readonly deviceId?: number;
  /** Threads of one graph run. */
  readonly threads: number;
  /** Most draws in one graph run. */
  readonly batchSize: number;
  /** Most models whose graphs stay open at a time, and as many rewards; the one longest unused is closed. Left out: all. */
  readonly modelsInMemory?: number;
  /**
   * Fill every graph run up to one of few sizes, for providers that search for the best kernels at each new shape (CUDA). Left out:
   * whether the provider in use is such a one.
   */
  readonly padBatches?: boolean;
}

/** What the engine's thread has to know of a model; plain data. */
export type ModelSpec = Pick<
  ModelBundle,
  | 'name'
  | 'path'
  | 'signature'
  | 'family'
  | 'graphs'
  | 'schedulerConfig'
  | 'scalingFactor'
  | 'shiftFactor'
  | 'channelStatistics'
  | 'patchSize'
  | 'textWidths'
  | 'textWidth'
  | 't5Tokens'
  | 'guidanceEmbeddingWidth'
  | 'readsGuidance'
  | 'zeroesEmptyNegative'
>;

export type RewardSpec = Pick<
  GraphReward,
  'name' | 'path' | 'signature' | 'graph' | 'preprocessing' | 'scoring'
>;

export interface RewardText {
  readonly inputIds: readonly number[];
  readonly attentionMask: readonly number[];
}

/** A prompt for a model, a reward and a sampler: everything but the noise. */
export interface GenerationSpec {
  readonly model: ModelSpec;
  readonly rewards: readonly RewardSpec[];
  /** Token ids of the prompt for each of the text encoders. */
  readonly promptIds: readonly (readonly number[])[];
  readonly negativePromptIds: readonly (readonly number[])[];
  readonly negativeIsEmpty: boolean;
  /** Last layers of the text encoder that are not used, 0 or more; diffusers' `clip_skip`. */
  readonly clipSkip: number;
  /** The prompt as each of the rewards reads it; null for one that reads none. */
  readonly rewardTexts: readonly (RewardText | null)[];
  readonly scheduler: string;
  readonly steps: number;
  readonly guidanceScale: number;
  readonly eta: number;
  /** Size of the pictures in pixels. */
  readonly width: number;
  readonly height: number;
  /** Shape of one latent without the batch axis. */
  readonly latentShape: readonly number[];
}

/** Work for the thread. `cancel` is one shared Int32: not 0 once nobody waits for the answer. */
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
      /** What is run first where it was not yet; null: nothing. */
      readonly warm: GenerationSpec | null;
    }
  | {
      readonly type: 'evaluate';
      readonly id: number;
      readonly spec: GenerationSpec;
      readonly noises: readonly Noise[];
      readonly scores: boolean;
      readonly pictures: boolean;
      readonly cancel: SharedArrayBuffer;
    }
  | { readonly type: 'close'; readonly id: number };

/** Most draws in one graph run of a model at this size, since more did not fit into memory. */
export interface BatchLimit {
  readonly model: string;
  readonly width: number;
  readonly height: number;
  readonly batchSize: number;
}

/** How the engine stands; told before every answer. */
export interface EngineState {
  /** Names of the models and rewards in memory. */
  readonly loaded: readonly string[];
  readonly reducedBatches: readonly BatchLimit[];
  /** Spent in runs of graphs since the start. */
  readonly graphMilliseconds: number;
}

/** What failed: `engine` will fail again, `memory` may not in a fresh process, `other` is nobody's guess. */
export type FailureKind = 'engine' | 'memory' | 'other';

/** Answers of the thread: `ready` or `unusable` once, then one `done` or `failed` for every request. */
export type Response =
  | { readonly type: 'ready'; readonly device: Device }
  | { readonly type: 'unusable'; readonly message: string; readonly kind: FailureKind }
  | { readonly type: 'notice'; readonly message: string }
  | { readonly type: 'state'; readonly state: EngineState }
  | { readonly type: 'started'; readonly id: number; readonly at: number }
  | {
      readonly type: 'done';
      readonly id: number;
      /** Batch sizes that were run to warm up. */
      readonly warmed?: readonly number[];
      /** Draws in each graph run of an evaluation, with those that only filled it up. */
      readonly runs?: readonly number[];
      readonly embedding?: Float32Array;
      /** By reward, then by draw. */
      readonly scores?: readonly (readonly number[])[];
      readonly pictures?: readonly (Picture | null)[];
    }
  | { readonly type: 'failed'; readonly id: number; readonly message: string; readonly kind: FailureKind };
