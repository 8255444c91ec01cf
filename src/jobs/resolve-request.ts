import { randomInt } from 'node:crypto';
import type { Catalog, ModelBundle } from '../bundles/catalog.ts';
import { PRESET_VALUES } from '../contract/presets.ts';
import { ProblemError } from '../contract/problem.ts';
import type { PolicyRecord } from '../contract/records.ts';
import type { Sampler, SamplerRequest, Warning } from '../contract/schemas/common.ts';
import {
  DEFAULT_REPORT_DRAWS,
  type JobRequest,
  type JobSettings,
  MAX_DEADLINE_SECONDS,
} from '../contract/schemas/job.ts';
import type { PolicySampleRequest, SampleRequest, SampleSettings } from '../contract/schemas/sample.ts';
import { chooseModel, chooseTerms, toRewardChoice } from './choose-bundles.ts';
import { Memo } from './memo.ts';
import { guidanceWarnings, promptWarnings, schedulerWarnings } from './request-warnings.ts';
import { deviceParameters, resolveOptimizer } from './resolve-optimizer.ts';
import { resolveSampler } from './resolve-sampler.ts';

/** Pictures of a sample request that does not say how many. */
const DEFAULT_SAMPLE_COUNT = 4;

/** Optimizers of the presets, validated once: most requests use one as it is. */
const PRESET_OPTIMIZERS = Object.fromEntries(
  Object.entries(PRESET_VALUES).map(([name, { optimizer }]) => [
    name,
    Object.freeze(resolveOptimizer(optimizer)),
  ]),
);
/** Samplers of the presets by model. */
const PRESET_SAMPLERS = new Memo<ModelBundle, Sampler>(Object.keys(PRESET_VALUES).length);

/**
 * The settings of a job: every value that its worker needs. A value comes from the request, else
 * from the preset, else from the model's defaults.
 * @param now milliseconds since 1970; a deadline in seconds counts from here
 * @throws ProblemError that names the value that is not accepted, and what is accepted
 */
export function resolveJob(
  request: JobRequest,
  catalog: Catalog,
  now = Date.now(),
): { settings: JobSettings; deviceParameters: readonly string[]; warnings: Warning[] } {
  const name = request.preset ?? 'fast';
  const preset = PRESET_VALUES[name];
  const model = chooseModel(catalog, request.model, '/model');
  const terms = chooseTerms(catalog, request.reward ?? model.defaults.reward ?? undefined, '/reward');
  const negativePrompt = request.negativePrompt ?? '';
  const settings: JobSettings = {
    prompt: request.prompt,
    negativePrompt,
    preset: name,
    model: model.name,
    reward: toRewardChoice(terms),
    optimizer: request.optimizer ? resolveOptimizer(request.optimizer) : PRESET_OPTIMIZERS[name],
    budget: {
      images: request.budget?.images ?? preset.images,
      seconds: request.budget?.seconds ?? null,
      targetReward: request.budget?.targetReward ?? null,
      patience: request.budget?.patience ?? null,
    },
    sampler: request.sampler
      ? resolveSampler(model, { ...preset.sampler, ...request.sampler }, '/sampler')
      : PRESET_SAMPLERS.get(model, name, () =>
          Object.freeze(resolveSampler(model, preset.sampler, '/sampler')),
        ),
    seed: request.seed ?? randomSeed(),
    samples: request.samples ?? 0,
    reportDraws: resolveReportDraws(request.reportDraws),
    parallelism: request.parallelism ?? 1,
    priority: request.priority ?? 'normal',
    deadline: resolveDeadline(request.deadline, now),
    metadata: request.metadata ?? {},
  };
  return {
    settings,
    deviceParameters: deviceParameters(request.optimizer ?? preset.optimizer),
    warnings: [
      ...promptWarnings([model, ...terms.map(({ reward }) => reward)], request.prompt, negativePrompt),
      ...guidanceWarnings(model, settings.sampler, negativePrompt),
      ...schedulerWarnings(model, settings.sampler.scheduler),
    ],
  };
}

/**
 * The settings of samples from the base distribution, N(0, I).
 * @throws ProblemError that names the value that is not accepted, and what is accepted
 */
export function resolveSample(
  request: SampleRequest,
  catalog: Catalog,
): { settings: SampleSettings; warnings: Warning[] } {
  const model = chooseModel(catalog, request.model, '/model');
  const choice = request.reward === undefined ? (model.defaults.reward ?? null) : request.reward;
  const terms = choice === null ? null : chooseTerms(catalog, choice, '/reward');
  const negativePrompt = request.negativePrompt ?? '';
  const sampler = resolveSampler(model, samplerFields(request), '');
  return {
    settings: {
      policyId: null,
      prompt: request.prompt,
      negativePrompt,
      model: model.name,
      reward: terms && toRewardChoice(terms),
      sampler,
      ...resolveBatch(request, terms !== null),
    },
    warnings: [
      ...promptWarnings(
        [model, ...(terms ?? []).map(({ reward }) => reward)],
        request.prompt,
        negativePrompt,
      ),
      ...guidanceWarnings(model, sampler, negativePrompt),
      ...schedulerWarnings(model, sampler.scheduler),
    ],
  };
}

