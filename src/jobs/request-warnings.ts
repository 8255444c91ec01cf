import type { ModelBundle, RewardBundle } from '../bundles/catalog.ts';
import { usesClassifierFreeGuidance } from '../bundles/families.ts';
import type { Tokenizer } from '../bundles/tokenizer.ts';
import type { Sampler, Warning } from '../contract/schemas/common.ts';
import { Memo } from './memo.ts';

/** Warnings by prompt: clients send the same prompt again and again, with other seeds. */
const PROMPT_WARNINGS = new Memo<ModelBundle | RewardBundle, Warning[]>(1000);

/**
 * Warns of the end of a prompt that a model or a reward does not read, because it is longer than
 * the context of the text encoder. Rewards do not read the negative prompt.
 */
export function promptWarnings(
  bundles: readonly (ModelBundle | RewardBundle)[],
  prompt: string,
  negativePrompt: string,
): Warning[] {
  return bundles.flatMap((bundle) => {
    if ('type' in bundle) {
      const tokenizer = bundle.type === 'graph' ? bundle.tokenizer : null;
      return tokenizer
        ? PROMPT_WARNINGS.get(bundle, prompt, () =>
            truncationWarnings(bundle.name, [tokenizer], 'prompt', prompt),
          )
        : [];
    }
    const { name, tokenizers } = bundle;
    return PROMPT_WARNINGS.get(bundle, JSON.stringify([prompt, negativePrompt]), () => [
      ...truncationWarnings(name, tokenizers, 'prompt', prompt),
      ...truncationWarnings(name, tokenizers, 'negativePrompt', negativePrompt),
    ]);
  });
}

function truncationWarnings(
  reader: string,
  tokenizers: readonly Tokenizer[],
  field: string,
  text: string,
): Warning[] {
  const cuts = new Map(tokenizers.map((tokenizer) => [tokenizer.window, tokenizer.encode(text).truncated]));
  const longest = Math.max(...cuts.keys());
  return [...cuts].flatMap(([window, cut]) => {
    if (!cut) return [];
    const note = window < longest ? ` (by one of its text encoders; another reads ${longest})` : '';
    const read = `${reader} reads the first ${window} tokens of the ${field}${note}`;
    return [{ code: 'prompt-cut', message: `${read}; this is cut off: "${cut}"` }];
  });
}

/**
 * Warns of a scheduler that takes the place of the model's own one, which findery does not have.
 * @param scheduler name of the scheduler in use
 */
export function schedulerWarnings(model: ModelBundle, scheduler: string): Warning[] {
  const { name, replacedScheduler, defaults } = model;
  if (replacedScheduler === null || scheduler !== defaults.scheduler) return [];
  const message =
    `${name} was made for ${replacedScheduler}, which findery does not have; ${scheduler} is used in its ` +
    'place, on the same config.';
  return [{ code: 'scheduler-replaced', message }];
}

/**
 * Warns of a negative prompt that has no effect, because nothing applies classifier-free guidance.
 */
export function guidanceWarnings(
  model: ModelBundle,
  { guidanceScale }: Sampler,
  negativePrompt: string,
): Warning[] {
  if (negativePrompt === '' || usesClassifierFreeGuidance(model, guidanceScale)) return [];
  const why = usesClassifierFreeGuidance(model, 2)
    ? `guidanceScale is ${guidanceScale}, and only above 1 is classifier-free guidance applied`
    : 'this model makes pictures without classifier-free guidance';
  return [
    { code: 'negative-prompt-unused', message: `${model.name} does not read the negativePrompt: ${why}.` },
  ];
}
