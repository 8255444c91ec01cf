import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { rewardCurve } from '../../src/pictures/reward-curve.ts';
import { renderSvg, renderSvgInPool } from '../../src/pictures/svg-renderer.ts';
import { CURVE, readPixels } from '../support/figures.ts';

describe('renderSvg', () => {
  it('gives the same bytes in the thread pool', async () => {
    const svg = rewardCurve(CURVE);
    expect(Buffer.compare(await renderSvgInPool(svg), renderSvg(svg))).toBe(0);
    await expect(renderSvgInPool('<svg')).rejects.toThrow();
  });

  it('does not need fonts of the system', async () => {
    const svg =
      '<svg xmlns="http://www.w3.org/2000/svg" width="60" height="20">' +
      '<text y="15" font-family="sans-serif">mm</text></svg>';
    const figure = await sharp(renderSvg(svg)).stats();
    expect(figure.channels[3].max).toBeGreaterThan(200);
  });

  it('scales the figure to the requested width', async () => {
    expect(await readPixels(renderSvg(rewardCurve(CURVE)))).toMatchObject({ width: 720, height: 420 });
    expect(await readPixels(renderSvg(rewardCurve(CURVE), { width: 1440 }))).toMatchObject({
      width: 1440,
      height: 840,
    });
  });
});
