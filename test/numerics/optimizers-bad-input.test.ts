import { describe, expect, it } from 'vitest';
import { checkDistribution } from '../../src/numerics/distributions/check.ts';
import { standardNormal } from '../../src/numerics/normal.ts';
import type { Optimizer, OptimizerDefinition } from '../../src/numerics/optimizers/optimizer.ts';
import { OPTIMIZERS } from '../../src/numerics/optimizers/registry.ts';

const SHAPE = [4, 8, 8];

const defaults = (definition: OptimizerDefinition) =>
  Object.fromEntries(
    Object.entries(definition.parameters).map(([name, parameter]) => [name, parameter.default]),
  );
const create = (definition: OptimizerDefinition, budget: number, parameters = {}, shape = SHAPE, seed = 3) =>
  definition.create(
    { shape, seed, budget, promptEmbedding: Float32Array.of(0.5, -1, 2) },
    { ...defaults(definition), ...parameters },
  );

/** Runs to the end of the budget; the distribution is checked after every iteration. `reward` gets the number of the draw and its noise. */
function run(
  optimizer: Optimizer,
  budget: number,
  reward: (index: number, noise: Float32Array) => number,
): void {
  for (let spent = 0; spent < budget; ) {
    const proposals = optimizer.ask(Math.min(optimizer.batchSize(), budget - spent));
    optimizer.tell(proposals.map(({ values: noise }, i) => reward(spent + i, noise)));
    spent += proposals.length;
    checkDistribution(optimizer.policy());
  }
}

/** One number from N(0, 1), the same for the same index. */
const random = (index: number) => standardNormal({ seed: 8, stream: 9, index }, 1)[0];

const STRANGE_REWARDS: { [name: string]: (index: number, noise: Float32Array) => number } = {
  constant: () => 0.3,
  'all zero': () => 0,
  'heavy-tailed (Cauchy)': (index) => random(2 * index) / random(2 * index + 1),
  'heavy-tailed to the edge of what a number can be': (index) =>
    Math.sign(random(index)) * 10 ** ((300 * Math.abs(random(index + 999))) % 308),
  'one outlier': (index) => (index === 7 ? 1e300 : 0),
  'the largest and the smallest number by turns': (index) =>
    index % 2 ? Number.MAX_VALUE : -Number.MAX_VALUE,
  'as small as numbers can be': (index) => (index % 3) * Number.MIN_VALUE,
  'mostly noise': (index, noise) => noise[0] + 30 * random(index),
};

describe.each(OPTIMIZERS.map((definition) => [definition.name, definition] as const))(
  '%s',
  (_, definition) => {
    it.each(Object.entries(STRANGE_REWARDS))(
      'has a finite, normalised distribution whatever it is told: %s',
      (_name, reward) => {
        run(create(definition, 60), 60, reward);
      },
    );

    it.each([1, 2, 3, 5])('works with a budget of %i', (budget) => {
      run(create(definition, budget), budget, (_, noise) => noise[0]);
    });

    it('works with all of its counts larger than the budget', () => {
      const large = Object.fromEntries(
        Object.entries(definition.parameters).flatMap(([name, parameter]) =>
          parameter.type === 'integer' ? [[name, Math.min(parameter.maximum, 50)]] : [],
        ),
      );
      run(create(definition, 6, large), 6, (_, noise) => noise[0]);
    });

    it('works at the ends of the range of every parameter', () => {
      for (const [name, parameter] of Object.entries(definition.parameters)) {
        const ends = parameter.type === 'boolean' ? [true, false] : [parameter.minimum, parameter.maximum];
        for (const end of ends) {
          // Two parameters that bound each other are moved together.
          const pair =
            name === 'largestC'
              ? { smallestC: Math.min(0.8, Number(end)) }
              : name === 'smallestC'
                ? { largestC: 0.99 }
                : {};
          run(create(definition, 30, { [name]: end, ...pair }), 30, (_, noise) => noise[0]);
        }
      }
    });

    it.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])(
      'refuses %d for a reward, and goes on as if it had not been told',
      (wrong) => {
        const optimizer = create(definition, 40);
        const undisturbed = create(definition, 40);
        for (const each of [optimizer, undisturbed]) run(each, 20, (_, noise) => noise[0]);
        const count = Math.min(3, optimizer.batchSize());
        const proposals = optimizer.ask(count);
        undisturbed.ask(count);
        const before = structuredClone(optimizer.state());
        const rewards = proposals.map(({ values: noise }) => noise[0]);
        expect(() => optimizer.tell([...rewards.slice(0, -1), wrong])).toThrow(/Reward \d+ is .*finite/);
        expect(() => optimizer.tell([...rewards, 0])).toThrow(/one for each/);
        expect(() => optimizer.tell([])).toThrow(/one for each/);
        expect(optimizer.state()).toEqual(before);
        optimizer.tell(rewards);
        undisturbed.tell(rewards);
        expect(optimizer.state()).toEqual(undisturbed.state());
      },
    );

    it('refuses to be asked for 0, half or NaN proposals, and a budget of 0', () => {
      for (const count of [0, -1, 0.5, Number.NaN]) {
        expect(() => create(definition, 10).ask(count)).toThrow(/integer >= 1/);
      }
      expect(() => create(definition, 0)).toThrow(/budget is 0/);
    });

    it('refuses the state of every other optimizer, of another shape, seed, budget or parameter, and stays as it was', () => {
      const optimizer = create(definition, 40);
      run(optimizer, 20, (_, noise) => noise[0]);
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
        run(other, 20, (_, noise) => noise[0]);
        expect(() => optimizer.restore(other.state())).toThrow(/state is of .*this optimizer is/);
        expect(optimizer.state()).toEqual(before);
      }
      expect(() => optimizer.restore({ values: {}, tensors: {} })).toThrow(/unknown optimizer/);
    });

    it('refuses a damaged state, and stays as it was', () => {
      const optimizer = create(definition, 40);
      run(optimizer, 20, (_, noise) => noise[0]);
      const good = structuredClone(optimizer.state());
      for (const name of Object.keys(good.tensors)) {
        const { [name]: removed, ...rest } = good.tensors;
        if (removed.length === 0) continue;
        expect(() => optimizer.restore({ values: good.values, tensors: rest }), `without ${name}`).toThrow(
          /damaged/,
        );
        const short = { ...good.tensors, [name]: removed.slice(1) };
        expect(() => optimizer.restore({ values: good.values, tensors: short }), `${name} cut`).toThrow(
          /damaged/,
        );
        const holed = removed.slice();
        holed[0] = Number.NaN;
        expect(
          () => optimizer.restore({ values: good.values, tensors: { ...good.tensors, [name]: holed } }),
          `${name} NaN`,
        ).toThrow(/damaged/);
      }
      expect(optimizer.state()).toEqual(good);
    });
  },
);
