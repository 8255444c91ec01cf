import { existsSync } from 'node:fs';
import { readCatalog } from '../../src/bundles/catalog.ts';
import { readConfig } from '../../src/config/config.ts';
import type { Evaluation, Evaluator } from '../../src/core/evaluator.ts';
import type { Noise } from '../../src/core/noise.ts';
import type { Picture } from '../../src/core/picture.ts';
import { Engine } from '../../src/engine/engine.ts';
import { chooseModel, chooseTerms, resolveSampler } from '../../src/jobs/resolve-bundles.ts';
import { resolveOptimizer } from '../../src/jobs/resolve-request.ts';
import { sampleNoise } from '../../src/numerics/distributions/sample.ts';
import { findOptimizer } from '../../src/numerics/optimizers/registry.ts';
import { summarizeReport } from '../../src/numerics/report.ts';
import { thumbnailFeatures } from '../../src/pictures/features.ts';
import { graphRewards, type Term, weighRewards } from '../../src/rewards/weigh.ts';
import { runSearch } from '../../src/search/run-search.ts';
import { freshDraws } from './fresh.ts';
import { parseOptimizer } from './optimizer-spec.ts';
import { type Cell, type Run, rounded, type Setup } from './record.ts';
import type { Choice, Runner } from './runner.ts';

/** Runs cells on this machine, in this process: engine, search and judgement without a service. */
export async function startLocal(choice: Choice): Promise<Runner> {
  const config = readConfig(process.env);
  const catalog = await readCatalog(config.modelFolders.filter((folder) => existsSync(folder)));
  const model = chooseModel(catalog, choice.model, 'model');
  const terms = chooseTerms(catalog, choice.reward ?? model.defaults.reward ?? undefined, 'reward');
  const unseen = choice.unseen === null ? [] : chooseTerms(catalog, choice.unseen, 'unseen');
  const sampler = resolveSampler(model, {}, 'sampler');
  const engine = await Engine.start({
    executionProviders: [...config.executionProviders],
    threads: config.threads,
    batchSize: config.batchSize,
  });
  const both = [...terms, ...unseen.map((term): Term => ({ ...term, weight: 0 }))];
  await engine.open(model, graphRewards(both), { warmUp: true });

  const pipeline =
    (wanted: readonly Term[]) =>
    async (prompt: string): Promise<Evaluator> =>
      weighRewards(
        await engine.pipeline({ model, rewards: graphRewards(wanted), prompt, negativePrompt: '', sampler }),
        wanted,
        prompt,
      );
  // The search does not even ask for the unseen score.
  const searching = lastOnly(pipeline(terms));
  const judging = lastOnly(pipeline(both));
  const base = lastOnly(async (key: string) => {
    const [prompt, seed] = JSON.parse(key) as [string, number];
    return look(await judging(prompt), freshDraws(seed, choice.draws), terms.length);
  });

  const { scheduler, steps, guidanceScale, eta } = sampler;
  const setup: Setup = {
    type: 'setup',
    suite: choice.suite,
    model: model.name,
    reward: terms.map(({ reward }) => reward.name).join(' + '),
    unseen: unseen[0]?.reward.name ?? null,
    sampler: { scheduler, steps, guidanceScale, eta },
    draws: choice.draws,
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
      const before = process.cpuUsage();
      const search = await runSearch({
        optimizer,
        evaluator,
        budget: { images: budget, seconds: null, targetReward: null, patience: null },
        now: () => performance.now(),
        onIteration: ({ rewards }) => onImages(rewards.length),
      });
      const { user, system } = process.cpuUsage(before);
      const distribution = optimizer.policy();
      const draws = freshDraws(seed, choice.draws);
      const noises = draws.map(({ key }) => sampleNoise(distribution, key));
      const unlearned = await base(JSON.stringify([prompt, seed]));
      const after = await look(
        await judging(prompt),
        draws.map(({ key }, i) => ({ key, values: noises[i] })),
        terms.length,
      );
      onImages(choice.draws);
      const report = summarizeReport({
        baseRewards: unlearned.rewards,
        learnedRewards: after.rewards,
        baseFeatures: unlearned.features,
        learnedFeatures: after.features,
        learnedNoises: noises,
      });
      return {
        type: 'run',
        ...cell,
        base: rounded(report.base.mean),
        learned: rounded(report.learned.mean),
        success: rounded(report.successRate),
        diversity: report.diversityRatio === null ? null : rounded(report.diversityRatio),
        norm: rounded(report.meanNorm),
        unseenBase: unlearned.unseen,
        unseenLearned: after.unseen,
        search: search.rewards.map(rounded),
        seconds: rounded(search.seconds),
        cpuSeconds: rounded((user + system) / 1e6),
      };
    },
    stop: () => engine.close(),
  };
}

async function look(evaluator: Evaluator, draws: readonly Noise[], seenTerms: number) {
  const evaluations = await evaluator.evaluate(draws, { reward: true, pictures: true });
  const hasUnseen = (evaluations[0].terms as readonly number[]).length > seenTerms;
  return {
    rewards: evaluations.map(({ reward }) => reward as number),
    unseen: hasUnseen
      ? evaluations.map(({ terms }: Evaluation) => rounded((terms as readonly number[])[seenTerms]))
      : null,
    features: evaluations.map(({ picture }) => thumbnailFeatures(picture as Picture)),
  };
}

/** Keeps the latest answer: cells of one prompt follow each other. */
function lastOnly<T>(make: (key: string) => Promise<T>): (key: string) => Promise<T> {
  let last: { key: string; made: Promise<T> } | null = null;
  return (key) => {
    if (last?.key !== key) last = { key, made: make(key) };
    return last.made;
  };
}
