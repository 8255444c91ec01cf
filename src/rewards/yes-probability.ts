import { isObject } from '../core/is-object.ts';
import { excerpt } from './scorer.ts';

/**
 * The probability that a model answers "Yes", from the token probabilities of a chat completion:
 * VQAScore (Lin et al. 2024, arXiv 2404.01291, equation 1). Spellings of the word that differ in
 * case, in spaces or in a full stop count together.
 *
 * The first position counts at which one of the likely tokens is a yes or a no.
 * @returns a number in [0, 1]; `problem` if the answer has no such position
 */
export function readYesProbability(answer: unknown): number | { readonly problem: string } {
  const choice: unknown =
    isObject(answer) && Array.isArray(answer.choices) && isObject(answer.choices[0]) ? answer.choices[0] : {};
  const { logprobs, message } = choice as { readonly logprobs?: unknown; readonly message?: unknown };
  const positions = isObject(logprobs) && Array.isArray(logprobs.content) ? logprobs.content : [];
  if (positions.length === 0)
    return {
      problem: 'gave no token probabilities (logprobs). Choose a server that gives them, or remove "answer".',
    };
  for (const position of positions) {
    const tokens = likelyTokens(position);
    const yes = probabilityOf('yes', tokens);
    const no = probabilityOf('no', tokens);
    if (yes + no > 0) return Math.min(1, yes);
  }
  const text = isObject(message) ? message.content : null;
  return {
    problem: `answered ${excerpt(text)}, in which no token is near a Yes or No; ask for one in rubric.`,
  };
}

interface Token {
  readonly token: string;
  /** Natural logarithm of the probability. */
  readonly logprob: number;
}

/** The most likely tokens at a position, or the token itself if the server lists no others. */
function likelyTokens(position: unknown): readonly Token[] {
  if (!isObject(position)) return [];
  const listed = Array.isArray(position.top_logprobs) ? position.top_logprobs : [];
  return (listed.length > 0 ? listed : [position]).filter(
    (entry): entry is Token =>
      isObject(entry) && typeof entry.token === 'string' && typeof entry.logprob === 'number',
  );
}

function probabilityOf(word: string, tokens: readonly Token[]): number {
  return tokens
    .filter(({ token }) => token.trim().replace(/\.$/, '').toLowerCase() === word)
    .reduce((sum, { logprob }) => sum + Math.exp(logprob), 0);
}
