import { existsSync } from 'node:fs';
import { realpath, stat } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import { readCatalog } from '../../bundles/catalog.ts';
import { BundleError } from '../../bundles/files.ts';
import type { ModelBundle } from '../../bundles/model-bundle.ts';
import type { RewardBundle } from '../../bundles/reward-bundle.ts';
import { type Config, EMBEDDED_MODELS } from '../../config/config.ts';
import { ProblemError } from '../../contract/problem.ts';
import { STREAMS } from '../../core/noise.ts';
import { Engine, smallestSize } from '../../engine/engine.ts';
import { EngineError } from '../../engine/graphs/engine-error.ts';
import { resolveSampler } from '../../jobs/resolve-bundles.ts';
import { RewardError } from '../../rewards/scorer.ts';
import { graphRewards, weighRewards } from '../../rewards/weigh.ts';
import { installed, type Say } from './list.ts';

const PROMPT = 'a green dog on the grass';
const DRAW = { seed: 0, stream: STREAMS.report, index: 0 };
/** What a bundle itself is to blame for. */
const BLAMED = [BundleError, EngineError, ProblemError, RewardError];

/** `findery models check`: 0 when the bundle can be used, 1 with the reason otherwise. */
export async function checkBundle(config: Config, nameOrPath: string, say: Say): Promise<number> {
  const { model, reward } = await findBundle(config, nameOrPath);
  const bundle = model ?? reward;
  try {
    if (model) await tryModel(config, model, say);
    else if (reward) await tryReward(config, reward, say);
  } catch (error) {
    if (!BLAMED.some((kind) => error instanceof kind)) throw error;
    say(`${bundle?.name} can't be used: ${(error as Error).message}`);
    return 1;
  }
  say(`${bundle?.name} is sound.`);
  return 0;
}

/**
 * A bundle by the name that it is installed under, or by its folder.
 * @throws BundleError when there is none, or its files are not what they have to be
 */
async function findBundle(
  config: Config,
  nameOrPath: string,
): Promise<{ model?: ModelBundle; reward?: RewardBundle }> {
  const isPath = /[/\\]/.test(nameOrPath) || existsSync(nameOrPath);
  const path = resolve(nameOrPath);
  if (isPath && !(await stat(path).catch(() => null))?.isDirectory())
    throw new BundleError(
      `${path} is no folder; give a bundle's folder, or the name of one that is installed.`,
    );
  const name = isPath ? basename(path) : nameOrPath;
  // Its neighbours are read along; what is wrong with them is not the question.
  const catalog = isPath ? await readCatalog([await realpath(dirname(path))]) : await installed(config);
  const same = (bundle: { readonly name: string }) => bundle.name === name;
  const problem = catalog.problems.find(same);
  if (problem) throw new BundleError(`${name} can't be used: ${problem.message}`);
  const [model, reward] = [catalog.models.find(same), catalog.rewards.find(same)];
  if (model || reward) return { model, reward };
  const there = [...catalog.models, ...catalog.rewards].map((bundle) => bundle.name).join(', ');
  throw new BundleError(
    isPath
      ? `${path} is no bundle: it has neither model_index.json (a model) nor findery.json nor preprocessor_config.json (a reward). A checkpoint is turned into a bundle by tools/export/import_checkpoint.py.`
      : `There is no model or reward "${name}"; there are: ${there}.`,
  );
}

async function tryModel(config: Config, model: ModelBundle, say: Say): Promise<void> {
  // Its defaults have to fit together: a size that the UNet can't halve comes from another model's config.
  resolveSampler(model, {}, '/sampler');
  const began = performance.now();
  const engine = await startEngine(config, say);
  try {
    const sampler = { ...model.defaults, ...smallestSize(model), steps: 2, eta: 0 };
    await engine.open(model, [], { warmUp: false });
    const opened = performance.now();
    const request = { model, rewards: [], prompt: PROMPT, negativePrompt: '', sampler, warmUp: false };
    const pipeline = await engine.pipeline(request);
    await pipeline.evaluate([{ key: DRAW }], { scores: false, pictures: true });
    const { family, defaults } = model;
    say(
      `${model.name}: ${family}, ${defaults.width}x${defaults.height}, ${defaults.scheduler}, ${defaults.steps} steps`,
    );
    say(
      `  graphs opened in ${seconds(opened - began)}, a picture of ${sampler.width}x${sampler.height} in 2 steps in ${seconds(performance.now() - opened)}`,
    );
    say(`  at most ${(process.resourceUsage().maxRSS / 2 ** 20).toFixed(2)} GiB of memory`);
  } finally {
    await engine.close();
  }
}

/** On a picture of the embedded model. */
async function tryReward(config: Config, reward: RewardBundle, say: Say): Promise<void> {
  const { models } = await readCatalog([EMBEDDED_MODELS]);
  const [model] = models;
  const terms = [{ reward, weight: 1 }];
  const engine = await startEngine(config, say);
  try {
    const sampler = { ...model.defaults, steps: 2, eta: 0 };
    const rewards = graphRewards(terms);
    const pipeline = await engine.pipeline({ model, rewards, prompt: PROMPT, negativePrompt: '', sampler });
    const evaluator = weighRewards(pipeline, terms, PROMPT);
    const [evaluation] = await evaluator.evaluate([{ key: DRAW }], { reward: true, pictures: false });
    say(
      `${reward.name}: ${reward.type}, reads ${reward.reads.join(' and ')}; a picture of 2 steps scores ${evaluation.reward?.toFixed(4)}`,
    );
  } finally {
    await engine.close();
  }
}

function startEngine({ executionProviders, deviceId, threads }: Config, say: Say): Promise<Engine> {
  return Engine.start({ executionProviders, deviceId, threads, batchSize: 1 }, say);
}

function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(1)} s`;
}
