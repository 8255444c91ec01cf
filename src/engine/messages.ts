import type { ModelBundle } from '../bundles/model-bundle.ts';
import type { GraphReward } from '../bundles/reward-bundle.ts';
import type { Draw } from '../numerics/draw.ts';

/** Settings of the engine, the same for all of its models. */
export interface EngineOptions {
  /** ONNX Runtime execution providers, in the order of preference. */
  readonly executionProviders: readonly string[];
  /** Threads of one graph run. */
  readonly threads: number;
  /** Most draws in one graph run. */
  readonly batchSize: number;
  /** Most models whose graphs stay open at a time, and as many rewards; the one longest unused is closed. Left out: all. */
  readonly modelsInMemory?: number;
  /**
   * Fill every graph run up to `batchSize`, for providers that search for the best kernels at each new shape (CUDA). Left out:
   * whether the first provider is another than the CPU's, which does not care.
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

export type RewardSpec = Pick<GraphReward, 'name' | 'path' | 'signature' | 'graph' | 'preprocessing' | 'scoring'>;

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
  | { readonly type: 'open'; readonly id: number; readonly model: ModelSpec; readonly rewards: readonly RewardSpec[] }
  | { readonly type: 'embed'; readonly id: number; readonly spec: GenerationSpec }
  | {
      readonly type: 'evaluate';
      readonly id: number;
      readonly spec: GenerationSpec;
      readonly draws: readonly { readonly draw: Draw; readonly noise?: Float32Array }[];
      readonly scores: boolean;
      readonly pictures: boolean;
      readonly cancel: SharedArrayBuffer;
    }
  | { readonly type: 'close'; readonly id: number };

export interface RawPicture {
  readonly width: number;
  readonly height: number;
  readonly pixels: Uint8Array;
}

/** Answers of the thread; every request gets one `done` or `failed`. */
export type Response =
  | { readonly type: 'started'; readonly id: number; readonly at: number }
  | {
      readonly type: 'done';
      readonly id: number;
      /** Names of the models and rewards in memory. */
      readonly loaded?: readonly string[];
      readonly embedding?: Float32Array;
      /** By reward, then by draw. */
      readonly scores?: readonly (readonly number[])[];
      readonly pictures?: readonly (RawPicture | null)[];
    }
  | { readonly type: 'failed'; readonly id: number; readonly message: string; readonly known: boolean };
