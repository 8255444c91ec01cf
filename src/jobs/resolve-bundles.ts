import type { Catalog, ModelBundle, RewardBundle } from '../bundles/catalog.ts';
import { usesClassifierFreeGuidance } from '../bundles/families.ts';
import { schedulerOptions } from '../bundles/scheduler-options.ts';
import type { Tokenizer } from '../bundles/tokenizer.ts';
import { ProblemError } from '../contract/problem.ts';
import type {
  RewardChoice,
  RewardChoiceRequest,
  Sampler,
  SamplerRequest,
  Warning,
} from '../contract/schemas/common.ts';
import { findScheduler } from '../numerics/schedulers/registry.ts';
import type { SchedulerDefinition } from '../numerics/schedulers/scheduler.ts';
import { Memo } from './memo.ts';

/** The model of that name, or the first one installed. */
export function chooseModel(catalog: Catalog, name: string | undefined, pointer: string): ModelBundle {
  return choose('model', catalog.models, catalog, name, pointer);
}

/** The reward of that name, or the first one in a folder. */
export function chooseReward(catalog: Catalog, name: string | undefined, pointer: string): RewardBundle {
  const installed =
    name === undefined ? catalog.rewards.filter(({ path }) => path !== null) : catalog.rewards;
  return choose('reward', installed, catalog, name, pointer);
}

/**
 * The rewards that are asked for with what they count for; the first one in a folder when none is.
 * @throws ProblemError for unknown names, one named twice, and weights that are all 0
 */
export function chooseTerms(
  catalog: Catalog,
  wanted: RewardChoiceRequest | undefined,
  pointer: string,
): { readonly reward: RewardBundle; readonly weight: number }[] {
  if (typeof wanted !== 'object') return [{ reward: chooseReward(catalog, wanted, pointer), weight: 1 }];
  const terms = wanted.map(({ name, weight = 1 }, i) => ({
    reward: chooseReward(catalog, name, `${pointer}/${i}/name`),
    weight,
  }));
  const names = wanted.map(({ name }) => name);
  const twice = names.findIndex((name, i) => names.indexOf(name) < i);
  if (twice >= 0) {
    throw new ProblemError(
      'not-possible',
      `The reward "${names[twice]}" is in the list twice; name it once.`,
      [{ pointer: `${pointer}/${twice}/name`, message: 'is there already' }],
    );
  }
  if (terms.every(({ weight }) => weight === 0)) {
    throw new ProblemError(
      'not-possible',
      'Every weight of the reward is 0: there is nothing to get more of.',
      [{ pointer, message: 'takes a weight other than 0' }],
    );
  }
  return terms;
}

/** The shorter form of a list of terms: the name alone where it is one that counts once. */
export function nameTerms(
  terms: readonly { readonly reward: { readonly name: string }; readonly weight: number }[],
): RewardChoice {
  const [{ reward, weight }] = terms;
  if (terms.length === 1 && weight === 1) return reward.name;
  return terms.map(({ reward, weight }) => ({ name: reward.name, weight }));
}

/** Scores of terms by the terms' names. */
export function byName(names: readonly string[], scores: readonly number[]): { [name: string]: number } {
  return Object.fromEntries(names.map((name, i) => [name, scores[i]]));
}

/** The names of a reward's terms; null: it is one reward by its name, whose score is the reward. */
export function termNames(reward: RewardChoice | null): string[] | null {
  return typeof reward === 'object' && reward !== null ? reward.map(({ name }) => name) : null;
}

function choose<T extends { readonly name: string }>(
  noun: 'model' | 'reward',
  installed: readonly T[],
  catalog: Catalog,
  name: string | undefined,
  pointer: string,
): T {
  const found = name === undefined ? installed[0] : installed.find((bundle) => bundle.name === name);
  if (found) return found;
  const broken = catalog.problems.find((problem) => problem.name === name);
  if (broken)
    throw new ProblemError('broken-bundle', `The ${noun} "${name}" can't be used: ${broken.message}`, [
      { pointer, message: 'is damaged' },
    ]);
  const names = installed.map((bundle) => bundle.name).join(', ') || 'none installed';
  throw new ProblemError(
    noun === 'model' ? 'unknown-model' : 'unknown-reward',
    name === undefined
      ? `No ${noun} is installed; put one into a folder of FINDERY_MODELS.`
      : `There is no ${noun} "${name}"; there are: ${names}.`,
    [{ pointer, message: `one of ${names}` }],
  );
}

/** Samplers that a model can be set up with: trying it takes longer than all else that is looked at in a request. */
const TRIED = new Memo<ModelBundle, true>(1000);

/**
 * The sampler with the model's defaults filled in, tried out: its scheduler is set up once as the engine will.
 * @throws ProblemError for unknown schedulers, sizes that the model can't make, and steps or eta that don't fit.
 */
