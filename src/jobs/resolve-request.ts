import { randomInt } from 'node:crypto';
import type { Catalog, ModelBundle } from '../bundles/catalog.ts';
import { PRESET_VALUES } from '../contract/presets.ts';
import { ProblemError } from '../contract/problem.ts';
import type { PolicyRecord } from '../contract/records.ts';
import type { Sampler, Warning } from '../contract/schemas/common.ts';
import {
  type JobRequest,
  type JobSettings,
  MAX_DEADLINE_SECONDS,
  type Optimizer,
  REPORT_DRAWS,
} from '../contract/schemas/job.ts';
import type { PolicySampleRequest, SampleRequest, SampleSettings } from '../contract/schemas/sample.ts';
import { lookUpOptimizer, OPTIMIZERS } from '../numerics/optimizers/registry.ts';
import { Memo } from './memo.ts';
import {
  chooseModel,
  chooseTerms,
  guidanceWarnings,
  nameTerms,
  promptWarnings,
  resolveSampler,
} from './resolve-bundles.ts';

/** Seeds that nobody gave: any integer that JSON keeps exactly, small enough to be read out loud. */
export const randomSeed = () => randomInt(2 ** 32);

/**
 * Every value that a job will use: what was asked for, then the preset, then the model's own defaults.
 * @param now milliseconds since 1970, for the deadline
 * @throws ProblemError that names the value that can't be and what can.
 */
export function resolveJob(
  request: JobRequest,
  catalog: Catalog,
  now = Date.now(),
): { settings: JobSettings; warnings: Warning[] } {
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
    reward: nameTerms(terms),
    optimizer: request.optimizer ? resolveOptimizer(request.optimizer) : PRESET_OPTIMIZERS[name],
    budget: {
      images: request.budget?.images ?? preset.images,
      seconds: request.budget?.seconds ?? null,
      targetReward: request.budget?.targetReward ?? null,
      patience: request.budget?.patience ?? null,
    },
    sampler: request.sampler
      ? resolveSampler(model, { ...preset.sampler, ...request.sampler }, '/sampler')
      : PRESET_SAMPLERS.of(model, name, () =>
          Object.freeze(resolveSampler(model, preset.sampler, '/sampler')),
        ),
    seed: request.seed ?? randomSeed(),
    samples: request.samples ?? 0,
    reportDraws: resolveReportDraws(request.reportDraws),
    priority: request.priority ?? 'normal',
    deadline: resolveDeadline(request.deadline, now),
    metadata: request.metadata ?? {},
  };
  return {
    settings,
    warnings: [
      ...promptWarnings([model, ...terms.map(({ reward }) => reward)], request.prompt, negativePrompt),
      ...guidanceWarnings(model, settings.sampler, negativePrompt),
    ],
  };
}

/** What most requests take as it is: with all parameters, and tried out once. */
const PRESET_OPTIMIZERS = Object.fromEntries(
  Object.entries(PRESET_VALUES).map(([name, { optimizer }]) => [
    name,
    Object.freeze(resolveOptimizer(optimizer)),
  ]),
);
const PRESET_SAMPLERS = new Memo<ModelBundle, Sampler>(Object.keys(PRESET_VALUES).length);

/** Every value that drawing from the base model, N(0, I), will use. */
export function resolveSample(
  request: SampleRequest,
  catalog: Catalog,
): { settings: SampleSettings; warnings: Warning[] } {
  const model = chooseModel(catalog, request.model, '/model');
  const wanted = request.reward === undefined ? (model.defaults.reward ?? null) : request.reward;
  const terms = wanted === null ? null : chooseTerms(catalog, wanted, '/reward');
  const negativePrompt = request.negativePrompt ?? '';
  const sampler = resolveSampler(model, samplerFields(request), '');
  return {
    settings: {
      policyId: null,
      prompt: request.prompt,
      negativePrompt,
      model: model.name,
      reward: terms && nameTerms(terms),
      sampler,
      ...resolveDrawing(request, terms !== null),
    },
    warnings: [
      ...promptWarnings(
        [model, ...(terms ?? []).map(({ reward }) => reward)],
        request.prompt,
        negativePrompt,
      ),
      ...guidanceWarnings(model, sampler, negativePrompt),
    ],
  };
}

