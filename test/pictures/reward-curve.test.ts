import { describe, expect, it } from 'vitest';
import { rewardCurve } from '../../src/pictures/reward-curve.ts';
import { renderSvg } from '../../src/pictures/svg-renderer.ts';
import { CURVE } from '../support/figures.ts';

/** The points of the path with this stroke width. */
function points(svg: string, strokeWidth: string): number[][] {
  const path = new RegExp(`<path d="([^"]*)"[^>]*stroke-width="${strokeWidth}"`).exec(svg)?.[1] ?? '';
  return [...path.matchAll(/(-?[\d.]+),(-?[\d.]+)/g)].map(([, x, y]) => [Number(x), Number(y)]);
}

describe('the reward CURVE', () => {
  it('draws the rewards dashed and the smoothed ones solid, in order, higher rewards further up', () => {
    const svg = rewardCurve(CURVE);
    expect(svg).toMatch(/<path[^>]*stroke-width="1.2" stroke-dasharray="4 3"/);
    expect(svg).toMatch(/<path[^>]*stroke-width="2.4"\/>/);
    const raw = points(svg, '1.2');
    const smoothed = points(svg, '2.4');
    expect(raw.map(([x]) => x)).toEqual(smoothed.map(([x]) => x));
    expect(raw[0][0]).toBeLessThan(raw[1][0]);
    expect(raw[2][0]).toBe(720 - 28);
    // The axis is linear: from 0.5 to 1 is a quarter of the distance from -1 to 1.
    expect(raw[1][1] - raw[2][1]).toBeCloseTo((raw[0][1] - raw[2][1]) / 4, 0);
    expect(smoothed[0][1]).toBeLessThan(raw[0][1]);
  });

  it('has labels for its axes and lines, and the prompt as title', () => {
    const svg = rewardCurve({ ...CURVE, sigma: 2.5, imagesPerPoint: 8 });
    for (const text of [
      'a dog',
      'reward',
      'iteration (mean of 8 images)',
      'each iteration',
      'Gaussian-smoothed, σ = 2.5',
    ]) {
      expect(svg).toContain(`>${text}</text>`);
    }
    expect(rewardCurve({ ...CURVE, imagesPerPoint: 1 })).toContain('>iteration</text>');
  });

  it('has ticks at whole iterations only', () => {
    const labels = [...rewardCurve(CURVE).matchAll(/text-anchor="middle">([\d.,]+)</g)].map(
      ([, label]) => label,
    );
    expect(labels).toEqual(['1', '2', '3']);
  });

  it.each<[string, number[]]>([
    ['no reward yet', []],
    ['a single reward', [-0.25]],
    ['the same reward all the time', [3, 3, 3]],
    ['nothing but zeros', [0, 0]],
    ['huge rewards', [1e12, 1e12, -1e12]],
    ['tiny rewards', [1e-9, 2e-9]],
    ['a reward that is not a number', [1, Number.NaN, 2]],
    ['no reward that is a number', [Number.NaN]],
    ['many rewards', Array.from({ length: 150_000 }, (_, i) => Math.sin(i / 5000))],
  ])('is valid for %s', (_, rewards) => {
    const svg = rewardCurve({ ...CURVE, rewards, smoothed: rewards });
    expect(svg).not.toMatch(/NaN|Infinity|undefined/);
    expect(renderSvg(svg).length).toBeGreaterThan(1000);
  });

  it('draws a long run with a few points in each column of pixels, and keeps its peaks', () => {
    const rewards: number[] = Array.from({ length: 100_000 }, (_, i) => Math.sin(i / 5000) + (i % 2) / 10);
    rewards[41_234] = 9;
    rewards[70_001] = -9;
    rewards[50_000] = Number.NaN;
    const svg = rewardCurve({ ...CURVE, rewards, smoothed: rewards });
    const drawn = points(svg, '1.2');
    expect(drawn.length).toBeLessThan(5 * 720);
    const [top, bottom] = [Math.min(...drawn.map(([, y]) => y)), Math.max(...drawn.map(([, y]) => y))];
    const left = drawn[0][0];
    const xOf = (i: number) => left + ((692 - left) * i) / 99_999;
    expect(drawn.find(([, y]) => y === top)?.[0]).toBeCloseTo(xOf(41_234), 0);
    expect(drawn.find(([, y]) => y === bottom)?.[0]).toBeCloseTo(xOf(70_001), 0);
    expect([drawn.at(-1)?.[0], svg.match(/M/g)?.length]).toEqual([692, 4]); // two lines with one gap each
    const few = rewardCurve({ ...CURVE, rewards: rewards.slice(0, 2000), smoothed: [] });
    expect(points(few, '1.2')).toHaveLength(2000);
  });

  it('leaves a margin above and below a constant reward', () => {
    const svg = rewardCurve({ ...CURVE, rewards: [3, 3], smoothed: [3, 3] });
    const labels = [...svg.matchAll(/text-anchor="end">([\d.]+)</g)].map(([, label]) => Number(label));
    expect(labels.at(0)).toBeLessThan(3);
    expect(labels.at(-1)).toBeGreaterThan(3);
  });

  it('says that there are no rewards yet, and marks a single one', () => {
    expect(rewardCurve({ ...CURVE, rewards: [], smoothed: [] })).toContain('no rewards yet');
    expect(rewardCurve({ ...CURVE, rewards: [1], smoothed: [1] })).toContain('<circle');
  });
});
