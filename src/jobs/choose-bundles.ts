import type { Catalog, ModelBundle, RewardBundle } from '../bundles/catalog.ts';
import { ProblemError } from '../contract/problem.ts';
import type { RewardChoice, RewardChoiceRequest } from '../contract/schemas/common.ts';

/**
 * The model with this name. Without a name: the first one in the catalog.
 * @param pointer JSON pointer of the name in the request; errors carry it
 * @throws ProblemError `unknown-model` or `broken-bundle`
 */
export function chooseModel(catalog: Catalog, name: string | undefined, pointer: string): ModelBundle {
  return chooseBundle('model', catalog.models, catalog, name, pointer);
}

/**
 * The reward with this name. Without a name: the first one that is installed in a folder, so never
 * a built-in one.
 * @param pointer JSON pointer of the name in the request; errors carry it
 * @throws ProblemError `unknown-reward` or `broken-bundle`
 */
export function chooseReward(catalog: Catalog, name: string | undefined, pointer: string): RewardBundle {
  const rewards = name === undefined ? catalog.rewards.filter(({ path }) => path !== null) : catalog.rewards;
  return chooseBundle('reward', rewards, catalog, name, pointer);
}

/**
 * The terms of a reward: each reward model with its weight. A single name is one term of weight 1,
 * nothing is the default reward.
 * @param pointer JSON pointer of the reward in the request; errors carry it
 * @throws ProblemError for an unknown name, a name that is listed twice, and weights that are all 0
 */
export function chooseTerms(
  catalog: Catalog,
  choice: RewardChoiceRequest | undefined,
  pointer: string,
): { readonly reward: RewardBundle; readonly weight: number }[] {
  if (typeof choice !== 'object') return [{ reward: chooseReward(catalog, choice, pointer), weight: 1 }];
  const terms = choice.map(({ name, weight = 1 }, i) => ({
    reward: chooseReward(catalog, name, `${pointer}/${i}/name`),
    weight,
  }));
  const names = choice.map(({ name }) => name);
  const repeated = names.findIndex((name, i) => names.indexOf(name) < i);
  if (repeated >= 0) {
    throw new ProblemError(
      'not-possible',
      `The reward "${names[repeated]}" is in the list twice; name it once.`,
      [{ pointer: `${pointer}/${repeated}/name`, message: 'is there already' }],
    );
  }
  if (terms.every(({ weight }) => weight === 0)) {
    throw new ProblemError(
      'not-possible',
      'Every weight of the reward is 0, so all pictures score the same; give at least one other weight.',
      [{ pointer, message: 'takes at least one weight other than 0' }],
    );
  }
  return terms;
}

/** The shortest form of a list of terms: one term of weight 1 becomes its name. */
export function toRewardChoice(
  terms: readonly { readonly reward: { readonly name: string }; readonly weight: number }[],
): RewardChoice {
  const [{ reward, weight }] = terms;
  if (terms.length === 1 && weight === 1) return reward.name;
  return terms.map(({ reward, weight }) => ({ name: reward.name, weight }));
}

/**
 * The names of a reward's terms; null for a single reward, whose only score is the reward itself.
 */
export function termNames(reward: RewardChoice | null): string[] | null {
  return typeof reward === 'object' && reward !== null ? reward.map(({ name }) => name) : null;
}

/** Pairs the scores of one picture with the names of the terms, as API and events show them. */
export function scoresByTerm(
  names: readonly string[],
  scores: readonly number[],
): { [name: string]: number } {
  return Object.fromEntries(names.map((name, i) => [name, scores[i]]));
}

function chooseBundle<T extends { readonly name: string }>(
  kind: 'model' | 'reward',
  installed: readonly T[],
  catalog: Catalog,
  name: string | undefined,
  pointer: string,
): T {
  const found = name === undefined ? installed[0] : installed.find((bundle) => bundle.name === name);
  if (found) return found;
  const broken = catalog.problems.find((problem) => problem.name === name);
  if (broken) {
    throw new ProblemError('broken-bundle', `The ${kind} "${name}" can't be used: ${broken.message}`, [
      { pointer, message: 'is damaged' },
    ]);
  }
  const names = installed.map((bundle) => bundle.name).join(', ') || 'none installed';
  throw new ProblemError(
    kind === 'model' ? 'unknown-model' : 'unknown-reward',
    name === undefined
      ? `No ${kind} is installed; put one into a folder of FINDERY_MODELS.`
      : `There is no ${kind} "${name}"; there are: ${names}.`,
    [{ pointer, message: `one of ${names}` }],
  );
}
