import type { Picture } from '../core/picture.ts';

/** What scores pictures outside of the engine. */
export interface Scorer {
  /**
   * One finite score per picture, in their order.
   * @throws RewardError
   */
  score(pictures: readonly Picture[], prompt: string, signal?: AbortSignal): Promise<number[]>;
}

/** A reward that gave no scores, in words for whoever asked for it. */
export class RewardError extends Error {
  override readonly name = 'RewardError';
  /** Whether it may pass by itself: a service that is away, or slow. */
  readonly isTransient: boolean;
  /** Of the answer that it is about, where it is about the status. */
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

/** @throws RewardError unless there is one finite number for each picture */
export function checkScores(name: string, scores: unknown, pictures: number): number[] {
  const fail = (what: string): never => {
    throw new RewardError(
      `The reward "${name}" gave ${what}; it has to give one finite number for each of the ${pictures} pictures, higher for better ones.`,
      { isTransient: false },
    );
  };
  if (!Array.isArray(scores)) return fail(`${shorten(scores)} instead of a list of scores`);
  if (scores.length !== pictures) return fail(`${scores.length} scores`);
  const wrong = scores.findIndex((score) => typeof score !== 'number' || !Number.isFinite(score));
  return wrong < 0 ? scores : fail(`${shorten(scores[wrong])} as the score of picture ${wrong + 1}`);
}

/** A stranger's answer, as much of it as a message bears. */
export function shorten(value: unknown): string {
  const text = typeof value === 'number' ? String(value) : (JSON.stringify(value) ?? 'nothing');
  return text.length > 200 ? `${text.slice(0, 197)}...` : text;
}