/** Every value that drawing from a learned policy will use: its own settings, but for what is asked for. */
export function resolvePolicySample(
  policy: PolicyRecord,
  request: PolicySampleRequest,
  catalog: Catalog,
): { settings: SampleSettings; warnings: Warning[] } {
  const model = chooseModel(catalog, policy.model, '');
  const wanted = request.reward === undefined ? policy.reward : request.reward;
  const terms = wanted === null ? null : chooseTerms(catalog, wanted, request.reward ? '/reward' : '');
  const sampler = resolveSampler(model, { ...policy.sampler, ...samplerFields(request) }, '');
  const shape = model.latentShape(sampler.width, sampler.height);
  if (shape.join() !== policy.distribution.shape.join()) {
    throw new ProblemError(
      'not-possible',
      `The policy ${policy.id} is a distribution over latents of shape [${policy.distribution.shape}]; ${sampler.width}x${sampler.height} pictures of ${model.name} need [${shape}]. Leave width and height out.`,
      [
        {
          pointer: '/width',
          message: `only ${policy.sampler.width}x${policy.sampler.height} fits this distribution`,
        },
      ],
    );
  }
  return {
    settings: {
      policyId: policy.id,
      prompt: policy.prompt,
      negativePrompt: policy.negativePrompt,
      model: model.name,
      reward: terms && nameTerms(terms),
      sampler,
      ...resolveDrawing(request, terms !== null),
    },
    warnings: [],
  };
}

/**
 * The optimizer with all its parameters.
 * @throws ProblemError for unknown names and parameters and for values out of range.
 */
export function resolveOptimizer(request: Optimizer): Optimizer {
  const definition = lookUpOptimizer(request.name);
  if (!definition) {
    const names = OPTIMIZERS.map(({ name }) => name).join(', ');
    throw new ProblemError(
      'unknown-optimizer',
      `There is no optimizer "${request.name}"; there are ${names}.`,
      [{ pointer: '/optimizer/name', message: `one of ${names}` }],
    );
  }
  const errors: { pointer: string; message: string }[] = [];
  const resolved: Record<string, string | number | boolean> = {};
  for (const [name, parameter] of Object.entries(definition.parameters)) {
    const value = request[name] ?? parameter.default;
    resolved[name] = value;
    const fits =
      parameter.type === 'boolean'
        ? typeof value === 'boolean'
        : typeof value === 'number' &&
          value >= parameter.minimum &&
          value <= parameter.maximum &&
          (parameter.type === 'number' || Number.isInteger(value));
    if (fits) continue;
    const accepted =
      parameter.type === 'boolean'
        ? 'true or false'
        : `${parameter.type === 'integer' ? 'a whole' : 'a'} number from ${parameter.minimum} to ${parameter.maximum}`;
    errors.push({ pointer: `/optimizer/${name}`, message: `is ${JSON.stringify(value)}; takes ${accepted}` });
  }
  for (const name of Object.keys(request)) {
    if (name !== 'name' && !Object.hasOwn(definition.parameters, name)) {
      errors.push({
        pointer: `/optimizer/${name}`,
        message: `${definition.name} has no such parameter; it has ${Object.keys(definition.parameters).join(', ') || 'none'}`,
      });
    }
  }
  if (errors.length > 0) {
    throw new ProblemError(
      'not-possible',
      `The optimizer ${definition.name} can't be set like this: ${errors.map(({ pointer, message }) => `${pointer} ${message}`).join('; ')}.`,
      errors,
    );
  }
  return { name: definition.name, ...resolved };
}

/** One draw has no standard error. */
function resolveReportDraws(draws: number = REPORT_DRAWS): number {
  if (draws !== 1) return draws;
  throw new ProblemError('not-possible', 'reportDraws is 1; it takes 0 (no report) or 2 to 256.', [
    { pointer: '/reportDraws', message: '0, or 2 to 256' },
  ]);
}

/** The time of a deadline, RFC 3339 in UTC. */
function resolveDeadline(deadline: JobRequest['deadline'], now: number): string | null {
  if (deadline === undefined) return null;
  const at = typeof deadline === 'number' ? now + deadline * 1000 : Date.parse(deadline);
  if (at > now && at <= now + MAX_DEADLINE_SECONDS * 1000) return new Date(at).toISOString();
  throw new ProblemError(
    'not-possible',
    `deadline is ${JSON.stringify(deadline)}, which is ${at > now ? 'more than a year from now' : 'no time to come'}; it takes a time from now (${new Date(now).toISOString()}) on, or seconds, for a year at most.`,
    [{ pointer: '/deadline', message: 'a time within the year to come' }],
  );
}

function resolveDrawing(request: PolicySampleRequest, hasReward: boolean) {
  const count = request.count ?? 4;
  const bestOf = request.bestOf ?? count;
  if (bestOf < count) {
    throw new ProblemError(
      'not-possible',
      `bestOf is ${bestOf}, but ${count} images are wanted; it takes ${count} or more (draw bestOf, keep count).`,
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

function samplerFields({
  scheduler,
  steps,
  guidanceScale,
  eta,
  clipSkip,
  width,
  height,
}: PolicySampleRequest) {
  const given = { scheduler, steps, guidanceScale, eta, clipSkip, width, height };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}
