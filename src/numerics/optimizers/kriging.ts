import { STREAMS } from '../draw.ts';
import { dimension } from '../laws/check.ts';
import { standardLaw } from '../laws/gaussian.ts';
import type { Law } from '../laws/law.ts';
import { anchoredLaw } from '../laws/mixture.ts';
import { standardNormal } from '../normal.ts';
import { mean, sampleStandardDeviation } from '../statistics.ts';
import { blend, chooseCentres, type Elite, onShell, packElites, unpackElites } from './elite.ts';
import type { Kernel } from './gaussian-process.ts';
import { Lineage } from './lineage.ts';
import type { Optimizer, OptimizerDefinition, OptimizerState, Proposal, SearchProblem } from './optimizer.ts';
import { Trial } from './trial.ts';

interface Settings {
  readonly batchSize: number;
  readonly components: number;
  readonly decay: number;
  readonly warmUp: number;
  readonly trial: number;
  readonly searchC: number;
  readonly c: number;
  readonly power: number;
  readonly nugget: number;
}

/** Most noises seen that are tried as centres of the law, and most of one founder. */
const CANDIDATES = 12;
const PER_FOUNDER = 4;

/** What a proposal was made from: a lineage's centre, a candidate of the trial, or nothing but N(0, I). */
interface Asked {
  readonly proposal: Proposal;
  readonly lineage?: Lineage;
  readonly candidate?: Elite;
}

/**
 * Lineages climbed by Gaussian processes.
 *
 * 1. A share `warmUp` of the budget is drawn from N(0, I); its best `components` draws found a lineage each. Draws of N(0, I) are all but orthogonal, so
 *    the lineages stay apart, which is what keeps the learned law's pictures different from each other.
 * 2. Each lineage in turn proposes near its centre, at cosine `searchC`, on the shell. The rewards of a lineage condition a Gaussian process over directions
 *    of noise, whose covariance falls off with the `power` of their cosine, with a `nugget` for what neighbours say nothing of (Matheron 1963 named this
 *    kriging; Rasmussen and Williams 2006, section 2.2). The next centre is where its mean is highest on the sphere of the lineage's span: not the best
 *    draw, which is mostly the luckiest, but the combination of all draws that is expected to be best.
 * 3. The last share `trial` of the budget tells which noises a law can stand on: the centres of the lineages, and the best noises seen, the best of N(0, I)
 *    among them, race by draws of the law around them (`Trial`). Some of the best noises stand beside a cliff, and some keep almost all of their reward.
 * 4. The law is a mixture of z = c * centre_k + sqrt(1 - c^2) * eps around the winners of `components` founders, weighing `decay`^k.
 *
 * Kernel and cosines are one set for all prompts and budgets. A step costs O(n^2 + n d) for a lineage of n draws of d numbers.
 */
class Kriging implements Optimizer {
  readonly #problem: SearchProblem;
  readonly #settings: Settings;
  readonly #kernel: Kernel;
  readonly #dimension: number;
  readonly #warmUpEnd: number;
  readonly #trialStart: number;
  /** Most noises that are kept as candidates. */
  readonly #most: number;
  /** The best warm-up draws, best first: the first of them found the lineages, all may be tried. */
  #founders: Elite[] = [];
  #warmUpRewards: number[] = [];
  #lineages: Lineage[] = [];
  #trial: Trial | null = null;
  #asked: Asked[] = [];
  #count = 0;

  constructor(problem: SearchProblem, settings: Settings) {
    this.#problem = problem;
    this.#settings = settings;
    this.#kernel = { linear: 0, smooth: 1 - settings.nugget, power: settings.power, nugget: settings.nugget };
    this.#dimension = dimension(problem.shape);
    this.#warmUpEnd = Math.max(1, Math.round(settings.warmUp * problem.budget));
    this.#most = Math.max(CANDIDATES, settings.components);
    this.#trialStart = Math.max(this.#warmUpEnd, Math.round((1 - settings.trial) * problem.budget));
  }

