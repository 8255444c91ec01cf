import { existsSync } from 'node:fs';
import { readCatalog } from '../../src/bundles/catalog.ts';
import { readConfig } from '../../src/config/config.ts';
import type { Evaluation, Evaluator } from '../../src/core/evaluator.ts';
import type { Noise } from '../../src/core/noise.ts';
import type { Picture } from '../../src/core/picture.ts';
import { Engine } from '../../src/engine/engine.ts';
import { chooseModel, chooseTerms } from '../../src/jobs/choose-bundles.ts';
import { resolveOptimizer } from '../../src/jobs/resolve-optimizer.ts';
import { resolveSampler } from '../../src/jobs/resolve-sampler.ts';
import { sampleNoise } from '../../src/numerics/distributions/sample.ts';
import { findOptimizer } from '../../src/numerics/optimizers/registry.ts';
import { summarizeReport } from '../../src/numerics/report.ts';
import { thumbnailFeatures } from '../../src/pictures/thumbnail-features.ts';
import { graphRewards, type Term, withRewards } from '../../src/rewards/weighted-rewards.ts';
import { runSearch } from '../../src/search/search-loop.ts';
import { parseOptimizer } from './optimizer-spec.ts';
import { type Cell, fromReport, type Run, rounded, type Setup } from './records.ts';
import type { Runner, RunSettings } from './runner.ts';
import { heldOutNoises } from './suites.ts';

/** Starts a runner in this process: engine, search and judgement without a service. */
export async function startLocalRunner(settings: RunSettings): Promise<Runner> {
  const config = readConfig(process.env);
  const catalog = await readCatalog(config.modelFolders.filter((folder) => existsSync(folder)));
  const model = chooseModel(catalog, settings.model, 'model');
  const terms = chooseTerms(catalog, settings.reward ?? model.defaults.reward ?? undefined, 'reward');
  const unseen = settings.unseen === null ? [] : chooseTerms(catalog, settings.unseen, 'unseen');
  const sampler = resolveSampler(model, {}, 'sampler');
  const engine = await Engine.start({
    executionProviders: [...config.executionProviders],
    threads: config.threads,
    batchSize: config.batchSize,
  });
  const both = [...terms, ...unseen.map((term): Term => ({ ...term, weight: 0 }))];
  await engine.open(model, graphRewards(both), { warmUp: true });

  const pipeline =
    (terms: readonly Term[]) =>
    async (prompt: string): Promise<Evaluator> =>
      withRewards(
        await engine.pipeline({ model, rewards: graphRewards(terms), prompt, negativePrompt: '', sampler }),
        terms,
        prompt,
      );
  // The search does not compute the unseen score.
  const searching = cacheLatest(pipeline(terms));
  const judging = cacheLatest(pipeline(both));
  const base = cacheLatest(async (key: string) => {
    const [prompt, seed] = JSON.parse(key) as [string, number];
    return judge(await judging(prompt), heldOutNoises(seed, settings.samples), terms.length);
  });

  const { scheduler, steps, guidanceScale, eta } = sampler;
  const setup: Setup = {
    type: 'setup',
    suite: settings.suite,
    model: model.name,
    reward: terms.map(({ reward }) => reward.name).join(' + '),
    unseen: unseen[0]?.reward.name ?? null,
    sampler: { scheduler, steps, guidanceScale, eta },
    draws: settings.samples,
  };

  return {
    setup,
    async run(cell: Cell, onImages): Promise<Run> {
      const { prompt, seed, budget } = cell;
      const evaluator = await searching(prompt);
      const { name, ...parameters } = resolveOptimizer(parseOptimizer(cell.optimizer));
      const optimizer = findOptimizer(name).create(
        { shape: evaluator.shape, seed, budget, promptEmbedding: evaluator.promptEmbedding },
        parameters as Record<string, number | boolean>,
      );
      const cpuBefore = process.cpuUsage();
      const search = await runSearch({
        optimizer,
        evaluator,
        budget: { images: budget, seconds: null, targetReward: null, patience: null },
        now: () => performance.now(),
        onIteration: ({ rewards }) => onImages(rewards.length),
      });
      const { user, system } = process.cpuUsage(cpuBefore);
      const distribution = optimizer.policy();
      const unlearnedNoises = heldOutNoises(seed, settings.samples);
      const learnedValues = unlearnedNoises.map(({ key }) => sampleNoise(distribution, key));
      const before = await base(JSON.stringify([prompt, seed]));
      const after = await judge(
        await judging(prompt),
        unlearnedNoises.map(({ key }, i) => ({ key, values: learnedValues[i] })),
        terms.length,
      );
      onImages(settings.samples);
      const report = summarizeReport({
        baseRewards: before.rewards,
        learnedRewards: after.rewards,
        baseFeatures: before.features,
        learnedFeatures: after.features,
        learnedNoises: learnedValues,
      });
      return {
        type: 'run',
        ...cell,
        ...fromReport(report),
        unseenBase: before.unseen,
        unseenLearned: after.unseen,
        search: search.rewards.map(rounded),
        seconds: rounded(search.seconds),
        cpuSeconds: rounded((user + system) / 1e6),
      };
    },
    stop: () => engine.close(),
  };
}

/**
 * Rewards, unseen scores and features of the pictures of noises.
 * @param seenTerms number of reward terms; a further term is the unseen score
 */
async function judge(evaluator: Evaluator, noises: readonly Noise[], seenTerms: number) {
  const evaluations = await evaluator.evaluate(noises, { reward: true, pictures: true });
  const hasUnseen = (evaluations[0].terms as readonly number[]).length > seenTerms;
  return {
    rewards: evaluations.map(({ reward }) => reward as number),
    unseen: hasUnseen
      ? evaluations.map(({ terms }: Evaluation) => rounded((terms as readonly number[])[seenTerms]))
      : null,
    features: evaluations.map(({ picture }) => thumbnailFeatures(picture as Picture)),
  };
}

/** Caches the latest result. That suffices, because the cells of a prompt are adjacent. */
function cacheLatest<T>(make: (key: string) => Promise<T>): (key: string) => Promise<T> {
  let latest: { key: string; value: Promise<T> } | null = null;
  return (key) => {
    if (latest?.key !== key) latest = { key, value: make(key) };
    return latest.value;
  };
}
