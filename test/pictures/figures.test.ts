import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { contactSheet } from '../../src/pictures/contact-sheet.ts';
import { renderSvg } from '../../src/pictures/render-svg.ts';
import { rewardCurve } from '../../src/pictures/reward-curve.ts';
import { clipText, escapeText } from '../../src/pictures/svg-text.ts';

async function pixels(png: Uint8Array) {
  const { data, info } = await sharp(png).removeAlpha().raw().toBuffer({ resolveWithObject: true });
  return {
    ...info,
    at: (x: number, y: number) => [...data.subarray((y * info.width + x) * 3).subarray(0, 3)],
  };
}

function picture(width: number, height: number, colors: readonly number[][]): Promise<Uint8Array> {
  return sharp(Uint8Array.from(colors.flat()), { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();
}

const curve = { rewards: [-1, 0.5, 1], smoothed: [-0.5, 0.25, 0.75], title: 'a dog', sigma: 2 };

/** The points of the path drawn with this stroke width. */
function points(svg: string, strokeWidth: string): number[][] {
  const path = new RegExp(`<path d="([^"]*)"[^>]*stroke-width="${strokeWidth}"`).exec(svg)?.[1] ?? '';
  return [...path.matchAll(/(-?[\d.]+),(-?[\d.]+)/g)].map(([, x, y]) => [Number(x), Number(y)]);
}

describe('the reward curve', () => {
  it('draws the rewards dashed and the smoothed ones solid, in their order, better ones higher', () => {
    const svg = rewardCurve(curve);
    expect(svg).toMatch(/<path[^>]*stroke-width="1.2" stroke-dasharray="4 3"/);
    expect(svg).toMatch(/<path[^>]*stroke-width="2.4"\/>/);
    const raw = points(svg, '1.2');
    const smoothed = points(svg, '2.4');
    expect(raw.map(([x]) => x)).toEqual(smoothed.map(([x]) => x));
    expect(raw[0][0]).toBeLessThan(raw[1][0]);
    expect(raw[2][0]).toBe(720 - 28);
    // y falls evenly with the reward: from -1 to 1 by one span, from 0.5 to 1 by a quarter of it.
    expect(raw[1][1] - raw[2][1]).toBeCloseTo((raw[0][1] - raw[2][1]) / 4, 0);
    expect(smoothed[0][1]).toBeLessThan(raw[0][1]);
  });

  it('names its axes, its lines and its prompt', () => {
    const svg = rewardCurve({ ...curve, sigma: 2.5, imagesPerPoint: 8 });
    for (const text of [
      'a dog',
      'reward',
      'iteration (mean of 8 images)',
      'each iteration',
      'Gaussian-smoothed, σ = 2.5',
    ]) {
      expect(svg).toContain(`>${text}</text>`);
    }
    expect(rewardCurve({ ...curve, imagesPerPoint: 1 })).toContain('>iteration</text>');
  });

  it('marks whole iterations only', () => {
    const labels = [...rewardCurve(curve).matchAll(/text-anchor="middle">([\d.,]+)</g)].map(
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
  ])('can be drawn for %s', (_, rewards) => {
    const svg = rewardCurve({ ...curve, rewards, smoothed: rewards });
    expect(svg).not.toMatch(/NaN|Infinity|undefined/);
    expect(renderSvg(svg).length).toBeGreaterThan(1000);
  });

  it('gives a reward that never changes room above and below', () => {
    const svg = rewardCurve({ ...curve, rewards: [3, 3], smoothed: [3, 3] });
    const labels = [...svg.matchAll(/text-anchor="end">([\d.]+)</g)].map(([, label]) => Number(label));
    expect(labels.at(0)).toBeLessThan(3);
    expect(labels.at(-1)).toBeGreaterThan(3);
  });

  it('says so when there is no reward yet, and marks a single one', () => {
    expect(rewardCurve({ ...curve, rewards: [], smoothed: [] })).toContain('no rewards yet');
    expect(rewardCurve({ ...curve, rewards: [1], smoothed: [1] })).toContain('<circle');
  });
});

describe('the contact sheet', () => {
  const RED = [255, 0, 0];
  const BLUE = [0, 0, 255];

  it('keeps the pixels of enlarged pictures sharp', async () => {
    const png = await picture(2, 1, [RED, BLUE]);
    const rows = [{ label: 'base', pictures: [{ png, caption: '0.50' }] }];
    const sheet = await pixels(renderSvg(contactSheet({ title: 'x', subtitle: '', rows, pictureSize: 100 })));
    // The picture's square begins at (24, 94); a picture twice as wide as high lies in its middle.
    expect(sheet.at(24 + 48, 94 + 50)).toEqual(RED);
    expect(sheet.at(24 + 52, 94 + 50)).toEqual(BLUE);
    expect(sheet.at(24 + 50, 94 + 10)).toEqual([255, 255, 255]);
  });

  it('averages the pixels of reduced pictures', async () => {
    const png = await picture(
      64,
      64,
      Array.from({ length: 64 * 64 }, (_, i) => ((i + (i >> 6)) % 2 ? RED : BLUE)),
    );
    const rows = [{ label: 'base', pictures: [{ png, caption: '' }] }];
    const sheet = await pixels(renderSvg(contactSheet({ title: 'x', subtitle: '', rows, pictureSize: 32 })));
    const [red, , blue] = sheet.at(24 + 16, 94 + 16);
    expect(Math.abs(red - blue)).toBeLessThan(64);
  });

  it('puts row under row and picture beside picture, each with its caption', async () => {
    const png = await picture(1, 1, [RED]);
    const row = (label: string, count: number) => ({
      label,
      pictures: Array.from({ length: count }, (_, i) => ({ png, caption: `${label} ${i}` })),
    });
    const rows = [row('base', 8), row('learned', 3)];
    const svg = contactSheet({ title: 'a <dog> & "cat"', subtitle: '8 noises', rows });
    expect(svg.match(/<image /g)).toHaveLength(11);
    for (const text of [
      'a &lt;dog&gt; &amp; &quot;cat&quot;',
      '8 noises',
      'base',
      'learned',
      'base 7',
      'learned 2',
    ]) {
      expect(svg).toContain(`>${text}</text>`);
    }
    const sheet = await pixels(renderSvg(svg));
    expect(sheet.width).toBe(2 * 24 + 8 * 128 + 7 * 10);
    expect(sheet.at(24 + 7 * 138 + 64, 94 + 64)).toEqual(RED);
    expect(sheet.at(24 + 2 * 138 + 64, 94 + 180 + 64)).toEqual(RED);
    expect(sheet.at(24 + 3 * 138 + 64, 94 + 180 + 64)).toEqual([255, 255, 255]);
  });

  it('can be empty', () => {
    expect(renderSvg(contactSheet({ title: 'x', subtitle: 'y', rows: [] })).length).toBeGreaterThan(500);
    expect(
      renderSvg(contactSheet({ title: '', subtitle: '', rows: [{ label: 'a', pictures: [] }] })).length,
    ).toBeGreaterThan(500);
  });

  it('takes PNG only', () => {
    const rows = [{ label: 'base', pictures: [{ png: new Uint8Array(100), caption: '' }] }];
    expect(() => contactSheet({ title: 'x', subtitle: '', rows })).toThrow(
      'A picture of 100 bytes is not a PNG file',
    );
  });
});

describe('text in figures', () => {
  it('can be any prompt', () => {
    const prompt = 'a <b>&"\'\u0000\u0007\ud800 \ufffe]]> dog';
    expect(escapeText(prompt)).toBe('a &lt;b&gt;&amp;&quot;&#39;\ufffd\ufffd\ufffd \ufffd]]&gt; dog');
    expect(() => renderSvg(rewardCurve({ ...curve, title: prompt }))).not.toThrow();
  });

  it('is cut where it gets too wide, between whole characters', () => {
    expect(clipText('a dog', 200, 15)).toBe('a dog');
    expect(clipText('two\n  lines', 200, 15)).toBe('two lines');
    expect(clipText('word '.repeat(100), 200, 15)).toMatch(/^word( word)*( w| wo| wor)?…$/);
    expect(clipText('\u{1f469}\u200d\u{1f467}'.repeat(50), 100, 15)).toMatch(
      /^(\u{1f469}\u200d\u{1f467})+…$/u,
    );
  });

  it('stays inside the figure when cut, even where it is all capitals', async () => {
    for (const title of [
      'W'.repeat(300),
      'WAM@%'.repeat(60),
      'the quick brown fox '.repeat(20),
      'ill'.repeat(200),
    ]) {
      const figure = await pixels(renderSvg(rewardCurve({ ...curve, title })));
      for (let y = 15; y < 45; y++) {
        for (let x = 720 - 23; x < 720; x++) expect(figure.at(x, y)).toEqual([255, 255, 255]);
      }
    }
  });

  it('needs no fonts of the system', async () => {
    const svg =
      '<svg xmlns="http://www.w3.org/2000/svg" width="60" height="20"><text y="15" font-family="sans-serif">mm</text></svg>';
    const figure = await sharp(renderSvg(svg)).stats();
    expect(figure.channels[3].max).toBeGreaterThan(200);
  });
});

it('a figure is rendered as wide as asked', async () => {
  expect(await pixels(renderSvg(rewardCurve(curve)))).toMatchObject({ width: 720, height: 420 });
  expect(await pixels(renderSvg(rewardCurve(curve), { width: 1440 }))).toMatchObject({
    width: 1440,
    height: 840,
  });
});
