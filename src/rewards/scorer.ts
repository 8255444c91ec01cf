import { MAX_ABSOLUTE_REWARD } from '../core/evaluator.ts';
import type { Picture } from '../core/picture.ts';

/** Scores finished pictures; for rewards that the engine does not compute. */
export interface Scorer {
  /**
   * Returns one finite score per picture, in order.
   * @throws RewardError
   */
  score(pictures: readonly Picture[], prompt: string, signal?: AbortSignal): Promise<number[]>;
}

/** A reward gave no usable scores. The message is written for the client that chose the reward. */
export class RewardError extends Error {
  override readonly name = 'RewardError';
  /** Whether a later try may succeed, as with a service that is down or slow. */
  readonly isTransient: boolean;
  /** HTTP status of the answer, if the status is the reason. */
  readonly status: number | undefined;

  constructor(
    message: string,
    { isTransient, status }: { readonly isTransient: boolean; readonly status?: number },
  ) {
    super(message);
    this.isTransient = isTransient;
    this.status = status;
  }
}

/**
 * Checks the scores that the reward `name` gave for `pictures` pictures.
 * @throws RewardError unless there is one number within `MAX_ABSOLUTE_REWARD` for each picture
 */
export function checkScores(name: string, scores: unknown, pictures: number): number[] {
  const fail = (what: string): never => {
    throw new RewardError(
      `The reward "${name}" gave ${what}; it has to give one finite number for each of the ${pictures} ` +
        `pictures, from -${MAX_ABSOLUTE_REWARD} to ${MAX_ABSOLUTE_REWARD}, higher for better ones.`,
      { isTransient: false },
    );
  };
  if (!Array.isArray(scores)) return fail(`${excerpt(scores)} instead of a list of scores`);
  if (scores.length !== pictures) return fail(`${scores.length} scores`);
  const wrong = scores.findIndex((score) => !isScore(score));
  return wrong < 0 ? scores : fail(`${excerpt(scores[wrong])} as the score of picture ${wrong + 1}`);
}

function isScore(score: unknown): boolean {
  return typeof score === 'number' && Math.abs(score) <= MAX_ABSOLUTE_REWARD;
}

/** Longest part of a service's answer that an error message quotes, in characters. */
const MAX_EXCERPT = 400;

/** The beginning of a service's answer as JSON, for an error message. */
export function excerpt(value: unknown): string {
  const text = typeof value === 'number' ? String(value) : (JSON.stringify(value) ?? 'nothing');
  return text.length > MAX_EXCERPT ? `${text.slice(0, MAX_EXCERPT - 3)}...` : text;
}