export function resolveSampler(model: ModelBundle, request: SamplerRequest, pointer: string): Sampler {
  const { defaults } = model;
  const wanted = request.scheduler ?? defaults.scheduler;
  const definition = chooseScheduler(wanted, pointer);
  const sampler: Sampler = {
    scheduler: definition.name,
    steps: request.steps ?? defaults.steps,
    guidanceScale: request.guidanceScale ?? defaults.guidanceScale,
    eta: request.eta ?? 0,
    clipSkip: request.clipSkip ?? defaults.clipSkip,
    width: request.width ?? defaults.width,
    height: request.height ?? defaults.height,
  };
  if (sampler.eta > 0 && !definition.usesEta) {
    throw new ProblemError(
      'not-possible',
      `eta is ${sampler.eta}, but ${definition.name} has no eta; take 0, or the scheduler ddim.`,
      [{ pointer: `${pointer}/eta`, message: `0 with ${definition.name}` }],
    );
  }
  checkSize(model, sampler, pointer);
  checkClipSkip(model, sampler.clipSkip, pointer);
  try {
    TRIED.of(model, JSON.stringify(sampler), () => {
      const options = schedulerOptions(model, sampler, model.latentShape(sampler.width, sampler.height));
      definition.create(model.schedulerConfig, options);
      return true;
    });
  } catch (error) {
    throw new ProblemError(
      'not-possible',
      `${definition.name} can't be set up like this: ${error instanceof Error ? error.message : error}`,
      [{ pointer: `${pointer}/steps`, message: 'does not fit' }],
    );
  }
  return sampler;
}

function chooseScheduler(wanted: string, pointer: string): SchedulerDefinition {
  try {
    return findScheduler(wanted);
  } catch (error) {
    throw new ProblemError('unknown-scheduler', (error as Error).message, [
      { pointer: `${pointer}/scheduler`, message: 'is not known' },
    ]);
  }
}

function checkClipSkip({ name, family, textLayers }: ModelBundle, clipSkip: number, pointer: string): void {
  const most =
    family === 'flux' ? 0 : textLayers === null ? 31 : textLayers - (family === 'stable-diffusion' ? 1 : 2);
  if (clipSkip <= most) return;
  throw new ProblemError(
    'not-possible',
    `clipSkip is ${clipSkip}, but ${name} takes ${most === 0 ? 'only 0' : `0 to ${most}`}${family === 'flux' ? ' (it reads T5)' : ''}.`,
    [{ pointer: `${pointer}/clipSkip`, message: `at most ${most}` }],
  );
}

type Size = Partial<Pick<Sampler, 'width' | 'height'>>;

function checkSize(model: ModelBundle, size: Sampler, pointer: string): void {
  const { sizes, sizeMultiple: multiple } = model;
  const fits = (size: Size) =>
    sizes
      ? sizes.some(([width, height]) => width === (size.width ?? width) && height === (size.height ?? height))
      : (size.width ?? 0) % multiple === 0 && (size.height ?? 0) % multiple === 0;
  if (fits(size)) return;
  const { width, height } = size;
  const accepted = sizes ? sizes.map((size) => size.join('x')).join(', ') : `multiples of ${multiple}`;
  // The side that fits no size; both, where it is the pair that does not.
  const wrong = (['width', 'height'] as const).filter((side) => !fits({ [side]: size[side] }));
  const sides = wrong.length > 0 ? wrong : (['width', 'height'] as const);
  throw new ProblemError(
    'not-possible',
    `${model.name} can't make ${width}x${height} pictures; it makes ${accepted}.`,
    sides.map((side) => ({ pointer: `${pointer}/${side}`, message: `is ${size[side]}; takes ${accepted}` })),
  );
}

/** A prompt that is longer than what a model or reward reads is accepted, but not in silence. */
export function promptWarnings(
  bundles: readonly (ModelBundle | RewardBundle)[],
  prompt: string,
  negativePrompt: string,
): Warning[] {
  return bundles.flatMap((bundle) => {
    if ('type' in bundle) {
      const tokenizer = bundle.type === 'graph' ? bundle.tokenizer : null;
      return tokenizer
        ? CUT.of(bundle, prompt, () => cutWarnings(bundle.name, [tokenizer], 'prompt', prompt))
        : [];
    }
    const { name, tokenizers } = bundle;
    return CUT.of(bundle, JSON.stringify([prompt, negativePrompt]), () => [
      ...cutWarnings(name, tokenizers, 'prompt', prompt),
      ...cutWarnings(name, tokenizers, 'negativePrompt', negativePrompt),
    ]);
  });
}

/** What is cut off texts: the same prompt is asked for again and again, with other seeds. */
const CUT = new Memo<ModelBundle | RewardBundle, Warning[]>(1000);

function cutWarnings(
  reader: string,
  tokenizers: readonly Tokenizer[],
  field: string,
  text: string,
): Warning[] {
  const cuts = new Map(tokenizers.map((tokenizer) => [tokenizer.window, tokenizer.encode(text).truncated]));
  const longest = Math.max(...cuts.keys());
  return [...cuts].flatMap(([window, cut]) => {
    const more = window < longest ? ` (by one of its text encoders; another reads ${longest})` : '';
    const message = `${reader} reads the first ${window} tokens of the ${field}${more}; this is cut off: "${cut}"`;
    return cut ? [{ code: 'prompt-cut', message }] : [];
  });
}

/** A negative prompt that this sampler never looks at is accepted, but not in silence. */
export function guidanceWarnings(
  model: ModelBundle,
  { guidanceScale }: Sampler,
  negativePrompt: string,
): Warning[] {
  if (negativePrompt === '' || usesClassifierFreeGuidance(model, guidanceScale)) return [];
  const why = usesClassifierFreeGuidance(model, 2)
    ? `guidanceScale is ${guidanceScale}, and only above 1 is there classifier-free guidance`
    : 'this model makes pictures without classifier-free guidance';
  return [
    { code: 'negative-prompt-unused', message: `${model.name} does not read the negativePrompt: ${why}.` },
  ];
}
