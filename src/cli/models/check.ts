import { existsSync } from 'node:fs';
import { realpath, stat } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import { readCatalog } from '../../bundles/catalog.ts';
import { BundleError } from '../../bundles/files.ts';
import type { ModelBundle } from '../../bundles/model-bundle.ts';
import { smallestPictureSize } from '../../bundles/model-sampler.ts';
import type { RewardBundle } from '../../bundles/reward-bundle.ts';
import { type Config, EMBEDDED_MODELS } from '../../config/config.ts';
import { ProblemError } from '../../contract/problem.ts';
import { STREAMS } from '../../core/noise.ts';
import { Engine } from '../../engine/engine.ts';
import { EngineError } from '../../engine/errors.ts';
import { schedulerWarnings } from '../../jobs/request-warnings.ts';
import { resolveSampler } from '../../jobs/resolve-sampler.ts';
import { RewardError } from '../../rewards/scorer.ts';
import { graphRewards, withRewards } from '../../rewards/weighted-rewards.ts';
import { installed, type Print } from './list.ts';

const PROMPT = 'a green dog on the grass';
const NOISE_KEY = { seed: 0, stream: STREAMS.report, index: 0 };
/** Errors that the bundle causes. Any other error is not the bundle's fault. */
const BUNDLE_ERRORS = [BundleError, EngineError, ProblemError, RewardError];

/**
 * `findery models check`: opens every graph of a bundle and runs it once.
 * @param nameOrPath name of an installed bundle, or the folder of any bundle
 * @returns exit status: 0 if the bundle works; 1 if it does not, after printing the reason
 * @throws BundleError when there is no such bundle
 */
export async function checkBundle(config: Config, nameOrPath: string, print: Print): Promise<number> {
  const { model, reward } = await findBundle(config, nameOrPath);
  const bundle = model ?? reward;
  try {
    if (model) await tryModel(config, model, print);
    else if (reward) await tryReward(config, reward, print);
  } catch (error) {
    if (!BUNDLE_ERRORS.some((kind) => error instanceof kind)) throw error;
    print(`${bundle?.name} can't be used: ${(error as Error).message}`);
    return 1;
  }
  print(`${bundle?.name} works.`);
  return 0;
}

/**
 * Finds a bundle by the name of an installed one, or by its folder.
 * @throws BundleError when there is no bundle, or when its files are damaged
 */
async function findBundle(
  config: Config,
  nameOrPath: string,
): Promise<{ model?: ModelBundle; reward?: RewardBundle }> {
  const isPath = /[/\\]/.test(nameOrPath) || existsSync(nameOrPath);
  const path = resolve(nameOrPath);
  if (isPath && !(await stat(path).catch(() => null))?.isDirectory())
    throw new BundleError(
      `${path} is not a folder; give a bundle's folder, or the name of an installed bundle.`,
    );
  const name = isPath ? basename(path) : nameOrPath;
  // The catalog reads the whole parent folder. Problems of the neighbours do not matter here.
  const catalog = isPath ? await readCatalog([await realpath(dirname(path))]) : await installed(config);
  const same = (bundle: { readonly name: string }) => bundle.name === name;
  const problem = catalog.problems.find(same);
  if (problem) throw new BundleError(`${name} can't be used: ${problem.message}`);
  const [model, reward] = [catalog.models.find(same), catalog.rewards.find(same)];
  if (model || reward) return { model, reward };
  const names = [...catalog.models, ...catalog.rewards].map((bundle) => bundle.name).join(', ');
  throw new BundleError(
    isPath
      ? `${path} is not a bundle: it has neither model_index.json (a model) nor findery.json nor ` +
          'preprocessor_config.json (a reward). findery import turns a checkpoint into a bundle.'
      : `There is no model or reward "${name}"; the installed ones are: ${names}.`,
  );
}

async function tryModel(config: Config, model: ModelBundle, print: Print): Promise<void> {
  // The defaults must be consistent: a config of another model may name a size that the UNet can't
  // halve.
  resolveSampler(model, {}, '/sampler');
  const began = performance.now();
  const engine = await startEngine(config, print);
  try {
    const sampler = { ...model.defaults, ...smallestPictureSize(model), steps: 2, eta: 0 };
    await engine.open(model, [], { warmUp: false });
    const opened = performance.now();
    const request = { model, rewards: [], prompt: PROMPT, negativePrompt: '', sampler, warmUp: false };
    const pipeline = await engine.pipeline(request);
    await pipeline.evaluate([{ key: NOISE_KEY }], { scores: false, pictures: true });
    const { family, defaults } = model;
    print(
      `${model.name}: ${family}, ${defaults.width}x${defaults.height}, ` +
        `${defaults.scheduler}, ${defaults.steps} steps`,
    );
    for (const { message } of schedulerWarnings(model, defaults.scheduler)) print(`  ${message}`);
    print(
      `  graphs opened in ${seconds(opened - began)}, a picture of ${sampler.width}x${sampler.height} ` +
        `in 2 steps in ${seconds(performance.now() - opened)}`,
    );
    print(`  at most ${(process.resourceUsage().maxRSS / 2 ** 20).toFixed(2)} GiB of memory`);
  } finally {
    await engine.close();
  }
}

/** Scores a picture of the embedded model. */
async function tryReward(config: Config, reward: RewardBundle, print: Print): Promise<void> {
  const { models } = await readCatalog([EMBEDDED_MODELS]);
  const [model] = models;
  const terms = [{ reward, weight: 1 }];
  const engine = await startEngine(config, print);
  try {
    const sampler = { ...model.defaults, steps: 2, eta: 0 };
    const rewards = graphRewards(terms);
    const pipeline = await engine.pipeline({ model, rewards, prompt: PROMPT, negativePrompt: '', sampler });
    const evaluator = withRewards(pipeline, terms, PROMPT);
    const [evaluation] = await evaluator.evaluate([{ key: NOISE_KEY }], { reward: true, pictures: false });
    print(
      `${reward.name}: ${reward.type}, reads ${reward.reads.join(' and ')}; ` +
        `a picture of 2 steps scores ${evaluation.reward?.toFixed(4)}`,
    );
  } finally {
    await engine.close();
  }
}

function startEngine({ executionProviders, deviceId, threads }: Config, print: Print): Promise<Engine> {
  return Engine.start({ executionProviders, deviceId, threads, batchSize: 1 }, print);
}

function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(1)} s`;
}
