import { STREAMS } from '../draw.ts';
import { dimension } from '../laws/check.ts';
import { standardLaw } from '../laws/gaussian.ts';
import type { Law } from '../laws/law.ts';
import { anchoredLaw } from '../laws/mixture.ts';
import { standardNormal } from '../normal.ts';
import { mean, sampleStandardDeviation } from '../statistics.ts';
import { blend, chooseCentres, type Elite, packElites, unpackElites } from './elite.ts';
import type { Kernel } from './gaussian-process.ts';
import { Lineage } from './lineage.ts';
import type { Optimizer, OptimizerDefinition, OptimizerState, Proposal, SearchProblem } from './optimizer.ts';

interface Settings {
  readonly batchSize: number;
  readonly components: number;
  readonly decay: number;
  readonly warmUp: number;
  readonly founders: number;
  readonly race: number;
  readonly searchC: number;
  readonly c: number;
  readonly power: number;
  readonly nugget: number;
}

/**
 * Lineages climbed by Gaussian processes.
 *
 * 1. A share `warmUp` of the budget is drawn from N(0, I); its best `founders` draws found a lineage each. Draws of N(0, I) are all but orthogonal, so
 *    the lineages stay apart, which is what keeps the learned law's pictures different from each other.
 * 2. A lineage proposes near its centre, at cosine `searchC`, on the shell. The rewards of a lineage condition a Gaussian process over directions
 *    of noise, whose covariance falls off with the `power` of their cosine, with a `nugget` for what neighbours say nothing of (Matheron 1963 named this
 *    kriging; Rasmussen and Williams 2006, section 2.2). The next centre is where its mean is highest on the sphere of the lineage's span: not the best
 *    draw, which is mostly the luckiest, but the combination of all draws that is expected to be best.
 * 3. A good founder may stand among bad neighbours. So for a share `race` of the budget all lineages propose in turn; then only the `components` of which
 *    most is expected go on, the k-th best with a share of draws in proportion to `decay`^k.
 * 4. The law is a mixture of z = c * centre_k + sqrt(1 - c^2) * eps over these lineages, with the same shares as weights.
 *
 * Kernel and cosines are one set for all prompts and budgets. A step costs O(n d + n^2) for a lineage of n draws of d numbers.
 */
class Kriging implements Optimizer {
  readonly #problem: SearchProblem;
  readonly #settings: Settings;
  readonly #kernel: Kernel;
  readonly #dimension: number;
  readonly #warmUpEnd: number;
  readonly #raceEnd: number;
  /** Of the law's components, and of the draws that their lineages get. */
  readonly #shares: readonly number[];
  /** The best warm-up draws, best first: the founders, or those to be. */
  #founders: Elite[] = [];
  #warmUpRewards: number[] = [];
  #lineages: Lineage[] = [];
  #asked: { proposal: Proposal; lineage: Lineage | null }[] = [];
  #count = 0;

  constructor(problem: SearchProblem, settings: Settings) {
    this.#problem = problem;
    this.#settings = settings;
    this.#kernel = { linear: 0, smooth: 1 - settings.nugget, power: settings.power, nugget: settings.nugget };
    this.#dimension = dimension(problem.shape);
    this.#warmUpEnd = Math.max(1, Math.round(settings.warmUp * problem.budget));
    this.#raceEnd = this.#warmUpEnd + Math.round(settings.race * problem.budget);
    const powers = Array.from({ length: settings.components }, (_, k) => settings.decay ** k);
    const total = powers.reduce((sum, power) => sum + power, 0);
    this.#shares = powers.map((power) => power / total);
  }

