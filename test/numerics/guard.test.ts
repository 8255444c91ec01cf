import { describe, expect, it } from 'vitest';
import { MAX_ABSOLUTE_REWARD } from '../../src/core/evaluator.ts';
import { checkDistribution } from '../../src/numerics/distributions/noise-distribution.ts';
import { standardNormal } from '../../src/numerics/normal.ts';
import { guardOptimizer } from '../../src/numerics/optimizers/guard.ts';
import type {
  Optimizer,
  OptimizerDefinition,
  ParameterValues,
} from '../../src/numerics/optimizers/optimizer.ts';
import { OPTIMIZERS } from '../../src/numerics/optimizers/registry.ts';
import { snes } from '../../src/numerics/optimizers/snes.ts';
import { createOptimizer, type Reward, runSearch } from '../support/optimizers.ts';

const SHAPE = [4, 8, 8];
const create = (
  definition: OptimizerDefinition,
  budget: number,
  parameters: ParameterValues = {},
  shape = SHAPE,
  seed = 3,
) => createOptimizer(definition, { shape, seed, budget }, parameters);

/** Runs a search that checks the distribution after every iteration. */
const runChecked = (optimizer: Optimizer, budget: number, reward: Reward) =>
  runSearch(optimizer, budget, reward, () => checkDistribution(optimizer.policy()));

const firstValue: Reward = (noise) => noise[0];

/** One number from N(0, 1), the same for the same index. */
const random = (index: number) => standardNormal({ seed: 8, stream: 9, index }, 1)[0];

const EXTREME_REWARDS: { [name: string]: Reward } = {
  constant: () => 0.3,
  'all zero': () => 0,
  'heavy-tailed (Cauchy)': (_, index) => random(2 * index) / random(2 * index + 1),
  'heavy-tailed up to the largest numbers': (_, index) =>
    Math.sign(random(index)) * 10 ** ((300 * Math.abs(random(index + 999))) % 308),
  'one outlier': (_, index) => (index === 7 ? 1e300 : 0),
  'alternately the largest and the smallest number': (_, index) =>
    index % 2 ? Number.MAX_VALUE : -Number.MAX_VALUE,
  'as small as numbers can be': (_, index) => (index % 3) * Number.MIN_VALUE,
  'mostly noise': (noise, index) => noise[0] + 30 * random(index),
};

