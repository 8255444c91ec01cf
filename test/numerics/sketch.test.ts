import { expect, it } from 'vitest';
import { STREAMS } from '../../src/core/noise.ts';
import { dot } from '../../src/numerics/dot.ts';
import { standardNormal } from '../../src/numerics/normal.ts';
import { projectToShell } from '../../src/numerics/optimizers/elite.ts';
import { Sketch } from '../../src/numerics/optimizers/sketch.ts';

const D = 1024;
const values = projectToShell(standardNormal({ seed: 99, stream: STREAMS.samples, index: 0 }, D));

it('keeps mean squares on average', () => {
  const squares = Array.from({ length: 40 }, (_, seed) => {
    const sketch = new Sketch(D, 32, seed, 0);
    return dot(sketch.of(values), sketch.of(values)) / 32;
  });
  expect(squares.reduce((a, b) => a + b) / 40).toBeCloseTo(1, 0);
});

it('depends on the seed and the index', () => {
  expect(new Sketch(D, 32, 5, 0).of(values)).toEqual(new Sketch(D, 32, 5, 0).of(values));
  expect(new Sketch(D, 32, 5, 0).of(values)).not.toEqual(new Sketch(D, 32, 5, 1).of(values));
});

it('is never longer than its input', () => {
  expect(new Sketch(3, 32, 5, 0).size).toBe(3);
});
