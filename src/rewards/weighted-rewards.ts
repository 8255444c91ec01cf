import type { RewardBundle } from '../bundles/reward-bundle.ts';
import type { Evaluation, Evaluator, ImagePipeline } from '../core/evaluator.ts';
import type { Picture } from '../core/picture.ts';
import { chatScorer } from './chat.ts';
import { httpScorer } from './http.ts';
import { jpegSizeScorer } from './jpeg-size.ts';
import { runInParallel } from './parallel.ts';
import { checkScores, type Scorer } from './scorer.ts';

/** Calls `score` of the reward with this name, and measures it. */
export type MeasureScoring = <T>(reward: string, score: () => Promise<T>) => Promise<T>;

/** One term of a weighted sum of rewards. */
export interface Term {
  readonly reward: RewardBundle;
  /** Finite. A negative weight rewards lower scores. */
  readonly weight: number;
}

/**
 * Decorates a pipeline with a reward: reward = sum of weight * score over `terms`.
 *
 * The pipeline scores the terms that are graphs; it must have been opened with
 * `graphRewards(terms)`, because its scores are taken in that order. The other terms score the
 * finished pictures, all at the same time; the first failure aborts the rest.
 * @param terms none: the evaluator makes pictures only
 * @param environment variables that headers of reward services may name
 * @param measure wraps the scoring of each term that is no graph
 * @returns an evaluator; `evaluate` rejects with RewardError if a term gives no score, or one
 *   beyond `MAX_ABSOLUTE_REWARD`; the weighted sum may lie beyond it, and optimizers clamp it
 */
export function withRewards(
  pipeline: ImagePipeline,
  terms: readonly Term[],
  prompt: string,
  environment: NodeJS.ProcessEnv = process.env,
  measure: MeasureScoring = (_, score) => score(),
): Evaluator {
  const scorers = terms.map(({ reward }) =>
    measured(createScorer(reward, environment), reward.name, measure),
  );
  const hasGraphs = scorers.includes(null);
  const needsPictures = scorers.some((scorer) => scorer !== null);
  return {
    shape: pipeline.shape,
    promptEmbedding: pipeline.promptEmbedding,
    async evaluate(noises, { reward: wantsReward, pictures: wantsPictures, signal }) {
      if (wantsReward && terms.length === 0)
        throw new RangeError('A reward was requested, but this evaluator has no terms.');
      const outputs = await pipeline.evaluate(noises, {
        scores: wantsReward && hasGraphs,
        pictures: wantsPictures || (wantsReward && needsPictures),
        signal,
      });
      if (!wantsReward) return outputs.map(({ picture }) => ({ reward: null, terms: null, picture }));
      const scoresByTerm = await scoreTerms(scorers, outputs, prompt, signal);
      for (const [k, scores] of scoresByTerm.entries())
        checkScores(terms[k].reward.name, scores, outputs.length);
      return outputs.map(({ picture }, i): Evaluation => {
        const scores = scoresByTerm.map((termScores) => termScores[i]);
        const reward = terms.reduce((sum, { weight }, k) => sum + weight * scores[k], 0);
        return { reward, terms: scores, picture: wantsPictures ? picture : null };
      });
    },
  };
}

type PipelineOutputs = Awaited<ReturnType<ImagePipeline['evaluate']>>;

/** The scores of each term, in the order of the terms: one number per picture. */
function scoreTerms(
  scorers: readonly (Scorer | null)[],
  outputs: PipelineOutputs,
  prompt: string,
  signal: AbortSignal | undefined,
): Promise<(readonly number[])[]> {
  let graphs = 0;
  const calls = scorers.map((scorer) => {
    if (scorer) {
      // The pipeline was asked for pictures and scores above, so neither is null below.
      const pictures = outputs.map(({ picture }) => picture as Picture);
      return (signal: AbortSignal) => scorer.score(pictures, prompt, signal);
    }
    const column = graphs++;
    return async () => outputs.map(({ scores }) => (scores as readonly number[])[column]);
  });
  return runInParallel<readonly number[]>(calls, calls.length, signal);
}

function measured(scorer: Scorer | null, name: string, measure: MeasureScoring): Scorer | null {
  return scorer && { score: (...input) => measure(name, () => scorer.score(...input)) };
}

/** The rewards among `terms` that the engine computes, in their order. */
export function graphRewards(terms: readonly Term[]) {
  return terms.map(({ reward }) => reward).filter((reward) => reward.type === 'graph');
}

/** The scorer of a reward outside of the engine; null if the engine computes the reward. */
function createScorer(reward: RewardBundle, environment: NodeJS.ProcessEnv): Scorer | null {
  switch (reward.type) {
    case 'graph':
      return null;
    case 'jpeg-size':
      return jpegSizeScorer(reward);
    case 'http':
      return httpScorer(reward, environment);
    case 'chat':
      return chatScorer(reward, environment);
  }
}
