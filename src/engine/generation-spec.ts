import type { ModelBundle } from '../bundles/model-bundle.ts';
import type { GraphReward } from '../bundles/reward-bundle.ts';
import type { Sampler } from '../core/sampler.ts';

/** The properties of a model that the engine's thread needs; plain data. */
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

/** The properties of a reward that the engine's thread needs; plain data. */
export type RewardSpec = Pick<
  GraphReward,
  'name' | 'path' | 'signature' | 'graph' | 'preprocessing' | 'scoring'
>;

/** A prompt, tokenized for a reward. */
export interface RewardText {
  readonly inputIds: readonly number[];
  readonly attentionMask: readonly number[];
}

/** Everything that determines pictures and scores, except for the noise. Plain data. */
export interface GenerationSpec {
  readonly model: ModelSpec;
  readonly rewards: readonly RewardSpec[];
  /** Token ids of the prompt for each text encoder. */
  readonly promptIds: readonly (readonly number[])[];
  /** Token ids of the negative prompt for each text encoder. */
  readonly negativePromptIds: readonly (readonly number[])[];
  readonly negativeIsEmpty: boolean;
  /** The prompt for each reward; null for a reward that reads no text. */
  readonly rewardTexts: readonly (RewardText | null)[];
  readonly sampler: Sampler;
  /** Shape of one latent without the batch axis, [C, H, W]. */
  readonly latentShape: readonly number[];
}

/** Tokenizes the prompts and computes the shape of the latents. */
export function createGenerationSpec({
  model,
  rewards,
  prompt,
  negativePrompt,
  sampler,
}: {
  readonly model: ModelBundle;
  readonly rewards: readonly GraphReward[];
  readonly prompt: string;
  readonly negativePrompt: string;
  readonly sampler: Sampler;
}): GenerationSpec {
  return {
    model: modelSpec(model),
    rewards: rewards.map(rewardSpec),
    promptIds: model.tokenizers.map((tokenizer) => tokenizer.encode(prompt).inputIds),
    negativePromptIds: model.tokenizers.map((tokenizer) => tokenizer.encode(negativePrompt).inputIds),
    negativeIsEmpty: negativePrompt === '',
    rewardTexts: rewards.map(({ tokenizer }) => tokenizer?.encode(prompt) ?? null),
    sampler,
    latentShape: model.latentShape(sampler.width, sampler.height),
  };
}

/** A model without its functions, which cannot be sent to a thread. */
export function modelSpec({ tokenizers: _, latentShape: __, ...model }: ModelBundle): ModelSpec {
  return model;
}

/** A reward without its tokenizer, which cannot be sent to a thread. */
export function rewardSpec({
  name,
  path,
  signature,
  graph,
  preprocessing,
  scoring,
}: GraphReward): RewardSpec {
  return { name, path, signature, graph, preprocessing, scoring };
}