  batchSize(): number {
    const end = this.#count < this.#warmUpEnd ? this.#warmUpEnd : this.#problem.budget;
    return Math.max(1, Math.min(this.#settings.batchSize, end - this.#count));
  }

  ask(count: number): Proposal[] {
    const draws = new Map(this.#lineages.map((lineage) => [lineage, lineage.points.length]));
    this.#asked = Array.from({ length: count }, (_, i) => {
      const index = this.#count + i;
      const draw = { seed: this.#problem.seed, stream: STREAMS.search, index };
      const eps = standardNormal(draw, this.#dimension);
      if (this.#lineages.length === 0) return { proposal: { draw, noise: eps }, lineage: null };
      const lineage = this.#next(index, draws);
      draws.set(lineage, (draws.get(lineage) as number) + 1);
      const noise = blend(lineage.centre(this.#scale()).noise, eps, this.#settings.searchC);
      return { proposal: { draw, noise }, lineage };
    });
    return this.#asked.map(({ proposal }) => proposal);
  }

  tell(rewards: readonly number[]): void {
    for (const [i, reward] of rewards.entries()) {
      const { proposal, lineage } = this.#asked[i];
      const { index } = proposal.draw;
      const point = { index, reward, founder: lineage?.founder ?? index, noise: proposal.noise };
      if (lineage) {
        lineage.add(point);
        continue;
      }
      this.#warmUpRewards.push(reward);
      this.#founders.push(point);
    }
    const { founders, components } = this.#settings;
    this.#founders = chooseCentres(this.#founders, { elites: Math.max(founders, components), perFounder: 1 });
    this.#count += rewards.length;
    if (this.#count >= this.#warmUpEnd && this.#lineages.length === 0) {
      this.#lineages = this.#founders.map((founder) => {
        const lineage = new Lineage(this.#kernel);
        lineage.add(founder);
        return lineage;
      });
    }
  }

  policy(): Law {
    const { shape } = this.#problem;
    if (this.#count === 0) return standardLaw(shape);
    const scale = this.#scale();
    const centres =
      this.#lineages.length > 0
        ? this.#best().map((lineage) => lineage.centre(scale).noise)
        : this.#founders.slice(0, this.#settings.components).map(({ noise }) => noise);
    const shares = this.#shares.slice(0, centres.length);
    const total = shares.reduce((sum, share) => sum + share, 0);
    return anchoredLaw(
      shape,
      centres,
      this.#settings.c,
      shares.map((share) => share / total),
    );
  }

  summary(): { readonly [key: string]: unknown } {
    const scale = this.#scale();
    return {
      lineages: this.#lineages.map((lineage) => ({
        founder: lineage.founder,
        draws: lineage.points.length,
        best: Math.max(...lineage.points.map(({ reward }) => reward)),
        expected: lineage.centre(scale).expected,
      })),
    };
  }

  state(): OptimizerState {
    const founders = packElites(this.#founders, this.#dimension);
    const lineages = this.#lineages.map((lineage) => lineage.state(this.#dimension));
    return {
      values: {
        count: this.#count,
        warmUpRewards: [...this.#warmUpRewards],
        founders: founders.values,
        lineages: lineages.map(({ values }) => values),
      },
      tensors: {
        founders: founders.noises,
        ...Object.fromEntries(lineages.map(({ noises }, k) => [`lineage.${k}`, noises])),
      },
    };
  }

  restore({ values, tensors }: OptimizerState): void {
    this.#count = values.count as number;
    this.#warmUpRewards = [...(values.warmUpRewards as number[])];
    this.#founders = unpackElites(values.founders, tensors.founders, this.#dimension);
    this.#lineages = (values.lineages as unknown[]).map((points, k) =>
      Lineage.restore(this.#kernel, points, tensors[`lineage.${k}`], this.#dimension),
    );
  }

  /** The lineages of the law, best first. */
  #best(): Lineage[] {
    const scale = this.#scale();
    return this.#lineages
      .toSorted((a, b) => b.centre(scale).expected - a.centre(scale).expected)
      .slice(0, this.#settings.components);
  }

  /** The lineage that draw `index` is of: all in turn in the race, then the best one that is furthest behind its share. */
  #next(index: number, draws: ReadonlyMap<Lineage, number>): Lineage {
    const known = (lineage: Lineage) => draws.get(lineage) as number;
    if (index < this.#raceEnd) return this.#lineages.reduce((least, one) => (known(one) < known(least) ? one : least));
    const filled = this.#best().map((lineage, k) => ({ lineage, ratio: known(lineage) / this.#shares[k] }));
    return filled.reduce((least, one) => (one.ratio < least.ratio ? one : least)).lineage;
  }

  /** Of the rewards of N(0, I). */
  #scale(): { mean: number; deviation: number } {
    const rewards = this.#warmUpRewards;
    if (rewards.length < 2) return { mean: 0, deviation: 1 };
    return { mean: mean(rewards), deviation: sampleStandardDeviation(rewards) || 1 };
  }
}

export const kriging: OptimizerDefinition = {
  name: 'kriging',
  title: 'Lineages climbed by Gaussian processes',
  source:
    'findery; kriging after Matheron 1963, Gaussian processes as in Rasmussen and Williams 2006, "Gaussian Processes for Machine Learning", section 2.2',
  parameters: {
    batchSize: { type: 'integer', default: 4, minimum: 1, maximum: 256, description: 'draws an iteration' },
    components: { type: 'integer', default: 2, minimum: 1, maximum: 64, description: 'components of the law' },
    decay: {
      type: 'number',
      default: 0.4,
      minimum: 0.01,
      maximum: 1,
      description: 'weight of a component over that of the next better one; 1: all alike',
    },
    founders: {
      type: 'integer',
      default: 6,
      minimum: 1,
      maximum: 64,
      description: 'lineages that start, `components` at least',
    },
    race: {
      type: 'number',
      default: 0.12,
      minimum: 0,
      maximum: 1,
      description:
        'share of the budget, after the warm-up, in which all lineages take turns; then the best `components` go on alone',
    },
    warmUp: {
      type: 'number',
      default: 0.2,
      minimum: 0.01,
      maximum: 1,
      description: 'share of the budget drawn from N(0, I)',
    },
    searchC: {
      type: 'number',
      default: 0.9,
      minimum: 0.1,
      maximum: 0.99,
      description: 'cosine of a proposal to the centre of its lineage',
    },
    c: {
      type: 'number',
      default: 0.98,
      minimum: 0.1,
      maximum: 0.99,
      description: 'cosine of a draw of the law to its centre',
    },
    power: {
      type: 'number',
      default: 4,
      minimum: 1,
      maximum: 64,
      description: 'of the cosine of two noises by which the covariance of their rewards falls off',
    },
    nugget: {
      type: 'number',
      default: 0.25,
      minimum: 0.001,
      maximum: 0.9,
      description: 'share of the variance of a reward that its neighbours say nothing of',
    },
  },
  create: (problem, parameters) => new Kriging(problem, parameters as unknown as Settings),
};