describe.each(OPTIMIZERS.map((definition) => [definition.name, definition] as const))(
  '%s',
  (_, definition) => {
    it.each(Object.entries(EXTREME_REWARDS))(
      'keeps a valid distribution with rewards that are %s',
      (_, reward) => {
        runChecked(create(definition, 60), 60, reward);
      },
    );

    it.each([1, 2, 3, 5])('works with a budget of %i', (budget) => {
      runChecked(create(definition, budget), budget, firstValue);
    });

    it('works with counts that are larger than the budget', () => {
      const large = Object.fromEntries(
        Object.entries(definition.parameters).flatMap(([name, parameter]) =>
          parameter.type === 'integer' ? [[name, Math.min(parameter.maximum, 50)]] : [],
        ),
      );
      runChecked(create(definition, 6, large), 6, firstValue);
    });

    it('works at both ends of the range of every parameter', () => {
      for (const [name, parameter] of Object.entries(definition.parameters)) {
        const ends = parameter.type === 'boolean' ? [true, false] : [parameter.minimum, parameter.maximum];
        for (const end of ends) {
          // smallestC and largestC bound each other.
          const bound: ParameterValues =
            name === 'largestC'
              ? { smallestC: Math.min(0.8, Number(end)) }
              : name === 'smallestC'
                ? { largestC: 0.99 }
                : {};
          runChecked(create(definition, 30, { [name]: end, ...bound }), 30, firstValue);
        }
      }
    });

    it.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])(
      'rejects the reward %d and stays unchanged',
      (wrong) => {
        const optimizer = create(definition, 40);
        const undisturbed = create(definition, 40);
        for (const each of [optimizer, undisturbed]) runChecked(each, 20, firstValue);
        const count = Math.min(3, optimizer.batchSize());
        const proposals = optimizer.ask(count);
        undisturbed.ask(count);
        const before = structuredClone(optimizer.state());
        const rewards = proposals.map(({ values }) => values[0]);
        expect(() => optimizer.tell([...rewards.slice(0, -1), wrong])).toThrow(/Reward \d+ is .*finite/);
        expect(() => optimizer.tell([...rewards, 0])).toThrow(/one reward per proposal/);
        expect(() => optimizer.tell([])).toThrow(/tell got 0 rewards for \d proposals/);
        expect(optimizer.state()).toEqual(before);
        optimizer.tell(rewards);
        undisturbed.tell(rewards);
        expect(optimizer.state()).toEqual(undisturbed.state());
      },
    );

    it('rejects other numbers of proposals than integers >= 1, and a budget of 0', () => {
      for (const count of [0, -1, 0.5, Number.NaN]) {
        expect(() => create(definition, 10).ask(count)).toThrow(/integer >= 1/);
      }
      expect(() => create(definition, 0)).toThrow(/budget is 0/);
    });

    it('rejects states of other optimizers, shapes, seeds, budgets or parameters, unchanged', () => {
      const optimizer = create(definition, 40);
      runChecked(optimizer, 20, firstValue);
      const before = structuredClone(optimizer.state());
      const foreign = [
        ...OPTIMIZERS.filter((other) => other !== definition).map((other) => create(other, 40)),
        create(definition, 40, {}, [4, 8, 4]),
        create(definition, 40, {}, [8, 8, 4]),
        create(definition, 40, {}, SHAPE, 4),
        create(definition, 41),
        create(definition, 40, { batchSize: 7 }),
      ];
      for (const other of foreign) {
        runChecked(other, 20, firstValue);
        expect(() => optimizer.restore(other.state())).toThrow(/state belongs to .*this optimizer is/);
        expect(optimizer.state()).toEqual(before);
      }
      expect(() => optimizer.restore({ values: {}, tensors: {} })).toThrow(/unknown optimizer/);
    });

    it('rejects a damaged state and stays unchanged', () => {
      const optimizer = create(definition, 40);
      runChecked(optimizer, 20, firstValue);
      const good = structuredClone(optimizer.state());
      const restoreWith = (tensors: typeof good.tensors) => () =>
        optimizer.restore({ values: good.values, tensors });
      for (const name of Object.keys(good.tensors)) {
        const { [name]: removed, ...rest } = good.tensors;
        if (removed.length === 0) continue;
        expect(restoreWith(rest), `without ${name}`).toThrow(/damaged/);
        expect(restoreWith({ ...good.tensors, [name]: removed.slice(1) }), `${name} cut`).toThrow(/damaged/);
        const withNaN = removed.slice();
        withNaN[0] = Number.NaN;
        expect(restoreWith({ ...good.tensors, [name]: withNaN }), `${name} NaN`).toThrow(/damaged/);
      }
      expect(optimizer.state()).toEqual(good);
    });
  },
);

it('clamps rewards beyond the bound, which a weighted sum of scores can exceed', () => {
  const received: number[] = [];
  const recorder: OptimizerDefinition = {
    ...snes,
    create: (problem, parameters) => {
      const inner = snes.create(problem, parameters);
      return new Proxy(inner, {
        get: (_, name) => {
          if (name === 'tell') return (rewards: readonly number[]) => received.push(...rewards);
          const member: unknown = Reflect.get(inner, name);
          return typeof member === 'function' ? member.bind(inner) : member;
        },
      });
    },
  };
  const optimizer = createOptimizer(guardOptimizer(recorder), { budget: 4 });
  optimizer.ask(4);
  optimizer.tell([1e15, -8e15, MAX_ABSOLUTE_REWARD, 0.5]);
  expect(received).toEqual([MAX_ABSOLUTE_REWARD, -MAX_ABSOLUTE_REWARD, MAX_ABSOLUTE_REWARD, 0.5]);
});