/**
 * The settings of samples from a policy. A value comes from the request, else from the policy.
 * @throws ProblemError that names the value that is not accepted, and what is accepted
 */
export function resolvePolicySample(
  policy: PolicyRecord,
  request: PolicySampleRequest,
  catalog: Catalog,
): { settings: SampleSettings; warnings: Warning[] } {
  const model = chooseModel(catalog, policy.model, '');
  const choice = request.reward === undefined ? policy.reward : request.reward;
  const terms = choice === null ? null : chooseTerms(catalog, choice, request.reward ? '/reward' : '');
  const sampler = resolveSampler(model, { ...policy.sampler, ...samplerFields(request) }, '');
  checkShape(policy, model, sampler);
  return {
    settings: {
      policyId: policy.id,
      prompt: policy.prompt,
      negativePrompt: policy.negativePrompt,
      model: model.name,
      reward: terms && toRewardChoice(terms),
      sampler,
      ...resolveBatch(request, terms !== null),
    },
    warnings: [],
  };
}

/** Samples need latents of the shape that the policy's distribution was learned for. */
function checkShape(policy: PolicyRecord, model: ModelBundle, { width, height }: Sampler): void {
  const learned = policy.distribution.shape;
  const needed = model.latentShape(width, height);
  if (needed.join() === learned.join()) return;
  throw new ProblemError(
    'not-possible',
    `The policy ${policy.id} is a distribution over latents of shape [${learned}]; ` +
      `${width}x${height} pictures of ${model.name} need [${needed}]. Leave width and height out.`,
    [
      {
        pointer: '/width',
        message: `only ${policy.sampler.width}x${policy.sampler.height} fits this distribution`,
      },
    ],
  );
}

/** Seeds of requests that give none stay below 2^32, short enough to be read out. */
function randomSeed(): number {
  return randomInt(2 ** 32);
}

/** A report on one sample would have no standard error. */
function resolveReportDraws(count: number = DEFAULT_REPORT_DRAWS): number {
  if (count !== 1) return count;
  throw new ProblemError('not-possible', 'reportDraws is 1; it takes 0 (no report) or 2 to 256.', [
    { pointer: '/reportDraws', message: '0, or 2 to 256' },
  ]);
}

/** The time of a deadline, RFC 3339 in UTC; null without a deadline. */
function resolveDeadline(deadline: JobRequest['deadline'], now: number): string | null {
  if (deadline === undefined) return null;
  const at = typeof deadline === 'number' ? now + deadline * 1000 : Date.parse(deadline);
  if (at > now && at <= now + MAX_DEADLINE_SECONDS * 1000) return new Date(at).toISOString();
  const fault = at > now ? 'more than a year from now' : 'not in the future';
  throw new ProblemError(
    'not-possible',
    `deadline is ${JSON.stringify(deadline)}, which is ${fault}; it takes a time after ` +
      `${new Date(now).toISOString()} (now), or a number of seconds, at most a year ahead.`,
    [{ pointer: '/deadline', message: 'a time within the year to come' }],
  );
}

/** The settings that both kinds of samples share. */
function resolveBatch(request: PolicySampleRequest, hasReward: boolean) {
  const count = request.count ?? DEFAULT_SAMPLE_COUNT;
  const bestOf = request.bestOf ?? count;
  if (bestOf < count) {
    throw new ProblemError(
      'not-possible',
      `bestOf is ${bestOf}, but count is ${count}; bestOf takes ${count} or more ` +
        '(bestOf pictures are made, the count best are stored).',
      [{ pointer: '/bestOf', message: `at least ${count}` }],
    );
  }
  if (bestOf > count && !hasReward) {
    throw new ProblemError(
      'not-possible',
      'bestOf needs a reward to choose by; name one, or leave bestOf out.',
      [{ pointer: '/bestOf', message: 'needs a reward' }],
    );
  }
  return {
    seed: request.seed ?? randomSeed(),
    count,
    bestOf,
    format: request.format ?? ('png' as const),
    priority: request.priority ?? ('normal' as const),
    metadata: request.metadata ?? {},
  };
}

/** The sampler of a sample request, whose fields lie at its top; fields left out stay out. */
function samplerFields({
  scheduler,
  steps,
  guidanceScale,
  eta,
  clipSkip,
  width,
  height,
}: PolicySampleRequest): SamplerRequest {
  const given = { scheduler, steps, guidanceScale, eta, clipSkip, width, height };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}