  batchSize(): number {
    const end = [this.#warmUpEnd, this.#trialStart].find((end) => this.#count < end) ?? this.#problem.budget;
    return Math.max(1, Math.min(this.#settings.batchSize, end - this.#count));
  }

  ask(count: number): Proposal[] {
    const { seed } = this.#problem;
    const { components, searchC, c } = this.#settings;
    const trial = this.#count >= this.#trialStart ? this.#trialOf() : null;
    const tried = new Map<number, number>();
    this.#asked = Array.from({ length: count }, (_, i) => {
      const index = this.#count + i;
      const draw = { seed, stream: STREAMS.search, index };
      const eps = standardNormal(draw, this.#dimension);
      if (trial) {
        const candidate = trial.next(components, tried);
        tried.set(candidate.founder, (tried.get(candidate.founder) ?? 0) + 1);
        return { proposal: { draw, noise: blend(candidate.noise, eps, c) }, candidate };
      }
      if (this.#lineages.length === 0) return { proposal: { draw, noise: eps } };
      const lineage = this.#lineages[index % this.#lineages.length];
      return { proposal: { draw, noise: blend(lineage.centre(this.#scale()).noise, eps, searchC) }, lineage };
    });
    return this.#asked.map(({ proposal }) => proposal);
  }

  tell(rewards: readonly number[]): void {
    for (const [i, reward] of rewards.entries()) {
      const { proposal, lineage, candidate } = this.#asked[i];
      const { index } = proposal.draw;
      const point = { index, reward, founder: lineage?.founder ?? index, noise: proposal.noise };
      if (candidate) this.#trialOf().add(candidate.index, reward);
      else if (lineage) lineage.add(point);
      else {
        this.#warmUpRewards.push(reward);
        this.#founders = chooseCentres([...this.#founders, point], { elites: this.#most, perFounder: 1 });
      }
    }
    this.#count += rewards.length;
    if (this.#count >= this.#warmUpEnd && this.#lineages.length === 0) {
      this.#lineages = this.#founders.slice(0, this.#settings.components).map((founder) => {
        const lineage = new Lineage(this.#kernel);
        lineage.add(founder);
        return lineage;
      });
    }
  }

  policy(): Law {
    const { shape } = this.#problem;
    if (this.#count === 0) return standardLaw(shape);
    const centres = this.#trialOf().best(this.#settings.components);
    const powers = centres.map((_, k) => this.#settings.decay ** k);
    const total = powers.reduce((sum, power) => sum + power, 0);
    return anchoredLaw(
      shape,
      centres.map(({ noise }) => noise),
      this.#settings.c,
      powers.map((power) => power / total),
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
        trial: this.#count >= this.#trialStart ? this.#trialOf().results() : null,
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
    const results = values.trial as ReturnType<Trial['results']> | null;
    this.#trial = results && Trial.restore(this.#candidates(), results);
  }

  /** The race as it stands; before it has begun, of whatever is known. */
  #trialOf(): Trial {
    if (this.#trial) return this.#trial;
    const trial = new Trial(this.#candidates());
    if (this.#count >= this.#trialStart) this.#trial = trial;
    return trial;
  }

  /** Noises that may be centres of the law; those that were not drawn, the centres of lineages, have indices below 0. */
  #candidates(): Elite[] {
    const scale = this.#scale();
    const centres = this.#lineages.map((lineage, k) => ({
      index: -1 - k,
      founder: lineage.founder,
      // As good as the best that was seen, until tried: what is expected of it is not comparable with a reward that was.
      reward: Math.max(...lineage.points.map(({ reward }) => reward)),
      noise: lineage.centre(scale).noise,
    }));
    const others = this.#founders.slice(this.#lineages.length);
    const seen = [
      ...this.#lineages.flatMap(({ points }) => points),
      ...others.map((founder) => ({ ...founder, noise: onShell(founder.noise) })),
    ];
    return [...centres, ...chooseCentres(seen, { elites: this.#most, perFounder: PER_FOUNDER })];
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
      default: 0.5,
      minimum: 0.01,
      maximum: 1,
      description: 'weight of a component over that of the next better one; 1: all alike',
    },
    warmUp: {
      type: 'number',
      default: 0.2,
      minimum: 0.01,
      maximum: 1,
      description: 'share of the budget drawn from N(0, I)',
    },
    trial: {
      type: 'number',
      default: 0.2,
      minimum: 0,
      maximum: 1,
      description: 'share of the budget that chooses the centres of the law, by draws around them',
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
